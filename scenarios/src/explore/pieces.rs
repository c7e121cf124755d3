//! What each sector is for: a piece of an image, or something of A's.

use std::fmt;
use std::ops::Range;

use devices::disk::{BaseError, Media, SECTOR};
use serde::{Deserialize, Serialize};

use super::commit::{Commit, Format};
use crate::checks::ext4::{Ext4, Part4};
use crate::checks::record::{Place, places};
use crate::image::swsusp::Role;
use crate::image::{Ours, Part, Swsusp};
use crate::language::{Scenario, Use};

const PAGE: u64 = 4096;

/// What a stretch of a disk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Piece {
    /// The commit record of an image, and the page that it is in.
    Header,
    /// A page of swsusp's map.
    Map {
        /// From 1.
        number: usize,
        /// Of so many.
        of: usize,
    },
    /// swsusp's first page, which no CRC covers.
    Info,
    /// The list of pages of an image of ours.
    Index,
    /// Pages of the memory that sleeps.
    Data,
    /// What A swapped out, or could.
    Swap,
    /// What is left of an image partition.
    Room,
    /// Structures of A's file system, its journal among them.
    Metadata,
    /// What is in its files, or could be.
    Files,
    /// In no partition.
    Outside,
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("header of the image"),
            Self::Map { number, of } => write!(f, "swap map page {number} of {of}"),
            Self::Info => f.write_str("first page of the image"),
            Self::Index => f.write_str("index of the image"),
            Self::Data => f.write_str("image data"),
            Self::Swap => f.write_str("swap"),
            Self::Room => f.write_str("image partition"),
            Self::Metadata => f.write_str("file system metadata"),
            Self::Files => f.write_str("file system data"),
            Self::Outside => f.write_str("no partition"),
        }
    }
}

/// What is where, on disks that hold an image.
#[derive(Debug, Clone, Default)]
pub struct Pieces {
    /// By disk and first sector.
    image: Vec<(usize, Range<u64>, Piece)>,
    files: Vec<(Place, Option<Ext4>)>,
    swap: Vec<Place>,
    room: Vec<Place>,
}

impl Pieces {
    /// Of disks with an image whose commit record is here; all that belongs to it has been written. Without an image nothing is a piece of one.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn of(scenario: &Scenario, commit: &Commit, disks: &[Media]) -> Result<Self, BaseError> {
        let file_system = |place: Place| {
            let media = disks.get(place.disk);
            let map = media.and_then(|media| Ext4::read(&Part::of(media, &place.bytes)));
            (place, map)
        };
        let mut pieces = Self {
            image: Vec::new(),
            files: places(scenario, Use::Ext4).into_iter().map(file_system).collect(),
            swap: places(scenario, Use::Swap),
            room: places(scenario, Use::Image),
        };
        let Some(media) = disks.get(commit.disk) else { return Ok(pieces) };
        let part = Part::of(media, &commit.part);
        let mut found: Vec<(Range<u64>, Piece)> = match commit.format {
            Format::Swsusp => {
                let image = Swsusp::read(&part, commit.at.saturating_sub(commit.part.start))?;
                let of = image.as_ref().map_or(0, |image| image.map.pages.len());
                let piece = |role| match role {
                    Role::Header => Piece::Header,
                    Role::Map(number) => Piece::Map { number: number + 1, of },
                    Role::Info => Piece::Info,
                    Role::Data(_) => Piece::Data,
                };
                let found = image.into_iter().flat_map(|image| image.pieces());
                found.map(|(role, range)| (range, piece(role))).collect()
            }
            Format::Snapshot | Format::Jump => {
                let found = Ours::read(&part)?.and_then(|image| image.pieces());
                let names = [Piece::Header, Piece::Index, Piece::Data];
                found.into_iter().flat_map(|ranges| ranges.into_iter().zip(names)).collect()
            }
        };
        found.push((commit.at..commit.at.saturating_add(PAGE), Piece::Header));
        found.retain(|(range, _)| !range.is_empty());
        let sectors = |(range, piece): (Range<u64>, Piece)| {
            (commit.disk, range.start / SECTOR..range.end.div_ceil(SECTOR), piece)
        };
        pieces.image = found.into_iter().map(sectors).collect();
        pieces.image.sort_by_key(|(disk, range, _)| (*disk, range.start));
        Ok(pieces)
    }

    /// What a sector is for.
    pub fn kind_of(&self, disk: usize, sector: u64) -> Piece {
        let behind = self.image.partition_point(|(of, range, _)| (*of, range.start) <= (disk, sector));
        // The page of a header holds the header itself.
        let near = self.image.get(behind.saturating_sub(2)..behind).unwrap_or_default();
        let of_image = near.iter().rev().find(|(of, range, _)| *of == disk && range.contains(&sector));
        if let Some((_, _, piece)) = of_image {
            return *piece;
        }
        let is_in = |place: &&Place| place.disk == disk && place.sectors().contains(&sector);
        if self.swap.iter().any(|place| is_in(&place)) {
            return Piece::Swap;
        }
        if self.room.iter().any(|place| is_in(&place)) {
            return Piece::Room;
        }
        let Some((place, map)) = self.files.iter().find(|(place, _)| is_in(&place)) else {
            return Piece::Outside;
        };
        let at = (sector * SECTOR).saturating_sub(place.bytes.start);
        let parts = map.as_ref().map_or(vec![Part4::Data], |map| map.touched(&(at..at + SECTOR)));
        if parts == [Part4::Data] { Piece::Files } else { Piece::Metadata }
    }
}

#[cfg(test)]
mod tests {
    use agent_protocol::image::{Extent, Header, INDEX_OFFSET, Index, Kind, PageEntry, State};

    use super::*;

    const MIB: u64 = 1 << 20;

    /// ext4, swap and an image partition of a few MiB each.
    fn scenario() -> Scenario {
        let text = "version = 1\nsteps = []\nkernel = { primary = \"a\" }\n[[disk]]\nname = \"d\"\nsize = \"16M\"\n\
            partitions = [{ use = \"ext4\", size = \"2M\" }, { use = \"swap\", size = \"2M\" }, { use = \"image\", size = \"2M\" }]";
        Scenario::read(text, &[]).unwrap()
    }

    #[test]
    fn every_sector_is_for_something() {
        let pages = [[1; 4096], [2; 4096]];
        let index = Index {
            extents: vec![Extent { first: 16, count: 2 }],
            entries: pages.iter().map(|page| PageEntry::of(page)).collect(),
        };
        let header = Header {
            state: State::Valid,
            pages: 2,
            stored: 2,
            extents: 1,
            index_crc: crc32fast::hash(&index.encode()),
            ..Header::writing(Kind::JumpedMemory)
        };
        let at = 5 * MIB;
        let mut media = Media::blank(16 * MIB).unwrap();
        media.write(at, &header.encode()).unwrap();
        media.write(at + INDEX_OFFSET, &index.encode()).unwrap();
        for (page, number) in pages.iter().zip(0..) {
            media.write(at + header.data_offset() + number * 4096, page).unwrap();
        }
        let commit = Commit { disk: 0, at, format: Format::Jump, part: at..at + 2 * MIB };
        let pieces = Pieces::of(&scenario(), &commit, &[media.clone()]).unwrap();
        let of = |byte: u64| pieces.kind_of(0, byte / SECTOR);
        let image = [0, 512, 4096, 2 * 4096, 3 * 4096, 4 * 4096].map(|byte| of(at + byte));
        let (header, data) = (Piece::Header, Piece::Data);
        assert_eq!(image, [header, header, Piece::Index, data, data, Piece::Room]);
        assert_eq!([of(0), of(MIB), of(3 * MIB)], [Piece::Outside, Piece::Files, Piece::Swap]);
        assert_eq!(pieces.kind_of(1, at / SECTOR), Piece::Outside);
        let none = Pieces::of(&scenario(), &commit, &[Media::blank(16 * MIB).unwrap()]).unwrap();
        assert_eq!(none.kind_of(0, at / SECTOR + 8), Piece::Room);
    }
}
