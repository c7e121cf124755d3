//! Regions of which every state is looked at: some blocks of the disks, or all of them in one step of the scenario.

use std::collections::BTreeSet;
use std::ops::Range;

use devices::disk::{BLOCK, BaseError, Media, Tie};
use thiserror::Error;

use super::commit::Commit;
use super::cuts::Cut;
use super::family::each_space;
use super::pieces::{Piece, Pieces};
use super::replay::{DiskThen, Replay};
use super::set::{Place, Product};
use super::space::{SECTORS, Space};
use crate::checks::Record;
use crate::checks::ext4::{Ext4, Part4};
use crate::checks::record::places;
use crate::image::Part;
use crate::language::Use;

/// No such region.
#[derive(Debug, Error)]
pub enum RegionError {
    /// Neither a name of a region nor of a step.
    #[error("no region and no step is called `{name}`: there are {known}")]
    Unknown {
        /// It.
        name: String,
        /// What there is.
        known: String,
    },
    /// There is nothing of the kind.
    #[error("nothing on these disks is `{0}`")]
    Nothing(String),
    /// The mix of versions is not what such a disk may leave.
    #[error(
        "what survives of disk `{0}` survives by whole writes (`tie = \"write\"`), so that its blocks cannot be chosen one by one: say `tie = \"unit\"`"
    )]
    Tied(String),
    /// Contents cannot be had.
    #[error(transparent)]
    Disk(#[from] BaseError),
}

/// What is left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Region {
    /// These blocks, at any cut.
    Blocks(BTreeSet<Place>),
    /// Every block, at any cut.
    All,
    /// Every block, at the cuts of this step.
    Step(String),
}

impl Region {
    /// Names of regions, beside those of the steps of a scenario.
    pub const NAMES: [&'static str; 7] = ["header", "map", "journal", "image", "swap", "ext4", "all"];

    /// The region of a name, on the disks of a recorded run. `header` is the page of the commit record, `map` swsusp's map or the index of an
    /// image of ours, `image` all of it; of a run with several images those of each.
    ///
    /// # Errors
    /// [`RegionError`].
    pub fn of(name: &str, record: &Record<'_>, cuts: &[Cut], commit: &Commit) -> Result<Self, RegionError> {
        let blocks = match name {
            "all" => return Ok(Self::All),
            "swap" => stretches(record, Use::Swap),
            "ext4" => stretches(record, Use::Ext4),
            "header" => (commit.at / BLOCK..(commit.at + BLOCK).div_ceil(BLOCK))
                .map(|block| (commit.disk, block))
                .collect(),
            "map" => pieces(record, commit, |piece| matches!(piece, Piece::Map { .. } | Piece::Index))?,
            "image" => pieces(record, commit, |piece| {
                matches!(piece, Piece::Header | Piece::Map { .. } | Piece::Index | Piece::Info | Piece::Data)
            })?,
            "journal" => journal(record)?,
            step if cuts.iter().any(|cut| cut.step == step) => return Ok(Self::Step(step.into())),
            _ => {
                let steps: BTreeSet<&str> =
                    cuts.iter().map(|cut| cut.step.as_str()).filter(|step| !step.is_empty()).collect();
                let known: Vec<&str> = Self::NAMES.into_iter().chain(steps).collect();
                return Err(RegionError::Unknown { name: name.into(), known: known.join(", ") });
            }
        };
        if blocks.is_empty() { Err(RegionError::Nothing(name.into())) } else { Ok(Self::Blocks(blocks)) }
    }

    /// Whether a block is left open.
    fn has(&self, place: &Place) -> bool {
        match self {
            Self::Blocks(blocks) => blocks.contains(place),
            Self::All | Self::Step(_) => true,
        }
    }

    /// The first of these cuts at which something is left open.
    fn first(&self, range: &Range<usize>, cuts: &[Cut]) -> Option<usize> {
        let Self::Step(step) = self else { return Some(range.start) };
        range.clone().find(|cut| cuts.get(*cut).is_some_and(|cut| cut.step == *step))
    }

    /// Everything that may be in the region, for each crash space of these cuts in which something of it is open: outside it all that was
    /// accepted survives. A block has one version after each write that touches it; what a torn write leaves within a block is not among them.
    ///
    /// # Errors
    /// [`RegionError`].
    pub fn products(&self, record: &Record<'_>, cuts: &[Cut]) -> Result<Vec<Product>, RegionError> {
        let tied = record.scenario.disks.iter().enumerate().find(|(disk, spec)| {
            spec.config.tie == Tie::Write
                && match self {
                    Self::Blocks(blocks) => blocks.iter().any(|(other, _)| other == disk),
                    Self::All | Self::Step(_) => true,
                }
        });
        if let Some((_, spec)) = tied {
            return Err(RegionError::Tied(spec.name.clone()));
        }
        let mut products = Vec::new();
        let mut known: BTreeSet<[u8; 32]> = BTreeSet::new();
        let mut spaces: Vec<Space> = Vec::new();
        each_space(record, cuts, |range, disks| {
            Space::follow_all(&mut spaces, disks)?;
            let Some(cut) = self.first(&range, cuts) else { return Ok(()) };
            let product = self.product(cut, &spaces);
            if !product.open.is_empty() && known.insert(key(&spaces, &product)) {
                products.push(product);
            }
            Ok(())
        })?;
        Ok(products)
    }

    fn product(&self, cut: usize, spaces: &[Space]) -> Product {
        let whole = spaces.iter().map(|space| Media::clone(space.all())).collect();
        let open = spaces.iter().enumerate().flat_map(|(disk, space)| {
            space.blocks().map(move |block| (disk, block)).filter(|place| self.has(place)).filter_map(
                |place| {
                    let versions = space.versions(place.1);
                    let hash = |media: &Media| media.block_hash(place.1);
                    let is_open =
                        versions.windows(2).any(|pair| matches!(pair, [a, b] if hash(a) != hash(b)));
                    is_open.then(|| (place, versions.into_iter().map(|media| Media::clone(media)).collect()))
                },
            )
        });
        Product { cut, whole, open: open.collect() }
    }
}

/// By which equal products are found.
fn key(spaces: &[Space], product: &Product) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for space in spaces {
        hasher.update(&space.sum_of_all().to_le_bytes());
    }
    for ((disk, block), versions) in &product.open {
        hasher.update(&(*disk as u64).to_le_bytes()).update(&block.to_le_bytes());
        hasher.update(&(versions.len() as u64).to_le_bytes());
        for version in versions {
            hasher.update(&version.block_hash(*block).unwrap_or_default());
        }
    }
    hasher.finalize().into()
}

fn stretches(record: &Record<'_>, what: Use) -> BTreeSet<Place> {
    let places = places(record.scenario, what).into_iter();
    places
        .flat_map(|place| {
            let blocks = place.bytes.start / BLOCK..place.bytes.end.div_ceil(BLOCK);
            blocks.map(move |block| (place.disk, block))
        })
        .collect()
}

/// Goes through a run and shows the disks, with all that was accepted, right before `ends` says that what was there ends, and at the end.
fn last_of(
    record: &Record<'_>,
    mut is_there: impl FnMut(&[Media]) -> Result<bool, BaseError>,
    mut see: impl FnMut(&[Media]) -> Result<(), BaseError>,
) -> Result<(), BaseError> {
    let broken = |error: devices::disk::MediaError| BaseError::Host { offset: 0, reason: error.to_string() };
    let mut replay = Replay::new(record).map_err(broken)?;
    let mut last: Option<Vec<Media>> = None;
    loop {
        let changes = replay.is_about_to_change();
        let is_over = replay.step()?.is_none();
        if changes && !is_over {
            let disks: Vec<Media> = replay.disks().iter().map(DiskThen::current).collect::<Result<_, _>>()?;
            if is_there(&disks)? {
                last = Some(disks);
                continue;
            }
        } else if !is_over {
            continue;
        }
        if let Some(last) = last.take() {
            see(&last)?;
        }
        if is_over {
            return Ok(());
        }
    }
}

fn pieces(
    record: &Record<'_>,
    commit: &Commit,
    wanted: impl Fn(Piece) -> bool,
) -> Result<BTreeSet<Place>, BaseError> {
    let mut blocks = BTreeSet::new();
    let see = |disks: &[Media]| {
        let pieces = Pieces::of(record.scenario, commit, disks)?;
        let all = commit.part.start / BLOCK..commit.part.end.div_ceil(BLOCK);
        let is_wanted = |block: &u64| {
            let mut sectors = block * SECTORS..(block + 1) * SECTORS;
            sectors.any(|sector| wanted(pieces.kind_of(commit.disk, sector)))
        };
        blocks.extend(all.filter(is_wanted).map(|block| (commit.disk, block)));
        Ok(())
    };
    last_of(record, |disks| commit.is_valid(disks), see)?;
    Ok(blocks)
}

fn journal(record: &Record<'_>) -> Result<BTreeSet<Place>, BaseError> {
    let mut blocks = BTreeSet::new();
    let see = |disks: &[Media]| {
        for place in places(record.scenario, Use::Ext4) {
            let Some(media) = disks.get(place.disk) else { continue };
            let Some(map) = Ext4::read(&Part::of(media, &place.bytes)) else { continue };
            let is_journal = |block: &u64| {
                let start = (block * BLOCK).saturating_sub(place.bytes.start);
                map.touched(&(start..start + BLOCK)).contains(&Part4::Journal)
            };
            let all = place.bytes.start / BLOCK..place.bytes.end.div_ceil(BLOCK);
            blocks.extend(all.filter(is_journal).map(|block| (place.disk, block)));
        }
        Ok(())
    };
    // A journal stays where it is: the file system as it is in the end says where.
    last_of(record, |_| Ok(true), see)?;
    Ok(blocks)
}

#[cfg(test)]
mod tests;
