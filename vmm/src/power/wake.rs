//! Into S3 and out of it.

use cpu::CpuState;
use devices::acpi_pm::Pm1;
use devices::disk::write_log::PowerMark;
use devices::{Observer, PowerEvent, Reset, WorldTime};
use firmware::{Mtrrs, reset};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::facs::waking_vector;
use super::{Machine, PowerState};
use crate::board::{Board, World};

/// A machine that does not wake. But for the first two, it did wake, and firmware found nothing to enter: it does what it does after a
/// reset, with RAM as it was, and may boot a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WakeError {
    /// It does not sleep.
    #[error("the machine is {0}: only one that is asleep wakes")]
    NotAsleep(PowerState),
    /// Neither an alarm nor anything else the guest enabled will ever wake it. It sleeps on.
    #[error("nothing will wake the machine: no alarm is set, or its event is not enabled")]
    NothingWakes,
    /// Where firmware left the FACS there is none.
    #[error("there is no FACS any more where firmware left it: the guest wrote over it, and firmware boots")]
    NoFacs,
    /// The vector is 0.
    #[error("the waking vector in the FACS is 0, not armed: firmware boots")]
    NoVector,
    /// Real mode does not reach it.
    #[error("the waking vector {0:#x} in the FACS is beyond the first mebibyte: firmware boots")]
    BeyondRealMode(u32),
    /// It leads into what belongs to firmware, or to no memory.
    #[error("the waking vector {0:#x} in the FACS is not in memory that a kernel may use: firmware boots")]
    NotMemory(u32),
    /// The vector for protected mode is set, which goes first (ACPI 6.5, table 5.12). This firmware enters guests in real mode only.
    #[error(
        "the extended waking vector in the FACS is {0:#x}: this firmware wakes in real mode only, and boots"
    )]
    ExtendedVector(u64),
    /// Firmware cannot describe the board any more: our own fault, as it could when the machine booted.
    #[error("firmware cannot describe the board it booted on")]
    Undescribed,
}

/// What woke a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WakeSource {
    /// Something that had happened already when it fell asleep.
    Pending,
    /// The alarm of the real-time clock.
    Alarm,
    /// The power button.
    PowerButton,
    /// Nothing that the guest can see: whoever runs the machine.
    Host,
}

/// How a machine woke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    /// By what.
    pub source: WakeSource,
    /// Nanoseconds it slept.
    pub slept: u64,
}

impl Board {
    /// When the alarm of the real-time clock wakes a machine: if it is set, and its event enabled.
    pub(crate) fn alarm(&self) -> Option<WorldTime> {
        self.rtc.next_alarm().filter(|_| self.pm.enabled().contains(Pm1::RTC))
    }
}

impl Machine {
    /// The machine goes to S3: everything but RAM and what standby power feeds is lost now.
    pub(super) fn fall_asleep(&mut self, observer: &mut dyn Observer) {
        self.mark(PowerMark::S3);
        let now = self.clock.now();
        let before: Vec<CpuState> = self.engine.processors().cloned().collect();
        self.engine.power_on(&self.config);
        self.engine.wake_tsc(self.config.tsc_on_s3, &before, now);
        let mut world = World::of_host(&self.ram, self.clock, self.instructions, observer);
        self.board.reset(Reset::Wake, now, &mut world);
        self.power = PowerState::S3;
        self.tell(PowerEvent::Asleep, observer);
    }

    /// Sleeps in S3 until what the guest enabled wakes the machine: an event that waits already, or the alarm of the real-time clock.
    ///
    /// # Errors
    /// [`WakeError`].
    pub fn sleep_until_wake(&mut self, observer: &mut dyn Observer) -> Result<Wake, WakeError> {
        match self.sleep(None, observer)? {
            Some(wake) => self.wake(wake, observer),
            None => Err(WakeError::NothingWakes),
        }
    }

    /// Presses the power button of a machine that sleeps in S3, after this many nanoseconds: it wakes whatever the guest enabled, if
    /// nothing wakes it before.
    ///
    /// # Errors
    /// [`WakeError`].
    pub fn wake_by_button(&mut self, after: u64, observer: &mut dyn Observer) -> Result<Wake, WakeError> {
        let wake = match self.sleep(Some(after), observer)? {
            Some(wake) => wake,
            None => {
                self.press_power_button(observer);
                Wake { source: WakeSource::PowerButton, slept: after }
            }
        };
        self.wake(wake, observer)
    }

    /// Wakes a machine that sleeps in S3, after this many nanoseconds, if nothing wakes it before: no status but WAK_STS tells the guest
    /// why.
    ///
    /// # Errors
    /// [`WakeError`].
    pub fn wake_by_host(&mut self, after: u64, observer: &mut dyn Observer) -> Result<Wake, WakeError> {
        let wake = self.sleep(Some(after), observer)?;
        self.wake(wake.unwrap_or(Wake { source: WakeSource::Host, slept: after }), observer)
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self, observer: &mut dyn Observer) {
        let mut world = World::of_host(&self.ram, self.clock, self.instructions, observer);
        self.board.press_power_button(self.clock.now(), &mut world);
    }

    /// Moves the alarm of the real-time clock: it goes off this many nanoseconds from now, whatever the guest set it to. Whether that
    /// wakes a machine that sleeps is the guest's to enable.
    pub fn move_alarm(&mut self, after: u64, observer: &mut dyn Observer) {
        let mut world = World::of_host(&self.ram, self.clock, self.instructions, observer);
        self.board.move_alarm(after, self.clock.now(), &mut world);
    }

    /// Sleeps, at most this many nanoseconds, and as long as it takes if no number is given. None: nothing woke it.
    fn sleep(
        &mut self,
        at_most: Option<u64>,
        observer: &mut dyn Observer,
    ) -> Result<Option<Wake>, WakeError> {
        if self.power != PowerState::S3 {
            return Err(WakeError::NotAsleep(self.power));
        }
        if self.board.pm.wants_wake() {
            return Ok(Some(Wake { source: WakeSource::Pending, slept: 0 }));
        }
        let alarm = self.next_alarm().filter(|alarm| at_most.is_none_or(|most| *alarm <= most));
        let Some(slept) = alarm.or(at_most) else { return Ok(None) };
        self.clock.pass(slept);
        let now = self.clock.now();
        let mut world = World::of_host(&self.ram, self.clock, self.instructions, observer);
        self.board.tick_clock(now, &mut world);
        let woke = self.board.pm.wants_wake();
        Ok(woke.then_some(Wake { source: WakeSource::Alarm, slept }))
    }

    /// From S3 to S0: the first processor enters the guest's waking vector in real mode, the others wait for a start-up IPI.
    fn wake(&mut self, wake: Wake, observer: &mut dyn Observer) -> Result<Wake, WakeError> {
        self.power = PowerState::S0;
        self.mark(PowerMark::Wake);
        let mut world = World::of_host(&self.ram, self.clock, self.instructions, observer);
        self.board.woke(self.clock.now(), &mut world);
        let entry = waking_vector(&self.ram).and_then(|vector| {
            let registers =
                reset::wake(self.engine.signature(), vector).ok_or(WakeError::BeyondRealMode(vector))?;
            Ok((registers, self.mtrrs().ok_or(WakeError::Undescribed)?))
        });
        match entry {
            Ok((registers, mtrrs)) => {
                self.engine.enter(&registers, &mtrrs);
                self.tell(PowerEvent::Awake, observer);
                Ok(wake)
            }
            Err(error) => {
                self.tell(PowerEvent::Reset, observer);
                Err(error)
            }
        }
    }

    fn mtrrs(&self) -> Option<Mtrrs> {
        firmware::tables(&self.board.describe(&self.config), &self.board.aml())
            .ok()
            .map(|tables| tables.mtrrs)
    }
}
