//! The sending half.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::VirtualTime;

/// Bytes on their way out. The first is in the shift register, the others in the FIFO.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Transmitter {
    bytes: VecDeque<u8>,
    /// When the first has left.
    leaves: VirtualTime,
}

impl Transmitter {
    /// The processor writes; a byte for which there is no room replaces the last one. Whether the byte went straight into the
    /// shift register, so that the FIFO is empty again.
    pub(super) fn put(&mut self, now: VirtualTime, byte: u8, room: usize, character: u64) -> bool {
        let straight = self.bytes.is_empty();
        if straight {
            self.leaves = now.after(character);
        }
        if self.bytes.len() > room {
            self.bytes.pop_back();
        }
        self.bytes.push_back(byte);
        straight
    }

    /// A byte that has left by now, and whether the FIFO ran empty with it: the last one went into the shift register.
    pub(super) fn depart(&mut self, now: VirtualTime, character: u64) -> Option<(u8, bool)> {
        if self.leaves > now {
            return None;
        }
        let byte = self.bytes.pop_front()?;
        self.leaves = self.leaves.after(character);
        Some((byte, self.bytes.len() == 1))
    }

    /// When the next byte has left.
    pub(super) fn next_departure(&self) -> Option<VirtualTime> {
        (!self.bytes.is_empty()).then_some(self.leaves)
    }

    /// THRE.
    pub(super) fn holding_is_empty(&self) -> bool {
        self.bytes.len() <= 1
    }

    /// TEMT.
    pub(super) fn is_idle(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Empties the FIFO, not the shift register; whether there was something in it.
    pub(super) fn clear(&mut self) -> bool {
        let held = self.bytes.len() > 1;
        self.bytes.truncate(1);
        held
    }
}
