//! How the running processor reaches its APIC: by address in xAPIC mode, by MSR in x2APIC mode.

use crate::apic::{ApicMode, Moment, Rejected, Request};
use crate::exec::Exec;
use crate::memory::{PAGE_MASK, PAGE_OFFSET};
use crate::run::Leave;

impl Exec<'_> {
    /// Now, on the clocks of the timer. Exact in a block of its own.
    pub(crate) fn moment(&self) -> Moment {
        self.state.moment(self.now())
    }

    /// Whether the APIC's registers are at this physical address.
    pub(crate) fn is_local_apic(&self, physical: u64) -> bool {
        self.state.apic.page() == Some(physical & PAGE_MASK)
    }

    /// A load from the page of registers. Each lies at a multiple of 16; the 12 bytes behind it read as 0.
    pub(crate) fn apic_load(&mut self, physical: u64, size: u8) -> u64 {
        let offset = physical & PAGE_OFFSET;
        let now = self.moment();
        let value = self.state.apic.read((offset >> 4) as u32, now).unwrap_or(0) & 0xffff_ffff;
        self.attention = true;
        let shifted = value.checked_shr(8 * (offset & 15) as u32).unwrap_or(0);
        shifted & u64::MAX >> (64 - 8 * u32::from(size.clamp(1, 8)))
    }

    /// A store to it: of 32 bits at a multiple of 16. Others have no effect (SDM 3A 11.4.1 leaves them undefined).
    pub(crate) fn apic_store(&mut self, physical: u64, size: u8, value: u64) {
        let offset = physical & PAGE_OFFSET;
        if size != 4 || offset & 15 != 0 {
            return;
        }
        let now = self.moment();
        // A refusal is in the error-status register.
        if let Ok(request) = self.state.apic.write((offset >> 4) as u32, value, now) {
            self.carry_out(request);
        }
        self.attention = true;
    }

    /// Reads an MSR from 0x800 on.
    ///
    /// # Errors
    /// Not in x2APIC mode, or no such register.
    pub(crate) fn read_x2apic(&mut self, index: u32) -> Result<u64, Rejected> {
        if self.state.apic.mode() != ApicMode::X2Apic {
            return Err(Rejected);
        }
        let now = self.moment();
        self.state.apic.read(index, now)
    }

    /// Writes one.
    ///
    /// # Errors
    /// Not in x2APIC mode, no such register, or a value with reserved bits.
    pub(crate) fn write_x2apic(&mut self, index: u32, value: u64) -> Result<(), Rejected> {
        if self.state.apic.mode() != ApicMode::X2Apic {
            return Err(Rejected);
        }
        let now = self.moment();
        let request = self.state.apic.write(index, value, now)?;
        self.carry_out(request);
        // An interrupt may have become deliverable.
        self.attention = true;
        Ok(())
    }

    fn carry_out(&mut self, request: Request) {
        match request {
            Request::Nothing => return,
            Request::Send(message) => self.bus.send_interrupt(message),
            Request::EndOfInterrupt(vector) => self.bus.end_of_interrupt(vector),
            Request::Deadline => {}
        }
        self.request_leave(Leave::Bus);
    }
}

#[cfg(test)]
mod tests;
