//! A set of interrupt vectors: IRR, ISR, TMR.

use serde::{Deserialize, Serialize};

/// Any of the vectors 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VectorSet([u64; 4]);

impl VectorSet {
    /// Adds one.
    pub fn insert(&mut self, vector: u8) {
        self.0[usize::from(vector >> 6)] |= 1 << (vector & 63);
    }

    /// Removes one.
    pub fn remove(&mut self, vector: u8) {
        self.0[usize::from(vector >> 6)] &= !(1 << (vector & 63));
    }

    /// Adds or removes one.
    pub fn set(&mut self, vector: u8, present: bool) {
        if present { self.insert(vector) } else { self.remove(vector) }
    }

    /// Whether this one is in it.
    pub fn contains(&self, vector: u8) -> bool {
        self.0[usize::from(vector >> 6)] & 1 << (vector & 63) != 0
    }

    /// The most important one.
    pub fn highest(&self) -> Option<u8> {
        let word = (0..4u8).rev().find(|word| self.0[usize::from(*word)] != 0)?;
        Some(word << 6 | (63 - self.0[usize::from(word)].leading_zeros() as u8))
    }

    /// 32 of them, as a register of the APIC shows them: vectors 32 * `part` and up.
    pub fn part(&self, part: u8) -> u32 {
        (self.0[usize::from(part >> 1 & 3)] >> (32 * u32::from(part & 1))) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_as_a_set(vectors: Vec<u8>, gone: u8) {
            let mut set = VectorSet::default();
            vectors.iter().for_each(|vector| set.insert(*vector));
            set.remove(gone);
            let left = || vectors.iter().copied().filter(|vector| *vector != gone);
            prop_assert_eq!(set.highest(), left().max());
            for vector in 0..=255u8 {
                let there = left().any(|other| other == vector);
                prop_assert_eq!(set.contains(vector), there);
                prop_assert_eq!(set.part(vector / 32) >> (vector % 32) & 1 == 1, there);
            }
        }
    }
}
