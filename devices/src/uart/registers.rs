//! The registers, by name (16550A data sheet, "Register summary").

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

bitflags! {
    /// IER. The upper half does not exist.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) struct Enable: u8 {
        const RECEIVED = 1 << 0;
        const TRANSMITTER_EMPTY = 1 << 1;
        const LINE_STATUS = 1 << 2;
        const MODEM_STATUS = 1 << 3;
    }

    /// FCR. DMA mode changes two pins that lead nowhere.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) struct FifoControl: u8 {
        const ENABLE = 1 << 0;
        const CLEAR_RECEIVER = 1 << 1;
        const CLEAR_TRANSMITTER = 1 << 2;
        const TRIGGER = 3 << 6;
    }

    /// LCR.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) struct LineControl: u8 {
        const EIGHT_BITS = 3;
        const TWO_STOP_BITS = 1 << 2;
        const PARITY = 1 << 3;
        const EVEN_PARITY = 1 << 4;
        const STICK_PARITY = 1 << 5;
        const BREAK = 1 << 6;
        const DIVISOR = 1 << 7;
    }

    /// MCR.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) struct ModemControl: u8 {
        const TERMINAL_READY = 1 << 0;
        const REQUEST_TO_SEND = 1 << 1;
        const OUT1 = 1 << 2;
        /// In a PC the gate of the interrupt.
        const OUT2 = 1 << 3;
        const LOOPBACK = 1 << 4;
    }

    /// LSR.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) struct LineStatus: u8 {
        const DATA_READY = 1 << 0;
        const OVERRUN = 1 << 1;
        const TRANSMITTER_HOLDING_EMPTY = 1 << 5;
        const TRANSMITTER_EMPTY = 1 << 6;
    }

    /// MSR.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub(super) struct ModemStatus: u8 {
        const CLEAR_TO_SEND_CHANGED = 1 << 0;
        const DATA_SET_READY_CHANGED = 1 << 1;
        const RING_ENDED = 1 << 2;
        const CARRIER_CHANGED = 1 << 3;
        const CLEAR_TO_SEND = 1 << 4;
        const DATA_SET_READY = 1 << 5;
        const RING = 1 << 6;
        const CARRIER = 1 << 7;
    }
}

impl FifoControl {
    pub(super) const STORED: Self = Self::ENABLE.union(Self::TRIGGER);

    /// Bytes at which the receiver interrupts.
    pub(super) fn trigger(self) -> usize {
        match (self & Self::TRIGGER).bits() >> 6 {
            0 => 1,
            1 => 4,
            2 => 8,
            _ => 14,
        }
    }
}

impl LineControl {
    /// Bits on the line for each character; one and a half stop bits count as two.
    pub(super) fn bits_a_character(self) -> u64 {
        let data = 5 + u64::from((self & Self::EIGHT_BITS).bits());
        1 + data + u64::from(self.contains(Self::PARITY)) + 1 + u64::from(self.contains(Self::TWO_STOP_BITS))
    }
}

impl ModemStatus {
    /// The delta bits for a change of the lines: ring tells of its end only.
    pub(super) fn changes(self, to: Self) -> Self {
        let changed = self ^ to;
        let mut changes = Self::empty();
        changes.set(Self::CLEAR_TO_SEND_CHANGED, changed.contains(Self::CLEAR_TO_SEND));
        changes.set(Self::DATA_SET_READY_CHANGED, changed.contains(Self::DATA_SET_READY));
        changes.set(Self::RING_ENDED, changed.contains(Self::RING) && !to.contains(Self::RING));
        changes.set(Self::CARRIER_CHANGED, changed.contains(Self::CARRIER));
        changes
    }
}
