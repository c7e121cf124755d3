//! Timers of every kind: none is late, none early, none lost or fired twice, also across a sleep.

mod one_shot;
mod periodic;
mod posix;

use std::sync::Arc;

use agent_protocol::message::Failure;
use nix::errno::Errno;
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timerfd::{TimerFd, TimerFlags};
use nix::time::{ClockNanosleepFlags, clock_nanosleep};

use super::clock::{Clock, MILLISECOND, Nanoseconds, ReadClock, SECOND};
use super::differences::Differences;
use super::work::{Pulse, Work};
use crate::failure::While;
use one_shot::{Cancel, OneShot};
use periodic::{Expirations, Periodic};
use posix::PosixTimer;

/// How late the interrupt of a timer may be on a busy host.
const LATE: Nanoseconds = SECOND;
/// A timer is late only if it is found so this many times in a row: right after a wake the kernel may not have come round to
/// it yet.
const PATIENCE: u32 = 3;
const PERIOD: Nanoseconds = 100 * MILLISECOND;
const NAP: Nanoseconds = 5 * MILLISECOND;

/// Counts how often in a row something was late.
#[derive(Debug, Default)]
struct Lateness(u32);

impl Lateness {
    /// Whether it has now been late for too long.
    fn exhausted(&mut self, late: bool) -> bool {
        self.0 = if late { self.0.saturating_add(1) } else { 0 };
        self.0 >= PATIENCE
    }
}

fn timespec(time: Nanoseconds) -> TimeSpec {
    TimeSpec::nanoseconds(time)
}

/// A non-blocking timerfd.
fn timer_fd(clock: Clock) -> Result<TimerFd, Failure> {
    use nix::sys::timerfd::ClockId;
    let id = match clock {
        Clock::Monotonic | Clock::MonotonicRaw => ClockId::CLOCK_MONOTONIC,
        Clock::Boottime => ClockId::CLOCK_BOOTTIME,
        Clock::Realtime => ClockId::CLOCK_REALTIME,
    };
    TimerFd::new(id, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)
        .while_doing(|| format!("making a timer of clock {}", clock.name()))
}

/// What a timerfd says.
enum Fired {
    /// Not since it was last asked.
    Not,
    /// So many times.
    Times(u64),
    /// The clock was set under it.
    Cancelled,
}

fn fired(timer: &TimerFd) -> Result<Fired, String> {
    let mut count = [0; 8];
    match nix::unistd::read(timer, &mut count) {
        Ok(8) => Ok(Fired::Times(u64::from_ne_bytes(count))),
        Ok(len) => Err(format!("a timerfd gave {len} bytes instead of 8")),
        Err(Errno::EAGAIN) => Ok(Fired::Not),
        Err(Errno::ECANCELED) => Ok(Fired::Cancelled),
        Err(errno) => Err(format!("reading a timerfd: {}", errno.desc())),
    }
}

/// The workload.
pub struct Timers {
    reader: Arc<dyn ReadClock>,
    periodic: Vec<Periodic>,
    one_shot: Vec<OneShot>,
    naps: u64,
}

impl Timers {
    /// Arms everything. The timers must be used by the calling thread only: one of them signals it.
    ///
    /// # Errors
    /// If a kind of timer is not there.
    pub fn new(reader: Arc<dyn ReadClock>) -> Result<Timers, Failure> {
        let posix: Box<dyn Expirations> = Box::new(PosixTimer::new()?);
        let mut periodic = vec![Periodic::start("POSIX timer", Clock::Monotonic, posix, &*reader)?];
        for clock in [Clock::Monotonic, Clock::Boottime] {
            periodic.push(Periodic::start("timerfd", clock, Box::new(timer_fd(clock)?), &*reader)?);
        }
        let mut one_shot = Vec::new();
        for (clock, cancel) in [
            (Clock::Monotonic, Cancel::Never),
            (Clock::Boottime, Cancel::Never),
            (Clock::Realtime, Cancel::Never),
            (Clock::Realtime, Cancel::WhenClockIsSet),
        ] {
            one_shot.push(OneShot::start(clock, cancel, &*reader)?);
        }
        Ok(Timers { reader, periodic, one_shot, naps: 0 })
    }

    /// A sleep is never shorter than asked for, and nothing but its end ends it.
    fn nap(&mut self) -> Result<(), String> {
        let before = self.reader.now(Clock::Monotonic)?;
        let nap = clock_nanosleep(Clock::Monotonic.id(), ClockNanosleepFlags::empty(), &timespec(NAP));
        nap.map_err(|errno| format!("nanosleep: {}", errno.desc()))?;
        let slept = self.reader.now(Clock::Monotonic)?.saturating_sub(before);
        self.naps = self.naps.wrapping_add(1);
        if slept < NAP { Err(format!("nanosleep of {NAP} ns took {slept} ns")) } else { Ok(()) }
    }
}

impl Work for Timers {
    fn step(&mut self, found: &mut Differences) {
        for timer in &mut self.periodic {
            found.note(timer.observe(&*self.reader));
        }
        for timer in &mut self.one_shot {
            found.note(timer.observe(&*self.reader));
        }
        found.note(self.nap());
    }

    fn check(&mut self, found: &mut Differences) {
        self.step(found);
    }

    fn pulses(&self) -> Vec<Pulse> {
        let periodic = self.periodic.iter().map(|timer| Pulse::new(timer.name(), timer.count()));
        std::iter::once(Pulse::new("naps", self.naps)).chain(periodic).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::clock::{KernelClocks, LyingClocks};
    use crate::workloads::work::{PAUSE, Worker};

    fn work(worker: &mut Worker<Timers>, steps: u32) {
        for _ in 0..steps {
            worker.step();
            std::thread::sleep(PAUSE);
        }
    }

    #[test]
    fn silent_on_the_kernels_timers() {
        let mut worker = Worker::new(Timers::new(Arc::new(KernelClocks)).unwrap());
        work(&mut worker, 45);
        assert!(worker.work.one_shot.iter().all(|timer| timer.count() >= 2));
        assert_eq!(worker.check(), Vec::<String>::new());
    }

    /// What a check says after a clock was stepped.
    fn after_step(clock: Clock, by: Nanoseconds) -> Vec<String> {
        let clocks = Arc::new(LyingClocks::default());
        let mut worker = Worker::new(Timers::new(Arc::<LyingClocks>::clone(&clocks)).unwrap());
        work(&mut worker, 2);
        assert_eq!(worker.check(), Vec::<String>::new());
        clocks.step(clock, by);
        work(&mut worker, 4);
        worker.check()
    }

    #[test]
    fn expirations_that_are_missing_are_found() {
        let differences = after_step(Clock::Boottime, 10 * SECOND);
        for expected in ["one-shot timer of boottime: armed for ", "timerfd of boottime: "] {
            assert!(differences.iter().any(|text| text.starts_with(expected)), "{differences:?}");
        }
    }

    #[test]
    fn expirations_that_are_too_many_are_found() {
        let differences = after_step(Clock::Monotonic, -10 * SECOND);
        let expected = "POSIX timer of monotonic: ";
        assert!(
            differences[0].starts_with(expected) && differences[0].contains("at most"),
            "{differences:?}"
        );
    }

    #[test]
    fn a_realtime_that_was_set_without_cancelling_is_found() {
        // Both timers of realtime are late; after those the one that should have been cancelled.
        let clocks = Arc::new(LyingClocks::default());
        let mut worker = Worker::new(Timers::new(Arc::<LyingClocks>::clone(&clocks)).unwrap());
        clocks.step(Clock::Realtime, SECOND / 2);
        work(&mut worker, 8);
        let differences = worker.check();
        // By half a second, less what passed between two looks at the host's clock.
        let expected = "one-shot timer of realtime: not cancelled though the clock was set by ";
        assert!(differences.iter().any(|text| text.starts_with(expected)), "{differences:?}");
    }
}
