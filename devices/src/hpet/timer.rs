//! One comparator.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use super::ROUTE;
use crate::Message;
use crate::register::Lanes;

bitflags! {
    /// Configuration and capabilities, but for the routing.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    struct Configuration: u64 {
        const LEVEL = 1 << 1;
        const INTERRUPTS = 1 << 2;
        const PERIODIC = 1 << 3;
        const SET_VALUE = 1 << 6;
        /// Compares 32 bits only.
        const BITS_32 = 1 << 8;
        /// Sends a message.
        const MESSAGE = 1 << 14;
    }
}

/// It can be periodic, has 64 bits, and can send messages.
const CAPABILITIES: u64 = 1 << 4 | 1 << 5 | 1 << 15 | (1 << ROUTE) << 32;
const ROUTE_SHIFT: u32 = 9;
const ROUTE_MASK: u64 = 0x1F << ROUTE_SHIFT;

/// The comparator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Timer {
    configuration: Configuration,
    route: u8,
    comparator: u64,
    /// What is added to the comparator at a match, while periodic.
    period: u64,
    message: u64,
}

impl Timer {
    pub(super) fn new() -> Self {
        Self { configuration: Configuration::empty(), route: 0, comparator: u64::MAX, period: 0, message: 0 }
    }

    pub(super) fn configuration(&self) -> u64 {
        self.configuration.bits() | u64::from(self.route) << ROUTE_SHIFT | CAPABILITIES
    }

    /// A route that it does not have is not taken: software finds out by reading.
    pub(super) fn configure(&mut self, lanes: Lanes) {
        let written = lanes.over(self.configuration());
        self.configuration = Configuration::from_bits_truncate(written);
        let route = ((written & ROUTE_MASK) >> ROUTE_SHIFT) as u8;
        if route == ROUTE || route == 0 {
            self.route = route;
        }
        if self.configuration.contains(Configuration::BITS_32) {
            self.comparator &= self.mask();
            self.period &= self.mask();
        }
    }

    pub(super) fn comparator(&self) -> u64 {
        self.comparator
    }

    /// While periodic, a write sets the period, and the comparator only if software asked for that by "set value".
    pub(super) fn compare(&mut self, lanes: Lanes) {
        if !self.is_periodic() || self.configuration.contains(Configuration::SET_VALUE) {
            self.comparator = lanes.over(self.comparator) & self.mask();
        }
        if self.is_periodic() {
            self.period = lanes.over(self.period) & self.mask();
        }
        self.configuration.remove(Configuration::SET_VALUE);
    }

    pub(super) fn message_register(&self) -> u64 {
        self.message
    }

    pub(super) fn set_message(&mut self, lanes: Lanes) {
        self.message = lanes.over(self.message);
    }

    pub(super) fn route(&self) -> u8 {
        self.route
    }

    pub(super) fn is_level(&self) -> bool {
        self.configuration.contains(Configuration::LEVEL)
    }

    pub(super) fn interrupts(&self) -> bool {
        self.configuration.contains(Configuration::INTERRUPTS)
    }

    /// The message it sends instead of driving a line.
    pub(super) fn message(&self) -> Option<Message> {
        let sends = self.configuration.contains(Configuration::MESSAGE);
        sends.then_some(Message { address: self.message >> 32, data: self.message as u32 })
    }

    fn is_periodic(&self) -> bool {
        self.configuration.contains(Configuration::PERIODIC)
    }

    /// Bits that are compared.
    fn mask(&self) -> u64 {
        if self.configuration.contains(Configuration::BITS_32) { u32::MAX.into() } else { u64::MAX }
    }

    /// Counts from a value of the counter to the match; none if that is as far as it goes.
    pub(super) fn until_match(&self, counter: u64) -> Option<u64> {
        match self.comparator.wrapping_sub(counter) & self.mask() {
            0 => self.mask().checked_add(1),
            counts => Some(counts),
        }
    }

    /// The counter goes on from a value by this many; whether it matched on the way.
    pub(super) fn pass(&mut self, counter: u64, elapsed: u64) -> bool {
        let Some(beyond) = self.until_match(counter).and_then(|until| elapsed.checked_sub(until)) else {
            return false;
        };
        if self.is_periodic() && self.period != 0 {
            let matches = beyond / self.period + 1;
            self.comparator = self.comparator.wrapping_add(matches.wrapping_mul(self.period)) & self.mask();
        }
        true
    }
}
