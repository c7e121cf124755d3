//! Clocks of a processor, computed from virtual time.

use crate::TSC_PER_NS;
use crate::apic::Moment;
use crate::state::CpuState;

impl CpuState {
    /// Time-stamp counter at this virtual run time in nanoseconds.
    pub fn tsc(&self, now: u64) -> u64 {
        now.wrapping_mul(TSC_PER_NS).wrapping_add(self.msrs.tsc_adjust)
    }

    pub(crate) fn moment(&self, now: u64) -> Moment {
        Moment { ns: now, tsc: self.tsc(now) }
    }

    /// When the local APIC's timer wants to raise its interrupt, in nanoseconds of virtual run time: the slice that runs then must
    /// begin at this time or later. It lies in the past if [`CpuState::tick`] was not called since. None while nobody would notice.
    pub fn deadline(&self, now: u64) -> Option<u64> {
        self.apic.deadline(self.moment(now))
    }

    /// Lets the timer catch up. [`crate::Cpu::run`] does it.
    pub fn tick(&mut self, now: u64) {
        let moment = self.moment(now);
        self.apic.tick(moment);
    }
}
