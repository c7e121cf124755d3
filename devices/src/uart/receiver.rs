//! The receiving half.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::registers::LineStatus;
use crate::VirtualTime;

/// Bytes that entered, and those of the other end that wait.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Receiver {
    fifo: VecDeque<u8>,
    errors: LineStatus,
    /// When a byte last came or was read.
    last_use: VirtualTime,
    /// When a byte last came.
    last_arrival: VirtualTime,
    waiting: VecDeque<Sent>,
}

/// Bytes the other end sends at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sent {
    at: VirtualTime,
    bytes: VecDeque<u8>,
}

impl Receiver {
    /// The other end sends, at this time or later.
    pub(super) fn queue(&mut self, at: VirtualTime, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.waiting.push_back(Sent { at, bytes: bytes.iter().copied().collect() });
        }
    }

    /// Bytes that have not entered.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.iter().map(|sent| sent.bytes.len()).sum()
    }

    /// When the next byte enters, if there is room for it.
    pub(super) fn next_arrival(&self, room: usize, character: u64) -> Option<VirtualTime> {
        let sent = self.waiting.front().filter(|_| self.fifo.len() < room)?;
        Some(sent.at.after(character).max(self.last_arrival.after(character)))
    }

    /// Lets in what has come by now.
    pub(super) fn admit(&mut self, now: VirtualTime, room: usize, character: u64) {
        while let Some(arrival) = self.next_arrival(room, character).filter(|arrival| *arrival <= now) {
            let Some(byte) = self.waiting.front_mut().and_then(|sent| sent.bytes.pop_front()) else {
                return;
            };
            if self.waiting.front().is_some_and(|sent| sent.bytes.is_empty()) {
                self.waiting.pop_front();
            }
            // A byte that was held back came when there was room.
            self.last_arrival = if character == 0 { now } else { arrival };
            self.last_use = self.last_use.max(self.last_arrival);
            self.fifo.push_back(byte);
        }
    }

    /// A byte of our own, in loopback: nobody holds it back.
    pub(super) fn put(&mut self, now: VirtualTime, byte: u8, room: usize) {
        if self.fifo.len() >= room {
            self.errors |= LineStatus::OVERRUN;
        } else {
            self.fifo.push_back(byte);
        }
        self.last_use = now;
    }

    /// The processor reads; 0 if there is nothing.
    pub(super) fn take(&mut self, now: VirtualTime) -> u8 {
        let byte = self.fifo.pop_front();
        if byte.is_some() {
            self.last_use = now;
        }
        byte.unwrap_or(0)
    }

    /// Bytes that can be read.
    pub(super) fn len(&self) -> usize {
        self.fifo.len()
    }

    /// When a byte last came or was read.
    pub(super) fn last_use(&self) -> VirtualTime {
        self.last_use
    }

    /// Errors since they were last read.
    pub(super) fn errors(&self) -> LineStatus {
        self.errors
    }

    /// They were read.
    pub(super) fn forget_errors(&mut self) {
        self.errors = LineStatus::empty();
    }

    /// Loses the bytes that have entered.
    pub(super) fn clear(&mut self) {
        self.fifo.clear();
    }
}
