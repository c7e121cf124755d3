//! Reading guest memory by linear address from outside, without touching anything.

use ram::GuestRam;

use crate::state::{CpuState, Cr0};

/// The 8 bytes at an aligned linear address, as this processor would see them in 4-level paging or without paging; `None` if nothing is
/// mapped there. No permission is checked and no accessed bit is set.
pub fn peek(state: &CpuState, ram: &GuestRam, linear: u64) -> Option<u64> {
    if !linear.is_multiple_of(8) {
        return None;
    }
    read(ram, translate(state, ram, linear)?)
}

/// The 8 bytes at a physical address.
fn read(ram: &GuestRam, address: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    ram.read(address, &mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// The physical address of a linear one, as [`peek`] finds it.
pub fn translate(state: &CpuState, ram: &GuestRam, linear: u64) -> Option<u64> {
    if !state.cr0.contains(Cr0::PG) {
        return Some(linear);
    }
    if !state.is_long() {
        return None;
    }
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    let mut table = state.cr3 & ADDRESS;
    for shift in [39, 30, 21, 12] {
        let entry = read(ram, table + (linear >> shift & 0x1ff) * 8)?;
        if entry & 1 == 0 {
            return None;
        }
        if shift == 12 || shift < 39 && entry & 0x80 != 0 {
            let within = (1u64 << shift) - 1;
            return Some(entry & ADDRESS & !within | linear & within);
        }
        table = entry & ADDRESS;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Efer;

    #[test]
    fn tables_are_followed() {
        let ram = GuestRam::new(1 << 20).unwrap();
        let mut state = CpuState::reset();
        ram.write(0x8000, &7u64.to_le_bytes()).unwrap();
        assert_eq!(peek(&state, &ram, 0x8000), Some(7));
        state.cr0 |= Cr0::PG | Cr0::PE;
        state.msrs.efer |= Efer::LMA;
        state.cr3 = 0x1000;
        for (table, next) in [(0x1000u64, 0x2000u64), (0x2000, 0x3000), (0x3000, 0x4000), (0x4000, 0x8000)] {
            ram.write(table + 8, &(next | 1).to_le_bytes()).unwrap();
        }
        let linear = 1 << 39 | 1 << 30 | 1 << 21 | 1 << 12;
        assert_eq!(peek(&state, &ram, linear), Some(7));
        assert_eq!(peek(&state, &ram, linear + 8), Some(0));
        assert_eq!(translate(&state, &ram, linear + 0x123), Some(0x8123));
        assert_eq!(peek(&state, &ram, 0), None);
    }
}
