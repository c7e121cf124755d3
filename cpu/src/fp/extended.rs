//! Numbers of 80 bits, as x87 registers hold them (SDM 1, 4.2.2 and 8.2).

/// A double extended-precision number. Unlike the shorter formats it shows the integer bit of its significand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extended {
    /// Integer bit and fraction.
    pub significand: u64,
    /// Sign in bit 15, biased exponent below.
    pub sign_exponent: u16,
}

/// What kind of number that is: what FXAM tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A pattern that no operation makes and every operation refuses: the integer bit is clear though the exponent is not zero.
    Unsupported,
    /// Not a number.
    Nan,
    /// Normal, not zero.
    Normal,
    /// Infinite.
    Infinity,
    /// Zero.
    Zero,
    /// Below the smallest normal one.
    Denormal,
}

/// Largest biased exponent: infinities and NaNs.
const SPECIAL: u16 = 0x7fff;
/// Integer bit.
pub(crate) const INTEGER_BIT: u64 = 1 << 63;
/// Bias of the exponent.
pub(crate) const BIAS: i32 = 0x3fff;

impl Extended {
    /// Positive zero.
    pub const ZERO: Self = Self { significand: 0, sign_exponent: 0 };
    /// One.
    pub const ONE: Self = Self { significand: INTEGER_BIT, sign_exponent: BIAS as u16 };
    /// The NaN that stands for the result of an invalid operation.
    pub const INDEFINITE: Self = Self { significand: INTEGER_BIT | 1 << 62, sign_exponent: 0xffff };

    /// Infinity of this sign.
    pub fn infinity(negative: bool) -> Self {
        Self { significand: INTEGER_BIT, sign_exponent: SPECIAL }.with_sign(negative)
    }

    /// Zero of this sign.
    pub fn zero(negative: bool) -> Self {
        Self::ZERO.with_sign(negative)
    }

    /// As it lies in memory and in the register file.
    pub fn from_bytes(bytes: [u8; 10]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j] = bytes;
        Self {
            significand: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            sign_exponent: u16::from_le_bytes([i, j]),
        }
    }

    /// The inverse.
    pub fn to_bytes(self) -> [u8; 10] {
        let mut bytes = [0; 10];
        let (significand, sign_exponent) = bytes.split_at_mut(8);
        significand.copy_from_slice(&self.significand.to_le_bytes());
        sign_exponent.copy_from_slice(&self.sign_exponent.to_le_bytes());
        bytes
    }

    /// Any integer of 64 bits has an exact counterpart.
    pub fn from_integer(integer: i64) -> Self {
        let magnitude = integer.unsigned_abs();
        if magnitude == 0 {
            return Self::ZERO;
        }
        let zeros = magnitude.leading_zeros();
        let exponent = (BIAS + 63) as u16 - zeros as u16;
        Self { significand: magnitude << zeros, sign_exponent: exponent }.with_sign(integer < 0)
    }

    /// Sign bit.
    pub fn is_negative(self) -> bool {
        self.sign_exponent & 0x8000 != 0
    }

    /// Biased exponent.
    pub fn exponent(self) -> u16 {
        self.sign_exponent & SPECIAL
    }

    /// The same magnitude with this sign.
    #[must_use]
    pub fn with_sign(self, negative: bool) -> Self {
        Self { sign_exponent: self.exponent() | u16::from(negative) << 15, ..self }
    }

    /// What kind of number this is.
    pub fn class(self) -> Class {
        match (self.exponent(), self.significand) {
            (0, 0) => Class::Zero,
            (0, _) => Class::Denormal,
            (_, significand) if significand & INTEGER_BIT == 0 => Class::Unsupported,
            (SPECIAL, INTEGER_BIT) => Class::Infinity,
            (SPECIAL, _) => Class::Nan,
            _ => Class::Normal,
        }
    }

    /// Two bits as the tag word has them: 0 valid, 1 zero, 2 special (SDM 1, 8.1.7).
    pub fn tag(self) -> u16 {
        match self.class() {
            Class::Normal => 0,
            Class::Zero => 1,
            _ => 2,
        }
    }
}
