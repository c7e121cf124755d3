//! The ioctls the agent needs, as safe functions. Numbers are those of linux/fs.h and linux/suspend_ioctls.h.
#![allow(unsafe_code)] // ioctl(2)

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::Result;

mod raw {
    nix::ioctl_none!(reread_partitions, 0x12, 95);
    nix::ioctl_read!(device_bytes, 0x12, 114, usize);

    nix::ioctl_readwrite_bad!(block_of_file, nix::request_code_none!(0, 1), i32);
    nix::ioctl_read_bad!(block_bytes, nix::request_code_none!(0, 2), i32);

    nix::ioctl_none!(snapshot_freeze, b'3', 1);
    nix::ioctl_none!(snapshot_unfreeze, b'3', 2);
    nix::ioctl_none!(snapshot_atomic_restore, b'3', 4);
    nix::ioctl_none!(snapshot_free, b'3', 5);
    nix::ioctl_none!(snapshot_suspend_to_ram, b'3', 11);
    nix::ioctl_read!(snapshot_image_bytes, b'3', 14, i64);
    // These two take a number where their request codes say nothing.
    nix::ioctl_write_int_bad!(snapshot_platform_support, nix::request_code_none!(b'3', 15));
    nix::ioctl_write_int_bad!(snapshot_preferred_size, nix::request_code_none!(b'3', 18));
    nix::ioctl_none!(snapshot_power_off, b'3', 16);
    // The kernel writes the integer although the request code says it reads it.
    nix::ioctl_read_bad!(snapshot_create_image, nix::request_code_write!(b'3', 17, 4), i32);
}

/// BLKRRPART: read the partition table again.
///
/// # Errors
/// EBUSY while a partition is in use.
pub fn reread_partitions(disk: &File) -> Result<()> {
    // SAFETY: takes no argument.
    unsafe { raw::reread_partitions(disk.as_raw_fd()) }.map(drop)
}

/// BLKGETSIZE64: size of a block device in bytes.
///
/// # Errors
/// ENOTTY if it is none.
pub fn device_bytes(device: &File) -> Result<u64> {
    let mut bytes = 0usize;
    // SAFETY: the kernel writes one u64, and usize is 64 bits wide on x86-64.
    unsafe { raw::device_bytes(device.as_raw_fd(), &raw mut bytes) }?;
    Ok(bytes as u64)
}

/// FIBMAP: which block of its device holds this block of a file; 0 if none does.
///
/// # Errors
/// EPERM without CAP_SYS_RAWIO, EINVAL from file systems that do not say.
pub fn block_of_file(file: &File, block: i32) -> Result<u64> {
    let mut block = block;
    // SAFETY: the kernel reads and writes one int.
    unsafe { raw::block_of_file(file.as_raw_fd(), &raw mut block) }?;
    u64::try_from(block).map_err(|_| nix::errno::Errno::EOVERFLOW)
}

/// FIGETBSZ: bytes of a block of the file system.
///
/// # Errors
/// EBADF from what has no blocks.
pub fn block_bytes(file: &File) -> Result<u64> {
    let mut bytes = 0i32;
    // SAFETY: the kernel writes one int.
    unsafe { raw::block_bytes(file.as_raw_fd(), &raw mut bytes) }?;
    u64::try_from(bytes).map_err(|_| nix::errno::Errno::EOVERFLOW)
}

/// SNAPSHOT_FREEZE: freeze every other process.
///
/// # Errors
/// EBUSY if they do not freeze.
pub fn snapshot_freeze(snapshot: &File) -> Result<()> {
    // SAFETY: takes no argument.
    unsafe { raw::snapshot_freeze(snapshot.as_raw_fd()) }.map(drop)
}

/// SNAPSHOT_UNFREEZE.
///
/// # Errors
/// EBUSY after an unfinished restore.
pub fn snapshot_unfreeze(snapshot: &File) -> Result<()> {
    // SAFETY: takes no argument.
    unsafe { raw::snapshot_unfreeze(snapshot.as_raw_fd()) }.map(drop)
}

/// SNAPSHOT_CREATE_IMAGE: returns twice. `true`: the image was made and is to be saved; `false`: we are the image and have
/// been restored.
///
/// # Errors
/// ENOMEM if the image does not fit into memory; others from drivers.
pub fn snapshot_create_image(snapshot: &File) -> Result<bool> {
    let mut in_suspend = 0i32;
    // SAFETY: the kernel writes one int.
    unsafe { raw::snapshot_create_image(snapshot.as_raw_fd(), &raw mut in_suspend) }?;
    Ok(in_suspend != 0)
}

/// SNAPSHOT_GET_IMAGE_SIZE: bytes that reading /dev/snapshot will give.
///
/// # Errors
/// ENODATA without an image.
pub fn snapshot_image_bytes(snapshot: &File) -> Result<u64> {
    let mut bytes = 0i64;
    // SAFETY: the kernel writes one 64-bit integer.
    unsafe { raw::snapshot_image_bytes(snapshot.as_raw_fd(), &raw mut bytes) }?;
    u64::try_from(bytes).map_err(|_| nix::errno::Errno::EOVERFLOW)
}

/// SNAPSHOT_PLATFORM_SUPPORT 1: use the platform's (ACPI's) sleep methods.
///
/// # Errors
/// None known.
pub fn snapshot_platform_support(snapshot: &File) -> Result<()> {
    // SAFETY: the kernel takes the argument as a number.
    unsafe { raw::snapshot_platform_support(snapshot.as_raw_fd(), 1) }.map(drop)
}

/// SNAPSHOT_PREF_IMAGE_SIZE 0: make the image as small as possible.
///
/// # Errors
/// None known.
pub fn snapshot_prefer_small(snapshot: &File) -> Result<()> {
    // SAFETY: the kernel takes the argument as a number.
    unsafe { raw::snapshot_preferred_size(snapshot.as_raw_fd(), 0) }.map(drop)
}

/// SNAPSHOT_ATOMIC_RESTORE: become the loaded image; returns only on failure.
///
/// # Errors
/// EPERM if no whole image was loaded.
pub fn snapshot_atomic_restore(snapshot: &File) -> Result<()> {
    // SAFETY: takes no argument.
    unsafe { raw::snapshot_atomic_restore(snapshot.as_raw_fd()) }.map(drop)
}

/// SNAPSHOT_FREE: give the image's memory back.
///
/// # Errors
/// None known.
pub fn snapshot_free(snapshot: &File) -> Result<()> {
    // SAFETY: takes no argument.
    unsafe { raw::snapshot_free(snapshot.as_raw_fd()) }.map(drop)
}

/// SNAPSHOT_S2RAM: suspend to RAM with the image kept.
///
/// # Errors
/// Those of suspending.
pub fn snapshot_suspend_to_ram(snapshot: &File) -> Result<()> {
    // SAFETY: takes no argument.
    unsafe { raw::snapshot_suspend_to_ram(snapshot.as_raw_fd()) }.map(drop)
}

/// SNAPSHOT_POWER_OFF: ACPI S4 after [`snapshot_platform_support`], else power off. Returns only on failure.
///
/// # Errors
/// Those of the platform.
pub fn snapshot_power_off(snapshot: &File) -> Result<()> {
    // SAFETY: takes no argument.
    unsafe { raw::snapshot_power_off(snapshot.as_raw_fd()) }.map(drop)
}
