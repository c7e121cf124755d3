//! The board: the whole PC but its processors and its memory, on one page.

mod decode;
mod description;
mod interrupts;

use devices::acpi_pm::{self, AcpiPm};
use devices::debug_port::DebugPort;
use devices::ioapic::IoApic;
use devices::pci;
use devices::pic::PicPair;
use devices::pit::Pit;
use devices::post::Post;
use devices::reset_port::ResetPort;
use devices::rtc::Rtc;
use devices::uart::{self, Uart};
use devices::{Context, Device, Lines, Message, Observer, PowerRequest, Reset, VirtualTime};
use ram::GuestRam;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// Every device, and the wires between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Board {
    /// Interrupt controllers of the ISA bus.
    pub pic: PicPair,
    /// Interrupt controller for everything.
    pub ioapic: IoApic,
    /// Timer and speaker.
    pub pit: Pit,
    /// Clock and CMOS memory.
    pub rtc: Rtc,
    /// ACPI fixed hardware.
    pub pm: AcpiPm,
    /// The console.
    pub com1: Uart,
    /// The agent's line.
    pub com2: Uart,
    /// For guests that test us.
    pub debug: DebugPort,
    /// The ways to pull the reset line.
    pub reset: ResetPort,
    /// Port 0x80.
    pub post: Post,
    /// PCI bus 0.
    pub pci: pci::Bus,
    /// What devices did that others have not seen yet.
    pub signals: Signals,
}

/// Wires.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    /// Interrupt lines.
    pub lines: Lines,
    /// Levels that the interrupt controllers saw last.
    seen: u32,
    /// Interrupt messages on their way to the processors.
    pub messages: Vec<Message>,
    /// Reset, sleep or end.
    pub power: Option<PowerRequest>,
    /// A trigger matched: stop before the next instruction.
    pub triggered: bool,
}

/// What devices need beyond the board.
pub struct World<'a> {
    /// For DMA.
    pub ram: &'a GuestRam,
    /// Run and world time.
    pub clock: Clock,
    /// Sees events.
    pub observer: &'a mut dyn Observer,
}

/// Remembers that a trigger matched, whatever the device does with the answer.
struct Noting<'a> {
    observer: &'a mut dyn Observer,
    triggered: &'a mut bool,
}

impl Observer for Noting<'_> {
    fn event(&mut self, now: VirtualTime, event: devices::Event) -> bool {
        let matched = self.observer.event(now, event);
        *self.triggered |= matched;
        matched
    }
}

impl Board {
    /// As it is when power comes on.
    pub fn new(pm: acpi_pm::Config, rtc: Rtc) -> Self {
        Self {
            pic: PicPair::new(),
            ioapic: IoApic::new(),
            pit: Pit::new(),
            rtc,
            pm: AcpiPm::new(pm),
            com1: Uart::new(uart::Config::COM1),
            com2: Uart::new(uart::Config::COM2),
            debug: DebugPort,
            reset: ResetPort::new(),
            post: Post::default(),
            pci: pci::Bus::new(),
            signals: Signals::default(),
        }
    }

    /// Every device.
    fn devices(&mut self) -> ([&mut dyn Device; 11], &mut Signals) {
        let Self { pic, ioapic, pit, rtc, pm, com1, com2, debug, reset, post, pci, signals } = self;
        ([pic, ioapic, pit, rtc, pm, com1, com2, debug, reset, post, pci], signals)
    }

    /// The next time a device wants to be called.
    pub fn deadline(&self) -> Option<VirtualTime> {
        let Self {
            pic: _,
            ioapic: _,
            pit,
            rtc,
            pm,
            com1,
            com2,
            debug: _,
            reset: _,
            post: _,
            pci,
            signals: _,
        } = self;
        [pit.deadline(), rtc.deadline(), pm.deadline(), com1.deadline(), com2.deadline(), pci.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what time brought, and routes interrupts.
    pub fn tick(&mut self, now: VirtualTime, world: &mut World<'_>) {
        let (devices, signals) = self.devices();
        for device in devices {
            if device.deadline().is_some_and(|deadline| deadline <= now) {
                with(signals, now, world, |cx| device.tick(cx));
            }
        }
        self.route(now, world);
    }

    /// Every device goes to its state after this kind of reset.
    pub fn reset(&mut self, kind: Reset, now: VirtualTime, world: &mut World<'_>) {
        let (devices, signals) = self.devices();
        for device in devices {
            with(signals, now, world, |cx| device.reset(kind, cx));
        }
        signals.messages.clear();
        signals.power = None;
        self.controllers_changed(now, world);
    }

    /// World time jumped while the machine slept: the real-time clock looks at its alarm.
    pub fn tick_clock(&mut self, now: VirtualTime, world: &mut World<'_>) {
        let Self { rtc, signals, .. } = self;
        with(signals, now, world, |cx| rtc.tick(cx));
        self.route(now, world);
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self, now: VirtualTime, world: &mut World<'_>) {
        let Self { pm, signals, .. } = self;
        with(signals, now, world, |cx| pm.press_power_button(cx));
        self.route(now, world);
    }

    /// The machine wakes from S3: software waits for the bit that says so.
    pub fn woke(&mut self, now: VirtualTime, world: &mut World<'_>) {
        let Self { pm, signals, .. } = self;
        with(signals, now, world, |cx| pm.woke(cx));
        self.route(now, world);
    }

    /// Bytes from the other end of a serial line, entering at this time or later. 0 is COM1.
    pub fn receive(
        &mut self,
        port: u8,
        at: VirtualTime,
        bytes: &[u8],
        now: VirtualTime,
        world: &mut World<'_>,
    ) {
        let (uart, signals) = match port {
            0 => (&mut self.com1, &mut self.signals),
            _ => (&mut self.com2, &mut self.signals),
        };
        with(signals, now, world, |cx| uart.receive(at, bytes, cx));
        self.route(now, world);
    }
}

/// Calls a device.
fn with<R>(
    signals: &mut Signals,
    now: VirtualTime,
    world: &mut World<'_>,
    call: impl FnOnce(&mut Context<'_>) -> R,
) -> R {
    let mut observer = Noting { observer: world.observer, triggered: &mut signals.triggered };
    call(&mut Context {
        now,
        world: world.clock.world_at(now),
        ram: world.ram,
        lines: &mut signals.lines,
        messages: &mut signals.messages,
        power: &mut signals.power,
        observer: &mut observer,
    })
}
