//! The ways to the reset line: the reset control register (0xCF9), system control port A (0x92), and what is left of a keyboard
//! controller (0x64).

use serde::{Deserialize, Serialize};

use crate::register;
use crate::{Context, Device, PowerRequest, Reset};

/// Reset control register: the ACPI reset register is this one.
pub const RESET_CONTROL: u16 = 0xCF9;
/// What ACPI says to write there.
pub const RESET_VALUE: u8 = SYSTEM_RESET | RESET_PROCESSOR;
/// System control port A.
pub const PORT_A: u16 = 0x92;
/// Command port of a keyboard controller, which this machine does not have.
pub const KEYBOARD_COMMAND: u16 = 0x64;

/// A hard reset rather than one of the processor alone; both reset this machine.
const SYSTEM_RESET: u8 = 1 << 1;
/// Its rise resets.
const RESET_PROCESSOR: u8 = 1 << 2;
/// The whole machine loses power for some seconds.
const FULL_RESET: u8 = 1 << 3;
/// Port A: its rise resets.
const FAST_RESET: u8 = 1 << 0;
/// Port A: address line 20 passes. Stored only: no address is ever masked here.
const A20: u8 = 1 << 1;
/// Keyboard controller: pulse the reset line.
const PULSE_RESET: u8 = 0xFE;

/// What of it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetPort {
    control: u8,
    port_a: u8,
}

impl Default for ResetPort {
    fn default() -> Self {
        Self::new()
    }
}

impl ResetPort {
    /// As after a reset. Firmware has let address line 20 pass.
    pub fn new() -> Self {
        Self { control: 0, port_a: A20 }
    }
}

impl Device for ResetPort {
    fn read(&mut self, address: u64, size: u8, _: &mut Context) -> u64 {
        register::read(1, address, size, |port| match u16::try_from(port) {
            Ok(RESET_CONTROL) => self.control.into(),
            Ok(PORT_A) => self.port_a.into(),
            _ => u64::MAX,
        })
    }

    fn write(&mut self, address: u64, size: u8, value: u64, cx: &mut Context) {
        register::write(1, address, size, value, |port, lanes| {
            let value = lanes.value as u8;
            let reset = match u16::try_from(port) {
                Ok(RESET_CONTROL) => {
                    let rose = value & !self.control & RESET_PROCESSOR != 0;
                    self.control = value & (SYSTEM_RESET | RESET_PROCESSOR | FULL_RESET);
                    rose
                }
                Ok(PORT_A) => {
                    let rose = value & !self.port_a & FAST_RESET != 0;
                    self.port_a = value;
                    rose
                }
                Ok(KEYBOARD_COMMAND) => value == PULSE_RESET,
                _ => false,
            };
            if reset {
                *cx.power = Some(PowerRequest::Reset);
            }
        });
    }

    fn reset(&mut self, _: Reset, _: &mut Context) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bench::Bench;

    fn reset_by(writes: &[(u16, u8)]) -> Option<usize> {
        let (mut bench, mut port) = (Bench::new(), ResetPort::new());
        writes.iter().position(|(address, value)| {
            bench.outb(&mut port, *address, *value);
            bench.power == Some(PowerRequest::Reset)
        })
    }

    #[test]
    fn every_way_resets() {
        // The order of Linux: hard reset announced, then done.
        assert_eq!(reset_by(&[(RESET_CONTROL, 0x02), (RESET_CONTROL, 0x06)]), Some(1));
        assert_eq!(reset_by(&[(RESET_CONTROL, RESET_VALUE)]), Some(0));
        assert_eq!(reset_by(&[(RESET_CONTROL, 0x0E)]), Some(0));
        assert_eq!(reset_by(&[(PORT_A, 0x03)]), Some(0));
        assert_eq!(reset_by(&[(KEYBOARD_COMMAND, 0xFE)]), Some(0));
    }

    #[test]
    fn nothing_else_does() {
        assert_eq!(
            reset_by(&[(RESET_CONTROL, 0x02), (PORT_A, 0x00), (PORT_A, 0x02), (KEYBOARD_COMMAND, 0xAA)]),
            None
        );
    }

    #[test]
    fn address_line_20_is_stored() {
        let (mut bench, mut port) = (Bench::new(), ResetPort::new());
        assert_eq!(bench.inb(&mut port, PORT_A), A20);
        bench.outb(&mut port, PORT_A, 0);
        assert_eq!(bench.inb(&mut port, PORT_A), 0);
        port.reset(Reset::Line, &mut bench.cx());
        assert_eq!(port, ResetPort::new());
        assert_eq!(bench.inb(&mut port, KEYBOARD_COMMAND), 0xFF);
    }

    proptest! {
        #[test]
        fn accesses_that_reach_past_the_ports(address: u64, size: u8, value: u64) {
            let (mut bench, mut port) = (Bench::new(), ResetPort::new());
            port.write(address, size, value, &mut bench.cx());
            port.read(address, size, &mut bench.cx());
        }
    }
}
