//! Everything that changed a disk, since the machine was made.

mod pending;
mod requests;

use std::sync::Arc;

pub use pending::Pending;
pub(super) use pending::without;
pub use requests::LoggedRequest;
use rpds::VectorSync;
use serde::{Deserialize, Serialize};

use super::{Contents, Extent};
use crate::VirtualTime;

/// The write log of one disk: each step of each request that is no read, and what happened to the power, in the order in which it
/// happened. Goes on over power cycles and forgets nothing: contents are shared with the cache, but what was overwritten stays, so its
/// memory grows with what the guest writes. A copy costs nothing.
///
/// An entry is known by its place, from 0. Numbers of requests and times begin again when power comes on; places do not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteLog {
    entries: VectorSync<Entry>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Run time, which begins again when power comes on.
    pub at: VirtualTime,
    /// What happened.
    pub record: Record,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The disk took a request, and from now on reads see what it changes.
    Accepted {
        /// Its number.
        request: u64,
        /// What it asks.
        operation: Operation,
    },
    /// The guest was told that it is done.
    Completed {
        /// Its number.
        request: u64,
    },
    /// The guest was told that it failed. What it changed, if anything, stays changed.
    Failed {
        /// Its number.
        request: u64,
    },
    /// What it changed survives from now on. Of flushes never.
    Durable {
        /// Its number.
        request: u64,
    },
    /// Something happened to the machine. Says nothing about what is in the cache.
    Power(PowerMark),
    /// The power of the disk is gone, and with it the cache: what was not durable survived or did not, and is now as durable as the
    /// rest.
    Lost {
        /// What did not survive: extents in ascending order and what is there instead.
        reverted: Vec<(Extent, Contents)>,
    },
    /// Who sent a flush became known.
    Author {
        /// Place of the entry that accepted it.
        flush: usize,
        /// Who: one line.
        author: Arc<str>,
    },
    /// Whatever a scenario wants to find again.
    Note(Arc<str>),
}

/// What a request asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Make durable what was completed.
    Flush,
    /// Change contents.
    Change {
        /// Completed only when durable (force unit access).
        fua: bool,
        /// What it changes, in this order; of a request that fails, what of it is done all the same.
        changes: Vec<(Extent, Contents)>,
    },
}

/// Something that happened to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PowerMark {
    /// Power came on.
    On,
    /// The power failed.
    Cut,
    /// Sleeps with its RAM.
    S3,
    /// Woke from S3.
    Wake,
    /// Hibernates.
    S4,
    /// Off by order.
    Off,
    /// The reset line was pulled.
    Reset,
}

impl PowerMark {
    /// As it is called in exported logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::On => "power-on",
            Self::Cut => "power-cut",
            Self::S3 => "s3",
            Self::Wake => "wake",
            Self::S4 => "s4",
            Self::Off => "power-off",
            Self::Reset => "reset",
        }
    }
}

impl WriteLog {
    /// Appends. Returns the place of the entry.
    pub fn push(&mut self, at: VirtualTime, record: Record) -> usize {
        self.entries.push_back_mut(Entry { at, record });
        self.entries.len() - 1
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing happened yet.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of a place.
    pub fn get(&self, place: usize) -> Option<&Entry> {
        self.entries.get(place)
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.entries.iter()
    }

    /// The place after the last entry before this time, in the newest power cycle.
    pub fn place_at(&self, time: VirtualTime) -> usize {
        (self.cycle_start()..self.len())
            .find(|place| self.get(*place).is_some_and(|entry| entry.at >= time))
            .unwrap_or(self.len())
    }

    /// Where the newest power cycle begins: after the last [`Record::Lost`].
    fn cycle_start(&self) -> usize {
        let lost =
            |place: &usize| matches!(self.get(*place), Some(Entry { record: Record::Lost { .. }, .. }));
        (0..self.len()).rev().find(lost).map_or(0, |place| place + 1)
    }

    /// Says who sent the newest flush of this number in the newest power cycle. Returns whether there is such a flush.
    pub fn set_flush_author(&mut self, request: u64, author: &str) -> bool {
        let accepted = |place: &usize| {
            let record = self.get(*place).map(|entry| &entry.record);
            matches!(record, Some(Record::Accepted { request: number, operation: Operation::Flush }) if *number == request)
        };
        let Some(flush) = (self.cycle_start()..self.len()).rev().find(accepted) else { return false };
        let at = self.entries.last().map(|entry| entry.at).unwrap_or_default();
        self.push(at, Record::Author { flush, author: author.into() });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn log(records: Vec<Record>) -> WriteLog {
        let mut log = WriteLog::default();
        for (time, record) in (0..).zip(records) {
            log.push(VirtualTime(time * 10), record);
        }
        log
    }

    pub(super) fn write(request: u64, sector: u64, sectors: u64) -> Record {
        let changes =
            vec![(Extent { sector, sectors }, Contents::Data(vec![1; sectors as usize * 512].into()))];
        Record::Accepted { request, operation: Operation::Change { fua: false, changes } }
    }

    pub(super) fn flush(request: u64) -> Record {
        Record::Accepted { request, operation: Operation::Flush }
    }

    pub(super) fn completed(request: u64) -> Record {
        Record::Completed { request }
    }

    pub(super) fn durable(request: u64) -> Record {
        Record::Durable { request }
    }

    #[test]
    fn a_copy_is_not_changed_and_text_brings_a_log_back() {
        let mut log = log(vec![write(0, 8, 1), flush(1), Record::Power(PowerMark::Cut)]);
        let copy = log.clone();
        assert!(log.set_flush_author(1, "flush_swap_writer"));
        log.push(VirtualTime(30), Record::Note("here".into()));
        assert_eq!((copy.len(), log.len()), (3, 5));
        assert_ne!(copy, log);
        let text = serde_json::to_string(&log).unwrap();
        assert_eq!(serde_json::from_str::<WriteLog>(&text).unwrap(), log);
    }

    #[test]
    fn authors_are_of_flushes_of_this_power_cycle() {
        let lost = Record::Lost { reverted: vec![] };
        let mut log = log(vec![flush(1), lost, write(0, 0, 1), flush(1), completed(1)]);
        assert!(!log.set_flush_author(0, "a write"));
        assert!(!log.set_flush_author(7, "nothing"));
        assert!(log.set_flush_author(1, "blkdev_issue_flush"));
        let author = Record::Author { flush: 3, author: "blkdev_issue_flush".into() };
        assert_eq!(log.get(5), Some(&Entry { at: VirtualTime(40), record: author }));
    }

    #[test]
    fn times_are_of_the_newest_power_cycle() {
        let mut log = log(vec![write(0, 0, 1), completed(0), Record::Lost { reverted: vec![] }]);
        assert_eq!(log.place_at(VirtualTime(0)), 3);
        log.push(VirtualTime(5), write(0, 0, 1));
        log.push(VirtualTime(9), completed(0));
        let places = [0, 5, 6, 9, 10].map(|time| log.place_at(VirtualTime(time)));
        assert_eq!(places, [3, 3, 4, 4, 5]);
    }
}
