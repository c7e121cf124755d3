//! LINT0 and LINT1: the 8259 pair and the NMI button.

use crate::apic::{ApicMode, DeliveryMode, LocalApic, LocalVector, Source};
use crate::state::CpuState;

impl LocalApic {
    /// Whether an interrupt waits whose vector the 8259 pair knows: through LINT0 (the INTR pin if the APIC is off), or by a message.
    pub fn external_pending(&self) -> bool {
        let local = self.local[Source::Lint0 as usize];
        let wired =
            self.mode() == ApicMode::Disabled || !local.is_masked() && local.mode() == DeliveryMode::ExtInt;
        self.extint && wired || self.extint_message
    }

    /// The processor asks the 8259 pair for that vector.
    pub fn acknowledge_external(&mut self) {
        self.extint_message = false;
    }

    pub(super) fn latch_extint(&mut self) {
        self.extint_message = true;
    }

    /// A level-triggered fixed interrupt of LINT0 ended: it is requested again while the pin is driven.
    pub(super) fn end_of_pin(&mut self, vector: u8) {
        let local = self.local[Source::Lint0 as usize];
        if !local.remote_irr() || local.vector() != vector {
            return;
        }
        self.local[Source::Lint0 as usize] = local.with_remote_irr(false);
        if self.extint && !local.is_masked() {
            self.fixed_pin(local.with_remote_irr(false));
        }
    }

    fn fixed_pin(&mut self, local: LocalVector) {
        let level = local.is_level_triggered();
        if self.accept(local.vector(), level) && level {
            self.local[Source::Lint0 as usize] = local.with_remote_irr(true);
        }
    }
}

impl CpuState {
    /// The INTR output of the 8259 pair, as this processor's LINT0 sees it.
    pub fn set_intr(&mut self, level: bool) {
        let rises = level && !self.apic.extint;
        self.apic.extint = level;
        if rises && self.apic.mode() != ApicMode::Disabled {
            self.pin_rises(Source::Lint0);
        }
    }

    /// The NMI button is pressed: LINT1, which is the NMI pin if the APIC is off.
    pub fn press_nmi(&mut self) {
        if self.apic.mode() == ApicMode::Disabled {
            self.nmi_pending = true;
        } else {
            self.pin_rises(Source::Lint1);
        }
    }

    fn pin_rises(&mut self, pin: Source) {
        let local = self.apic.local[pin as usize];
        if local.is_masked() {
            return;
        }
        match local.mode() {
            DeliveryMode::Fixed if pin == Source::Lint0 => self.apic.fixed_pin(local),
            DeliveryMode::Fixed => {
                self.apic.accept(local.vector(), false);
            }
            DeliveryMode::Nmi => self.nmi_pending = true,
            DeliveryMode::Init => self.init(),
            // ExtINT is a level: see `external_pending`. The others mean nothing for a pin.
            _ => {}
        }
    }
}
