//! One-shot timers with an absolute deadline: they fire exactly once, whether the machine sleeps over the deadline or not.

use agent_protocol::message::Failure;
use nix::sys::timerfd::{Expiration, TimerFd, TimerSetTimeFlags};

use super::{Fired, LATE, Lateness, fired, timer_fd, timespec};
use crate::failure::{While, failure};
use crate::workloads::clock::{Clock, MILLISECOND, Nanoseconds, ReadClock, SECOND};

/// From arming to the deadline: long enough that a sleep usually begins before it and ends after.
const AHEAD: Nanoseconds = 3 * SECOND / 2;
/// Realtime that moved by more than this against monotonic time was set.
const SET: Nanoseconds = 100 * MILLISECOND;

/// Whether the kernel shall cancel a timer of realtime when that clock is set, as it is by every sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// No.
    Never,
    /// TFD_TIMER_CANCEL_ON_SET.
    WhenClockIsSet,
}

/// A timer that is armed again after it fired.
pub struct OneShot {
    clock: Clock,
    cancel: Cancel,
    timer: TimerFd,
    deadline: Nanoseconds,
    /// It fired at the last look; at this one it must be silent, then it is armed again.
    spent: bool,
    /// Realtime minus monotonic time when armed.
    offset: Nanoseconds,
    count: u64,
    lateness: Lateness,
    uncancelled: Lateness,
}

impl OneShot {
    /// Arms a timer.
    ///
    /// # Errors
    /// If the clock cannot be read or the timer not be armed.
    pub fn start(clock: Clock, cancel: Cancel, reader: &dyn ReadClock) -> Result<OneShot, Failure> {
        let mut one_shot = OneShot {
            clock,
            cancel,
            timer: timer_fd(clock)?,
            deadline: reader.now(clock).map_err(failure)?.saturating_add(AHEAD),
            spent: false,
            offset: 0,
            count: 0,
            lateness: Lateness::default(),
            uncancelled: Lateness::default(),
        };
        one_shot.arm(reader).map_err(failure)?;
        Ok(one_shot)
    }

    /// Times it fired.
    #[cfg(test)]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Looks at the timer and compares it with its clock.
    pub fn observe(&mut self, reader: &dyn ReadClock) -> Result<(), String> {
        self.look(reader)
            .map_err(|difference| format!("one-shot timer of {}: {difference}", self.clock.name()))
    }

    fn look(&mut self, reader: &dyn ReadClock) -> Result<(), String> {
        let before = reader.now(self.clock)?;
        match fired(&self.timer)? {
            Fired::Times(_) if self.spent => Err("fired again after it had fired".into()),
            Fired::Times(times) => self.expired(times, reader.now(self.clock)?),
            Fired::Cancelled if self.cancel == Cancel::Never => {
                Err("cancelled, though it does not ask to be".into())
            }
            // Whether it had fired before that is not to be learned: the deadline stands, if need be it fires at once.
            Fired::Cancelled => self.arm(reader),
            Fired::Not if self.spent => {
                self.deadline = before.saturating_add(AHEAD);
                self.arm(reader)
            }
            Fired::Not => self.waits(before, reader),
        }
    }

    fn expired(&mut self, times: u64, after: Nanoseconds) -> Result<(), String> {
        self.spent = true;
        self.count = self.count.wrapping_add(1);
        self.lateness = Lateness::default();
        let deadline = self.deadline;
        if times != 1 {
            return Err(format!("fired {times} times at once"));
        }
        if after < deadline {
            return Err(format!("armed for {deadline} ns, fired before {after} ns"));
        }
        Ok(())
    }

    fn waits(&mut self, before: Nanoseconds, reader: &dyn ReadClock) -> Result<(), String> {
        let deadline = self.deadline;
        if self.lateness.exhausted(before > deadline.saturating_add(LATE)) {
            return Err(format!("armed for {deadline} ns, not fired at {before} ns"));
        }
        if self.cancel == Cancel::WhenClockIsSet {
            let moved = offset(reader)?.saturating_sub(self.offset);
            if self.uncancelled.exhausted(moved.saturating_abs() > SET) {
                return Err(format!("not cancelled though the clock was set by {} ms", moved / MILLISECOND));
            }
        }
        Ok(())
    }

    fn arm(&mut self, reader: &dyn ReadClock) -> Result<(), String> {
        let mut flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
        if self.cancel == Cancel::WhenClockIsSet {
            flags |= TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        }
        self.offset = offset(reader)?;
        (self.spent, self.lateness, self.uncancelled) = (false, Lateness::default(), Lateness::default());
        self.timer
            .set(Expiration::OneShot(timespec(self.deadline)), flags)
            .while_doing(|| "arming it".into())
            .map_err(|failure| failure.to_string())
    }
}

/// Realtime minus monotonic time. Interrupted between the two clocks it is wrong by the length of the interruption; the
/// nearest of a few pairs is taken.
fn offset(reader: &dyn ReadClock) -> Result<Nanoseconds, String> {
    let mut best = (Nanoseconds::MAX, 0);
    for _ in 0..3 {
        let before = reader.now(Clock::Monotonic)?;
        let realtime = reader.now(Clock::Realtime)?;
        let took = reader.now(Clock::Monotonic)?.saturating_sub(before);
        if took < best.0 {
            best = (took, realtime.saturating_sub(before));
        }
    }
    Ok(best.1)
}
