//! Model-specific registers that hold something. What only reads a constant is in the code of RDMSR.

use serde::{Deserialize, Serialize};

use crate::state::Efer;

/// The registers, by the names of SDM 4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Msrs {
    pub efer: Efer,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub fmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub tsc_aux: u64,
    /// What the TSC is ahead of virtual time, modulo 2^64: from the last RESET, ...
    pub tsc_origin: u64,
    /// ... and from what software wrote since (IA32_TSC_ADJUST).
    pub tsc_adjust: u64,
    pub pat: u64,
    /// The bits that software can change.
    pub misc_enable: u64,
    /// Bit 1 is BTF: single step stops at branches.
    pub debug_control: u64,
    pub mcg_status: u64,
    pub mtrr_def_type: u64,
    pub mtrr_fixed: [u64; 11],
    /// Base and mask of each variable range.
    pub mtrr_variable: [(u64, u64); 8],
    /// Of AMD's processors alone, by the names of APM 2: stored, without effect.
    pub hwcr: u64,
    pub syscfg: u64,
    pub nb_cfg: u64,
    pub ls_cfg: u64,
    pub de_cfg: u64,
}

impl Default for Msrs {
    fn default() -> Self {
        Self {
            efer: Efer::empty(),
            star: 0,
            lstar: 0,
            cstar: 0,
            fmask: 0,
            kernel_gs_base: 0,
            sysenter_cs: 0,
            sysenter_esp: 0,
            sysenter_eip: 0,
            tsc_aux: 0,
            tsc_origin: 0,
            tsc_adjust: 0,
            pat: 0x0007_0406_0007_0406,
            misc_enable: 1,
            debug_control: 0,
            mcg_status: 0,
            mtrr_def_type: 0,
            mtrr_fixed: [0; 11],
            mtrr_variable: [(0, 0); 8],
            hwcr: 0,
            syscfg: 0,
            nb_cfg: 0,
            ls_cfg: 0,
            de_cfg: 0,
        }
    }
}
