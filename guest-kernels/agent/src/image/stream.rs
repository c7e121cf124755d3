//! Hibernation through /dev/snapshot, with the image on a raw partition (see the kernel's userland-swsusp document).

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use agent_protocol::image::{Extent, Header, Kind, PAGE, PageEntry};
use agent_protocol::message::{AfterSnapshot, Answer, Failure};
use agent_protocol::mutant::Mutant;
use nix::sys::mman::{MlockAllFlags, mlockall};

use super::partition::{ImageWriter, PageReader, Partition};
use crate::failure::{While, failure};
use crate::{ioctl, mutant};

const SNAPSHOT: &str = "/dev/snapshot";

fn doing(what: &'static str) -> impl FnOnce() -> String {
    move || format!("{what} through {SNAPSHOT}")
}

/// Everything else is frozen while we write: nothing of us may have to come from swap.
fn stay_in_memory() -> Result<(), Failure> {
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE).while_doing(|| "locking memory".into())
}

/// A /dev/snapshot session; other processes thaw when it ends.
struct Frozen {
    snapshot: File,
}

impl Frozen {
    fn freeze(snapshot: File) -> Result<Frozen, Failure> {
        ioctl::snapshot_freeze(&snapshot).while_doing(doing("freezing processes"))?;
        Ok(Frozen { snapshot })
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = ioctl::snapshot_free(&self.snapshot);
        let _ = ioctl::snapshot_unfreeze(&self.snapshot);
    }
}

/// Opens everything [`save`] needs.
///
/// # Errors
/// If the partition or /dev/snapshot is not there.
pub fn prepare_save(device: &str) -> Result<(Partition, File), Failure> {
    let partition = Partition::open(device)?;
    let snapshot = File::open(SNAPSHOT).while_doing(doing("beginning to hibernate"))?;
    stay_in_memory()?;
    Ok((partition, snapshot))
}

/// Hibernates. Returns in the resumed kernel, after a wake from RAM, or with an error.
///
/// # Errors
/// Those of the kernel and of the partition; everything is thawed and the image unusable then.
pub fn save(partition: &Partition, snapshot: File, then: AfterSnapshot) -> Result<Answer, Failure> {
    nix::unistd::sync();
    let frozen = Frozen::freeze(snapshot)?;
    let snapshot = &frozen.snapshot;
    ioctl::snapshot_platform_support(snapshot).while_doing(doing("choosing platform support"))?;
    ioctl::snapshot_prefer_small(snapshot).while_doing(doing("choosing the image size"))?;
    if !ioctl::snapshot_create_image(snapshot).while_doing(doing("making the image"))? {
        // We are the image, restored.
        return Ok(Answer::Done);
    }
    let header = write_stream(partition, snapshot)?;
    // All disks only now: the kernel itself swapped out to make room for the snapshot.
    let slept = partition.make_valid(&header).and_then(|_| match then {
        AfterSnapshot::SuspendToRam => {
            ioctl::snapshot_suspend_to_ram(snapshot).while_doing(doing("suspending to RAM"))
        }
        AfterSnapshot::PowerOff => ioctl::snapshot_power_off(snapshot).while_doing(doing("powering off")),
    });
    // Still here: woken from RAM, or refused, perhaps by the disk that was to make the header durable. This kernel goes on, so its
    // image must never be entered.
    if !mutant::is(Mutant::WakeUnconsumed) {
        partition.consume()?;
    }
    slept.map(|()| Answer::Done)
}

fn write_stream(partition: &Partition, mut snapshot: &File) -> Result<Header, Failure> {
    let bytes = ioctl::snapshot_image_bytes(snapshot).while_doing(doing("asking for the image's size"))?;
    let extents = vec![Extent { first: 0, count: bytes / PAGE as u64 }];
    let mut writer = ImageWriter::begin(partition, Kind::SnapshotStream, extents)?;
    let mut page = [0; PAGE];
    for _ in 0..bytes / PAGE as u64 {
        snapshot.read_exact(&mut page).while_doing(doing("reading the image"))?;
        writer.page(&page)?;
    }
    if snapshot.read(&mut page).while_doing(doing("reading the image"))? != 0 {
        return Err(failure(format!("{SNAPSHOT} gave more than the {bytes} bytes it announced")));
    }
    let release = nix::sys::utsname::uname().map(|names| names.release().to_string_lossy().into_owned());
    writer.finish(0, release.unwrap_or_default())
}

/// An image loaded into this kernel, ready to replace it.
pub struct Loaded {
    partition: Partition,
    snapshot: File,
}

/// Checks the image and loads it into the kernel.
///
/// # Errors
/// The first check that refuses it; those of the kernel.
pub fn load(device: &str) -> Result<Loaded, Failure> {
    let partition = Partition::open(device)?;
    let (header, index) = partition.restorable(Kind::SnapshotStream)?;
    stay_in_memory()?;
    let opened = OpenOptions::new().write(true).open(SNAPSHOT);
    let mut snapshot = opened.while_doing(doing("beginning to resume"))?;
    ioctl::snapshot_platform_support(&snapshot).while_doing(doing("choosing platform support"))?;
    let mut reader = PageReader::new(&partition, &header);
    for (frame, entry) in index.pages() {
        let page = match entry {
            PageEntry::Zero => &[0; PAGE],
            PageEntry::Stored(_) => reader.page(frame, entry)?,
        };
        snapshot.write_all(page).while_doing(doing("loading the image"))?;
    }
    Ok(Loaded { partition, snapshot })
}

impl Loaded {
    /// Consumes the image and becomes it. Returns only on failure.
    ///
    /// # Errors
    /// Those of the kernel; the image is gone then.
    pub fn enter(self) -> Result<Answer, Failure> {
        let frozen = Frozen::freeze(self.snapshot)?;
        if !mutant::is(Mutant::ResumeUnconsumed) {
            self.partition.consume()?;
        }
        ioctl::snapshot_atomic_restore(&frozen.snapshot).while_doing(doing("restoring the image"))?;
        Err(failure("the kernel came back from a restore that never returns"))
    }
}

/// Enters ACPI S4 without an image of this kernel: B's way to end after it saved A.
///
/// # Errors
/// If the platform has no S4 or refuses.
pub fn enter_s4() -> Result<Answer, Failure> {
    let snapshot = File::open(SNAPSHOT).while_doing(doing("preparing S4"))?;
    ioctl::snapshot_platform_support(&snapshot).while_doing(doing("choosing platform support"))?;
    ioctl::snapshot_power_off(&snapshot).while_doing(doing("entering S4"))?;
    Err(failure("the machine came back from S4 without a boot"))
}
