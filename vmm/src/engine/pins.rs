//! What a processor's accesses reach: the board, and the other processors.

use cpu::bus::Here;
use cpu::exec::{MMIO_NS, PORT_NS};
use cpu::{Bus, NS_PER_INSTRUCTION, apic};
use devices::{Ipi, Moment, Traffic, VirtualTime};

use crate::board::{Board, World};
use crate::code_watch::CodeWatch;

/// The bus of one processor for one slice.
pub struct Pins<'a> {
    board: &'a mut Board,
    world: World<'a>,
    /// Interrupts for other processors, in the order they were sent.
    sent: Vec<apic::Message>,
    /// Run time at the start of the slice.
    start: u64,
    /// Instructions retired before it.
    before: u64,
    accessed: bool,
    code_watch: &'a mut CodeWatch,
}

impl<'a> Pins<'a> {
    /// For a slice that starts now.
    pub fn new(board: &'a mut Board, world: World<'a>, code_watch: &'a mut CodeWatch) -> Self {
        let (start, before) = (world.clock.now().0, world.instructions);
        Self { board, world, sent: Vec::new(), start, before, accessed: false, code_watch }
    }

    /// An access that is over at this time, having taken so long. The first one of a slice comes before anything was spent but
    /// instructions, and its instruction ends the slice: all others are of the same instruction.
    fn at(&mut self, now: u64, taken: u64) -> VirtualTime {
        if !std::mem::replace(&mut self.accessed, true) {
            self.world.instructions = self
                .before
                .saturating_add(now.saturating_sub(self.start.saturating_add(taken)) / NS_PER_INSTRUCTION);
        }
        VirtualTime(now)
    }

    /// What was sent to other processors.
    pub fn into_sent(self) -> Vec<apic::Message> {
        self.sent
    }
}

impl Bus for Pins<'_> {
    fn port_read(&mut self, now: u64, port: u16, size: u8) -> u32 {
        let now = self.at(now, PORT_NS);
        self.board.port_read(now, port, size, &mut self.world)
    }

    fn port_write(&mut self, now: u64, port: u16, size: u8, value: u32) {
        let now = self.at(now, PORT_NS);
        self.board.port_write(now, port, size, value, &mut self.world);
    }

    fn mmio_read(&mut self, now: u64, address: u64, size: u8) -> u64 {
        let now = self.at(now, MMIO_NS);
        self.board.memory_read(now, address, size, &mut self.world)
    }

    fn mmio_write(&mut self, now: u64, address: u64, size: u8, value: u64) {
        let now = self.at(now, MMIO_NS);
        self.board.memory_write(now, address, size, value, &mut self.world);
    }

    fn acknowledge_interrupt(&mut self, _: u64) -> u8 {
        self.board.pic.acknowledge()
    }

    fn send_interrupt(&mut self, message: apic::Message) {
        if self.world.observer.wants_traffic() {
            let World { instructions, processor, ref clock, .. } = self.world;
            // Of the start of the slice: the sender's own time is not said here.
            let at = Moment { time: clock.now(), instructions, processor };
            let kind = match message.mode {
                apic::DeliveryMode::Fixed | apic::DeliveryMode::LowestPriority => Ipi::Interrupt,
                apic::DeliveryMode::Nmi => Ipi::Nmi,
                apic::DeliveryMode::Init => Ipi::Init,
                apic::DeliveryMode::StartUp => Ipi::StartUp,
                apic::DeliveryMode::Smi | apic::DeliveryMode::ExtInt | apic::DeliveryMode::Reserved => {
                    Ipi::Other
                }
            };
            let traffic = Traffic::Interrupt { kind, vector: message.vector };
            self.world.observer.traffic(at, traffic);
        }
        self.sent.push(message);
    }

    fn end_of_interrupt(&mut self, vector: u8) {
        self.board.end_of_interrupt(vector);
    }

    fn watches_code(&self) -> bool {
        !self.code_watch.is_empty()
    }

    fn next_watched(&self, linear: u64, bytes: u64) -> Option<u64> {
        self.code_watch.next(linear, bytes)
    }

    fn about_to_execute(&mut self, here: &Here<'_>) -> bool {
        let World { processor, .. } = self.world;
        let instructions = self.before.saturating_add(here.retired);
        let at = Moment { time: VirtualTime(here.now), instructions, processor };
        let stops = self.code_watch.tell(here, at, self.world.observer);
        self.board.signals.triggered |= stops;
        stops
    }
}
