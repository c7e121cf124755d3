//! A virtqueue as plain data; the `virtio-queue` crate reads and writes the rings.

use std::sync::atomic::Ordering;

use ram::{GuestMemory, GuestRam};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use virtio_queue::{Queue, QueueOwnedT, QueueState, QueueT};
use vm_memory::{Bytes, GuestAddress};

use crate::pci::dma::{NotMemory, Segment};

/// No MSI-X vector (4.1.5.1.2).
pub(super) const NO_VECTOR: u16 = 0xffff;
/// VIRTQ_AVAIL_F_NO_INTERRUPT (2.7.7).
const NO_INTERRUPT: u16 = 1;

/// What a driver must not do to a queue.
#[derive(Debug, Error)]
pub(super) enum RingError {
    #[error("virtqueue: {0}")]
    Queue(#[from] virtio_queue::Error),
    #[error("a part of a virtqueue: {0}")]
    Memory(#[from] NotMemory),
    #[error(
        "a descriptor chain loops, leaves its table, is longer than the queue, or its end cannot be read"
    )]
    BrokenChain,
    #[error("a descriptor chain goes back from what the device writes to what it reads (2.7.4.2)")]
    ReadableAfterWritable,
    #[error("more requests are outstanding than the queue has entries")]
    TooMany,
}

/// A request as it was made available.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chain {
    pub head: u16,
    pub readable: Vec<Segment>,
    pub writable: Vec<Segment>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ring {
    pub max_size: u16,
    pub size: u16,
    pub enabled: bool,
    pub vector: u16,
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
    next_available: u16,
    next_used: u16,
    /// Chains taken and not yet given back.
    outstanding: u16,
    /// The driver notified, and not all it made available was looked at.
    pub notified: bool,
}

impl Ring {
    /// At reset.
    pub(super) fn new(max_size: u16) -> Self {
        Self {
            max_size,
            size: max_size,
            enabled: false,
            vector: NO_VECTOR,
            descriptors: 0,
            available: 0,
            used: 0,
            next_available: 0,
            next_used: 0,
            outstanding: 0,
            notified: false,
        }
    }

    fn queue(&self, event_index: bool) -> Result<Queue, RingError> {
        let state = QueueState {
            max_size: self.max_size,
            next_avail: self.next_available,
            next_used: self.next_used,
            event_idx_enabled: event_index,
            size: self.size,
            ready: self.enabled,
            desc_table: self.descriptors,
            avail_ring: self.available,
            used_ring: self.used,
        };
        Ok(Queue::try_from(state)?)
    }

    /// The driver has set the queue up.
    pub(super) fn enable(&mut self, ram: &GuestRam) -> Result<(), RingError> {
        self.enabled = true;
        let valid = self.queue(false)?.is_valid(ram.memory());
        if valid { Ok(()) } else { Err(NotMemory.into()) }
    }

    /// Takes the next request, if there is one.
    pub(super) fn take(&mut self, event_index: bool, ram: &GuestRam) -> Result<Option<Chain>, RingError> {
        let mut queue = self.queue(event_index)?;
        let Some(chain) = queue.iter(ram.memory())?.next() else {
            // With event indices, the driver notifies only when it passes the index set here (2.7.10).
            self.notified = queue.enable_notification(ram.memory())?;
            return Ok(None);
        };
        self.next_available = queue.next_avail();
        if self.outstanding >= self.size {
            return Err(RingError::TooMany);
        }
        let chain = self.walk(chain)?;
        self.outstanding += 1;
        Ok(Some(chain))
    }

    fn walk(&self, chain: virtio_queue::DescriptorChain<&GuestMemory>) -> Result<Chain, RingError> {
        let mut walked = Chain { head: chain.head_index(), readable: Vec::new(), writable: Vec::new() };
        let mut is_over = false;
        // An indirect table may be larger, but a chain in it may not be longer than the queue (2.7.5.3.1).
        for descriptor in chain.take(usize::from(self.max_size)) {
            let segment = Segment { address: descriptor.addr().0, length: descriptor.len() };
            if descriptor.is_write_only() {
                walked.writable.push(segment);
            } else if walked.writable.is_empty() {
                walked.readable.push(segment);
            } else {
                return Err(RingError::ReadableAfterWritable);
            }
            // The iterator ends in silence at what it cannot follow: only a descriptor without a successor ends a chain.
            is_over = !descriptor.has_next();
        }
        if is_over { Ok(walked) } else { Err(RingError::BrokenChain) }
    }

    /// Gives a request back, of which `written` bytes were written. Returns whether the driver wants an interrupt.
    pub(super) fn give_back(
        &mut self,
        head: u16,
        written: u32,
        event_index: bool,
        ram: &GuestRam,
    ) -> Result<bool, RingError> {
        let mut queue = self.queue(event_index)?;
        self.outstanding = self.outstanding.saturating_sub(1);
        queue.add_used(ram.memory(), head, written)?;
        self.next_used = queue.next_used();
        if event_index {
            return Ok(queue.needs_notification(ram.memory())?);
        }
        let flags = ram.memory().load::<u16>(GuestAddress(self.available), Ordering::Acquire);
        let flags = flags.map_err(|_| NotMemory)?;
        Ok(u16::from_le(flags) & NO_INTERRUPT == 0)
    }
}
