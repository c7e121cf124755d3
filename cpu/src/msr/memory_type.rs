//! MTRRs and the PAT (SDM 3A 12.11, 12.12). They are stored and checked; memory behaves the same whatever its type.

use crate::memory::PHYSICAL_BITS;
use crate::msr::{Refused, index};
use crate::state::Msrs;

/// Eight variable ranges, fixed ranges, write combining.
const CAPABILITIES: u64 = 8 | 1 << 8 | 1 << 10;
/// Address bits of a variable range.
const ADDRESS: u64 = ((1 << PHYSICAL_BITS) - 1) & !0xfff;
/// Default type, fixed ranges enabled, MTRRs enabled.
const DEF_TYPE: u64 = 0xcff;
/// Mask register: valid.
const VALID: u64 = 1 << 11;

/// Reads one of them.
pub(super) fn read(msrs: &Msrs, msr: u32) -> Option<u64> {
    Some(match msr {
        index::MTRR_CAP => CAPABILITIES,
        index::MTRR_DEF_TYPE => msrs.mtrr_def_type,
        index::MTRR_VARIABLE..=index::MTRR_VARIABLE_LAST => {
            let (base, mask) = msrs.mtrr_variable.get(variable(msr))?;
            if msr & 1 == 0 { *base } else { *mask }
        }
        _ => *msrs.mtrr_fixed.get(fixed(msr)?)?,
    })
}

/// Writes one.
pub(super) fn write(msrs: &mut Msrs, msr: u32, value: u64) -> Result<(), Refused> {
    let place = match msr {
        index::PAT if types(value).all(|kind| is_memory_type(kind) || kind == 7) => &mut msrs.pat,
        index::MTRR_DEF_TYPE if value & !DEF_TYPE == 0 && is_memory_type(value as u8) => {
            &mut msrs.mtrr_def_type
        }
        index::MTRR_VARIABLE..=index::MTRR_VARIABLE_LAST => {
            let (base, mask) = msrs.mtrr_variable.get_mut(variable(msr)).ok_or(Refused)?;
            let is_base = msr & 1 == 0;
            let valid = if is_base {
                value & !(ADDRESS | 0xff) == 0 && is_memory_type(value as u8)
            } else {
                value & !(ADDRESS | VALID) == 0
            };
            let place = if is_base { base } else { mask };
            if valid { place } else { return Err(Refused) }
        }
        _ if types(value).all(is_memory_type) => {
            fixed(msr).and_then(|range| msrs.mtrr_fixed.get_mut(range)).ok_or(Refused)?
        }
        _ => return Err(Refused),
    };
    *place = value;
    Ok(())
}

fn variable(msr: u32) -> usize {
    (msr - index::MTRR_VARIABLE) as usize / 2
}

/// Which of the eleven registers for the first MiB.
fn fixed(msr: u32) -> Option<usize> {
    Some(match msr {
        index::MTRR_FIX_64K => 0,
        index::MTRR_FIX_16K..=index::MTRR_FIX_16K_LAST => 1 + (msr - index::MTRR_FIX_16K) as usize,
        index::MTRR_FIX_4K..=index::MTRR_FIX_4K_LAST => 3 + (msr - index::MTRR_FIX_4K) as usize,
        _ => return None,
    })
}

fn types(value: u64) -> impl Iterator<Item = u8> {
    value.to_le_bytes().into_iter()
}

/// Uncacheable, write combining, write through, write protected, write back.
fn is_memory_type(kind: u8) -> bool {
    matches!(kind, 0 | 1 | 4 | 5 | 6)
}
