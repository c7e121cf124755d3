//! Descriptors in the GDT and the LDT. The processor reads them as supervisor, whatever its privilege level.

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop, vector};
use crate::memory::tlb::Set;
use crate::segmentation::{Descriptor, Gate};

/// Bit of a selector that means the LDT.
const TABLE: u16 = 4;
/// Of a descriptor's byte 5: accessed code or data.
const ACCESSED: u8 = 1;
/// Of a descriptor's byte 5: busy TSS.
const BUSY: u8 = 2;

impl Exec<'_> {
    /// Linear address of a descriptor, if all of its bytes lie within its table.
    fn descriptor_address(&self, selector: u16, bytes: u64) -> Option<u64> {
        let offset = u64::from(selector & !7);
        let (base, limit) = if selector & TABLE == 0 {
            (self.state.gdtr.base, u64::from(self.state.gdtr.limit))
        } else if self.state.ldtr.attributes.unusable() {
            return None;
        } else {
            (self.state.ldtr.base, u64::from(self.state.ldtr.limit))
        };
        (offset + bytes - 1 <= limit).then(|| self.wrap_linear(base.wrapping_add(offset)))
    }

    /// A descriptor, or nothing outside the table.
    ///
    /// # Errors
    /// A page fault.
    pub(crate) fn find_descriptor(&mut self, selector: u16) -> Result<Option<Descriptor>, Stop> {
        let Some(address) = self.descriptor_address(selector, 8) else { return Ok(None) };
        Ok(Some(Descriptor(self.load_as(Set::Supervisor, address)?)))
    }

    /// A descriptor. Outside its table is the exception of this vector with the selector as its error code.
    ///
    /// # Errors
    /// That, or a page fault.
    pub(crate) fn descriptor(&mut self, selector: u16, vector: u8) -> Result<Descriptor, Stop> {
        match self.find_descriptor(selector)? {
            Some(descriptor) => Ok(descriptor),
            None => Err(self.raise(Fault::selector(vector, selector))),
        }
    }

    /// The upper half of a descriptor that has 16 bytes; 0 outside long mode, where none has.
    ///
    /// # Errors
    /// #GP(selector) outside its table, or a page fault.
    pub(crate) fn upper_half(&mut self, selector: u16) -> Result<u64, Stop> {
        if !self.state.is_long() {
            return Ok(0);
        }
        match self.descriptor_address(selector, 16) {
            Some(address) => self.load_as(Set::Supervisor, address.wrapping_add(8)),
            None => Err(self.raise(Fault::selector(vector::GP, selector))),
        }
    }

    /// A call gate of this mode.
    ///
    /// # Errors
    /// As [`Exec::upper_half`]; #GP(selector) if that half is malformed.
    pub(crate) fn gate(&mut self, selector: u16, low: Descriptor) -> Result<Gate, Stop> {
        let gate = Gate::new(low.0, self.upper_half(selector)?);
        if gate.has_clean_upper_half() {
            Ok(gate)
        } else {
            Err(self.raise(Fault::selector(vector::GP, selector)))
        }
    }

    /// Sets the accessed bit of a descriptor that is about to be loaded; returns it with the bit set.
    ///
    /// # Errors
    /// A page fault.
    pub(crate) fn accessed(&mut self, selector: u16, descriptor: Descriptor) -> Result<Descriptor, Stop> {
        let accessed = Descriptor(descriptor.0 | u64::from(ACCESSED) << 40);
        if accessed != descriptor {
            self.write_type(selector, accessed)?;
        }
        Ok(accessed)
    }

    /// Marks a TSS as busy.
    ///
    /// # Errors
    /// A page fault.
    pub(crate) fn busy(&mut self, selector: u16, descriptor: Descriptor) -> Result<Descriptor, Stop> {
        let busy = Descriptor(descriptor.0 | u64::from(BUSY) << 40);
        self.write_type(selector, busy)?;
        Ok(busy)
    }

    fn write_type(&mut self, selector: u16, descriptor: Descriptor) -> Done {
        match self.descriptor_address(selector, 8) {
            Some(address) => {
                self.store_as(Set::Supervisor, address.wrapping_add(5), (descriptor.0 >> 40) as u8)
            }
            None => Ok(()),
        }
    }
}
