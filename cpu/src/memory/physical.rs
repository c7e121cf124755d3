//! Access by physical address: page tables, and what is no memory.

use crate::exec::Exec;

impl Exec<'_> {
    /// Writes 4 or 8 bytes of a page table; nowhere if there is no memory.
    pub(crate) fn physical_write(&mut self, address: u64, value: u64, bytes: u8) {
        let raw = value.to_le_bytes();
        let Some(raw) = raw.get(..usize::from(bytes)) else { return };
        let _ = self.ram.write_by_processor(address, raw);
        // Somebody's page table is somebody's code as well.
        self.attention |= self.ram.any_rewritten();
    }

    /// A load from what is no memory. More than 8 bytes are several accesses.
    pub(crate) fn device_load(&mut self, physical: u64, bytes: usize) -> u128 {
        let mut value = 0u128;
        for (offset, size) in pieces(bytes) {
            let address = physical.wrapping_add(offset as u64);
            let piece = if self.is_local_apic(address) {
                self.apic_load(address, size)
            } else {
                self.spend(crate::exec::MMIO_NS);
                let now = self.now();
                self.bus.mmio_read(now, address, size)
            };
            value |= u128::from(piece & u64::MAX >> (64 - 8 * u32::from(size))) << (8 * offset);
        }
        value
    }

    /// A store to what is no memory.
    pub(crate) fn device_store(&mut self, physical: u64, value: u128, bytes: usize) {
        for (offset, size) in pieces(bytes) {
            let address = physical.wrapping_add(offset as u64);
            let piece = (value >> (8 * offset)) as u64 & u64::MAX >> (64 - 8 * u32::from(size));
            if self.is_local_apic(address) {
                self.apic_store(address, size, piece);
            } else {
                self.spend(crate::exec::MMIO_NS);
                let now = self.now();
                self.bus.mmio_write(now, address, size, piece);
            }
        }
    }
}

/// Cuts bytes into accesses of 8, 4, 2 and 1: offset and size of each.
fn pieces(bytes: usize) -> impl Iterator<Item = (usize, u8)> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        let size = [8, 4, 2, 1].into_iter().find(|size| *size <= bytes - offset)?;
        offset += size;
        Some((offset - size, size as u8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_lengths_are_several_accesses() {
        assert_eq!(pieces(16).collect::<Vec<_>>(), [(0, 8), (8, 8)]);
        assert_eq!(pieces(7).collect::<Vec<_>>(), [(0, 4), (4, 2), (6, 1)]);
        assert_eq!(pieces(1).collect::<Vec<_>>(), [(0, 1)]);
    }
}
