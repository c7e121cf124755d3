//! Stacks of more privileged levels, from the task-state segment (SDM 3A 7.2.1, 7.7).

use crate::exec::Exec;
use crate::fault::{Fault, Stop, vector};
use crate::memory::tlb::Set;
use crate::stack::Stack;
use crate::state::Segment;

/// Bit of a TSS's type: its fields are 32 bits wide.
const WIDE: u8 = 8;

impl Exec<'_> {
    /// The stack of a more privileged level.
    ///
    /// # Errors
    /// #TS or #SS for what is wrong with the TSS or the stack segment in it, or a page fault.
    pub(crate) fn inner_stack(&mut self, level: u8) -> Result<Stack, Stop> {
        if self.state.is_long() {
            let pointer = self.long_task_field(4 + 8 * u64::from(level))?;
            return Ok(self.long_stack(Segment::null(u16::from(level), level), pointer, level));
        }
        let wide = self.state.tr.attributes.kind() & WIDE != 0;
        let (pointer, selector) = if wide {
            let at = self.task_field(4 + 8 * u64::from(level), 6)?;
            let pointer = self.load_as::<u32>(Set::Supervisor, at)?;
            (u64::from(pointer), self.load_as::<u16>(Set::Supervisor, self.wrap_linear(at.wrapping_add(4)))?)
        } else {
            let at = self.task_field(2 + 4 * u64::from(level), 4)?;
            let pointer = self.load_as::<u16>(Set::Supervisor, at)?;
            (u64::from(pointer), self.load_as::<u16>(Set::Supervisor, self.wrap_linear(at.wrapping_add(2)))?)
        };
        let segment = self.stack_segment(selector, level, false, vector::TS)?;
        Ok(self.stack(segment, pointer, level).with_fault(Fault::selector(vector::SS, selector)))
    }

    /// A stack pointer of the interrupt stack table; `number` is 1 to 7.
    ///
    /// # Errors
    /// #TS, or a page fault.
    pub(crate) fn interrupt_stack(&mut self, number: u8) -> Result<u64, Stop> {
        self.long_task_field(28 + 8 * u64::from(number))
    }

    fn long_task_field(&mut self, offset: u64) -> Result<u64, Stop> {
        let at = self.task_field(offset, 8)?;
        self.load_as(Set::Supervisor, at)
    }

    /// Linear address of a field within the TSS's limit.
    fn task_field(&mut self, offset: u64, bytes: u64) -> Result<u64, Stop> {
        let tr = self.state.tr;
        if offset + bytes - 1 > u64::from(tr.limit) {
            return Err(self.raise(Fault::selector(vector::TS, tr.selector)));
        }
        Ok(self.wrap_linear(tr.base.wrapping_add(offset)))
    }
}
