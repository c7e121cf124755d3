//! A command as it lies in a submission queue (4.2).

/// Bytes of a command.
pub(super) const BYTES: usize = 64;

/// The fields that the command sets share; the rest by doubleword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Command {
    pub opcode: u8,
    pub identifier: u16,
    pub namespace: u32,
    /// How the data is described, and whether the command is a half of a fused one: only 0 is supported.
    pub form: u8,
    pub prp: [u64; 2],
    words: [u32; 16],
}

impl Command {
    pub(super) fn parse(bytes: &[u8; BYTES]) -> Self {
        let mut words = [0; 16];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = chunk.first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk));
        }
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        Self {
            opcode: words[0] as u8,
            identifier: (words[0] >> 16) as u16,
            namespace: words[1],
            form: (words[0] >> 8) as u8,
            prp: [pair(words[6], words[7]), pair(words[8], words[9])],
            words,
        }
    }

    /// Command doubleword 10, 11, ... 15.
    pub(super) fn word(&self, number: usize) -> u32 {
        self.words.get(number).copied().unwrap_or(0)
    }

    /// The low and the high half of a doubleword.
    pub(super) fn halves(&self, number: usize) -> (u16, u16) {
        let word = self.word(number);
        (word as u16, (word >> 16) as u16)
    }
}
