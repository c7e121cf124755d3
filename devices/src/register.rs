//! Registers: accesses of any size and alignment, write-1-to-clear, and levels.

use bitflags::Flags;
use serde::{Deserialize, Serialize};

/// What a write does to one register: the bytes it does not reach are not in the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lanes {
    /// Bits written, in the register's position; 0 where the mask is 0.
    pub value: u64,
    /// Ones in the bytes written.
    pub mask: u64,
}

impl Lanes {
    /// The content of an ordinary register after the write.
    #[must_use]
    pub fn over(self, old: u64) -> u64 {
        old & !self.mask | self.value
    }
}

/// Ones in the lowest `bytes` bytes.
fn ones(bytes: u64) -> u64 {
    1u64.checked_shl(bytes.saturating_mul(8) as u32).map_or(u64::MAX, |bit| bit - 1)
}

/// Reads `size` bytes at `offset` in a bank of registers of `width` bytes each (1, 2, 4 or 8).
///
/// `register` is called once for each register touched, in ascending order, with the offset of its first byte.
pub fn read(width: u64, offset: u64, size: u8, mut register: impl FnMut(u64) -> u64) -> u64 {
    let mut result = 0;
    for_each(width, offset, size, |first, in_register, in_access, bytes| {
        let part = register(first).unbounded_shr((in_register * 8) as u32) & ones(bytes);
        result |= part.unbounded_shl((in_access * 8) as u32);
    });
    result
}

/// Writes `size` bytes at `offset` in a bank of registers of `width` bytes each (1, 2, 4 or 8).
///
/// `register` is called once for each register touched, in ascending order, with the offset of its first byte.
pub fn write(width: u64, offset: u64, size: u8, value: u64, mut register: impl FnMut(u64, Lanes)) {
    for_each(width, offset, size, |first, in_register, in_access, bytes| {
        let part = value.unbounded_shr((in_access * 8) as u32) & ones(bytes);
        let shift = (in_register * 8) as u32;
        register(first, Lanes { value: part.unbounded_shl(shift), mask: ones(bytes).unbounded_shl(shift) });
    });
}

/// Reads `size` bytes at `offset` of registers that are laid out as bytes; those that are not there are 0.
pub fn of_block(block: &[u8], offset: u64, size: u8) -> u64 {
    let byte = |at: u64| usize::try_from(at).ok().and_then(|at| block.get(at)).copied().unwrap_or(0);
    read(1, offset, size, |at| byte(at).into())
}

/// Cuts an access along registers: register, first byte in it, first byte of the access, bytes.
fn for_each(width: u64, offset: u64, size: u8, mut part: impl FnMut(u64, u64, u64, u64)) {
    let size = u64::from(size.min(8));
    let mut done = 0;
    while done < size {
        let at = offset.wrapping_add(done);
        let in_register = at % width;
        let bytes = (width - in_register).min(size - done);
        part(at - in_register, in_register, done, bytes);
        done += bytes;
    }
}

/// A status register: hardware sets bits, software clears those it writes as 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct W1c<F>(F);

impl<F: Flags + Copy> Default for W1c<F> {
    fn default() -> Self {
        Self(F::empty())
    }
}

impl<F: Flags<Bits: TryFrom<u64> + Into<u64>> + Copy> W1c<F> {
    /// Hardware sets bits.
    pub fn raise(&mut self, flags: F) {
        self.0 = self.0.union(flags);
    }

    /// Software writes.
    pub fn write(&mut self, lanes: Lanes) {
        // Bits that the type does not have are not in the register: cut off first, the rest fits.
        let ones = lanes.value & F::all().bits().into();
        let ones = F::Bits::try_from(ones).map_or(F::empty(), F::from_bits_truncate);
        self.0 = self.0.difference(ones);
    }

    /// Hardware clears bits.
    pub fn lower(&mut self, flags: F) {
        self.0 = self.0.difference(flags);
    }

    /// What it reads as.
    pub fn get(self) -> F {
        self.0
    }

    /// The level of an interrupt line: some status whose enable is set.
    pub fn level(self, enable: F) -> bool {
        !self.0.intersection(enable).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use bitflags::bitflags;
    use proptest::prelude::*;

    use super::*;

    bitflags! {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        struct Status: u16 {
            const A = 1;
            const B = 1 << 4;
            const C = 1 << 15;
        }
    }

    fn width() -> impl Strategy<Value = u64> {
        prop_oneof![Just(1u64), Just(2), Just(4), Just(8)]
    }

    proptest! {
        /// A bank of any width is the same memory: byte by byte what an array of bytes would give.
        #[test]
        fn a_read_sees_bytes(width in width(), offset in 0u64..24, size in prop_oneof![Just(1u8), Just(2), Just(4), Just(8)],
                             memory: [u8; 32]) {
            let register = |first: u64| {
                memory[first as usize..(first + width) as usize].iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
            };
            let expected = memory[offset as usize..][..usize::from(size)].iter().rev()
                .fold(0, |all, byte| all << 8 | u64::from(*byte));
            prop_assert_eq!(read(width, offset, size, register), expected);
        }

        #[test]
        fn a_write_replaces_bytes(width in width(), offset in 0u64..24, size in prop_oneof![Just(1u8), Just(2), Just(4), Just(8)],
                                  memory: [u8; 32], value: u64) {
            let mut expected = memory;
            expected[offset as usize..][..usize::from(size)].copy_from_slice(&value.to_le_bytes()[..usize::from(size)]);
            let mut ours = memory;
            write(width, offset, size, value, |first, lanes| {
                let cell = &mut ours[first as usize..(first + width) as usize];
                let old = cell.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
                cell.copy_from_slice(&lanes.over(old).to_le_bytes()[..width as usize]);
            });
            prop_assert_eq!(ours, expected);
        }

        #[test]
        fn software_clears_exactly_what_it_writes_as_one(status: u16, value: u64, mask: u64, enable: u16) {
            let mut register = W1c::default();
            register.raise(Status::from_bits_truncate(status));
            let before = register.get().bits();
            register.write(Lanes { value: value & mask, mask });
            prop_assert_eq!(register.get().bits(), before & !((value & mask) as u16));
            prop_assert_eq!(register.level(Status::from_bits_truncate(enable)), register.get().bits() & enable != 0);
        }

        #[test]
        fn no_access_panics(width in width(), offset: u64, size: u8, value: u64) {
            let mut reached = 0u32;
            write(width, offset, size, value, |_, lanes| reached += lanes.mask.count_ones());
            prop_assert_eq!(reached, 8 * u32::from(size.min(8)));
            read(width, offset, size, |_| u64::MAX);
        }
    }
}
