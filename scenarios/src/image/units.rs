//! Compressed pages: units of up to 32 pages, each beginning in a slot of its own with its compressed length.

use super::PAGE;
use super::fields::u64_at;
use super::flaw::UnitFlaw;
use super::swap_header::Compression;

/// Bytes of a unit, unpacked: `UNC_SIZE`.
pub const UNPACKED: usize = 32 * PAGE;
/// Most bytes they can take packed: `bytes_worst_compress(UNC_SIZE)`.
const PACKED: u64 = (UNPACKED + UNPACKED / 16 + 64 + 3 + 2) as u64;
/// Bytes of the length in front: `CMP_HEADER`.
const HEADER: usize = 8;

/// Where a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Number of its first slot, in the order of the map.
    pub slot: u64,
    /// How many it takes.
    pub slots: u64,
    /// Compressed bytes.
    pub packed: u64,
    /// Its first page, in the order of the image, whose first page has number 0 and is not in a unit.
    pub page: u64,
    /// How many it has.
    pub pages: u64,
}

/// Compressed bytes of a unit that begins in this slot.
///
/// # Errors
/// [`UnitFlaw::Length`].
pub fn packed_len(first: &[u8; PAGE]) -> Result<u64, UnitFlaw> {
    let len = u64_at(first, 0).unwrap_or(0);
    if len == 0 || len > PACKED { Err(UnitFlaw::Length(len)) } else { Ok(len) }
}

/// Slots that so many compressed bytes take.
pub fn slots_of(packed: u64) -> u64 {
    packed.saturating_add(HEADER as u64).div_ceil(PAGE as u64)
}

/// Unpacks a unit: all its slots. What comes out is whole pages.
///
/// # Errors
/// [`UnitFlaw`].
pub fn unpack(compression: Compression, slots: &[u8], packed: u64) -> Result<Vec<u8>, UnitFlaw> {
    let len = usize::try_from(packed).unwrap_or(usize::MAX);
    let packed = slots.get(HEADER..).and_then(|rest| rest.get(..len)).ok_or(UnitFlaw::Length(packed))?;
    let mut unpacked = vec![0; UNPACKED];
    let len = match compression {
        Compression::Lzo => {
            lzokay::decompress::decompress(packed, &mut unpacked).map_err(|error| format!("LZO: {error}"))
        }
        Compression::Lz4 => {
            lz4_flex::block::decompress_into(packed, &mut unpacked).map_err(|error| format!("LZ4: {error}"))
        }
        Compression::None => Err("it is not compressed".into()),
    };
    let len = len.map_err(UnitFlaw::Unpack)?;
    if len == 0 || !len.is_multiple_of(PAGE) {
        return Err(UnitFlaw::Unpacked(len));
    }
    unpacked.truncate(len);
    Ok(unpacked)
}

/// The CRC of an image: CRC-32 with neither of its inversions, as the kernel's `crc32_le(0, ..)`.
#[derive(Debug, Clone)]
pub struct Crc(crc32fast::Hasher);

impl Default for Crc {
    fn default() -> Self {
        Self(crc32fast::Hasher::new_with_initial(u32::MAX))
    }
}

impl Crc {
    /// More pages.
    pub fn update(&mut self, pages: &[u8]) {
        self.0.update(pages);
    }

    /// Of all pages so far.
    pub fn value(&self) -> u32 {
        !self.0.clone().finalize()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A unit as it lies in its slots.
    pub fn pack(compression: Compression, pages: &[u8]) -> Vec<u8> {
        let packed = match compression {
            Compression::Lzo => lzokay::compress::compress(pages).unwrap(),
            Compression::Lz4 => lz4_flex::block::compress(pages),
            Compression::None => unreachable!(),
        };
        let mut slots = (packed.len() as u64).to_le_bytes().to_vec();
        slots.extend_from_slice(&packed);
        slots.resize(slots.len().next_multiple_of(PAGE), 0);
        slots
    }

    #[test]
    fn both_compressions_are_undone() {
        let pages: Vec<u8> = (0..5 * PAGE).map(|at| (at / 100) as u8).collect();
        for compression in [Compression::Lzo, Compression::Lz4] {
            let slots = pack(compression, &pages);
            let len = packed_len(slots.first_chunk().unwrap()).unwrap();
            assert_eq!(slots_of(len) * PAGE as u64, slots.len() as u64);
            assert_eq!(unpack(compression, &slots, len).unwrap(), pages);
            assert!(matches!(unpack(compression, &slots, len - 1), Err(UnitFlaw::Unpack(_))));
        }
        let odd = pack(Compression::Lz4, &pages[1..]);
        let len = packed_len(odd.first_chunk().unwrap()).unwrap();
        assert_eq!(unpack(Compression::Lz4, &odd, len), Err(UnitFlaw::Unpacked(5 * PAGE - 1)));
    }

    /// crc32_le(0, "123456789", 9) of the kernel.
    #[test]
    fn the_sum_has_no_inversions() {
        let mut crc = Crc::default();
        assert_eq!(crc.value(), 0);
        crc.update(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.value(), 0x2dfd_2d88);
    }

    proptest! {
        #[test]
        fn anything_unpacks_or_is_refused(lz4: bool, len in 0u64..10_000, bytes in prop::collection::vec(any::<u8>(), 0..8192)) {
            let compression = if lz4 { Compression::Lz4 } else { Compression::Lzo };
            if let Ok(pages) = unpack(compression, &bytes, len) {
                prop_assert!(pages.len() <= UNPACKED && pages.len().is_multiple_of(PAGE));
            }
        }
    }
}
