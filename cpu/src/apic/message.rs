//! Interrupt messages: between processors, from the IOAPIC and from functions of the PCI bus.

use serde::{Deserialize, Serialize};

use crate::state::{Activity, CpuState};

/// What an interrupt does where it arrives (SDM 3A 11.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryMode {
    /// The interrupt of the message's vector.
    Fixed,
    /// The same, at the one of those named that does the least important work.
    LowestPriority,
    /// System management interrupt: this processor has no such mode, the message has no effect.
    Smi,
    /// Non-maskable interrupt.
    Nmi,
    /// INIT.
    Init,
    /// Start-up: the vector numbers the page of the first instruction.
    StartUp,
    /// The vector comes from the 8259 pair.
    ExtInt,
    /// 3: the message has no effect.
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
            6 => Self::StartUp,
            7 => Self::ExtInt,
            _ => Self::Reserved,
        }
    }

    /// Whether the vector of the message is that of the interrupt.
    pub fn has_vector(self) -> bool {
        matches!(self, Self::Fixed | Self::LowestPriority)
    }
}

/// To whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// The one with this id.
    Physical(u32),
    /// All whose logical ids are in this set (SDM 3A 11.6.2.2 and 11.12.10).
    Logical(u32),
    /// All.
    Everyone,
    /// All but the one with this id.
    EveryoneBut(u32),
}

impl Destination {
    /// From the 8 bits of a message-signalled interrupt, an entry of the IOAPIC, or the command register in xAPIC mode.
    pub fn of_8_bits(destination: u8, logical: bool) -> Self {
        match (destination, logical) {
            (0xff, _) => Self::Everyone,
            (set, true) => Self::Logical(u32::from(set)),
            (id, false) => Self::Physical(u32::from(id)),
        }
    }

    /// From the command register in x2APIC mode.
    pub fn of_32_bits(destination: u32, logical: bool) -> Self {
        match (destination, logical) {
            (u32::MAX, _) => Self::Everyone,
            (set, true) => Self::Logical(set),
            (id, false) => Self::Physical(id),
        }
    }
}

/// An interrupt on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// To whom.
    pub destination: Destination,
    /// What it does there.
    pub mode: DeliveryMode,
    /// Vector of Fixed and LowestPriority, page of StartUp; else meaningless.
    pub vector: u8,
    /// Level-triggered: the end of the interrupt is told to the IOAPIC.
    pub level_triggered: bool,
}

/// Gives a message to whom it is meant for; how many took it. Lowest priority: of several that do equally important work, the first.
pub fn deliver<P: AsMut<CpuState>>(processors: &mut [P], message: Message) -> usize {
    let named = processors
        .iter_mut()
        .map(AsMut::as_mut)
        .filter(|processor| processor.apic.is_named(message.destination));
    if message.mode == DeliveryMode::LowestPriority {
        let chosen = named
            .filter(|processor| processor.apic.takes_interrupts())
            .min_by_key(|processor| processor.apic.processor_priority());
        return usize::from(chosen.is_some_and(|processor| processor.accept(message)));
    }
    named.filter_map(|processor| processor.accept(message).then_some(())).count()
}

impl CpuState {
    /// Takes a message that names this processor. Whether it had an effect.
    pub fn accept(&mut self, message: Message) -> bool {
        match message.mode {
            DeliveryMode::Fixed | DeliveryMode::LowestPriority => {
                self.apic.accept(message.vector, message.level_triggered)
            }
            DeliveryMode::Nmi => {
                self.nmi_pending = true;
                true
            }
            DeliveryMode::Init => {
                self.init();
                true
            }
            DeliveryMode::StartUp => {
                if self.activity != Activity::WaitForSipi {
                    return false;
                }
                if let Some(left) = self.start_ups_missed.checked_sub(1) {
                    self.start_ups_missed = left;
                    return false;
                }
                self.start_up(message.vector);
                true
            }
            DeliveryMode::ExtInt => {
                self.apic.latch_extint();
                true
            }
            DeliveryMode::Smi | DeliveryMode::Reserved => false,
        }
    }
}
