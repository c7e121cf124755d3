//! The disks of a run that is over, at every place of its history.

use devices::disk::write_log::{Operation, Record as Logged};
use devices::disk::{BaseError, Change, Contents, Extent, Media};
use devices::{DiskAction, DiskStep, VirtualTime};

use crate::checks::Record;
use crate::history::Happening;

/// A write that is not durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Number of the request, since the power of the disk came on.
    pub request: u64,
    /// What it changes, but for sectors of which a later version is durable.
    pub changes: Vec<Change>,
}

/// A disk at some place.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskThen {
    /// What certainly survives.
    pub durable: Media,
    /// What may survive besides, in the order of acceptance.
    pub pending: Vec<Write>,
}

impl DiskThen {
    /// As a guest reads it.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn current(&self) -> Result<Media, BaseError> {
        let mut media = self.durable.clone();
        for change in self.pending.iter().flat_map(|write| &write.changes) {
            media.apply(change)?;
        }
        Ok(media)
    }
}

/// Goes through a history, and has the disks as they were after each entry.
pub struct Replay<'a> {
    record: &'a Record<'a>,
    disks: Vec<DiskThen>,
    /// The next record of each log.
    next: Vec<usize>,
    /// The next entry of the history.
    entry: usize,
}

impl<'a> Replay<'a> {
    /// From blank disks on.
    ///
    /// # Errors
    /// A size that no disk has.
    pub fn new(record: &'a Record<'a>) -> Result<Self, devices::disk::MediaError> {
        let disks = record
            .scenario
            .disks
            .iter()
            .map(|spec| Ok(DiskThen { durable: Media::blank(spec.size)?, pending: Vec::new() }))
            .collect::<Result<Vec<_>, _>>()?;
        let next = vec![0; disks.len()];
        Ok(Self { record, disks, next, entry: 0 })
    }

    /// The disks as they are now.
    pub fn disks(&self) -> &[DiskThen] {
        &self.disks
    }

    /// How many records of each log belong to what was so far.
    pub fn places(&self) -> &[usize] {
        &self.next
    }

    /// Goes on by one entry of the history; returns its place, or None at the end.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn step(&mut self) -> Result<Option<usize>, BaseError> {
        let Some(entry) = self.record.entries().get(self.entry) else { return Ok(None) };
        if let Happening::Disk(event) = &entry.what
            && !matches!(event.action, DiskAction::Read(_))
        {
            let (disk, wanted) = (usize::from(event.disk), (event.request, event.step));
            self.follow(disk, |record| is_step(record) == Some(wanted))?;
        }
        if matches!(entry.what, Happening::Power(_)) {
            // What a loss of power took stands in the log before the machine says that it lost it.
            (0..self.disks.len()).try_for_each(|disk| self.follow_power(disk))?;
        }
        self.entry += 1;
        Ok(Some(self.entry - 1))
    }

    /// Follows the log of a disk up to and with the record that is looked for.
    fn follow(&mut self, disk: usize, wanted: impl Fn(&Logged) -> bool) -> Result<(), BaseError> {
        let (Some(log), Some(then), Some(next)) =
            (self.record.logs.get(disk), self.disks.get_mut(disk), self.next.get_mut(disk))
        else {
            return Ok(());
        };
        while let Some(entry) = log.get(*next) {
            *next += 1;
            then.follow(&entry.record)?;
            if wanted(&entry.record) {
                break;
            }
        }
        Ok(())
    }

    /// Follows the log of a disk up to the next step of a request.
    fn follow_power(&mut self, disk: usize) -> Result<(), BaseError> {
        let (Some(log), Some(then), Some(next)) =
            (self.record.logs.get(disk), self.disks.get_mut(disk), self.next.get_mut(disk))
        else {
            return Ok(());
        };
        while let Some(entry) = log.get(*next).filter(|entry| is_step(&entry.record).is_none()) {
            *next += 1;
            then.follow(&entry.record)?;
        }
        Ok(())
    }

    /// Whatever a log still has at its end: what a last loss of power took.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn finish(&mut self) -> Result<(), BaseError> {
        while self.step()?.is_some() {}
        (0..self.disks.len()).try_for_each(|disk| self.follow(disk, |_| false))
    }
}

/// Which step of which request a record is.
fn is_step(record: &Logged) -> Option<(u64, DiskStep)> {
    match record {
        Logged::Accepted { request, .. } => Some((*request, DiskStep::Accepted)),
        Logged::Completed { request } => Some((*request, DiskStep::Completed)),
        Logged::Failed { request } => Some((*request, DiskStep::Failed)),
        Logged::Durable { request } => Some((*request, DiskStep::Durable)),
        _ => None,
    }
}

impl DiskThen {
    fn follow(&mut self, record: &Logged) -> Result<(), BaseError> {
        match record {
            Logged::Accepted { request, operation: Operation::Change { changes, .. } } => {
                let change = |(extent, contents): &(Extent, _)| Change {
                    request: *request,
                    extent: *extent,
                    contents: Contents::clone(contents),
                    accepted: VirtualTime::default(),
                    completed: None,
                };
                let changes: Vec<Change> =
                    changes.iter().filter(|(extent, _)| extent.sectors > 0).map(change).collect();
                if !changes.is_empty() {
                    self.pending.push(Write { request: *request, changes });
                }
            }
            Logged::Durable { request } => self.make_durable(*request)?,
            Logged::Lost { reverted } => {
                self.durable = self.current()?;
                self.pending.clear();
                for (extent, contents) in reverted {
                    let (extent, contents) = (*extent, contents.clone());
                    let accepted = VirtualTime::default();
                    self.durable.apply(&Change {
                        request: 0,
                        extent,
                        contents,
                        accepted,
                        completed: None,
                    })?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A later version of a sector is never overwritten by an older one: what lies below is not pending any more.
    fn make_durable(&mut self, request: u64) -> Result<(), BaseError> {
        let Some(at) = self.pending.iter().rposition(|write| write.request == request) else { return Ok(()) };
        let durable = self.pending.remove(at);
        for change in &durable.changes {
            self.durable.apply(change)?;
        }
        for older in self.pending.iter_mut().take(at) {
            for change in &durable.changes {
                older.changes = older.changes.iter().flat_map(|old| old.without(change.extent)).collect();
            }
        }
        self.pending.retain(|write| !write.changes.is_empty());
        Ok(())
    }
}
