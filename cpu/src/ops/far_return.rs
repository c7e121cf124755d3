//! Far RET, and the checks it shares with IRET (SDM 3A 5.8.6).

use iced_x86::Code;

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop, vector};
use crate::op::{Lowered, Op, last};
use crate::ops::Form;
use crate::registers::gpr::RSP;
use crate::segmentation::{is_null, rpl};
use crate::state::{Attributes, Segment, SegmentName};

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    last(match form.instruction.code() {
        Code::Retfw | Code::Retfw_imm16 => far_return::<2>,
        Code::Retfd | Code::Retfd_imm16 => far_return::<4>,
        Code::Retfq | Code::Retfq_imm16 => far_return::<8>,
        _ => return None,
    })
}

fn far_return<const BYTES: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let slot = u64::from(BYTES);
    // Bytes of parameters; the immediate is sign extended.
    let parameters = op.imm & 0xffff;
    let stack = exec.current_stack();
    let rip = exec.peek(&stack, 0, BYTES)?;
    let selector = exec.peek(&stack, slot, BYTES)? as u16;
    if !exec.state.is_protected() {
        let code = exec.real_code(selector);
        exec.check_far_target(&code, rip)?;
        exec.regs[RSP as usize] = stack.above(2 * slot + parameters);
        exec.rip = rip;
        exec.set_segment(SegmentName::Cs, code);
        return Ok(());
    }
    let code = exec.code_to_return_to(selector)?;
    exec.check_far_target(&code, rip)?;
    let level = rpl(selector);
    if level == exec.state.cpl() {
        exec.regs[RSP as usize] = stack.above(2 * slot + parameters);
        exec.rip = rip;
        exec.set_segment(SegmentName::Cs, code);
        return Ok(());
    }
    let pointer = exec.peek(&stack, 2 * slot + parameters, BYTES)?;
    let ss = exec.peek(&stack, 3 * slot + parameters, BYTES)? as u16;
    let segment = exec.stack_to_return_to(ss, &code)?;
    exec.rip = rip;
    exec.return_to_outer(code, segment, pointer);
    // The caller's stack has the parameters as well.
    let outer = exec.current_stack();
    exec.regs[RSP as usize] = outer.above(parameters);
    Ok(())
}

impl Exec<'_> {
    /// The code segment that a return pops, at the same or a less privileged level.
    ///
    /// # Errors
    /// #GP, #NP, or a page fault.
    pub(super) fn code_to_return_to(&mut self, selector: u16) -> Result<Segment, Stop> {
        if is_null(selector) {
            return Err(self.raise(Fault::GP0));
        }
        let descriptor = self.descriptor(selector, vector::GP)?;
        let attributes = descriptor.attributes();
        let level = rpl(selector);
        let privileged =
            if attributes.is_conforming() { attributes.dpl() <= level } else { attributes.dpl() == level };
        let both_sizes = self.state.is_long() && attributes.long() && attributes.big();
        if level < self.state.cpl() || !attributes.is_code() || !privileged || both_sizes {
            return Err(self.raise(Fault::selector(vector::GP, selector)));
        }
        if !attributes.present() {
            return Err(self.raise(Fault::selector(vector::NP, selector)));
        }
        Ok(self.accessed(selector, descriptor)?.segment(selector))
    }

    /// The stack segment that goes with this code segment. 64-bit code below level 3 may have none.
    ///
    /// # Errors
    /// #GP, #SS, or a page fault.
    pub(super) fn stack_to_return_to(&mut self, selector: u16, code: &Segment) -> Result<Segment, Stop> {
        let level = rpl(code.selector);
        let null = self.state.is_long() && code.attributes.long() && level != 3;
        self.stack_segment(selector, level, null, vector::GP)
    }

    /// Loads CS, SS and RSP of a less privileged level, and takes away data segments it must not have.
    pub(super) fn return_to_outer(&mut self, code: Segment, stack: Segment, pointer: u64) {
        let level = rpl(code.selector);
        let outer = level > self.state.cpl();
        self.set_stack_and_code(code, stack, pointer);
        if outer {
            for name in [SegmentName::Es, SegmentName::Ds, SegmentName::Fs, SegmentName::Gs] {
                let segment = &mut self.state.segments[name as usize];
                let attributes = segment.attributes;
                let usable = !is_null(segment.selector) && !attributes.unusable();
                if usable && attributes.dpl() < level && !attributes.is_conforming() {
                    // The base stays, which 64-bit mode uses of FS and GS.
                    (segment.selector, segment.attributes) = (0, Attributes::UNUSABLE);
                }
            }
        }
    }

    fn set_stack_and_code(&mut self, code: Segment, stack: Segment, pointer: u64) {
        let before = self.regs[RSP as usize];
        self.switch_to(code, stack, pointer);
        // As many bits as the new stack has.
        self.regs[RSP as usize] = match self.mode.stack_bits() {
            16 => before & !0xffff | pointer & 0xffff,
            32 => pointer & 0xffff_ffff,
            _ => pointer,
        };
    }
}

#[cfg(test)]
mod tests;
