//! When the alarm goes off.

use super::calendar::Civil;
use super::registers::{ALARM, Format};

/// What a byte of the alarm asks of its part of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Any,
    Only(u8),
    /// No number of this part.
    Never,
}

impl Part {
    fn takes(self, number: u8) -> bool {
        self == Self::Any || self == Self::Only(number)
    }

    fn of(byte: u8, number: Option<u8>, highest: u8) -> Self {
        match number {
            _ if byte & 0xC0 == 0xC0 => Self::Any,
            Some(number) if number <= highest => Self::Only(number),
            _ => Self::Never,
        }
    }
}

/// The alarm's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alarm {
    second: Part,
    minute: Part,
    hour: Part,
    day: Part,
    month: Part,
}

/// Days within which every date comes once: a 29th of February can be eight years away.
const HORIZON: i64 = 8 * 366;

impl Alarm {
    /// Whether a byte is part of the alarm.
    pub(super) fn holds(index: u8) -> bool {
        ALARM.contains(&index)
    }

    pub(super) fn of(memory: &[u8], format: Format) -> Self {
        let [second, minute, hour, day, month] =
            ALARM.map(|index| memory.get(usize::from(index)).copied().unwrap_or(0));
        let date = |byte: u8, highest: u8| match byte {
            0 => Part::Any,
            byte => Part::of(byte, format.read(byte), highest),
        };
        Self {
            second: Part::of(second, format.read(second), 59),
            minute: Part::of(minute, format.read(minute), 59),
            hour: Part::of(hour, format.read_hour(hour), 23),
            day: date(day, 31),
            month: date(month, 12),
        }
    }

    /// The first second after this one (since 1970) at which it goes off, if ever.
    pub(super) fn next_after(self, seconds: i64) -> Option<i64> {
        let start = seconds.checked_add(1)?;
        let (today, time) = (start.div_euclid(86_400), start.rem_euclid(86_400));
        let midnight = self.next_in_day(0)?;
        for day in today..=today.checked_add(HORIZON)? {
            let date = Civil::of_day(day);
            if !self.day.takes(date.day) || !self.month.takes(date.month) {
                continue;
            }
            let in_day = if day == today { self.next_in_day(time) } else { Some(midnight) };
            if let Some(in_day) = in_day {
                return Some(day * 86_400 + in_day);
            }
        }
        None
    }

    /// The first second of a day that is not before this one.
    fn next_in_day(self, from: i64) -> Option<i64> {
        let seconds: Vec<i64> = (0..60).filter(|second| self.second.takes(*second)).map(i64::from).collect();
        let minutes = (0..24u8).filter(|hour| self.hour.takes(*hour)).flat_map(|hour| {
            let minutes = (0..60u8).filter(|minute| self.minute.takes(*minute));
            minutes.map(move |minute| i64::from(hour) * 3600 + i64::from(minute) * 60)
        });
        minutes
            .skip_while(|minute| minute + 59 < from)
            .find_map(|minute| seconds.iter().map(|second| minute + second).find(|time| *time >= from))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(numbers: std::ops::RangeInclusive<u8>) -> impl Strategy<Value = Part> {
        prop_oneof![Just(Part::Any), numbers.prop_map(Part::Only)]
    }

    proptest! {
        /// Against the definition: the first of all seconds that match.
        #[test]
        fn the_next_is_the_first_that_matches(
            second in part(0..=59), minute in part(0..=59), hour in part(0..=23), from in 1_700_000_000i64..1_800_000_000,
        ) {
            let alarm = Alarm { second, minute, hour, day: Part::Any, month: Part::Any };
            let expected = (from + 1..from + 86_402).find(|at| {
                let time = Civil::of_seconds(*at);
                second.takes(time.second) && minute.takes(time.minute) && hour.takes(time.hour)
            });
            prop_assert_eq!(alarm.next_after(from), expected);
        }

        #[test]
        fn a_date_is_found(day in 1u8..=28, month in 1u8..=12, from in 1_700_000_000i64..1_800_000_000) {
            let midnight = Part::Only(0);
            let alarm = Alarm {
                second: midnight, minute: midnight, hour: midnight, day: Part::Only(day), month: Part::Only(month),
            };
            let found = alarm.next_after(from);
            let next = found.map(Civil::of_seconds);
            prop_assert_eq!(next.map(|next| (next.month, next.day, next.hour)), Some((month, day, 0)));
            prop_assert!(found.is_some_and(|at| at > from && at <= from + 366 * 86_400));
        }
    }

    #[test]
    fn what_never_comes_is_not_waited_for() {
        let leap_day = Alarm {
            second: Part::Any,
            minute: Part::Any,
            hour: Part::Any,
            day: Part::Only(29),
            month: Part::Only(2),
        };
        // From 2096-03-01 the next is in 2104.
        assert_eq!(leap_day.next_after(3_981_398_400), Some(4_233_686_400));
        let no_day = Alarm { day: Part::Only(31), ..leap_day };
        assert_eq!(no_day.next_after(0), None);
        let no_second = Alarm { second: Part::Never, ..leap_day };
        assert_eq!(no_second.next_after(0), None);
    }
}
