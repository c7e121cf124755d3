//! What is to be done when.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::VirtualTime;

/// Entries in the order of their times, equal times in the order in which they were entered. Entries without a time, which is never,
/// come last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timetable<T>(VecDeque<(Option<VirtualTime>, T)>);

impl<T> Default for Timetable<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Timetable<T> {
    pub(super) fn insert(&mut self, due: Option<VirtualTime>, entry: T) {
        let stays_before =
            |other: &Option<VirtualTime>| due.is_none_or(|due| other.is_some_and(|other| other <= due));
        let place = self.0.partition_point(|(other, _)| stays_before(other));
        self.0.insert(place, (due, entry));
    }

    /// When the first entry is due.
    pub(super) fn next(&self) -> Option<VirtualTime> {
        self.0.front().and_then(|(due, _)| *due)
    }

    /// Takes the first entry, if it is due.
    pub(super) fn take_due(&mut self, now: VirtualTime) -> Option<T> {
        self.0.pop_front_if(|(due, _)| due.is_some_and(|due| due <= now)).map(|(_, entry)| entry)
    }

    /// Takes all entries that match, in order.
    pub(super) fn take(&mut self, matches: impl Fn(&T) -> bool) -> Vec<T> {
        let (taken, kept) =
            std::mem::take(&mut self.0).into_iter().partition::<VecDeque<_>, _>(|(_, entry)| matches(entry));
        self.0 = kept;
        taken.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Takes all entries.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        self.take(|_| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_keep_their_order() {
        let mut table = Timetable::default();
        for (due, name) in [(5, 'c'), (2, 'a'), (5, 'd'), (2, 'b'), (9, 'e')] {
            table.insert(Some(VirtualTime(due)), name);
        }
        table.insert(None, 'x');
        table.insert(None, 'y');
        table.insert(Some(VirtualTime(u64::MAX)), 'f');
        assert_eq!(table.take(|name| *name == 'd'), ['d']);
        assert_eq!(table.next(), Some(VirtualTime(2)));
        assert_eq!(table.take_due(VirtualTime(1)), None);
        let due: String = std::iter::from_fn(|| table.take_due(VirtualTime(5))).collect();
        assert_eq!(due, "abc");
        assert_eq!(table.take_due(VirtualTime(u64::MAX - 1)), Some('e'));
        assert_eq!(table.take_due(VirtualTime(u64::MAX)), Some('f'));
        assert_eq!((table.next(), table.take_due(VirtualTime(u64::MAX))), (None, None));
        assert_eq!(table.take_all(), ['x', 'y']);
        assert_eq!(table.next(), None);
    }
}
