//! What survives on a disk.

use serde::{Deserialize, Serialize};

/// Which of the writes of one disk that were not durable survive. Places count them in the order of acceptance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// All of them.
    All,
    /// None of them.
    Nothing,
    /// So many of the first.
    Prefix(usize),
    /// All but this one.
    Drop(usize),
    /// Only this one.
    Keep(usize),
    /// All but these two.
    Pair(usize, usize),
    /// All but this one, of which only the first so many atomic units survive.
    Torn {
        /// Its place.
        write: usize,
        /// So many.
        units: u64,
    },
    /// As the numbers that follow from this one say, some for whole writes, some for single units.
    Seeded(u64),
    /// This one of all states of a small space, by its place in [`devices::disk::CrashSpace::exhaustive`].
    Small(u64),
    /// All of them, but of these blocks of 4 KiB these versions: 0 is the durable one, n what is there after the nth write that touches the
    /// block. In ascending order.
    Blocks(Vec<(u64, usize)>),
}

impl Choice {
    /// Whether the write at this place survives as a whole, as far as that follows from the choice alone: of those that choose
    /// units rather than writes, all are said to.
    pub fn keeps(&self, place: usize) -> bool {
        match self {
            Self::All | Self::Small(_) | Self::Blocks(_) => true,
            Self::Nothing => false,
            Self::Prefix(count) => place < *count,
            Self::Drop(lost) | Self::Torn { write: lost, .. } => place != *lost,
            Self::Keep(kept) => place == *kept,
            Self::Pair(first, second) => place != *first && place != *second,
            Self::Seeded(seed) => keeps(*seed, place),
        }
    }

    /// In which order they are tried.
    pub fn rank(&self) -> Rank {
        match self {
            Self::All => Rank::Whole,
            Self::Nothing => Rank::Nothing,
            Self::Prefix(_) => Rank::Prefix,
            Self::Drop(_) => Rank::Drop,
            Self::Keep(_) => Rank::Keep,
            Self::Pair(..) => Rank::Pair,
            Self::Torn { .. } => Rank::Torn,
            Self::Seeded(_) => Rank::Seeded,
            Self::Small(_) | Self::Blocks(_) => Rank::Small,
        }
    }
}

/// How promising a state is, the most promising first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rank {
    /// Everything survives: a cut is enough.
    Whole,
    /// One write is lost.
    Drop,
    /// A write under way is torn.
    Torn,
    /// Nothing survives.
    Nothing,
    /// One write survives alone.
    Keep,
    /// The first so many survive.
    Prefix,
    /// Two are lost.
    Pair,
    /// Any mix.
    Seeded,
    /// Any mix of a space so small that all are tried.
    Small,
}

/// How many of the newest writes are torn by their units in a seeded choice of that kind.
pub(super) const TORN_APART: usize = 4;

/// Whether the units of the newest writes survive for themselves, whatever becomes of the writes.
pub(super) fn tears(seed: u64) -> bool {
    seed.is_multiple_of(4)
}

/// Whether a write survives. A quarter of all seeds each: as likely as not, mostly, seldom, and with any likelihood.
fn keeps(seed: u64, place: usize) -> bool {
    let likely = match seed % 4 {
        0 => 8,
        1 => 15,
        2 => 2,
        _ => 1 + mix(seed, 0) % 15,
    };
    mix(seed, 1 + place as u64) % 16 < likely
}

/// A number that follows from two others: the seed and the number of a step of SplitMix64 (Steele, Lea, Flood, 2014), which does not change
/// with a library.
pub(super) fn mix(seed: u64, number: u64) -> u64 {
    let step =
        seed.wrapping_mul(0xd129_0d3a_c0de_5eed | 1).wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = (step ^ step >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
