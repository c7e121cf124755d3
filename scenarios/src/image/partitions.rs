//! Where partitions are: MBR and GPT.

use std::ops::Range;

use devices::disk::{BaseError, Media, SECTOR};

use super::fields::{u32_at, u64_at};

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// As the kernel numbers it, from 1.
    pub number: u32,
    /// In bytes of the disk.
    pub range: Range<u64>,
}

/// What a disk is divided into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Nothing.
    None,
    /// Up to four partitions. Those within an extended one are not looked for.
    Mbr,
    /// A GUID partition table.
    Gpt,
}

const PROTECTIVE: u8 = 0xee;

/// Reads the partition table.
///
/// # Errors
/// [`BaseError`].
pub fn partitions(media: &Media) -> Result<(Table, Vec<Partition>), BaseError> {
    let mut sector = [0; SECTOR as usize];
    media.read(0, &mut sector)?;
    if sector.get(510..) != Some(&[0x55, 0xaa]) {
        return Ok((Table::None, Vec::new()));
    }
    let entries: Vec<(u32, u8, u64, u64)> = (1u32..)
        .zip(sector.get(446..510).unwrap_or_default().as_chunks::<16>().0)
        .filter_map(|(number, entry)| {
            let [start, sectors] = [8, 12].map(|at| u32_at(entry, at).map(u64::from));
            Some((number, entry[4], start?, sectors?))
        })
        .filter(|(_, kind, start, sectors)| *kind != 0 && *start != 0 && *sectors != 0)
        .collect();
    if entries.iter().any(|(_, kind, ..)| *kind == PROTECTIVE)
        && let Some(partitions) = gpt(media)?
    {
        return Ok((Table::Gpt, partitions));
    }
    let partitions = entries
        .into_iter()
        .filter_map(|(number, _, start, sectors)| partition(media, number, start, sectors));
    let partitions: Vec<_> = partitions.collect();
    Ok((if partitions.is_empty() { Table::None } else { Table::Mbr }, partitions))
}

/// A partition of which something lies on the disk.
fn partition(media: &Media, number: u32, start: u64, sectors: u64) -> Option<Partition> {
    let start = start.checked_mul(SECTOR)?;
    let end = start.checked_add(sectors.checked_mul(SECTOR)?)?.min(media.bytes());
    (start < end).then_some(Partition { number, range: start..end })
}

/// UEFI specification, section 5.3.
fn gpt(media: &Media) -> Result<Option<Vec<Partition>>, BaseError> {
    /// As many as every table has room for, and as the kernel's names go.
    const MOST: u32 = 256;
    let mut header = [0; SECTOR as usize];
    media.read(SECTOR, &mut header)?;
    let fields = || Some((u64_at(&header, 72)?, u32_at(&header, 80)?, u32_at(&header, 84)?));
    let Some((table, count, len)) = fields().filter(|(_, _, len)| (128..=4096).contains(len)) else {
        return Ok(None);
    };
    if !header.starts_with(b"EFI PART") {
        return Ok(None);
    }
    let mut partitions = Vec::new();
    for number in 0..count.min(MOST) {
        let mut entry = [0; 128];
        let at = table.saturating_mul(SECTOR).saturating_add(u64::from(number) * u64::from(len));
        media.read(at, &mut entry)?;
        let [first, last] = [32, 40].map(|at| u64_at(&entry, at).unwrap_or(0));
        if entry.starts_with(&[0; 16]) || last < first {
            continue;
        }
        let sectors = (last - first).saturating_add(1);
        partitions.extend(partition(media, number + 1, first, sectors));
    }
    Ok(Some(partitions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mbr(entries: &[(u8, u32, u32)]) -> Media {
        let mut media = Media::blank(1 << 20).unwrap();
        for ((kind, start, sectors), at) in entries.iter().zip((446u64..).step_by(16)) {
            media.write(at + 4, &[*kind]).unwrap();
            media.write(at + 8, &start.to_le_bytes()).unwrap();
            media.write(at + 12, &sectors.to_le_bytes()).unwrap();
        }
        media.write(510, &[0x55, 0xaa]).unwrap();
        media
    }

    #[test]
    fn both_tables_are_read() {
        let found = partitions(&mbr(&[(0x83, 8, 16), (0, 1, 1), (0x82, 1000, 5000)])).unwrap();
        let expected =
            [(1, 4096..12288), (3, 512_000..1 << 20)].map(|(number, range)| Partition { number, range });
        assert_eq!(found, (Table::Mbr, expected.to_vec()));

        let mut media = mbr(&[(PROTECTIVE, 1, 2047)]);
        media.write(512, b"EFI PART").unwrap();
        media.write(512 + 72, &2u64.to_le_bytes()).unwrap();
        media.write(512 + 80, &128u32.to_le_bytes()).unwrap();
        media.write(512 + 84, &128u32.to_le_bytes()).unwrap();
        media.write(1024 + 128, &[7; 16]).unwrap();
        media.write(1024 + 128 + 32, &64u64.to_le_bytes()).unwrap();
        media.write(1024 + 128 + 40, &127u64.to_le_bytes()).unwrap();
        let second = Partition { number: 2, range: 32_768..65_536 };
        assert_eq!(partitions(&media).unwrap(), (Table::Gpt, vec![second]));
    }

    #[test]
    fn no_table_is_none() {
        assert_eq!(partitions(&Media::blank(512).unwrap()).unwrap(), (Table::None, vec![]));
        assert_eq!(partitions(&mbr(&[(0x83, 4000, 1)])).unwrap(), (Table::None, vec![]));
    }

    proptest! {
        #[test]
        fn tables_of_anything(bytes in prop::collection::vec(any::<u8>(), 1024), gpt: bool) {
            let mut media = Media::blank(1 << 20).unwrap();
            media.write(0, &bytes).unwrap();
            media.write(510, &[0x55, 0xaa]).unwrap();
            if gpt {
                media.write(450, &[PROTECTIVE]).unwrap();
                media.write(512, b"EFI PART").unwrap();
            }
            for partition in partitions(&media).unwrap().1 {
                prop_assert!(partition.range.end <= 1 << 20 && !partition.range.is_empty());
            }
        }
    }
}
