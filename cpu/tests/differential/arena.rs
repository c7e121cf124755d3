//! The part of the linear address space that both processors have in common, and what lies there.
//!
//! ```text
//! RESERVED   nothing, 1 MiB
//! CODE       2 pages, readable, writable, executable; INT3 but for the instruction under test
//!            nothing, 1 page
//! DATA       2 pages, readable, writable
//! READ_ONLY  1 page
//!            nothing, 1 page
//! STACK      2 pages, readable, writable
//!            nothing, to the end of RESERVED
//! ```
//! Everything lies below 2 GiB, within reach of addresses of 32 bits.

use std::ops::Range;
use std::sync::LazyLock;

use crate::random::Random;

pub const PAGE: u64 = 4096;
/// Nothing else lies here: an access that goes astray by less than 1 MiB faults.
pub const RESERVED: Range<u64> = 0x1000_0000..0x1020_0000;
pub const CODE: Range<u64> = 0x1010_0000..0x1010_2000;
/// Instructions under test lie here and after it; before it there is only INT3.
pub const INSTRUCTIONS: u64 = CODE.start + 0x400;
pub const DATA: Range<u64> = 0x1010_3000..0x1010_5000;
pub const READ_ONLY: Range<u64> = 0x1010_5000..0x1010_6000;
pub const STACK: Range<u64> = 0x1010_7000..0x1010_9000;
/// Bases of FS and GS: what lies within 64 KiB from there may be written to.
pub const FS_BASE: u64 = DATA.start + 0x10;
pub const GS_BASE: u64 = DATA.start - 0x800;

/// Fills the code pages.
pub const INT3: u8 = 0xcc;

/// What memory besides code holds: the pages of [`DATA`], [`READ_ONLY`] and [`STACK`], one after the other.
#[derive(Clone, PartialEq, Eq)]
pub struct Memory(Box<[u8; 5 * PAGE as usize]>);

/// The parts of [`Memory`], in its order.
pub const PARTS: [Range<u64>; 3] = [DATA, READ_ONLY, STACK];

impl Memory {
    /// The same for all cases, but for what a case puts there.
    pub fn pristine() -> Self {
        static PRISTINE: LazyLock<Memory> = LazyLock::new(|| {
            let mut random = Random::new(0x6d65_6d6f_7279);
            let mut bytes = Box::new([0; 5 * PAGE as usize]);
            bytes.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&random.integer().to_le_bytes()));
            Memory(bytes)
        });
        PRISTINE.clone()
    }

    /// The bytes of a part.
    pub fn part(&self, part: &Range<u64>) -> &[u8] {
        &self.0[Self::place(part)]
    }

    pub fn part_mut(&mut self, part: &Range<u64>) -> &mut [u8] {
        &mut self.0[Self::place(part)]
    }

    fn place(part: &Range<u64>) -> Range<usize> {
        let before: u64 =
            PARTS.iter().take_while(|other| *other != part).map(|other| other.end - other.start).sum();
        let start = before as usize;
        start..start + (part.end - part.start) as usize
    }

    /// Puts bytes where memory is writable; the others are left out.
    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        for (address, byte) in (address..).zip(bytes) {
            if let Some(part) = [DATA, STACK].iter().find(|part| part.contains(&address)) {
                self.part_mut(part)[(address - part.start) as usize] = *byte;
            }
        }
    }

    /// Eight bytes, zero where nothing is.
    pub fn get(&self, address: u64) -> u64 {
        let byte = |address| {
            let part = PARTS.iter().find(|part| part.contains(&address));
            part.map_or(0, |part| self.part(part)[(address - part.start) as usize])
        };
        u64::from_le_bytes(std::array::from_fn(|i| byte(address.wrapping_add(i as u64))))
    }

    /// Addresses at which two differ.
    pub fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u64> + 'a {
        let changed = |part: Range<u64>| {
            let pairs = self.part(&part).iter().zip(other.part(&part));
            (part.start..).zip(pairs).filter(|(_, (ours, theirs))| ours != theirs).map(|(address, _)| address)
        };
        // Mostly none: parts are compared as a whole first.
        PARTS.into_iter().filter(|part| self.part(part) != other.part(part)).flat_map(changed)
    }
}

/// Whether an access to these bytes is harmless on the host: it hits the arena, or surely faults. User space never has memory at
/// addresses that are not canonical, in the kernel's half, in the page below both, or (as long as nobody asks for it) below 64 KiB.
pub fn is_harmless(address: u64, bytes: u64) -> bool {
    let last = address.wrapping_add(bytes.max(1) - 1);
    let nowhere = |address: u64| !(0x1_0000..(1 << 47) - PAGE).contains(&address);
    RESERVED.contains(&address) && RESERVED.contains(&last) || nowhere(address) && nowhere(last)
}
