//! Exceptions and interrupts: what is delivered when, and what becomes of a fault on the way (SDM 3A chapter 6).

pub(crate) mod debug;
mod event;
mod gates;
mod real_mode;

pub(crate) use event::Event;

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop, vector};
use crate::flags::RFlags;
use crate::run::Leave;
use crate::state::{Activity, InterruptShadow};
use event::Second;

impl Exec<'_> {
    /// Between two instructions: delivers what waits, in the order of SDM 3A 6.9: debug traps of the last instruction, NMI,
    /// maskable interrupts. A delivery counts as an instruction.
    pub(crate) fn take_interrupts(&mut self) {
        if !matches!(self.state.activity, Activity::Running | Activity::Halted) || self.budget <= 0 {
            return;
        }
        let shadow = self.state.shadow;
        if shadow != InterruptShadow::MovSs && self.state.pending_debug != 0 {
            let dr6 = std::mem::take(&mut self.state.pending_debug);
            self.deliver_counted(Event::debug_trap(dr6));
        } else if shadow != InterruptShadow::MovSs && self.state.nmi_pending && !self.state.nmi_blocked {
            self.state.nmi_pending = false;
            self.state.nmi_blocked = true;
            self.deliver_counted(Event::NMI);
        } else if shadow == InterruptShadow::None
            && self.flags.system().contains(RFlags::IF)
            && let Some(vector) = self.acknowledge()
        {
            self.deliver_counted(Event::interrupt(vector));
        } else if !self.is_shadow_needed() {
            self.state.shadow = InterruptShadow::None;
        }
    }

    /// Whether the shadow of the last instruction holds anything back. Nothing can begin to wait before the next instruction is
    /// over, so that it need not be stepped if not.
    fn is_shadow_needed(&self) -> bool {
        self.state.pending_debug != 0
            || self.state.nmi_pending
            || self.state.apic.is_interrupt_pending()
            || self.is_debugged()
    }

    /// Takes the vector of a maskable interrupt from whoever has one: the 8259 pair comes before the local APIC.
    fn acknowledge(&mut self) -> Option<u8> {
        if !self.state.apic.external_pending() {
            return self.state.apic.acknowledge();
        }
        self.state.apic.acknowledge_external();
        let now = self.now();
        // What the pair drives changes with it.
        self.request_leave(Leave::Bus);
        Some(self.bus.acknowledge_interrupt(now))
    }

    fn deliver_counted(&mut self, event: Event) {
        self.budget -= 1;
        self.deliver_or_escalate(event);
    }

    /// Delivers the exception of an instruction.
    pub(crate) fn deliver_fault(&mut self, fault: Fault) {
        self.deliver_or_escalate(Event::fault(fault));
    }

    /// Delivers an event, or what comes of it if that fails: another exception, a double fault, shutdown (SDM 3A 6.15, #DF).
    fn deliver_or_escalate(&mut self, mut event: Event) {
        // Breakpoints that the faulting instruction hit are forgotten with it.
        self.earned = 0;
        loop {
            match self.deliver(event) {
                Ok(()) => break,
                Err(Stop::Fault) => match event.followed_by(self.fault) {
                    Second::Deliver(next) => event = next,
                    Second::Shutdown => {
                        self.state.activity = Activity::Shutdown;
                        break;
                    }
                },
                Err(_) => {
                    if let Some(missing) = self.missing {
                        self.request_leave(Leave::Missing(missing));
                    }
                    break;
                }
            }
        }
        self.attention = true;
    }

    /// Delivers an event: pushes what the handler returns to and goes there.
    ///
    /// # Errors
    /// The exception that came up instead; nothing happened then, except to CR2, DR6 and DR7.
    pub(crate) fn deliver(&mut self, event: Event) -> Done {
        match event.vector {
            vector::PF if event.is_exception() => self.state.cr2 = event.address,
            vector::DB if event.is_exception() => self.note_debug_exception(event.address),
            _ => {}
        }
        self.noncanonical = false;
        // No budget can run out in between: it may touch anything.
        let alone = std::mem::replace(&mut self.alone, true);
        let done = if self.state.is_protected() { self.through_gate(event) } else { self.real_mode(event) };
        self.alone = alone;
        self.attention = true;
        if let Err(stop) = done {
            if stop == Stop::Fault && event.is_external() {
                self.fault = self.fault.during_delivery();
            }
            return Err(stop);
        }
        self.state.activity = Activity::Running;
        self.state.shadow = InterruptShadow::None;
        // A data breakpoint on the handler's stack traps before its first instruction; a single step does not outlive TF.
        self.state.pending_debug |= std::mem::take(&mut self.earned) & debug::BREAKPOINTS;
        Ok(())
    }

    /// Whose return address and flags are pushed: as they are, or with RF if the same instruction will be started again.
    fn pushed_flags(&self, event: Event) -> u64 {
        self.flags.rflags() | if event.sets_rf() { RFlags::RF.bits() } else { 0 }
    }
}

#[cfg(test)]
mod tests;
