//! The proleptic Gregorian calendar.

const SECONDS_A_DAY: i64 = 86_400;
/// Days of 400 years, after which the calendar repeats.
const DAYS_AN_ERA: i64 = 146_097;
/// 1970-01-01 in days since 0000-03-01: years are counted from March, so that the leap day is the last of a year.
const EPOCH: i64 = 719_468;

/// A moment in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: i64,
    /// 1 to 12.
    pub(super) month: u8,
    /// 1 to 31.
    pub(super) day: u8,
    /// 0 to 23.
    pub(super) hour: u8,
    /// 0 to 59.
    pub(super) minute: u8,
    /// 0 to 59.
    pub(super) second: u8,
}

impl Civil {
    /// Of seconds since 1970-01-01 00:00.
    pub(super) fn of_seconds(seconds: i64) -> Self {
        let second_of_day = seconds.rem_euclid(SECONDS_A_DAY);
        Self {
            hour: (second_of_day / 3600) as u8,
            minute: (second_of_day / 60 % 60) as u8,
            second: (second_of_day % 60) as u8,
            ..Self::of_day(seconds.div_euclid(SECONDS_A_DAY))
        }
    }

    /// Midnight of a day since 1970-01-01.
    pub(super) fn of_day(day: i64) -> Self {
        let since_march = day.saturating_add(EPOCH);
        let (era, day) = (since_march.div_euclid(DAYS_AN_ERA), since_march.rem_euclid(DAYS_AN_ERA));
        // Every 4 years a day more, every 100 years one less, and the era's last day is one more again.
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // From March on, the months repeat 31 30 31 30 31: 153 days in 5 months.
        let month = (5 * day + 2) / 153;
        let year = era * 400 + year + i64::from(month >= 10);
        Self {
            year,
            month: (if month < 10 { month + 3 } else { month - 9 }) as u8,
            day: (day - (153 * month + 2) / 5 + 1) as u8,
            hour: 0,
            minute: 0,
            second: 0,
        }
    }

    /// Seconds since 1970-01-01 00:00. A number that cannot be is the nearest that can; a day past the end of its month is the last.
    pub(super) fn seconds(self) -> i64 {
        let month = i64::from(self.month.clamp(1, 12));
        let (year, month) = if month > 2 { (self.year, month - 3) } else { (self.year - 1, month + 9) };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let first = |month: i64| {
            365 * year_of_era + year_of_era / 4 - year_of_era / 100
                + (153 * month + 2) / 5
                + era * DAYS_AN_ERA
                - EPOCH
        };
        let leap = year_of_era % 4 == 3 && year_of_era % 100 != 99 || year_of_era == 399;
        let length = match month {
            11 => 28 + i64::from(leap),
            1 | 3 | 6 | 8 => 30,
            _ => 31,
        };
        let day = first(month) + i64::from(self.day).clamp(1, length) - 1;
        let (hour, minute, second) = (self.hour.min(23), self.minute.min(59), self.second.min(59));
        day * SECONDS_A_DAY + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)
    }

    /// 1 is Sunday.
    pub(super) fn weekday(self) -> u8 {
        // 1970-01-01 was a Thursday.
        ((self.seconds().div_euclid(SECONDS_A_DAY) + 4).rem_euclid(7) + 1) as u8
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn civil(year: i64, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Civil {
        Civil { year, month, day, hour, minute, second }
    }

    #[test]
    fn known_moments() {
        for (seconds, time, weekday) in [
            (0, civil(1970, 1, 1, 0, 0, 0), 5),
            (951_782_399, civil(2000, 2, 28, 23, 59, 59), 2),
            (951_782_400, civil(2000, 2, 29, 0, 0, 0), 3),
            (1_767_323_045, civil(2026, 1, 2, 3, 4, 5), 6),
            (4_107_542_400, civil(2100, 3, 1, 0, 0, 0), 2),
            (-1, civil(1969, 12, 31, 23, 59, 59), 4),
        ] {
            assert_eq!(Civil::of_seconds(seconds), time);
            assert_eq!(time.seconds(), seconds);
            assert_eq!(time.weekday(), weekday);
        }
    }

    #[test]
    fn what_cannot_be_is_the_nearest_that_can() {
        assert_eq!(civil(2023, 2, 31, 25, 61, 99).seconds(), civil(2023, 2, 28, 23, 59, 59).seconds());
        assert_eq!(civil(2024, 2, 31, 0, 0, 0).seconds(), civil(2024, 2, 29, 0, 0, 0).seconds());
        assert_eq!(civil(2024, 0, 0, 0, 0, 0).seconds(), civil(2024, 1, 1, 0, 0, 0).seconds());
        assert_eq!(civil(2024, 4, 31, 0, 0, 0).seconds(), civil(2024, 4, 30, 0, 0, 0).seconds());
    }

    proptest! {
        #[test]
        fn there_and_back(seconds in -62_000_000_000i64..253_000_000_000) {
            prop_assert_eq!(Civil::of_seconds(seconds).seconds(), seconds);
        }

        /// The day after a day is the next number of the same month, or the first of the next.
        #[test]
        fn days_follow_each_other(day in -700_000i64..2_900_000) {
            let (today, tomorrow) = (Civil::of_day(day), Civil::of_day(day + 1));
            if tomorrow.day == 1 {
                prop_assert!(today.day >= 28);
                prop_assert_eq!(tomorrow.month, today.month % 12 + 1);
                prop_assert_eq!(tomorrow.year, today.year + i64::from(today.month == 12));
            } else {
                prop_assert_eq!(tomorrow, Civil { day: today.day + 1, ..today });
            }
        }
    }
}
