//! A set of pages by their numbers.

/// Some of the pages of memory.
#[derive(Debug, Clone, Default)]
pub struct PageSet {
    words: Vec<u64>,
}

impl PageSet {
    /// Adds one.
    pub fn insert(&mut self, number: usize) {
        let word = number / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << (number % 64);
        }
    }

    /// Empties it; calls this with each that was in it, in ascending order.
    pub fn drain(&mut self, mut each: impl FnMut(usize)) {
        for (index, word) in self.words.iter_mut().enumerate() {
            let mut bits = std::mem::take(word);
            while bits != 0 {
                each(index * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_out_once_and_in_order() {
        let mut set = PageSet::default();
        for number in [700, 0, 63, 700, 64] {
            set.insert(number);
        }
        let mut out = Vec::new();
        set.drain(|number| out.push(number));
        set.drain(|number| out.push(number));
        assert_eq!(out, [0, 63, 64, 700]);
    }
}
