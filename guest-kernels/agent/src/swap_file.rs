//! Files to swap to.

use std::fs::OpenOptions;

use agent_protocol::message::Failure;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::disks;
use crate::failure::{While, failure};
use crate::ioctl;

const PAGE: u64 = 4096;

/// Makes a swap file. Returns the page of its file system's device at which it begins: swsusp writes past the file system, to the device.
///
/// # Errors
/// If the file system has no room, or does not say where the file lies.
pub fn make(path: &str, bytes: u64) -> Result<u64, Failure> {
    let making = || format!("making the swap file {path}");
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).open(path).while_doing(making)?;
    let len =
        libc::off_t::try_from(bytes).map_err(|_| failure(format!("{path}: {bytes} bytes are too many")))?;
    // swapon(2) refuses files with holes.
    fallocate(&file, FallocateFlags::empty(), 0, len).while_doing(making)?;
    disks::write_swap_header(&file, path, bytes)?;
    let block = ioctl::block_of_file(&file, 0).while_doing(|| format!("asking where {path} lies"))?;
    let start = block.saturating_mul(ioctl::block_bytes(&file).while_doing(making)?);
    if start == 0 || !start.is_multiple_of(PAGE) {
        return Err(failure(format!("{path} lies at byte {start} of its device, which is no page")));
    }
    Ok(start / PAGE)
}
