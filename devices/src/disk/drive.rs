//! The disk behind a front end: accepts requests, numbers them, and knows when each completes and what of it survives.

#[cfg(test)]
mod durability;
#[cfg(test)]
mod model;
#[cfg(test)]
mod recorded;
mod recording;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cache::{Cache, Durable};
use super::config::{PowerOff, Standby};
use super::fault::{Applied, Candidate, Fault, FaultOutcome, Kind, Times};
use super::{
    Base, BaseError, Change, Command, Completion, Counters, DiskConfig, DiskConfigError, DiskError, Extent,
    Media, SECTOR, Ticket, WriteLog,
};
use crate::{Context, DiskAction, DiskEvent, DiskStep, Event, Reset, VirtualTime};

/// What is left to do when a request completes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct InFlight {
    action: DiskAction,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Outcome {
    Read {
        extent: Extent,
        fua: bool,
    },
    /// Covers what completed before this mark of the cache.
    Flush(u64),
    Change {
        /// Durable when it completes: asked for.
        fua: bool,
        /// Durable when it completes: the cache was off all the time.
        through: bool,
    },
    Failed(DiskError),
    /// A flush that makes nothing durable.
    Lie,
}

/// A disk.
///
/// What a request does:
/// - [`Disk::accept`]: a write is visible to reads at once, and is in [`Disk::changes`] until it is durable. A power cut may find any
///   part of it done.
/// - [`Disk::complete`]: a write is done; durable it is only if it has FUA or the cache is off. A flush makes durable all that had
///   *completed* before the flush was *accepted*, when the flush completes: what the guest is told is true at that moment.
///   A disk that promises too early ([`DiskConfig::late_loss`]) says so and makes them durable later, as [`Disk::advance`] does.
/// - [`Disk::abandon`]: the front end was reset. The change stays in the cache; no flush covers it, since it never completed, but it
///   may survive, and destages by itself as others do.
/// - [`Disk::advance`], at [`Disk::deadline`]: what was completed for [`DiskConfig::destage_after`] becomes durable by itself.
///
/// Once a version of a sector is durable, no older one can come back: older changes lose those sectors.
///
/// Each of these calls emits events and stops at the first that a trigger matches; the state is then that of this event, and what is
/// left to say is said by [`Disk::advance`], for which the deadline is at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    config: DiskConfig,
    cache: Cache,
    /// The guest leaves the cache on.
    write_cache: bool,
    next_request: u64,
    /// When the transfers accepted so far are over.
    transfers_end: VirtualTime,
    in_flight: BTreeMap<u64, InFlight>,
    counters: Counters,
    /// Faults that struck and do so once, by their place in the configuration.
    spent: BTreeSet<usize>,
    /// Events that are yet to be emitted.
    untold: VecDeque<(u64, DiskAction, DiskStep)>,
    /// Requests of which the guest was told that they are durable, and when they are ([`DiskConfig::late_loss`]).
    promised: VecDeque<(VirtualTime, Vec<u64>)>,
    /// Nothing destages by itself before: the host could not read the base when it was tried.
    destage_from: VirtualTime,
    host_errors: u64,
    /// Empty if none is kept.
    log: WriteLog,
}

impl Disk {
    /// A disk at power-on.
    ///
    /// # Errors
    /// [`DiskConfigError`] if there can be no such disk.
    pub fn new(config: DiskConfig, media: Media) -> Result<Self, DiskConfigError> {
        config.check()?;
        Ok(Self::fresh(config, media))
    }

    fn fresh(config: DiskConfig, media: Media) -> Self {
        Self {
            write_cache: config.has_cache(),
            config,
            cache: Cache::new(media),
            next_request: 0,
            transfers_end: VirtualTime::default(),
            in_flight: BTreeMap::new(),
            counters: Counters::default(),
            spent: BTreeSet::new(),
            untold: VecDeque::new(),
            promised: VecDeque::new(),
            destage_from: VirtualTime::default(),
            host_errors: 0,
            log: WriteLog::default(),
        }
    }

    /// Power comes on, and these are the contents: of a size that does not change. All else is as new, so that what follows does not
    /// depend on what was before; only [`Disk::host_errors`] and [`Disk::log`] go on. Who cut the power chooses the contents from
    /// [`Disk::durable`] and [`Disk::changes`].
    pub fn power_on(&mut self, media: Media) {
        self.record_loss(&media);
        let log = std::mem::take(&mut self.log);
        *self = Self { host_errors: self.host_errors, log, ..Self::fresh(self.config.clone(), media) };
    }

    /// The machine is switched off by order: what is not durable is destaged or dropped ([`DiskConfig::power_off`]), without events.
    /// All else is as after [`Disk::power_on`].
    pub fn power_off(&mut self) {
        self.power_on(match self.config.power_off {
            PowerOff::Destage => self.media().clone(),
            PowerOff::Drop => self.durable().clone(),
        });
    }

    /// The machine goes to S3, which may cost the disk its power ([`DiskConfig::s3`]): it is then as after [`Disk::power_on`] with
    /// what was durable. Else nothing happens. Twice is as good as once.
    pub fn enter_s3(&mut self) {
        if self.config.s3 == Standby::PowerLoss {
            self.power_on(self.durable().clone());
        }
    }

    /// The machine starts again. A disk whose contents nobody chose while it was off was switched off by order; the reset line
    /// changes nothing. The front end has abandoned all requests.
    pub(crate) fn reset(&mut self, kind: Reset) {
        match kind {
            Reset::PowerOn => self.power_off(),
            Reset::Wake => self.enter_s3(),
            Reset::Line => {}
        }
    }

    /// Whether a restart of this kind takes the power of the disk away.
    pub(crate) fn loses_power(&self, kind: Reset) -> bool {
        match kind {
            Reset::PowerOn => true,
            Reset::Wake => self.config.s3 == Standby::PowerLoss,
            Reset::Line => false,
        }
    }

    /// What does not change.
    pub fn config(&self) -> &DiskConfig {
        &self.config
    }

    /// Contents as a guest reads them: all that was accepted.
    pub fn media(&self) -> &Media {
        self.cache.current()
    }

    /// Contents that certainly survive.
    pub fn durable(&self) -> &Media {
        self.cache.durable()
    }

    /// What may survive beside them, or not: every change that is not durable, in the order of acceptance. A part that a later durable
    /// version overwrote is not among them.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.cache.changes()
    }

    /// Contents of sectors that nobody has read or written since power came on are others, as if they had been all along.
    ///
    /// # Errors
    /// [`BaseError`]; some of them may be others then.
    pub fn substitute(&mut self, extent: Extent, contents: &Media) -> Result<(), BaseError> {
        self.cache.substitute(extent, contents)
    }

    /// Brings the base back after deserialization.
    ///
    /// # Errors
    /// [`BaseError::Other`] if these are other contents than the disk was made from; [`BaseError::Host`].
    pub fn attach(&mut self, base: &Arc<dyn Base>) -> Result<(), BaseError> {
        self.cache.attach(base)
    }

    /// Size in sectors.
    pub fn sectors(&self) -> u64 {
        self.media().bytes() / SECTOR
    }

    /// Puts another fault in the place of one of the configuration's, from now on: it has not struck yet. For a place that there is
    /// not, nothing happens.
    ///
    /// # Errors
    /// [`DiskConfigError`] if there can be no such disk; nothing happened then.
    pub fn set_fault(&mut self, place: usize, fault: Fault) -> Result<(), DiskConfigError> {
        let mut config = self.config.clone();
        let Some(old) = config.faults.get_mut(place) else { return Ok(()) };
        *old = fault;
        config.check()?;
        self.config = config;
        self.spent.remove(&place);
        Ok(())
    }

    /// What happened since power-on.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How often the host could not read the base: an image that was truncated, a medium with errors. The guest saw a request fail,
    /// and what it did since says nothing about the guest. Counted over the life of the machine.
    pub fn host_errors(&self) -> u64 {
        self.host_errors
    }

    /// The guest switches the volatile write cache on or off, if there is one. Off: what is accepted from now on, and completes
    /// before the cache is on again, is durable when it completes.
    pub(crate) fn set_write_cache(&mut self, on: bool) {
        let on = on && self.config.has_cache();
        if on && !self.write_cache {
            self.set_through(false);
        }
        self.write_cache = on;
    }

    /// What is in flight is durable when it completes as well.
    pub(crate) fn write_through_in_flight(&mut self) {
        self.set_through(true);
    }

    fn set_through(&mut self, value: bool) {
        for request in self.in_flight.values_mut() {
            if let Outcome::Change { through, .. } = &mut request.outcome {
                *through = value;
            }
        }
    }

    /// Takes a request. A write is accepted in the order of these calls, whatever the order in which writes complete.
    pub fn accept(&mut self, command: Command, cx: &mut Context<'_>) -> Ticket {
        let request = self.next_request;
        self.next_request = self.next_request.wrapping_add(1);
        let access = self.config.latency.access(&command, request, self.config.reorder);
        let (action, extents) = (command.action(), command.extents());
        let fault = self.strike(request, action, &extents);
        let outcome = self.start(request, &command, &extents, fault, cx.now);
        let due = if fault.is_none() && matches!(outcome, Outcome::Failed(_)) {
            cx.now.after(access)
        } else {
            let transfer = self.config.latency.transfer(&command);
            self.transfers_end = self.transfers_end.max(cx.now).after(transfer);
            self.transfers_end.after(access)
        };
        self.in_flight.insert(request, InFlight { action, outcome });
        self.record_accepted(request, &command, cx.now);
        self.untold.push_back((request, action, DiskStep::Accepted));
        let hangs = matches!(fault, Some(FaultOutcome::Hangs(_)));
        Ticket { request, due: (!hangs).then_some(due), stop: self.tell(cx) }
    }

    /// The fault of a request, if it has one.
    fn strike(&mut self, request: u64, action: DiskAction, extents: &[Extent]) -> Option<FaultOutcome> {
        let kind = Kind::from(action);
        let sectors = extents.iter().fold(0, |all: u64, extent| all.wrapping_add(extent.sectors));
        let nth = self.counters.accept(kind, sectors);
        let candidate = Candidate { request, kind, nth, extents };
        let mut faults = self.config.faults.iter().enumerate();
        let (place, fault) =
            faults.find(|(place, fault)| !self.spent.contains(place) && fault.matches(&candidate))?;
        if fault.times == Times::Once {
            self.spent.insert(place);
        }
        Some(fault.outcome)
    }

    fn start(
        &mut self,
        request: u64,
        command: &Command,
        extents: &[Extent],
        fault: Option<FaultOutcome>,
        now: VirtualTime,
    ) -> Outcome {
        let started = self.check(command, extents).and_then(|()| {
            let Some(contents) = command.contents() else {
                return Ok(());
            };
            let whole = |extent: &Extent| Change {
                request,
                extent: *extent,
                contents: contents.clone(),
                accepted: now,
                completed: None,
            };
            let changes = extents.iter().filter(|extent| extent.sectors > 0).map(whole);
            let changes = match fault.map(FaultOutcome::applied) {
                None | Some(Applied::All) => changes.collect(),
                Some(Applied::Nothing) if fault == Some(FaultOutcome::Lies) => changes.collect(),
                Some(Applied::Nothing) => Vec::new(),
                Some(Applied::Units(units)) => self.first_units(changes, units),
            };
            Ok(self.cache.accept(request, command.action(), changes)?)
        });
        match (started, fault) {
            (Err(error), _) => Outcome::Failed(error),
            (Ok(()), Some(FaultOutcome::Lies)) if command.contents().is_some() => {
                Outcome::Change { fua: false, through: !self.write_cache }
            }
            (Ok(()), Some(FaultOutcome::Lies)) => Outcome::Lie,
            (Ok(()), Some(FaultOutcome::Fails(_) | FaultOutcome::Hangs(_))) => {
                Outcome::Failed(DiskError::Fault)
            }
            (Ok(()), None) => match command {
                Command::Read { extent, fua } => Outcome::Read { extent: *extent, fua: *fua },
                Command::Flush => Outcome::Flush(self.cache.mark()),
                _ => Outcome::Change { fua: command.is_fua(), through: !self.write_cache },
            },
        }
    }

    /// Of some changes, so many atomic units from the start on.
    fn first_units(&self, changes: impl Iterator<Item = Change>, mut units: u64) -> Vec<Change> {
        let unit = self.config.atomic_unit.sectors();
        let mut first = Vec::new();
        for change in changes {
            if units == 0 {
                break;
            }
            let sector = change.extent.sector;
            // The first unit may begin before the change.
            let end = (sector / unit).saturating_add(units).saturating_mul(unit).min(change.extent.end());
            units = units.saturating_sub(end.div_ceil(unit).saturating_sub(sector / unit));
            first.push(change.part(Extent { sector, sectors: end.saturating_sub(sector) }));
        }
        first
    }

    fn check(&self, command: &Command, extents: &[Extent]) -> Result<(), DiskError> {
        let changes = command.contents().is_some();
        if !command.transferred().is_multiple_of(SECTOR) {
            return Err(DiskError::Range);
        }
        if changes && self.config.read_only {
            return Err(DiskError::ReadOnly);
        }
        extents.iter().try_for_each(|extent| self.range(*extent).map(|_| ()))
    }

    /// First byte and number of bytes.
    fn range(&self, extent: Extent) -> Result<(u64, u64), DiskError> {
        let (start, length) = extent.bytes().ok_or(DiskError::Range)?;
        if start + length > self.media().bytes() { Err(DiskError::Range) } else { Ok((start, length)) }
    }

    /// The time of a request has come. A number that is not in flight is out of range.
    pub fn complete(&mut self, request: u64, cx: &mut Context<'_>) -> Completion {
        let Some(InFlight { action, outcome }) = self.in_flight.remove(&request) else {
            return Completion { result: Err(DiskError::Range), stop: false };
        };
        let mut durable = Vec::new();
        let result = self.finish(request, action, outcome, &mut durable, cx.now);
        let step = if result.is_ok() { DiskStep::Completed } else { DiskStep::Failed };
        if let Err(error) = &result {
            self.count_failure(request, error);
        }
        self.record_step(request, action, step, cx.now);
        self.untold.push_back((request, action, step));
        self.became_durable(durable, cx.now);
        Completion { result, stop: self.tell(cx) }
    }

    fn finish(
        &mut self,
        request: u64,
        action: DiskAction,
        outcome: Outcome,
        durable: &mut Vec<Durable>,
        now: VirtualTime,
    ) -> Result<Vec<u8>, DiskError> {
        match outcome {
            Outcome::Read { extent, fua } => {
                if fua {
                    *durable = self.settle(self.cache.completed_in(extent), now)?;
                }
                return self.read(extent);
            }
            Outcome::Flush(mark) => *durable = self.settle(self.cache.completed_before(mark), now)?,
            Outcome::Change { fua, through } => {
                self.cache.complete(request, now);
                if fua || through {
                    *durable = self.settle(vec![request], now)?;
                }
                if self.cache.holds(request) {
                    return Ok(Vec::new());
                }
                // Nothing may have been left of it: it changed no sectors, or later versions of all of them are durable.
                if durable.is_empty() {
                    durable.push((request, action));
                }
            }
            Outcome::Failed(error) => {
                self.cache.complete(request, now);
                return Err(error);
            }
            Outcome::Lie => {}
        }
        Ok(Vec::new())
    }

    /// These are durable, or are said to be and will be later. Returns those that are.
    fn settle(&mut self, requests: Vec<u64>, now: VirtualTime) -> Result<Vec<Durable>, BaseError> {
        match self.config.late_loss {
            None => self.cache.make_durable(requests),
            Some(late) => {
                self.promised.push_back((now.after(late), requests));
                Ok(Vec::new())
            }
        }
    }

    fn count_failure(&mut self, request: u64, error: &DiskError) {
        self.counters.failed = self.counters.failed.wrapping_add(1);
        let disk = self.config.id;
        if matches!(error, DiskError::Base(_)) {
            self.host_errors = self.host_errors.saturating_add(1);
            tracing::warn!(disk, request, %error, "the guest sees an I/O error that is the host's");
        } else {
            tracing::debug!(disk, request, %error, "disk request failed");
        }
    }

    fn read(&self, extent: Extent) -> Result<Vec<u8>, DiskError> {
        let (start, length) = self.range(extent)?;
        let mut data = vec![0; usize::try_from(length).map_err(|_| DiskError::Range)?];
        self.media().read(start, &mut data)?;
        Ok(data)
    }

    /// The front end was reset and forgot this request.
    pub fn abandon(&mut self, request: u64) {
        self.in_flight.remove(&request);
        self.cache.abandon(request);
    }

    /// When [`Disk::advance`] has something to do.
    pub fn deadline(&self) -> Option<VirtualTime> {
        if !self.untold.is_empty() {
            return Some(VirtualTime::default());
        }
        let oldest = self.config.destage_after.and_then(|after| Some(self.cache.oldest()?.after(after)));
        let promised = self.promised.front().map(|(due, _)| *due);
        oldest.into_iter().chain(promised).min().map(|due| due.max(self.destage_from))
    }

    /// Emits what is left to emit, and destages what waited long enough. Returns whether a trigger matched: nothing more may happen
    /// then before the machine has stopped.
    pub fn advance(&mut self, cx: &mut Context<'_>) -> bool {
        if self.tell(cx) {
            return true;
        }
        if self.deadline().is_none_or(|due| due > cx.now) {
            return false;
        }
        let since = self.config.destage_after.and_then(|after| cx.now.0.checked_sub(after));
        let waiting = since.map(|since| self.cache.waiting_since(VirtualTime(since)));
        let promised = self.promised.iter().take_while(|(due, _)| *due <= cx.now);
        let count = promised.clone().count();
        let requests =
            promised.flat_map(|(_, requests)| requests).copied().chain(waiting.into_iter().flatten());
        match self.cache.make_durable(requests.collect()) {
            Ok(durable) => {
                self.promised.drain(..count);
                self.became_durable(durable, cx.now);
            }
            Err(error) => {
                self.host_errors = self.host_errors.saturating_add(1);
                tracing::warn!(disk = self.config.id, %error, "cannot destage");
                let later = self.config.destage_after.or(self.config.late_loss);
                self.destage_from = cx.now.after(later.unwrap_or_default().max(1));
            }
        }
        self.tell(cx)
    }

    fn became_durable(&mut self, durable: Vec<Durable>, now: VirtualTime) {
        for (request, action) in durable {
            self.record_step(request, action, DiskStep::Durable, now);
            self.untold.push_back((request, action, DiskStep::Durable));
        }
    }

    /// Emits what is to be emitted, until a trigger matches. Returns whether one did.
    fn tell(&mut self, cx: &mut Context<'_>) -> bool {
        while let Some((request, action, step)) = self.untold.pop_front() {
            let event = DiskEvent { disk: self.config.id, request, action, step };
            if cx.emit(Event::Disk(event)) {
                return true;
            }
        }
        false
    }
}
