//! What lies beyond the processor's pins.

use ram::GuestRam;

use crate::state::CpuState;

/// An instruction that is about to be executed.
pub struct Here<'a> {
    /// Its linear address.
    pub linear: u64,
    /// Its physical address.
    pub physical: u64,
    /// Virtual run time in nanoseconds.
    pub now: u64,
    /// Instructions retired since the slice began.
    pub retired: u64,
    /// General registers; those in `state` are stale.
    pub registers: &'a [u64; 16],
    /// The processor.
    pub state: &'a CpuState,
    /// Memory.
    pub ram: &'a GuestRam,
}

/// An access by port number or by an address that is no memory. Sizes are 1, 2, 4 or 8 bytes (ports: up to 4); values are zero
/// extended. `now` is virtual run time in nanoseconds.
pub trait Bus {
    /// `in`. A port nobody decodes reads all ones.
    fn port_read(&mut self, now: u64, port: u16, size: u8) -> u32;
    /// `out`.
    fn port_write(&mut self, now: u64, port: u16, size: u8, value: u32);
    /// A load from an address that is no memory. An address nobody decodes reads all ones.
    fn mmio_read(&mut self, now: u64, address: u64, size: u8) -> u64;
    /// A store to an address that is no memory.
    fn mmio_write(&mut self, now: u64, address: u64, size: u8, value: u64);
    /// Interrupt acknowledge cycle: the vector of the 8259A's pending request.
    fn acknowledge_interrupt(&mut self, now: u64) -> u8;
    /// An interrupt message leaves the local APIC: an IPI. It is delivered (see [`crate::apic::deliver`]) before any processor executes
    /// its next instruction; the slice ends after the instruction that sent it.
    fn send_interrupt(&mut self, message: crate::apic::Message);
    /// A level-triggered interrupt ended: the broadcast that the IOAPIC waits for. The slice ends here as well.
    fn end_of_interrupt(&mut self, vector: u8);
    /// Whether anybody watches code at all. Asked at the start of each slice.
    fn watches_code(&self) -> bool {
        false
    }
    /// The lowest watched linear address among so many from this one on. An answer may be remembered until [`crate::Cpu::flush`].
    fn next_watched(&self, _linear: u64, _bytes: u64) -> Option<u64> {
        None
    }
    /// The instruction at a watched address is about to be executed. True: it is not, and the slice ends before it; when the processor
    /// goes on it executes it without asking again. An instruction that raised a fault and is executed again asks again; a repeated
    /// string instruction asks once.
    fn about_to_execute(&mut self, _here: &Here<'_>) -> bool {
        false
    }
}
