//! Memory type range registers (SDM 3A 12.11): which addresses are memory and which are devices.
//!
//! Firmware sets them alike on every processor, when power comes on and again when the machine wakes from S3; INIT keeps them. Linux
//! says so if they are off, if processors differ, or if they leave out RAM.

use std::array;

use crate::config::{ConfigError, Memory};

/// Uncached.
const UC: u64 = 0;
/// Write-back.
const WB: u64 = 6;
/// In `IA32_MTRR_DEF_TYPE`: variable ranges are in force, and fixed ones too.
const ENABLED: u64 = 1 << 11;
const FIXED_ENABLED: u64 = 1 << 10;
/// In a mask: the range is in force.
const VALID: u64 = 1 << 11;
/// IA32_MTRR_DEF_TYPE: write-back where no range says otherwise.
pub const DEFAULT_TYPE: u64 = WB | ENABLED | FIXED_ENABLED;
/// Fixed ranges: one register for the first 512 KiB, two for the next 256, eight for the rest of the mebibyte.
pub const FIXED: usize = 11;
/// Variable ranges that every processor has.
pub const VARIABLE: usize = 8;

/// The values of the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mtrrs {
    /// IA32_MTRR_DEF_TYPE.
    pub default_type: u64,
    /// IA32_MTRR_FIX64K_00000, FIX16K_80000, FIX16K_A0000, FIX4K_C0000 to FIX4K_F8000, eight types in each.
    pub fixed: [u64; FIXED],
    /// IA32_MTRR_PHYSBASEn and IA32_MTRR_PHYSMASKn.
    pub variable: [(u64, u64); VARIABLE],
}

/// Everything is write-back memory but the hole below 4 GiB and where a VGA adapter would be.
///
/// `physical_bits`: width of the processor's physical addresses.
///
/// # Errors
/// If there are not enough registers to say where the hole is.
pub(crate) fn mtrrs(memory: &Memory, physical_bits: u8) -> Result<Mtrrs, ConfigError> {
    const VGA: usize = 2;
    let everywhere = |kind: u64| kind * 0x0101_0101_0101_0101;
    let fixed = array::from_fn(|index| everywhere(if index == VGA { UC } else { WB }));
    let addresses = u64::MAX >> 64u8.saturating_sub(physical_bits).min(63);
    let mut variable = [(0, 0); VARIABLE];
    let mut registers = variable.iter_mut();
    let mut start = memory.hole.start;
    while start < memory.hole.end {
        // The largest block that begins here: as large as its alignment, and not beyond the end.
        let aligned = 1 << start.trailing_zeros().min(63);
        let len = aligned.min(1 << (memory.hole.end - start).ilog2());
        let register = registers.next().ok_or_else(|| ConfigError::Hole(memory.hole.clone()))?;
        *register = (start | UC, addresses & !(len - 1) | VALID);
        start += len;
    }
    Ok(Mtrrs { default_type: DEFAULT_TYPE, fixed, variable })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, MIB};

    const PHYSICAL_BITS: u8 = 40;

    /// The type of an address as the processor finds it, where ranges do not overlap.
    fn kind(mtrrs: &Mtrrs, address: u64) -> u64 {
        let fixed = |register: usize, offset: u64| mtrrs.fixed[register] >> (offset * 8) & 0xff;
        match address {
            0..0x8_0000 => fixed(0, address >> 16),
            0x8_0000..0xc_0000 => fixed(1 + (address as usize >> 17 & 1), address >> 14 & 7),
            0xc_0000..0x10_0000 => fixed(3 + (address as usize >> 15 & 7), address >> 12 & 7),
            _ => {
                let covers = |range: &&(u64, u64)| {
                    range.1 & VALID != 0 && address & range.1 & !0xfff == range.0 & range.1 & !0xfff
                };
                mtrrs.variable.iter().find(covers).map_or(mtrrs.default_type & 0xff, |range| range.0 & 0xff)
            }
        }
    }

    #[test]
    fn memory_is_cached_and_devices_are_not() {
        let mtrrs = mtrrs(&fixture::config(8192 * MIB, 1).memory, PHYSICAL_BITS).unwrap();
        for address in [
            0,
            0x7_ffff,
            0x9_ffff,
            0xc_0000,
            0xe_f000,
            0xf_ffff,
            0x10_0000,
            0xafff_ffff,
            1 << 32,
            (1 << 40) - 1,
        ] {
            assert_eq!(kind(&mtrrs, address), WB, "{address:#x}");
        }
        for address in
            [0xa_0000, 0xb_ffff, 0xb000_0000, 0xbfff_ffff, 0xc000_0000, 0xfec0_0000, 0xfee0_0000, 0xffff_ffff]
        {
            assert_eq!(kind(&mtrrs, address), UC, "{address:#x}");
        }
        assert_eq!(mtrrs.variable[0], (0xb000_0000, 0xff_f000_0800));
        assert_eq!(mtrrs.variable[1], (0xc000_0000, 0xff_c000_0800));
        assert_eq!(mtrrs.variable[2..], [(0, 0); 6]);
        assert_eq!(mtrrs.default_type, 0xc06);
    }

    #[test]
    fn a_hole_in_too_many_pieces_is_refused() {
        let memory = Memory { hole: 0x10_1000..0x1_0000_0000, ..fixture::config(64 * MIB, 1).memory };
        assert!(matches!(mtrrs(&memory, PHYSICAL_BITS), Err(ConfigError::Hole(_))));
    }

    #[test]
    fn no_width_of_addresses_panics() {
        let memory = fixture::config(64 * MIB, 1).memory;
        for bits in 0..=255 {
            assert!(mtrrs(&memory, bits).is_ok());
        }
    }
}
