//! What lies beyond the processor's pins.

use ram::GuestRam;

use crate::state::CpuState;

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
    /// Whether somebody wants to know when code at this instruction pointer begins to run. It must be where control is transferred to,
    /// as the first instruction of a function is. An answer may be remembered until [`crate::Cpu::flush`].
    fn is_watched(&self, _rip: u64) -> bool {
        false
    }
    /// Watched code is about to run, with these general registers; those in `state` are stale.
    fn executed(&mut self, _rip: u64, _registers: &[u64; 16], _state: &CpuState, _ram: &GuestRam) {}
}
