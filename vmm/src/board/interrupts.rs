//! From the devices' lines to the interrupt controllers.

use devices::hpet::{Hpet, INSTEAD_OF_PIT, INSTEAD_OF_RTC};
use devices::{Gsi, VirtualTime, pit, rtc};

use crate::board::{Board, World, with};

/// The pin of the IOAPIC that ISA interrupt 0 arrives at; pin 0 and the cascade's number are not connected.
pub const TIMER_PIN: u8 = 2;

/// The lines that arrive at the controllers, of those that devices drive: the timers of the HPET may take the place of the interval
/// timer and the real-time clock, whose lines then lead nowhere (IA-PC HPET 1.0a, 2.3.5).
fn connected(lines: u32, hpet_replaces: bool) -> u32 {
    let instead = |lines: u32, of: Gsi, by: Gsi| lines & !(1 << of.0) | (lines >> by.0 & 1) << of.0;
    let lines = match hpet_replaces {
        true => instead(instead(lines, pit::INTERRUPT, INSTEAD_OF_PIT), rtc::INTERRUPT, INSTEAD_OF_RTC),
        false => lines,
    };
    lines & !(1 << INSTEAD_OF_PIT.0 | 1 << INSTEAD_OF_RTC.0)
}

/// Lines as the IOAPIC's pins see them.
fn pins(lines: u32) -> u32 {
    lines & !(1 | 1 << TIMER_PIN) | (lines & 1) << TIMER_PIN
}

impl Board {
    /// Shows the controllers what the lines did, if they did anything.
    pub(super) fn route(&mut self, now: VirtualTime, world: &mut World<'_>) {
        let Self { pic, ioapic, hpet, rtc, pm, signals, .. } = self;
        if rtc.take_alarm() {
            with(signals, now, world, |cx| pm.rtc_alarm(cx));
        }
        let replaces = hpet.as_ref().is_some_and(Hpet::replaces);
        let active = connected(signals.lines.active, replaces);
        let risen = connected(signals.lines.take_risen(), replaces);
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
        let Self { pic, ioapic, pit, hpet, signals, .. } = self;
        let by_ioapic =
            ioapic.redirections().get(usize::from(TIMER_PIN)).is_some_and(|entry| !entry.is_masked());
        let replaced = hpet.as_ref().is_some_and(Hpet::replaces);
        let watched = !replaced && (by_ioapic || !pic.is_masked(pit::INTERRUPT.0));
        with(signals, now, world, |cx| pit.watch(watched, cx));
        self.route(now, world);
    }

    /// A local APIC ended this vector, which was level-triggered.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        self.ioapic.end_of_interrupt(vector, &mut self.signals.messages);
    }
}
