//! The I/O interrupt controller: 24 inputs, each with a redirection to local APICs (82093AA, with the EOI register of version 0x20).

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::register::{self, Lanes};
use crate::{Context, Delivery, DeliveryMode, Device, Message, Reset};

/// Physical address of the registers.
pub const ADDRESS: u64 = 0xFEC0_0000;
/// Bytes of address space they take.
pub const SIZE: u64 = 0x1000;
/// Inputs: global system interrupts 0 to 23.
pub const PINS: usize = 24;
/// APIC id after a reset.
pub const ID: u8 = 0;

const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const END_OF_INTERRUPT: u64 = 0x40;

const REGISTER_ID: u8 = 0;
const REGISTER_VERSION: u8 = 1;
const REGISTER_ARBITRATION: u8 = 2;
const REGISTER_REDIRECTIONS: u8 = 0x10;

/// Highest redirection, and version 0x20.
const VERSION: u32 = ((PINS as u32 - 1) << 16) | 0x20;

/// Where an input goes: one entry of the redirection table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirection(u64);

impl Redirection {
    /// Delivery status and remote IRR.
    const READ_ONLY: u64 = 1 << 12 | Self::REMOTE_IRR;
    const REMOTE_IRR: u64 = 1 << 14;
    const LEVEL: u64 = 1 << 15;
    const MASKED: u64 = 1 << 16;
    /// Bits that exist: 17 to 55 are reserved.
    const EXISTING: u64 = 0xFF00_0000_0001_FFFF;

    /// The entry as the guest reads it.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// No interrupt passes.
    pub fn is_masked(self) -> bool {
        self.0 & Self::MASKED != 0
    }

    /// Sends while the line is active, each time the one before has ended. Only vectors of a local APIC have an end to wait for.
    pub fn is_level(self) -> bool {
        let ends = matches!(self.delivery().mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority);
        self.0 & Self::LEVEL != 0 && ends
    }

    /// An interrupt was sent and has not ended.
    pub fn awaits_end(self) -> bool {
        self.0 & Self::REMOTE_IRR != 0
    }

    /// What it sends.
    pub fn delivery(self) -> Delivery {
        Delivery {
            destination: (self.0 >> 56) as u8,
            logical: self.0 & 1 << 11 != 0,
            mode: DeliveryMode::from_bits((self.0 >> 8) as u32),
            vector: self.0 as u8,
            level_triggered: self.0 & Self::LEVEL != 0,
            assert: true,
        }
    }

    fn write(&mut self, lanes: Lanes) {
        let written = lanes.over(self.0) & Self::EXISTING;
        self.0 = self.0 & Self::READ_ONLY | written & !Self::READ_ONLY;
        if !self.is_level() {
            // Software that has no EOI register ends an interrupt by a visit to edge mode.
            self.0 &= !Self::REMOTE_IRR;
        }
    }
}

/// The controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IoApic {
    id: u8,
    select: u8,
    redirections: [Redirection; PINS],
    /// Inputs that are active. Whether active means high or low is the business of the wire: polarity is stored and changes nothing.
    active: u32,
}

impl Default for IoApic {
    fn default() -> Self {
        Self::new()
    }
}

impl IoApic {
    /// As after a reset: everything masked.
    pub fn new() -> Self {
        Self { id: ID, select: 0, redirections: [Redirection(Redirection::MASKED); PINS], active: 0 }
    }

    /// The inputs change: bit n is pin n; `risen` are those that became active since the last call, even if they no longer are.
    ///
    /// An edge on a masked input is lost, as in the original.
    pub fn drive(&mut self, active: u32, risen: u32, messages: &mut Vec<Message>) {
        let risen = risen | active & !self.active;
        self.active = active;
        for (pin, redirection) in self.redirections.iter().enumerate() {
            let rose = risen & 1 << pin != 0;
            if rose && !redirection.is_masked() && !redirection.is_level() {
                messages.push(redirection.delivery().message());
            }
        }
        self.send_levels(messages);
    }

    /// A local APIC ends an interrupt with this vector (EOI broadcast), or the guest does by the EOI register.
    pub fn end_of_interrupt(&mut self, vector: u8, messages: &mut Vec<Message>) {
        for redirection in &mut self.redirections {
            if redirection.is_level() && redirection.delivery().vector == vector {
                redirection.0 &= !Redirection::REMOTE_IRR;
            }
        }
        self.send_levels(messages);
    }

    /// The table: entry n is that of pin n.
    pub fn redirections(&self) -> &[Redirection; PINS] {
        &self.redirections
    }

    /// Sends what is active and has not been sent.
    fn send_levels(&mut self, messages: &mut Vec<Message>) {
        for (pin, redirection) in self.redirections.iter_mut().enumerate() {
            let active = self.active & 1 << pin != 0;
            if active && redirection.is_level() && !redirection.is_masked() && !redirection.awaits_end() {
                redirection.0 |= Redirection::REMOTE_IRR;
                messages.push(redirection.delivery().message());
            }
        }
    }

    /// The redirection the select register points at, and how far up its half is shifted.
    fn selected(&mut self) -> Option<(&mut Redirection, u32)> {
        let half = self.select.checked_sub(REGISTER_REDIRECTIONS)?;
        let redirection = self.redirections.get_mut(usize::from(half / 2))?;
        Some((redirection, u32::from(half % 2) * 32))
    }

    fn read_selected(&mut self) -> u32 {
        match self.select {
            REGISTER_ID | REGISTER_ARBITRATION => u32::from(self.id) << 24,
            REGISTER_VERSION => VERSION,
            _ => self.selected().map_or(0, |(redirection, shift)| (redirection.0 >> shift) as u32),
        }
    }

    fn write_selected(&mut self, lanes: Lanes) {
        if self.select == REGISTER_ID {
            self.id = (lanes.over(u64::from(self.id) << 24) >> 24 & 0xF) as u8;
        } else if let Some((redirection, shift)) = self.selected() {
            redirection.write(Lanes { value: lanes.value << shift, mask: lanes.mask << shift });
        }
    }
}

impl Device for IoApic {
    fn read(&mut self, address: u64, size: u8, _: &mut Context) -> u64 {
        register::read(4, address.wrapping_sub(ADDRESS), size, |offset| match offset {
            SELECT => self.select.into(),
            WINDOW => self.read_selected().into(),
            _ => 0,
        })
    }

    fn write(&mut self, address: u64, size: u8, value: u64, cx: &mut Context) {
        register::write(4, address.wrapping_sub(ADDRESS), size, value, |offset, lanes| match offset {
            SELECT => self.select = lanes.over(self.select.into()) as u8,
            WINDOW => {
                self.write_selected(lanes);
                self.send_levels(cx.messages);
            }
            END_OF_INTERRUPT => self.end_of_interrupt(lanes.value as u8, cx.messages),
            _ => {}
        });
    }

    /// The inputs keep their levels: they are not the controller's.
    fn reset(&mut self, _: Reset, _: &mut Context) {
        *self = Self { active: self.active, ..Self::new() };
    }
}
