//! Registers that AMD's processors alone have, or lack (APM 2 appendix A; Processor Programming References).
//!
//! Those that kernels write without asking are there and keep what is written. What is absent raises #GP: performance counters, and
//! everything that CPUID announces on other models.

use super::{Refused, index};
use crate::cpuid::Mitigations;
use crate::state::{CpuState, Msrs};

/// HWCR: the time-stamp counter counts at the frequency of P-state 0, whatever the state.
const TSC_AT_P0: u64 = 1 << 24;
/// DE_CFG: LFENCE serializes, as leaf 0x80000021 of CPUID says.
const LFENCE_SERIALIZES: u64 = 1 << 1;

/// Whether a register is other than on Intel's processors.
pub(super) fn differs(msr: u32) -> bool {
    let lacked = matches!(
        msr,
        index::PLATFORM_ID
            | index::TSC_ADJUST
            | index::PLATFORM_INFO
            | index::MISC_ENABLE
            | index::TSC_DEADLINE
    );
    lacked || msr == index::BIOS_SIGN_ID || msr >= index::SYSCFG
}

pub(super) fn read(state: &CpuState, msr: u32) -> Option<u64> {
    let msrs = &state.msrs;
    Some(match msr {
        // PATCH_LEVEL.
        index::BIOS_SIGN_ID => match state.identity.mitigations {
            Mitigations::None => 0x0a20_1210,
            Mitigations::Real => 0x0830_107c,
        },
        index::HWCR => msrs.hwcr | TSC_AT_P0,
        index::SYSCFG => msrs.syscfg,
        index::NB_CFG => msrs.nb_cfg,
        index::LS_CFG => msrs.ls_cfg,
        index::DE_CFG => msrs.de_cfg | LFENCE_SERIALIZES,
        _ => return None,
    })
}

pub(super) fn write(msrs: &mut Msrs, msr: u32, value: u64) -> Result<(), Refused> {
    match msr {
        // There is no microcode to load.
        index::BIOS_SIGN_ID | index::PATCH_LOADER => {}
        index::HWCR => msrs.hwcr = value,
        index::SYSCFG => msrs.syscfg = value,
        index::NB_CFG => msrs.nb_cfg = value,
        index::LS_CFG => msrs.ls_cfg = value,
        index::DE_CFG => msrs.de_cfg = value,
        _ => return Err(Refused),
    }
    Ok(())
}
