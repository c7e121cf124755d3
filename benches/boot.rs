//! Wall time from nothing to a kernel's agent: our software engine against QEMU's translator, the same files, in turns.
//!
//! `cargo bench -p benches --bench boot -- [KERNEL]... [--cpus N] [--rounds N]`; without arguments the kernels of the promise.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark may panic")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use firmware::boot::Payload;
use guest_kernels::provision;
use scenarios::{Kernel, Tape};
use vmm::{Config, Entry, Limit, Machine, Stop};

/// What the agent writes to the console when it is about to listen.
const AGENT: &str = "kjvm agent: kernel";
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 random.trust_cpu=on kjvm.role=A kjvm.epoch=1000";

struct Measured {
    wall: Duration,
    /// Until the first instruction could run.
    start: Duration,
    instructions: u64,
}

fn ours(kernel: &Kernel, initrd: &[u8], processors: u32, memory: u64) -> Measured {
    let begun = Instant::now();
    let mut machine = Machine::new(Config { processors, memory, ..Config::default() }, Vec::new()).unwrap();
    let payload = Payload { kernel: &kernel.bytes, initrd: Some(initrd), command_line: COMMAND_LINE };
    machine.boot(kernel.entry, &payload).unwrap();
    let start = begun.elapsed();
    let mut tape = Tape::default();
    tape.await_text(AGENT);
    let stop = machine.run(Limit::default(), &mut tape);
    assert_eq!(stop, Stop::Triggered, "{}", tape.console());
    Measured { wall: begun.elapsed(), start, instructions: machine.instructions() }
}

fn qemu(kernel: &Path, initrd: &Path, processors: u32, memory: u64) -> Duration {
    let begun = Instant::now();
    let mut child = Command::new("qemu-system-x86_64")
        .args([
            "-accel",
            "tcg,thread=single",
            "-machine",
            "q35",
            "-cpu",
            "max",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args(["-nodefaults", "-serial", "stdio", "-serial", "null", "-smp", &processors.to_string()])
        .args(["-m", &format!("{}M", memory >> 20), "-append", COMMAND_LINE])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("qemu-system-x86_64 (Debian package qemu-system-x86)");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
    let found = lines.any(|line| String::from_utf8_lossy(&line.unwrap()).contains(AGENT));
    let took = begun.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(found, "QEMU's guest ended before its agent came");
    took
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn compare(name: &str, processors: u32, rounds: usize) {
    let provided = provision::kernel(name, &|text| eprintln!("{text}")).unwrap();
    let kernel = Kernel::read(&provided.bzimage, Entry::Pvh).unwrap();
    let memory = if name.starts_with("stock-") { 512 << 20 } else { 256 << 20 };
    let directory = tempfile::tempdir().unwrap();
    let (vmlinux, initrd) = (directory.path().join("vmlinux"), directory.path().join("initrd"));
    std::fs::write(&vmlinux, &kernel.bytes).unwrap();
    std::fs::write(&initrd, &provided.initrd).unwrap();
    let (mut us, mut them, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    let mut instructions = 0;
    for _ in 0..rounds {
        let measured = ours(&kernel, &provided.initrd, processors, memory);
        us.push(measured.wall);
        starts.push(measured.start);
        instructions = measured.instructions;
        them.push(qemu(&vmlinux, &initrd, processors, memory));
    }
    let (us, them, start) = (median(us), median(them), median(starts));
    println!(
        "{name:<18} {processors} CPU  ours {:6.2} s ({:4} M instructions, {:4.0} MIPS, first after {:3} ms)  QEMU {:6.2} s  ratio {:.2}",
        us.as_secs_f64(),
        instructions / 1_000_000,
        instructions as f64 / 1e6 / us.as_secs_f64(),
        start.as_millis(),
        them.as_secs_f64(),
        us.as_secs_f64() / them.as_secs_f64(),
    );
}

fn main() {
    let mut names = Vec::new();
    let (mut processors, mut rounds) = (1, 5);
    // Cargo adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|value| value.parse().ok()).expect("a number");
        match argument.as_str() {
            "--cpus" => processors = number(),
            "--rounds" => rounds = number() as usize,
            _ => names.push(argument),
        }
    }
    if names.is_empty() {
        names = ["primary-6.12", "saver-6.12"].map(str::to_owned).into();
    }
    for name in names {
        compare(&name, processors, rounds);
    }
}
