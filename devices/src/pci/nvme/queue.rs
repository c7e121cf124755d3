//! Submission and completion queues (4.1).

use std::collections::BTreeMap;

use ram::GuestRam;
use serde::{Deserialize, Serialize};

use super::command::{self, Command};
use super::status::Status;
use crate::pci::dma::NotMemory;

/// Bytes of a completion.
const COMPLETION: u64 = 16;
/// Number of the admin queues.
pub(super) const ADMIN_QUEUE: u16 = 0;

/// Commands on their way to the controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SubmissionQueue {
    pub base: u64,
    pub entries: u32,
    pub completion: u16,
    head: u32,
    tail: u32,
}

/// Answers on their way to the driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CompletionQueue {
    pub base: u64,
    pub entries: u32,
    /// None: the driver polls.
    pub vector: Option<u16>,
    head: u32,
    tail: u32,
    /// Inverted on each round.
    phase: bool,
    /// Entries that commands in flight will need.
    reserved: u32,
}

/// From one entry to another, around the end. A queue out of a snapshot may have any numbers; one without entries goes nowhere.
fn distance(from: u32, to: u32, entries: u32) -> u32 {
    to.wrapping_add(entries).wrapping_sub(from).checked_rem(entries).unwrap_or_default()
}

/// The entry behind one.
fn next(entry: u32, entries: u32) -> u32 {
    entry.wrapping_add(1).checked_rem(entries).unwrap_or_default()
}

impl CompletionQueue {
    /// Entries that are free and not promised; one always stays free (4.1.2).
    fn free(&self) -> u32 {
        let used = distance(self.head, self.tail, self.entries);
        self.entries.saturating_sub(1).saturating_sub(used).saturating_sub(self.reserved)
    }

    fn has_news(&self) -> bool {
        self.head != self.tail
    }
}

/// All of them, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Queues {
    submission: BTreeMap<u16, SubmissionQueue>,
    completion: BTreeMap<u16, CompletionQueue>,
}

/// What is wrong with a write to a doorbell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DoorbellError {
    NoQueue,
    Value,
}

impl Queues {
    /// At least 2 entries.
    pub(super) fn create_submission(&mut self, number: u16, base: u64, entries: u32, completion: u16) {
        self.submission.insert(number, SubmissionQueue { base, entries, completion, head: 0, tail: 0 });
    }

    /// At least 2 entries.
    pub(super) fn create_completion(&mut self, number: u16, base: u64, entries: u32, vector: Option<u16>) {
        let queue = CompletionQueue { base, entries, vector, head: 0, tail: 0, phase: true, reserved: 0 };
        self.completion.insert(number, queue);
    }

    pub(super) fn has_submission(&self, number: u16) -> bool {
        self.submission.contains_key(&number)
    }

    pub(super) fn has_completion(&self, number: u16) -> bool {
        self.completion.contains_key(&number)
    }

    /// Whether some submission queue answers through this completion queue.
    pub(super) fn is_used(&self, completion: u16) -> bool {
        self.submission.values().any(|queue| queue.completion == completion)
    }

    pub(super) fn delete_submission(&mut self, number: u16) {
        self.submission.remove(&number);
    }

    pub(super) fn delete_completion(&mut self, number: u16) {
        self.completion.remove(&number);
    }

    pub(super) fn submission_numbers(&self) -> Vec<u16> {
        self.submission.keys().copied().collect()
    }

    /// The driver wrote a doorbell: even ones are tails of submission queues, odd ones heads of completion queues.
    pub(super) fn ring(&mut self, doorbell: u64, value: u32) -> Result<(), DoorbellError> {
        let number = u16::try_from(doorbell / 2).map_err(|_| DoorbellError::NoQueue)?;
        let value = value & 0xffff;
        let (place, entries) = if doorbell.is_multiple_of(2) {
            let queue = self.submission.get_mut(&number).ok_or(DoorbellError::NoQueue)?;
            (&mut queue.tail, queue.entries)
        } else {
            let queue = self.completion.get_mut(&number).ok_or(DoorbellError::NoQueue)?;
            // A head moves over what was written only.
            let used = distance(queue.head, queue.tail, queue.entries);
            let moved = distance(queue.head, value, queue.entries);
            if value < queue.entries && moved > used {
                return Err(DoorbellError::Value);
            }
            (&mut queue.head, queue.entries)
        };
        if value >= entries {
            return Err(DoorbellError::Value);
        }
        *place = value;
        Ok(())
    }

    /// Whether a command waits that can be fetched.
    pub(super) fn can_fetch(&self) -> bool {
        self.submission.keys().any(|number| self.is_ready(*number))
    }

    fn is_ready(&self, number: u16) -> bool {
        let Some(queue) = self.submission.get(&number) else { return false };
        let room = self.completion.get(&queue.completion).is_some_and(|completion| completion.free() > 0);
        queue.head != queue.tail && room
    }

    /// Fetches the next command of a queue, if there is one and its answer will have room: so a driver that never looks at
    /// answers cannot pile up work.
    pub(super) fn fetch(&mut self, number: u16, ram: &GuestRam) -> Result<Option<Command>, NotMemory> {
        if !self.is_ready(number) {
            return Ok(None);
        }
        let Some(queue) = self.submission.get_mut(&number) else { return Ok(None) };
        let mut bytes = [0; command::BYTES];
        let address = queue.base.wrapping_add(u64::from(queue.head) * command::BYTES as u64);
        ram.read(address, &mut bytes).map_err(|_| NotMemory)?;
        queue.head = next(queue.head, queue.entries);
        if let Some(completion) = self.completion.get_mut(&queue.completion) {
            completion.reserved += 1;
        }
        Ok(Some(Command::parse(&bytes)))
    }

    /// Answers a command that was fetched from this submission queue. Returns the vector of the interrupt.
    pub(super) fn answer(
        &mut self,
        submission: u16,
        identifier: u16,
        status: Status,
        result: u32,
        ram: &GuestRam,
    ) -> Result<Option<u16>, NotMemory> {
        let Some(from) = self.submission.get(&submission) else { return Ok(None) };
        let Some(queue) = self.completion.get_mut(&from.completion) else { return Ok(None) };
        let mut entry = [0; COMPLETION as usize];
        let status = status.field() << 1 | u16::from(queue.phase);
        let halves = [from.head as u16, submission, identifier, status];
        for (bytes, half) in entry.chunks_exact_mut(2).skip(4).zip(halves) {
            bytes.copy_from_slice(&half.to_le_bytes());
        }
        entry[..4].copy_from_slice(&result.to_le_bytes());
        let address = queue.base.wrapping_add(u64::from(queue.tail) * COMPLETION);
        ram.write(address, &entry).map_err(|_| NotMemory)?;
        queue.reserved = queue.reserved.saturating_sub(1);
        queue.tail = next(queue.tail, queue.entries);
        if queue.tail == 0 {
            queue.phase = !queue.phase;
        }
        Ok(queue.vector)
    }

    /// Vectors of completion queues with answers the driver has not taken, a bit each: what the pin shows.
    pub(super) fn news(&self) -> u32 {
        let vectors =
            self.completion.values().filter(|queue| queue.has_news()).filter_map(|queue| queue.vector);
        vectors.fold(0, |bits, vector| bits | 1u32.checked_shl(vector.into()).unwrap_or(0))
    }
}
