//! The common configuration structure (4.1.4.3).

use super::ring::{NO_VECTOR, Ring};
use super::transport::{Status, Transport, VERSION_1};
use crate::Context;
use crate::register;

/// Of the structure, up to and including queue_reset, a feature that is not offered: reads as 0.
pub(super) const BYTES: usize = 60;

/// Offsets and widths of its registers, as the driver has to access them (4.1.3.1).
mod at {
    pub const DEVICE_FEATURE_SELECT: (u64, u8) = (0x00, 4);
    pub const DRIVER_FEATURE_SELECT: (u64, u8) = (0x08, 4);
    pub const DRIVER_FEATURE: (u64, u8) = (0x0c, 4);
    pub const CONFIGURATION_VECTOR: (u64, u8) = (0x10, 2);
    pub const STATUS: (u64, u8) = (0x14, 1);
    pub const QUEUE_SELECT: (u64, u8) = (0x16, 2);
    pub const QUEUE_SIZE: (u64, u8) = (0x18, 2);
    pub const QUEUE_VECTOR: (u64, u8) = (0x1a, 2);
    pub const QUEUE_ENABLE: (u64, u8) = (0x1c, 2);
    /// Descriptor table, available ring, used ring: 64 bits each, accessed in halves.
    pub const QUEUE_ADDRESSES: std::ops::Range<u64> = 0x20..0x38;
}

/// What is left to do after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    /// The device was reset: requests in flight are to be forgotten.
    Reset,
}

impl Transport {
    /// Reads any part of it. The configuration never changes by itself, so its generation is always 0.
    pub(super) fn common_read(&self, offset: u64, size: u8) -> u64 {
        let none = Ring::new(0);
        let ring = self.rings.get(usize::from(self.queue_select)).unwrap_or(&none);
        let half = |features: u64, select: u32| match select {
            0 => features as u32,
            1 => (features >> 32) as u32,
            _ => 0,
        };
        let mut block = Vec::with_capacity(BYTES);
        block.extend(self.device_feature_select.to_le_bytes());
        block.extend(half(self.offered, self.device_feature_select).to_le_bytes());
        block.extend(self.driver_feature_select.to_le_bytes());
        block.extend(half(self.accepted, self.driver_feature_select).to_le_bytes());
        block.extend(self.configuration_vector.to_le_bytes());
        block.extend((self.rings.len() as u16).to_le_bytes());
        block.extend([self.status.bits(), 0]);
        block.extend(self.queue_select.to_le_bytes());
        block.extend(ring.size.to_le_bytes());
        block.extend(ring.vector.to_le_bytes());
        block.extend(u16::from(ring.enabled).to_le_bytes());
        block.extend(self.queue_select.to_le_bytes());
        for address in [ring.descriptors, ring.available, ring.used] {
            block.extend(address.to_le_bytes());
        }
        register::of_block(&block, offset, size)
    }

    /// Writes one register, in its width; other writes do nothing.
    pub(super) fn common_write(&mut self, offset: u64, size: u8, value: u64, cx: &mut Context<'_>) -> Effect {
        match (offset, size) {
            at::DEVICE_FEATURE_SELECT => self.device_feature_select = value as u32,
            at::DRIVER_FEATURE_SELECT => self.driver_feature_select = value as u32,
            at::DRIVER_FEATURE => self.accept_features(value as u32),
            at::CONFIGURATION_VECTOR => self.configuration_vector = self.vector(value),
            at::STATUS => return self.write_status(value as u8),
            at::QUEUE_SELECT => self.queue_select = value as u16,
            _ => self.write_ring(offset, size, value, cx),
        }
        Effect::Nothing
    }

    /// Features are negotiated before FEATURES_OK (3.1.1).
    fn accept_features(&mut self, half: u32) {
        if self.status.contains(Status::FEATURES_OK) {
            return;
        }
        let low = u64::from(u32::MAX);
        match self.driver_feature_select {
            0 => self.accepted = self.accepted & !low | u64::from(half),
            1 => self.accepted = self.accepted & low | u64::from(half) << 32,
            _ => {}
        }
    }

    fn write_status(&mut self, value: u8) -> Effect {
        if value == 0 {
            self.reset();
            return Effect::Reset;
        }
        let mut added = Status::from_bits_truncate(value) & !Status::NEEDS_RESET;
        let understood = self.accepted & !self.offered == 0 && self.has(VERSION_1);
        if !self.status.contains(Status::FEATURES_OK) && !understood {
            added -= Status::FEATURES_OK;
        }
        // A driver cannot take a bit back except by a reset (2.1.1), nor start before features are agreed upon.
        if !(self.status | added).contains(Status::FEATURES_OK) {
            added -= Status::DRIVER_OK;
        }
        self.status |= added;
        Effect::Nothing
    }

    /// A vector that is there, or none: the driver reads back which (4.1.5.1.2).
    fn vector(&self, value: u64) -> u16 {
        let vector = value as u16;
        if vector < self.msix.vectors() { vector } else { NO_VECTOR }
    }

    fn write_ring(&mut self, offset: u64, size: u8, value: u64, cx: &mut Context<'_>) {
        let vector = self.vector(value);
        let Some(ring) = self.rings.get_mut(usize::from(self.queue_select)) else { return };
        match (offset, size) {
            at::QUEUE_VECTOR => ring.vector = vector,
            // Without VIRTIO_F_RING_RESET a queue is not disabled, and does not move while it is enabled (4.1.4.3.2).
            _ if ring.enabled => {}
            at::QUEUE_SIZE => ring.size = value as u16,
            at::QUEUE_ENABLE if value as u16 == 1 => {
                if let Err(error) = ring.enable(cx.ram) {
                    self.fail(&error, cx);
                }
            }
            (_, 4) if at::QUEUE_ADDRESSES.contains(&offset) && offset.is_multiple_of(4) => {
                let address = match (offset - at::QUEUE_ADDRESSES.start) / 8 {
                    0 => &mut ring.descriptors,
                    1 => &mut ring.available,
                    _ => &mut ring.used,
                };
                let shift = if offset.is_multiple_of(8) { 0 } else { 32 };
                *address =
                    *address & !(u64::from(u32::MAX) << shift) | (value & u64::from(u32::MAX)) << shift;
            }
            _ => {}
        }
    }
}
