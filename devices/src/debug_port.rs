//! Ports for whoever looks from outside: bytes for a log (0xE9), and the end of a test guest (0xF4).

use serde::{Deserialize, Serialize};

use crate::register;
use crate::{Context, Device, Event, PowerRequest, Reset};

/// A byte written is an event; reads give the port's own number, which says that it is there.
pub const LOG: u16 = 0xE9;
/// A byte written ends the run, with it as the status.
pub const EXIT: u16 = 0xF4;

/// Both ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebugPort;

impl Device for DebugPort {
    fn read(&mut self, address: u64, size: u8, _: &mut Context) -> u64 {
        register::read(1, address, size, |port| if port == u64::from(LOG) { port } else { u64::MAX })
    }

    fn write(&mut self, address: u64, size: u8, value: u64, cx: &mut Context) {
        register::write(1, address, size, value, |port, lanes| {
            let byte = lanes.value as u8;
            match u16::try_from(port) {
                Ok(LOG) => {
                    cx.emit(Event::Debug { byte });
                }
                Ok(EXIT) => *cx.power = Some(PowerRequest::DebugExit { status: byte }),
                _ => {}
            }
        });
    }

    fn reset(&mut self, _: Reset, _: &mut Context) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Bench;

    #[test]
    fn bytes_are_events() {
        let mut bench = Bench::new();
        assert_eq!(bench.inb(&mut DebugPort, LOG), 0xE9);
        bench.outb(&mut DebugPort, LOG, b'k');
        assert_eq!(bench.events.seen, [Event::Debug { byte: b'k' }]);
        assert_eq!(bench.power, None);
    }

    #[test]
    fn a_byte_ends_the_run() {
        let mut bench = Bench::new();
        bench.outb(&mut DebugPort, EXIT, 0x31);
        assert_eq!(bench.power, Some(PowerRequest::DebugExit { status: 0x31 }));
        assert_eq!(bench.events.seen, []);
    }
}
