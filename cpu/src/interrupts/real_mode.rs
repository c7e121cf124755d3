//! Delivery in real mode, through the table of far pointers (SDM 3B 20.1.4).

use crate::exec::Exec;
use crate::fault::{Done, Fault, vector};
use crate::flags::RFlags;
use crate::interrupts::Event;
use crate::memory::tlb::Set;
use crate::registers::gpr::RSP;
use crate::state::SegmentName;

impl Exec<'_> {
    /// Pushes FLAGS, CS and IP, and goes to the handler. There are no error codes.
    pub(super) fn real_mode(&mut self, event: Event) -> Done {
        let entry = u64::from(event.vector) * 4;
        if entry + 3 > u64::from(self.state.idtr.limit) {
            return Err(self.raise(Fault::coded(vector::GP, u32::from(event.vector) << 3 | 2)));
        }
        let address = self.wrap_linear(self.state.idtr.base.wrapping_add(entry));
        let pointer = self.load_as::<u32>(Set::Supervisor, address)?;
        let (offset, selector) = (u64::from(pointer & 0xffff), (pointer >> 16) as u16);
        let code = self.real_code(selector);
        self.check_far_target(&code, offset)?;
        let cs = u64::from(self.state.segment(SegmentName::Cs).selector);
        let pushed = [self.pushed_flags(event), cs, self.rip];
        let stack = self.current_stack();
        self.regs[RSP as usize] = self.push_all(&stack, &pushed, 2)?;
        self.rip = offset;
        let cleared = RFlags::IF.union(RFlags::TF).union(RFlags::AC).union(RFlags::RF);
        self.flags.replace(cleared, RFlags::empty());
        self.set_segment(SegmentName::Cs, code);
        Ok(())
    }
}
