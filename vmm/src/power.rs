//! Power states and the ways between them: S3, off, reset, and power that fails.
//!
//! [`Machine::run`] leaves S0 by itself when the guest writes SLP_EN: it returns [`crate::Stop::Power`], and the machine sleeps or is off.
//! Everything else is done by whoever runs it: [`Machine::sleep_until_wake`] and its like from S3, [`Machine::power_on`] from off,
//! [`Machine::reset_line`], and [`Machine::power_cut`] from any state.
//!
//! What survives what:
//!
//! | | S3 and wake | reset line | off and on | power cut and on |
//! |---|---|---|---|---|
//! | RAM | kept | kept | lost | lost |
//! | processors; local APICs | lost | lost | lost | lost |
//! | 8259A; IOAPIC; interval timer; UARTs | lost | lost | lost | lost |
//! | PCI configuration and BARs; MSI-X; virtio; NVMe | lost | lost | lost | lost |
//! | PM1_STS; PM1_EN; GPE0 | kept | kept | lost | lost |
//! | CMOS memory; alarm | kept | kept | kept | lost |
//! | real-time clock | kept | kept | kept | set to world time |
//! | contents of disks that are durable | kept | kept | kept | kept |
//! | contents of disks that are not yet durable | kept | kept | kept | as chosen |
//! | disks' counters | kept | kept | lost | lost |
//! | random numbers | from the seed | from the seed | from the seed | from the seed |
//! | time-stamp counters | kept | from 0 | from 0 | from 0 |
//! | run time | stands still | kept | from 0 | from 0 |
//! | instructions | kept | kept | from 0 | from 0 |
//! | world time | goes on | goes on | goes on | goes on |
//!
//! *Lost* is: as in a machine that was never on before. PM1_EN keeps its wake events only. Of S3 and off this is what machines and disks do that are
//! not configured otherwise: see `tsc_on_s3` of the machine, and of a disk what it does in S3 and when power goes by order. What follows a cut is
//! a function of the configuration, the contents of the disks and world time, and of nothing that was before it; world time too may be what the
//! caller says.

mod facs;
#[cfg(test)]
mod survival;
#[cfg(test)]
mod tests;
mod wake;

use std::fmt;

use devices::acpi_pm::SleepState;
use devices::disk::write_log::{PowerMark, Record};
use devices::disk::{BaseError, Disk, Media};
use devices::{Event, Moment, Observer, PowerEvent, PowerRequest, Reset, WorldTime};
use ram::GuestRam;
use serde::{Deserialize, Serialize};

use crate::board::World;
use crate::clock::Clock;
use crate::code_watch::CodeWatch;
use crate::config::Config;
use crate::engine::Stop;
use crate::engine::scheduler::Scheduler;
use crate::machine::{Machine, MachineError};
use crate::power_on_ram;

pub use wake::{Wake, WakeError, WakeSource};

/// Where a machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PowerState {
    /// Works.
    S0,
    /// Sleeps; RAM has power.
    S3,
    /// Off by order; a wake event may switch it on.
    S4,
    /// Off by order.
    S5,
    /// Off because the power failed.
    Cut,
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S0 => "on (S0)",
            Self::S3 => "asleep (S3)",
            Self::S4 => "off (S4)",
            Self::S5 => "off (S5)",
            Self::Cut => "off: its power was cut",
        })
    }
}

/// What a cut leaves on a disk: chosen from what is durable and from what may survive beside it.
pub type Choose<'a> = dyn FnMut(&Disk) -> Result<Media, BaseError> + 'a;

/// Nothing survives that was not made durable.
///
/// # Errors
/// None.
pub fn nothing_unflushed(disk: &Disk) -> Result<Media, BaseError> {
    Ok(disk.durable().clone())
}

/// Everything survives that was accepted.
///
/// # Errors
/// None.
pub fn everything_accepted(disk: &Disk) -> Result<Media, BaseError> {
    Ok(disk.media().clone())
}

impl Machine {
    /// Where it stands.
    pub fn power_state(&self) -> PowerState {
        self.power
    }

    /// What a run ended with may change the state of the machine: a device asked for a sleep that it has.
    pub(crate) fn follow(&mut self, stop: Stop, observer: &mut dyn Observer) {
        let Stop::Power(PowerRequest::Sleep { slp_typ }) = stop else { return };
        match SleepState::of_slp_typ(slp_typ) {
            Some(SleepState::S3) => self.fall_asleep(observer),
            Some(SleepState::S4) => self.switch_off(PowerState::S4, observer),
            Some(SleepState::S5) => self.switch_off(PowerState::S5, observer),
            None => {}
        }
    }

    /// Off by order: what disks do with what is not durable is their configuration's to say.
    fn switch_off(&mut self, state: PowerState, observer: &mut dyn Observer) {
        self.mark(if state == PowerState::S4 { PowerMark::S4 } else { PowerMark::Off });
        self.board.pci.disks_mut().for_each(Disk::power_off);
        self.power = state;
        self.tell(PowerEvent::Off, observer);
    }

    /// The power fails, in whatever state the machine is, and in the middle of whatever it does: RAM is lost, and each disk keeps what
    /// `choose` says.
    ///
    /// # Errors
    /// [`MachineError::Power`] if there is no power to fail; [`MachineError::Disk`] of the choice, and then nothing happened.
    pub fn power_cut(
        &mut self,
        choose: &mut Choose<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), MachineError> {
        if self.power == PowerState::Cut {
            return Err(self.not_possible("cut the power of"));
        }
        let chosen = self.board.pci.disks().map(choose).collect::<Result<Vec<Media>, _>>()?;
        self.put_memory(GuestRam::new(self.config.memory)?);
        self.mark(PowerMark::Cut);
        for (disk, media) in self.board.pci.disks_mut().zip(chosen) {
            disk.power_on(media);
        }
        self.power = PowerState::Cut;
        self.tell(PowerEvent::Cut, observer);
        Ok(())
    }

    /// Power comes on, this many nanoseconds after it went: firmware may boot a kernel.
    ///
    /// # Errors
    /// [`MachineError::Power`] if the machine is not off.
    pub fn power_on(&mut self, off: u64, observer: &mut dyn Observer) -> Result<(), MachineError> {
        self.power_on_at(self.clock.world_at(self.clock.now().after(off)), observer)
    }

    /// Power comes on, at this world time: after a cut, nothing then depends on when that was.
    ///
    /// # Errors
    /// As [`Machine::power_on`].
    pub fn power_on_at(&mut self, world: WorldTime, observer: &mut dyn Observer) -> Result<(), MachineError> {
        match self.power {
            PowerState::S0 | PowerState::S3 => return Err(self.not_possible("switch on")),
            // Who pulled the plug took the battery out as well.
            PowerState::Cut => self.board.rtc.lose_battery(world),
            PowerState::S4 | PowerState::S5 => {}
        }
        self.put_memory(power_on_ram::ram(&self.config)?);
        self.clock = Clock::new(world);
        self.instructions = 0;
        self.restart(Reset::PowerOn, observer);
        self.mark(PowerMark::On);
        self.power = PowerState::S0;
        self.tell(PowerEvent::On, observer);
        Ok(())
    }

    /// Nanoseconds until an alarm that the guest enabled wakes the machine or switches it on, if one will.
    pub fn next_alarm(&self) -> Option<u64> {
        let armed = matches!(self.power, PowerState::S3 | PowerState::S4 | PowerState::S5);
        let alarm = self.board.alarm().filter(|_| armed)?;
        Some(alarm.0.saturating_sub(self.clock.world_at(self.clock.now()).0))
    }

    /// The power is off for this many nanoseconds: it fails now, unless the machine is off already, and comes on again. Of disks
    /// nothing survives that was not durable.
    ///
    /// # Errors
    /// [`MachineError::Ram`] if the host has no memory left.
    pub fn power_cycle(&mut self, off: u64, observer: &mut dyn Observer) -> Result<(), MachineError> {
        self.lose_power(observer)?;
        self.power_on(off, observer)
    }

    /// The same, for as long as the configuration says.
    ///
    /// # Errors
    /// As [`Machine::power_cycle`].
    pub fn power_cycle_as_configured(&mut self, observer: &mut dyn Observer) -> Result<(), MachineError> {
        self.power_cycle(self.config.off_for, observer)
    }

    /// The machine becomes another: firmware and hardware that are not what they were, for instance when an image was saved. That is
    /// possible while power is off, and at no other time. What disks and a battery keep stays.
    ///
    /// # Errors
    /// [`MachineError::Power`] if the machine is not off, [`MachineError::Invalid`] if there is no such machine, [`MachineError::Ram`] if
    /// the host has no memory left. Nothing happened then.
    pub fn reconfigure(&mut self, config: Config) -> Result<(), MachineError> {
        if matches!(self.power, PowerState::S0 | PowerState::S3) {
            return Err(self.not_possible("change the configuration of"));
        }
        config.check()?;
        self.put_memory(GuestRam::new(config.memory)?);
        self.engine.power_on(&config);
        self.board.fit(&config);
        self.config = config;
        Ok(())
    }

    /// As [`Machine::power_cycle`], with [`Machine::reconfigure`] while power is off.
    ///
    /// # Errors
    /// [`MachineError::Invalid`] before anything happened, or as both.
    pub fn power_cycle_as(
        &mut self,
        config: Config,
        off: u64,
        observer: &mut dyn Observer,
    ) -> Result<(), MachineError> {
        config.check()?;
        self.lose_power(observer)?;
        self.reconfigure(config)?;
        self.power_on(off, observer)
    }

    /// The power fails if there is any.
    fn lose_power(&mut self, observer: &mut dyn Observer) -> Result<(), MachineError> {
        match self.power {
            PowerState::S0 | PowerState::S3 => self.power_cut(&mut nothing_unflushed, observer),
            PowerState::S4 | PowerState::S5 | PowerState::Cut => Ok(()),
        }
    }

    /// The reset line, pulled by a device, by a triple fault, or by a finger: nothing loses its power, and no time passes.
    ///
    /// # Errors
    /// [`MachineError::Power`] if the machine is not on.
    pub fn reset_line(&mut self, observer: &mut dyn Observer) -> Result<(), MachineError> {
        if self.power != PowerState::S0 {
            return Err(self.not_possible("reset"));
        }
        self.mark(PowerMark::Reset);
        self.restart(Reset::Line, observer);
        self.tell(PowerEvent::Reset, observer);
        Ok(())
    }

    /// Disks that keep a log remember it there: before they lose what it costs them.
    fn mark(&mut self, mark: PowerMark) {
        let now = self.clock.now();
        for log in self.board.pci.disks_mut().filter_map(Disk::log_mut) {
            log.push(now, Record::Power(mark));
        }
    }

    fn not_possible(&self, what: &'static str) -> MachineError {
        MachineError::Power { what, state: self.power }
    }

    /// Tells of what happened to the machine as a whole. One that works then stops before its first instruction, if a trigger matched.
    fn tell(&mut self, event: PowerEvent, observer: &mut dyn Observer) {
        let at = Moment { time: self.clock.now(), instructions: self.instructions, processor: None };
        let matched = observer.event(at, Event::Power(event));
        self.board.signals.triggered = matched && self.power == PowerState::S0;
    }

    /// Everything but memory starts again.
    fn restart(&mut self, kind: Reset, observer: &mut dyn Observer) {
        let now = self.clock.now();
        self.engine.power_on(&self.config);
        self.engine.restart_tsc(now);
        self.code_watch = CodeWatch::default();
        self.scheduler = Scheduler::new(self.config.quantum, self.config.seed.wrapping_sub(1));
        let mut world = World::of_host(&self.ram, self.clock, self.instructions, observer);
        self.board.reset(kind, now, &mut world);
    }
}
