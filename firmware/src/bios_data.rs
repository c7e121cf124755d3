//! The interrupt vector table and the BIOS data area, which kernels read although no BIOS ran: RAM need not be clear when power
//! comes on, and Linux takes the end of low memory and the EBDA from here (`reserve_bios_regions`).

use crate::blob::Blob;
use crate::layout::{GDT, LOW_END};

const EBDA_SEGMENT: usize = 0x40e;
const LOW_MEMORY_KIB: usize = 0x413;

/// Both, with no vectors, no devices, no EBDA, and all low memory free.
pub fn blob() -> Blob<'static> {
    let mut bytes = vec![0; GDT as usize];
    put(&mut bytes, EBDA_SEGMENT, 0);
    put(&mut bytes, LOW_MEMORY_KIB, (LOW_END >> 10) as u16);
    Blob::new("BIOS data area", 0, bytes)
}

fn put(bytes: &mut [u8], at: usize, word: u16) {
    bytes[at..at + 2].copy_from_slice(&word.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_640_kib() {
        let blob = blob();
        assert_eq!(blob.range(), 0..0x500);
        assert_eq!(blob.bytes[0x413..0x415], 640u16.to_le_bytes());
        assert_eq!(blob.bytes.iter().filter(|byte| **byte != 0).count(), 2);
    }
}
