//! All images on a disk.

use devices::disk::{BaseError, Media};

use super::ours::Ours;
use super::part::Part;
use super::partitions::{Table, partitions};
use super::swap_header::SwapHeader;
use super::swsusp::{self, Swsusp};

/// What is in a partition.
#[derive(Debug, Clone, PartialEq)]
pub enum Contents {
    /// An image in swap, whatever its state.
    Swsusp(Box<Swsusp>),
    /// An image of ours, whatever its state.
    Ours(Box<Ours>),
    /// Swap without an image.
    Swap(Box<SwapHeader>),
    /// A file system: ext2, ext3 or ext4. A swap file in it is not looked for.
    Ext4,
    /// Something else, or nothing.
    Unknown,
}

/// A partition, and what is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its number; `None` for a disk without partitions.
    pub partition: Option<u32>,
    /// Where it is.
    pub part: Part,
    /// What is in it.
    pub contents: Contents,
}

/// How a disk is divided.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// By what.
    pub table: Table,
    /// Numbers and places of its partitions; the whole of a disk that has none, without a number.
    pub parts: Vec<(Option<u32>, Part)>,
}

impl Layout {
    /// Reads it.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn of(media: &Media) -> Result<Self, BaseError> {
        let (table, partitions) = partitions(media)?;
        let parts = match table {
            Table::None => vec![(None, Part::whole(media))],
            Table::Mbr | Table::Gpt => partitions
                .into_iter()
                .map(|partition| (Some(partition.number), Part::of(media, &partition.range)))
                .collect(),
        };
        Ok(Self { table, parts })
    }
}

/// Looks into every partition of a disk, or into the whole of one that has none.
///
/// # Errors
/// [`BaseError`].
pub fn find(media: &Media) -> Result<Vec<Found>, BaseError> {
    let look = |(partition, part)| {
        let contents = contents(&part)?;
        Ok(Found { partition, part, contents })
    };
    Layout::of(media)?.parts.into_iter().map(look).collect()
}

/// Looks into a partition.
///
/// # Errors
/// [`BaseError`].
pub fn contents(part: &Part) -> Result<Contents, BaseError> {
    if let Some(image) = Swsusp::read(part, 0)? {
        return Ok(Contents::Swsusp(Box::new(image)));
    }
    if let Some(header) = swsusp::header(part, 0)? {
        return Ok(Contents::Swap(Box::new(header)));
    }
    if let Some(image) = Ours::read(part)? {
        return Ok(Contents::Ours(Box::new(image)));
    }
    Ok(if is_ext4(part)? { Contents::Ext4 } else { Contents::Unknown })
}

fn is_ext4(part: &Part) -> Result<bool, BaseError> {
    let mut magic = [0; 2];
    part.read(1024 + 56, &mut magic)?;
    Ok(magic == [0x53, 0xef])
}
