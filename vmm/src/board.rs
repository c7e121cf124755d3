//! The board: the whole PC but its processors and its memory, on one page.

mod decode;
mod description;
mod interrupts;

use devices::acpi_pm::{self, AcpiPm};
use devices::debug_port::DebugPort;
use devices::hpet::{self, Hpet};
use devices::ioapic::IoApic;
use devices::pci;
use devices::pic::PicPair;
use devices::pit::Pit;
use devices::post::Post;
use devices::reset_port::ResetPort;
use devices::rtc::{self, Rtc};
use devices::uart::{self, Uart};
use devices::{Context, Device, Lines, Message, Observer, PowerRequest, Reset, VirtualTime};
use ram::GuestRam;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::config::{Config, HpetKind};

/// Every device, and the wires between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Board {
    /// Interrupt controllers of the ISA bus.
    pub pic: PicPair,
    /// Interrupt controller for everything.
    pub ioapic: IoApic,
    /// Timer and speaker.
    pub pit: Pit,
    /// High precision event timer, where there is one.
    pub hpet: Option<Hpet>,
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
    /// The access that a trigger stopped in the middle: what it left undone comes first when the machine goes on.
    interrupted: Option<Interrupted>,
    /// A trigger stopped the board before interrupts were routed.
    unrouted: bool,
}

/// An access in the middle of which a trigger matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Interrupted {
    now: VirtualTime,
    instructions: u64,
    processor: Option<u32>,
    /// By port number or address.
    address: u64,
    /// Of a PCI function.
    pci: bool,
}

/// What devices need beyond the board.
pub struct World<'a> {
    /// For DMA.
    pub ram: &'a GuestRam,
    /// Run and world time.
    pub clock: Clock,
    /// Instructions retired so far.
    pub instructions: u64,
    /// The processor whose access this is.
    pub processor: Option<u32>,
    /// Sees events.
    pub observer: &'a mut dyn Observer,
}

impl<'a> World<'a> {
    /// For what the host does.
    pub fn of_host(
        ram: &'a GuestRam,
        clock: Clock,
        instructions: u64,
        observer: &'a mut dyn Observer,
    ) -> Self {
        Self { ram, clock, instructions, processor: None, observer }
    }
}

impl Board {
    /// The board of a configuration, as it is when power first comes on.
    pub fn of(config: &Config, clock: Clock) -> Self {
        let rtc = Rtc::new(rtc::Config::default(), clock.world_at(clock.now()));
        let mut board = Self::new(acpi_pm::Config::default(), rtc);
        board.fit(config);
        board
    }

    /// What a configuration chooses to be on the board, while power is off.
    pub fn fit(&mut self, config: &Config) {
        // Its lines go with it.
        self.signals.lines = Lines::default();
        let hpet = |can_replace| Some(Hpet::new(hpet::Config { can_replace }));
        self.hpet = match config.hpet {
            HpetKind::Off => None,
            HpetKind::On => hpet(true),
            HpetKind::WithoutReplacement => hpet(false),
        };
        self.rtc.set_config(rtc::Config { alarm: config.rtc_alarm });
    }

    /// As it is when power comes on, with nothing to choose from on it.
    pub fn new(pm: acpi_pm::Config, rtc: Rtc) -> Self {
        Self {
            pic: PicPair::new(),
            ioapic: IoApic::new(),
            pit: Pit::new(),
            hpet: None,
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
    fn devices(&mut self) -> ([&mut dyn Device; 12], &mut Signals) {
        let Self { pic, ioapic, pit, hpet, rtc, pm, com1, com2, debug, reset, post, pci, signals } = self;
        ([pic, ioapic, pit, hpet, rtc, pm, com1, com2, debug, reset, post, pci], signals)
    }

    /// The next time a device wants to be called.
    pub fn deadline(&self) -> Option<VirtualTime> {
        let Self {
            pic: _,
            ioapic: _,
            pit,
            hpet,
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
        [
            pit.deadline(),
            hpet.deadline(),
            rtc.deadline(),
            pm.deadline(),
            com1.deadline(),
            com2.deadline(),
            pci.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what time brought, and routes interrupts. A trigger ends it at once: whatever is left of this instant, of other devices
    /// as well, is done by the next call.
    pub fn tick(&mut self, now: VirtualTime, world: &mut World<'_>) {
        self.finish_access(world);
        if self.signals.triggered {
            return;
        }
        self.signals.unrouted = true;
        let (devices, signals) = self.devices();
        for device in devices {
            if device.deadline().is_some_and(|deadline| deadline <= now) {
                with(signals, now, world, |cx| device.tick(cx));
                if signals.triggered {
                    return;
                }
            }
        }
        self.signals.unrouted = false;
        self.route(now, world);
    }

    /// The host did something to a device. If the machine stands in the middle of an instant, interrupts are routed when it goes on.
    fn changed_from_outside(&mut self, now: VirtualTime, world: &mut World<'_>) {
        if !self.signals.unrouted {
            self.route(now, world);
        }
    }

    /// Goes on with the access that a trigger stopped in the middle, as of the instant of the access: afterwards nothing tells that it
    /// was stopped.
    fn finish_access(&mut self, world: &mut World<'_>) {
        let Some(stopped) = self.signals.interrupted.take() else { return };
        let Interrupted { now, instructions, processor, address, pci } = stopped;
        let mut then = World { instructions, processor, observer: &mut *world.observer, ..*world };
        if pci {
            let Self { pci, signals, .. } = self;
            with(signals, now, &mut then, |cx| pci.go_on(address, cx));
            if signals.triggered {
                signals.interrupted = Some(stopped);
                return;
            }
        }
        self.route(now, &mut then);
    }

    /// The end of an access: interrupts are routed, unless a trigger stopped it.
    fn end_access(&mut self, now: VirtualTime, address: u64, pci: bool, world: &mut World<'_>) {
        if self.signals.triggered {
            let World { instructions, processor, .. } = *world;
            let stopped = Interrupted { now, instructions, processor, address, pci };
            // Whatever else the same instruction did is done with the first.
            self.signals.interrupted.get_or_insert(stopped);
            self.signals.unrouted = true;
        } else {
            self.route(now, world);
        }
    }

    /// Every device goes to its state after this kind of reset.
    pub fn reset(&mut self, kind: Reset, now: VirtualTime, world: &mut World<'_>) {
        let ([_, _, sources @ ..], signals) = self.devices();
        for device in sources {
            with(signals, now, world, |cx| device.reset(kind, cx));
        }
        // Controllers come last: what lines did before means nothing to one that is as new.
        self.route(now, world);
        let Self { pic, ioapic, signals, .. } = self;
        with(signals, now, world, |cx| pic.reset(kind, cx));
        with(signals, now, world, |cx| ioapic.reset(kind, cx));
        signals.messages.clear();
        signals.power = None;
        (signals.interrupted, signals.unrouted) = (None, false);
        signals.triggered = false;
        self.controllers_changed(now, world);
    }

    /// World time jumped while the machine slept: the real-time clock looks at its alarm.
    pub fn tick_clock(&mut self, now: VirtualTime, world: &mut World<'_>) {
        let Self { rtc, signals, .. } = self;
        with(signals, now, world, |cx| rtc.tick(cx));
        self.changed_from_outside(now, world);
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self, now: VirtualTime, world: &mut World<'_>) {
        let Self { pm, signals, .. } = self;
        with(signals, now, world, |cx| pm.press_power_button(cx));
        self.changed_from_outside(now, world);
    }

    /// The alarm of the real-time clock goes off this many nanoseconds from now, whatever software set it to.
    pub fn move_alarm(&mut self, after: u64, now: VirtualTime, world: &mut World<'_>) {
        self.rtc.move_alarm(world.clock.world_at(now), after);
        self.changed_from_outside(now, world);
    }

    /// The machine wakes from S3: software waits for the bit that says so.
    pub fn woke(&mut self, now: VirtualTime, world: &mut World<'_>) {
        let Self { pm, signals, .. } = self;
        with(signals, now, world, |cx| pm.woke(cx));
        self.changed_from_outside(now, world);
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
        self.changed_from_outside(now, world);
    }
}

/// Calls a device.
fn with<R>(
    signals: &mut Signals,
    now: VirtualTime,
    world: &mut World<'_>,
    call: impl FnOnce(&mut Context<'_>) -> R,
) -> R {
    call(&mut Context {
        now,
        world: world.clock.world_at(now),
        ram: world.ram,
        lines: &mut signals.lines,
        messages: &mut signals.messages,
        power: &mut signals.power,
        instructions: world.instructions,
        processor: world.processor,
        observer: world.observer,
        stop: &mut signals.triggered,
    })
}
