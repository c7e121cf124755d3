//! Memory access of functions: buffers of a driver, in pieces.

use ram::GuestRam;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A driver named an address where no memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not in memory")]
pub(super) struct NotMemory;

/// A buffer of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    pub address: u64,
    pub length: u32,
}

/// Bytes in some segments.
pub(super) fn total(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| u64::from(segment.length)).sum()
}

/// Where byte `skip` of some segments and what follows lies: parts of at most `length` bytes together.
fn parts(segments: &[Segment], skip: u64, length: usize) -> impl Iterator<Item = (u64, usize)> + '_ {
    let (mut skip, mut left) = (skip, length as u64);
    segments.iter().filter_map(move |segment| {
        let skipped = skip.min(u64::from(segment.length));
        skip -= skipped;
        let part = (u64::from(segment.length) - skipped).min(left);
        left -= part;
        (part > 0).then(|| (segment.address.wrapping_add(skipped), part as usize))
    })
}

/// Copies from the driver's buffers; how many bytes are there was checked.
pub(super) fn gather(
    segments: &[Segment],
    skip: u64,
    length: usize,
    ram: &GuestRam,
) -> Result<Vec<u8>, NotMemory> {
    let mut data = vec![0; length];
    let mut rest = data.as_mut_slice();
    for (address, part) in parts(segments, skip, length) {
        let Some((into, after)) = rest.split_at_mut_checked(part) else { break };
        ram.read(address, into).map_err(|_| NotMemory)?;
        rest = after;
    }
    Ok(data)
}

/// Copies into the driver's buffers, as much as fits.
pub(super) fn scatter(segments: &[Segment], skip: u64, data: &[u8], ram: &GuestRam) -> Result<(), NotMemory> {
    let mut rest = data;
    for (address, part) in parts(segments, skip, data.len()) {
        let Some((from, after)) = rest.split_at_checked(part) else { break };
        ram.write(address, from).map_err(|_| NotMemory)?;
        rest = after;
    }
    Ok(())
}
