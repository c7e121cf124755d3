//! Clocks of a processor, computed from virtual time.

use crate::TSC_PER_NS;
use crate::apic::Moment;
use crate::state::CpuState;

impl CpuState {
    /// Time-stamp counter at this virtual run time in nanoseconds.
    pub fn tsc(&self, now: u64) -> u64 {
        let since_reset = now.wrapping_mul(TSC_PER_NS).wrapping_add(self.msrs.tsc_origin);
        since_reset.wrapping_add(self.msrs.tsc_adjust)
    }

    /// RESET at this virtual run time: the counter begins at 0, and IA32_TSC_ADJUST is 0 (SDM 3B 18.17, 18.17.3).
    pub fn restart_tsc(&mut self, now: u64) {
        self.msrs.tsc_origin = now.wrapping_mul(TSC_PER_NS).wrapping_neg();
        self.msrs.tsc_adjust = 0;
    }

    /// The counter was not lost in a RESET: it goes on where the one of `before` stands, but for this many ticks.
    pub fn resume_tsc(&mut self, before: &Self, ticks: i64) {
        self.msrs.tsc_origin = before.msrs.tsc_origin.wrapping_add_signed(ticks);
        self.msrs.tsc_adjust = before.msrs.tsc_adjust;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_begins_at_zero() {
        let mut state = CpuState::reset();
        state.msrs.tsc_adjust = 77;
        state.restart_tsc(1_000);
        assert_eq!((state.tsc(1_000), state.tsc(1_001), state.msrs.tsc_adjust), (0, 2, 0));
    }

    #[test]
    fn a_counter_that_is_kept_keeps_its_adjustment() {
        let mut before = CpuState::reset();
        before.restart_tsc(1_000);
        before.msrs.tsc_adjust = 77;
        for (ticks, expected) in [(0, 277), (-200, 77), (1 << 40, (1 << 40) + 277)] {
            let mut after = CpuState::reset();
            after.resume_tsc(&before, ticks);
            assert_eq!((after.tsc(1_100), after.msrs.tsc_adjust), (expected, 77));
        }
    }
}
