//! Translated code, by physical address.

use rustc_hash::FxHashMap;

use crate::mode::Mode;
use crate::op::Op;

/// Translated code of one place.
pub struct Block {
    /// Its operations, one for each instruction, except that the last may be a fused pair.
    pub ops: Box<[Op]>,
    /// Instructions.
    pub count: u32,
    /// Bytes of code.
    pub bytes: u16,
    key: Key,
}

impl Block {
    /// Instructions before this one of its operations.
    #[cold]
    pub(crate) fn done_before(&self, op: &Op) -> i64 {
        self.ops.iter().position(|other| other.start == op.start).unwrap_or(0) as i64
    }
}

/// Where the code lies and how it decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Physical address of its first byte.
    pub physical: u64,
    /// Physical page of its last byte if it crosses into another; else that of its first.
    pub last_frame: u64,
    /// How it decodes.
    pub mode: Mode,
}

impl Key {
    fn frames(self) -> impl Iterator<Item = u64> {
        let first = self.physical >> 12;
        std::iter::once(first).chain((self.last_frame != first).then_some(self.last_frame))
    }
}

/// All of a machine's translated code; its processors share it. It can be thrown away at any time.
#[derive(Default)]
pub struct BlockCache {
    blocks: Vec<Option<Block>>,
    free: Vec<u32>,
    by_key: FxHashMap<Key, u32>,
    by_frame: FxHashMap<u64, Vec<u32>>,
    epoch: u32,
    code_epoch: u32,
    operations: usize,
}

/// Operations kept at most: 32 bytes each.
const MOST_OPERATIONS: usize = 4 << 20;

impl BlockCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// The block of this number, while [`BlockCache::epoch`] stays the same.
    #[inline(always)]
    pub(crate) fn get(&self, id: u32) -> Option<&Block> {
        self.blocks.get(id as usize)?.as_ref()
    }

    /// The block of this key.
    pub(crate) fn find(&self, key: Key) -> Option<u32> {
        self.by_key.get(&key).copied()
    }

    /// Keeps a block. `new_code`: it is the first one of its page.
    pub(crate) fn insert(&mut self, key: Key, ops: Vec<Op>, count: u32, bytes: u16, new_code: bool) -> u32 {
        self.operations += ops.len();
        let block = Block { ops: ops.into_boxed_slice(), count, bytes, key };
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(slot) = self.blocks.get_mut(id as usize) {
                    *slot = Some(block);
                }
                id
            }
            None => {
                self.blocks.push(Some(block));
                (self.blocks.len() - 1) as u32
            }
        };
        self.by_key.insert(key, id);
        for frame in key.frames() {
            self.by_frame.entry(frame).or_default().push(id);
        }
        if new_code {
            self.code_epoch = self.code_epoch.wrapping_add(1);
        }
        id
    }

    /// Drops all code made from this page: its bytes changed.
    pub fn drop_frame(&mut self, frame: u64) {
        let Some(ids) = self.by_frame.remove(&frame) else { return };
        for id in ids {
            let Some(block) = self.blocks.get_mut(id as usize).and_then(Option::take) else { continue };
            self.by_key.remove(&block.key);
            self.operations -= block.ops.len();
            for other in block.key.frames().filter(|other| *other != frame) {
                if let Some(list) = self.by_frame.get_mut(&other) {
                    list.retain(|listed| *listed != id);
                }
            }
            self.free.push(id);
        }
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Whether it is time to throw everything away.
    pub(crate) fn is_full(&self) -> bool {
        self.operations >= MOST_OPERATIONS
    }

    /// Drops everything; returns the pages that had code, in ascending order.
    pub fn clear(&mut self) -> Vec<u64> {
        let mut frames: Vec<u64> = self.by_frame.drain().map(|(frame, _)| frame).collect();
        frames.sort_unstable();
        *self = Self { epoch: self.epoch.wrapping_add(1), code_epoch: self.code_epoch, ..Self::default() };
        frames
    }

    /// Changes whenever a number may stand for another block.
    #[inline(always)]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Changes whenever another page has code: a TLB that lets stores to it through is stale.
    pub(crate) fn code_epoch(&self) -> u32 {
        self.code_epoch
    }
}
