//! General registers by size.

/// Number of RAX and the rest, as instructions encode them.
pub mod gpr {
    #![allow(missing_docs)]
    pub const RAX: u8 = 0;
    pub const RCX: u8 = 1;
    pub const RDX: u8 = 2;
    pub const RBX: u8 = 3;
    pub const RSP: u8 = 4;
    pub const RBP: u8 = 5;
    pub const RSI: u8 = 6;
    pub const RDI: u8 = 7;
    pub const R11: u8 = 11;
}

/// Added to the number of AX..BX for AH, CH, DH, BH.
pub const HIGH_BYTE: u8 = 0x40;
/// A register that is always zero: base or index that an address does not have.
pub const ZERO: u8 = 16;
/// Holds the instruction pointer at the start of the running block: RIP-relative addresses and branches count from it.
pub const BLOCK_IP: u8 = 17;
/// How many slots there are. A power of two, so that an index needs no check beyond a mask.
pub const SLOTS: usize = 32;

/// The general registers while the processor runs.
pub type Slots = [u64; SLOTS];

/// An operand of 1, 2, 4 or 8 bytes.
pub trait Int: Copy + Eq + 'static {
    /// Bits.
    const BITS: u32;
    /// Bytes.
    const BYTES: u8 = (Self::BITS / 8) as u8;
    /// Most significant bit.
    const SIGN: u64 = 1 << (Self::BITS - 1);
    /// All its bits.
    const MASK: u64 = u64::MAX >> (64 - Self::BITS);

    /// The low bits.
    fn of(value: u64) -> Self;
    /// Zero extended.
    fn zext(self) -> u64;
    /// Sign extended.
    fn sext(self) -> u64;
    /// Reads a register.
    fn get(slots: &Slots, register: u8) -> Self;
    /// Writes a register: 32 bits clear the upper half, 8 and 16 bits leave the rest (SDM 1, 3.4.1.1).
    fn set(slots: &mut Slots, register: u8, value: Self);
}

macro_rules! int {
    ($type:ty, $signed:ty, $get:expr, $set:expr) => {
        impl Int for $type {
            const BITS: u32 = <$type>::BITS;

            #[inline(always)]
            fn of(value: u64) -> Self {
                value as Self
            }
            #[inline(always)]
            fn zext(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn sext(self) -> u64 {
                self as $signed as i64 as u64
            }
            #[inline(always)]
            fn get(slots: &Slots, register: u8) -> Self {
                let get: fn(&Slots, u8) -> u64 = $get;
                get(slots, register) as Self
            }
            #[inline(always)]
            fn set(slots: &mut Slots, register: u8, value: Self) {
                let set: fn(&mut Slots, u8, u64) = $set;
                set(slots, register, value as u64)
            }
        }
    };
}

#[inline(always)]
fn slot(register: u8) -> usize {
    register as usize % SLOTS
}

int!(
    u8,
    i8,
    |slots, register| slots[slot(register)] >> (if register & HIGH_BYTE != 0 { 8 } else { 0 }),
    |slots, register, value| {
        let shift = if register & HIGH_BYTE != 0 { 8 } else { 0 };
        let whole = &mut slots[slot(register)];
        *whole = *whole & !(0xff << shift) | value << shift;
    }
);
int!(u16, i16, |slots, register| slots[slot(register)], |slots, register, value| {
    let whole = &mut slots[slot(register)];
    *whole = *whole & !0xffff | value;
});
int!(u32, i32, |slots, register| slots[slot(register)], |slots, register, value| {
    slots[slot(register)] = value;
});
int!(u64, i64, |slots, register| slots[slot(register)], |slots, register, value| {
    slots[slot(register)] = value;
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_register() {
        let mut slots = [0; SLOTS];
        slots[3] = 0x1122_3344_5566_7788;
        assert_eq!((u8::get(&slots, 3), u8::get(&slots, HIGH_BYTE | 3)), (0x88, 0x77));
        u8::set(&mut slots, HIGH_BYTE | 3, 0xaa);
        u16::set(&mut slots, 3, 0xbbcc);
        u8::set(&mut slots, 3, 0xdd);
        assert_eq!(slots[3], 0x1122_3344_5566_bbdd);
        u32::set(&mut slots, 3, 0xffff_ffff);
        assert_eq!(slots[3], 0xffff_ffff);
    }
}
