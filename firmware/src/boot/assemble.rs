//! Puts together what memory holds when the guest begins.

use super::{Boot, BootError};
use crate::blob::Blob;
use crate::registers::Registers;
use crate::tables::Tables;

/// Adds a protocol's own blobs to the tables, and checks that all of it can be in memory at once.
pub fn assemble<'a>(
    tables: &'a Tables,
    own: Vec<Blob<'a>>,
    registers: Registers,
) -> Result<Boot<'a>, BootError> {
    let borrowed = tables.blobs.iter().map(|blob| Blob {
        what: blob.what,
        address: blob.address,
        bytes: blob.bytes.as_ref().into(),
        zeroes: blob.zeroes,
    });
    let mut blobs: Vec<Blob<'a>> = borrowed.chain(own).collect();
    blobs.sort_by_key(|blob| blob.address);
    for blob in &blobs {
        let range = blob.range();
        if range.is_empty() || !tables.map.is_ram(&range) {
            return Err(BootError::OutsideRam { what: blob.what, range });
        }
    }
    for pair in blobs.windows(2) {
        if let [first, second] = pair
            && first.range().end > second.address
        {
            return Err(BootError::Overlap { what: (first.what, second.what), address: second.address });
        }
    }
    Ok(Boot { blobs, registers, mtrrs: tables.mtrrs })
}
