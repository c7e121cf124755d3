//! SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS (SDM 3A 5.8.7, 5.8.8; APM 3).
//!
//! The vendors differ. SYSCALL exists outside 64-bit mode only on AMD's processors, SYSENTER in long mode only on Intel's; and AMD's
//! SYSRET neither looks at the address it returns to nor loads more of SS than its selector.

use iced_x86::Code;

use crate::exec::Exec;
use crate::fault::{Done, Fault};
use crate::flags::RFlags;
use crate::op::{Lowered, Op, last, within};
use crate::ops::Form;
use crate::registers::gpr::{R11, RCX, RDX, RSP};
use crate::segmentation::is_null;
use crate::state::{Attributes, Efer, Segment, SegmentName};

/// Accessed, readable code; present, with limit in pages.
const CODE: u32 = 0x809b;
/// Accessed, writable data; present, 32 bits, with limit in pages.
const DATA: u32 = 0xc093;
/// L of a code segment.
const LONG: u32 = 1 << 13;
/// D of a code segment.
const BIG: u32 = 1 << 14;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    match form.instruction.code() {
        Code::Syscall => last(syscall),
        Code::Sysretq => last(sysret::<true>),
        Code::Sysretd => last(sysret::<false>),
        Code::Sysenter => last(sysenter),
        Code::Sysexitq => last(sysexit::<true>),
        Code::Sysexitd => last(sysexit::<false>),
        Code::Swapgs => within(swapgs),
        _ => None,
    }
}

/// A flat segment as these instructions make it, without looking at any table.
fn flat(selector: u16, level: u8, attributes: u32) -> Segment {
    Segment {
        selector: selector & 0xfffc | u16::from(level),
        base: 0,
        limit: u32::MAX,
        attributes: Attributes(attributes).with_dpl(level),
    }
}

/// SYSCALL and SYSRET: #UD unless EFER.SCE is set, and outside 64-bit mode as on all Intel processors.
fn require_syscall(exec: &mut Exec<'_>) -> Done {
    let mode = exec.mode.is_64() || exec.state.identity.is_amd();
    let enabled = exec.state.msrs.efer.contains(Efer::SCE) && mode;
    if enabled { Ok(()) } else { Err(exec.raise(Fault::UD)) }
}

/// SYSENTER and SYSEXIT: #UD in long mode on AMD's processors.
fn require_sysenter(exec: &mut Exec<'_>) -> Done {
    let exists = !(exec.state.identity.is_amd() && exec.state.is_long());
    if exists { Ok(()) } else { Err(exec.raise(Fault::UD)) }
}

fn syscall(exec: &mut Exec<'_>, _: &Op) -> Done {
    require_syscall(exec)?;
    if !exec.state.is_long() {
        return syscall_legacy(exec);
    }
    let flags = exec.flags.get();
    exec.regs[RCX as usize] = exec.rip;
    exec.regs[R11 as usize] = exec.flags.rflags() & !RFlags::RF.bits();
    exec.rip = if exec.mode.is_64() { exec.state.msrs.lstar } else { exec.state.msrs.cstar };
    let kept = flags.difference(RFlags::from_bits_truncate(exec.state.msrs.fmask) | RFlags::RF);
    exec.flags.replace(RFlags::all(), kept);
    if !kept.contains(RFlags::TF) {
        exec.forget_single_step();
    }
    let selector = (exec.state.msrs.star >> 32) as u16;
    enter(exec, flat(selector, 0, CODE | LONG), flat(selector.wrapping_add(8), 0, DATA));
    Ok(())
}

/// SYSCALL without long mode: STAR has the address, and the flags are not saved.
fn syscall_legacy(exec: &mut Exec<'_>) -> Done {
    let star = exec.state.msrs.star;
    exec.regs[RCX as usize] = exec.rip & 0xffff_ffff;
    exec.rip = star & 0xffff_ffff;
    exec.flags.replace(RFlags::VM | RFlags::IF | RFlags::RF, RFlags::empty());
    let selector = (star >> 32) as u16;
    enter(exec, flat(selector, 0, CODE | BIG), flat(selector.wrapping_add(8), 0, DATA));
    Ok(())
}

fn sysret<const TO_64: bool>(exec: &mut Exec<'_>, _: &Op) -> Done {
    require_syscall(exec)?;
    exec.require_supervisor()?;
    let amd = exec.state.identity.is_amd();
    let rcx = exec.regs[RCX as usize];
    if TO_64 && !amd && !exec.is_canonical(rcx) || !exec.state.is_protected() {
        return Err(exec.raise(Fault::GP0));
    }
    exec.rip = if TO_64 { rcx } else { rcx & 0xffff_ffff };
    if exec.mode.is_64() {
        let settable = RFlags::all().difference(RFlags::RF | RFlags::VM);
        let flags = RFlags::from_bits_truncate(exec.regs[R11 as usize]).intersection(settable);
        exec.flags.replace(RFlags::all(), flags);
    } else {
        exec.flags.replace(RFlags::IF, RFlags::IF);
    }
    let selector = (exec.state.msrs.star >> 48) as u16;
    let code =
        if TO_64 { flat(selector.wrapping_add(16), 3, CODE | LONG) } else { flat(selector, 3, CODE | BIG) };
    let stack = if amd {
        let kept = *exec.state.segment(SegmentName::Ss);
        Segment { selector: selector.wrapping_add(8), attributes: kept.attributes.with_dpl(3), ..kept }
    } else {
        flat(selector.wrapping_add(8), 3, DATA)
    };
    enter(exec, code, stack);
    Ok(())
}

fn sysenter(exec: &mut Exec<'_>, _: &Op) -> Done {
    require_sysenter(exec)?;
    let selector = exec.state.msrs.sysenter_cs as u16;
    if !exec.state.is_protected() || is_null(selector) {
        return Err(exec.raise(Fault::GP0));
    }
    let long = exec.state.is_long();
    let mask = if long { u64::MAX } else { 0xffff_ffff };
    exec.regs[RSP as usize] = exec.state.msrs.sysenter_esp & mask;
    exec.rip = exec.state.msrs.sysenter_eip & mask;
    exec.flags.replace(RFlags::VM | RFlags::IF | RFlags::RF, RFlags::empty());
    let size = if long { LONG } else { BIG };
    enter(exec, flat(selector, 0, CODE | size), flat((selector & 0xfffc).wrapping_add(8), 0, DATA));
    Ok(())
}

fn sysexit<const TO_64: bool>(exec: &mut Exec<'_>, _: &Op) -> Done {
    require_sysenter(exec)?;
    let selector = exec.state.msrs.sysenter_cs as u16 & 0xfffc;
    if !exec.state.is_protected() || selector == 0 {
        return Err(exec.raise(Fault::GP0));
    }
    exec.require_supervisor()?;
    let (rip, rsp) = (exec.regs[RDX as usize], exec.regs[RCX as usize]);
    if TO_64 && !(exec.is_canonical(rip) && exec.is_canonical(rsp)) {
        return Err(exec.raise(Fault::GP0));
    }
    let mask = if TO_64 { u64::MAX } else { 0xffff_ffff };
    exec.rip = rip & mask;
    exec.regs[RSP as usize] = rsp & mask;
    let (code, size) = if TO_64 { (32, LONG) } else { (16, BIG) };
    enter(
        exec,
        flat(selector.wrapping_add(code), 3, CODE | size),
        flat(selector.wrapping_add(code + 8), 3, DATA),
    );
    Ok(())
}

fn enter(exec: &mut Exec<'_>, code: Segment, stack: Segment) {
    let pointer = exec.regs[RSP as usize];
    exec.switch_to(code, stack, pointer);
    // IF or TF may have been set.
    exec.attention = true;
}

fn swapgs(exec: &mut Exec<'_>, _: &Op) -> Done {
    if !exec.mode.is_64() {
        return Err(exec.raise(Fault::UD));
    }
    exec.require_supervisor()?;
    let gs = &mut exec.state.segments[SegmentName::Gs as usize].base;
    std::mem::swap(gs, &mut exec.state.msrs.kernel_gs_base);
    Ok(())
}

#[cfg(test)]
mod tests;
