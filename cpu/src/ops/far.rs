//! JMP and CALL to another segment, directly, through memory and through call gates (SDM 3A 5.8).

use iced_x86::Code;

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop, vector};
use crate::op::{Lowered, Op, last};
use crate::ops::Form;
use crate::registers::gpr::RSP;
use crate::segmentation::{Descriptor, Gate, is_null, rpl, with_rpl};
use crate::stack::Stack;
use crate::state::{Segment, SegmentName};

/// Type of an LDT or TSS that a far transfer may name: available 16-bit and 32-bit TSS.
const AVAILABLE_TSS: [u8; 2] = [0x1, 0x9];

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    last(match form.instruction.code() {
        Code::Jmp_ptr1616 => direct::<false, 2>,
        Code::Jmp_ptr1632 => direct::<false, 4>,
        Code::Jmp_m1616 => indirect::<false, 2>,
        Code::Jmp_m1632 => indirect::<false, 4>,
        Code::Jmp_m1664 => indirect::<false, 8>,
        Code::Call_ptr1616 => direct::<true, 2>,
        Code::Call_ptr1632 => direct::<true, 4>,
        Code::Call_m1616 => indirect::<true, 2>,
        Code::Call_m1632 => indirect::<true, 4>,
        Code::Call_m1664 => indirect::<true, 8>,
        _ => return None,
    })
}

fn direct<const CALL: bool, const BYTES: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    transfer::<CALL, BYTES>(exec, (op.imm >> 32) as u16, op.imm & 0xffff_ffff)
}

fn indirect<const CALL: bool, const BYTES: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let (offset, selector) = far_pointer::<BYTES>(exec, op)?;
    transfer::<CALL, BYTES>(exec, selector, offset)
}

/// Offset and selector in memory, the offset of 2, 4 or 8 bytes.
pub(super) fn far_pointer<const BYTES: u8>(exec: &mut Exec<'_>, op: &Op) -> Result<(u64, u16), Stop> {
    let address = exec.address(op, BYTES + 2)?;
    let offset = match BYTES {
        2 => u64::from(exec.load::<u16>(address)?),
        4 => u64::from(exec.load::<u32>(address)?),
        _ => exec.load::<u64>(address)?,
    };
    let selector = exec.load::<u16>(exec.wrap_linear(address.wrapping_add(u64::from(BYTES))))?;
    Ok((offset, selector))
}

fn transfer<const CALL: bool, const BYTES: u8>(exec: &mut Exec<'_>, selector: u16, offset: u64) -> Done {
    if !exec.state.is_protected() {
        return enter::<CALL, BYTES>(exec, exec.real_code(selector), offset);
    }
    if is_null(selector) {
        return Err(exec.raise(Fault::GP0));
    }
    let descriptor = exec.descriptor(selector, vector::GP)?;
    if !descriptor.attributes().is_code_or_data() {
        return through_system_descriptor::<CALL>(exec, selector, descriptor);
    }
    let attributes = descriptor.attributes();
    let cpl = exec.state.cpl();
    let privileged = if attributes.is_conforming() {
        attributes.dpl() <= cpl
    } else {
        attributes.dpl() == cpl && rpl(selector) <= cpl
    };
    let both_sizes = exec.state.is_long() && attributes.long() && attributes.big();
    if !attributes.is_code() || !privileged || both_sizes {
        return Err(exec.raise(Fault::selector(vector::GP, selector)));
    }
    if !attributes.present() {
        return Err(exec.raise(Fault::selector(vector::NP, selector)));
    }
    let code = exec.accessed(selector, descriptor)?.segment(with_rpl(selector, cpl));
    enter::<CALL, BYTES>(exec, code, offset)
}

/// Goes to a code segment of the same privilege level.
fn enter<const CALL: bool, const BYTES: u8>(exec: &mut Exec<'_>, code: Segment, offset: u64) -> Done {
    exec.check_far_target(&code, offset)?;
    if CALL {
        let stack = exec.current_stack();
        let pushed = [u64::from(exec.state.segment(SegmentName::Cs).selector), exec.rip];
        exec.regs[RSP as usize] = exec.push_all(&stack, &pushed, BYTES)?;
    }
    exec.rip = offset;
    exec.set_segment(SegmentName::Cs, code);
    Ok(())
}

fn through_system_descriptor<const CALL: bool>(exec: &mut Exec<'_>, selector: u16, low: Descriptor) -> Done {
    let kind = low.attributes().kind();
    let long = exec.state.is_long();
    let gate = kind == Gate::CALL || !long && kind == Gate::CALL_16;
    let task = !long && (AVAILABLE_TSS.contains(&kind) || kind == Gate::TASK);
    let dpl = low.attributes().dpl();
    if !gate && !task || dpl < exec.state.cpl() || dpl < rpl(selector) {
        return Err(exec.raise(Fault::selector(vector::GP, selector)));
    }
    let gate = exec.gate(selector, low)?;
    if !gate.present() {
        return Err(exec.raise(Fault::selector(vector::NP, selector)));
    }
    if task {
        return Err(exec.lacks("task switch by a far jump or call"));
    }
    let code = exec.code_behind(gate)?;
    let level = rpl(code.selector);
    let cpl = exec.state.cpl();
    let bytes = if long { 8 } else { gate.bytes() };
    if !CALL && level != cpl {
        return Err(exec.raise(Fault::selector(vector::GP, code.selector)));
    }
    exec.check_far_target(&code, gate.offset())?;
    let old_cs = u64::from(exec.state.segment(SegmentName::Cs).selector);
    if level != cpl {
        return inner_call(exec, gate, code, bytes);
    }
    if CALL {
        let stack = exec.current_stack();
        exec.regs[RSP as usize] = exec.push_all(&stack, &[old_cs, exec.rip], bytes)?;
    }
    exec.rip = gate.offset();
    exec.set_segment(SegmentName::Cs, code);
    Ok(())
}

/// A call to a more privileged level: on its stack, with the caller's stack and parameters (SDM 3A 5.8.5).
fn inner_call(exec: &mut Exec<'_>, gate: Gate, code: Segment, bytes: u8) -> Done {
    let stack: Stack = exec.inner_stack(rpl(code.selector))?;
    let old_stack = exec.current_stack();
    let mut pushed = [0; 2 + 31 + 2];
    let parameters = if exec.state.is_long() { 0 } else { gate.parameters() };
    pushed[0] = u64::from(old_stack.segment.selector);
    pushed[1] = old_stack.pointer;
    for index in 0..parameters {
        // The parameter pushed first lies furthest up.
        let distance = (parameters - 1 - index) as u64 * u64::from(bytes);
        pushed[2 + index] = exec.peek(&old_stack, distance, bytes)?;
    }
    pushed[2 + parameters] = u64::from(exec.state.segment(SegmentName::Cs).selector);
    pushed[3 + parameters] = exec.rip;
    let pointer = exec.push_all(&stack, pushed.get(..4 + parameters).unwrap_or_default(), bytes)?;
    exec.rip = gate.offset();
    exec.switch_to(code, stack.segment, pointer);
    Ok(())
}

#[cfg(test)]
mod tests;
