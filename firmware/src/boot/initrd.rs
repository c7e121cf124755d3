//! Where the initramfs goes: as high as the kernel takes it, so that the kernel need not move it.

use std::ops::Range;

use super::BootError;
use crate::blob::Blob;
use crate::layout::PAGE;

/// The limit that every x86-64 kernel's own setup header has (arch/x86/boot/header.S), for those that come without one.
pub const LINUX_LIMIT: u64 = 0x7fff_ffff + 1;

/// Places it.
///
/// `room`: usable RAM below 4 GiB. `kernel_end`: where the kernel needs no more. `limit`: the first address the kernel cannot take.
///
/// # Errors
/// If it does not fit, or is empty.
pub fn blob<'a>(
    initrd: &'a [u8],
    room: Range<u64>,
    kernel_end: u64,
    limit: u64,
) -> Result<Blob<'a>, BootError> {
    let len = initrd.len() as u64;
    if len == 0 {
        return Err(BootError::InitrdEmpty);
    }
    let least = kernel_end.max(room.start).checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
    let place =
        |end: u64| end.checked_sub(len).map(|start| start - start % PAGE).filter(|start| *start >= least);
    let address = place(room.end.min(limit)).ok_or_else(|| match place(room.end) {
        Some(_) => BootError::InitrdLimit { len, limit, room: limit.saturating_sub(least) },
        None => BootError::InitrdRoom { len, room: room.end.saturating_sub(least) },
    })?;
    Ok(Blob::new("the initrd", address, initrd))
}
