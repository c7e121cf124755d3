//! Which records of the write logs belong to which entry of the history.
//!
//! Both tell the same steps of the same requests in the same order. But a disk changes at once and tells one step at a time: what a flush
//! made durable is durable when the guest is told that the flush is over, though the history says so of each write afterwards.

use std::collections::VecDeque;
use std::ops::Range;

use devices::disk::WriteLog;
use devices::disk::write_log::Record as Logged;
use devices::{DiskAction, DiskEvent, DiskStep};
use serde::Serialize;

use crate::checks::Record;
use crate::history::Happening;

/// Records of one log that an entry of the history brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Followed {
    pub(super) entry: usize,
    pub(super) disk: usize,
    pub(super) records: Range<usize>,
}

/// Where a write log does not have what the history tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unfollowed {
    /// Which entry of the history.
    pub entry: usize,
    /// Which disk.
    pub disk: usize,
    /// Which request.
    pub request: u64,
}

/// How far a log is.
struct Cursor<'a> {
    log: &'a WriteLog,
    next: usize,
    /// Requests that are durable already, of which the history has yet to tell.
    ahead: VecDeque<u64>,
}

/// What each entry brings, in order, and the first that cannot be followed.
pub(super) fn followed(record: &Record<'_>) -> (Vec<Followed>, Option<Unfollowed>) {
    let mut cursors: Vec<Cursor<'_>> =
        record.logs.iter().map(|log| Cursor { log, next: 0, ahead: VecDeque::new() }).collect();
    let mut all = Vec::new();
    for (entry, happened) in record.entries().iter().enumerate() {
        match &happened.what {
            // Logs have no reads. One with FUA that makes others durable says so of them.
            Happening::Disk(event) if !matches!(event.action, DiskAction::Read(_)) => {
                let disk = usize::from(event.disk);
                let Some(cursor) = cursors.get_mut(disk) else { continue };
                let Some(records) = cursor.follow(event) else {
                    return (all, Some(Unfollowed { entry, disk, request: event.request }));
                };
                all.push(Followed { entry, disk, records });
            }
            Happening::Power(_) => {
                for (disk, cursor) in cursors.iter_mut().enumerate() {
                    all.push(Followed { entry, disk, records: cursor.power() });
                }
            }
            _ => {}
        }
    }
    all.retain(|followed| !followed.records.is_empty());
    (all, None)
}

impl Cursor<'_> {
    /// Up to and with this step, and with what became durable in it.
    fn follow(&mut self, event: &DiskEvent) -> Option<Range<usize>> {
        if event.step == DiskStep::Durable && self.ahead.front() == Some(&event.request) {
            self.ahead.pop_front();
            return Some(self.next..self.next);
        }
        let start = self.next;
        let found = (start..self.log.len()).find(|place| self.step(*place).is_some())?;
        if self.step(found) != Some((event.request, event.step)) {
            return None;
        }
        self.next = found + 1;
        if event.step != DiskStep::Accepted {
            let at = self.log.get(found)?.at;
            while let Some((request, DiskStep::Durable)) = self.step(self.next)
                && self.log.get(self.next).is_some_and(|entry| entry.at == at)
            {
                self.ahead.push_back(request);
                self.next += 1;
            }
        }
        Some(start..self.next)
    }

    /// What a loss of power took stands in the log before the machine says that it lost it; what was not told by then never is.
    fn power(&mut self) -> Range<usize> {
        let start = self.next;
        let is_other = |place: &usize| self.step(*place).is_some_and(|(_, step)| step != DiskStep::Durable);
        let end = (start..self.log.len()).find(is_other).unwrap_or(self.log.len());
        let is_lost = |place: &usize| {
            matches!(self.log.get(*place).map(|entry| &entry.record), Some(Logged::Lost { .. }))
        };
        if let Some(lost) = (start..end).rev().find(is_lost) {
            self.ahead.clear();
            self.next = lost + 1;
        }
        while self.next < self.log.len() && self.step(self.next).is_none() {
            self.next += 1;
        }
        start..self.next
    }

    /// Which step of which request a record is.
    fn step(&self, place: usize) -> Option<(u64, DiskStep)> {
        Some(match &self.log.get(place)?.record {
            Logged::Accepted { request, .. } => (*request, DiskStep::Accepted),
            Logged::Completed { request } => (*request, DiskStep::Completed),
            Logged::Failed { request } => (*request, DiskStep::Failed),
            Logged::Durable { request } => (*request, DiskStep::Durable),
            _ => return None,
        })
    }
}
