//! The APIC timer (SDM 3A 11.5.4). It counts at 1 GHz, what CPUID leaf 0x15 calls the crystal; its count is computed when
//! somebody looks.

use serde::{Deserialize, Serialize};

use crate::TSC_PER_NS;

/// A moment on both clocks that the timer follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Virtual run time in nanoseconds.
    pub ns: u64,
    /// Time-stamp counter of this processor.
    pub tsc: u64,
}

/// Bits 17 and 18 of the timer's local vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerMode {
    /// Counts down once.
    OneShot,
    /// Counts down again and again.
    Periodic,
    /// Waits for a value of the time-stamp counter.
    TscDeadline,
    /// 3: nothing happens.
    Reserved,
}

impl TimerMode {
    /// From the local vector.
    pub fn of(local_vector: u32) -> Self {
        match local_vector >> 17 & 3 {
            0 => Self::OneShot,
            1 => Self::Periodic,
            2 => Self::TscDeadline,
            _ => Self::Reserved,
        }
    }
}

/// Counter and deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timer {
    /// Initial-count register.
    initial: u32,
    /// Divide-configuration register: bits 0, 1 and 3.
    divide: u32,
    /// What the count was at `since`; 0 if it stands still.
    count: u32,
    /// Virtual run time in nanoseconds.
    since: u64,
    /// IA32_TSC_DEADLINE; 0 if disarmed.
    deadline: u64,
}

impl Timer {
    /// Initial-count register.
    pub fn initial(&self) -> u32 {
        self.initial
    }

    /// Divide-configuration register.
    pub fn divide(&self) -> u32 {
        self.divide
    }

    /// IA32_TSC_DEADLINE.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Current-count register. [`Timer::tick`] has been called.
    pub fn current(&self, now: u64) -> u32 {
        let gone = now.saturating_sub(self.since) / self.divisor();
        self.count.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX))
    }

    /// Starts to count down from here.
    pub fn start(&mut self, count: u32, now: u64) {
        (self.initial, self.count, self.since) = (count, count, now);
    }

    /// Goes on at another rate.
    pub fn set_divide(&mut self, divide: u32, now: u64) {
        (self.count, self.since) = (self.current(now), now);
        self.divide = divide & 0xb;
    }

    /// Arms for this value of the time-stamp counter; 0 disarms.
    pub fn arm(&mut self, tsc: u64) {
        self.deadline = tsc;
    }

    /// Neither counts nor waits.
    pub fn stop(&mut self) {
        *self = Self { divide: self.divide, ..Self::default() };
    }

    /// When it expires, in nanoseconds of virtual run time.
    pub fn expires(&self, mode: TimerMode, now: Moment) -> Option<u64> {
        match mode {
            TimerMode::OneShot | TimerMode::Periodic if self.count != 0 => {
                Some(self.since.saturating_add(u64::from(self.count) * self.divisor()))
            }
            TimerMode::TscDeadline if self.deadline != 0 => {
                let ticks = self.deadline.saturating_sub(now.tsc);
                Some(now.ns.saturating_add(ticks.div_ceil(TSC_PER_NS)))
            }
            _ => None,
        }
    }

    /// Whether it expired since the last call. However many periods have gone by, there is one interrupt.
    pub fn tick(&mut self, mode: TimerMode, now: Moment) -> bool {
        let Some(expired) = self.expires(mode, now).filter(|expires| *expires <= now.ns) else {
            return false;
        };
        match mode {
            TimerMode::Periodic if self.initial != 0 => {
                let period = u64::from(self.initial) * self.divisor();
                let late = now.ns - expired;
                (self.count, self.since) = (self.initial, expired + late / period * period);
            }
            TimerMode::TscDeadline => self.deadline = 0,
            _ => self.count = 0,
        }
        true
    }

    /// Nanoseconds a count: 2, 4, ... 128, 1 (SDM 3A figure 11-10).
    fn divisor(&self) -> u64 {
        let code = self.divide & 3 | self.divide >> 1 & 4;
        1 << ((code + 1) % 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ns: u64) -> Moment {
        Moment { ns, tsc: 1000 + TSC_PER_NS * ns }
    }

    #[test]
    fn one_shot_counts_down_once() {
        let mut timer = Timer::default();
        timer.set_divide(0b0011, 0);
        timer.start(100, 1000);
        assert_eq!(timer.expires(TimerMode::OneShot, at(1000)), Some(1000 + 1600));
        assert_eq!(timer.current(1000 + 160), 90);
        assert!(!timer.tick(TimerMode::OneShot, at(2599)));
        assert!(timer.tick(TimerMode::OneShot, at(2600)));
        assert_eq!((timer.current(2600), timer.expires(TimerMode::OneShot, at(2600))), (0, None));
    }

    #[test]
    fn periods_keep_their_phase_however_late_one_looks() {
        let mut timer = Timer::default();
        timer.set_divide(0b1011, 0);
        timer.start(100, 50);
        assert!(timer.tick(TimerMode::Periodic, at(150 + 730)));
        assert_eq!(timer.expires(TimerMode::Periodic, at(880)), Some(950));
        assert_eq!(timer.current(880), 70);
        assert!(!timer.tick(TimerMode::Periodic, at(949)));
    }

    #[test]
    fn another_rate_goes_on_from_the_count() {
        let mut timer = Timer::default();
        timer.set_divide(0b1011, 0);
        timer.start(100, 0);
        timer.set_divide(0b0000, 40);
        assert_eq!((timer.current(40), timer.current(60), timer.current(159)), (60, 50, 1));
        assert_eq!(timer.expires(TimerMode::OneShot, at(40)), Some(160));
    }

    #[test]
    fn a_deadline_is_met_by_the_first_nanosecond_that_reaches_it() {
        let mut timer = Timer::default();
        timer.arm(1000 + 2 * 77 + 1);
        assert_eq!(timer.expires(TimerMode::TscDeadline, at(3)), Some(78));
        assert!(!timer.tick(TimerMode::TscDeadline, at(77)));
        assert!(timer.tick(TimerMode::TscDeadline, at(78)));
        assert_eq!(timer.deadline(), 0);
        timer.arm(1);
        assert_eq!(timer.expires(TimerMode::TscDeadline, at(90)), Some(90), "the past is now");
    }

    proptest! {
        #[test]
        fn it_expires_when_it_says(divide: u32, count: u32, deadline: u64, since in 0u64..1 << 60, wait in 0u64..1 << 40) {
            for mode in [TimerMode::OneShot, TimerMode::Periodic, TimerMode::TscDeadline, TimerMode::Reserved] {
                let mut timer = Timer::default();
                timer.set_divide(divide, since);
                timer.start(count, since);
                timer.arm(deadline);
                let expires = timer.expires(mode, at(since));
                let fired = timer.tick(mode, at(since + wait));
                prop_assert_eq!(fired, expires.is_some_and(|expires| expires <= since + wait));
                if let Some(next) = timer.expires(mode, at(since + wait)) {
                    prop_assert!(next > since + wait);
                }
            }
        }
    }
}
