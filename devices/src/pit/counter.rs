//! One counter of the 8254, as a function of its clock.

use serde::{Deserialize, Serialize};

use super::wave::{Mode, first_half};

/// Which bytes of a count are read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Bytes {
    Low,
    High,
    LowThenHigh,
}

impl Bytes {
    fn bits(self) -> u8 {
        match self {
            Self::Low => 1,
            Self::High => 2,
            Self::LowThenHigh => 3,
        }
    }
}

/// Whether time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Progress {
    /// No count was written, or its trigger has not come.
    Waiting,
    /// Counting; the count was loaded at this clock, which lies one ahead when it was just written.
    Since(u64),
    /// The gate is low: this many clocks are counted.
    Held(u64),
}

impl Progress {
    /// Clocks counted.
    fn counted(self, now: u64) -> Option<u64> {
        match self {
            Self::Waiting => None,
            Self::Since(start) => Some(now.saturating_sub(start)),
            Self::Held(counted) => Some(counted),
        }
    }
}

/// A count written while another is counted: it takes over at the end of the period, or with the next trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Next {
    count: u32,
    /// The clock at which it takes over; the end of time if it waits for a trigger.
    at: u64,
    /// The clock since which it then looks as if counted: earlier than `at` if that is the middle of a square wave.
    start: u64,
}

/// The counter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Counter {
    mode: Mode,
    bytes: Bytes,
    decimal: bool,
    gate: bool,
    /// 1 to 65536 (10000 if decimal).
    count: u32,
    progress: Progress,
    next: Option<Next>,
    /// A count was written since the control word.
    written: bool,
    /// The first of two bytes being written.
    low: Option<u8>,
    /// The next byte read is the second of two.
    high_next: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
}

impl Counter {
    /// Not programmed, its gate high or low.
    pub(super) fn new(gate: bool) -> Self {
        Self {
            mode: Mode::InterruptOnTerminalCount,
            bytes: Bytes::LowThenHigh,
            decimal: false,
            gate,
            count: 1 << 16,
            progress: Progress::Waiting,
            next: None,
            written: false,
            low: None,
            high_next: false,
            latched_count: None,
            latched_status: None,
        }
    }

    /// Control word, or the latch command.
    pub(super) fn control(&mut self, value: u8, now: u64) {
        let bytes = match value >> 4 & 3 {
            0 => return self.latch_count(now),
            1 => Bytes::Low,
            2 => Bytes::High,
            _ => Bytes::LowThenHigh,
        };
        *self = Self {
            mode: Mode::of_bits(value >> 1),
            bytes,
            decimal: value & 1 != 0,
            count: self.count,
            ..Self::new(self.gate)
        };
    }

    /// Keeps the count for the next read; a second latch before it changes nothing.
    pub(super) fn latch_count(&mut self, now: u64) {
        if self.latched_count.is_none() {
            self.latched_count = Some(self.shown(now));
        }
    }

    /// Keeps the status for the next read; a second latch before it changes nothing.
    pub(super) fn latch_status(&mut self, now: u64) {
        if self.latched_status.is_none() {
            let null_count = self.next.is_some_and(|next| now < next.at)
                || match self.progress {
                    Progress::Waiting => true,
                    Progress::Since(start) => now < start,
                    Progress::Held(_) => false,
                };
            self.latched_status = Some(
                u8::from(self.output(now)) << 7
                    | u8::from(null_count) << 6
                    | self.bytes.bits() << 4
                    | self.mode.bits() << 1
                    | u8::from(self.decimal),
            );
        }
    }

    pub(super) fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self.latched_count.unwrap_or_else(|| self.shown(now)).to_le_bytes();
        let (byte, last) = match self.bytes {
            Bytes::Low => (low, true),
            Bytes::High => (high, true),
            Bytes::LowThenHigh if self.high_next => (high, true),
            Bytes::LowThenHigh => (low, false),
        };
        self.high_next = !last;
        if last {
            self.latched_count = None;
        }
        byte
    }

    pub(super) fn write(&mut self, value: u8, now: u64) {
        let count = match (self.bytes, self.low.take()) {
            (Bytes::Low, _) => u16::from(value),
            (Bytes::High, _) => u16::from(value) << 8,
            (Bytes::LowThenHigh, Some(low)) => u16::from_le_bytes([low, value]),
            (Bytes::LowThenHigh, None) => {
                self.low = Some(value);
                if self.mode == Mode::InterruptOnTerminalCount {
                    // The first byte stops the count.
                    self.progress = Progress::Waiting;
                }
                return;
            }
        };
        self.load(self.periods(count), now);
    }

    /// What a count written means: 0 is the highest.
    fn periods(&self, written: u16) -> u32 {
        match if self.decimal { of_decimal(written) } else { u32::from(written) } {
            0 => self.modulus(),
            count => count,
        }
    }

    fn modulus(&self) -> u32 {
        if self.decimal { 10_000 } else { 1 << 16 }
    }

    fn load(&mut self, count: u32, now: u64) {
        self.settle(now);
        self.written = true;
        if let Progress::Since(start) = self.progress
            && now >= start
            && (self.mode.is_periodic() || self.mode.is_triggered())
        {
            // What runs, runs on with the old count.
            let never = Next { count, at: u64::MAX, start: u64::MAX };
            self.next =
                Some(if self.mode.is_periodic() { self.after_this_period(count, start, now) } else { never });
            return;
        }
        self.count = count;
        self.progress = match (self.gate, self.mode) {
            (_, mode) if mode.is_triggered() => Progress::Waiting,
            (false, mode) if mode.is_periodic() => Progress::Waiting,
            (false, _) => Progress::Held(0),
            (true, _) => Progress::Since(now.saturating_add(1)),
        };
    }

    /// A count that takes over when the current one has been counted down: in a square wave, that is each half.
    fn after_this_period(&self, count: u32, start: u64, now: u64) -> Next {
        let period = u64::from(self.count);
        let into = now.saturating_sub(start) % period;
        if self.mode == Mode::SquareWave && into < first_half(period) {
            let at = now.saturating_add(first_half(period) - into);
            Next { count, at, start: at.saturating_sub(first_half(count.into())) }
        } else {
            let at = now.saturating_add(period - into);
            Next { count, at, start: at }
        }
    }

    /// The count in force at a clock, and how far it is.
    fn in_force(&self, now: u64) -> (u32, Progress) {
        match self.next {
            Some(next) if next.at <= now => (next.count, Progress::Since(next.start)),
            _ => (self.count, self.progress),
        }
    }

    /// Forgets what a count that took over has replaced.
    fn settle(&mut self, now: u64) {
        if self.next.is_some_and(|next| next.at <= now) {
            (self.count, self.progress) = self.in_force(now);
            self.next = None;
        }
    }

    /// The count as a read shows it.
    fn shown(&self, now: u64) -> u16 {
        let (count, progress) = self.in_force(now);
        let counted = progress.counted(now);
        let value = counted.map_or(count.into(), |counted| self.mode.value(count, counted, self.modulus()));
        if self.decimal { to_decimal(value) } else { value as u16 }
    }

    /// Level of the output.
    pub(super) fn output(&self, now: u64) -> bool {
        let (count, progress) = self.in_force(now);
        self.mode.output(count, progress.counted(now))
    }

    /// The first clock after the given one at which the output rises, if nothing else is written.
    pub(super) fn next_rise(&self, after: u64) -> Option<u64> {
        let (count, progress) = self.in_force(after);
        let rise = match progress {
            Progress::Since(start) => self.mode.next_rise(count, start, after),
            Progress::Waiting | Progress::Held(_) => None,
        };
        match self.next.filter(|next| next.at > after) {
            Some(next) if rise.is_none_or(|rise| rise > next.at) => {
                self.mode.next_rise(next.count, next.start, next.at)
            }
            _ => rise,
        }
    }

    /// The gate: starts what is triggered, restarts what is periodic, holds the rest while it is low.
    pub(super) fn set_gate(&mut self, gate: bool, now: u64) {
        self.settle(now);
        if gate == self.gate {
            return;
        }
        self.gate = gate;
        if self.mode.is_triggered() || self.mode.is_periodic() {
            if gate && (self.written || self.next.is_some()) {
                self.count = self.next.take().map_or(self.count, |next| next.count);
                self.progress = Progress::Since(now.saturating_add(1));
            } else if self.mode.is_periodic() {
                self.progress = Progress::Waiting;
            }
            return;
        }
        self.progress = match self.progress {
            Progress::Held(counted) => Progress::Since(now.saturating_sub(counted)),
            Progress::Since(start) => Progress::Held(now.saturating_sub(start)),
            Progress::Waiting => Progress::Waiting,
        };
    }
}

/// Four decimal digits; what is no digit counts as what it would be in hexadecimal.
fn of_decimal(digits: u16) -> u32 {
    let value = (0..4).rev().fold(0, |value, n| value * 10 + u32::from(digits >> (4 * n) & 0xF));
    value.min(10_000)
}

fn to_decimal(value: u64) -> u16 {
    (0..4).map(|n| ((value / 10u64.pow(n) % 10) as u16) << (4 * n)).sum()
}
