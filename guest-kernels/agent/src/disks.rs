//! Partitions, file systems, swap, cache flushes.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use agent_protocol::layout::MIB;
use agent_protocol::message::{Answer, Failure, Partition, PartitionKind};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::failure::{While, failure};
use crate::{identity, ioctl, run, swap_syscalls};

const SECTOR: u64 = 512;
const PAGE: usize = 4096;

/// Longest time a disk may take to appear after its driver was started.
const APPEARS_WITHIN: Duration = Duration::from_secs(5);

/// Waits for a device node: NVMe finds its disks in the background, and a kernel may be asked before it has. What does not
/// appear is left to whoever opens it.
pub fn appear(path: &str) {
    let begun = Instant::now();
    while path.starts_with("/dev/") && !Path::new(path).exists() && begun.elapsed() < APPEARS_WITHIN {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Opens a device or file to be read and written.
///
/// # Errors
/// Those of open(2).
pub fn open(path: &str) -> Result<File, Failure> {
    appear(path);
    OpenOptions::new().read(true).write(true).open(path).while_doing(|| format!("opening {path}"))
}

/// Size in bytes. A disk that is still being probed may be there with none (NVMe shows its name before its size).
fn size(file: &File, disk: &str) -> Result<u64, Failure> {
    let begun = Instant::now();
    loop {
        let bytes = ioctl::device_bytes(file).while_doing(|| format!("asking for the size of {disk}"))?;
        if bytes > 0 || begun.elapsed() >= APPEARS_WITHIN {
            return Ok(bytes);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Writes an MBR and makes the kernel read it.
///
/// # Errors
/// If the partitions do not fit, or one of the disk is in use.
pub fn partition(disk: &str, partitions: &[Partition]) -> Result<(), Failure> {
    let file = open(disk)?;
    let bytes = size(&file, disk)?;
    let sector = boot_sector(partitions, bytes).map_err(|text| failure(format!("{disk}: {text}")))?;
    let writing = || format!("writing the partition table of {disk}");
    file.write_all_at(&sector, 0).while_doing(writing)?;
    file.sync_all().while_doing(writing)?;
    ioctl::reread_partitions(&file).while_doing(|| format!("reading the partition table of {disk}"))
}

/// A boot sector with up to four primary partitions, one after the other from 1 MiB on.
fn boot_sector(partitions: &[Partition], disk_bytes: u64) -> Result<[u8; SECTOR as usize], String> {
    const TABLE: usize = 446;
    const ENTRY: usize = 16;
    if partitions.is_empty() || partitions.len() > 4 {
        return Err(format!("{} partitions, a disk has one to four", partitions.len()));
    }
    let mut sector = [0; SECTOR as usize];
    let mut start = MIB;
    for (partition, entry) in partitions.iter().zip(sector[TABLE..].chunks_exact_mut(ENTRY)) {
        let len = u64::from(partition.mib) * MIB;
        if len == 0 || start + len > disk_bytes {
            return Err(format!("a partition of {} MiB does not fit at {} MiB", partition.mib, start / MIB));
        }
        let lba = |bytes: u64| u32::try_from(bytes / SECTOR).map_err(|_| "beyond 2 TiB".to_owned());
        entry[4] = match partition.kind {
            PartitionKind::Linux => 0x83,
            PartitionKind::Swap => 0x82,
            PartitionKind::Image => 0xda,
        };
        entry[8..12].copy_from_slice(&lba(start)?.to_le_bytes());
        entry[12..16].copy_from_slice(&lba(len)?.to_le_bytes());
        start += len;
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    Ok(sector)
}

/// Makes an ext4 file system with mke2fs.
///
/// # Errors
/// What mke2fs says.
pub fn make_ext4(device: &str, arguments: &[String]) -> Result<(), Failure> {
    let argv = ["mke2fs", "-q", "-F", "-t", "ext4"].map(str::to_owned).into_iter();
    let argv: Vec<String> = argv.chain(arguments.iter().cloned()).chain([device.to_owned()]).collect();
    match run::run(&argv, 120_000)? {
        Answer::Ran { code: Some(0), .. } => Ok(()),
        Answer::Ran { code, stderr, .. } => {
            Err(failure(format!("mke2fs {device} ended with {code:?}: {stderr}")))
        }
        other => Err(failure(format!("mke2fs {device}: {other:?}"))),
    }
}

/// Mounts; the directory is made if missing.
///
/// # Errors
/// Those of mount(2).
pub fn mount_device(device: &str, at: &str, fstype: &str, options: &str) -> Result<(), Failure> {
    let mounting = || format!("mounting {device} on {at} as {fstype}");
    std::fs::create_dir_all(at).while_doing(mounting)?;
    let (flags, rest): (Vec<_>, Vec<_>) =
        options.split(',').filter(|option| !option.is_empty()).partition(|option| *option == "ro");
    let flags = if flags.is_empty() { MsFlags::empty() } else { MsFlags::MS_RDONLY };
    mount(Some(device), at, Some(fstype), flags, Some(rest.join(",").as_str())).while_doing(mounting)
}

/// Unmounts.
///
/// # Errors
/// Those of umount(2).
pub fn unmount(at: &str) -> Result<(), Failure> {
    umount2(at, MntFlags::empty()).while_doing(|| format!("unmounting {at}"))
}

/// Writes a swap header (version 1, no bad pages; `union swap_header` of linux/swap.h).
///
/// # Errors
/// If the device is too small or cannot be written.
pub fn make_swap(device: &str) -> Result<(), Failure> {
    let file = open(device)?;
    let bytes = ioctl::device_bytes(&file).while_doing(|| format!("asking for the size of {device}"))?;
    write_swap_header(&file, device, bytes)
}

/// The header itself, for a device or a file of this size.
///
/// # Errors
/// As [`make_swap`].
pub fn write_swap_header(file: &File, device: &str, bytes: u64) -> Result<(), Failure> {
    let last_page = (bytes / PAGE as u64).checked_sub(1).filter(|last| *last >= 10);
    let last_page = last_page.and_then(|last| u32::try_from(last).ok());
    let last_page = last_page.ok_or_else(|| failure(format!("{device}: {bytes} bytes cannot hold swap")))?;
    let mut header = [0; PAGE];
    header[1024..1028].copy_from_slice(&1u32.to_le_bytes());
    header[1028..1032].copy_from_slice(&last_page.to_le_bytes());
    header[PAGE - 10..].copy_from_slice(b"SWAPSPACE2");
    let writing = || format!("writing the swap header of {device}");
    file.write_all_at(&header, 0).while_doing(writing)?;
    file.sync_all().while_doing(writing)
}

/// Starts swapping.
///
/// # Errors
/// Those of swapon(2).
pub fn swap_on(device: &str, priority: Option<u16>) -> Result<(), Failure> {
    swap_syscalls::swap_on(device, priority).while_doing(|| format!("swapon {device}"))
}

/// Stops swapping: everything comes back into memory.
///
/// # Errors
/// Those of swapoff(2); ENOMEM if it does not fit.
pub fn swap_off(device: &str) -> Result<(), Failure> {
    swap_syscalls::swap_off(device).while_doing(|| format!("swapoff {device}"))
}

/// Makes the disk's write cache durable: fsync of a block device sends a FLUSH even if nothing is dirty.
///
/// # Errors
/// Those of the disk.
pub fn flush(name: &str) -> Result<(), Failure> {
    let flushing = || format!("flushing the write cache of {name}");
    File::open(format!("/dev/{name}")).and_then(|disk| disk.sync_all()).while_doing(flushing)
}

/// Writes everything back and flushes every disk.
///
/// # Errors
/// Those of the first disk that fails.
pub fn sync() -> Result<(), Failure> {
    nix::unistd::sync();
    identity::disks()?.iter().try_for_each(|name| flush(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(mib: &[u32]) -> Vec<Partition> {
        mib.iter().map(|mib| Partition { mib: *mib, kind: PartitionKind::Linux }).collect()
    }

    #[test]
    fn partitions_follow_each_other_from_one_mib() {
        let sector = boot_sector(&parts(&[64, 32]), 97 * MIB).unwrap();
        assert_eq!(&sector[510..], [0x55, 0xaa]);
        assert_eq!(sector[446 + 4], 0x83);
        assert_eq!(sector[446 + 8..446 + 16], [0, 8, 0, 0, 0, 0, 2, 0]);
        assert_eq!(sector[462 + 8..462 + 16], [0, 8, 2, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(
            boot_sector(&parts(&[64, 33]), 97 * MIB).unwrap_err().contains("33 MiB does not fit at 65 MiB")
        );
        assert!(boot_sector(&parts(&[0]), 97 * MIB).is_err());
        assert!(boot_sector(&parts(&[1; 5]), 97 * MIB).is_err());
        assert!(boot_sector(&[], 97 * MIB).is_err());
    }
}
