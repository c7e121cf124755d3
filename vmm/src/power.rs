//! S3, off, reset, and power that fails: what is lost, what stays, and how the machine goes on.
//!
//! | | S3 and wake | reset line | off, or power cut |
//! |---|---|---|---|
//! | RAM | stays | stays | lost |
//! | processors, interrupt controllers, timers, PCI functions | lost | lost | lost |
//! | wake sources and their status | stay | lost | lost |
//! | CMOS and the real-time clock | stay | stay | stay |
//! | contents of disks | stay | stay | stay |
//! | time-stamp counters | as configured: stay | lost | lost |
//! | run time | stands still | goes on | starts again |
//! | world time | goes on | goes on | goes on |

use cpu::CpuState;
use devices::{Observer, Reset};
use firmware::{Mtrrs, reset};
use thiserror::Error;

use crate::board::World;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::scheduler::Scheduler;
use crate::machine::{Machine, MachineError};
use crate::power_on_ram;

/// Offset of the 32-bit waking vector in the FACS (ACPI 6.5, table 5.12).
const WAKING_VECTOR: u64 = 12;

/// A machine that does not wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WakeError {
    /// Neither an alarm nor anything else the guest enabled will ever wake it.
    #[error("nothing will wake the machine: no alarm is set, or its event is not enabled")]
    NothingWakes,
    /// The FACS holds no vector that real mode reaches: firmware would boot instead.
    #[error("the waking vector in the FACS is {0:#x}: not armed")]
    NoVector(u32),
    /// Firmware cannot describe the board any more: our own fault, as it could when the machine booted.
    #[error("firmware cannot describe the board it booted on")]
    Undescribed,
}

impl Machine {
    /// Sleeps in S3 until what the guest enabled wakes the machine: an event that waits already, or the alarm of the real-time clock.
    ///
    /// # Errors
    /// [`WakeError`]; the machine sleeps on after [`WakeError::NothingWakes`].
    pub fn sleep_until_wake(&mut self, observer: &mut dyn Observer) -> Result<(), WakeError> {
        if !self.board.pm.wants_wake() {
            let now = self.clock.now();
            let alarm = self.board.rtc.next_alarm().ok_or(WakeError::NothingWakes)?;
            self.clock.pass(alarm.0.saturating_sub(self.clock.world_at(now).0));
            let mut world = World::of_host(&self.ram, self.clock, self.instructions, observer);
            self.board.tick_clock(now, &mut world);
        }
        if !self.board.pm.wants_wake() {
            return Err(WakeError::NothingWakes);
        }
        self.wake(observer)
    }

    /// Presses the power button of a machine that sleeps in S3, after this many nanoseconds: it wakes whatever the guest enabled.
    ///
    /// # Errors
    /// [`WakeError::NoVector`].
    pub fn wake_by_button(&mut self, after: u64, observer: &mut dyn Observer) -> Result<(), WakeError> {
        self.clock.pass(after);
        self.press_power_button(observer);
        self.wake(observer)
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self, observer: &mut dyn Observer) {
        let mut world = World::of_host(&self.ram, self.clock, self.instructions, observer);
        self.board.press_power_button(self.clock.now(), &mut world);
    }

    /// From S3 to S0: everything but RAM lost its state; the first processor enters the guest's waking vector in real mode.
    fn wake(&mut self, observer: &mut dyn Observer) -> Result<(), WakeError> {
        let mut vector = [0; 4];
        let armed = self.ram.read(firmware::layout::FACS + WAKING_VECTOR, &mut vector).is_ok();
        let vector = if armed { u32::from_le_bytes(vector) } else { 0 };
        let signature = self.engine.signature();
        let registers = reset::wake(signature, vector).ok_or(WakeError::NoVector(vector))?;
        let mtrrs = self.mtrrs().ok_or(WakeError::Undescribed)?;
        let now = self.clock.now();
        let before: Vec<CpuState> = self.engine.processors().cloned().collect();
        self.engine.power_on(&self.config);
        self.engine.wake_tsc(self.config.tsc_on_s3, &before, now);
        self.engine.enter(&registers, &mtrrs);
        let mut world = World::of_host(&self.ram, self.clock, self.instructions, observer);
        self.board.reset(Reset::Wake, now, &mut world);
        self.board.woke(now, &mut world);
        Ok(())
    }

    fn mtrrs(&self) -> Option<Mtrrs> {
        firmware::tables(&self.board.describe(&self.config), &self.board.aml())
            .ok()
            .map(|tables| tables.mtrrs)
    }

    /// Power is off for this many nanoseconds, by order or because it failed, and comes on again: firmware may boot a kernel. What
    /// disks had accepted and not made durable is theirs to lose.
    ///
    /// # Errors
    /// [`MachineError::Ram`] if the host has no memory left.
    pub fn power_cycle(&mut self, off: u64, observer: &mut dyn Observer) -> Result<(), MachineError> {
        let world = self.clock.world_at(self.clock.now().after(off));
        self.put_memory(power_on_ram::ram(&self.config)?);
        self.clock = Clock::new(world);
        self.restart(Reset::PowerOn, observer);
        self.instructions = 0;
        Ok(())
    }

    /// The same, for as long as the configuration says.
    ///
    /// # Errors
    /// As [`Machine::power_cycle`].
    pub fn power_cycle_as_configured(&mut self, observer: &mut dyn Observer) -> Result<(), MachineError> {
        self.power_cycle(self.config.off_for, observer)
    }

    /// The same, and while power is off the machine becomes this one: firmware and hardware that are not what they were when an image
    /// was saved. There is no other time at which a configuration can change. What a battery or a disk keeps stays.
    ///
    /// # Errors
    /// [`MachineError::Invalid`] before anything happened, or as [`Machine::power_cycle`].
    pub fn power_cycle_as(
        &mut self,
        config: Config,
        off: u64,
        observer: &mut dyn Observer,
    ) -> Result<(), MachineError> {
        config.check()?;
        self.board.fit(&config);
        self.config = config;
        self.power_cycle(off, observer)
    }

    /// The reset line: as [`Machine::power_cycle`], but nothing lost its power, and no time passes.
    pub fn reset_line(&mut self, observer: &mut dyn Observer) {
        self.restart(Reset::Line, observer);
    }

    fn restart(&mut self, kind: Reset, observer: &mut dyn Observer) {
        let now = self.clock.now();
        self.engine.power_on(&self.config);
        self.engine.restart_tsc(now);
        self.scheduler = Scheduler::new(self.config.quantum, self.config.seed.wrapping_sub(1));
        let mut world = World::of_host(&self.ram, self.clock, self.instructions, observer);
        self.board.reset(kind, now, &mut world);
    }
}
