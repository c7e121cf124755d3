//! Two outcomes of a case, and what must be equal.

use std::fmt::Write;

use crate::arena::PAGE;
use crate::case::{Case, Outcome, Registers};
use crate::masks::{self, Ignored};
use crate::transcendental;

const GENERAL: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];
const SEGMENTS: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];

/// What differs, one line for each; empty if nothing does.
pub fn differences(case: &Case, host: &Outcome, ours: &Outcome) -> String {
    let ignored = masks::of(case, host);
    let mut lines = Lines::default();
    lines.compare("vector", u64::from(host.vector), u64::from(ours.vector));
    lines.compare("error code", error_code(host), error_code(ours));
    lines.compare("fault address", host.address, ours.address);
    registers(&mut lines, &host.registers, &ours.registers, &ignored);
    floating_point(&mut lines, case, host, ours, &ignored);
    for address in host.memory.differences(&ours.memory).filter(|address| !ignored.covers(*address)).take(4) {
        let (host, ours) = (host.memory.get(address), ours.memory.get(address));
        lines.compare(&format!("[{address:x}]"), host, ours);
    }
    lines.0
}

/// Linux tells user space that everything beyond its part of the address space is there.
fn error_code(outcome: &Outcome) -> u64 {
    let hidden = outcome.vector == 14 && outcome.address >= (1 << 47) - PAGE;
    u64::from(outcome.error) & if hidden { !1 } else { !0 }
}

fn registers(lines: &mut Lines, host: &Registers, ours: &Registers, ignored: &Ignored) {
    for (number, name) in GENERAL.iter().enumerate() {
        let mask = !ignored.gpr[number];
        lines.compare(name, host.gpr[number] & mask, ours.gpr[number] & mask);
    }
    lines.compare("rip", host.rip, ours.rip);
    lines.compare("rflags", host.rflags & !ignored.rflags, ours.rflags & !ignored.rflags);
    for (number, name) in SEGMENTS.iter().enumerate() {
        // The way back from the host's kernel clears RPL of null selectors.
        let significant = |selector: u16| if selector < 4 { 0 } else { selector };
        lines.compare(name, significant(host.selectors[number]), significant(ours.selectors[number]));
    }
    lines.compare("fs base", host.bases[0], ours.bases[0]);
    lines.compare("gs base", host.bases[1], ours.bases[1]);
}

fn floating_point(lines: &mut Lines, case: &Case, host: &Outcome, ours: &Outcome, ignored: &Ignored) {
    let (host, ours) = (&host.registers.fpu, &ours.registers.fpu);
    lines.compare("fcw", host.control(), ours.control());
    let status = !ignored.x87_status;
    lines.compare("fsw", host.status() & status, ours.status() & status);
    lines.compare("ftw", host.tags(), ours.tags());
    let mxcsr = !ignored.mxcsr;
    lines.compare("mxcsr", host.mxcsr() & mxcsr, ours.mxcsr() & mxcsr);
    for i in 0..8 {
        if !transcendental::is_near(case, host.st(i), ours.st(i)) {
            let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |all, byte| all << 8 | u128::from(*byte));
            lines.compare(&format!("st({i})"), number(host.st(i)), number(ours.st(i)));
        }
    }
    for i in 0..16 {
        if !ignored.is_estimate || !masks::is_near_estimate(host.xmm(i), ours.xmm(i)) {
            lines.compare(&format!("xmm{i}"), host.xmm(i), ours.xmm(i));
        }
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn compare(&mut self, what: &str, host: impl Into<u128>, ours: impl Into<u128>) {
        let (host, ours) = (host.into(), ours.into());
        if host != ours {
            let _ = writeln!(self.0, "      {what}: host {host:x}, ours {ours:x}");
        }
    }
}
