//! The register stack, and what an instruction leaves in the status word.

use crate::exec::Exec;
use crate::fp::extended::Extended;
use crate::op::Op;
use crate::registers::BLOCK_IP;
use crate::state::{Fpu, status};

/// Exceptions that are found before there is a result: not masked, they keep an instruction from doing anything.
const BEFORE: u16 = status::IE | status::DE | status::ZE;
/// Exceptions of a result that does not fit: not masked, they keep it from being stored to memory.
const RANGE: u16 = status::OE | status::UE;

impl Fpu {
    fn physical(&self, st: u8) -> u8 {
        (self.top() + st) & 7
    }

    /// Whether ST(st) holds nothing.
    pub(crate) fn is_empty(&self, st: u8) -> bool {
        self.tags >> self.physical(st) & 1 == 0
    }

    /// Reads ST(st), empty or not.
    pub(crate) fn st(&self, st: u8) -> Extended {
        self.register(self.physical(st))
    }

    /// Writes ST(st).
    pub(crate) fn set_st(&mut self, st: u8, value: Extended) {
        let register = self.physical(st);
        self.set_register(register, value);
        self.tags |= 1 << register;
    }

    /// Makes ST(st) empty.
    pub(crate) fn free(&mut self, st: u8) {
        self.tags &= !(1 << self.physical(st));
    }

    /// Pushes a value; what was there is overwritten.
    pub(crate) fn push(&mut self, value: Extended) {
        self.set_top(self.top().wrapping_sub(1));
        self.set_st(0, value);
    }

    /// Takes ST(0) away.
    pub(crate) fn pop(&mut self) {
        self.free(0);
        self.set_top(self.top() + 1);
    }

    /// Those of these exceptions that are not masked.
    pub(crate) fn unmasked(&self, noted: u16) -> u16 {
        noted & !self.control & status::EXCEPTIONS
    }
}

impl Exec<'_> {
    /// Where the last instruction that was not one of control is (FIP).
    pub(super) fn note_instruction(&mut self, op: &Op) {
        let ip = self.regs[BLOCK_IP as usize].wrapping_add(u64::from(op.start));
        self.state.fpu.instruction = ip & self.mode.ip_mask();
    }

    /// Notes the exceptions and C1 of an instruction that computed. Whether its result is to be kept: not if an exception that is
    /// not masked was found before there was one.
    pub(super) fn note(&mut self, op: &Op, noted: u16) -> bool {
        self.note_instruction(op);
        let fpu = &mut self.state.fpu;
        let unmasked = fpu.unmasked(noted);
        let exceptions = if unmasked & BEFORE != 0 { BEFORE } else { status::EXCEPTIONS };
        fpu.status = fpu.status & !status::C1 | noted & (exceptions | status::SF | status::C1);
        if unmasked != 0 {
            fpu.summarize();
            fpu.opcode = op.extra;
            // Not a register.
            if op.extra & 0xff < 0xc0 {
                self.state.fpu.operand = self.offset(op) & op.segment.address_mask();
            }
        }
        unmasked & BEFORE == 0
    }

    /// Whether a result that came with these exceptions would be stored to memory.
    pub(super) fn is_storable(&self, noted: u16) -> bool {
        self.state.fpu.unmasked(noted) & (BEFORE | RANGE) == 0
    }

    /// Notes that an operand is empty. Whether the instruction goes on, with the indefinite NaN in place of its result.
    pub(super) fn stack_underflow(&mut self, op: &Op) -> bool {
        self.note(op, status::IE | status::SF)
    }

    /// Notes that there is no room for a result. Whether it is pushed nevertheless, as the indefinite NaN.
    pub(super) fn stack_overflow(&mut self, op: &Op) -> bool {
        self.note(op, status::IE | status::SF | status::C1)
    }

    /// Pushes what an instruction loaded. A denormal operand is reported, but loaded even if that exception is not masked.
    pub(super) fn push_noted(&mut self, op: &Op, value: Extended, noted: u16) {
        if !self.state.fpu.is_empty(7) {
            if self.stack_overflow(op) {
                self.state.fpu.push(Extended::INDEFINITE);
            }
        } else {
            self.note(op, noted);
            if self.state.fpu.unmasked(noted) & status::IE == 0 {
                self.state.fpu.push(value);
            }
        }
    }

    /// Replaces ST(st) by what an instruction made of these registers, unless one of them is empty.
    pub(super) fn replace_noted(
        &mut self,
        op: &Op,
        st: u8,
        operands: &[u8],
        make: impl FnOnce(&Fpu) -> (Extended, u16),
    ) -> bool {
        let empty = operands.iter().any(|operand| self.state.fpu.is_empty(*operand));
        let (value, goes_on) = if empty {
            (Extended::INDEFINITE, self.stack_underflow(op))
        } else {
            let (value, noted) = make(&self.state.fpu);
            (value, self.note(op, noted))
        };
        if goes_on {
            self.state.fpu.set_st(st, value);
        }
        goes_on
    }
}
