//! Delivery of exceptions and interrupts.

use crate::exec::Exec;
use crate::fault::Fault;
use crate::state::Activity;

/// What was so before an instruction that runs alone, for what may follow it: the debug trap and the end of a shadow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step;

impl Exec<'_> {
    pub(crate) fn take_interrupts(&mut self) {}

    pub(crate) fn deliver_fault(&mut self, _: Fault) {
        self.state.activity = Activity::Shutdown;
    }

    pub(crate) fn begin_step(&mut self) -> Step {
        Step
    }

    pub(crate) fn end_step(&mut self, _: Step) {}

    pub(crate) fn is_local_apic(&self, _: u64) -> bool {
        false
    }

    pub(crate) fn apic_load(&mut self, _: u64, _: u8) -> u64 {
        0
    }

    pub(crate) fn apic_store(&mut self, _: u64, _: u8, _: u64) {}
}
