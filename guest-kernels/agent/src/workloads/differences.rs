//! What a workload found to differ from what it must be.

use std::sync::{Arc, Mutex, PoisonError};

/// Differences kept in full; of the others only the number is reported.
const KEPT: usize = 3;
/// Longest difference in bytes: three of them from each of seven workloads must still make a readable answer.
const LONGEST: usize = 160;

/// Differences found since the last report.
#[derive(Debug, Default)]
pub struct Differences {
    first: Vec<String>,
    more: u64,
}

impl Differences {
    /// Notes a difference.
    pub fn add(&mut self, difference: impl Into<String>) {
        let mut text = difference.into();
        if text.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
        }
        // The same again, as a clock that stays wrong gives at every look, must not hide something else.
        if self.first.len() >= KEPT || self.first.contains(&text) {
            self.more = self.more.saturating_add(1);
        } else {
            self.first.push(text);
        }
    }

    /// Notes the error of a piece of work, if it has one.
    pub fn note(&mut self, result: Result<(), String>) {
        if let Err(difference) = result {
            self.add(difference);
        }
    }

    /// The first ones, and how many more there were. Leaves none.
    pub fn take(&mut self) -> Vec<String> {
        let mut all = std::mem::take(&mut self.first);
        let more = std::mem::take(&mut self.more);
        if more > 0 {
            all.push(format!("{more} more"));
        }
        all
    }

    /// Whether something was found.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

/// Differences that several threads of a workload find.
#[derive(Debug, Clone, Default)]
pub struct SharedDifferences(Arc<Mutex<Differences>>);

impl SharedDifferences {
    /// Notes a difference.
    pub fn add(&self, difference: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(difference);
    }

    /// Moves everything found to `to`.
    pub fn move_to(&self, to: &mut Differences) {
        let mut from = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        from.first.drain(..).for_each(|difference| to.add(difference));
        to.more = to.more.saturating_add(std::mem::take(&mut from.more));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_kept_and_the_others_counted() {
        let mut found = Differences::default();
        (1..=5).for_each(|number| found.add(format!("difference {number}")));
        assert_eq!(found.take(), ["difference 1", "difference 2", "difference 3", "2 more"]);
        assert!(found.take().is_empty());
    }

    #[test]
    fn a_repeated_one_is_counted_only() {
        let mut found = Differences::default();
        ["a", "a", "b", "a"].into_iter().for_each(|text| found.add(text));
        assert_eq!(found.take(), ["a", "b", "2 more"]);
    }

    #[test]
    fn a_long_difference_is_cut_between_characters() {
        let mut found = Differences::default();
        found.add(format!("x{}", "ä".repeat(100)));
        assert_eq!(found.take()[0].len(), 159);
    }

    #[test]
    fn threads_share() {
        let (shared, mut found) = (SharedDifferences::default(), Differences::default());
        (1..=4).for_each(|number| shared.clone().add(format!("{number}")));
        shared.move_to(&mut found);
        assert_eq!(found.take(), ["1", "2", "3", "1 more"]);
        shared.move_to(&mut found);
        assert!(found.is_empty());
    }
}
