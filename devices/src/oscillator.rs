//! Frequencies: how many periods of an oscillator fit into a time.

/// Periods a nanosecond, as an exact fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frequency {
    periods: u32,
    nanoseconds: u32,
}

impl Frequency {
    /// The clock of the interval timer: a twelfth of 14.31818 MHz (315/22 MHz).
    pub const INTERVAL_TIMER: Self = Self { periods: 315, nanoseconds: 264_000 };
    /// The clock of the ACPI power management timer: a quarter of 14.31818 MHz (ACPI 4.8.2.1).
    pub const PM_TIMER: Self = Self { periods: 315, nanoseconds: 88_000 };
    /// The quartz of the real-time clock.
    pub const RTC: Self = Self { periods: 1 << 15, nanoseconds: 1_000_000_000 };

    /// Periods that end within this many nanoseconds.
    pub fn periods(self, nanoseconds: u64) -> u64 {
        let periods = u128::from(nanoseconds) * u128::from(self.periods) / u128::from(self.nanoseconds);
        u64::try_from(periods).unwrap_or(u64::MAX)
    }

    /// The shortest time in nanoseconds within which this many periods end.
    pub fn nanoseconds(self, periods: u64) -> u64 {
        let nanoseconds =
            (u128::from(periods) * u128::from(self.nanoseconds)).div_ceil(u128::from(self.periods));
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_known_frequencies() {
        assert_eq!(Frequency::INTERVAL_TIMER.periods(1_000_000_000), 1_193_181);
        assert_eq!(Frequency::PM_TIMER.periods(1_000_000_000), 3_579_545);
        assert_eq!(Frequency::RTC.periods(1_000_000_000), 32_768);
    }

    proptest! {
        #[test]
        fn a_period_ends_when_it_is_said_to(periods in 1u64..1 << 48) {
            for frequency in [Frequency::INTERVAL_TIMER, Frequency::PM_TIMER, Frequency::RTC] {
                let end = frequency.nanoseconds(periods);
                prop_assert_eq!(frequency.periods(end), periods);
                prop_assert_eq!(frequency.periods(end - 1), periods - 1);
            }
        }

        #[test]
        fn no_time_is_too_long(any: u64) {
            Frequency::PM_TIMER.periods(any);
            Frequency::INTERVAL_TIMER.nanoseconds(any);
        }
    }
}
