//! Stretches of disks, by what they are for.

use std::ops::Range;

use super::reader::{Table, Value};
use super::{DiskSpec, Mistake, Use};

const SECTOR: u64 = 512;
/// Sectors of a page: the header of swap, where swsusp marks that there is an image.
const PAGE: u64 = 4096 / SECTOR;
/// Sectors of the header of our own image.
const HEADER: u64 = (agent_protocol::image::HEADER_LEN as u64).div_ceil(SECTOR);

/// Sectors of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Number of the disk in the scenario.
    pub disk: usize,
    /// Which.
    pub sectors: Range<u64>,
}

/// Words for regions: a kind of partition, and how many sectors from its beginning on. None: all.
const WORDS: [(&str, (Use, Option<u64>)); 5] = [
    ("image-header", (Use::Image, Some(HEADER))),
    ("image", (Use::Image, None)),
    ("swap-header", (Use::Swap, Some(PAGE))),
    ("swap", (Use::Swap, None)),
    ("ext4", (Use::Ext4, None)),
];

/// Reads `region`, a word or the name of a partition, or `sectors`: of one of these disks, of which one may have been named.
pub(super) fn read(
    table: &mut Table<'_>,
    disks: &[DiskSpec],
    named: Option<usize>,
) -> Result<Option<Region>, Mistake> {
    let (word, sectors) = (table.optional("region"), table.optional("sectors"));
    match (word, sectors) {
        (Some(_), Some(second)) => Err(second.mistake("`sectors` and `region` say the same: give one")),
        (Some(value), None) => of_word(value, disks, named).map(Some),
        (None, Some(value)) => {
            let disk = match (named, disks) {
                (Some(disk), _) => disk,
                (None, [_]) => 0,
                _ => return Err(value.mistake("`sectors` need a disk").help("name it: `disk = \"...\"`")),
            };
            let ends =
                value.list()?.map(|end| end.number(0..=u64::MAX >> 10)).collect::<Result<Vec<_>, _>>()?;
            match ends[..] {
                [start, end] if start < end => Ok(Some(Region { disk, sectors: start..end })),
                _ => {
                    Err(value
                        .mistake("`sectors` are the first one and the one behind the last: `[2048, 4096]`"))
                }
            }
        }
        (None, None) => Ok(None),
    }
}

fn of_word(value: Value<'_>, disks: &[DiskSpec], named: Option<usize>) -> Result<Region, Mistake> {
    let word = value.string()?;
    if word.contains('.') {
        let (disk, partition) = partition(value, disks)?;
        return of_partition(value, disks, disk, partition, None);
    }
    let (what, most) = value.word("region", &WORDS)?;
    let found =
        disks.iter().enumerate().filter(|(disk, _)| named.is_none_or(|named| named == *disk)).find_map(
            |(disk, spec)| {
                let at = spec.partitions.iter().position(|partition| partition.what == what)?;
                Some((disk, at as u32 + 1))
            },
        );
    let (disk, number) = found
        .ok_or_else(|| value.mistake(format!("there is no partition with `use = \"{}\"`", what.name())))?;
    of_partition(value, disks, disk, number, most)
}

fn of_partition(
    value: Value<'_>,
    disks: &[DiskSpec],
    disk: usize,
    number: u32,
    most: Option<u64>,
) -> Result<Region, Mistake> {
    let bytes = disks.get(disk).and_then(|spec| spec.bytes_of(number));
    let bytes = bytes.ok_or_else(|| value.mistake("there is no such partition"))?;
    let (start, end) = (bytes.start / SECTOR, bytes.end / SECTOR);
    Ok(Region { disk, sectors: start..most.map_or(end, |most| end.min(start + most)) })
}

/// A partition by its name, `system.2`: number of the disk, number of the partition.
pub(super) fn partition(value: Value<'_>, disks: &[DiskSpec]) -> Result<(usize, u32), Mistake> {
    let word = value.string()?;
    let names = || -> Vec<String> {
        let of = |disk: &DiskSpec| {
            (1..=disk.partitions.len()).map(|number| format!("{}.{number}", disk.name)).collect::<Vec<_>>()
        };
        disks.iter().flat_map(of).collect()
    };
    let found = word.rsplit_once('.').and_then(|(name, number)| {
        let disk = disks.iter().position(|disk| disk.name == name)?;
        let number = number.parse::<u32>().ok()?;
        disks.get(disk)?.bytes_of(number).map(|_| (disk, number))
    });
    found.ok_or_else(|| {
        let names = names();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        Mistake::unknown(value.place(), "partition", word, &known)
    })
}
