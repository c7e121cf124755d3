//! A disk at some place of a history: what certainly survives, and what may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use devices::VirtualTime;
use devices::disk::write_log::{Operation, Record as Logged};
use devices::disk::{AtomicUnit, BLOCK, BaseError, Change, Contents, Extent, Media, SECTOR, Tie};

const SECTORS: u64 = BLOCK / SECTOR;

/// A write that is not durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Number of the request, since the power of the disk came on.
    pub request: u64,
    /// What it changes, but for sectors of which a later version is durable.
    pub changes: Vec<Change>,
    /// The disk with all that is durable, all that was accepted before, and this.
    pub after: Arc<Media>,
    /// The disk said that it is durable, by the end of a flush or of the write itself, and it is not: a disk that tells the truth
    /// does not lose it.
    pub is_promised: bool,
    /// Completed only when durable (force unit access).
    fua: bool,
    /// Its place in the order of completions.
    completed: Option<u64>,
}

/// A disk at some place.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskThen {
    /// What certainly survives.
    pub durable: Media,
    /// What may survive besides, in the order of acceptance.
    pub pending: Vec<Write>,
    /// What a power cut cannot tear.
    pub unit: AtomicUnit,
    /// What survives together.
    pub tie: Tie,
    /// How often something became durable or was lost. While it stays, writes are accepted and nothing else happens.
    pub(in crate::explore) epoch: u64,
    /// Blocks of 4 KiB whose durable contents changed, every time they did.
    pub(in crate::explore) settled: Vec<u64>,
    /// Completions before each flush under way was accepted.
    flushes: BTreeMap<u64, u64>,
    completions: u64,
}

impl DiskThen {
    /// With these contents, and nothing in its cache.
    pub fn new(durable: Media, unit: AtomicUnit, tie: Tie) -> Self {
        let (pending, flushes) = (Vec::new(), BTreeMap::new());
        Self { durable, pending, unit, tie, epoch: 0, settled: Vec::new(), flushes, completions: 0 }
    }

    /// As a guest reads it. A copy costs nothing.
    ///
    /// # Errors
    /// None any more.
    pub fn current(&self) -> Result<Media, BaseError> {
        Ok(self.pending.last().map_or(&self.durable, |last| &last.after).clone())
    }

    /// Takes a write.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn accept(&mut self, request: u64, fua: bool, changes: Vec<Change>) -> Result<(), BaseError> {
        let mut after = self.current()?;
        changes.iter().try_for_each(|change| after.apply(change))?;
        let after = Arc::new(after);
        self.pending.push(Write { request, changes, after, is_promised: false, fua, completed: None });
        Ok(())
    }

    /// Whether this changes what may be on the disk after a cut, or what a disk has to be to lose it.
    pub(super) fn is_changed_by(&self, record: &Logged) -> bool {
        match record {
            Logged::Accepted { operation: Operation::Change { changes, .. }, .. } => {
                changes.iter().any(|(extent, _)| extent.sectors > 0)
            }
            Logged::Completed { request } => self.promised_by(*request).next().is_some(),
            Logged::Durable { .. } => !self.pending.is_empty(),
            Logged::Lost { .. } => true,
            _ => false,
        }
    }

    /// Places of what is durable if the end of this request means what it says.
    fn promised_by(&self, request: u64) -> impl Iterator<Item = usize> + '_ {
        let mark = self.flushes.get(&request).copied().unwrap_or_default();
        let pending = self.pending.iter().enumerate().filter(move |(_, write)| {
            !write.is_promised
                && (write.completed.is_some_and(|completed| completed < mark)
                    || (write.fua && write.request == request))
        });
        pending.map(|(place, _)| place)
    }

    /// Follows records of its log that belong together.
    pub(in crate::explore) fn follow<'r>(
        &mut self,
        records: impl Iterator<Item = &'r Logged>,
    ) -> Result<(), BaseError> {
        let (mut durable, mut ended) = (Vec::new(), Vec::new());
        for record in records {
            if let Logged::Durable { request } = record {
                durable.push(*request);
                continue;
            }
            self.make_durable(&std::mem::take(&mut durable))?;
            match record {
                Logged::Accepted { request, operation: Operation::Flush } => {
                    self.flushes.insert(*request, self.completions);
                }
                Logged::Accepted { request, operation: Operation::Change { fua, changes } } => {
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
                        self.accept(*request, *fua, changes)?;
                    }
                }
                Logged::Completed { request } => {
                    self.complete(*request);
                    ended.push(*request);
                }
                Logged::Failed { request } => {
                    self.complete(*request);
                    self.flushes.remove(request);
                }
                Logged::Lost { reverted } => self.lose(reverted)?,
                _ => {}
            }
        }
        self.make_durable(&durable)?;
        for request in ended {
            let promised: Vec<usize> = self.promised_by(request).collect();
            for place in promised {
                if let Some(write) = self.pending.get_mut(place) {
                    write.is_promised = true;
                }
            }
            self.flushes.remove(&request);
        }
        Ok(())
    }

    fn complete(&mut self, request: u64) {
        if let Some(write) = self.pending.iter_mut().rev().find(|write| write.request == request) {
            write.completed = Some(self.completions);
            self.completions += 1;
        }
    }

    fn lose(&mut self, reverted: &[(Extent, Contents)]) -> Result<(), BaseError> {
        self.durable = self.current()?;
        let pending = self.pending.iter().flat_map(|write| &write.changes).map(|change| change.extent);
        self.settled.extend(pending.chain(reverted.iter().map(|(extent, _)| *extent)).flat_map(blocks));
        self.pending.clear();
        self.flushes.clear();
        self.epoch += 1;
        for (extent, contents) in reverted {
            let (extent, contents) = (*extent, contents.clone());
            let accepted = VirtualTime::default();
            self.durable.apply(&Change { request: 0, extent, contents, accepted, completed: None })?;
        }
        Ok(())
    }

    /// A later version of a sector is never overwritten by an older one: what lies below is not pending any more.
    fn make_durable(&mut self, requests: &[u64]) -> Result<(), BaseError> {
        if requests.is_empty() {
            return Ok(());
        }
        let requests: BTreeSet<u64> = requests.iter().copied().collect();
        let (durable, mut left): (Vec<Write>, Vec<Write>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|write| requests.contains(&write.request));
        self.epoch += u64::from(!durable.is_empty());
        for change in durable.iter().flat_map(|write| &write.changes) {
            self.durable.apply(change)?;
            self.settled.extend(blocks(change.extent));
        }
        let last = durable.last().map_or(0, |write| write.request);
        for older in left.iter_mut().filter(|older| older.request < last) {
            let newer = durable.iter().filter(|newer| newer.request > older.request);
            let mut after = Media::clone(&older.after);
            for change in newer.flat_map(|newer| &newer.changes) {
                if older.changes.iter().any(|old| old.extent.overlaps(change.extent)) {
                    older.changes = older.changes.iter().flat_map(|old| old.without(change.extent)).collect();
                }
                after.apply(change)?;
            }
            older.after = Arc::new(after);
        }
        left.retain(|write| !write.changes.is_empty());
        self.pending = left;
        Ok(())
    }
}

/// Those that an extent touches.
fn blocks(extent: Extent) -> std::ops::Range<u64> {
    extent.sector / SECTORS..extent.end().div_ceil(SECTORS)
}
