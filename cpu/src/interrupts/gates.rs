//! Delivery through the gates of protected mode and of long mode (SDM 3A 6.12, 6.14).

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop, vector};
use crate::flags::RFlags;
use crate::interrupts::Event;
use crate::memory::tlb::Set;
use crate::registers::gpr::RSP;
use crate::segmentation::{Gate, rpl};
use crate::stack::Stack;
use crate::state::{Segment, SegmentName};

/// Bit of an error code: the selector is the number of a gate in the IDT.
const IDT: u32 = 2;

impl Exec<'_> {
    /// Pushes what the handler returns to, and goes there.
    pub(super) fn through_gate(&mut self, event: Event) -> Done {
        let gate = self.interrupt_gate(event)?;
        let code = self.code_behind(gate)?;
        let level = rpl(code.selector);
        let cpl = self.state.cpl();
        let stack = if self.state.is_long() {
            self.long_handler_stack(gate, level)?
        } else if level == cpl {
            self.current_stack()
        } else {
            self.inner_stack(level)?
        };
        self.check_far_target(&code, gate.offset())?;

        let old_ss = u64::from(self.state.segment(SegmentName::Ss).selector);
        let old_cs = u64::from(self.state.segment(SegmentName::Cs).selector);
        let error = event.error.map_or(0, u64::from);
        let all = [old_ss, self.regs[RSP as usize], self.pushed_flags(event), old_cs, self.rip, error];
        let with_stack = self.state.is_long() || level != cpl;
        let first = if with_stack { 0 } else { 2 };
        let last = if event.error.is_some() { 6 } else { 5 };
        let bytes = if self.state.is_long() { 8 } else { gate.bytes() };
        let pointer = self.push_all(&stack, all.get(first..last).unwrap_or_default(), bytes)?;

        self.rip = gate.offset();
        let mut cleared = RFlags::TF.union(RFlags::NT).union(RFlags::RF).union(RFlags::VM);
        if gate.masks_interrupts() {
            cleared |= RFlags::IF;
        }
        self.flags.replace(cleared, RFlags::empty());
        self.switch_to(code, stack.segment, pointer);
        Ok(())
    }

    fn interrupt_gate(&mut self, event: Event) -> Result<Gate, Stop> {
        let number = u32::from(event.vector) << 3 | IDT;
        let long = self.state.is_long();
        let bytes = if long { 16 } else { 8 };
        let offset = u64::from(event.vector) * bytes;
        if offset + bytes - 1 > u64::from(self.state.idtr.limit) {
            return Err(self.raise(Fault::coded(vector::GP, number)));
        }
        let address = self.wrap_linear(self.state.idtr.base.wrapping_add(offset));
        let low = self.load_as::<u64>(Set::Supervisor, address)?;
        let high = if long { self.load_as::<u64>(Set::Supervisor, address.wrapping_add(8))? } else { 0 };
        let gate = Gate::new(low, high);
        let known = match gate.kind() {
            Gate::INTERRUPT | Gate::TRAP => true,
            Gate::INTERRUPT_16 | Gate::TRAP_16 | Gate::TASK => !long,
            _ => false,
        };
        if !known || event.is_software() && gate.dpl() < self.state.cpl() {
            return Err(self.raise(Fault::coded(vector::GP, number)));
        }
        if !gate.present() {
            return Err(self.raise(Fault::coded(vector::NP, number)));
        }
        if gate.kind() == Gate::TASK {
            return Err(self.lacks("task switch by an interrupt"));
        }
        Ok(gate)
    }

    /// In long mode: a stack of the interrupt stack table, that of the privilege level, or the same one; 16 bytes aligned
    /// (SDM 3A 6.14.2, 6.14.5). SS is null after a change of privilege, and else stays.
    fn long_handler_stack(&mut self, gate: Gate, level: u8) -> Result<Stack, Stop> {
        let cpl = self.state.cpl();
        let stack = if level != cpl && gate.stack() == 0 {
            self.inner_stack(level)?
        } else {
            let pointer = match gate.stack() {
                0 => self.regs[RSP as usize],
                number => self.interrupt_stack(number)?,
            };
            let same = *self.state.segment(SegmentName::Ss);
            let segment = if level == cpl { same } else { Segment::null(u16::from(level), level) };
            self.long_stack(segment, pointer, level)
        };
        let aligned = stack.pointer & !15;
        Ok(stack.with_pointer(aligned))
    }
}
