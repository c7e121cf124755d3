//! What every virtio function has: features, status, queues, interrupts.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use super::capabilities::{self, Window};
use super::ring::{NO_VECTOR, Ring, RingError};
use super::{MSIX_BAR, bars};
use crate::Context;
use crate::pci::{ConfigSpace, Identity, Msix};

pub(super) const VERSION_1: u64 = 1 << 32;
pub(super) const EVENT_INDEX: u64 = 1 << 29;
pub(super) const INDIRECT_DESCRIPTORS: u64 = 1 << 28;

bitflags! {
    /// Device status (2.1).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) struct Status: u8 {
        const ACKNOWLEDGE = 1;
        const DRIVER = 2;
        const DRIVER_OK = 4;
        const FEATURES_OK = 8;
        const NEEDS_RESET = 64;
        const FAILED = 128;
    }

    /// Why INTA# is driven (4.1.4.5).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) struct Isr: u8 {
        const QUEUE = 1;
        const CONFIGURATION = 2;
    }
}

/// A virtio function without what makes it a certain device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Transport {
    pub space: ConfigSpace,
    pub msix: Msix,
    pub window: Window,
    pub offered: u64,
    pub accepted: u64,
    pub device_feature_select: u32,
    pub driver_feature_select: u32,
    pub status: Status,
    pub isr: Isr,
    pub configuration_vector: u16,
    pub queue_select: u16,
    pub rings: Vec<Ring>,
}

impl Transport {
    /// As after a reset of the bus.
    pub(super) fn new(
        identity: &Identity,
        slot: u8,
        device_bytes: u32,
        features: u64,
        queues: u16,
        queue_size: u16,
    ) -> Self {
        let mut space = ConfigSpace::new(identity, &bars(slot));
        let msix = Msix::new(&mut space, queues.saturating_add(1), MSIX_BAR);
        let window = capabilities::add(&mut space, device_bytes);
        Self {
            space,
            msix,
            window,
            offered: features | VERSION_1 | EVENT_INDEX | INDIRECT_DESCRIPTORS,
            accepted: 0,
            device_feature_select: 0,
            driver_feature_select: 0,
            status: Status::empty(),
            isr: Isr::empty(),
            configuration_vector: NO_VECTOR,
            queue_select: 0,
            rings: vec![Ring::new(queue_size); usize::from(queues)],
        }
    }

    /// The driver wrote status 0: configuration space and the MSI-X table stay, all else is as new.
    pub(super) fn reset(&mut self) {
        self.accepted = 0;
        self.device_feature_select = 0;
        self.driver_feature_select = 0;
        self.status = Status::empty();
        self.isr = Isr::empty();
        self.configuration_vector = NO_VECTOR;
        self.queue_select = 0;
        for ring in &mut self.rings {
            *ring = Ring::new(ring.max_size);
        }
    }

    /// Whether this feature was negotiated.
    pub(super) fn has(&self, feature: u64) -> bool {
        self.accepted & feature != 0
    }

    /// Whether the driver said that it is ready.
    pub(super) fn is_started(&self) -> bool {
        self.status.contains(Status::DRIVER_OK)
    }

    /// Whether queues may be served: the driver is ready, nothing went wrong, and the function may access memory.
    pub(super) fn is_live(&self) -> bool {
        self.status.contains(Status::DRIVER_OK)
            && !self.status.intersects(Status::NEEDS_RESET | Status::FAILED)
            && self.space.is_bus_master()
    }

    /// The driver did what it must not: only a reset helps (2.1.2).
    pub(super) fn fail(&mut self, why: &RingError, cx: &mut Context<'_>) {
        tracing::warn!(%why, "virtio device needs reset");
        self.status |= Status::NEEDS_RESET;
        if self.status.contains(Status::DRIVER_OK) {
            self.interrupt(Isr::CONFIGURATION, self.configuration_vector, cx);
        }
    }

    /// A queue has something for the driver.
    pub(super) fn interrupt_queue(&mut self, queue: u16, cx: &mut Context<'_>) {
        let vector = self.rings.get(usize::from(queue)).map_or(NO_VECTOR, |ring| ring.vector);
        self.interrupt(Isr::QUEUE, vector, cx);
    }

    fn interrupt(&mut self, why: Isr, vector: u16, cx: &mut Context<'_>) {
        if self.msix.is_enabled(&self.space) {
            self.msix.signal(vector, &self.space, cx);
        } else {
            self.isr |= why;
        }
    }

    /// Whether INTA# is wanted.
    pub(super) fn wants_interrupt(&self) -> bool {
        !self.isr.is_empty() && !self.msix.is_enabled(&self.space)
    }
}
