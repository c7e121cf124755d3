//! Periodic timers: as many expirations as periods have passed on their clock.

use agent_protocol::message::Failure;
use nix::sys::timerfd::{Expiration, TimerFd, TimerSetTimeFlags};

use super::{Fired, LATE, Lateness, PERIOD, fired, timespec};
use crate::failure::{While, failure};
use crate::workloads::clock::{Clock, Nanoseconds, ReadClock};

/// A timer that counts its expirations.
pub trait Expirations {
    /// Arms it: first at `start`, then every `period`.
    ///
    /// # Errors
    /// The kernel's.
    fn arm(&mut self, start: Nanoseconds, period: Nanoseconds) -> nix::Result<()>;

    /// Expirations since last asked.
    ///
    /// # Errors
    /// A difference.
    fn taken(&mut self) -> Result<u64, String>;
}

impl Expirations for TimerFd {
    fn arm(&mut self, start: Nanoseconds, period: Nanoseconds) -> nix::Result<()> {
        let expiration = Expiration::IntervalDelayed(timespec(start), timespec(period));
        self.set(expiration, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
    }

    fn taken(&mut self) -> Result<u64, String> {
        match fired(self)? {
            Fired::Not => Ok(0),
            Fired::Times(times) => Ok(times),
            Fired::Cancelled => Err("cancelled, though it does not ask to be".into()),
        }
    }
}

/// A periodic timer.
pub struct Periodic {
    kind: &'static str,
    clock: Clock,
    timer: Box<dyn Expirations>,
    /// When it was armed: the first expiration is a period later.
    start: Nanoseconds,
    count: u64,
    lateness: Lateness,
}

impl Periodic {
    /// Arms a timer.
    ///
    /// # Errors
    /// If the clock cannot be read or the timer not be armed.
    pub fn start(
        kind: &'static str,
        clock: Clock,
        mut timer: Box<dyn Expirations>,
        reader: &dyn ReadClock,
    ) -> Result<Periodic, Failure> {
        let start = reader.now(clock).map_err(failure)?;
        timer.arm(start.saturating_add(PERIOD), PERIOD).while_doing(|| format!("arming a {kind}"))?;
        Ok(Periodic { kind, clock, timer, start, count: 0, lateness: Lateness::default() })
    }

    /// As in reports.
    pub fn name(&self) -> String {
        format!("{} of {}", self.kind, self.clock.name())
    }

    /// Expirations so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes expirations and compares their number with the time that has passed.
    pub fn observe(&mut self, reader: &dyn ReadClock) -> Result<(), String> {
        let before = reader.now(self.clock)?;
        let taken = self.timer.taken().map_err(|difference| format!("{}: {difference}", self.name()))?;
        let after = reader.now(self.clock)?;
        self.count = self.count.saturating_add(taken);
        let (least, most) = (self.due(before.saturating_sub(LATE)), self.due(after));
        let passed = after.saturating_sub(self.start);
        let (name, count) = (self.name(), self.count);
        if count > most {
            return Err(format!(
                "{name}: {count} expirations after {passed} ns, {taken} of them new, at most {most}"
            ));
        }
        if self.lateness.exhausted(count < least) {
            return Err(format!("{name}: {count} expirations after {passed} ns, expected {most}"));
        }
        Ok(())
    }

    /// Expirations due at a time.
    fn due(&self, time: Nanoseconds) -> u64 {
        u64::try_from(time.saturating_sub(self.start) / PERIOD).unwrap_or(0)
    }
}
