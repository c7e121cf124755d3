//! From the devices' lines to the interrupt controllers.

use devices::{VirtualTime, pit};

use crate::board::{Board, World, with};

/// The pin of the IOAPIC that ISA interrupt 0 arrives at; pin 0 and the cascade's number are not connected.
pub const TIMER_PIN: u8 = 2;

/// Lines as the IOAPIC's pins see them.
fn pins(lines: u32) -> u32 {
    lines & !(1 | 1 << TIMER_PIN) | (lines & 1) << TIMER_PIN
}

impl Board {
    /// Shows the controllers what the lines did, if they did anything.
    pub(super) fn route(&mut self, now: VirtualTime, world: &mut World<'_>) {
        let Self { pic, ioapic, rtc, pm, signals, .. } = self;
        if rtc.take_alarm() {
            with(signals, now, world, |cx| pm.rtc_alarm(cx));
        }
        let active = signals.lines.active;
        let risen = signals.lines.take_risen();
        if active != signals.seen || risen != 0 {
            signals.seen = active;
            pic.drive(active as u16, risen as u16);
            ioapic.drive(pins(active), pins(risen), &mut signals.messages);
        }
    }

    /// The requests of the ISA controllers are about to be read: the timer's may be among them, though nobody let it pass.
    pub(super) fn requests_are_read(&mut self, now: VirtualTime, world: &mut World<'_>) {
        let Self { pit, signals, .. } = self;
        with(signals, now, world, |cx| pit.show(cx));
        self.route(now, world);
    }

    /// A controller was programmed: does the timer's interrupt pass now?
    pub(super) fn controllers_changed(&mut self, now: VirtualTime, world: &mut World<'_>) {
        let Self { pic, ioapic, pit, signals, .. } = self;
        let by_ioapic =
            ioapic.redirections().get(usize::from(TIMER_PIN)).is_some_and(|entry| !entry.is_masked());
        let watched = by_ioapic || !pic.is_masked(pit::INTERRUPT.0);
        with(signals, now, world, |cx| pit.watch(watched, cx));
        self.route(now, world);
    }

    /// A local APIC ended this vector, which was level-triggered.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        self.ioapic.end_of_interrupt(vector, &mut self.signals.messages);
    }
}
