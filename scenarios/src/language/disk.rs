//! `[[disk]]`.

use std::ops::Range;

use devices::disk::{AtomicUnit, CacheMode, DiskConfig, Latency, PowerOff, Standby, Tie};
use vmm::FrontEnd;

use super::reader::{Table, Value};
use super::{FaultSpec, Mistake};

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
    /// Its knobs. Which disk it is, and its faults, are not in here.
    pub config: DiskConfig,
    /// Requests that go wrong.
    pub faults: Vec<FaultSpec>,
}

/// A partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionSpec {
    /// What it is for.
    pub what: Use,
    /// MiB.
    pub mib: u32,
    /// Of swap: which is taken first. None: the kernel's choice.
    pub priority: Option<u16>,
    /// Of ext4: MiB of a swap file on it.
    pub swap_file: Option<u32>,
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
        let (mut disks, mut faults): (Vec<Self>, Vec<_>) = (Vec::new(), Vec::new());
        for value in value.list()? {
            let mut table = value.table("a disk")?;
            // They may speak of disks and steps: read when all are known.
            faults.push(table.optional("faults"));
            let disk = Self::read(table)?;
            if disks.iter().any(|other| other.name == disk.name) {
                return Err(value.mistake(format!("there are two disks named `{}`", disk.name)));
            }
            disks.push(disk);
        }
        for (number, value) in faults.into_iter().enumerate() {
            let Some(value) = value else { continue };
            let faults = FaultSpec::read_all(value, &disks, number)?;
            if let Some(disk) = disks.get_mut(number) {
                disk.faults = faults;
            }
        }
        Ok(disks)
    }

    fn read(mut table: Table<'_>) -> Result<Self, Mistake> {
        let name = table.required("name")?;
        if name.text()?.contains('.') {
            return Err(name.mistake("the name of a disk has no dot: its partitions are `name.1`, `name.2`"));
        }
        let name = name.string()?.to_owned();
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
        let config = knobs(&mut table)?;
        table.end()?;
        Ok(Self { name, front_end, size: bytes, partitions, config, faults: Vec::new() })
    }

    /// Where a partition (from 1) lies, in bytes. The first one begins at 1 MiB, and each behind the one before.
    pub fn bytes_of(&self, partition: u32) -> Option<Range<u64>> {
        let before = self.partitions.get(..usize::try_from(partition.checked_sub(1)?).ok()?)?;
        let length = |partition: &PartitionSpec| u64::from(partition.mib) * MIB;
        let start = MIB + before.iter().map(length).sum::<u64>();
        self.partitions.get(before.len()).map(|partition| start..start + length(partition))
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

/// What a disk does with writes and with time.
fn knobs(table: &mut Table<'_>) -> Result<DiskConfig, Mistake> {
    let mut config = DiskConfig { log: true, ..DiskConfig::default() };
    let place = table.place();
    if let Some(value) = table.optional("latency") {
        config.latency = latency(value)?;
    }
    if let Some(value) = table.optional("reorder") {
        config.reorder = Some(value.number(0..=u64::MAX >> 1)?);
    }
    if let Some(value) = table.optional("cache") {
        let words = [("write-back", CacheMode::WriteBack), ("write-through", CacheMode::WriteThrough)];
        config.cache = value.word("cache", &words)?;
    }
    let destage = table.optional("destage-after");
    if let Some(value) = destage {
        config.destage_after = Some(value.duration()?);
    }
    let late = table.optional("late-loss");
    if let Some(value) = late {
        config.late_loss = Some(value.duration()?);
    }
    if let Some(value) = table.optional("power-off") {
        let words = [("destage", PowerOff::Destage), ("drop", PowerOff::Drop)];
        config.power_off = value.word("end of a disk", &words)?;
    }
    if let Some(value) = table.optional("s3") {
        let words = [("keep", Standby::Keep), ("power-loss", Standby::PowerLoss)];
        config.s3 = value.word("standby", &words)?;
    }
    if let Some(value) = table.optional("atomic-unit") {
        config.atomic_unit = match value.number(512..=4096)? {
            512 => AtomicUnit::Sector,
            4096 => AtomicUnit::Block,
            _ => return Err(value.mistake("`atomic-unit` is 512 or 4096")),
        };
    }
    if let Some(value) = table.optional("tie") {
        config.tie = value.word("tie", &[("unit", Tie::Unit), ("write", Tie::Write)])?;
    }
    if let Some(value) = table.optional("discard") {
        config.discard = value.truth()?;
    }
    config.check().map_err(|error| {
        let text = error.to_string();
        let text = text.strip_prefix("disk 0: ").unwrap_or(&text).replace('_', "-");
        let text = text.replace("WriteBack", "\"write-back\"").replace("WriteThrough", "\"write-through\"");
        Mistake::new(destage.or(late).map_or(place, |value| value.place()), text)
    })?;
    Ok(config)
}

fn latency(value: Value<'_>) -> Result<Latency, Mistake> {
    let mut table = value.table("a latency")?;
    let mut latency = Latency::default();
    let times: [(&str, &mut u64); 5] = [
        ("read", &mut latency.read),
        ("write", &mut latency.write),
        ("flush", &mut latency.flush),
        ("discard", &mut latency.discard),
        ("kibibyte", &mut latency.kibibyte),
    ];
    for (key, field) in times {
        if let Some(value) = table.optional(key) {
            *field = value.duration()?;
        }
    }
    table.end()?;
    Ok(latency)
}

/// Whole MiB.
fn mebibytes(value: Value<'_>, what: &str) -> Result<u32, Mistake> {
    let bytes = value.size()?;
    if !bytes.is_multiple_of(MIB) || bytes / MIB > u64::from(u32::MAX) {
        return Err(value.mistake(format!("{what} is whole MiB")));
    }
    Ok((bytes / MIB) as u32)
}

impl PartitionSpec {
    fn read(mut table: Table<'_>) -> Result<Self, Mistake> {
        let what = table.required("use")?.word("use of a partition", &Use::WORDS)?;
        let mib = mebibytes(table.required("size")?, "a partition")?;
        let mut spec = Self { what, mib, priority: None, swap_file: None };
        match what {
            Use::Swap => {
                if let Some(value) = table.optional("priority") {
                    spec.priority = Some(value.number(0..=32767)? as u16);
                }
            }
            Use::Ext4 => {
                if let Some(value) = table.optional("swap-file") {
                    let file = mebibytes(value, "a swap file")?;
                    if file >= mib {
                        return Err(value.mistake("the swap file is larger than its partition"));
                    }
                    spec.swap_file = Some(file);
                }
            }
            Use::Image => {}
        }
        table.end()?;
        Ok(spec)
    }
}
