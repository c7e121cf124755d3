//! Bytes at an address.

use std::borrow::Cow;
use std::ops::Range;

/// Bytes to be written to guest memory before the guest runs, followed by zeroes.
///
/// The zeroes count: memory need not be clear when power comes on, and an executable's data without contents has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob<'a> {
    /// What it is, for messages: "the kernel".
    pub what: &'static str,
    /// Guest-physical address of the first byte.
    pub address: u64,
    /// The bytes.
    pub bytes: Cow<'a, [u8]>,
    /// Zero bytes behind them.
    pub zeroes: u64,
}

static ZEROES: [u8; 4096] = [0; 4096];

impl<'a> Blob<'a> {
    /// Bytes without zeroes behind them.
    pub fn new(what: &'static str, address: u64, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { what, address, bytes: bytes.into(), zeroes: 0 }
    }

    /// All addresses written. Empty if they do not fit into 64 bits.
    pub fn range(&self) -> Range<u64> {
        let len = (self.bytes.len() as u64).checked_add(self.zeroes);
        let end = len.and_then(|len| self.address.checked_add(len));
        self.address..end.unwrap_or(self.address)
    }

    /// What to write where, zeroes a page at a time.
    pub fn pieces(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let page = ZEROES.len() as u64;
        let start = self.range().end - self.zeroes.min(self.range().end);
        let zeroes = (0..self.zeroes.div_ceil(page)).map(move |index| {
            let offset = index * page;
            let len = usize::try_from((self.zeroes - offset).min(page)).unwrap_or_default();
            (start + offset, ZEROES.get(..len).unwrap_or_default())
        });
        std::iter::once((self.address, self.bytes.as_ref()))
            .chain(zeroes)
            .filter(|(_, bytes)| !bytes.is_empty())
    }
}
