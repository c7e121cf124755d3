//! Reading clocks, by the vDSO and by the system call.
#![allow(unsafe_code)] // clock_gettime(2) without the vDSO has no wrapper

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};

/// Nanoseconds: 292 years fit.
pub type Nanoseconds = i64;

/// A second.
pub const SECOND: Nanoseconds = 1_000_000_000;
/// A millisecond.
pub const MILLISECOND: Nanoseconds = 1_000_000;

/// The clocks watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// Does not run while the machine sleeps.
    Monotonic,
    /// The same, without adjustments of the rate.
    MonotonicRaw,
    /// Monotonic and the time slept.
    Boottime,
    /// Time of day.
    Realtime,
}

impl Clock {
    /// As in reports.
    pub fn name(self) -> &'static str {
        match self {
            Clock::Monotonic => "monotonic",
            Clock::MonotonicRaw => "monotonic_raw",
            Clock::Boottime => "boottime",
            Clock::Realtime => "realtime",
        }
    }

    /// For system calls.
    pub fn id(self) -> ClockId {
        match self {
            Clock::Monotonic => ClockId::CLOCK_MONOTONIC,
            Clock::MonotonicRaw => ClockId::from_raw(libc::CLOCK_MONOTONIC_RAW),
            Clock::Boottime => ClockId::CLOCK_BOOTTIME,
            Clock::Realtime => ClockId::CLOCK_REALTIME,
        }
    }

    fn in_nanoseconds(self, seconds: i64, nanoseconds: i64) -> Result<Nanoseconds, String> {
        if !(0..SECOND).contains(&nanoseconds) || seconds < 0 {
            return Err(format!("{}: {seconds} s and {nanoseconds} ns is no time", self.name()));
        }
        Ok(seconds.saturating_mul(SECOND).saturating_add(nanoseconds))
    }

    fn refused(self, errno: Errno) -> String {
        format!("{}: reading it failed: {}", self.name(), errno.desc())
    }
}

/// Something that reads clocks; the tests have one that lies.
pub trait ReadClock: Send + Sync {
    /// As programs read a clock: by the vDSO where there is one. The error is a difference to be reported.
    fn now(&self, clock: Clock) -> Result<Nanoseconds, String>;

    /// By the system call.
    fn by_system_call(&self, clock: Clock) -> Result<Nanoseconds, String>;
}

/// The kernel's clocks.
#[derive(Debug, Clone, Copy)]
pub struct KernelClocks;

impl ReadClock for KernelClocks {
    fn now(&self, clock: Clock) -> Result<Nanoseconds, String> {
        let time = clock_gettime(clock.id()).map_err(|errno| clock.refused(errno))?;
        clock.in_nanoseconds(time.tv_sec(), time.tv_nsec())
    }

    fn by_system_call(&self, clock: Clock) -> Result<Nanoseconds, String> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: clock_gettime(2) writes one timespec, to memory of ours.
        let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock.id().as_raw(), &raw mut time) };
        Errno::result(result).map_err(|errno| clock.refused(errno))?;
        clock.in_nanoseconds(time.tv_sec, time.tv_nsec)
    }
}

/// Clocks that can be made to lie.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct LyingClocks {
    /// What is added to each clock, in the order of the enum; the last is added to what system calls return.
    pub steps: [std::sync::atomic::AtomicI64; 5],
}

#[cfg(test)]
impl LyingClocks {
    /// Steps a clock.
    pub fn step(&self, clock: Clock, by: Nanoseconds) {
        self.steps[clock as usize].fetch_add(by, std::sync::atomic::Ordering::SeqCst);
    }

    fn added(&self, index: usize) -> Nanoseconds {
        self.steps[index].load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[cfg(test)]
impl ReadClock for LyingClocks {
    fn now(&self, clock: Clock) -> Result<Nanoseconds, String> {
        Ok(KernelClocks.now(clock)? + self.added(clock as usize))
    }

    fn by_system_call(&self, clock: Clock) -> Result<Nanoseconds, String> {
        Ok(KernelClocks.by_system_call(clock)? + self.added(clock as usize) + self.added(4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_read_the_same_clock() {
        for clock in [Clock::Monotonic, Clock::MonotonicRaw, Clock::Boottime, Clock::Realtime] {
            let first = KernelClocks.now(clock).unwrap();
            let second = KernelClocks.by_system_call(clock).unwrap();
            assert!(first <= second && second < first + SECOND, "{}: {first} {second}", clock.name());
        }
    }

    #[test]
    fn an_impossible_time_is_a_difference() {
        let text = Clock::Boottime.in_nanoseconds(3, SECOND).unwrap_err();
        assert_eq!(text, "boottime: 3 s and 1000000000 ns is no time");
    }
}
