//! MSI-X (PCI 3.0 6.8.2): a table of messages in a BAR, and bits of those that wait because they are masked.

use serde::{Deserialize, Serialize};

use super::config_space::ConfigSpace;
use crate::register;
use crate::{Context, Message};

const IDENTIFIER: u8 = 0x11;
/// Control: the high half of the capability's first doubleword.
const ENABLE: u32 = 1 << 31;
const MASK_ALL: u32 = 1 << 30;
/// Bytes of an entry of the table.
const ENTRY: u64 = 16;

/// The most vectors a table here can have.
pub const MAX_VECTORS: u16 = 128;
/// Of the BAR: 2 KiB of table, then the pending bits.
pub(super) const BAR_BYTES: u32 = 0x1000;
const PENDING_OFFSET: u64 = 0x800;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    address: u64,
    data: u32,
    masked: bool,
    pending: bool,
}

/// The table of a function, and where its capability is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Msix {
    capability: u8,
    entries: Vec<Entry>,
}

impl Msix {
    /// Adds the capability to a function at reset; the table lies at the start of this BAR. At most [`MAX_VECTORS`] vectors.
    pub(super) fn new(space: &mut ConfigSpace, vectors: u16, bar: u8) -> Self {
        let vectors = vectors.clamp(1, MAX_VECTORS);
        let mut body = Vec::new();
        body.extend((vectors - 1).to_le_bytes());
        body.extend(u32::from(bar).to_le_bytes());
        body.extend((PENDING_OFFSET as u32 | u32::from(bar)).to_le_bytes());
        let capability = space.add_capability(IDENTIFIER, &body, &[0x00, 0xc0]);
        let entry = Entry { address: 0, data: 0, masked: true, pending: false };
        Self { capability, entries: vec![entry; usize::from(vectors)] }
    }

    /// How many vectors there are.
    pub fn vectors(&self) -> u16 {
        self.entries.len() as u16
    }

    /// Whether it replaces INTA#.
    pub fn is_enabled(&self, space: &ConfigSpace) -> bool {
        space.word(self.capability) & ENABLE != 0
    }

    /// Sends the message of a vector, now or when nothing holds it back any more. Without MSI-X, and for a vector that is not
    /// there, nothing happens.
    pub(super) fn signal(&mut self, vector: u16, space: &ConfigSpace, cx: &mut Context<'_>) {
        if !self.is_enabled(space) {
            return;
        }
        if let Some(entry) = self.entries.get_mut(usize::from(vector)) {
            entry.pending = true;
            self.deliver(space, cx);
        }
    }

    /// Something was unmasked, maybe: sends what waits.
    pub(super) fn deliver(&mut self, space: &ConfigSpace, cx: &mut Context<'_>) {
        let all = space.word(self.capability);
        if all & ENABLE == 0 || all & MASK_ALL != 0 || !space.is_bus_master() {
            return;
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.pending && !entry.masked) {
            entry.pending = false;
            send(Message { address: entry.address, data: entry.data }, cx);
        }
    }

    /// Reads from the BAR.
    pub(super) fn read(&self, offset: u64, size: u8) -> u64 {
        register::read(4, offset, size, |offset| {
            if let Some(offset) = offset.checked_sub(PENDING_OFFSET) {
                return self.pending(offset);
            }
            let Some(entry) = self.entries.get((offset / ENTRY) as usize) else { return 0 };
            match offset % ENTRY {
                0 => entry.address,
                4 => entry.address >> 32,
                8 => entry.data.into(),
                _ => entry.masked.into(),
            }
        })
    }

    /// The doubleword of pending bits at this offset.
    fn pending(&self, offset: u64) -> u64 {
        let first = usize::try_from(offset.saturating_mul(8)).unwrap_or(usize::MAX);
        let bits = self.entries.iter().skip(first).take(32).zip(0..);
        bits.fold(0, |bits, (entry, bit)| bits | u64::from(entry.pending) << bit)
    }

    /// Writes to the BAR: a doubleword or a quadword, aligned. Other writes are undefined (6.8.2) and do nothing here.
    pub(super) fn write(
        &mut self,
        offset: u64,
        size: u8,
        value: u64,
        space: &ConfigSpace,
        cx: &mut Context<'_>,
    ) {
        if !matches!(size, 4 | 8) || !offset.is_multiple_of(u64::from(size)) || offset >= PENDING_OFFSET {
            return;
        }
        register::write(4, offset, size, value, |offset, lanes| {
            let Some(entry) = self.entries.get_mut((offset / ENTRY) as usize) else { return };
            let low_half = u64::from(u32::MAX);
            match offset % ENTRY {
                // The two lowest bits of an address are zero.
                0 => entry.address = entry.address & !low_half | lanes.value & !3,
                4 => entry.address = entry.address & low_half | lanes.value << 32,
                8 => entry.data = lanes.value as u32,
                _ => entry.masked = lanes.value & 1 != 0,
            }
        });
        self.deliver(space, cx);
    }
}

fn send(message: Message, cx: &mut Context<'_>) {
    if message.delivery().is_some() {
        cx.messages.push(message);
    } else if cx.ram.write(message.address, &message.data.to_le_bytes()).is_err() {
        tracing::debug!(address = message.address, "message to no memory");
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bar, BarWidth, Identity};
    use super::*;
    use crate::bench::Bench;

    fn function(vectors: u16) -> (ConfigSpace, Msix) {
        let identity = Identity {
            vendor: 1,
            device: 2,
            class: 0,
            revision: 0,
            subsystem_vendor: 0,
            subsystem: 0,
            interrupt: true,
        };
        let bar = Bar { index: 1, width: BarWidth::Bits32, size: BAR_BYTES, address: 0xc000_0000 };
        let mut space = ConfigSpace::new(&identity, &[bar]);
        let msix = Msix::new(&mut space, vectors, 1);
        (space, msix)
    }

    const MESSAGE: Message = Message { address: 0xfee0_1000, data: 0x41 };

    fn program(msix: &mut Msix, space: &ConfigSpace, vector: u64, mask: u64, cx: &mut Context<'_>) {
        let at = vector * ENTRY;
        msix.write(at, 4, MESSAGE.address, space, cx);
        msix.write(at + 4, 4, 0, space, cx);
        msix.write(at + 8, 4, MESSAGE.data.into(), space, cx);
        msix.write(at + 12, 4, mask, space, cx);
    }

    #[test]
    fn a_masked_vector_waits_and_shows_it() {
        let (mut space, mut msix) = function(40);
        let mut bench = Bench::with_memory(1 << 16);
        let cx = &mut bench.cx();
        msix.signal(38, &space, cx);
        space.write(0x42, 2, 0x8000);
        program(&mut msix, &space, 38, 1, cx);
        msix.signal(38, &space, cx);
        msix.signal(38, &space, cx);
        msix.signal(40, &space, cx);
        assert_eq!(msix.read(PENDING_OFFSET, 8), 1 << 38);
        assert_eq!(std::mem::take(&mut bench.messages), []);
        // The function's mask on, the vector's off: still waits. Bus mastering off: the same.
        let cx = &mut bench.cx();
        space.write(0x42, 2, 0xc000);
        program(&mut msix, &space, 38, 0, cx);
        space.write(4, 1, 2);
        space.write(0x42, 2, 0x8000);
        msix.deliver(&space, cx);
        assert_eq!(std::mem::take(&mut bench.messages), []);
        space.write(4, 1, 6);
        msix.deliver(&space, &mut bench.cx());
        assert_eq!(std::mem::take(&mut bench.messages), [MESSAGE]);
        assert_eq!(msix.read(PENDING_OFFSET, 8), 0);
        msix.signal(38, &space, &mut bench.cx());
        assert_eq!(std::mem::take(&mut bench.messages), [MESSAGE]);
    }

    #[test]
    fn the_table_reads_as_written() {
        let (space, mut msix) = function(2);
        let mut bench = Bench::with_memory(1 << 16);
        let cx = &mut bench.cx();
        msix.write(16, 8, 0x1234_5678_fee0_0003, &space, cx);
        msix.write(24, 8, 0x0000_0001_0000_0077, &space, cx);
        // Unaligned, too short, beyond the last vector.
        msix.write(17, 4, u64::MAX, &space, cx);
        msix.write(16, 1, u64::MAX, &space, cx);
        msix.write(32, 4, u64::MAX, &space, cx);
        assert_eq!(msix.read(16, 8), 0x1234_5678_fee0_0000);
        assert_eq!(msix.read(24, 8), 0x0000_0001_0000_0077);
        assert_eq!(msix.read(32, 8), 0);
    }

    #[test]
    fn a_message_outside_the_interrupt_range_is_a_write_to_memory() {
        let (mut space, mut msix) = function(1);
        let mut bench = Bench::with_memory(1 << 16);
        space.write(0x42, 2, 0x8000);
        let cx = &mut bench.cx();
        msix.write(0, 8, 0x5000, &space, cx);
        msix.write(8, 8, 0x1234_5678, &space, cx);
        msix.signal(0, &space, cx);
        msix.write(0, 8, 0xffff_ffff_ffff_fff0, &space, cx);
        msix.signal(0, &space, cx);
        let mut memory = [0; 4];
        bench.ram.read(0x5000, &mut memory).unwrap();
        assert_eq!((memory, std::mem::take(&mut bench.messages)), (0x1234_5678u32.to_le_bytes(), vec![]));
    }
}
