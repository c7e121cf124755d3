//! What a processor's accesses reach: the board, and the other processors.

use cpu::{Bus, apic};
use devices::VirtualTime;

use crate::board::{Board, World};

/// The bus of one processor for one slice.
pub struct Pins<'a> {
    board: &'a mut Board,
    world: World<'a>,
    /// Interrupts for other processors, in the order they were sent.
    sent: Vec<apic::Message>,
}

impl<'a> Pins<'a> {
    /// For a slice.
    pub fn new(board: &'a mut Board, world: World<'a>) -> Self {
        Self { board, world, sent: Vec::new() }
    }

    /// What was sent to other processors.
    pub fn into_sent(self) -> Vec<apic::Message> {
        self.sent
    }
}

impl Bus for Pins<'_> {
    fn port_read(&mut self, now: u64, port: u16, size: u8) -> u32 {
        self.board.port_read(VirtualTime(now), port, size, &mut self.world)
    }

    fn port_write(&mut self, now: u64, port: u16, size: u8, value: u32) {
        self.board.port_write(VirtualTime(now), port, size, value, &mut self.world);
    }

    fn mmio_read(&mut self, now: u64, address: u64, size: u8) -> u64 {
        self.board.memory_read(VirtualTime(now), address, size, &mut self.world)
    }

    fn mmio_write(&mut self, now: u64, address: u64, size: u8, value: u64) {
        self.board.memory_write(VirtualTime(now), address, size, value, &mut self.world);
    }

    fn acknowledge_interrupt(&mut self, _: u64) -> u8 {
        self.board.pic.acknowledge()
    }

    fn send_interrupt(&mut self, message: apic::Message) {
        self.sent.push(message);
    }

    fn end_of_interrupt(&mut self, vector: u8) {
        self.board.end_of_interrupt(vector);
    }
}
