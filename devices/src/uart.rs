//! A serial port: the 16550A.
//!
//! At [`Speed::Instant`] a byte written has left at once, so that the transmitter is always ready and a driver never polls; bytes
//! from the other end are there the moment they arrive. The other end is held back instead of overrunning the receiver's FIFO.

mod description;
mod receiver;
mod registers;
#[cfg(test)]
mod tests;
mod transmitter;

use serde::{Deserialize, Serialize};

use self::receiver::Receiver;
use self::registers::{Enable, FifoControl, LineControl, LineStatus, ModemControl, ModemStatus};
use self::transmitter::Transmitter;
use crate::register;
use crate::{Context, Device, Event, Gsi, Reset, VirtualTime};

/// Ports a UART takes.
pub const PORTS: u8 = 8;

/// Bytes either FIFO holds.
const FIFO: usize = 16;

/// How long a byte is on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speed {
    /// Not at all.
    Instant,
    /// As long as divisor and frame format say.
    AsProgrammed,
}

/// What does not change while the machine exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Which one: 0 is COM1.
    pub number: u8,
    /// First port.
    pub port: u16,
    /// Interrupt.
    pub interrupt: Gsi,
    /// How long a byte is on the line.
    pub speed: Speed,
}

impl Config {
    /// The first serial port.
    pub const COM1: Self = Self { number: 0, port: 0x3F8, interrupt: Gsi(4), speed: Speed::Instant };
    /// The second.
    pub const COM2: Self = Self { number: 1, port: 0x2F8, interrupt: Gsi(3), speed: Speed::Instant };
}

/// The port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Uart {
    config: Config,
    divisor: u16,
    enable: Enable,
    fifo: FifoControl,
    line_control: LineControl,
    modem_control: ModemControl,
    /// The lower four bits: what changed since the last read.
    modem_changes: ModemStatus,
    scratch: u8,
    receiver: Receiver,
    transmitter: Transmitter,
    /// The transmitter ran empty, and nobody has been told (THRE interrupt).
    empty_pending: bool,
    /// When the interrupt line was last driven.
    settled: VirtualTime,
}

/// Why a UART interrupts, most important first (16550A data sheet, table III).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    LineStatus,
    Received,
    ReceiverTimeout,
    TransmitterEmpty,
    ModemStatus,
}

impl Uart {
    /// As after a reset. Firmware has set 115200 baud, 8 bits, as it would for its console.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            divisor: 1,
            enable: Enable::empty(),
            fifo: FifoControl::empty(),
            line_control: LineControl::EIGHT_BITS,
            modem_control: ModemControl::empty(),
            modem_changes: ModemStatus::empty(),
            scratch: 0,
            receiver: Receiver::default(),
            transmitter: Transmitter::default(),
            empty_pending: false,
            settled: VirtualTime(0),
        }
    }

    /// What does not change.
    pub fn config(&self) -> Config {
        self.config
    }

    /// Bytes from the other end, which leave it at this time or later: after those that came before, and when there is room.
    pub fn receive(&mut self, at: VirtualTime, bytes: &[u8], cx: &mut Context) {
        self.receiver.queue(at, bytes);
        self.settle(cx);
    }

    /// Bytes from the other end that wait to enter.
    pub fn waiting(&self) -> usize {
        self.receiver.waiting()
    }

    /// Nanoseconds a character is on the line: start bit, data, parity, stop bits, each 16 times the divisor at 1.8432 MHz.
    fn character_time(&self) -> u64 {
        match self.config.speed {
            Speed::Instant => 0,
            Speed::AsProgrammed => {
                let bits = self.line_control.bits_a_character();
                // A divisor of 0 counts as the highest.
                let divisor = if self.divisor == 0 { 1 << 16 } else { u64::from(self.divisor) };
                bits * divisor * 16 * 1_000_000_000 / 1_843_200
            }
        }
    }

    fn has_fifo(&self) -> bool {
        self.fifo.contains(FifoControl::ENABLE)
    }

    /// Bytes a FIFO holds, or the register in its place.
    fn room(&self) -> usize {
        if self.has_fifo() { FIFO } else { 1 }
    }

    /// Enough bytes came to interrupt at once.
    fn is_filled(&self) -> bool {
        self.receiver.len() >= if self.has_fifo() { self.fifo.trigger() } else { 1 }
    }

    fn loops_back(&self) -> bool {
        self.modem_control.contains(ModemControl::LOOPBACK)
    }

    /// Does what time brought, and drives the interrupt line.
    fn settle(&mut self, cx: &mut Context) {
        self.transmit(cx);
        if !self.loops_back() {
            self.receiver.admit(cx.now, self.room(), self.character_time());
        }
        self.settled = cx.now;
        let active = self.cause(cx.now).is_some() && self.modem_control.contains(ModemControl::OUT2);
        // In loopback the outputs, the interrupt's gate among them, are inactive.
        cx.lines.set(self.config.interrupt, active && !self.loops_back());
    }

    /// Bytes that have left: to the other end, or in loopback to the receiver.
    fn transmit(&mut self, cx: &mut Context) {
        let character = self.character_time();
        while let Some((byte, ran_empty)) = self.transmitter.depart(cx.now, character) {
            if self.loops_back() {
                self.receiver.put(cx.now, byte, self.room());
            } else {
                cx.emit(Event::Serial { port: self.config.number, byte });
            }
            self.empty_pending |= ran_empty;
        }
    }

    /// Why it interrupts, if it does.
    fn cause(&self, now: VirtualTime) -> Option<Cause> {
        let received = self.enable.contains(Enable::RECEIVED);
        if self.enable.contains(Enable::LINE_STATUS) && !self.receiver.errors().is_empty() {
            Some(Cause::LineStatus)
        } else if received && self.is_filled() {
            Some(Cause::Received)
        } else if received && self.timeout().is_some_and(|timeout| timeout <= now) {
            Some(Cause::ReceiverTimeout)
        } else if self.enable.contains(Enable::TRANSMITTER_EMPTY) && self.empty_pending {
            Some(Cause::TransmitterEmpty)
        } else if self.enable.contains(Enable::MODEM_STATUS) && !self.modem_changes.is_empty() {
            Some(Cause::ModemStatus)
        } else {
            None
        }
    }

    /// When bytes below the trigger level are announced: four characters after the last one came or was read.
    fn timeout(&self) -> Option<VirtualTime> {
        let waits = self.has_fifo() && self.receiver.len() > 0;
        waits.then(|| self.receiver.last_use().after(4 * self.character_time()))
    }

    fn line_status(&self) -> LineStatus {
        let mut status = self.receiver.errors();
        status.set(LineStatus::DATA_READY, self.receiver.len() > 0);
        status.set(LineStatus::TRANSMITTER_HOLDING_EMPTY, self.transmitter.holding_is_empty());
        status.set(LineStatus::TRANSMITTER_EMPTY, self.transmitter.is_idle());
        status
    }

    /// The inputs of the modem: the other end is always there and ready, or in loopback what the outputs say.
    fn modem_lines(&self) -> ModemStatus {
        if !self.loops_back() {
            return ModemStatus::CLEAR_TO_SEND | ModemStatus::DATA_SET_READY | ModemStatus::CARRIER;
        }
        let mut lines = ModemStatus::empty();
        lines.set(ModemStatus::CLEAR_TO_SEND, self.modem_control.contains(ModemControl::REQUEST_TO_SEND));
        lines.set(ModemStatus::DATA_SET_READY, self.modem_control.contains(ModemControl::TERMINAL_READY));
        lines.set(ModemStatus::RING, self.modem_control.contains(ModemControl::OUT1));
        lines.set(ModemStatus::CARRIER, self.modem_control.contains(ModemControl::OUT2));
        lines
    }

    fn write_modem_control(&mut self, value: u8) {
        let before = self.modem_lines();
        self.modem_control = ModemControl::from_bits_truncate(value);
        self.modem_changes |= before.changes(self.modem_lines());
    }

    fn write_fifo_control(&mut self, value: u8) {
        let fifo = FifoControl::from_bits_truncate(value);
        let switched = (fifo ^ self.fifo).contains(FifoControl::ENABLE);
        if switched || fifo.contains(FifoControl::CLEAR_RECEIVER) {
            self.receiver.clear();
        }
        if switched || fifo.contains(FifoControl::CLEAR_TRANSMITTER) {
            self.empty_pending |= self.transmitter.clear();
        }
        // Without the enable bit the others are not written; the clears clear themselves.
        self.fifo = if fifo.contains(FifoControl::ENABLE) {
            fifo & FifoControl::STORED
        } else {
            FifoControl::empty()
        };
    }

    fn write_enable(&mut self, value: u8) {
        let enable = Enable::from_bits_truncate(value);
        // An empty transmitter says so as soon as somebody wants to know.
        if (enable & !self.enable).contains(Enable::TRANSMITTER_EMPTY) && self.transmitter.holding_is_empty()
        {
            self.empty_pending = true;
        }
        self.enable = enable;
    }

    fn read_interrupt_identification(&mut self, now: VirtualTime) -> u8 {
        let fifos = if self.has_fifo() { 0xC0 } else { 0 };
        fifos
            | match self.cause(now) {
                None => 0x1,
                Some(Cause::LineStatus) => 0x6,
                Some(Cause::Received) => 0x4,
                Some(Cause::ReceiverTimeout) => 0xC,
                Some(Cause::TransmitterEmpty) => {
                    self.empty_pending = false;
                    0x2
                }
                Some(Cause::ModemStatus) => 0x0,
            }
    }

    fn read_register(&mut self, register: u64, now: VirtualTime) -> u8 {
        let [divisor_low, divisor_high] = self.divisor.to_le_bytes();
        match (register, self.line_control.contains(LineControl::DIVISOR)) {
            (0, true) => divisor_low,
            (1, true) => divisor_high,
            (0, false) => self.receiver.take(now),
            (1, false) => self.enable.bits(),
            (2, _) => self.read_interrupt_identification(now),
            (3, _) => self.line_control.bits(),
            (4, _) => self.modem_control.bits(),
            (5, _) => {
                let status = self.line_status();
                self.receiver.forget_errors();
                status.bits()
            }
            (6, _) => {
                let changes = std::mem::replace(&mut self.modem_changes, ModemStatus::empty());
                (self.modem_lines() | changes).bits()
            }
            (7, _) => self.scratch,
            _ => u8::MAX,
        }
    }

    fn write_register(&mut self, register: u64, value: u8, cx: &mut Context) {
        let [divisor_low, divisor_high] = self.divisor.to_le_bytes();
        match (register, self.line_control.contains(LineControl::DIVISOR)) {
            (0, true) => self.divisor = u16::from_le_bytes([value, divisor_high]),
            (1, true) => self.divisor = u16::from_le_bytes([divisor_low, value]),
            (0, false) => {
                self.empty_pending = self.transmitter.put(cx.now, value, self.room(), self.character_time());
            }
            (1, false) => self.write_enable(value),
            (2, _) => self.write_fifo_control(value),
            (3, _) => self.line_control = LineControl::from_bits_retain(value),
            (4, _) => self.write_modem_control(value),
            // Line and modem status are not for writing.
            (7, _) => self.scratch = value,
            _ => {}
        }
    }
}

impl Device for Uart {
    fn read(&mut self, address: u64, size: u8, cx: &mut Context) -> u64 {
        let offset = address.wrapping_sub(self.config.port.into());
        register::read(1, offset, size, |register| {
            self.settle(cx);
            let value = self.read_register(register, cx.now);
            self.settle(cx);
            value.into()
        })
    }

    fn write(&mut self, address: u64, size: u8, value: u64, cx: &mut Context) {
        let offset = address.wrapping_sub(self.config.port.into());
        register::write(1, offset, size, value, |register, lanes| {
            self.settle(cx);
            self.write_register(register, lanes.value as u8, cx);
            self.settle(cx);
        });
    }

    /// A byte on its way leaves at its time; one that would enter unnoticed need not.
    fn deadline(&self) -> Option<VirtualTime> {
        let departure = self.transmitter.next_departure();
        if !self.enable.contains(Enable::RECEIVED) || self.loops_back() {
            return departure;
        }
        let arrival = self.receiver.next_arrival(self.room(), self.character_time());
        let timeout = self.timeout().filter(|timeout| !self.is_filled() && *timeout > self.settled);
        [departure, arrival, timeout].into_iter().flatten().min()
    }

    fn tick(&mut self, cx: &mut Context) {
        if self.deadline().is_some_and(|due| due <= cx.now) {
            self.settle(cx);
        }
    }

    /// What was on its way is lost, in both directions.
    fn reset(&mut self, _: Reset, cx: &mut Context) {
        *self = Self::new(self.config);
        self.settle(cx);
    }
}
