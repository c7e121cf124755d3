//! The high precision event timer: a counter of 100 MHz and three comparators (IA-PC HPET specification 1.0a).
//!
//! The counter is computed when it is read. A match is worth a deadline while the timer may interrupt.

mod description;
#[cfg(test)]
mod tests;
mod timer;

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use self::timer::Timer;
use crate::register::{self, Lanes, W1c};
use crate::{Context, Device, Gsi, Reset, VirtualTime};

/// Physical address of the registers.
pub const ADDRESS: u64 = 0xFED0_0000;
/// Bytes of address space they take.
pub const SIZE: u64 = 0x400;
/// Line of timer 0 while it replaces the interval timer; the board connects it in that one's place.
pub const INSTEAD_OF_PIT: Gsi = Gsi(24);
/// Line of timer 1 while it replaces the real-time clock, likewise.
pub const INSTEAD_OF_RTC: Gsi = Gsi(25);
/// The least counts between two interrupts of a periodic timer that none is lost of, as the HPET table has it: 1 microsecond.
pub const MINIMUM_TICK: u16 = 100;
/// The input of the IOAPIC that timers can be routed to: nobody else drives it.
const ROUTE: u8 = 11;

const TIMERS: usize = 3;
/// Nanoseconds for each count.
const PERIOD: u64 = 10;
const FEMTOSECONDS: u64 = 1_000_000;

const CAPABILITIES: u64 = 0x000;
const CONFIGURATION: u64 = 0x010;
const STATUS: u64 = 0x020;
const COUNTER: u64 = 0x0F0;
const FIRST_TIMER: u64 = 0x100;
const TIMER_SIZE: u64 = 0x20;
/// Registers of a timer.
const TIMER_CONFIGURATION: u64 = 0x00;
const TIMER_COMPARATOR: u64 = 0x08;
const TIMER_MESSAGE: u64 = 0x10;

/// Vendor, 64-bit counter, number of the last timer, revision.
const IDENTITY: u64 = 0x8086 << 16 | 1 << 13 | (TIMERS as u64 - 1) << 8 | 1;
const CAN_REPLACE: u64 = 1 << 15;

bitflags! {
    /// General configuration.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    struct General: u64 {
        /// Counts, and may interrupt.
        const ENABLE = 1 << 0;
        /// Timers 0 and 1 replace the interval timer and the real-time clock.
        const REPLACE = 1 << 1;
    }

    /// Level-triggered timers that matched.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
    struct Matched: u64 {
        const TIMER_0 = 1 << 0;
        const TIMER_1 = 1 << 1;
        const TIMER_2 = 1 << 2;
    }
}

/// What does not change while the machine exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Timers 0 and 1 can replace the interval timer and the real-time clock. Linux then uses them so, and wakes from sleep by the
    /// alarm of ACPI instead of that of the clock.
    pub can_replace: bool,
}

/// The timer block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hpet {
    config: Config,
    general: General,
    matched: W1c<Matched>,
    /// The counter at run time 0, or where it stands if it does not count.
    base: u64,
    /// The counter up to which matches have been noted.
    seen: u64,
    timers: [Timer; TIMERS],
}

impl Hpet {
    /// As after a reset: it stands at 0.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            general: General::empty(),
            matched: W1c::default(),
            base: 0,
            seen: 0,
            timers: [Timer::new(), Timer::new(), Timer::new()],
        }
    }

    /// The low half of the capabilities, as the HPET table has it.
    pub fn id(&self) -> u32 {
        self.capabilities() as u32
    }

    /// Whether its lines take the place of those of the interval timer and the real-time clock.
    pub fn replaces(&self) -> bool {
        self.general.contains(General::REPLACE)
    }

    fn counts(&self) -> bool {
        self.general.contains(General::ENABLE)
    }

    fn counter(&self, now: VirtualTime) -> u64 {
        if self.counts() { self.base.wrapping_add(now.0 / PERIOD) } else { self.base }
    }

    /// Lets the counter go on from a value.
    fn set_counter(&mut self, value: u64, now: VirtualTime) {
        self.base = if self.counts() { value.wrapping_sub(now.0 / PERIOD) } else { value };
        self.seen = value;
    }

    /// The line of a timer.
    fn line(&self, number: usize, timer: &Timer) -> Option<Gsi> {
        match number {
            0 if self.replaces() => Some(INSTEAD_OF_PIT),
            1 if self.replaces() => Some(INSTEAD_OF_RTC),
            _ => (timer.route() == ROUTE).then_some(Gsi(ROUTE)),
        }
    }

    /// Notes matches up to now, and drives the lines.
    fn settle(&mut self, cx: &mut Context) {
        let counter = self.counter(cx.now);
        let elapsed = counter.wrapping_sub(self.seen);
        let matched = self.timers.each_mut().map(|timer| timer.pass(self.seen, elapsed));
        self.seen = counter;
        for (number, (timer, matched)) in self.timers.iter().zip(matched).enumerate() {
            if !matched {
                continue;
            }
            if timer.is_level() {
                self.matched.raise(Matched::from_bits_truncate(1 << number));
            } else if timer.interrupts() {
                match (timer.message(), self.line(number, timer)) {
                    (Some(message), _) => cx.messages.push(message),
                    (None, Some(line)) => cx.lines.pulse(line),
                    (None, None) => {}
                }
            }
        }
        self.drive(cx);
    }

    /// Lines that timers share are active while one of them says so.
    fn drive(&self, cx: &mut Context) {
        for line in [INSTEAD_OF_PIT, INSTEAD_OF_RTC, Gsi(ROUTE)] {
            let active = self.timers.iter().enumerate().any(|(number, timer)| {
                let matched = self.matched.level(Matched::from_bits_truncate(1 << number));
                matched && timer.interrupts() && timer.is_level() && self.line(number, timer) == Some(line)
            });
            cx.lines.set(line, active && self.counts());
        }
    }

    fn capabilities(&self) -> u64 {
        (PERIOD * FEMTOSECONDS) << 32 | IDENTITY | if self.config.can_replace { CAN_REPLACE } else { 0 }
    }

    /// The timer that a register belongs to, and the register's place in it.
    fn timer(&mut self, offset: u64) -> Option<(&mut Timer, u64)> {
        let offset = offset.checked_sub(FIRST_TIMER)?;
        let timer = self.timers.get_mut(usize::try_from(offset / TIMER_SIZE).ok()?)?;
        Some((timer, offset % TIMER_SIZE))
    }

    fn write_general(&mut self, lanes: Lanes, now: VirtualTime) {
        let counter = self.counter(now);
        self.general = General::from_bits_truncate(lanes.over(self.general.bits()));
        if !self.config.can_replace {
            self.general.remove(General::REPLACE);
        }
        self.set_counter(counter, now);
    }
}

impl Device for Hpet {
    fn read(&mut self, address: u64, size: u8, cx: &mut Context) -> u64 {
        self.settle(cx);
        register::read(8, address.wrapping_sub(ADDRESS), size, |offset| match offset {
            CAPABILITIES => self.capabilities(),
            CONFIGURATION => self.general.bits(),
            STATUS => self.matched.get().bits(),
            COUNTER => self.counter(cx.now),
            _ => match self.timer(offset) {
                Some((timer, TIMER_CONFIGURATION)) => timer.configuration(),
                Some((timer, TIMER_COMPARATOR)) => timer.comparator(),
                Some((timer, TIMER_MESSAGE)) => timer.message_register(),
                _ => 0,
            },
        })
    }

    fn write(&mut self, address: u64, size: u8, value: u64, cx: &mut Context) {
        self.settle(cx);
        register::write(8, address.wrapping_sub(ADDRESS), size, value, |offset, lanes| match offset {
            CONFIGURATION => self.write_general(lanes, cx.now),
            STATUS => self.matched.write(lanes),
            COUNTER => self.set_counter(lanes.over(self.counter(cx.now)), cx.now),
            _ => match self.timer(offset) {
                Some((timer, TIMER_CONFIGURATION)) => timer.configure(lanes),
                Some((timer, TIMER_COMPARATOR)) => timer.compare(lanes),
                Some((timer, TIMER_MESSAGE)) => timer.set_message(lanes),
                _ => {}
            },
        });
        self.drive(cx);
    }

    fn deadline(&self) -> Option<VirtualTime> {
        if !self.counts() {
            return None;
        }
        let worth = |(number, timer): &(usize, &Timer)| {
            let noted = self.matched.level(Matched::from_bits_truncate(1 << number));
            timer.interrupts() && !(timer.is_level() && noted)
        };
        let timers = self.timers.iter().enumerate().filter(worth);
        let counts = timers.filter_map(|(_, timer)| timer.until_match(self.seen)).min()?;
        let due = self.seen.wrapping_sub(self.base).checked_add(counts)?;
        Some(VirtualTime(due.checked_mul(PERIOD)?))
    }

    fn tick(&mut self, cx: &mut Context) {
        if self.deadline().is_some_and(|due| due <= cx.now) {
            self.settle(cx);
        }
    }

    fn reset(&mut self, _: Reset, cx: &mut Context) {
        *self = Self::new(self.config);
        self.drive(cx);
    }
}
