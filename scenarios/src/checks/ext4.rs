//! What a block of an ext4 file system is for, as far as its superblock, its group descriptors and the journal's inode say (Linux,
//! Documentation/filesystems/ext4). Blocks of directories and of extent trees are not told from data.

use std::ops::Range;

use crate::image::Part;

const MAGIC: u64 = 0xef53;
const EXTENTS: u64 = 0xf30a;
const SUPERBLOCK: u64 = 1024;
const META_BG: u64 = 0x10;
const BITS_64: u64 = 0x80;
const MMP: u64 = 0x100;
/// More than any file system that a scenario makes.
const GROUPS: u64 = 4096;

/// What a stretch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part4 {
    /// The superblock or a copy of it.
    Superblock,
    /// Group descriptors.
    Descriptors,
    /// Bitmaps of blocks and inodes.
    Bitmap,
    /// Inodes.
    Inodes,
    /// The journal.
    Journal,
    /// Multiple mount protection.
    Mmp,
    /// Everything else.
    Data,
}

impl Part4 {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Superblock => "superblock",
            Self::Descriptors => "group descriptors",
            Self::Bitmap => "bitmaps",
            Self::Inodes => "inodes",
            Self::Journal => "journal",
            Self::Mmp => "multiple mount protection",
            Self::Data => "data",
        }
    }
}

/// Where everything is, in bytes of the partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ext4 {
    stretches: Vec<(Range<u64>, Part4)>,
}

impl Ext4 {
    /// Of a file system; `None` if there is none.
    pub(crate) fn read(part: &Part) -> Option<Self> {
        let at = |offset: u64, size: usize| {
            let mut bytes = [0; 8];
            part.read(offset, bytes.get_mut(..size)?).ok()?;
            Some(u64::from_le_bytes(bytes))
        };
        let field = |offset: u64, size: usize| at(SUPERBLOCK + offset, size);
        if field(0x38, 2)? != MAGIC || field(0x18, 4)? > 6 {
            return None;
        }
        let block = 1024u64 << field(0x18, 4)?;
        let (first, blocks, per_group) = (field(0x14, 4)?, field(0x04, 4)?, field(0x20, 4)?.max(1));
        let (inodes_per_group, incompatible) = (field(0x28, 4)?, field(0x60, 4)?);
        let inode_bytes = field(0x58, 2)?.max(128);
        let wide = incompatible & BITS_64 != 0;
        let descriptor = if wide { field(0xfe, 2)?.clamp(64, 1024) } else { 32 };
        let groups = blocks.saturating_sub(first).div_ceil(per_group).min(GROUPS);
        let descriptors = groups.saturating_mul(descriptor).div_ceil(block);
        let reserved = field(0xce, 2)?;
        let mut map = Self::default();
        let mut add = |from: u64, count: u64, what: Part4| {
            let from = from.saturating_mul(block);
            map.stretches.push((from..from.saturating_add(count.saturating_mul(block)), what));
        };
        if incompatible & MMP != 0 {
            add(field(0x168, 8)?, 1, Part4::Mmp);
        }
        let table = (first + 1).saturating_mul(block);
        let mut journal_inode = None;
        for group in 0..groups {
            let here = table + group * descriptor;
            let number = |low: u64, high: u64| {
                let high = if wide { at(here + high, 4)? } else { 0 };
                Some(at(here + low, 4)? | high << 32)
            };
            let inodes = number(0x8, 0x28)?;
            add(number(0x0, 0x20)?, 1, Part4::Bitmap);
            add(number(0x4, 0x24)?, 1, Part4::Bitmap);
            add(inodes, inodes_per_group.saturating_mul(inode_bytes).div_ceil(block), Part4::Inodes);
            if has_copy(group) && incompatible & META_BG == 0 {
                let start = first + group * per_group;
                add(start, 1, Part4::Superblock);
                add(start + 1, descriptors + reserved, Part4::Descriptors);
            }
            if group == 0 {
                let inode = field(0xe0, 4)?.clamp(1, inodes_per_group.max(1)) - 1;
                journal_inode = Some(inodes.saturating_mul(block) + inode * inode_bytes);
            }
        }
        // With blocks of 1 KiB the first is the one before it.
        map.stretches.push((SUPERBLOCK..2 * SUPERBLOCK, Part4::Superblock));
        let root = journal_inode?.saturating_add(0x28);
        let mut nodes = vec![(root, 4, 0)];
        while let Some((node, most, level)) = nodes.pop() {
            if at(node, 2)? != EXTENTS || level > 2 {
                continue;
            }
            let leaf = at(node + 6, 2)? == 0;
            for entry in 0..at(node + 2, 2)?.min(most) {
                let entry = node + 12 + entry * 12;
                if leaf {
                    let start = at(entry + 8, 4)? | at(entry + 6, 2)? << 32;
                    let from = start.saturating_mul(block);
                    let end = from.saturating_add((at(entry + 4, 2)? & 0x7fff).saturating_mul(block));
                    map.stretches.push((from..end, Part4::Journal));
                } else {
                    let below = at(entry + 4, 4)? | at(entry + 8, 2)? << 32;
                    nodes.push((below.saturating_mul(block), block / 12, level + 1));
                }
            }
        }
        Some(map)
    }

    /// What a stretch touches, in bytes of the partition; data only if it touches nothing else.
    pub(crate) fn touched(&self, bytes: &Range<u64>) -> Vec<Part4> {
        let touches = |range: &Range<u64>| range.start < bytes.end && bytes.start < range.end;
        let mut found: Vec<Part4> =
            self.stretches.iter().filter(|(range, _)| touches(range)).map(|(_, what)| *what).collect();
        found.sort_unstable();
        found.dedup();
        if found.is_empty() { vec![Part4::Data] } else { found }
    }
}

/// sparse_super: groups 0, 1 and powers of 3, 5 and 7 have a copy of the superblock.
fn has_copy(group: u64) -> bool {
    group <= 1
        || [3u64, 5, 7].into_iter().any(|base| {
            std::iter::successors(Some(base), |power| power.checked_mul(base))
                .take_while(|power| *power <= group)
                .any(|power| power == group)
        })
}

#[cfg(test)]
pub(super) mod tests {
    use devices::disk::Media;

    use super::*;

    /// Superblock, descriptors, bitmaps, inodes and a journal of 16 blocks from block 100 on, in blocks of 1 KiB.
    pub(in crate::checks) fn file_system() -> Vec<(u64, Vec<u8>)> {
        let mut superblock = vec![0; 1024];
        let mut put = |at: usize, bytes: &[u8]| superblock[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x04, &16384u32.to_le_bytes());
        put(0x14, &1u32.to_le_bytes());
        put(0x20, &8192u32.to_le_bytes());
        put(0x28, &64u32.to_le_bytes());
        put(0x38, &0xef53u16.to_le_bytes());
        put(0x58, &256u16.to_le_bytes());
        put(0x60, &0x140u32.to_le_bytes());
        put(0xce, &4u16.to_le_bytes());
        put(0xe0, &8u32.to_le_bytes());
        put(0x168, &90u64.to_le_bytes());
        let mut descriptors = vec![0; 1024];
        for (group, start) in [(0usize, 20u32), (1, 8300)] {
            for (field, block) in [(0, start), (4, start + 1), (8, start + 2)] {
                descriptors[group * 32 + field..][..4].copy_from_slice(&block.to_le_bytes());
            }
        }
        let mut inodes = vec![0; 4096];
        let root = &mut inodes[7 * 256 + 0x28..];
        root[..2].copy_from_slice(&0xf30au16.to_le_bytes());
        root[2..4].copy_from_slice(&1u16.to_le_bytes());
        root[12 + 4..12 + 6].copy_from_slice(&16u16.to_le_bytes());
        root[12 + 8..12 + 12].copy_from_slice(&100u32.to_le_bytes());
        vec![(1024, superblock), (2048, descriptors), (22 * 1024, inodes)]
    }

    #[test]
    fn blocks_are_what_the_file_system_says() {
        let mut media = Media::blank(16 << 20).unwrap();
        assert!(Ext4::read(&Part::whole(&media)).is_none());
        for (offset, bytes) in file_system() {
            media.write(offset, &bytes).unwrap();
        }
        let map = Ext4::read(&Part::whole(&media)).unwrap();
        let of = |block: u64| map.touched(&(block * 1024..(block + 1) * 1024));
        assert_eq!(of(1), [Part4::Superblock]);
        assert_eq!(of(2), [Part4::Descriptors]);
        assert_eq!(of(6), [Part4::Descriptors]);
        assert_eq!((of(20), of(8301)), (vec![Part4::Bitmap], vec![Part4::Bitmap]));
        assert_eq!((of(22), of(37)), (vec![Part4::Inodes], vec![Part4::Inodes]));
        assert_eq!(of(90), [Part4::Mmp]);
        assert_eq!(
            (of(99), of(100), of(115), of(116)),
            (vec![Part4::Data], vec![Part4::Journal], vec![Part4::Journal], vec![Part4::Data])
        );
        assert_eq!(map.touched(&(37 * 1024..101 * 1024)), [Part4::Inodes, Part4::Journal, Part4::Mmp]);
        assert_eq!(of(8193), [Part4::Superblock]);
    }
}
