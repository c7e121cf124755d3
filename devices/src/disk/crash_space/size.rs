//! How many states a crash space has, exactly.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A product of small numbers: exact however large it is, so that "exhausted (2^38)" can be said and compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Prime factors and how often each occurs.
    primes: BTreeMap<u64, u64>,
    /// Not counted: the product is an upper bound.
    bound: bool,
}

/// Up to here a size is printed as one number.
const PLAIN: u128 = 9_999;

impl Size {
    /// Times a number, which is not 0.
    pub(super) fn times(&mut self, mut factor: u64) {
        let mut prime = 2;
        while factor > 1 {
            if prime * prime > factor {
                prime = factor;
            }
            while factor.is_multiple_of(prime) {
                *self.primes.entry(prime).or_default() += 1;
                factor /= prime;
            }
            prime += 1;
        }
    }

    /// Times 2^exponent, as a bound for something nobody counted.
    pub(super) fn at_most_times_two_to(&mut self, exponent: u64) {
        *self.primes.entry(2).or_default() += exponent;
        self.bound = true;
    }

    /// Whether this is the number of states, not only an upper bound of it.
    pub fn is_exact(&self) -> bool {
        !self.bound
    }

    /// As a number, if it has less than 128 bits.
    pub fn get(&self) -> Option<u128> {
        self.primes.iter().try_fold(1u128, |product, (prime, exponent)| {
            let power = u128::from(*prime).checked_pow(u32::try_from(*exponent).ok()?)?;
            product.checked_mul(power)
        })
    }

    /// Its binary logarithm.
    pub fn log2(&self) -> f64 {
        self.primes.iter().map(|(prime, exponent)| (*prime as f64).log2() * *exponent as f64).sum()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bound {
            formatter.write_str("at most ")?;
        }
        if let Some(number) = self.get().filter(|number| *number <= PLAIN) {
            return write!(formatter, "{number}");
        }
        for (place, (prime, exponent)) in self.primes.iter().enumerate() {
            let times = if place == 0 { "" } else { "*" };
            match exponent {
                1 => write!(formatter, "{times}{prime}")?,
                _ => write!(formatter, "{times}{prime}^{exponent}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(factors: &[u64]) -> Size {
        let mut size = Size::default();
        factors.iter().for_each(|factor| size.times(*factor));
        size
    }

    #[test]
    fn small_sizes_are_numbers_and_large_ones_are_powers() {
        let text = |factors: &[u64]| product(factors).to_string();
        assert_eq!(text(&[]), "1");
        assert_eq!(text(&[2, 3, 4]), "24");
        assert_eq!(text(&[2; 38]), "2^38");
        assert_eq!(text(&[[2; 38].as_slice(), &[3, 7, 6]].concat()), "2^39*3^2*7");
        assert_eq!(text(&[10_007]), "10007");
        let mut bound = product(&[2; 20]);
        bound.at_most_times_two_to(30);
        assert_eq!((bound.to_string().as_str(), bound.is_exact()), ("at most 2^50", false));
    }

    #[test]
    fn equal_products_are_equal_whatever_they_were_made_of() {
        assert_eq!(product(&[6, 6]), product(&[4, 9]));
        assert_ne!(product(&[6, 6]), product(&[4, 8]));
        assert_eq!(product(&[6, 6]).get(), Some(36));
        assert_eq!(product(&[2; 127]).get(), Some(1 << 127));
        assert_eq!(product(&[2; 128]).get(), None);
        assert_eq!(product(&[2; 40_000]).log2(), 40_000.0);
    }
}
