//! Virtio over PCI, modern interface only (Virtio 1.2, 4.1).
//!
//! All registers lie in BAR 0, one page for each structure; BAR 1 is the MSI-X table.

mod block;
mod capabilities;
mod common;
mod request;
mod ring;
#[cfg(test)]
mod tests;
mod transport;

pub use block::{VirtioBlk, VirtioBlkConfig};

use super::{Bar, BarWidth, msix, slot_memory};

/// Bytes each structure has to itself.
const PAGE: u32 = 0x1000;
const REGISTERS_BAR: u8 = 0;
const MSIX_BAR: u8 = 1;

/// A structure in BAR 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Structure {
    Common,
    Isr,
    Device,
    Notify,
}

impl Structure {
    const ALL: [Self; 4] = [Self::Common, Self::Isr, Self::Device, Self::Notify];

    /// Which one this offset in the BAR lies in, and where.
    fn at(offset: u64) -> Option<(Self, u64)> {
        let structure = Self::ALL.get(usize::try_from(offset / u64::from(PAGE)).ok()?)?;
        Some((*structure, offset % u64::from(PAGE)))
    }
}

/// Base addresses of a virtio function in this slot.
fn bars(slot: u8) -> [Bar; 2] {
    let registers = Bar {
        index: REGISTERS_BAR,
        width: BarWidth::Bits32,
        size: Structure::ALL.len() as u32 * PAGE,
        address: slot_memory(slot),
    };
    let msix = Bar {
        index: MSIX_BAR,
        width: BarWidth::Bits32,
        size: msix::BAR_BYTES,
        address: slot_memory(slot) + u64::from(registers.size),
    };
    [registers, msix]
}
