//! A timer of timer_create(2) that signals the thread it was made by; the signal is taken, never handled.
#![allow(unsafe_code)] // sigtimedwait(2) has no wrapper

use agent_protocol::message::Failure;
use nix::errno::Errno;
use nix::sys::signal::{SigEvent, SigSet, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::unistd::gettid;

use super::periodic::Expirations;
use super::timespec;
use crate::failure::While;
use crate::workloads::clock::{Clock, Nanoseconds};

const SIGNAL: Signal = Signal::SIGALRM;

/// The timer.
#[derive(Debug)]
pub struct PosixTimer(Timer);

impl PosixTimer {
    /// A timer of the monotonic clock, for the calling thread.
    ///
    /// # Errors
    /// If the kernel has none.
    pub fn new() -> Result<PosixTimer, Failure> {
        let making = || "making a POSIX timer".into();
        let mut signals = SigSet::empty();
        signals.add(SIGNAL);
        signals.thread_block().while_doing(making)?;
        let notify = SigevNotify::SigevThreadId { signal: SIGNAL, thread_id: gettid().as_raw(), si_value: 0 };
        Timer::new(Clock::Monotonic.id(), SigEvent::new(notify)).while_doing(making).map(PosixTimer)
    }
}

impl Expirations for PosixTimer {
    fn arm(&mut self, start: Nanoseconds, period: Nanoseconds) -> nix::Result<()> {
        let expiration = Expiration::IntervalDelayed(timespec(start), timespec(period));
        self.0.set(expiration, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
    }

    fn taken(&mut self) -> Result<u64, String> {
        let mut signals = SigSet::empty();
        signals.add(SIGNAL);
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: sigtimedwait(2) reads the set and the time, both ours, and writes nothing without a place for siginfo.
        let taken = unsafe { libc::sigtimedwait(signals.as_ref(), std::ptr::null_mut(), &raw const now) };
        match Errno::result(taken) {
            // One signal stands for all expirations until it was taken.
            Ok(_) => Ok(1 + u64::try_from(self.0.overruns()).map_err(|_| "its overruns are unknown")?),
            Err(Errno::EAGAIN) => Ok(0),
            Err(errno) => Err(format!("taking its signal: {}", errno.desc())),
        }
    }
}
