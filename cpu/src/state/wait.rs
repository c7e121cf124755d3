//! Whether a processor has anything to do.

use crate::flags::RFlags;
use crate::state::{Activity, CpuState};

impl CpuState {
    /// Whether it would go on if it were given time: it runs, or an interrupt waits that ends HLT.
    pub fn can_run(&self) -> bool {
        match self.activity {
            Activity::Running => true,
            Activity::Halted => {
                let enabled = RFlags::from_bits_truncate(self.rflags).contains(RFlags::IF);
                self.nmi_pending && !self.nmi_blocked || enabled && self.apic.is_interrupt_pending()
            }
            Activity::WaitForSipi | Activity::Shutdown => false,
        }
    }
}
