//! The crash space of one disk, by blocks: what each may hold after a cut, and what any choice makes of the whole.
//!
//! Of each block that a pending write touches the *layers* are kept, one for each such write, in the order of acceptance. A sector shows
//! the newest layer that touches it and survives, or what is durable; a disk of 4 KiB units shows in all sectors what there was when the
//! newest survivor had been accepted, since it writes whole units out of its cache ([`devices::disk::CrashSpace`]).
//!
//! States are found equal by a sum over disk, number and hash of each block. A choice changes few blocks of the state in which everything
//! or nothing survives, so its sum costs a few additions, and its contents are made only if nobody had that sum before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use devices::disk::{
    AtomicUnit, BLOCK, BaseError, CrashSpace, CrashSpaceError, CrashState, Extent, Media, SECTOR, Tie,
};

use super::choice::{Choice, TORN_APART, mix, tears};
use super::replay::{DiskThen, Write};

pub(super) const SECTORS: u64 = BLOCK / SECTOR;

/// Contents of a disk: some media, but for some blocks.
#[derive(Debug, Clone)]
pub struct Contents {
    base: Arc<Media>,
    /// Media that have a block as it is, in ascending order of the blocks.
    own: Box<[(u64, Arc<Media>)]>,
}

impl Contents {
    /// Media that have this block as it is.
    pub fn media(&self, block: u64) -> &Media {
        match self.own.binary_search_by_key(&block, |(own, _)| *own) {
            Ok(place) => self.own.get(place).map_or(&self.base, |(_, media)| media),
            Err(_) => &self.base,
        }
    }

    /// All of it.
    pub fn whole(&self) -> Media {
        let mut media = Media::clone(&self.base);
        self.own.iter().for_each(|(block, own)| media.adopt(*block, own));
        media
    }
}

impl From<Media> for Contents {
    fn from(media: Media) -> Self {
        Self { base: Arc::new(media), own: Box::default() }
    }
}

/// What a block adds to the sum. Sums of 128 bits of BLAKE3: nobody chooses the contents to deceive.
fn term(disk: usize, block: u64, media: &Media) -> u128 {
    // A block of a blank disk that was zeroed is none.
    let Some(hash) = media.block_hash(block) else { return 0 };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(disk as u64).to_le_bytes()).update(&block.to_le_bytes()).update(&hash);
    let mut half = [0; 16];
    hasher.finalize_xof().fill(&mut half);
    u128::from_le_bytes(half)
}

/// Over all contents of a disk.
pub(super) fn sum(disk: usize, media: &Media) -> u128 {
    media.changed_blocks().fold(0, |sum, block| sum.wrapping_add(term(disk, block, media)))
}

/// Of each sector of a block the layer that it shows, from 1; 0 is what is durable.
type Key = [u32; SECTORS as usize];

/// A write as a block sees it.
#[derive(Debug, Clone)]
struct Layer {
    write: usize,
    /// Those that it touches, the first one lowest.
    sectors: u8,
    /// Of the block when it had been accepted.
    term: u128,
}

/// A block that is touched.
#[derive(Debug, Clone, Default)]
struct Touched {
    durable: u128,
    layers: Vec<Layer>,
    /// States of its units, as a power of two.
    log2: f64,
}

impl Touched {
    /// What there was after so many layers.
    fn after(&self, layers: usize) -> Key {
        let mut key = Key::default();
        for (number, layer) in self.layers.iter().take(layers).enumerate() {
            for (sector, shown) in key.iter_mut().enumerate() {
                if layer.sectors >> sector & 1 == 1 {
                    *shown = number as u32 + 1;
                }
            }
        }
        key
    }
}

/// A pending write.
#[derive(Debug, Clone)]
struct Placed {
    request: u64,
    extents: Vec<Extent>,
    blocks: Vec<u64>,
    after: Arc<Media>,
    /// With everything that was accepted before.
    sum: u128,
    is_promised: bool,
}

/// A state that a choice leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chosen {
    /// By which equal states are found.
    pub(super) sum: u128,
    /// How many writes are lost, or a part of them.
    pub(super) lost: usize,
    /// Whether one of them had been promised.
    pub(super) is_lie: bool,
}

impl Chosen {
    /// The other disks as well.
    pub(super) fn add(&mut self, other: Self) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.lost += other.lost;
        self.is_lie |= other.is_lie;
    }
}

/// From where a choice is a short way.
#[derive(Debug, Clone, Copy)]
enum Base {
    /// Everything survives.
    All,
    /// Nothing does.
    Nothing,
    /// So many of the first do.
    Prefix(usize),
}

/// A choice, ready to be looked at.
struct Plan {
    base: Base,
    /// Blocks in which it may differ from that, in ascending order.
    blocks: Vec<u64>,
    /// Of each write whether it survives, if that does not follow from the choice alone.
    kept: Option<Vec<bool>>,
    /// What survives of a torn write.
    left: Vec<Extent>,
    lost: usize,
    is_lie: bool,
}

/// What may be on one disk after a cut.
#[derive(Debug, Clone)]
pub(super) struct Space {
    disk: usize,
    unit: AtomicUnit,
    tie: Tie,
    epoch: u64,
    /// How much of what became durable is in the sum.
    settled: usize,
    durable: Arc<Media>,
    durable_sum: u128,
    writes: Vec<Placed>,
    blocks: BTreeMap<u64, Touched>,
    /// Blocks that no write left so: torn, or with an older write lost.
    mixed: BTreeMap<(u64, Key), (Arc<Media>, u128)>,
    /// There is one that a disk which tells the truth does not lose.
    has_promised: bool,
    /// A write covers a unit in part.
    is_merged: bool,
}

impl Space {
    /// Of a disk with this number.
    pub(super) fn new(disk: usize, then: &DiskThen) -> Result<Self, BaseError> {
        let mut space = Self {
            disk,
            unit: then.unit,
            tie: then.tie,
            epoch: then.epoch,
            settled: then.settled.len(),
            durable: Arc::new(then.durable.clone()),
            durable_sum: 0,
            writes: Vec::new(),
            blocks: BTreeMap::new(),
            mixed: BTreeMap::new(),
            has_promised: false,
            is_merged: false,
        };
        space.durable_sum = sum(disk, &then.durable);
        space.follow(then)?;
        Ok(space)
    }

    /// As the same disk is somewhat later.
    pub(super) fn follow(&mut self, then: &DiskThen) -> Result<(), BaseError> {
        if self.epoch != then.epoch {
            let durable = Arc::new(then.durable.clone());
            let settled: BTreeSet<u64> = then.settled.iter().skip(self.settled).copied().collect();
            for block in settled {
                let (before, now) = (term(self.disk, block, &self.durable), term(self.disk, block, &durable));
                self.durable_sum = self.durable_sum.wrapping_sub(before).wrapping_add(now);
            }
            (self.durable, self.settled, self.epoch) = (durable, then.settled.len(), then.epoch);
            self.writes.clear();
            self.blocks.clear();
            self.mixed.clear();
            self.is_merged = false;
        }
        for (placed, write) in self.writes.iter_mut().zip(&then.pending) {
            placed.is_promised = write.is_promised;
        }
        self.has_promised = then.pending.iter().any(|write| write.is_promised);
        for write in then.pending.iter().skip(self.writes.len()) {
            self.accept(write)?;
        }
        Ok(())
    }

    /// Those of all disks, from none or from some time before.
    pub(super) fn follow_all(spaces: &mut Vec<Self>, disks: &[DiskThen]) -> Result<(), BaseError> {
        if spaces.len() == disks.len() {
            return spaces.iter_mut().zip(disks).try_for_each(|(space, then)| space.follow(then));
        }
        *spaces = disks
            .iter()
            .enumerate()
            .map(|(number, then)| Self::new(number, then))
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    fn accept(&mut self, write: &Write) -> Result<(), BaseError> {
        let (place, unit) = (self.writes.len(), self.unit.sectors());
        let end = self.durable.bytes() / SECTOR;
        let mut blocks: BTreeMap<u64, u8> = BTreeMap::new();
        for change in &write.changes {
            let Extent { sector, sectors } = change.extent;
            for block in sector / SECTORS..change.extent.end().div_ceil(SECTORS) {
                let from = sector.saturating_sub(block * SECTORS).min(SECTORS);
                let to = (change.extent.end() - block * SECTORS).min(SECTORS);
                *blocks.entry(block).or_default() |= (from..to).fold(0, |bits, sector| bits | 1 << sector);
            }
            let last = sector + sectors;
            self.is_merged |= !sector.is_multiple_of(unit) || (!last.is_multiple_of(unit) && last < end);
        }
        let mut sum = self.sum_of_all();
        for (block, sectors) in &blocks {
            let now = term(self.disk, *block, &write.after);
            let (disk, durable) = (self.disk, &self.durable);
            let touched = self
                .blocks
                .entry(*block)
                .or_insert_with(|| Touched { durable: term(disk, *block, durable), ..Touched::default() });
            let before = touched.layers.last().map_or(touched.durable, |last| last.term);
            sum = sum.wrapping_sub(before).wrapping_add(now);
            touched.layers.push(Layer { write: place, sectors: *sectors, term: now });
        }
        let (extents, after) = (write.changes.iter().map(|change| change.extent).collect(), &write.after);
        self.writes.push(Placed {
            request: write.request,
            extents,
            blocks: blocks.keys().copied().collect(),
            after: Arc::clone(after),
            sum,
            is_promised: write.is_promised,
        });
        for block in blocks.into_keys() {
            let log2 = self.log2_of(block)?;
            if let Some(touched) = self.blocks.get_mut(&block) {
                touched.log2 = log2;
            }
        }
        Ok(())
    }

    /// How many different contents the units of a block may have, as a power of two.
    fn log2_of(&self, block: u64) -> Result<f64, BaseError> {
        let Some(touched) = self.blocks.get(&block) else { return Ok(0.0) };
        let read = |media: &Media| -> Result<Vec<u8>, BaseError> {
            let mut bytes = vec![0; BLOCK as usize];
            media.read(block * BLOCK, &mut bytes)?;
            Ok(bytes)
        };
        let versions: Vec<Vec<u8>> = std::iter::once(&self.durable)
            .chain(touched.layers.iter().filter_map(|layer| Some(&self.writes.get(layer.write)?.after)))
            .map(|media| read(media))
            .collect::<Result<_, _>>()?;
        let unit = self.unit.bytes() as usize;
        let units = (0..BLOCK as usize).step_by(unit).map(|start| {
            let mut different: Vec<&[u8]> =
                versions.iter().filter_map(|bytes| bytes.get(start..start + unit)).collect();
            different.sort_unstable();
            different.dedup();
            (different.len().max(1) as f64).log2()
        });
        Ok(units.sum())
    }

    /// How many writes are pending.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    /// Blocks that pending writes touch.
    pub(super) fn blocks(&self) -> impl Iterator<Item = u64> + '_ {
        self.blocks.keys().copied()
    }

    /// Sectors that a pending write changes.
    pub(super) fn extents(&self, write: usize) -> &[Extent] {
        self.writes.get(write).map_or(&[], |write| &write.extents)
    }

    /// What a power cut cannot tear.
    pub(super) fn unit(&self) -> AtomicUnit {
        self.unit
    }

    /// What survives together.
    pub(super) fn tie(&self) -> Tie {
        self.tie
    }

    /// How many states there are, as a power of two: exactly, but where writes survive as a whole at most so many.
    pub(super) fn log2(&self) -> f64 {
        match self.tie {
            Tie::Unit => self.blocks.values().map(|touched| touched.log2).sum(),
            Tie::Write => {
                let is_open = |block: &u64| self.blocks.get(block).is_some_and(|touched| touched.log2 > 0.0);
                self.writes.iter().filter(|write| write.blocks.iter().any(is_open)).count() as f64
            }
        }
    }

    /// Media with each version of a block, the durable one first.
    pub(super) fn versions(&self, block: u64) -> Vec<&Arc<Media>> {
        let layers = self.blocks.get(&block).map_or(0, |touched| touched.layers.len());
        (0..=layers).map(|layers| self.layer(block, layers)).collect()
    }

    /// With everything that was accepted.
    pub(super) fn all(&self) -> &Arc<Media> {
        self.writes.last().map_or(&self.durable, |last| &last.after)
    }

    /// The sum with everything that was accepted.
    pub(super) fn sum_of_all(&self) -> u128 {
        self.writes.last().map_or(self.durable_sum, |last| last.sum)
    }

    /// The state that a choice leads to, but for [`Choice::Small`].
    pub(super) fn chosen(&mut self, choice: &Choice) -> Result<Chosen, BaseError> {
        let plan = self.plan(choice);
        let mut sum = match plan.base {
            Base::All => self.sum_of_all(),
            Base::Nothing => self.durable_sum,
            Base::Prefix(count) => self.after(count).map_or(self.durable_sum, |write| write.sum),
        };
        for block in &plan.blocks {
            let Some(touched) = self.blocks.get(block) else { continue };
            let base = match plan.base {
                Base::All => touched.layers.last().map_or(touched.durable, |last| last.term),
                Base::Nothing | Base::Prefix(_) => touched.durable,
            };
            let key = self.key(touched, *block, choice, &plan);
            sum = sum.wrapping_sub(base).wrapping_add(self.term(*block, key)?);
        }
        Ok(Chosen { sum, lost: plan.lost, is_lie: plan.is_lie })
    }

    /// The contents that a choice leads to, but for [`Choice::Small`].
    pub(super) fn contents(&mut self, choice: &Choice) -> Result<Contents, BaseError> {
        let plan = self.plan(choice);
        let base = match plan.base {
            Base::All => self.all(),
            Base::Nothing => &self.durable,
            Base::Prefix(count) => self.after(count).map_or(&self.durable, |write| &write.after),
        };
        let base = Arc::clone(base);
        let mut own = Vec::with_capacity(plan.blocks.len());
        for block in &plan.blocks {
            let Some(touched) = self.blocks.get(block) else { continue };
            let key = self.key(touched, *block, choice, &plan);
            own.push((*block, self.media(*block, key)?));
        }
        Ok(Contents { base, own: own.into() })
    }

    /// The last of so many writes.
    fn after(&self, count: usize) -> Option<&Placed> {
        self.writes.get(count.min(self.writes.len()).checked_sub(1)?)
    }

    /// Whether the disk had said of one of these writes that it is durable.
    fn any_promised(&self, places: impl IntoIterator<Item = usize>) -> bool {
        let mut writes = places.into_iter().filter_map(|place| self.writes.get(place));
        self.has_promised && writes.any(|write| write.is_promised)
    }

    fn plan(&self, choice: &Choice) -> Plan {
        let all = self.writes.len();
        let blocks = |places: &[usize]| -> Vec<u64> {
            let mut blocks: Vec<u64> = places
                .iter()
                .filter_map(|place| self.writes.get(*place))
                .flat_map(|write| &write.blocks)
                .copied()
                .collect();
            if places.len() > 1 {
                blocks.sort_unstable();
                blocks.dedup();
            }
            blocks
        };
        let plan =
            |base, blocks, lost, is_lie| Plan { base, blocks, kept: None, left: Vec::new(), lost, is_lie };
        if self.tie == Tie::Write && self.unit == AtomicUnit::Block && self.is_merged {
            return self.settled(choice);
        }
        match choice {
            Choice::All | Choice::Small(_) => plan(Base::All, Vec::new(), 0, false),
            Choice::Nothing => plan(Base::Nothing, Vec::new(), all, self.any_promised(0..all)),
            Choice::Prefix(count) => {
                let count = *count.min(&all);
                plan(Base::Prefix(count), Vec::new(), all - count, self.any_promised(count..all))
            }
            Choice::Drop(lost) => plan(Base::All, blocks(&[*lost]), 1, self.any_promised([*lost])),
            Choice::Pair(first, second) => {
                let lost = [*first, *second];
                plan(Base::All, blocks(&lost), 2, self.any_promised(lost))
            }
            Choice::Keep(kept) => {
                let others = (0..all).filter(|place| place != kept);
                plan(Base::Nothing, blocks(&[*kept]), all.saturating_sub(1), self.any_promised(others))
            }
            Choice::Torn { write, units } => {
                let torn = plan(Base::All, blocks(&[*write]), 1, self.any_promised([*write]));
                Plan { left: self.first_units(*write, *units), ..torn }
            }
            Choice::Seeded(seed) => {
                let first = self.first_torn(*seed);
                let lost: Vec<usize> =
                    (0..all).filter(|place| *place >= first || !choice.keeps(*place)).collect();
                plan(Base::All, blocks(&lost), lost.len(), self.any_promised(lost.iter().copied()))
            }
            Choice::Blocks(versions) => {
                let lost = versions.iter().filter_map(|(block, version)| {
                    self.blocks
                        .get(block)?
                        .layers
                        .get(*version..)
                        .map(|layers| layers.iter().map(|layer| layer.write))
                });
                let mut lost: Vec<usize> = lost.flatten().collect();
                lost.sort_unstable();
                lost.dedup();
                let blocks = versions.iter().map(|(block, _)| *block).collect();
                plan(Base::All, blocks, lost.len(), self.any_promised(lost.iter().copied()))
            }
        }
    }

    /// Where writes survive as a whole and a unit is written out of the cache, none survives without what it was merged with.
    fn settled(&self, choice: &Choice) -> Plan {
        let mut kept: Vec<bool> = Vec::with_capacity(self.writes.len());
        for (place, write) in self.writes.iter().enumerate() {
            let stands = |block: &u64| {
                let layers = self.blocks.get(block).map_or(&[][..], |touched| &touched.layers);
                let Some(own) = layers.iter().position(|layer| layer.write == place) else { return true };
                let below = own.checked_sub(1).and_then(|below| layers.get(below));
                layers.get(own).is_some_and(|layer| layer.sectors == self.whole(*block))
                    || below.is_none_or(|below| kept.get(below.write) == Some(&true))
            };
            let stands = choice.keeps(place) && write.blocks.iter().all(stands);
            kept.push(stands);
        }
        let lost = || self.writes.iter().zip(&kept).filter(|(_, kept)| !**kept).map(|(write, _)| write);
        let mut blocks: Vec<u64> = lost().flat_map(|write| &write.blocks).copied().collect();
        blocks.sort_unstable();
        blocks.dedup();
        let (count, is_lie) = (lost().count(), lost().any(|write| write.is_promised));
        Plan { base: Base::All, blocks, kept: Some(kept), left: Vec::new(), lost: count, is_lie }
    }

    /// Which sectors of a block there are: the last one of a disk may be cut short.
    fn whole(&self, block: u64) -> u8 {
        let there = (self.durable.bytes() / SECTOR).saturating_sub(block * SECTORS).min(SECTORS);
        (0..there).fold(0, |bits, sector| bits | 1 << sector)
    }

    /// From which place on a seeded choice tears writes apart.
    fn first_torn(&self, seed: u64) -> usize {
        let torn = if tears(seed) && self.tie == Tie::Unit { TORN_APART } else { 0 };
        self.writes.len().saturating_sub(torn)
    }

    /// Of a write, so many atomic units from the start on.
    fn first_units(&self, write: usize, mut units: u64) -> Vec<Extent> {
        let unit = self.unit.sectors();
        let mut left = Vec::new();
        for extent in self.extents(write) {
            // The first unit may begin before the change.
            let first = extent.sector / unit;
            let end = first.saturating_add(units).saturating_mul(unit).min(extent.end());
            left.push(Extent { sector: extent.sector, sectors: end.saturating_sub(extent.sector) });
            units = units.saturating_sub(end.div_ceil(unit).saturating_sub(first));
        }
        left
    }

    /// Whether a sector of a write survives.
    fn survives(&self, choice: &Choice, plan: &Plan, write: usize, sector: u64) -> bool {
        if let Some(kept) = &plan.kept {
            return kept.get(write) == Some(&true);
        }
        match choice {
            Choice::Torn { write: torn, .. } if *torn == write => {
                plan.left.iter().any(|left| left.sector <= sector && sector < left.end())
            }
            Choice::Seeded(seed) if write >= self.first_torn(*seed) => {
                let unit = sector / self.unit.sectors();
                mix(mix(*seed, unit), write as u64).is_multiple_of(2)
            }
            _ => choice.keeps(write),
        }
    }

    fn key(&self, touched: &Touched, block: u64, choice: &Choice, plan: &Plan) -> Key {
        if let Choice::Blocks(versions) = choice {
            let version = versions.iter().find(|(other, _)| *other == block);
            return touched.after(version.map_or(touched.layers.len(), |(_, version)| *version));
        }
        let first = block * SECTORS;
        if self.unit == AtomicUnit::Block {
            let survives = |layer: &Layer| {
                let sector = first + u64::from(layer.sectors.trailing_zeros());
                self.survives(choice, plan, layer.write, sector)
            };
            let newest = touched.layers.iter().rposition(survives);
            return touched.after(newest.map_or(0, |newest| newest + 1));
        }
        let mut key = Key::default();
        for (sector, shown) in key.iter_mut().enumerate() {
            let survives = |layer: &Layer| {
                layer.sectors >> sector & 1 == 1
                    && self.survives(choice, plan, layer.write, first + sector as u64)
            };
            *shown = touched.layers.iter().rposition(survives).map_or(0, |newest| newest as u32 + 1);
        }
        key
    }

    /// The number of layers after which a block was like this, if it ever was.
    fn version(&self, block: u64, key: Key) -> Option<usize> {
        let newest = key.into_iter().max().unwrap_or_default() as usize;
        (self.blocks.get(&block)?.after(newest) == key).then_some(newest)
    }

    fn term(&mut self, block: u64, key: Key) -> Result<u128, BaseError> {
        if let Some(version) = self.version(block, key) {
            let Some(touched) = self.blocks.get(&block) else { return Ok(0) };
            let layer = version.checked_sub(1).and_then(|layer| touched.layers.get(layer));
            return Ok(layer.map_or(touched.durable, |layer| layer.term));
        }
        Ok(self.mixed(block, key)?.1)
    }

    fn media(&mut self, block: u64, key: Key) -> Result<Arc<Media>, BaseError> {
        match self.version(block, key) {
            Some(version) => Ok(Arc::clone(self.layer(block, version))),
            None => Ok(self.mixed(block, key)?.0),
        }
    }

    /// Media with a block as it was after so many layers.
    fn layer(&self, block: u64, layers: usize) -> &Arc<Media> {
        let touched = self.blocks.get(&block);
        let layer = layers.checked_sub(1).and_then(|layer| touched?.layers.get(layer));
        layer.and_then(|layer| self.writes.get(layer.write)).map_or(&self.durable, |write| &write.after)
    }

    /// A block put together sector by sector.
    fn mixed(&mut self, block: u64, key: Key) -> Result<(Arc<Media>, u128), BaseError> {
        if let Some(known) = self.mixed.get(&(block, key)) {
            return Ok(known.clone());
        }
        let mut bytes = [0; BLOCK as usize];
        for ((sector, into), shown) in (0..).zip(bytes.chunks_mut(SECTOR as usize)).zip(key) {
            self.layer(block, shown as usize).read(block * BLOCK + sector * SECTOR, into)?;
        }
        // Of a block of a copy of the disk nothing else is looked at.
        let mut media = Media::clone(&self.durable);
        media.write(block * BLOCK, &bytes)?;
        let made = (Arc::new(media), 0);
        let made = (Arc::clone(&made.0), term(self.disk, block, &made.0));
        self.mixed.insert((block, key), made.clone());
        Ok(made)
    }

    /// Of a space that is small, everything: the state of each number, what it takes, and its contents.
    pub(super) fn small(&self, then: &DiskThen) -> Result<Vec<(Choice, Chosen, Contents)>, BaseError> {
        let Some(space) = crash_space(then)? else { return Ok(Vec::new()) };
        let mut small = Vec::new();
        for (number, state) in (0..).zip(space.exhaustive()) {
            let (contents, lost, is_lie) = self.small_state(&space, &state)?;
            let sum = contents.own.iter().fold(self.sum_of_all(), |sum, (block, media)| {
                let before = term(self.disk, *block, self.all());
                sum.wrapping_sub(before).wrapping_add(term(self.disk, *block, media))
            });
            small.push((Choice::Small(number), Chosen { sum, lost, is_lie }, contents));
        }
        Ok(small)
    }

    fn small_state(
        &self,
        space: &CrashSpace,
        state: &CrashState,
    ) -> Result<(Contents, usize, bool), BaseError> {
        let media = Arc::new(space.media(state).map_err(foreign)?);
        let all = self.all();
        let differs = |block: &u64| media.block_hash(*block) != all.block_hash(*block);
        let own = self.blocks().filter(differs).map(|block| (block, Arc::clone(&media))).collect();
        let lost = space.lost(state).map_err(foreign)?;
        let is_lie = lost.iter().any(|fate| {
            self.writes.iter().any(|write| write.is_promised && write.request == fate.write.request)
        });
        Ok((Contents { base: Arc::clone(all), own }, lost.len(), is_lie))
    }

    /// The contents that any choice leads to.
    pub(super) fn contents_of(&mut self, then: &DiskThen, choice: &Choice) -> Result<Contents, BaseError> {
        let Choice::Small(number) = choice else { return self.contents(choice) };
        let all = Contents { base: Arc::clone(self.all()), own: Box::default() };
        let Some(space) = crash_space(then)? else { return Ok(all) };
        let state = space.exhaustive_from(u128::from(*number)).next();
        state.map_or(Ok(all), |state| Ok(self.small_state(&space, &state)?.0))
    }
}

/// As the disk itself has it. None: no disk would have accepted that.
fn crash_space(then: &DiskThen) -> Result<Option<CrashSpace>, BaseError> {
    let changes = then.pending.iter().flat_map(|write| &write.changes).cloned().collect();
    match CrashSpace::new(then.durable.clone(), changes, then.unit, then.tie) {
        Ok(space) => Ok(Some(space)),
        Err(CrashSpaceError::Base(error)) => Err(error),
        Err(CrashSpaceError::Change { .. }) => Ok(None),
    }
}

fn foreign(error: devices::disk::CrashStateError) -> BaseError {
    BaseError::Host { offset: 0, reason: error.to_string() }
}

#[cfg(test)]
mod tests;
