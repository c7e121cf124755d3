//! Whether a processor has anything to do.

use crate::flags::RFlags;
use crate::state::{Activity, CpuState};

impl CpuState {
    /// Whether it would go on if it were given time: it runs, or something waits that ends HLT: an interrupt, or the
    /// debug trap of HLT itself.
    pub fn can_run(&self) -> bool {
        match self.activity {
            Activity::Running => true,
            Activity::Halted => {
                let enabled = RFlags::from_bits_truncate(self.rflags).contains(RFlags::IF);
                let interrupted = enabled && self.apic.is_interrupt_pending();
                self.pending_debug != 0 || self.nmi_pending && !self.nmi_blocked || interrupted
            }
            Activity::WaitForSipi | Activity::Shutdown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stepped_halt_goes_on_to_its_trap() {
        let mut state = CpuState::reset();
        assert!(state.can_run());
        state.activity = Activity::Halted;
        assert!(!state.can_run());
        state.pending_debug = 1 << 14;
        assert!(state.can_run());
    }
}
