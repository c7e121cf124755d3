//! Several values pushed or popped at once, on the current stack or on one about to become it.

use crate::exec::Exec;
use crate::fault::{Fault, Stop};
use crate::memory::tlb::Set;
use crate::state::{Segment, SegmentName};

/// A stack, current or not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stack {
    /// Its SS.
    pub segment: Segment,
    /// Its stack pointer.
    pub pointer: u64,
    /// Bits of the pointer that count and change.
    mask: u64,
    set: Set,
    fault: Fault,
}

impl Stack {
    /// With another exception for what lies outside the segment: #SS names the segment if it is a new one.
    #[must_use]
    pub fn with_fault(self, fault: Fault) -> Self {
        Self { fault, ..self }
    }

    /// With another stack pointer.
    #[must_use]
    pub fn with_pointer(self, pointer: u64) -> Self {
        Self { pointer, ..self }
    }

    /// The pointer this many bytes further up.
    pub fn above(&self, bytes: u64) -> u64 {
        self.moved(self.pointer.wrapping_add(bytes))
    }

    fn moved(&self, pointer: u64) -> u64 {
        self.pointer & !self.mask | pointer & self.mask
    }
}

impl Exec<'_> {
    /// The stack that SS and RSP describe.
    pub(crate) fn current_stack(&self) -> Stack {
        let segment = *self.state.segment(SegmentName::Ss);
        let mask = u64::MAX >> (64 - self.mode.stack_bits());
        let pointer = self.regs[crate::registers::gpr::RSP as usize];
        Stack { segment, pointer, mask, set: self.data_set, fault: Fault::SS0 }
    }

    /// A stack outside 64-bit mode, for use at this privilege level.
    pub(crate) fn stack(&self, segment: Segment, pointer: u64, level: u8) -> Stack {
        let mask = if segment.attributes.big() { 0xffff_ffff } else { 0xffff };
        Stack { segment, pointer, mask, set: self.set_of_level(level), fault: Fault::SS0 }
    }

    /// A stack of 64-bit mode.
    pub(crate) fn long_stack(&self, segment: Segment, pointer: u64, level: u8) -> Stack {
        Stack { segment, pointer, mask: u64::MAX, set: self.set_of_level(level), fault: Fault::SS0 }
    }

    /// Pushes values of 2, 4 or 8 bytes, the first one first; returns the stack pointer after it. Nothing is written unless
    /// everything can be.
    ///
    /// # Errors
    /// The stack's exception, or a page fault.
    pub(crate) fn push_all(&mut self, stack: &Stack, values: &[u64], bytes: u8) -> Result<u64, Stop> {
        let slot = |index: usize| stack.pointer.wrapping_sub((index as u64 + 1) * u64::from(bytes));
        for index in 0..values.len() {
            let linear = self.slot_address(stack, slot(index), bytes, true)?;
            self.probe_write_as(stack.set, linear, u64::from(bytes))
                .map_err(|stop| self.of_stack(stack, stop))?;
        }
        for (index, value) in values.iter().enumerate() {
            let linear = self.slot_address(stack, slot(index), bytes, true)?;
            match bytes {
                2 => self.store_as(stack.set, linear, *value as u16),
                4 => self.store_as(stack.set, linear, *value as u32),
                _ => self.store_as(stack.set, linear, *value),
            }
            .map_err(|stop| self.of_stack(stack, stop))?;
        }
        Ok(stack.moved(stack.pointer.wrapping_sub(values.len() as u64 * u64::from(bytes))))
    }

    /// The value of 2, 4 or 8 bytes at this distance above the stack pointer.
    ///
    /// # Errors
    /// The stack's exception, or a page fault.
    pub(crate) fn peek(&mut self, stack: &Stack, distance: u64, bytes: u8) -> Result<u64, Stop> {
        let linear = self.slot_address(stack, stack.pointer.wrapping_add(distance), bytes, false)?;
        match bytes {
            2 => self.load_as::<u16>(stack.set, linear).map(u64::from),
            4 => self.load_as::<u32>(stack.set, linear).map(u64::from),
            _ => self.load_as::<u64>(stack.set, linear),
        }
        .map_err(|stop| self.of_stack(stack, stop))
    }

    fn slot_address(&mut self, stack: &Stack, offset: u64, bytes: u8, write: bool) -> Result<u64, Stop> {
        if stack.mask == u64::MAX {
            return if self.is_canonical(offset) { Ok(offset) } else { Err(self.raise(stack.fault)) };
        }
        let offset = offset & stack.mask;
        let attributes = stack.segment.attributes;
        let usable = !self.state.is_protected()
            || !attributes.unusable() && (attributes.is_writable() || !write && attributes.is_readable());
        if !usable || !stack.segment.holds(offset, u32::from(bytes)) {
            return Err(self.raise(stack.fault));
        }
        Ok(self.wrap_linear(stack.segment.base.wrapping_add(offset) & 0xffff_ffff))
    }

    /// What lies beyond the last canonical address is outside the stack as well.
    fn of_stack(&mut self, stack: &Stack, stop: Stop) -> Stop {
        if stop == Stop::Fault && std::mem::take(&mut self.noncanonical) {
            self.raise(stack.fault)
        } else {
            stop
        }
    }
}
