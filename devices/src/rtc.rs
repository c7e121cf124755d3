//! The real-time clock with its battery-backed memory (MC146818), and the day and month alarm and century of later chips.
//!
//! It counts in world time, computed when it is read. It is worth a call only while one of its interrupts is enabled.

mod alarm;
mod calendar;
mod description;
mod registers;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::alarm::Alarm;
use self::calendar::Civil;
use self::registers::{Cause, Control, Format};
use crate::oscillator::Frequency;
use crate::register;
use crate::{Context, Device, Gsi, Reset, VirtualTime, WorldTime};

/// Index port; the data port follows.
pub const PORT: u16 = 0x70;
/// Ports.
pub const PORTS: u8 = 2;
/// Interrupt.
pub const INTERRUPT: Gsi = Gsi(8);
/// Index of the day of the month of the alarm, which the FADT names: 0 and what begins with two ones is any.
pub const DAY_ALARM: u8 = 0x7D;
/// Index of the month of the alarm, likewise.
pub const MONTH_ALARM: u8 = 0x7E;
/// Index of the century, which the FADT names.
pub const CENTURY: u8 = 0x32;

const DATA: u16 = PORT + 1;
/// Bytes of memory, the clock's registers among them.
const MEMORY: usize = 128;
const SECOND: u64 = 1_000_000_000;
/// How long UIP announces a change of the time, and the change takes: 244 and 1984 microseconds.
const UPDATE: u64 = 2_228_000;
/// The first second after the divider was held is half a second.
const HALF_SECOND: u64 = SECOND / 2;

/// Where an alarm shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmDelivery {
    /// Interrupt 8 and the ACPI event, as chipsets do.
    #[default]
    Both,
    /// The ACPI event alone.
    Acpi,
    /// Interrupt 8 alone: such an alarm does not wake.
    #[serde(rename = "irq8")]
    Interrupt,
}

/// What does not change while the machine has power.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Where an alarm shows.
    pub alarm: AlarmDelivery,
}

/// The clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rtc {
    config: Config,
    index: u8,
    /// All bytes by index. Those of the time are up to date only while the clock stands; registers A to D live elsewhere.
    memory: Vec<u8>,
    /// Register A without UIP: divider and periodic rate.
    rate: u8,
    control: Control,
    /// Register C without its summary bit.
    causes: Cause,
    /// Nanoseconds by which the divider is ahead of world time, less than a second.
    phase: u64,
    /// Seconds by which the clock is ahead of the divider's.
    skew: i64,
    /// The next second of the clock at which the alarm goes off.
    alarm_at: Option<i64>,
    /// An alarm went off, and the board has not been told.
    alarm_pending: bool,
    /// World time up to which `causes` is right.
    seen: WorldTime,
    /// World time less run time: changes when the machine sleeps.
    lead: u64,
}

impl Rtc {
    /// A clock that shows world time (UTC), with its memory zero, in the format PCs use: decimal digits, 24 hours.
    pub fn new(config: Config, world: WorldTime) -> Self {
        Self {
            config,
            index: 0,
            memory: vec![0; MEMORY],
            rate: registers::RUNNING | registers::RATE_1024_HZ,
            control: Control::HOURS_24,
            causes: Cause::empty(),
            phase: 0,
            skew: 0,
            alarm_at: None,
            alarm_pending: false,
            seen: world,
            lead: world.0,
        }
    }

    /// The same clock and memory on another board, whose power is off.
    pub fn set_config(&mut self, config: Config) {
        self.config = config;
    }

    /// The battery was out: the clock shows this time (UTC), and all else is as new.
    pub fn lose_battery(&mut self, world: WorldTime) {
        *self = Self::new(self.config, world);
    }

    /// When the alarm goes off next: what wakes a machine that has enabled it.
    pub fn next_alarm(&self) -> Option<WorldTime> {
        let wakes = self.config.alarm != AlarmDelivery::Interrupt;
        self.alarm_time().filter(|_| wakes)
    }

    /// The alarm goes off this many nanoseconds from now (rounded up to a second of the clock), whatever software set it to: what
    /// somebody does to a machine from outside. Software sees the time that it set.
    pub fn move_alarm(&mut self, now: WorldTime, after: u64) {
        let then = WorldTime(now.0.saturating_add(after.max(1)).saturating_add(SECOND - 1));
        self.alarm_at = Some(self.seconds(then));
        self.control |= Control::ALARM_INTERRUPT;
    }

    /// Whether an alarm went off since the last call: the board passes it on to ACPI.
    pub fn take_alarm(&mut self) -> bool {
        std::mem::take(&mut self.alarm_pending)
    }

    fn alarm_time(&self) -> Option<WorldTime> {
        if !self.control.contains(Control::ALARM_INTERRUPT) || self.stands() {
            return None;
        }
        let divider = u64::try_from(self.alarm_at?.saturating_sub(self.skew)).unwrap_or(0);
        Some(WorldTime(divider.saturating_mul(SECOND).saturating_sub(self.phase)))
    }

    /// Software holds the time, to set it.
    fn stands(&self) -> bool {
        self.control.contains(Control::SET) || self.divider_is_held()
    }

    fn divider_is_held(&self) -> bool {
        self.rate & registers::HELD == registers::HELD
    }

    /// Nanoseconds the divider has counted.
    fn divider(&self, world: WorldTime) -> u64 {
        world.0.saturating_add(self.phase)
    }

    /// Seconds since 1970 that the clock shows.
    fn seconds(&self, world: WorldTime) -> i64 {
        let divider = i64::try_from(self.divider(world) / SECOND).unwrap_or(i64::MAX);
        divider.saturating_add(self.skew)
    }

    /// When the clock goes on by a second.
    fn next_second(&self, world: WorldTime) -> WorldTime {
        let next = (self.divider(world) / SECOND).saturating_add(1).saturating_mul(SECOND);
        WorldTime(next.saturating_sub(self.phase))
    }

    /// Periods of the periodic interrupt that have ended; none if it is off.
    fn periodic(&self, world: WorldTime) -> Option<(u64, u32)> {
        let shift = registers::periodic_shift(self.rate)?;
        (!self.divider_is_held()).then(|| (Frequency::RTC.periods(self.divider(world)) >> shift, shift))
    }

    fn next_period(&self, world: WorldTime) -> Option<WorldTime> {
        let (ended, shift) = self.periodic(world)?;
        let next = Frequency::RTC.nanoseconds((ended + 1) << shift);
        Some(WorldTime(next.saturating_sub(self.phase)))
    }

    fn format(&self) -> Format {
        Format::of(self.control)
    }

    /// Notes what happened up to now, and drives the interrupt line.
    fn settle(&mut self, cx: &mut Context) {
        self.lead = cx.world.0.wrapping_sub(cx.now.0);
        if cx.world > self.seen {
            self.note(cx.world);
            self.seen = cx.world;
        }
        self.drive(cx);
    }

    fn note(&mut self, world: WorldTime) {
        if self.periodic(self.seen) != self.periodic(world) {
            self.causes |= Cause::PERIODIC;
        }
        if self.stands() {
            return;
        }
        let now = self.seconds(world);
        if self.seconds(self.seen) != now {
            self.causes |= Cause::UPDATE;
        }
        if self.alarm_at.is_some_and(|alarm| alarm <= now) {
            self.causes |= Cause::ALARM;
            let enabled = self.control.contains(Control::ALARM_INTERRUPT);
            self.alarm_pending |= enabled && self.config.alarm != AlarmDelivery::Interrupt;
            self.arm(world);
        }
    }

    /// Finds when the alarm goes off next.
    fn arm(&mut self, world: WorldTime) {
        self.alarm_at = Alarm::of(&self.memory, self.format()).next_after(self.seconds(world));
    }

    fn interrupts(&self) -> bool {
        let mut causes = self.causes;
        if self.config.alarm == AlarmDelivery::Acpi {
            causes.remove(Cause::ALARM);
        }
        !(causes & self.control.enabled()).is_empty()
    }

    fn drive(&self, cx: &mut Context) {
        cx.lines.set(INTERRUPT, self.interrupts());
    }

    /// Writes the time into memory, where software sets it.
    fn stop(&mut self, world: WorldTime) {
        let time = Civil::of_seconds(self.seconds(world));
        self.format().store(time, &mut self.memory);
    }

    /// Goes on from the time in memory.
    fn start(&mut self, world: WorldTime) {
        let set = self.format().load(&self.memory).seconds();
        self.skew = 0;
        self.skew = set.saturating_sub(self.seconds(world));
        self.arm(world);
    }

    /// Register A or B is written: what they say may stop or start the clock.
    fn change(&mut self, world: WorldTime, change: impl FnOnce(&mut Self)) {
        let (stood, held) = (self.stands(), self.divider_is_held());
        if !stood {
            self.stop(world);
        }
        change(self);
        if held && !self.divider_is_held() {
            self.phase = (SECOND + HALF_SECOND - world.0 % SECOND) % SECOND;
        }
        if !self.stands() {
            if stood {
                self.start(world);
            } else {
                self.arm(world);
            }
        }
    }

    fn read_data(&mut self, world: WorldTime) -> u8 {
        let index = usize::from(self.index);
        match self.index {
            registers::A => {
                let updates = !self.stands() && self.next_second(world).0.saturating_sub(world.0) <= UPDATE;
                self.rate | if updates { registers::UPDATE_IN_PROGRESS } else { 0 }
            }
            registers::B => self.control.bits(),
            registers::C => {
                let summary = if self.interrupts() { registers::INTERRUPT_REQUEST } else { 0 };
                std::mem::replace(&mut self.causes, Cause::empty()).bits() | summary
            }
            registers::D => registers::VALID,
            _ => {
                if Format::holds_time(self.index) && !self.stands() {
                    self.stop(world);
                }
                self.memory.get(index).copied().unwrap_or(u8::MAX)
            }
        }
    }

    fn write_data(&mut self, value: u8, world: WorldTime) {
        match self.index {
            registers::A => self.change(world, |rtc| rtc.rate = value & !registers::UPDATE_IN_PROGRESS),
            registers::B => self.change(world, |rtc| rtc.control = Control::from_bits_retain(value)),
            // Read only.
            registers::C | registers::D => {}
            index => {
                let is_time = Format::holds_time(index) && !self.stands();
                if is_time {
                    self.stop(world);
                }
                if let Some(byte) = self.memory.get_mut(usize::from(index)) {
                    *byte = value;
                }
                if is_time {
                    self.start(world);
                } else if Alarm::holds(index) {
                    self.arm(world);
                }
            }
        }
    }
}

impl Device for Rtc {
    fn read(&mut self, address: u64, size: u8, cx: &mut Context) -> u64 {
        self.settle(cx);
        let value = register::read(1, address, size, |port| match u16::try_from(port) {
            Ok(DATA) => self.read_data(cx.world).into(),
            // The index cannot be read.
            _ => u64::MAX,
        });
        self.drive(cx);
        value
    }

    fn write(&mut self, address: u64, size: u8, value: u64, cx: &mut Context) {
        self.settle(cx);
        register::write(1, address, size, value, |port, lanes| match u16::try_from(port) {
            // The highest bit gates the NMI, of which this board has no source.
            Ok(PORT) => self.index = lanes.value as u8 & 0x7F,
            Ok(DATA) => self.write_data(lanes.value as u8, cx.world),
            _ => {}
        });
        self.drive(cx);
    }

    fn deadline(&self) -> Option<VirtualTime> {
        let wanted = |cause: Cause| self.control.enabled().contains(cause) && !self.causes.contains(cause);
        let update = (wanted(Cause::UPDATE) && !self.stands()).then(|| self.next_second(self.seen));
        let period = self.next_period(self.seen).filter(|_| wanted(Cause::PERIODIC));
        let next = [self.alarm_time(), update, period].into_iter().flatten().min()?;
        // A time that passed while the machine slept is due now.
        Some(VirtualTime(next.0.saturating_sub(self.lead)))
    }

    fn tick(&mut self, cx: &mut Context) {
        self.lead = cx.world.0.wrapping_sub(cx.now.0);
        if self.deadline().is_some_and(|due| due <= cx.now) {
            self.settle(cx);
        }
    }

    /// The battery keeps all of it. What a loss of power turns off are interrupts that nobody would be there for; not the alarm.
    fn reset(&mut self, kind: Reset, cx: &mut Context) {
        self.index = 0;
        if kind == Reset::PowerOn {
            self.control -= Control::PERIODIC_INTERRUPT | Control::UPDATE_INTERRUPT | Control::SQUARE_WAVE;
        }
        self.settle(cx);
    }
}
