//! PCI: bus 0 with its functions, as PCI Local Bus 3.0 and, for configuration space in memory, PCI Express 5.0 7.2.2 have it.
//!
//! Firmware has no work to do: base addresses are what the functions have at reset.

mod bus;
mod config_space;
mod dma;
mod function;
mod host_bridge;
mod msix;
pub mod nvme;
mod timetable;
pub mod virtio;

pub use bus::{Bus, BusError};
pub use config_space::{Bar, BarWidth, ConfigSpace, Identity};
pub use function::Function;
pub use host_bridge::HostBridge;
pub use msix::Msix;

use crate::Gsi;

/// Slots of the bus.
pub const SLOTS: u8 = 32;
/// The port that latches an address for [`CONFIG_DATA`]; only whole doublewords reach it.
pub const CONFIG_ADDRESS: u16 = 0xcf8;
/// The four ports through which the latched register is accessed.
pub const CONFIG_DATA: u16 = 0xcfc;
/// Configuration space in memory: 4 KiB for each function of the bus.
pub const ECAM: u64 = 0xb000_0000;
/// Of bus 0 in configuration space.
pub const ECAM_BYTES: u64 = 1 << 20;
/// Where memory of functions lies.
pub const WINDOW: std::ops::Range<u64> = 0xc000_0000..0xfec0_0000;
/// Of the window, what one slot has at reset.
pub const SLOT_BYTES: u64 = 1 << 20;

/// Where the base addresses of a slot start.
pub const fn slot_memory(slot: u8) -> u64 {
    WINDOW.start + (slot as u64) * SLOT_BYTES
}

/// The line of INTA# of slot 0; the slots take turns on [`LINES`] of them.
pub const FIRST_LINE: Gsi = Gsi(16);
/// Interrupt lines of the bus.
pub const LINES: u8 = 8;

/// The line of INTA# of a slot.
pub const fn slot_interrupt(slot: u8) -> Gsi {
    Gsi(FIRST_LINE.0 + slot % LINES)
}
