//! IRET, IRETD, IRETQ.

use iced_x86::Code;

use crate::exec::Exec;
use crate::fault::{Done, Fault};
use crate::flags::RFlags;
use crate::op::{Lowered, Op, last};
use crate::ops::Form;
use crate::registers::gpr::RSP;
use crate::segmentation::rpl;
use crate::state::SegmentName;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    last(match form.instruction.code() {
        Code::Iretw => iret::<2>,
        Code::Iretd => iret::<4>,
        Code::Iretq => iret::<8>,
        _ => return None,
    })
}

fn iret<const BYTES: u8>(exec: &mut Exec<'_>, _: &Op) -> Done {
    // Even an IRET that faults ends the blocking of NMIs (SDM 3C 28.7.1.2).
    exec.state.nmi_blocked = false;
    exec.attention = true;
    if exec.state.is_protected() { protected::<BYTES>(exec) } else { real_mode::<BYTES>(exec) }
}

fn real_mode<const BYTES: u8>(exec: &mut Exec<'_>) -> Done {
    let slot = u64::from(BYTES);
    let stack = exec.current_stack();
    let rip = exec.peek(&stack, 0, BYTES)?;
    let selector = exec.peek(&stack, slot, BYTES)? as u16;
    let flags = exec.peek(&stack, 2 * slot, BYTES)?;
    let code = exec.real_code(selector);
    exec.check_far_target(&code, rip)?;
    exec.regs[RSP as usize] = stack.above(3 * slot);
    exec.rip = rip;
    let popped = popped_flags::<BYTES>(exec).difference(RFlags::VIF.union(RFlags::VIP));
    set_flags(exec, popped, flags);
    exec.set_segment(SegmentName::Cs, code);
    Ok(())
}

fn protected<const BYTES: u8>(exec: &mut Exec<'_>) -> Done {
    let slot = u64::from(BYTES);
    if exec.flags.system().contains(RFlags::NT) {
        return Err(if exec.state.is_long() {
            exec.raise(Fault::GP0)
        } else {
            exec.lacks("task switch by IRET")
        });
    }
    let stack = exec.current_stack();
    let rip = exec.peek(&stack, 0, BYTES)?;
    let selector = exec.peek(&stack, slot, BYTES)? as u16;
    let flags = exec.peek(&stack, 2 * slot, BYTES)?;
    let to_vm86 = BYTES > 2 && flags & RFlags::VM.bits() != 0;
    if to_vm86 && !exec.state.is_long() && exec.state.cpl() == 0 {
        return Err(exec.lacks("virtual-8086 mode"));
    }
    let code = exec.code_to_return_to(selector)?;
    exec.check_far_target(&code, rip)?;
    let popped = popped_flags::<BYTES>(exec);
    if rpl(selector) == exec.state.cpl() && !exec.mode.is_64() {
        exec.regs[RSP as usize] = stack.above(3 * slot);
        exec.rip = rip;
        set_flags(exec, popped, flags);
        exec.set_segment(SegmentName::Cs, code);
        return Ok(());
    }
    let pointer = exec.peek(&stack, 3 * slot, BYTES)?;
    let ss = exec.peek(&stack, 4 * slot, BYTES)? as u16;
    let segment = exec.stack_to_return_to(ss, &code)?;
    exec.rip = rip;
    set_flags(exec, popped, flags);
    exec.return_to_outer(code, segment, pointer);
    Ok(())
}

/// Flags that IRET may change at this privilege level.
fn popped_flags<const BYTES: u8>(exec: &Exec<'_>) -> RFlags {
    let cpl = exec.state.cpl();
    let mut popped = RFlags::STATUS.union(RFlags::TF).union(RFlags::DF).union(RFlags::NT);
    if cpl <= exec.iopl() {
        popped |= RFlags::IF;
    }
    if cpl == 0 {
        popped |= RFlags::IOPL;
    }
    if BYTES > 2 {
        popped |= RFlags::RF.union(RFlags::AC).union(RFlags::ID);
        if cpl == 0 {
            popped |= RFlags::VIF.union(RFlags::VIP);
        }
    }
    popped
}

fn set_flags(exec: &mut Exec<'_>, popped: RFlags, image: u64) {
    let mut flags = RFlags::from_bits_truncate(image);
    if !exec.is_rf_tracked() {
        flags.remove(RFlags::RF);
    }
    exec.flags.replace(popped, flags);
}

#[cfg(test)]
mod tests;
