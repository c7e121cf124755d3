//! The disk behind a front end: accepts requests, numbers them, and knows when each completes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{BaseError, Latency, Media, SECTOR};
use crate::{Context, DiskAction, DiskEvent, DiskStep, Event, VirtualTime};

/// What does not change while the machine exists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskConfig {
    /// Names the disk in events.
    pub id: u8,
    /// Serial number as the guest reads it: ASCII, of which a front end shows the first 20 characters. None: made of the id.
    pub serial: Option<String>,
    /// Refuses to be changed.
    pub read_only: bool,
    /// How long it takes.
    pub latency: Latency,
}

impl DiskConfig {
    /// Serial number.
    pub fn serial(&self) -> String {
        self.serial.clone().unwrap_or_else(|| format!("KJVM-{:03}", self.id))
    }
}

/// Some sectors in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// The first.
    pub sector: u64,
    /// How many.
    pub sectors: u64,
}

impl Extent {
    /// First byte and number of bytes, if that can be said at all.
    fn bytes(self) -> Option<(u64, u64)> {
        let start = self.sector.checked_mul(SECTOR)?;
        let length = self.sectors.checked_mul(SECTOR)?;
        start.checked_add(length)?;
        Some((start, length))
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Contents.
    Read(Extent),
    /// New contents: whole sectors.
    Write {
        /// The first sector.
        sector: u64,
        /// What it becomes.
        data: Vec<u8>,
        /// Completed only when durable (force unit access).
        durable: bool,
    },
    /// Make durable what was completed.
    Flush,
    /// These contents are not needed any more; they read as zeros.
    Discard(Vec<Extent>),
    /// These become zero.
    WriteZeroes(Vec<Extent>),
}

impl Command {
    /// As events tell of it.
    fn action(&self) -> DiskAction {
        let first = |extents: &[Extent]| extents.first().copied().unwrap_or_default();
        match self {
            Self::Read(extent) => DiskAction::Read(*extent),
            Self::Write { sector, data, durable } => {
                let extent = Extent { sector: *sector, sectors: data.len() as u64 / SECTOR };
                DiskAction::Write { extent, fua: *durable }
            }
            Self::Flush => DiskAction::Flush,
            Self::Discard(extents) => DiskAction::Discard(first(extents)),
            Self::WriteZeroes(extents) => DiskAction::WriteZeroes(first(extents)),
        }
    }

    /// Bytes that pass between host and disk.
    pub(super) fn transferred(&self) -> u64 {
        match self {
            Self::Read(extent) => extent.sectors.saturating_mul(SECTOR),
            Self::Write { data, .. } => data.len() as u64,
            Self::Flush | Self::Discard(_) | Self::WriteZeroes(_) => 0,
        }
    }
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum DiskError {
    /// Reaches beyond the end, or is not a whole number of sectors.
    #[error("beyond the end of the disk, or not whole sectors")]
    Range,
    /// The disk is read-only.
    #[error("the disk is read-only")]
    ReadOnly,
    /// The contents cannot be had.
    #[error(transparent)]
    Base(#[from] BaseError),
}

/// An accepted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its number on this disk.
    pub request: u64,
    /// When the front end calls [`Disk::complete`].
    pub due: VirtualTime,
    /// A trigger matched its acceptance: nothing more may happen before the machine has stopped.
    pub stop: bool,
}

/// A request whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// What it read, if it is a read.
    pub result: Result<Vec<u8>, DiskError>,
    /// A trigger matched: the front end tells the guest, and then nothing more may happen before the machine has stopped.
    pub stop: bool,
}

/// What happened since power-on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Reads accepted.
    pub reads: u64,
    /// Sectors they read.
    pub sectors_read: u64,
    /// Writes accepted.
    pub writes: u64,
    /// Sectors they wrote.
    pub sectors_written: u64,
    /// Flushes accepted.
    pub flushes: u64,
    /// Discards accepted.
    pub discards: u64,
    /// Requests to write zeros accepted.
    pub zeroes: u64,
    /// Requests of any kind that failed.
    pub failed: u64,
}

/// What is left to do when a request completes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct InFlight {
    action: DiskAction,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Outcome {
    Read(Extent),
    Done,
    Failed(DiskError),
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    config: DiskConfig,
    media: Media,
    next_request: u64,
    /// When the transfers accepted so far are over.
    transfers_end: VirtualTime,
    in_flight: BTreeMap<u64, InFlight>,
    counters: Counters,
}

impl Disk {
    /// A disk at power-on.
    pub fn new(config: DiskConfig, media: Media) -> Self {
        Self {
            config,
            media,
            next_request: 0,
            transfers_end: VirtualTime::default(),
            in_flight: BTreeMap::new(),
            counters: Counters::default(),
        }
    }

    /// Power comes back: nothing but the media survived.
    pub fn power_on(&mut self) {
        self.next_request = 0;
        self.transfers_end = VirtualTime::default();
        self.in_flight.clear();
        self.counters = Counters::default();
    }

    /// What does not change.
    pub fn config(&self) -> &DiskConfig {
        &self.config
    }

    /// Contents.
    pub fn media(&self) -> &Media {
        &self.media
    }

    /// Contents, for the host.
    pub fn media_mut(&mut self) -> &mut Media {
        &mut self.media
    }

    /// Size in sectors.
    pub fn sectors(&self) -> u64 {
        self.media.bytes() / SECTOR
    }

    /// What happened since power-on.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes a request. A write is accepted in the order of these calls, whatever the order in which writes complete.
    pub fn accept(&mut self, command: Command, cx: &mut Context<'_>) -> Ticket {
        let request = self.next_request;
        self.next_request = self.next_request.wrapping_add(1);
        let latency = self.config.latency;
        let (transfer, access) = (latency.transfer(&command), latency.access(&command));
        let action = command.action();
        let outcome = self.perform(command).unwrap_or_else(Outcome::Failed);
        let due = if let Outcome::Failed(error) = &outcome {
            self.counters.failed += 1;
            tracing::debug!(disk = self.config.id, request, %error, "disk request failed");
            cx.now.after(access)
        } else {
            self.transfers_end = self.transfers_end.max(cx.now).after(transfer);
            self.transfers_end.after(access)
        };
        self.in_flight.insert(request, InFlight { action, outcome });
        let stop = self.emit(request, action, DiskStep::Accepted, cx);
        Ticket { request, due, stop }
    }

    /// Returns whether a trigger matched.
    fn emit(&self, request: u64, action: DiskAction, step: DiskStep, cx: &mut Context<'_>) -> bool {
        let event = DiskEvent { disk: self.config.id, request, action, step };
        cx.emit(Event::Disk(event))
    }

    fn perform(&mut self, command: Command) -> Result<Outcome, DiskError> {
        let counters = &mut self.counters;
        match command {
            Command::Read(extent) => {
                counters.reads += 1;
                counters.sectors_read = counters.sectors_read.wrapping_add(extent.sectors);
                self.range(extent)?;
                return Ok(Outcome::Read(extent));
            }
            Command::Write { sector, data, durable: _ } => {
                let sectors = data.len() as u64 / SECTOR;
                counters.writes += 1;
                counters.sectors_written = counters.sectors_written.wrapping_add(sectors);
                if !(data.len() as u64).is_multiple_of(SECTOR) {
                    return Err(DiskError::Range);
                }
                let (start, _) = self.writable(Extent { sector, sectors })?;
                self.media.write(start, &data)?;
            }
            Command::Flush => counters.flushes += 1,
            Command::Discard(extents) => {
                counters.discards += 1;
                self.zero(&extents)?;
            }
            Command::WriteZeroes(extents) => {
                counters.zeroes += 1;
                self.zero(&extents)?;
            }
        }
        Ok(Outcome::Done)
    }

    /// All or none of them.
    fn zero(&mut self, extents: &[Extent]) -> Result<(), DiskError> {
        for extent in extents {
            self.writable(*extent)?;
        }
        for extent in extents {
            let (start, length) = self.range(*extent)?;
            self.media.zero(start, length)?;
        }
        Ok(())
    }

    fn writable(&self, extent: Extent) -> Result<(u64, u64), DiskError> {
        if self.config.read_only { Err(DiskError::ReadOnly) } else { self.range(extent) }
    }

    /// First byte and number of bytes.
    fn range(&self, extent: Extent) -> Result<(u64, u64), DiskError> {
        let (start, length) = extent.bytes().ok_or(DiskError::Range)?;
        if start + length > self.media.bytes() { Err(DiskError::Range) } else { Ok((start, length)) }
    }

    /// The time of a request has come. A number that is not in flight is out of range.
    pub fn complete(&mut self, request: u64, cx: &mut Context<'_>) -> Completion {
        let Some(InFlight { action, outcome }) = self.in_flight.remove(&request) else {
            return Completion { result: Err(DiskError::Range), stop: false };
        };
        let result = match outcome {
            Outcome::Read(extent) => self.read(extent),
            Outcome::Done => Ok(Vec::new()),
            Outcome::Failed(error) => Err(error),
        };
        let step = if result.is_ok() { DiskStep::Completed } else { DiskStep::Failed };
        let stop = self.emit(request, action, step, cx);
        Completion { result, stop }
    }

    fn read(&self, extent: Extent) -> Result<Vec<u8>, DiskError> {
        let (start, length) = self.range(extent)?;
        let mut data = vec![0; usize::try_from(length).map_err(|_| DiskError::Range)?];
        self.media.read(start, &mut data)?;
        Ok(data)
    }

    /// The front end was reset and forgot this request. What a write changed stays changed.
    pub fn abandon(&mut self, request: u64) {
        self.in_flight.remove(&request);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::MemoryBase;
    use super::*;
    use crate::bench::Bench;

    fn disk(read_only: bool) -> Disk {
        let latency = Latency { read: 500, write: 100, flush: 0, discard: 300, kibibyte: 10 };
        let config = DiskConfig { id: 1, read_only, latency, ..DiskConfig::default() };
        Disk::new(config, Media::over(Arc::new(MemoryBase(vec![7; 64 << 10]))).unwrap())
    }

    fn read(sector: u64, sectors: u64) -> Command {
        Command::Read(Extent { sector, sectors })
    }

    fn write(sector: u64, bytes: usize) -> Command {
        Command::Write { sector, data: vec![9; bytes], durable: false }
    }

    #[test]
    fn transfers_follow_one_another_and_accesses_overlap() {
        let (mut bench, mut disk) = (Bench::new(), disk(false));
        bench.now = VirtualTime(1000);
        let commands = [read(0, 8), write(8, 4096), read(0, 1), Command::Flush, Command::Discard(vec![])];
        let due = commands.map(|command| disk.accept(command, &mut bench.cx()).due.0);
        // A flush takes time even where it is said to take none.
        assert_eq!(due, [1540, 1180, 1590, 1091, 1390]);
        bench.now = VirtualTime(5000);
        assert_eq!(disk.accept(read(0, 2), &mut bench.cx()).due, VirtualTime(5510));
    }

    #[test]
    fn requests_are_numbered_and_a_write_is_accepted_at_once() {
        let (mut bench, mut disk) = (Bench::new(), disk(false));
        let first = disk.accept(read(0, 1), &mut bench.cx());
        let second = disk.accept(write(0, 512), &mut bench.cx());
        assert_eq!((first.request, second.request), (0, 1));
        // The read completes after the write was accepted: it may see it, and does.
        assert_eq!(disk.complete(0, &mut bench.cx()).result, Ok(vec![9; 512]));
        assert_eq!(disk.complete(1, &mut bench.cx()).result, Ok(vec![]));
        assert_eq!(disk.complete(1, &mut bench.cx()).result, Err(DiskError::Range));
        let read = DiskAction::Read(Extent { sector: 0, sectors: 1 });
        let write = DiskAction::Write { extent: Extent { sector: 0, sectors: 1 }, fua: false };
        let event = |request, action, step| Event::Disk(DiskEvent { disk: 1, request, action, step });
        let accepted = [event(0, read, DiskStep::Accepted), event(1, write, DiskStep::Accepted)];
        let completed = [event(0, read, DiskStep::Completed), event(1, write, DiskStep::Completed)];
        assert_eq!(bench.events.seen, [accepted, completed].concat());
    }

    #[test]
    fn what_is_out_of_range_fails_in_no_more_than_its_access_time() {
        let (mut bench, mut disk) = (Bench::new(), disk(false));
        let huge = [(u64::MAX, 1), (1, u64::MAX), (127, 2), (128, 1), (u64::MAX / 512, 1)];
        for (sector, sectors) in huge {
            let ticket = disk.accept(read(sector, sectors), &mut bench.cx());
            assert_eq!(ticket.due, VirtualTime(500));
            assert_eq!(disk.complete(ticket.request, &mut bench.cx()).result, Err(DiskError::Range));
        }
        for command in [write(127, 1024), write(0, 100)] {
            let ticket = disk.accept(command, &mut bench.cx());
            assert_eq!(disk.complete(ticket.request, &mut bench.cx()).result, Err(DiskError::Range));
        }
        // One bad extent spoils all.
        let extents = [Extent { sector: 0, sectors: 8 }, Extent { sector: 120, sectors: 9 }];
        let ticket = disk.accept(Command::WriteZeroes(extents.to_vec()), &mut bench.cx());
        assert_eq!(disk.complete(ticket.request, &mut bench.cx()).result, Err(DiskError::Range));
        assert_eq!(disk.media().changed_blocks().count(), 0);
        assert_eq!(disk.counters().failed, 8);
    }

    #[test]
    fn a_read_only_disk_stays_as_it_is() {
        let (mut bench, mut disk) = (Bench::new(), disk(true));
        let all = Extent { sector: 0, sectors: 128 };
        for command in [write(0, 512), Command::Discard(vec![all]), Command::WriteZeroes(vec![all])] {
            let ticket = disk.accept(command, &mut bench.cx());
            assert_eq!(disk.complete(ticket.request, &mut bench.cx()).result, Err(DiskError::ReadOnly));
        }
        assert_eq!(disk.media().changed_blocks().count(), 0);
    }

    #[test]
    fn at_power_on_only_the_contents_remain() {
        let (mut bench, mut disk) = (Bench::new(), disk(false));
        disk.accept(write(0, 512), &mut bench.cx());
        disk.abandon(0);
        disk.accept(read(0, 1), &mut bench.cx());
        disk.power_on();
        let mut fresh = Disk::new(disk.config().clone(), disk.media().clone());
        assert_eq!(disk, fresh);
        assert_eq!(disk.complete(1, &mut bench.cx()).result, Err(DiskError::Range));
        assert_eq!(disk.accept(read(0, 1), &mut bench.cx()), fresh.accept(read(0, 1), &mut bench.cx()));
        assert_eq!(disk.complete(0, &mut bench.cx()).result, Ok(vec![9; 512]));
    }
}
