//! The registers, by name, and the format of the time in them (MC146818 data sheet, "Registers").

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use super::calendar::Civil;
use super::{CENTURY, DAY_ALARM, MONTH_ALARM};

/// Register A: divider and rate.
pub(super) const A: u8 = 0x0A;
/// Register B: control.
pub(super) const B: u8 = 0x0B;
/// Register C: why it interrupts; cleared by a read.
pub(super) const C: u8 = 0x0C;
/// Register D: whether the memory is valid.
pub(super) const D: u8 = 0x0D;

/// A: the time is about to change.
pub(super) const UPDATE_IN_PROGRESS: u8 = 1 << 7;
/// A: the divider runs from 32768 Hz.
pub(super) const RUNNING: u8 = 2 << 4;
/// A: the divider is held.
pub(super) const HELD: u8 = 6 << 4;
/// A: rate of the periodic interrupt.
pub(super) const RATE_1024_HZ: u8 = 6;
/// C: some enabled cause is set.
pub(super) const INTERRUPT_REQUEST: u8 = 1 << 7;
/// D: the battery is good.
pub(super) const VALID: u8 = 1 << 7;

bitflags! {
    /// Register B.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) struct Control: u8 {
        /// Daylight saving: nowhere implemented in the way it was once meant, and not here.
        const DAYLIGHT_SAVING = 1 << 0;
        const HOURS_24 = 1 << 1;
        const BINARY = 1 << 2;
        const SQUARE_WAVE = 1 << 3;
        const UPDATE_INTERRUPT = 1 << 4;
        const ALARM_INTERRUPT = 1 << 5;
        const PERIODIC_INTERRUPT = 1 << 6;
        const SET = 1 << 7;
    }

    /// Register C: the causes are where register B has their enables.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) struct Cause: u8 {
        const UPDATE = 1 << 4;
        const ALARM = 1 << 5;
        const PERIODIC = 1 << 6;
    }
}

impl Control {
    /// Causes that interrupt.
    pub(super) fn enabled(self) -> Cause {
        Cause::from_bits_truncate(self.bits())
    }
}

/// A period is this power of two of the quartz's (table "Periodic interrupt rate").
pub(super) fn periodic_shift(rate: u8) -> Option<u32> {
    match rate & 0xF {
        0 => None,
        // 256 and 128 Hz once more.
        rate @ 1..=2 => Some(u32::from(rate) + 6),
        rate => Some(u32::from(rate) - 1),
    }
}

/// Index of the seconds; the others of the time follow at odd places.
pub(super) const SECONDS: u8 = 0;
pub(super) const SECONDS_ALARM: u8 = 1;
pub(super) const MINUTES: u8 = 2;
pub(super) const MINUTES_ALARM: u8 = 3;
pub(super) const HOURS: u8 = 4;
pub(super) const HOURS_ALARM: u8 = 5;
pub(super) const WEEKDAY: u8 = 6;
pub(super) const DAY: u8 = 7;
pub(super) const MONTH: u8 = 8;
pub(super) const YEAR: u8 = 9;

/// Afternoon, in hours of a 12-hour clock.
const PM: u8 = 1 << 7;

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    binary: bool,
    hours_24: bool,
}

impl Format {
    pub(super) fn of(control: Control) -> Self {
        Self { binary: control.contains(Control::BINARY), hours_24: control.contains(Control::HOURS_24) }
    }

    /// Whether a byte is part of the time.
    pub(super) fn holds_time(index: u8) -> bool {
        matches!(index, SECONDS | MINUTES | HOURS | WEEKDAY | DAY | MONTH | YEAR | CENTURY)
    }

    fn write(self, number: u8) -> u8 {
        if self.binary { number } else { ((number / 10 % 10) << 4) | (number % 10) }
    }

    /// The number that a byte means; none for what are no two digits.
    pub(super) fn read(self, byte: u8) -> Option<u8> {
        match (self.binary, byte >> 4, byte & 0xF) {
            (true, ..) => Some(byte),
            (false, tens @ 0..=9, units @ 0..=9) => Some(tens * 10 + units),
            _ => None,
        }
    }

    fn write_hour(self, hour: u8) -> u8 {
        match (self.hours_24, hour) {
            (true, hour) => self.write(hour),
            (false, 0) => self.write(12),
            (false, hour @ 1..=11) => self.write(hour),
            (false, 12) => self.write(12) | PM,
            (false, hour) => self.write(hour - 12) | PM,
        }
    }

    /// The hour of the day that a byte means.
    pub(super) fn read_hour(self, byte: u8) -> Option<u8> {
        if self.hours_24 {
            return self.read(byte);
        }
        let afternoon = if byte & PM != 0 { 12 } else { 0 };
        match self.read(byte & !PM)? {
            12 => Some(afternoon),
            hour @ 1..=11 => Some(hour + afternoon),
            _ => None,
        }
    }

    /// Writes a time into the clock's bytes.
    pub(super) fn store(self, time: Civil, memory: &mut [u8]) {
        let bytes = [
            (SECONDS, self.write(time.second)),
            (MINUTES, self.write(time.minute)),
            (HOURS, self.write_hour(time.hour)),
            (WEEKDAY, self.write(time.weekday())),
            (DAY, self.write(time.day)),
            (MONTH, self.write(time.month)),
            (YEAR, self.write(time.year.rem_euclid(100) as u8)),
            (CENTURY, self.write(time.year.div_euclid(100).rem_euclid(100) as u8)),
        ];
        for (index, value) in bytes {
            if let Some(byte) = memory.get_mut(usize::from(index)) {
                *byte = value;
            }
        }
    }

    /// Reads the time out of the clock's bytes; what is no number counts as 0. The weekday follows from the date.
    pub(super) fn load(self, memory: &[u8]) -> Civil {
        let byte = |index: u8| memory.get(usize::from(index)).copied().unwrap_or(0);
        let number = |index: u8| self.read(byte(index)).unwrap_or(0);
        Civil {
            year: i64::from(number(CENTURY)) * 100 + i64::from(number(YEAR)),
            month: number(MONTH),
            day: number(DAY),
            hour: self.read_hour(byte(HOURS)).unwrap_or(0),
            minute: number(MINUTES),
            second: number(SECONDS),
        }
    }
}

/// The bytes of the alarm.
pub(super) const ALARM: [u8; 5] = [SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM, DAY_ALARM, MONTH_ALARM];
