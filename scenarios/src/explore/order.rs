//! Which states of a crash space are looked at, and how far the search goes.

use devices::disk::Tie;

use super::choice::{Choice, mix};
use super::cuts::Instructions;
use super::space::{SECTORS, Space};

/// How far the search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Pairs of lost writes that stand so near one another in the order of acceptance. 0: none.
    pub pairs: usize,
    /// So many of the newest writes are torn, one at a time. 0: none.
    pub torn: usize,
    /// Seeded choices of each space. 0: none.
    pub seeded: u64,
    /// Spaces of two to this or fewer states are listed to the last one. 0: none.
    pub small: u32,
    /// So many instructions between two events are cuts as well.
    pub instructions: usize,
    /// Seed of the seeded choices and of these instructions.
    pub seed: u64,
    /// After a cold boot somebody looks into the file system: what was synced has to be there.
    pub files: bool,
}

impl Depth {
    /// Only whole writes, and no pairs.
    pub const LEAST: Self =
        Self { pairs: 0, torn: 0, seeded: 0, small: 0, instructions: 0, seed: 0, files: false };

    /// Which of them.
    pub fn instructions(self) -> Instructions {
        Instructions { count: self.instructions, seed: self.seed }
    }
}

impl Default for Depth {
    fn default() -> Self {
        Self { pairs: 1, torn: 1, seeded: 4, small: 6, instructions: 64, seed: 0, files: false }
    }
}

/// The choices of one disk, but for everything and nothing. `number` is that of the space.
pub(super) fn choices(space: &Space, depth: Depth, number: u64) -> Vec<Choice> {
    let writes = space.len();
    let mut choices: Vec<Choice> = (0..writes).rev().map(Choice::Drop).collect();
    for write in (0..writes).rev().take(depth.torn) {
        let units = tears(space, write).into_iter();
        choices.extend(units.map(|units| Choice::Torn { write, units }));
    }
    choices.extend((0..writes).map(Choice::Keep));
    choices.extend((0..writes).map(Choice::Prefix));
    for second in 0..writes {
        choices.extend((0..second).rev().take(depth.pairs).map(|first| Choice::Pair(first, second)));
    }
    if writes > 1 {
        // Less than two to the 62nd: such numbers look the same everywhere.
        let seed = |number: u64| mix(depth.seed, number) >> 2;
        choices.extend((0..depth.seeded).map(|more| {
            let seed = seed(number.wrapping_mul(depth.seeded).wrapping_add(more));
            // One of each kind in turn.
            Choice::Seeded(seed / 4 * 4 + more % 4)
        }));
    }
    choices
}

/// After how many units a write is torn: each unit of its first block, then 1, 2, 4, ... blocks, and all but the last block and the last unit.
fn tears(space: &Space, write: usize) -> Vec<u64> {
    if space.tie() == Tie::Write {
        return Vec::new();
    }
    let unit = space.unit().sectors();
    let extents = space.extents(write).iter();
    let all: u64 = extents.map(|extent| extent.end().div_ceil(unit) - extent.sector / unit).sum();
    let block = SECTORS / unit;
    let mut tears: Vec<u64> = (1..block.min(all)).collect();
    tears.extend(
        std::iter::successors(Some(block), |units| units.checked_mul(2)).take_while(|units| *units < all),
    );
    tears.extend([all.saturating_sub(block), all.saturating_sub(1)]);
    tears.retain(|units| (1..all).contains(units));
    tears.sort_unstable();
    tears.dedup();
    tears
}

/// What may be on the other disks meanwhile: everything, or nothing if that is not the same.
pub(super) fn others(spaces: &[Space], disk: usize) -> Vec<Choice> {
    let mut others = spaces.iter().enumerate().filter(|(number, _)| *number != disk);
    match (spaces.len() > 1, others.any(|(_, space)| space.len() > 0)) {
        (true, true) => vec![Choice::All, Choice::Nothing],
        _ => vec![Choice::All],
    }
}
