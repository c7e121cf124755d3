//! Random numbers that repeat, and the values with which instructions go wrong.

/// SplitMix64: every seed is a good one.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below this one, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// True once in this many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// An integer of any size, likely at some edge.
    pub fn integer(&mut self) -> u64 {
        let bit = 1u64 << self.below(64);
        match self.below(10) {
            0 => self.below(17),
            1 => self.below(17).wrapping_neg(),
            2 => bit,
            3 => bit - 1,
            4 => !bit,
            5 => bit.wrapping_neg(),
            6 => self.bits() >> self.below(64),
            7 => self.pick(&[
                0x7f,
                0x80,
                0xff,
                0x7fff,
                0x8000,
                0xffff,
                0x7fff_ffff,
                0x8000_0000,
                0xffff_ffff,
                0x7fff_ffff_ffff_ffff,
                0x8080_8080_8080_8080,
                0x7f80_7fff_8000_00ff,
                0x0099_9a09_f990_0f0f,
            ]),
            _ => self.bits(),
        }
    }

    /// A single-precision number, likely a special one.
    pub fn single(&mut self) -> u32 {
        let sign = (self.bits() as u32) & 1 << 31;
        let fraction = self.fraction(23) as u32;
        sign | match self.below(12) {
            0 => 0,
            1 => 0x7f80_0000,
            2 => 0x7fc0_0000 | fraction >> 1,
            3 => 0x7f80_0001 | fraction >> 1,
            4 => fraction,
            5 => 0x7f00_0000 | fraction,
            6 => 0x0080_0000 | fraction >> 12,
            // Near the ends of the integers.
            7 => (self.pick(&[126, 127, 127 + 15, 127 + 31, 127 + 32, 127 + 63]) << 23) | fraction,
            8 => (self.below(64) as f32 / 2.0).to_bits(),
            9 => (self.bits() as i32 as f32).to_bits() & !(1 << 31),
            // Sums and products of these neither vanish nor overflow.
            10 => (100 + self.below(60) as u32) << 23 | fraction,
            _ => self.bits() as u32 & !(1 << 31),
        }
    }

    /// A double-precision number, likely a special one.
    pub fn double(&mut self) -> u64 {
        let sign = self.bits() & 1 << 63;
        let fraction = self.fraction(52);
        sign | match self.below(12) {
            0 => 0,
            1 => 0x7ff << 52,
            2 => 0xfff << 51 | fraction >> 1,
            3 => 0x7ff << 52 | 1 | fraction >> 1,
            4 => fraction,
            5 => 0x7fe << 52 | fraction,
            6 => 1 << 52 | fraction >> 30,
            7 => {
                let exponents = [1022, 1023, 1023 + 15, 1023 + 31, 1023 + 63, 1023 + 127, 1023 - 127];
                self.pick(&exponents) << 52 | fraction
            }
            8 => (self.below(64) as f64 / 2.0).to_bits(),
            9 => (self.bits() as i64 as f64).to_bits() & !(1 << 63),
            10 => (960 + self.below(128)) << 52 | fraction,
            _ => self.bits() & !(1 << 63),
        }
    }

    /// A double-extended number as x87 registers hold it: also the encodings that no operation makes.
    pub fn extended(&mut self) -> [u8; 10] {
        let fraction = self.fraction(63);
        let integer = 1 << 63;
        let (exponent, significand) = match self.below(14) {
            0 => (0, 0),
            1 => (0x7fff, integer),
            2 => (0x7fff, integer | 1 << 62 | fraction >> 2),
            3 => (0x7fff, integer | 1 | fraction >> 1),
            4 => (0, fraction),
            // Pseudo-denormal, unnormal, pseudo-infinity or pseudo-NaN.
            5 => (0, integer | fraction),
            6 => (self.bits() as u16 & 0x7fff, fraction),
            7 => (0x7ffe, integer | fraction),
            8 => (1, integer | fraction),
            9 => (16383 + self.below(70) as u16, integer | fraction),
            10 => (16383 - 70 + self.below(70) as u16, integer | fraction),
            11 => {
                let value = self.below(1 << 16) + 1;
                let zeros = value.leading_zeros();
                (16383 + 63 - zeros as u16, value << zeros)
            }
            12 => (16383 - 1100 + self.below(2200) as u16, integer | fraction),
            _ => (self.bits() as u16 & 0x7fff, integer | self.bits()),
        };
        let sign = (self.bits() as u16) & 0x8000;
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&significand.to_le_bytes());
        bytes[8..].copy_from_slice(&(sign | exponent).to_le_bytes());
        bytes
    }

    /// So many low bits, often few ones or zeros among them.
    fn fraction(&mut self, bits: u32) -> u64 {
        let all = (1u64 << bits) - 1;
        all & match self.below(6) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << self.below(u64::from(bits)),
            3 => (1 << self.below(u64::from(bits))) - 1,
            _ => self.bits(),
        }
    }

    /// Sixteen bytes of lanes of some kind.
    pub fn vector(&mut self) -> u128 {
        let mut bytes = [0; 16];
        let kind = self.below(8);
        for half in bytes.chunks_exact_mut(8) {
            let lanes = match kind {
                0 | 1 => u64::from(self.single()) | u64::from(self.single()) << 32,
                2 | 3 => self.double(),
                4 => (0..8).fold(0, |all, _| all << 8 | self.integer() & 0xff),
                5 => (0..4).fold(0, |all, _| all << 16 | self.integer() & 0xffff),
                6 => (0..2).fold(0, |all, _| all << 32 | self.integer() & 0xffff_ffff),
                _ => self.integer(),
            };
            half.copy_from_slice(&lanes.to_le_bytes());
        }
        u128::from_le_bytes(bytes)
    }
}
