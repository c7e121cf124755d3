//! Devices that answer anything, and always the same.

use cpu::Bus;
use cpu::apic::Message;

/// Keeps a hash of all that was done to it, and answers with that.
#[derive(Debug, Default, PartialEq)]
pub struct Noise {
    hash: u64,
    /// Interrupt messages on their way.
    pub messages: Vec<Message>,
}

impl Noise {
    fn note(&mut self, what: u64, more: u64) -> u64 {
        self.hash = (self.hash ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ more;
        self.hash
    }
}

impl Bus for Noise {
    fn port_read(&mut self, now: u64, port: u16, size: u8) -> u32 {
        let answer = self.note(now, u64::from(port) << 8 | u64::from(size)) as u32;
        if size == 4 { answer } else { answer & ((1 << (8 * size)) - 1) }
    }
    fn port_write(&mut self, now: u64, port: u16, size: u8, value: u32) {
        self.note(now, u64::from(port) << 40 | u64::from(size) << 32 | u64::from(value));
    }
    fn mmio_read(&mut self, now: u64, address: u64, size: u8) -> u64 {
        let answer = self.note(now ^ address << 8, size.into());
        if size == 8 { answer } else { answer & ((1 << (8 * size)) - 1) }
    }
    fn mmio_write(&mut self, now: u64, address: u64, size: u8, value: u64) {
        self.note(now ^ address << 8 ^ u64::from(size), value);
    }
    fn acknowledge_interrupt(&mut self, now: u64) -> u8 {
        self.note(now, 1) as u8
    }
    fn send_interrupt(&mut self, message: Message) {
        self.note(2, 0);
        self.messages.push(message);
    }
    fn end_of_interrupt(&mut self, vector: u8) {
        self.note(3, vector.into());
    }
}
