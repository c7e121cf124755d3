//! The six modes of a counter: what its output and its count look like in the course of time.

use serde::{Deserialize, Serialize};

/// What a counter does (8254 data sheet, "Mode definitions").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mode {
    /// 0: output rises at the end of the count.
    InterruptOnTerminalCount,
    /// 1: output is low for one count after each rise of the gate.
    OneShot,
    /// 2: output is low for the last clock of each count.
    RateGenerator,
    /// 3: output is low for the second half of each count.
    SquareWave,
    /// 4: output is low for one clock after a count.
    SoftwareStrobe,
    /// 5: output is low for one clock, a count after each rise of the gate.
    HardwareStrobe,
}

impl Mode {
    pub(super) fn of_bits(bits: u8) -> Self {
        match bits & 7 {
            0 => Self::InterruptOnTerminalCount,
            1 => Self::OneShot,
            2 | 6 => Self::RateGenerator,
            3 | 7 => Self::SquareWave,
            4 => Self::SoftwareStrobe,
            _ => Self::HardwareStrobe,
        }
    }

    pub(super) fn bits(self) -> u8 {
        match self {
            Self::InterruptOnTerminalCount => 0,
            Self::OneShot => 1,
            Self::RateGenerator => 2,
            Self::SquareWave => 3,
            Self::SoftwareStrobe => 4,
            Self::HardwareStrobe => 5,
        }
    }

    /// The count starts again by itself.
    pub(super) fn is_periodic(self) -> bool {
        matches!(self, Self::RateGenerator | Self::SquareWave)
    }

    /// The count starts when the gate rises.
    pub(super) fn is_triggered(self) -> bool {
        matches!(self, Self::OneShot | Self::HardwareStrobe)
    }

    /// Level of the output after this many clocks of a count; none if nothing is counted.
    pub(super) fn output(self, count: u32, counted: Option<u64>) -> bool {
        let period = u64::from(count);
        let Some(counted) = counted else {
            return self != Self::InterruptOnTerminalCount;
        };
        match self {
            Self::InterruptOnTerminalCount | Self::OneShot => counted >= period,
            // A count of 1 is not allowed: the output stays high.
            Self::RateGenerator => counted % period != period - 1 || period == 1,
            Self::SquareWave => counted % period < first_half(period),
            Self::SoftwareStrobe | Self::HardwareStrobe => counted != period,
        }
    }

    /// What the counter shows after this many clocks of a count. Counts that do not start again go on below zero.
    pub(super) fn value(self, count: u32, counted: u64, modulus: u32) -> u64 {
        let (period, modulus) = (u64::from(count), u64::from(modulus));
        match self {
            Self::RateGenerator => period - counted % period,
            // Counted down by two in each half; an odd count is loaded less one.
            Self::SquareWave => {
                let into = counted % period;
                let into_half = if into < first_half(period) { into } else { into - first_half(period) };
                (period & !1).saturating_sub(2 * into_half)
            }
            _ => (period + modulus - counted % modulus) % modulus,
        }
    }

    /// The first clock after the given one at which the output rises, of a count that was loaded at `start`.
    pub(super) fn next_rise(self, count: u32, start: u64, after: u64) -> Option<u64> {
        let period = u64::from(count);
        let rise = match self {
            Self::InterruptOnTerminalCount | Self::OneShot => start.saturating_add(period),
            Self::SoftwareStrobe | Self::HardwareStrobe => start.saturating_add(period + 1),
            Self::RateGenerator | Self::SquareWave if period == 1 => return None,
            Self::RateGenerator | Self::SquareWave => {
                let ended = after.saturating_sub(start) / period;
                start.saturating_add((ended + 1).saturating_mul(period))
            }
        };
        (rise > after && rise < u64::MAX).then_some(rise)
    }
}

/// Clocks for which a square wave is high: of an odd count the longer part.
pub(super) fn first_half(period: u64) -> u64 {
    period.div_ceil(2)
}
