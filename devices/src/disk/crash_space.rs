//! What may be on a disk after its power failed: the crash space.

mod fate;
mod layout;
mod open;
mod search;
mod size;
mod state;
#[cfg(test)]
mod tests;
mod tied;

use std::ops::Range;

use thiserror::Error;

pub use fate::{Fate, WriteFate};
use layout::{Layout, Source};
pub use open::{OpenUnit, Version};
pub use search::{Exhaustive, Search};
pub use size::Size;
pub use state::{CrashState, CrashStateSyntax};
use tied::Tied;

use super::{AtomicUnit, BaseError, Change, Contents, Extent, Media, SECTOR, Tie};
use crate::VirtualTime;

/// Changes that make no crash space.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CrashSpaceError {
    /// No disk would have accepted it.
    #[error(
        "a change of request {request} reaches beyond the end of the disk, or has more or less data than sectors"
    )]
    Change {
        /// Number of the request.
        request: u64,
    },
    /// What is durable cannot be read, so nobody can say whether it differs.
    #[error(transparent)]
    Base(#[from] BaseError),
}

/// A state that does not go with a space.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CrashStateError {
    /// Its choices are not the ones to make here.
    #[error("the crash state is of another crash space: {0}")]
    Foreign(&'static str),
    /// Writes that cannot survive without others.
    #[error("this disk cannot end in that crash state: a write survives without what it was merged with")]
    Illegal,
    /// What is durable cannot be read.
    #[error(transparent)]
    Base(#[from] BaseError),
}

/// A write that is not durable: all changes of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingWrite {
    /// Number of the request.
    pub request: u64,
    /// When it was accepted.
    pub accepted: VirtualTime,
    /// When it was completed, if it was.
    pub completed: Option<VirtualTime>,
    changes: Range<usize>,
}

/// All outcomes of a power failure.
///
/// A write that is not durable when the power fails may have reached the media or not, whatever was accepted before or after it.
/// Such a space holds all outcomes as one value. It is a product: for each *atomic unit* that pending writes touch, the contents it
/// may have afterwards. They are the durable ones (version 0) and those after each write that touches the unit, in the order of
/// acceptance (version 1, 2, ...). A unit with one possible contents is decided; the others are *open*. Contents are compared by
/// bytes, so that a write of what is there already opens nothing.
///
/// A write that covers a unit only in part, as 512 bytes do a unit of 4 KiB, makes a version that is the version before it with these
/// bytes replaced: a disk with such units writes whole units out of its cache. So the unit never shows a later part without an earlier one.
///
/// What survives together is a matter of the [`Tie`]:
///
/// - [`Tie::Unit`]: each unit for itself. Any mix of versions is legal: a write may be torn at the boundary of a unit.
/// - [`Tie::Write`]: each write as a whole, or not at all; a unit shows the newest surviving write that touches it. A set of writes is
///   legal if each write that covers an open unit in part survives together with a write of the version that it was merged with.
///
/// A [`CrashState`] is one outcome. Of one space, two states are equal if and only if their media are, by bytes: the choice is made
/// canonical when it is made. Where several versions of a unit have the same contents the newest speaks; where several sets of writes give
/// the same media the largest does (the union of two such sets is one, so there is a largest).
#[derive(Debug, Clone)]
pub struct CrashSpace {
    durable: Media,
    changes: Vec<Change>,
    unit: AtomicUnit,
    tie: Tie,
    writes: Vec<PendingWrite>,
    layout: Layout,
    tied: Option<Tied>,
}

impl CrashSpace {
    /// The space of a disk with these durable contents and these changes not yet durable, in the order of acceptance. Changes of one
    /// request follow one another.
    ///
    /// # Errors
    /// [`CrashSpaceError`].
    pub fn new(
        durable: Media,
        changes: Vec<Change>,
        unit: AtomicUnit,
        tie: Tie,
    ) -> Result<Self, CrashSpaceError> {
        let sectors = durable.bytes() / SECTOR;
        for change in &changes {
            let end = change.extent.sector.checked_add(change.extent.sectors);
            let whole = match &change.contents {
                Contents::Data(data) => {
                    (data.len() as u64).is_multiple_of(SECTOR)
                        && data.len() as u64 / SECTOR == change.extent.sectors
                }
                Contents::Zeros | Contents::Discarded => true,
            };
            if !whole || end.is_none_or(|end| end > sectors) {
                return Err(CrashSpaceError::Change { request: change.request });
            }
        }
        let writes = writes(&changes);
        let layout = Layout::new(&durable, &changes, &writes, unit)?;
        let tied = (tie == Tie::Write).then(|| Tied::new(&layout, writes.len()));
        Ok(Self { durable, changes, unit, tie, writes, layout, tied })
    }

    /// What survives for certain.
    pub fn durable(&self) -> &Media {
        &self.durable
    }

    /// What is not yet durable, in the order of acceptance.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What is not yet durable, by request, in the order of acceptance.
    pub fn writes(&self) -> &[PendingWrite] {
        &self.writes
    }

    /// The sectors that a pending write changes, in the order of its changes.
    pub fn extents(&self, write: &PendingWrite) -> Vec<Extent> {
        self.changes
            .get(write.changes.clone())
            .unwrap_or_default()
            .iter()
            .map(|change| change.extent)
            .collect()
    }

    /// What cannot be torn.
    pub fn unit(&self) -> AtomicUnit {
        self.unit
    }

    /// What survives together.
    pub fn tie(&self) -> Tie {
        self.tie
    }

    /// Whether there is one outcome only.
    pub fn is_decided(&self) -> bool {
        self.layout.open.is_empty()
    }

    /// How many states there are, which is how many different media. Counted exactly, unless writes survive as a whole and very many of
    /// them overlap one another.
    pub fn size(&self) -> Size {
        let mut size = Size::default();
        match &self.tied {
            None => self.layout.open.iter().for_each(|open| size.times(open.pattern.contents() as u64)),
            Some(tied) => tied.multiply(&mut size),
        }
        size
    }

    /// Nothing that was not durable survives.
    pub fn none(&self) -> CrashState {
        self.surviving(|_| false)
    }

    /// Everything survives.
    pub fn all(&self) -> CrashState {
        self.surviving(|_| true)
    }

    /// These writes survive, by their place in [`CrashSpace::writes`], and nothing else: a unit has the version of the newest of them.
    /// Writes that cannot survive without others that are not named do not.
    pub fn surviving(&self, mut kept: impl FnMut(usize) -> bool) -> CrashState {
        match &self.tied {
            None => {
                let kept: Vec<bool> = (0..self.writes.len()).map(&mut kept).collect();
                self.torn(|write, _| kept.get(write).is_some_and(|kept| *kept))
            }
            Some(tied) => tied.settle(tied.select(&mut kept)),
        }
    }

    /// As [`CrashSpace::surviving`] for each unit for itself, whatever the tie is. Asked of each open unit in ascending order, newest
    /// write first.
    fn torn(&self, mut kept: impl FnMut(usize, u64) -> bool) -> CrashState {
        let choices = self.layout.open.iter().map(|open| {
            let layers = self.layout.layers(open);
            let version =
                layers.iter().rposition(|layer| kept(layer.write, open.number)).map_or(0, |layer| layer + 1);
            open.pattern.id(version)
        });
        CrashState::of(false, choices)
    }

    /// Checks a state that comes from elsewhere, as from a file, and makes it canonical.
    ///
    /// # Errors
    /// [`CrashStateError::Foreign`], [`CrashStateError::Illegal`].
    pub fn adopt(&self, state: &CrashState) -> Result<CrashState, CrashStateError> {
        self.choices(state)?;
        match &self.tied {
            None => Ok(state.clone()),
            Some(tied) => {
                let kept: Vec<bool> = state.choices().map(|choice| choice == 1).collect();
                if tied.is_legal(&kept) { Ok(tied.settle(kept)) } else { Err(CrashStateError::Illegal) }
            }
        }
    }

    /// Which contents each open unit has, by number.
    fn choices(&self, state: &CrashState) -> Result<Vec<u32>, CrashStateError> {
        let expected = self.tied.as_ref().map_or(self.layout.open.len(), Tied::open_writes) as u64;
        if state.tied() != self.tied.is_some() {
            return Err(CrashStateError::Foreign("what survives together is not the same"));
        }
        if state.len() != expected {
            return Err(CrashStateError::Foreign("it leaves more or less open"));
        }
        match &self.tied {
            None => {
                let choices: Vec<u32> = state.choices().collect();
                let known = choices.iter().zip(&self.layout.open);
                if known.into_iter().all(|(choice, open)| (*choice as usize) < open.pattern.contents()) {
                    Ok(choices)
                } else {
                    Err(CrashStateError::Foreign("a unit has fewer versions"))
                }
            }
            Some(tied) => {
                let kept: Vec<bool> = state.choices().map(|choice| choice == 1).collect();
                Ok(self.torn(|write, _| tied.is_kept(&kept, write)).choices().collect())
            }
        }
    }

    /// The disk in this state: the durable media, and over them what survived. The durable media stay as they are.
    ///
    /// # Errors
    /// [`CrashStateError`].
    pub fn media(&self, state: &CrashState) -> Result<Media, CrashStateError> {
        let choices = self.choices(state)?;
        let mut media = self.durable.clone();
        for (extent, source) in
            self.layout.runs(&self.changes, |place| choices.get(place).copied().filter(|id| *id != 0))
        {
            let start = extent.sector * SECTOR;
            match source {
                Source::Durable => {}
                Source::Data(bytes) => media.write(start, bytes)?,
                Source::Zeros => media.zero(start, extent.sectors * SECTOR)?,
            }
        }
        Ok(media)
    }

    /// What the power failure took back: contents of each extent that differs from [`CrashSpace::all`], in ascending order.
    ///
    /// # Errors
    /// [`CrashStateError`].
    pub fn reverted(&self, state: &CrashState) -> Result<Vec<(Extent, Contents)>, CrashStateError> {
        let (choices, all) = (self.choices(state)?, self.choices(&self.all())?);
        let differs = |place: usize| {
            let id = choices.get(place)?;
            (Some(id) != all.get(place)).then_some(*id)
        };
        let mut reverted = Vec::new();
        for (extent, source) in self.layout.runs(&self.changes, differs) {
            let contents = match source {
                Source::Durable => {
                    let bytes = usize::try_from(extent.sectors * SECTOR).unwrap_or(usize::MAX);
                    let mut data = vec![0; bytes];
                    self.durable.read(extent.sector * SECTOR, &mut data)?;
                    Contents::Data(data.into())
                }
                Source::Data(bytes) => Contents::Data(bytes.into()),
                Source::Zeros => Contents::Zeros,
            };
            reverted.push((extent, contents));
        }
        Ok(reverted)
    }

    /// Identifies the media of a state among all that differ from the same durable media: a digest of number and contents of each
    /// sector that differs. Does not depend on unit, tie, or which writes it was that led there.
    ///
    /// # Errors
    /// [`CrashStateError`].
    pub fn key(&self, state: &CrashState) -> Result<[u8; 32], CrashStateError> {
        let choices = self.choices(state)?;
        let mut hasher = blake3::Hasher::new();
        let zeros = [0; SECTOR as usize];
        let mut durable = Vec::new();
        for (extent, source) in
            self.layout.runs(&self.changes, |place| choices.get(place).copied().filter(|id| *id != 0))
        {
            for sector in 0..extent.sectors {
                let number = extent.sector + sector;
                let contents = match source {
                    Source::Durable => continue,
                    Source::Zeros => zeros.as_slice(),
                    Source::Data(bytes) => {
                        bytes.chunks_exact(SECTOR as usize).nth(sector as usize).unwrap_or(&zeros)
                    }
                };
                durable.resize(SECTOR as usize, 0);
                self.durable.read(number * SECTOR, &mut durable)?;
                if durable != contents {
                    hasher.update(&number.to_le_bytes());
                    hasher.update(contents);
                }
            }
        }
        Ok(*hasher.finalize().as_bytes())
    }
}

/// Changes grouped by request.
fn writes(changes: &[Change]) -> Vec<PendingWrite> {
    let mut writes: Vec<PendingWrite> = Vec::new();
    for (place, change) in changes.iter().enumerate() {
        match writes.last_mut() {
            Some(last) if last.request == change.request => last.changes.end = place + 1,
            _ => writes.push(PendingWrite {
                request: change.request,
                accepted: change.accepted,
                completed: change.completed,
                changes: place..place + 1,
            }),
        }
    }
    writes
}
