//! Contents that can be made again: what must stand in a page or a file follows from seed, place and generation.

/// splitmix64: a full-period generator of a few instructions a word, and no table whose damage would go unseen.
#[derive(Debug, Clone)]
pub struct Pattern(u64);

impl Pattern {
    /// The contents that belong to this seed and these coordinates (for instance page and generation).
    pub fn new(seed: u64, coordinates: [u64; 2]) -> Pattern {
        let mut pattern = Pattern(seed);
        for coordinate in coordinates {
            pattern = Pattern(pattern.word() ^ coordinate);
        }
        pattern
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.word() % end.max(1)
    }

    /// Fills bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.word().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// Fresh contents of a length.
    pub fn bytes(mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }
}

/// Where and how two contents differ: `None` if they are equal.
pub fn difference(expected: &[u8], found: &[u8]) -> Option<String> {
    let at = expected.iter().zip(found).position(|(expected, found)| expected != found);
    match at {
        Some(at) => {
            let number = expected.iter().zip(found).filter(|(expected, found)| expected != found).count();
            let (expected, found) = (expected[at], found[at]);
            Some(format!(
                "offset {at:#x}: expected {expected:#04x}, found {found:#04x}, {number} bytes differ"
            ))
        }
        None if expected.len() != found.len() => {
            Some(format!("{} bytes expected, {} found", expected.len(), found.len()))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_depend_on_everything_named() {
        let first = Pattern::new(1, [2, 3]).bytes(37);
        assert_eq!(first, Pattern::new(1, [2, 3]).bytes(37));
        for other in [Pattern::new(0, [2, 3]), Pattern::new(1, [3, 2]), Pattern::new(1, [2, 4])] {
            assert_ne!(first, other.bytes(37));
        }
    }

    #[test]
    fn a_difference_says_where() {
        assert_eq!(difference(b"abc", b"abc"), None);
        let text = difference(b"abcd", b"aXcX").unwrap();
        assert_eq!(text, "offset 0x1: expected 0x62, found 0x58, 2 bytes differ");
        assert_eq!(difference(b"abc", b"ab").unwrap(), "3 bytes expected, 2 found");
    }
}
