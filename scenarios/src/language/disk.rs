//! `[[disk]]`.

use vmm::FrontEnd;

use super::Mistake;
use super::reader::{Table, Value};

const MIB: u64 = 1 << 20;

/// A disk, blank when the scenario begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    /// Its name in the scenario.
    pub name: String,
    /// How it is attached.
    pub front_end: FrontEnd,
    /// Bytes.
    pub size: u64,
    /// At most four.
    pub partitions: Vec<PartitionSpec>,
}

/// A partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionSpec {
    /// What it is for.
    pub what: Use,
    /// MiB.
    pub mib: u32,
}

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A's file system.
    Ext4,
    /// A's swap, where swsusp puts its image.
    Swap,
    /// Image of the saver or of /dev/snapshot.
    Image,
}

impl Use {
    const WORDS: [(&'static str, Self); 3] =
        [("ext4", Self::Ext4), ("swap", Self::Swap), ("image", Self::Image)];

    /// As in a scenario.
    pub fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}

impl DiskSpec {
    pub(super) fn read_all(value: Value<'_>) -> Result<Vec<Self>, Mistake> {
        let mut disks: Vec<Self> = Vec::new();
        for value in value.list()? {
            let disk = Self::read(value.table("a disk")?)?;
            if disks.iter().any(|other| other.name == disk.name) {
                return Err(value.mistake(format!("there are two disks named `{}`", disk.name)));
            }
            disks.push(disk);
        }
        Ok(disks)
    }

    fn read(mut table: Table<'_>) -> Result<Self, Mistake> {
        let name = table.required("name")?.text()?.to_owned();
        let words = [("virtio", FrontEnd::Virtio), ("nvme", FrontEnd::Nvme)];
        let front_end = table
            .optional("front-end")
            .map_or(Ok(FrontEnd::default()), |value| value.word("front end", &words))?;
        let size = table.required("size")?;
        let bytes = size.size()?;
        if !bytes.is_multiple_of(MIB) {
            return Err(size.mistake("a disk is whole MiB"));
        }
        let mut partitions = Vec::new();
        if let Some(list) = table.optional("partitions") {
            for value in list.list()? {
                partitions.push(PartitionSpec::read(value.table("a partition")?)?);
            }
            if partitions.len() > 4 {
                return Err(list.mistake("a disk has four partitions at most"));
            }
            // The first one begins at 1 MiB.
            let needed = 1 + partitions.iter().map(|partition| u64::from(partition.mib)).sum::<u64>();
            if needed > bytes / MIB {
                return Err(size
                    .mistake(format!("the partitions need {needed}M, 1M for the partition table included")));
            }
        }
        table.end()?;
        Ok(Self { name, front_end, size: bytes, partitions })
    }

    /// What Linux calls partition `partition` (from 1; 0 is the disk) of disk `number`, counted among those with this front end.
    pub fn device(front_end: FrontEnd, number: usize, partition: u32) -> String {
        let (disk, separator) = match front_end {
            FrontEnd::Virtio => (format!("/dev/vd{}", char::from(b'a' + (number % 26) as u8)), ""),
            FrontEnd::Nvme => (format!("/dev/nvme{number}n1"), "p"),
        };
        if partition == 0 { disk } else { format!("{disk}{separator}{partition}") }
    }
}

impl PartitionSpec {
    fn read(mut table: Table<'_>) -> Result<Self, Mistake> {
        let what = table.required("use")?.word("use of a partition", &Use::WORDS)?;
        let size = table.required("size")?;
        let bytes = size.size()?;
        if !bytes.is_multiple_of(MIB) || bytes / MIB > u64::from(u32::MAX) {
            return Err(size.mistake("a partition is whole MiB"));
        }
        table.end()?;
        Ok(Self { what, mib: (bytes / MIB) as u32 })
    }
}
