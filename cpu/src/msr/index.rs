//! Numbers of the registers.
#![allow(missing_docs, reason = "they have the manual's names, without IA32_ or MSR_")]

pub const TSC: u32 = 0x10;
pub const PLATFORM_ID: u32 = 0x17;
pub const APIC_BASE: u32 = 0x1b;
pub const TSC_ADJUST: u32 = 0x3b;
pub const BIOS_SIGN_ID: u32 = 0x8b;
pub const PLATFORM_INFO: u32 = 0xce;
pub const MTRR_CAP: u32 = 0xfe;
pub const SYSENTER_CS: u32 = 0x174;
pub const SYSENTER_ESP: u32 = 0x175;
pub const SYSENTER_EIP: u32 = 0x176;
pub const MCG_CAP: u32 = 0x179;
pub const MCG_STATUS: u32 = 0x17a;
pub const MISC_ENABLE: u32 = 0x1a0;
pub const DEBUG_CONTROL: u32 = 0x1d9;
pub const MTRR_VARIABLE: u32 = 0x200;
pub const MTRR_VARIABLE_LAST: u32 = 0x20f;
pub const MTRR_FIX_64K: u32 = 0x250;
pub const MTRR_FIX_16K: u32 = 0x258;
pub const MTRR_FIX_16K_LAST: u32 = 0x259;
pub const MTRR_FIX_4K: u32 = 0x268;
pub const MTRR_FIX_4K_LAST: u32 = 0x26f;
pub const PAT: u32 = 0x277;
pub const MTRR_DEF_TYPE: u32 = 0x2ff;
pub const TSC_DEADLINE: u32 = 0x6e0;
pub const X2APIC: u32 = 0x800;
pub const X2APIC_LAST: u32 = 0x8ff;
pub const EFER: u32 = 0xc000_0080;
pub const STAR: u32 = 0xc000_0081;
pub const LSTAR: u32 = 0xc000_0082;
pub const CSTAR: u32 = 0xc000_0083;
pub const FMASK: u32 = 0xc000_0084;
pub const FS_BASE: u32 = 0xc000_0100;
pub const GS_BASE: u32 = 0xc000_0101;
pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
pub const TSC_AUX: u32 = 0xc000_0103;

// Of AMD's processors.
pub const SYSCFG: u32 = 0xc001_0010;
pub const HWCR: u32 = 0xc001_0015;
pub const NB_CFG: u32 = 0xc001_001f;
pub const PATCH_LOADER: u32 = 0xc001_0020;
pub const LS_CFG: u32 = 0xc001_1020;
pub const DE_CFG: u32 = 0xc001_1029;
