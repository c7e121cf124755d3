//! The volatile write cache: what was accepted, what of it is durable, and all that lies between.
//!
//! It is not bounded: a drive with less room destages when it wants to, which [`super::DiskConfig::destage_after`] and the choice at a
//! power cut express better than a size would.

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use super::block::Block;
use super::{BaseError, Change, Contents, Extent, Media, SECTOR};
use crate::{DiskAction, VirtualTime};

/// A request that became durable: its number and what it asked.
pub(super) type Durable = (u64, DiskAction);

/// How far a request with changes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Progress {
    InFlight,
    /// Its place in the order of completions.
    Completed(u64),
    /// Forgotten by its front end: no flush covers it, since it never completed.
    Abandoned,
}

/// A request of which something is not durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Cached {
    action: DiskAction,
    progress: Progress,
    /// In the order in which the request names its extents, none empty.
    changes: Vec<Change>,
}

/// Contents of a disk with a cache. Always holds: `durable`, with all changes made to it in the order of acceptance, is `current`. A
/// copy costs nothing: see [`Media`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(super) struct Cache {
    /// All that was accepted: what reads see.
    current: Media,
    /// What certainly survives.
    durable: Media,
    /// By number, which is the order of acceptance.
    requests: RedBlackTreeMapSync<u64, Cached>,
    /// Numbers of those that completed, in the order of completion.
    completed: RedBlackTreeMapSync<u64, u64>,
    /// Those that were abandoned.
    abandoned: RedBlackTreeMapSync<u64, ()>,
    /// How many completed so far.
    completions: u64,
}

impl Cache {
    /// Nothing is in the cache.
    pub(super) fn new(media: Media) -> Self {
        Self {
            current: media.clone(),
            durable: media,
            requests: RedBlackTreeMapSync::new_sync(),
            completed: RedBlackTreeMapSync::new_sync(),
            abandoned: RedBlackTreeMapSync::new_sync(),
            completions: 0,
        }
    }

    /// See [`super::Disk::substitute`]: sectors that no change touches are the same in both.
    pub(super) fn substitute(&mut self, extent: Extent, contents: &Media) -> Result<(), BaseError> {
        let (start, length) = (extent.sector.saturating_mul(SECTOR), extent.sectors.saturating_mul(SECTOR));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        contents.read(start, &mut bytes)?;
        self.current.write(start, &bytes)?;
        self.durable.write(start, &bytes)
    }

    pub(super) fn current(&self) -> &Media {
        &self.current
    }

    pub(super) fn durable(&self) -> &Media {
        &self.durable
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.requests.values().flat_map(|cached| &cached.changes)
    }

    /// What of a request is not durable.
    pub(super) fn changes_of(&self, request: u64) -> &[Change] {
        self.requests.get(&request).map_or(&[], |cached| &cached.changes)
    }

    /// Brings the base of both back.
    pub(super) fn attach(&mut self, base: &std::sync::Arc<dyn super::Base>) -> Result<(), BaseError> {
        if let Some(held) = self.current.base_mut() {
            held.attach(base.clone())?;
            let attached = held.clone();
            if let Some(held) = self.durable.base_mut() {
                *held = attached;
            }
        }
        Ok(())
    }

    /// Takes a request that changes something: all or nothing of it.
    pub(super) fn accept(
        &mut self,
        request: u64,
        action: DiskAction,
        changes: Vec<Change>,
    ) -> Result<(), BaseError> {
        let mut current = self.current.clone();
        for change in &changes {
            current.apply(change)?;
        }
        self.current = current;
        if !changes.is_empty() {
            self.requests.insert_mut(request, Cached { action, progress: Progress::InFlight, changes });
        }
        Ok(())
    }

    /// A request completed, of which nothing may be left.
    pub(super) fn complete(&mut self, request: u64, now: VirtualTime) {
        if let Some(cached) = self.requests.get_mut(&request) {
            cached.progress = Progress::Completed(self.completions);
            for change in &mut cached.changes {
                change.completed = Some(now);
            }
            self.completed.insert_mut(self.completions, request);
            self.completions = self.completions.wrapping_add(1);
        }
    }

    /// The front end forgot a request.
    pub(super) fn abandon(&mut self, request: u64) {
        if let Some(cached) = self.requests.get_mut(&request)
            && cached.progress == Progress::InFlight
        {
            cached.progress = Progress::Abandoned;
            self.abandoned.insert_mut(request, ());
        }
    }

    /// Whether something of a request is not durable.
    pub(super) fn holds(&self, request: u64) -> bool {
        self.requests.contains_key(&request)
    }

    /// A mark that tells what completed before from what completes after.
    pub(super) fn mark(&self) -> u64 {
        self.completions
    }

    /// Requests that completed before this mark.
    pub(super) fn completed_before(&self, mark: u64) -> Vec<u64> {
        self.completed.range(..mark).map(|(_, request)| *request).collect()
    }

    /// Requests that completed and touch these sectors.
    pub(super) fn completed_in(&self, extent: Extent) -> Vec<u64> {
        let touches = |cached: &Cached| {
            matches!(cached.progress, Progress::Completed(_))
                && cached.changes.iter().any(|change| change.extent.overlaps(extent))
        };
        self.requests.iter().filter(|(_, cached)| touches(cached)).map(|(request, _)| *request).collect()
    }

    /// Since when a request waits to become durable by itself: since it completed, or since it was accepted if it never will complete.
    fn since(&self, request: u64) -> Option<VirtualTime> {
        let change = self.requests.get(&request)?.changes.first()?;
        Some(change.completed.unwrap_or(change.accepted))
    }

    /// Since when the oldest one waits.
    pub(super) fn oldest(&self) -> Option<VirtualTime> {
        let completed = self.completed.first().and_then(|(_, request)| self.since(*request));
        let abandoned = self.abandoned.first().and_then(|(request, ())| self.since(*request));
        completed.into_iter().chain(abandoned).min()
    }

    /// Those that wait since this time or longer.
    pub(super) fn waiting_since(&self, time: VirtualTime) -> Vec<u64> {
        let waits = |request: &u64| self.since(*request).is_some_and(|since| since <= time);
        let completed = self.completed.values().copied().take_while(waits);
        completed.chain(self.abandoned.keys().copied().take_while(waits)).collect()
    }

    /// Makes requests durable. Returns those of which nothing is left in the cache, in the order of acceptance: these, and older ones
    /// that they overwrote, of which a durable disk has no use.
    ///
    /// # Errors
    /// [`BaseError`]: nothing happened then.
    pub(super) fn make_durable(&mut self, mut requests: Vec<u64>) -> Result<Vec<Durable>, BaseError> {
        requests.sort_unstable();
        requests.dedup();
        requests.retain(|request| self.holds(*request));
        if requests.len() == self.requests.size() {
            let gone = self.requests.iter().map(|(request, cached)| (*request, cached.action)).collect();
            *self = Self { completions: self.completions, ..Self::new(self.current.clone()) };
            return Ok(gone);
        }
        let mut durable = self.durable.clone();
        for request in &requests {
            for change in self.requests.get(request).into_iter().flat_map(|cached| &cached.changes) {
                durable.apply(change)?;
            }
        }
        self.durable = durable;
        let taken: Vec<_> = requests
            .iter()
            .filter_map(|request| self.take(*request).map(|cached| (*request, cached)))
            .collect();
        let mut gone = taken.iter().map(|(request, cached)| (*request, cached.action)).collect();
        for (request, cached) in &taken {
            self.supersede(*request, &cached.changes, &mut gone);
        }
        gone.sort_unstable_by_key(|(request, _)| *request);
        Ok(gone)
    }

    fn take(&mut self, request: u64) -> Option<Cached> {
        let cached = self.requests.get(&request)?.clone();
        self.requests.remove_mut(&request);
        match cached.progress {
            Progress::InFlight => {}
            Progress::Completed(place) => {
                self.completed.remove_mut(&place);
            }
            Progress::Abandoned => {
                self.abandoned.remove_mut(&request);
            }
        }
        Some(cached)
    }

    /// A version of some sectors is durable: no older one can overwrite it any more.
    fn supersede(&mut self, request: u64, by: &[Change], gone: &mut Vec<Durable>) {
        let touched = |cached: &Cached| {
            let mut pairs = cached.changes.iter().flat_map(|old| by.iter().map(move |new| (old, new)));
            pairs.any(|(old, new)| old.extent.overlaps(new.extent))
        };
        let older: Vec<u64> = self
            .requests
            .range(..request)
            .filter(|(_, cached)| touched(cached))
            .map(|(older, _)| *older)
            .collect();
        for older in older {
            let Some(cached) = self.requests.get_mut(&older) else { continue };
            for new in by {
                cached.changes = cached.changes.iter().flat_map(|old| old.without(new.extent)).collect();
            }
            let is_over = cached.changes.is_empty();
            let is_in_flight = cached.progress == Progress::InFlight;
            if is_over && let Some(cached) = self.take(older) {
                // What is in flight is told of when it completes.
                if !is_in_flight {
                    gone.push((older, cached.action));
                }
            }
        }
    }
}

impl Change {
    /// What is left of it without all of these sectors.
    pub fn without_all(&self, extents: &[Extent]) -> Vec<Self> {
        extents.iter().fold(vec![self.clone()], |parts, extent| {
            parts.iter().flat_map(|part| part.without(*extent)).collect()
        })
    }

    /// What is left of it without these sectors: before them and after them.
    pub fn without(&self, extent: Extent) -> Vec<Self> {
        let all = self.extent;
        if !all.overlaps(extent) {
            return vec![self.clone()];
        }
        let before = Extent { sector: all.sector, sectors: extent.sector.saturating_sub(all.sector) };
        let after = Extent { sector: extent.end(), sectors: all.end().saturating_sub(extent.end()) };
        [before, after].into_iter().filter(|part| part.sectors > 0).map(|part| self.part(part)).collect()
    }

    /// The part of it that lies in an extent, which lies within its own.
    pub(super) fn part(&self, extent: Extent) -> Self {
        let contents = match &self.contents {
            Contents::Data(data) => {
                let start = extent.sector.saturating_sub(self.extent.sector).saturating_mul(SECTOR);
                let end = start.saturating_add(extent.sectors.saturating_mul(SECTOR));
                let part = usize::try_from(start).ok().zip(usize::try_from(end).ok());
                let part = part.and_then(|(start, end)| data.get(start..end)).unwrap_or_default();
                Contents::Data(part.into())
            }
            Contents::Zeros => Contents::Zeros,
            Contents::Discarded => Contents::Discarded,
        };
        Self { extent, contents, ..self.clone() }
    }
}

/// A cache as it is serialized: the durable contents by what they differ in, and nothing that follows from the rest.
#[derive(Serialize, Deserialize)]
struct Stored {
    current: Media,
    durable: Vec<(u64, Option<Block>)>,
    requests: RedBlackTreeMapSync<u64, Cached>,
    completions: u64,
}

impl From<Cache> for Stored {
    fn from(cache: Cache) -> Self {
        let durable = cache.current.differences(&cache.durable);
        Self { current: cache.current, durable, requests: cache.requests, completions: cache.completions }
    }
}

impl From<Stored> for Cache {
    fn from(stored: Stored) -> Self {
        let durable = stored.current.with(stored.durable);
        let mut cache = Self { durable, ..Self::new(stored.current) };
        for (request, cached) in stored.requests.iter() {
            match cached.progress {
                Progress::InFlight => {}
                Progress::Completed(place) => cache.completed.insert_mut(place, *request),
                Progress::Abandoned => cache.abandoned.insert_mut(*request, ()),
            }
        }
        Self { requests: stored.requests, completions: stored.completions, ..cache }
    }
}
