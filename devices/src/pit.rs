//! The interval timer (8254), and port 0x61 beside it: gate and output of its third counter, and the speaker.
//!
//! Counts and outputs are computed from the time when they are looked at. Only the rises of counter 0's output, interrupt 0, are
//! worth a deadline, and only while an interrupt controller lets them pass: the board says so with [`Pit::watch`].

mod counter;
mod description;
#[cfg(test)]
mod tests;
mod wave;

use serde::{Deserialize, Serialize};

use self::counter::Counter;
use crate::oscillator::Frequency;
use crate::register;
use crate::{Context, Device, Gsi, Reset, VirtualTime};

/// First of four ports: three counters and the control word.
pub const PORT: u16 = 0x40;
/// System control port B.
pub const PORT_B: u16 = 0x61;
/// Line of counter 0's output.
pub const INTERRUPT: Gsi = Gsi(0);

const CONTROL: u16 = 0x43;

/// Port B: gate of counter 2.
const GATE_2: u8 = 1 << 0;
/// Port B: what is written is read back: gate, speaker, and two enables of checks this board does not have.
const STORED: u8 = 0xF;
/// Port B: changes with each refresh of memory.
const REFRESH: u8 = 1 << 4;
/// Port B: output of counter 2.
const OUTPUT_2: u8 = 1 << 5;
/// Clocks between two refreshes: 15 microseconds.
const REFRESH_CLOCKS: u64 = 18;

/// The timer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pit {
    counters: [Counter; 3],
    port_b: u8,
    /// Whether interrupt 0 can reach a processor.
    watched: bool,
    /// Clock up to which the interrupt line has been driven.
    driven: u64,
}

/// Clocks since power came on: run time 0 is clock 0.
fn clock(now: VirtualTime) -> u64 {
    Frequency::INTERVAL_TIMER.periods(now.0)
}

impl Default for Pit {
    fn default() -> Self {
        Self::new()
    }
}

impl Pit {
    /// As it is when power comes on: no counter has been programmed. The gates of the first two are wired high.
    pub fn new() -> Self {
        Self {
            counters: [Counter::new(true), Counter::new(true), Counter::new(false)],
            port_b: 0,
            watched: false,
            driven: 0,
        }
    }

    /// Whether an interrupt controller lets interrupt 0 pass. Edges that came while it did not are shown now, as one: the controllers
    /// decide what an edge on a masked input is worth.
    pub fn watch(&mut self, watched: bool, cx: &mut Context) {
        if watched && !self.watched {
            self.drive(cx);
        }
        self.watched = watched;
    }

    /// Shows the edges that came while no controller let interrupt 0 pass, as one: a controller's requests are about to be read.
    pub fn show(&mut self, cx: &mut Context) {
        self.drive(cx);
    }

    /// Brings the interrupt line up to date.
    fn drive(&mut self, cx: &mut Context) {
        let now = clock(cx.now);
        let [counter, ..] = &self.counters;
        if counter.next_rise(self.driven).is_some_and(|rise| rise <= now) {
            cx.lines.pulse(INTERRUPT);
        }
        self.driven = now;
        cx.lines.set(INTERRUPT, counter.output(now));
    }

    fn write_control(&mut self, value: u8, now: u64) {
        let selected = usize::from(value >> 6);
        if let Some(counter) = self.counters.get_mut(selected) {
            counter.control(value, now);
            return;
        }
        // Read-back: the two latches are active low.
        for (n, counter) in self.counters.iter_mut().enumerate() {
            if value & 2 << n != 0 {
                if value & 1 << 5 == 0 {
                    counter.latch_count(now);
                }
                if value & 1 << 4 == 0 {
                    counter.latch_status(now);
                }
            }
        }
    }

    fn read_port_b(&self, now: u64) -> u8 {
        let refresh = if (now / REFRESH_CLOCKS).is_multiple_of(2) { 0 } else { REFRESH };
        let [.., third] = &self.counters;
        self.port_b | refresh | if third.output(now) { OUTPUT_2 } else { 0 }
    }

    fn write_port_b(&mut self, value: u8, now: u64) {
        self.port_b = value & STORED;
        let [.., third] = &mut self.counters;
        third.set_gate(value & GATE_2 != 0, now);
    }

    /// The counter behind a port.
    fn counter(&mut self, port: u16) -> Option<&mut Counter> {
        self.counters.get_mut(usize::from(port.checked_sub(PORT)?))
    }
}

impl Device for Pit {
    fn read(&mut self, address: u64, size: u8, cx: &mut Context) -> u64 {
        let now = clock(cx.now);
        register::read(1, address, size, |port| {
            let port = u16::try_from(port).unwrap_or(0);
            match port {
                PORT_B => self.read_port_b(now),
                _ => self.counter(port).map_or(u8::MAX, |counter| counter.read(now)),
            }
            .into()
        })
    }

    fn write(&mut self, address: u64, size: u8, value: u64, cx: &mut Context) {
        self.drive(cx);
        let now = clock(cx.now);
        register::write(1, address, size, value, |port, lanes| {
            let port = u16::try_from(port).unwrap_or(0);
            let value = lanes.value as u8;
            match port {
                CONTROL => self.write_control(value, now),
                PORT_B => self.write_port_b(value, now),
                _ => {
                    if let Some(counter) = self.counter(port) {
                        counter.write(value, now);
                    }
                }
            }
        });
        self.drive(cx);
    }

    fn deadline(&self) -> Option<VirtualTime> {
        let [counter, ..] = &self.counters;
        let rise = counter.next_rise(self.driven).filter(|_| self.watched)?;
        Some(VirtualTime(Frequency::INTERVAL_TIMER.nanoseconds(rise)))
    }

    fn tick(&mut self, cx: &mut Context) {
        if self.deadline().is_some_and(|due| due <= cx.now) {
            self.drive(cx);
        }
    }

    fn reset(&mut self, _: Reset, cx: &mut Context) {
        *self = Self { driven: clock(cx.now), watched: self.watched, ..Self::new() };
        self.drive(cx);
    }
}
