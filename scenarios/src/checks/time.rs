//! Clocks and alarms of a kernel that slept, against the machine's run time and world time.

use devices::{VirtualTime, WorldTime};

use super::{Check, Clause};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// What lies between reading a clock and the end of the line that says it is not always the same.
const UNCERTAIN: u64 = 50 * MILLISECOND;
/// The real-time clock counts seconds.
const GRAIN: u64 = SECOND;

/// How long a kernel has kept time: run time from its boot, without what lies between the suspension of its timekeeping and its
/// resumption.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptTime {
    /// Nanoseconds until it last stopped.
    total: u64,
    /// When it last began.
    since: Option<VirtualTime>,
    /// `total` of the memory that a snapshot was made of.
    at_snapshot: u64,
}

impl KeptTime {
    /// Of a kernel that runs, counted from now.
    pub fn since(now: VirtualTime) -> Self {
        Self { since: Some(now), ..Self::default() }
    }

    /// So far.
    pub fn until(&self, now: VirtualTime) -> u64 {
        self.total.saturating_add(self.since.map_or(0, |since| now.since(since)))
    }

    /// Timekeeping is suspended.
    pub fn stops(&mut self, now: VirtualTime) {
        (self.total, self.since) = (self.until(now), None);
    }

    /// It is resumed.
    pub fn goes_on(&mut self, now: VirtualTime) {
        self.since.get_or_insert(now);
    }

    /// A snapshot is made.
    pub fn snapshot(&mut self) {
        self.at_snapshot = self.total;
    }

    /// The snapshot is entered: what was after it never was.
    pub fn restored(&mut self) {
        (self.total, self.since) = (self.at_snapshot, None);
    }
}

/// What an agent read from its kernel's clocks, and what it was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// `CLOCK_MONOTONIC` in milliseconds.
    pub monotonic_ms: u64,
    /// `CLOCK_REALTIME` in milliseconds since 1970.
    pub realtime_ms: u64,
    /// How long the kernel had kept time, in nanoseconds.
    pub kept: u64,
    /// World time.
    pub world: WorldTime,
}

impl Reading {
    /// Whether monotonic time ran since that other reading as long as time was kept.
    pub fn monotonic(&self, since: &Self, of: &str) -> Check {
        let ran = self.monotonic_ms.wrapping_sub(since.monotonic_ms) as i64;
        // Of a snapshot that is entered later than another reading was made, both go back.
        let kept = self.kept.wrapping_sub(since.kept) as i64 / MILLISECOND as i64;
        let evidence = vec![
            format!("monotonic time ran by {ran} ms while the kernel kept time for {kept} ms"),
            format!("and world time by {} ms", self.world.0.saturating_sub(since.world.0) / MILLISECOND),
        ];
        match ran.abs_diff(kept) <= UNCERTAIN / MILLISECOND {
            true => Check { evidence, ..Check::pass(Clause::MonotonicStands, of) },
            false => Check::fail(Clause::MonotonicStands, of, "monotonic time is wrong", evidence),
        }
    }

    /// Whether real time is world time.
    pub fn realtime(&self, of: &str) -> Check {
        let wrong = i128::from(self.realtime_ms) - i128::from(self.world.0 / MILLISECOND);
        let evidence = vec![format!("real time is {wrong} ms ahead of world time (the RTC counts seconds)")];
        match wrong.unsigned_abs() * u128::from(MILLISECOND) <= u128::from(GRAIN + UNCERTAIN) {
            true => Check { evidence, ..Check::pass(Clause::RealtimeGoesOn, of) },
            false => Check::fail(Clause::RealtimeGoesOn, of, "real time is wrong", evidence),
        }
    }
}

/// An alarm that was set, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alarm {
    /// When it is to go off, as whoever set it wants it.
    pub due: WorldTime,
    /// When the machine woke.
    pub woke: Option<WorldTime>,
}

impl Alarm {
    /// When the kernel is back. `armed`: when the real-time clock's alarm goes off next, if it does.
    pub fn judge(&self, armed: Option<WorldTime>, of: &str) -> Check {
        let Some(woke) = self.woke else {
            return Check::not_observed(Clause::AlarmOnce, of, "when the machine woke was not seen");
        };
        let late = i128::from(woke.0) - i128::from(self.due.0);
        let mut evidence =
            vec![format!("woke {} ms after the alarm was due", late / i128::from(MILLISECOND))];
        if late.unsigned_abs() > u128::from(GRAIN + UNCERTAIN) {
            return Check::fail(Clause::AlarmOnce, of, "alarm at another time", evidence);
        }
        match armed {
            None => Check { evidence, ..Check::pass(Clause::AlarmOnce, of) },
            Some(again) => {
                let seconds = again.0.saturating_sub(woke.0) / SECOND;
                evidence.push(format!("the alarm is still armed: it goes off again {seconds} s after"));
                Check::fail(Clause::AlarmOnce, of, "alarm again", evidence)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Status;

    fn at(milliseconds: u64) -> VirtualTime {
        VirtualTime(milliseconds * MILLISECOND)
    }

    #[test]
    fn time_is_kept_but_while_it_is_suspended_and_again_from_a_snapshot() {
        let mut kept = KeptTime::since(at(0));
        assert_eq!(kept.until(at(5)), 5 * MILLISECOND);
        kept.stops(at(7));
        kept.stops(at(8));
        kept.snapshot();
        assert_eq!(kept.until(at(20)), 7 * MILLISECOND);
        kept.goes_on(at(20));
        kept.goes_on(at(25));
        assert_eq!(kept.until(at(30)), 17 * MILLISECOND);
        // Power comes on, run time begins again, the image is entered.
        kept.restored();
        kept.goes_on(at(3));
        assert_eq!(kept.until(at(4)), 8 * MILLISECOND);
    }

    fn reading(monotonic_ms: u64, realtime_ms: u64, kept: u64, world: u64) -> Reading {
        Reading { monotonic_ms, realtime_ms, kept: kept * MILLISECOND, world: WorldTime(world * MILLISECOND) }
    }

    #[test]
    fn a_monotonic_clock_that_ran_on_or_went_back_is_found() {
        let before = reading(1_000, 0, 1_020, 0);
        for (monotonic, expected) in [
            (3_000, Status::Pass),
            (3_050, Status::Pass),
            (2_949, Status::Fail),
            (63_000, Status::Fail),
            (900, Status::Fail),
        ] {
            let after = reading(monotonic, 0, 3_020, 63_000);
            assert_eq!(after.monotonic(&before, "").status, expected, "{monotonic}");
        }
        let back = reading(900, 0, 920, 63_000).monotonic(&before, "");
        assert_eq!(back.status, Status::Pass, "a snapshot from before");
    }

    #[test]
    fn real_time_may_be_wrong_by_what_the_rtc_does_not_show() {
        for (realtime, expected) in
            [(100_000, Status::Pass), (99_000, Status::Pass), (101_051, Status::Fail), (40_000, Status::Fail)]
        {
            assert_eq!(reading(0, realtime, 0, 100_000).realtime("").status, expected, "{realtime}");
        }
    }

    #[test]
    fn an_alarm_goes_off_when_it_is_due_and_not_again() {
        let world = |seconds: u64| WorldTime(seconds * SECOND);
        let judge = |woke: Option<u64>, armed: Option<u64>| {
            Alarm { due: world(30), woke: woke.map(world) }.judge(armed.map(world), "").status
        };
        assert_eq!(judge(Some(30), None), Status::Pass);
        assert_eq!(judge(Some(31), None), Status::Pass);
        assert_eq!(judge(Some(28), None), Status::Fail);
        assert_eq!(judge(Some(33), None), Status::Fail);
        assert_eq!(judge(Some(30), Some(86_430)), Status::Fail);
        assert_eq!(judge(None, None), Status::NotObserved);
    }
}
