//! What can be wrong with an image in swap, and what the kernel makes of it.

use devices::disk::BaseError;
use thiserror::Error;

/// The first thing wrong with an image.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Flaw {
    /// The host cannot read the disk.
    #[error("the disk cannot be read: {0}")]
    Unreadable(#[from] BaseError),
    /// The header of swap contradicts itself.
    #[error("swap header: {field} is {value}")]
    Header {
        /// Which.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// A page of the map lies outside the swap area, or where the header is.
    #[error("swap map page {page}: at slot {slot:#x}, outside the {slots:#x} slots there are")]
    MapOutside {
        /// In the order of the chain, from 0.
        page: usize,
        /// Where it should be.
        slot: u64,
        /// Slots of the device.
        slots: u64,
    },
    /// The chain comes back to a page it had already.
    #[error("swap map page {page}: the chain returns to slot {slot:#x}, where page {again} is")]
    MapCycle {
        /// The last page before it returns.
        page: usize,
        /// Where it returns to.
        slot: u64,
        /// The page that is there.
        again: usize,
    },
    /// An entry points outside the swap area, or at the header.
    #[error("swap map page {page}, entry {entry}: slot {slot:#x} is outside the {slots:#x} slots there are")]
    EntryOutside {
        /// In the order of the chain, from 0.
        page: usize,
        /// Of 511, from 0.
        entry: usize,
        /// Where the data should be.
        slot: u64,
        /// Slots of the device.
        slots: u64,
    },
    /// One slot has two uses.
    #[error(
        "swap map page {page}, entry {entry}: slot {slot:#x} is used twice, the first time by page {first}"
    )]
    SlotTwice {
        /// The page with the second use.
        page: usize,
        /// Its entry.
        entry: usize,
        /// The slot.
        slot: u64,
        /// The page with the first use, or the page of the map that is there.
        first: usize,
    },
    /// The map ends before the image does.
    #[error(
        "swap map page {page}, entry {entry}: empty, {missing} of {pages} pages before the end of the image"
    )]
    MapShort {
        /// The page with the empty entry; one more than there are if the chain ended.
        page: usize,
        /// Its entry.
        entry: usize,
        /// Pages that are not there.
        missing: u64,
        /// Pages there should be.
        pages: u64,
    },
    /// The map has more than the image.
    #[error("swap map: {extra} slots behind the end of the image")]
    MapLong {
        /// How many.
        extra: u64,
    },
    /// The first page contradicts itself.
    #[error(transparent)]
    Info(#[from] InfoFlaw),
    /// The list of page frames is wrong.
    #[error(transparent)]
    Frames(#[from] FramesFlaw),
    /// A compressed unit is wrong.
    #[error("unit {unit}, at slot {slot:#x}: {what}")]
    Unit {
        /// Number, from 0.
        unit: usize,
        /// Its first slot.
        slot: u64,
        /// What is wrong.
        what: UnitFlaw,
    },
    /// The pages are not those that were summed.
    #[error("image CRC: {stored:#010x} stored, {found:#010x} found")]
    Crc {
        /// In the header.
        stored: u32,
        /// Of the pages.
        found: u32,
    },
}

/// The first page of an image (`struct swsusp_info`) is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InfoFlaw {
    /// Neither the architecture's header nor the names of a kernel.
    #[error("swsusp_info: magic {0:#018x}: not that of an x86-64 image, and no kernel's name")]
    Magic(u64),
    /// A count cannot be.
    #[error("swsusp_info: {field} is {value}: {why}")]
    Count {
        /// Which.
        field: &'static str,
        /// What it says.
        value: u64,
        /// Why it cannot be.
        why: &'static str,
    },
    /// It is cut off.
    #[error("swsusp_info: not there")]
    Absent,
}

/// The list of page frames is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FramesFlaw {
    /// No memory has this page.
    #[error("page frame list, entry {at}: {frame:#x} is beyond any memory")]
    Beyond {
        /// In the list.
        at: u64,
        /// The page frame.
        frame: u64,
    },
    /// The kernel writes them in ascending order.
    #[error("page frame list, entry {at}: {frame:#x} after {before:#x}, not ascending")]
    Order {
        /// In the list.
        at: u64,
        /// The page frame.
        frame: u64,
        /// The one before.
        before: u64,
    },
    /// It ends before its last page.
    #[error("page frame list: ends in page {page} of {pages}")]
    Early {
        /// Where the end is, from 1.
        page: u64,
        /// Pages of the list.
        pages: u64,
    },
    /// It describes other pages than are there.
    #[error("page frame list: {found} pages are stored by it, {expected} by swsusp_info")]
    Stored {
        /// Counted.
        found: u64,
        /// Announced.
        expected: u64,
    },
    /// More pages than the machine had.
    #[error("page frame list: {found} pages, more than the {physical} the machine had")]
    Many {
        /// Counted.
        found: u64,
        /// Announced.
        physical: u64,
    },
}

/// A compressed unit is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnitFlaw {
    /// No unit has this length.
    #[error("{0} compressed bytes: impossible")]
    Length(u64),
    /// It is cut off.
    #[error("takes {needed} slots, the map has {there} more")]
    CutOff {
        /// Of its length.
        needed: u64,
        /// What is left.
        there: u64,
    },
    /// It does not unpack.
    #[error("does not unpack: {0}")]
    Unpack(String),
    /// It unpacks to what no unit is.
    #[error("unpacks to {0} bytes: no whole pages")]
    Unpacked(usize),
    /// It has more pages than the image.
    #[error("{0} pages behind the end of the image")]
    Extra(u64),
}

/// What a kernel that resumes makes of a flaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// The image is dropped, and the boot is a cold one.
    Refuses,
    /// It resumes, and what is restored is wrong.
    Unnoticed,
    /// It resumes, and nothing is wrong that matters.
    Harmless,
    /// It follows the map until memory runs out.
    Hangs,
}

impl Flaw {
    /// What the kernel does that resumes from such an image. It checks each entry of the map and each length that it follows; pages
    /// are protected by the CRC if they are compressed, and by nothing if they are not.
    pub fn reaction(&self, protected: bool) -> Reaction {
        let silent = if protected { Reaction::Refuses } else { Reaction::Unnoticed };
        match self {
            Self::MapCycle { .. } => Reaction::Hangs,
            Self::SlotTwice { .. } => silent,
            Self::MapLong { .. } | Self::Unit { what: UnitFlaw::Extra(_), .. } => Reaction::Harmless,
            Self::Frames(FramesFlaw::Order { .. } | FramesFlaw::Early { .. } | FramesFlaw::Many { .. }) => {
                silent
            }
            Self::Info(InfoFlaw::Count { field: "size", .. }) => Reaction::Harmless,
            Self::Header { field: "original signature", .. } => Reaction::Harmless,
            _ => Reaction::Refuses,
        }
    }
}
