//! The pair of interrupt controllers of the ISA bus: two 8259A, the second behind input 2 of the first, with the edge/level
//! registers of EISA.

mod controller;
mod description;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::controller::Controller;
use crate::register;
use crate::{Context, Device, Reset};

/// Command and data port of the first controller.
pub const FIRST: u16 = 0x20;
/// Command and data port of the second.
pub const SECOND: u16 = 0xA0;
/// Edge/level registers of the first and the second.
pub const EDGE_LEVEL: u16 = 0x4D0;
/// Input of the first controller that the second one drives.
pub const CASCADE: u8 = 2;

/// Inputs that can be level-triggered: not the timer, keyboard and cascade, nor the clock and the coprocessor.
const CAN_BE_LEVEL: [u8; 2] = [0xF8, 0xDE];

/// The pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PicPair {
    first: Controller,
    second: Controller,
}

impl Default for PicPair {
    fn default() -> Self {
        Self::new()
    }
}

impl PicPair {
    /// As firmware leaves it: vectors 8 to 15 and 0x70 to 0x77, everything masked.
    pub fn new() -> Self {
        Self { first: Controller::new(0x08, 1 << CASCADE), second: Controller::new(0x70, 0) }
    }

    /// The inputs change: bit n is ISA interrupt n; `risen` are those that became active since the last call, even if they no
    /// longer are. Bit 2 means nothing: the cascade takes that input.
    pub fn drive(&mut self, active: u16, risen: u16) {
        let [active, active_second] = active.to_le_bytes();
        let [risen, risen_second] = risen.to_le_bytes();
        self.second.drive(active_second, risen_second);
        let cascade = 1 << CASCADE;
        let held = self.first.active() & cascade;
        self.first.drive(active & !cascade | held, risen & !cascade);
        self.cascade();
    }

    /// Whether software keeps an interrupt from passing, 0 to 15; the others never pass.
    pub fn is_masked(&self, interrupt: u8) -> bool {
        match interrupt {
            0..8 => self.first.is_masked(interrupt),
            8..16 => self.second.is_masked(interrupt - 8) || self.first.is_masked(CASCADE),
            _ => true,
        }
    }

    /// Whether the output to the processor is active.
    pub fn output(&self) -> bool {
        self.first.request().is_some()
    }

    /// The vector that [`PicPair::acknowledge`] would give, if the output is active.
    pub fn pending_vector(&self) -> Option<u8> {
        let input = self.first.request()?;
        Some(if input == CASCADE {
            self.second.vector(self.second.request().unwrap_or(controller::SPURIOUS))
        } else {
            self.first.vector(input)
        })
    }

    /// The processor takes the interrupt and gets its vector: that of input 7 of a controller whose request is gone.
    pub fn acknowledge(&mut self) -> u8 {
        let input = self.first.acknowledge();
        if input != Some(CASCADE) {
            return self.first.vector(input.unwrap_or(controller::SPURIOUS));
        }
        let vector = self.acknowledge_second();
        self.cascade();
        vector
    }

    /// The second controller's output falls while it is acknowledged: what it asks for next is a new edge for the first.
    fn acknowledge_second(&mut self) -> u8 {
        let input = self.second.acknowledge().unwrap_or(controller::SPURIOUS);
        self.first.drive(self.first.active() & !(1 << CASCADE), 0);
        self.second.vector(input)
    }

    /// The output of the second controller is an input of the first.
    fn cascade(&mut self) {
        let others = self.first.active() & !(1 << CASCADE);
        let second = u8::from(self.second.request().is_some()) << CASCADE;
        self.first.drive(others | second, 0);
    }
}

impl Device for PicPair {
    fn read(&mut self, address: u64, size: u8, _: &mut Context) -> u64 {
        let value = register::read(1, address, size, |port| {
            match port {
                0x20 => self.first.read_command(),
                0x21 => self.first.read_data(),
                0xA0 => self.second.read_command(),
                0xA1 => self.second.read_data(),
                0x4D0 => self.first.level_triggered(),
                0x4D1 => self.second.level_triggered(),
                _ => u8::MAX,
            }
            .into()
        });
        self.cascade();
        value
    }

    fn write(&mut self, address: u64, size: u8, value: u64, _: &mut Context) {
        register::write(1, address, size, value, |port, lanes| {
            let value = lanes.value as u8;
            match port {
                0x20 => self.first.write_command(value),
                0x21 => self.first.write_data(value),
                0xA0 => self.second.write_command(value),
                0xA1 => self.second.write_data(value),
                0x4D0 => self.first.set_level_triggered(value & CAN_BE_LEVEL[0]),
                0x4D1 => self.second.set_level_triggered(value & CAN_BE_LEVEL[1]),
                _ => {}
            }
        });
        self.cascade();
    }

    /// The inputs keep their levels: they are not the controllers'.
    fn reset(&mut self, _: Reset, _: &mut Context) {
        let active = u16::from_le_bytes([self.first.active(), self.second.active()]);
        *self = Self::new();
        self.drive(active, 0);
    }
}
