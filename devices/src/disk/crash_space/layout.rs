//! Which units pending changes touch, and which contents each may have.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{AtomicUnit, Change, Contents, CrashSpaceError, Extent, Media, PendingWrite, SECTOR};

/// Units that are not decided, with all that is needed to decide them.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    unit: AtomicUnit,
    /// Of the disk.
    sectors: u64,
    segments: Vec<Vec<Layer>>,
    /// In ascending order.
    pub(super) open: Vec<Open>,
}

/// A unit with several possible contents.
#[derive(Debug, Clone)]
pub(super) struct Open {
    /// Its first sector is this times the sectors of a unit.
    pub(super) number: u64,
    segment: usize,
    pub(super) pattern: Arc<Pattern>,
}

/// A change as a unit sees it: version n of the unit is its layer n - 1.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) change: usize,
    /// Place of its write.
    pub(super) write: usize,
    /// The version, if the change covers the unit only in part.
    merged: Option<Arc<[u8]>>,
}

impl Layer {
    /// The change covers the unit only in part.
    pub(super) fn is_partial(&self) -> bool {
        self.merged.is_some()
    }
}

/// Which versions of a unit have equal contents. Different contents are numbered by their first version; 0 is the durable one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pattern {
    /// Of each version, the number of its contents.
    ids: Vec<u32>,
    /// Of each contents, the newest version that has them.
    newest: Vec<usize>,
}

impl Pattern {
    fn of(ids: Vec<u32>) -> Self {
        let contents = ids.iter().max().map_or(1, |last| *last as usize + 1);
        let mut newest = vec![0; contents];
        for (version, id) in ids.iter().enumerate() {
            if let Some(newest) = newest.get_mut(*id as usize) {
                *newest = version;
            }
        }
        Self { ids, newest }
    }

    /// How many different ones.
    pub(super) fn contents(&self) -> usize {
        self.newest.len()
    }

    /// Contents of a version.
    pub(super) fn id(&self, version: usize) -> u32 {
        self.ids.get(version).copied().unwrap_or_default()
    }

    pub(super) fn newest(&self, id: u32) -> usize {
        self.newest.get(id as usize).copied().unwrap_or_default()
    }
}

/// Where contents come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source<'a> {
    /// The durable media.
    Durable,
    /// These bytes.
    Data(&'a [u8]),
    Zeros,
}

impl Source<'_> {
    fn same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Data(ours), Self::Data(theirs)) => ours == theirs,
            (Self::Data(data), Self::Zeros) | (Self::Zeros, Self::Data(data)) => {
                data.iter().all(|byte| *byte == 0)
            }
            _ => self == other,
        }
    }
}

/// Units read at a time.
const CHUNK: u64 = 128;

impl Layout {
    pub(super) fn new(
        durable: &Media,
        changes: &[Change],
        writes: &[PendingWrite],
        unit: AtomicUnit,
    ) -> Result<Self, CrashSpaceError> {
        let mut layout =
            Self { unit, sectors: durable.bytes() / SECTOR, segments: Vec::new(), open: Vec::new() };
        let mut patterns = BTreeMap::new();
        for (units, layers) in layout.cut(changes, writes) {
            let layers = layout.merge(durable, changes, units.0, layers)?;
            let segment = layout.segments.len();
            let before = layout.open.len();
            for start in (units.0..units.1).step_by(CHUNK as usize) {
                let end = units.1.min(start + CHUNK);
                let extent = layout.extent(start, end);
                let mut bytes = vec![0; (extent.sectors * SECTOR) as usize];
                durable.read(extent.sector * SECTOR, &mut bytes)?;
                for (number, durable) in (start..end).zip(bytes.chunks(unit.bytes() as usize)) {
                    let versions =
                        layers.iter().map(|layer| layout.contents(changes, layer, number, number + 1));
                    let ids = compare(Source::Data(durable), versions);
                    if ids.iter().any(|id| *id != 0) {
                        let pattern =
                            patterns.entry(ids).or_insert_with_key(|ids| Arc::new(Pattern::of(ids.clone())));
                        layout.open.push(Open { number, segment, pattern: pattern.clone() });
                    }
                }
            }
            if layout.open.len() > before {
                layout.segments.push(layers);
            }
        }
        Ok(layout)
    }

    /// Cuts what was touched into segments in ascending order: all units of one are touched by the same changes, and if one of these
    /// covers a unit in part, it is the only unit of its segment.
    fn cut(&self, changes: &[Change], writes: &[PendingWrite]) -> Vec<((u64, u64), Vec<Layer>)> {
        let step = self.unit.sectors();
        let range = |extent: Extent| (extent.sector / step, (extent.sector + extent.sectors).div_ceil(step));
        let mut bounds = Vec::with_capacity(changes.len() * 2);
        for change in changes.iter().filter(|change| change.extent.sectors > 0) {
            let (first, end) = range(change.extent);
            bounds.extend([first, end]);
            if !change.extent.sector.is_multiple_of(step) {
                bounds.push(first + 1);
            }
            let last = change.extent.sector + change.extent.sectors;
            if !last.is_multiple_of(step) && last != self.sectors {
                bounds.push(end - 1);
            }
        }
        bounds.sort_unstable();
        bounds.dedup();
        let mut segments: Vec<((u64, u64), Vec<Layer>)> =
            bounds.windows(2).map(|pair| ((pair[0], pair[1]), Vec::new())).collect();
        for (write, pending) in writes.iter().enumerate() {
            for place in pending.changes.clone() {
                let Some(extent) = changes.get(place).map(|change| change.extent).filter(|e| e.sectors > 0)
                else {
                    continue;
                };
                let (first, end) = range(extent);
                let touched = bounds.partition_point(|bound| *bound < first)
                    ..bounds.partition_point(|bound| *bound < end);
                for (_, layers) in segments.get_mut(touched).unwrap_or_default() {
                    layers.push(Layer { change: place, write, merged: None });
                }
            }
        }
        segments.retain(|(_, layers)| !layers.is_empty());
        segments
    }

    /// Makes the versions of changes that cover the unit in part.
    fn merge(
        &self,
        durable: &Media,
        changes: &[Change],
        first: u64,
        mut layers: Vec<Layer>,
    ) -> Result<Vec<Layer>, CrashSpaceError> {
        let whole = self.extent(first, first + 1);
        let covers = |layer: &Layer| {
            changes.get(layer.change).is_some_and(|Change { extent, .. }| {
                extent.sector <= whole.sector
                    && whole.sector + whole.sectors <= extent.sector + extent.sectors
            })
        };
        if layers.iter().all(covers) {
            return Ok(layers);
        }
        let mut version = vec![0; (whole.sectors * SECTOR) as usize];
        durable.read(whole.sector * SECTOR, &mut version)?;
        for layer in &mut layers {
            let Some(change) = changes.get(layer.change) else { continue };
            apply(change, whole.sector, &mut version);
            layer.merged = (!covers(layer)).then(|| version.as_slice().into());
        }
        Ok(layers)
    }

    /// Units, as sectors. The last unit of a disk may be cut short.
    pub(super) fn extent(&self, first: u64, end: u64) -> Extent {
        let sector = first.saturating_mul(self.unit.sectors()).min(self.sectors);
        let end = end.saturating_mul(self.unit.sectors()).min(self.sectors);
        Extent { sector, sectors: end.saturating_sub(sector) }
    }

    pub(super) fn layers(&self, open: &Open) -> &[Layer] {
        self.segments.get(open.segment).map_or(&[], Vec::as_slice)
    }

    /// Contents of units of one segment, as a layer leaves them.
    fn contents<'a>(&self, changes: &'a [Change], layer: &'a Layer, first: u64, end: u64) -> Source<'a> {
        if let Some(merged) = &layer.merged {
            return Source::Data(merged);
        }
        let Some(change) = changes.get(layer.change) else { return Source::Durable };
        match &change.contents {
            Contents::Zeros | Contents::Discarded => Source::Zeros,
            Contents::Data(data) => {
                let extent = self.extent(first, end);
                let start = (extent.sector.saturating_sub(change.extent.sector) * SECTOR) as usize;
                Source::Data(data.get(start..start + (extent.sectors * SECTOR) as usize).unwrap_or_default())
            }
        }
    }

    /// The open units for which something is wanted, with these contents; neighbours out of one change in one piece.
    pub(super) fn runs<'a>(
        &'a self,
        changes: &'a [Change],
        wanted: impl Fn(usize) -> Option<u32>,
    ) -> Vec<(Extent, Source<'a>)> {
        // First unit, unit after the last, change.
        let mut runs: Vec<(u64, u64, Option<&Layer>)> = Vec::new();
        for (place, open) in self.open.iter().enumerate() {
            let Some(id) = wanted(place) else { continue };
            let layer = open.pattern.newest(id).checked_sub(1).filter(|_| id != 0);
            let layer = layer.and_then(|layer| self.layers(open).get(layer));
            let joins = |end: u64, last: Option<&Layer>| {
                let same = match (last, layer) {
                    (None, None) => true,
                    (Some(last), Some(layer)) => {
                        last.change == layer.change && !last.is_partial() && !layer.is_partial()
                    }
                    _ => false,
                };
                same && end == open.number
            };
            match runs.last_mut() {
                Some((_, end, last)) if joins(*end, *last) => *end += 1,
                _ => runs.push((open.number, open.number + 1, layer)),
            }
        }
        let contents = |(first, end, layer): (u64, u64, Option<&'a Layer>)| {
            let source = layer.map_or(Source::Durable, |layer| self.contents(changes, layer, first, end));
            (self.extent(first, end), source)
        };
        runs.into_iter().map(contents).collect()
    }
}

/// Numbers of the contents of each version.
fn compare<'a>(durable: Source<'a>, versions: impl Iterator<Item = Source<'a>>) -> Vec<u32> {
    let mut known = vec![durable];
    let mut ids = vec![0];
    for version in versions {
        let id = known.iter().position(|known| known.same(version)).unwrap_or_else(|| {
            known.push(version);
            known.len() - 1
        });
        ids.push(u32::try_from(id).unwrap_or(u32::MAX));
    }
    ids
}

/// Makes the change to whole sectors that begin with this one.
pub(super) fn apply(change: &Change, first: u64, sectors: &mut [u8]) {
    let count = sectors.len() as u64 / SECTOR;
    let Extent { sector, sectors: changed } = change.extent;
    let (start, end) = (sector.max(first), (sector + changed).min(first + count));
    if start >= end {
        return;
    }
    let bytes = |sector: u64, first: u64| ((sector - first) * SECTOR) as usize;
    let Some(into) = sectors.get_mut(bytes(start, first)..bytes(end, first)) else { return };
    match &change.contents {
        Contents::Zeros | Contents::Discarded => into.fill(0),
        Contents::Data(data) => {
            if let Some(from) = data.get(bytes(start, sector)..bytes(end, sector)) {
                into.copy_from_slice(from);
            }
        }
    }
}
