//! Interrupt messages: what functions of the PCI bus and the IOAPIC send to local APICs.

use serde::{Deserialize, Serialize};

/// A message-signalled interrupt: a write to 0xFEEx_xxxx (SDM 3A 11.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Message address register.
    pub address: u64,
    /// Message data register.
    pub data: u32,
}

/// How a local APIC treats an interrupt (SDM 3A 11.11.2, the same encoding as in its own registers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryMode {
    /// To all processors named, with the vector of the message.
    Fixed,
    /// To the one of those named that does the least important work.
    LowestPriority,
    /// System management interrupt.
    Smi,
    /// Non-maskable interrupt.
    Nmi,
    /// INIT.
    Init,
    /// The vector comes from the 8259 pair.
    ExtInt,
    /// 3 and 6 mean nothing: such a message is dropped.
    Reserved,
}

impl DeliveryMode {
    /// Of the lowest three bits.
    pub fn from_bits(bits: u32) -> Self {
        match bits & 7 {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            7 => Self::ExtInt,
            _ => Self::Reserved,
        }
    }

    fn bits(self) -> u32 {
        match self {
            Self::Fixed => 0,
            Self::LowestPriority => 1,
            Self::Smi => 2,
            Self::Reserved => 3,
            Self::Nmi => 4,
            Self::Init => 5,
            Self::ExtInt => 7,
        }
    }
}

/// What a [`Message`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// APIC id, or a set of logical ids.
    pub destination: u8,
    /// Whether `destination` is a logical one.
    pub logical: bool,
    /// What to do with it.
    pub mode: DeliveryMode,
    /// Vector; meaningless in SMI, NMI, INIT and ExtINT.
    pub vector: u8,
    /// Level-triggered: the end of the interrupt is told to the IOAPIC.
    pub level_triggered: bool,
    /// The level; false only for a level-triggered message that ends an assertion.
    pub assert: bool,
}

const WINDOW: u64 = 0xFEE0_0000;
const LOGICAL: u64 = 1 << 2;
const ASSERT: u32 = 1 << 14;
const LEVEL: u32 = 1 << 15;

impl Message {
    /// Decodes; none if the address is not a local APIC's, where the write would go to memory.
    pub fn delivery(self) -> Option<Delivery> {
        if self.address & !0xF_FFFF != WINDOW {
            return None;
        }
        let level_triggered = self.data & LEVEL != 0;
        Some(Delivery {
            destination: (self.address >> 12) as u8,
            logical: self.address & LOGICAL != 0,
            mode: DeliveryMode::from_bits(self.data >> 8),
            vector: self.data as u8,
            level_triggered,
            assert: !level_triggered || self.data & ASSERT != 0,
        })
    }
}

impl Delivery {
    /// Encodes.
    pub fn message(self) -> Message {
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        Message {
            address: WINDOW | u64::from(self.destination) << 12 | if self.logical { LOGICAL } else { 0 },
            data: u32::from(self.vector)
                | self.mode.bits() << 8
                | flag(self.assert, ASSERT)
                | flag(self.level_triggered, LEVEL),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_message_says_what_was_meant(
            destination: u8, logical: bool, mode in 0u32..8, vector: u8, level_triggered: bool,
        ) {
            let mode = DeliveryMode::from_bits(mode);
            let meant = Delivery { destination, logical, mode, vector, level_triggered, assert: true };
            prop_assert_eq!(meant.message().delivery(), Some(meant));
        }

        #[test]
        fn only_the_apic_window_is_heard(address: u64, data: u32) {
            let heard = Message { address, data }.delivery();
            prop_assert_eq!(heard.is_some(), (0xFEE0_0000..=0xFEEF_FFFF).contains(&address));
        }
    }
}
