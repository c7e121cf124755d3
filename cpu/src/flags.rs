//! RFLAGS, with the status flags computed when somebody looks.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use crate::registers::Int;

bitflags! {
    /// RFLAGS (SDM 1, 3.4.3). Bit 1 is always set and not listed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub struct RFlags: u64 {
        /// Carry.
        const CF = 1 << 0;
        /// Parity of the low byte.
        const PF = 1 << 2;
        /// Carry out of bit 3.
        const AF = 1 << 4;
        /// Zero.
        const ZF = 1 << 6;
        /// Sign.
        const SF = 1 << 7;
        /// Trap: single step.
        const TF = 1 << 8;
        /// Interrupt enable.
        const IF = 1 << 9;
        /// Direction.
        const DF = 1 << 10;
        /// Overflow.
        const OF = 1 << 11;
        /// I/O privilege level, both bits.
        const IOPL = 3 << 12;
        /// Nested task.
        const NT = 1 << 14;
        /// Resume: no instruction breakpoint for one instruction.
        const RF = 1 << 16;
        /// Virtual-8086 mode.
        const VM = 1 << 17;
        /// Alignment check; with SMAP, access to user pages.
        const AC = 1 << 18;
        /// Virtual interrupt.
        const VIF = 1 << 19;
        /// Virtual interrupt pending.
        const VIP = 1 << 20;
        /// CPUID can be used.
        const ID = 1 << 21;
    }
}

impl RFlags {
    /// The six that arithmetic sets.
    pub const STATUS: Self =
        Self::CF.union(Self::PF).union(Self::AF).union(Self::ZF).union(Self::SF).union(Self::OF);
    /// Reads as one.
    pub const FIXED: u64 = 2;
}

/// From what the status flags follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// All are in `known`.
    Known,
    /// ZF, SF and PF follow from the result; CF, OF and AF are in `known`.
    Result,
    /// `result = a + b`.
    Add,
    /// `result = a + b + 1`.
    AddCarry,
    /// `result = a - b`.
    Sub,
    /// `result = a - b - 1`.
    SubBorrow,
    /// `result = a + 1`; CF is in `known`.
    Inc,
    /// `result = a - 1`; CF is in `known`.
    Dec,
}

/// The flags while the processor runs: the last arithmetic operation instead of what followed from it.
#[derive(Debug, Clone)]
pub struct LazyFlags {
    known: RFlags,
    kind: Kind,
    /// Most significant bit of the operands.
    sign: u64,
    /// Zero extended, as are both operands.
    result: u64,
    a: u64,
    b: u64,
}

impl LazyFlags {
    /// From the register as software sees it.
    pub fn new(rflags: u64) -> Self {
        Self { known: RFlags::from_bits_truncate(rflags), kind: Kind::Known, sign: 1, result: 0, a: 0, b: 0 }
    }

    /// The register as software sees it.
    pub fn rflags(&self) -> u64 {
        self.get().bits() | RFlags::FIXED
    }

    /// All flags.
    pub fn get(&self) -> RFlags {
        let mut flags = self.known;
        if self.kind != Kind::Known {
            flags.set(RFlags::CF, self.cf());
            flags.set(RFlags::PF, self.pf());
            flags.set(RFlags::AF, self.af());
            flags.set(RFlags::ZF, self.zf());
            flags.set(RFlags::SF, self.sf());
            flags.set(RFlags::OF, self.of());
        }
        flags
    }

    /// Flags other than the status flags, without computing those.
    #[inline]
    pub fn system(&self) -> RFlags {
        self.known.difference(RFlags::STATUS)
    }

    /// Replaces those flags in `mask`.
    pub fn replace(&mut self, mask: RFlags, value: RFlags) {
        if mask.intersects(RFlags::STATUS) {
            self.known = self.get();
            self.kind = Kind::Known;
        }
        self.known = self.known.difference(mask).union(value.intersection(mask));
    }

    #[inline(always)]
    fn record<T: Int>(&mut self, kind: Kind, a: T, b: T, result: T) {
        self.kind = kind;
        self.sign = T::SIGN;
        self.result = result.zext();
        self.a = a.zext();
        self.b = b.zext();
    }

    /// `result = a + b`.
    #[inline(always)]
    pub fn add<T: Int>(&mut self, a: T, b: T, result: T) {
        self.record(Kind::Add, a, b, result);
    }

    /// `result = a + b + carry`.
    #[inline(always)]
    pub fn adc<T: Int>(&mut self, a: T, b: T, carry: bool, result: T) {
        self.record(if carry { Kind::AddCarry } else { Kind::Add }, a, b, result);
    }

    /// `result = a - b`.
    #[inline(always)]
    pub fn sub<T: Int>(&mut self, a: T, b: T, result: T) {
        self.record(Kind::Sub, a, b, result);
    }

    /// `result = a - b - borrow`.
    #[inline(always)]
    pub fn sbb<T: Int>(&mut self, a: T, b: T, borrow: bool, result: T) {
        self.record(if borrow { Kind::SubBorrow } else { Kind::Sub }, a, b, result);
    }

    /// `result = a + 1`; CF stays.
    #[inline(always)]
    pub fn inc<T: Int>(&mut self, a: T, result: T) {
        let carry = self.cf();
        self.known.set(RFlags::CF, carry);
        self.record(Kind::Inc, a, T::of(1), result);
    }

    /// `result = a - 1`; CF stays.
    #[inline(always)]
    pub fn dec<T: Int>(&mut self, a: T, result: T) {
        let carry = self.cf();
        self.known.set(RFlags::CF, carry);
        self.record(Kind::Dec, a, T::of(1), result);
    }

    /// And, or, xor, test: CF, OF and AF are clear (AF is undefined and clear on hardware).
    #[inline(always)]
    pub fn logic<T: Int>(&mut self, result: T) {
        self.known.remove(RFlags::CF.union(RFlags::OF).union(RFlags::AF));
        self.record(Kind::Result, result, result, result);
    }

    /// ZF, SF and PF by the result, the others as given.
    #[inline]
    pub fn result<T: Int>(&mut self, result: T, carry: bool, overflow: bool, adjust: bool) {
        self.known.set(RFlags::CF, carry);
        self.known.set(RFlags::OF, overflow);
        self.known.set(RFlags::AF, adjust);
        self.record(Kind::Result, result, result, result);
    }

    /// CF as given; the others stay.
    #[inline(always)]
    pub fn set_carry(&mut self, carry: bool) {
        self.carry_and_overflow(carry, self.of());
    }

    /// CF and OF as given; the others stay.
    #[inline(always)]
    pub fn carry_and_overflow(&mut self, carry: bool, overflow: bool) {
        if !matches!(self.kind, Kind::Known | Kind::Result) {
            let adjust = self.af();
            self.known.set(RFlags::AF, adjust);
            self.kind = Kind::Result;
        }
        self.known.set(RFlags::CF, carry);
        self.known.set(RFlags::OF, overflow);
    }

    /// Carry.
    #[inline(always)]
    pub fn cf(&self) -> bool {
        match self.kind {
            Kind::Sub => self.a < self.b,
            Kind::Add => self.result < self.a,
            Kind::AddCarry => self.result <= self.a,
            Kind::SubBorrow => self.a <= self.b,
            Kind::Known | Kind::Result | Kind::Inc | Kind::Dec => self.known.contains(RFlags::CF),
        }
    }

    /// Zero.
    #[inline(always)]
    pub fn zf(&self) -> bool {
        match self.kind {
            Kind::Known => self.known.contains(RFlags::ZF),
            _ => self.result == 0,
        }
    }

    /// Sign.
    #[inline(always)]
    pub fn sf(&self) -> bool {
        match self.kind {
            Kind::Known => self.known.contains(RFlags::SF),
            _ => self.result & self.sign != 0,
        }
    }

    /// Overflow.
    #[inline(always)]
    pub fn of(&self) -> bool {
        match self.kind {
            Kind::Known | Kind::Result => self.known.contains(RFlags::OF),
            Kind::Add | Kind::AddCarry | Kind::Inc => {
                (self.a ^ self.result) & (self.b ^ self.result) & self.sign != 0
            }
            Kind::Sub | Kind::SubBorrow | Kind::Dec => {
                (self.a ^ self.b) & (self.a ^ self.result) & self.sign != 0
            }
        }
    }

    /// Even parity of the low byte.
    pub fn pf(&self) -> bool {
        match self.kind {
            Kind::Known => self.known.contains(RFlags::PF),
            _ => (self.result as u8).count_ones().is_multiple_of(2),
        }
    }

    /// Carry out of bit 3.
    pub fn af(&self) -> bool {
        match self.kind {
            Kind::Known | Kind::Result => self.known.contains(RFlags::AF),
            _ => (self.a ^ self.b ^ self.result) & 0x10 != 0,
        }
    }

    /// The condition of this code: 0 is O, 1 NO, 2 B, ... 15 G (SDM 1, appendix B).
    #[inline(always)]
    pub fn condition(&self, code: u8) -> bool {
        let holds = match code >> 1 {
            0 => self.of(),
            1 => self.cf(),
            2 => self.zf(),
            3 => self.cf() || self.zf(),
            4 => self.sf(),
            5 => self.pf(),
            6 => self.sf() != self.of(),
            _ => self.zf() || self.sf() != self.of(),
        };
        holds != (code & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The flags of an addition or subtraction by their definition, bit by bit.
    fn slow(a: u8, b: u8, carry: bool, subtract: bool) -> (u8, RFlags) {
        let (signed, unsigned, low) = if subtract {
            (
                i16::from(a as i8) - i16::from(b as i8) - i16::from(carry),
                i16::from(a) - i16::from(b) - i16::from(carry),
                i16::from(a & 15) - i16::from(b & 15) - i16::from(carry),
            )
        } else {
            (
                i16::from(a as i8) + i16::from(b as i8) + i16::from(carry),
                i16::from(a) + i16::from(b) + i16::from(carry),
                i16::from(a & 15) + i16::from(b & 15) + i16::from(carry),
            )
        };
        let result = unsigned as u8;
        let mut flags = RFlags::empty();
        flags.set(RFlags::CF, !(0..=255).contains(&unsigned));
        flags.set(RFlags::OF, !(-128..=127).contains(&signed));
        flags.set(RFlags::AF, !(0..=15).contains(&low));
        flags.set(RFlags::ZF, result == 0);
        flags.set(RFlags::SF, result & 0x80 != 0);
        flags.set(RFlags::PF, result.count_ones().is_multiple_of(2));
        (result, flags)
    }

    #[test]
    fn every_sum_and_difference_of_bytes() {
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                for carry in [false, true] {
                    let mut flags = LazyFlags::new(0);
                    let (result, expected) = slow(a, b, carry, false);
                    flags.adc(a, b, carry, result);
                    assert_eq!(flags.get(), expected, "{a} + {b} + {carry}");
                    let (result, expected) = slow(a, b, carry, true);
                    flags.sbb(a, b, carry, result);
                    assert_eq!(flags.get(), expected, "{a} - {b} - {carry}");
                }
            }
        }
    }

    #[test]
    fn carry_and_overflow_change_alone() {
        for (a, b) in [(0x7fu8, 1), (0xff, 1), (0x18, 0xf8), (0, 0)] {
            for (carry, overflow) in [(false, false), (false, true), (true, false), (true, true)] {
                let mut flags = LazyFlags::new(0);
                flags.add(a, b, a.wrapping_add(b));
                let mut expected = flags.get();
                expected.set(RFlags::CF, carry);
                flags.set_carry(carry);
                assert_eq!(flags.get(), expected, "{a} + {b}");
                expected.set(RFlags::OF, overflow);
                flags.carry_and_overflow(carry, overflow);
                assert_eq!(flags.get(), expected, "{a} + {b}");
            }
        }
    }

    #[test]
    fn increment_keeps_the_carry() {
        for carry in [false, true] {
            let mut flags = LazyFlags::new(u64::from(carry));
            flags.inc(0x7fu8, 0x80);
            assert_eq!((flags.cf(), flags.of()), (carry, true));
            flags.dec(0x80u8, 0x7f);
            assert_eq!((flags.cf(), flags.of(), flags.af()), (carry, true, true));
        }
    }

    proptest! {
        #[test]
        fn conditions_agree_with_the_register(a: u32, b: u32) {
            let mut flags = LazyFlags::new(0);
            flags.sub(a, b, a.wrapping_sub(b));
            let (sa, sb) = (a as i32, b as i32);
            prop_assert_eq!(flags.condition(2), a < b);
            prop_assert_eq!(flags.condition(4), a == b);
            prop_assert_eq!(flags.condition(7), a > b);
            prop_assert_eq!(flags.condition(12), sa < sb);
            prop_assert_eq!(flags.condition(15), sa > sb);
            let known = LazyFlags::new(flags.rflags());
            for code in 0..16 {
                prop_assert_eq!(flags.condition(code), known.condition(code));
            }
        }

        #[test]
        fn what_is_replaced_is_read(before: u64, mask: u64, value: u64) {
            let (mask, value) = (RFlags::from_bits_truncate(mask), RFlags::from_bits_truncate(value));
            let mut flags = LazyFlags::new(before);
            flags.logic(0u16);
            let old = flags.get();
            flags.replace(mask, value);
            prop_assert_eq!(flags.get(), old.difference(mask).union(value.intersection(mask)));
        }
    }
}
