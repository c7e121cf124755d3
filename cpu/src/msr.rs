//! RDMSR and WRMSR: model-specific registers by name (SDM 4).
//!
//! What is not here raises #GP, as on hardware; kernels that probe expect it.

mod amd;
pub mod index;
mod memory_type;

use crate::exec::Exec;
use crate::memory::is_canonical;
use crate::run::Leave;
use crate::state::{Cr0, Efer, SegmentName};

/// There is no such register, or the value is wrong: #GP(0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

impl From<crate::apic::Rejected> for Refused {
    fn from(_: crate::apic::Rejected) -> Self {
        Self
    }
}

/// Bits of IA32_MISC_ENABLE that software can change: fast strings, thermal control, performance monitoring, SpeedStep, MONITOR,
/// the limit of CPUID, xTPR messages, execute-disable disable. The two that have an effect are seen by CPUID.
const MISC_ENABLE_WRITABLE: u64 =
    1 | 1 << 3 | 1 << 7 | 1 << 16 | 1 << 18 | LIMIT_CPUID | 1 << 23 | DISABLE_NX;
/// Branch trace and precise event sampling are not available.
const MISC_ENABLE_FIXED: u64 = 1 << 11 | 1 << 12;
/// IA32_MISC_ENABLE: the highest basic leaf of CPUID is 2, for very old software.
pub(crate) const LIMIT_CPUID: u64 = 1 << 22;
/// IA32_MISC_ENABLE: CPUID does not say that pages can be protected from execution.
pub(crate) const DISABLE_NX: u64 = 1 << 34;
/// Last-branch records, of which there are none, and BTF.
const DEBUG_CONTROL: u64 = 3;
/// Of the microcode, where IA32_BIOS_SIGN_ID has it.
const MICROCODE_REVISION: u64 = 1 << 32;
/// Maximum ratio without turbo 20 and lowest ratio 8, of 100 MHz.
const PLATFORM_INFO: u64 = 8 << 40 | 20 << 8;

impl Exec<'_> {
    /// RDMSR. The time is exact in a block of its own.
    pub(crate) fn read_msr(&mut self, msr: u32) -> Result<u64, Refused> {
        let msrs = &self.state.msrs;
        if self.state.identity.is_amd() && amd::differs(msr) {
            return amd::read(self.state, msr).ok_or(Refused);
        }
        Ok(match msr {
            index::TSC => self.state.tsc(self.now()),
            index::PLATFORM_ID => 0,
            index::APIC_BASE => self.state.apic.base(),
            index::TSC_ADJUST => msrs.tsc_adjust,
            index::BIOS_SIGN_ID => MICROCODE_REVISION,
            index::PLATFORM_INFO => PLATFORM_INFO,
            index::SYSENTER_CS => msrs.sysenter_cs,
            index::SYSENTER_ESP => msrs.sysenter_esp,
            index::SYSENTER_EIP => msrs.sysenter_eip,
            // No banks.
            index::MCG_CAP => 0,
            index::MCG_STATUS => msrs.mcg_status,
            index::MISC_ENABLE => msrs.misc_enable | MISC_ENABLE_FIXED,
            index::DEBUG_CONTROL => msrs.debug_control,
            index::PAT => msrs.pat,
            index::TSC_DEADLINE => {
                let now = self.now();
                self.state.tick(now);
                self.state.apic.tsc_deadline()
            }
            index::X2APIC..=index::X2APIC_LAST => self.read_x2apic(msr - index::X2APIC)?,
            index::EFER => msrs.efer.bits(),
            index::STAR => msrs.star,
            index::LSTAR => msrs.lstar,
            index::CSTAR => msrs.cstar,
            index::FMASK => msrs.fmask,
            index::FS_BASE => self.state.segment(SegmentName::Fs).base,
            index::GS_BASE => self.state.segment(SegmentName::Gs).base,
            index::KERNEL_GS_BASE => msrs.kernel_gs_base,
            index::TSC_AUX => msrs.tsc_aux,
            _ => return memory_type::read(msrs, msr).ok_or(Refused),
        })
    }

    /// WRMSR.
    pub(crate) fn write_msr(&mut self, msr: u32, value: u64) -> Result<(), Refused> {
        let address = || if is_canonical(value) { Ok(value) } else { Err(Refused) };
        let low = || if value <= 0xffff_ffff { Ok(value) } else { Err(Refused) };
        let now = self.now();
        if self.state.identity.is_amd() && amd::differs(msr) {
            return amd::write(&mut self.state.msrs, msr, value);
        }
        match msr {
            index::TSC => self.set_tsc_adjust(
                value.wrapping_sub(self.state.tsc(now)).wrapping_add(self.state.msrs.tsc_adjust),
            ),
            index::TSC_ADJUST => self.set_tsc_adjust(value),
            index::APIC_BASE => {
                self.state.apic.set_base(value)?;
                // The page of registers may be somewhere else now.
                self.tlb.flush(false);
                self.request_leave(Leave::Bus);
            }
            // Software writes 0 before it reads the revision by CPUID; there is nothing to load.
            index::BIOS_SIGN_ID => {}
            index::SYSENTER_CS => self.state.msrs.sysenter_cs = low()?,
            index::SYSENTER_ESP => self.state.msrs.sysenter_esp = address()?,
            index::SYSENTER_EIP => self.state.msrs.sysenter_eip = address()?,
            index::MCG_STATUS if value & !7 == 0 => self.state.msrs.mcg_status = value,
            index::MISC_ENABLE => self.state.msrs.misc_enable = value & MISC_ENABLE_WRITABLE,
            index::DEBUG_CONTROL if value & !DEBUG_CONTROL == 0 => self.state.msrs.debug_control = value,
            index::TSC_DEADLINE => {
                self.state.tick(now);
                self.state.apic.set_tsc_deadline(value);
                self.request_leave(Leave::Bus);
            }
            index::X2APIC..=index::X2APIC_LAST => self.write_x2apic(msr - index::X2APIC, value)?,
            index::EFER => self.write_efer(value)?,
            index::STAR => self.state.msrs.star = value,
            index::LSTAR => self.state.msrs.lstar = address()?,
            index::CSTAR => self.state.msrs.cstar = address()?,
            index::FMASK => self.state.msrs.fmask = low()?,
            index::FS_BASE => self.state.segments[SegmentName::Fs as usize].base = address()?,
            index::GS_BASE => self.state.segments[SegmentName::Gs as usize].base = address()?,
            index::KERNEL_GS_BASE => self.state.msrs.kernel_gs_base = address()?,
            index::TSC_AUX => self.state.msrs.tsc_aux = low()?,
            _ => memory_type::write(&mut self.state.msrs, msr, value)?,
        }
        Ok(())
    }

    fn set_tsc_adjust(&mut self, adjust: u64) {
        // What was due on the old count is due.
        let now = self.now();
        self.state.tick(now);
        self.state.msrs.tsc_adjust = adjust;
        self.request_leave(Leave::Bus);
        self.attention = true;
    }

    /// IA32_EFER: long mode is enabled and disabled with paging off; whether it is active follows from paging.
    fn write_efer(&mut self, value: u64) -> Result<(), Refused> {
        let new = Efer::from_bits(value).ok_or(Refused)?;
        let old = self.state.msrs.efer;
        let changed = old.symmetric_difference(new);
        if changed.contains(Efer::LME) && self.state.cr0.contains(Cr0::PG) {
            return Err(Refused);
        }
        self.state.msrs.efer = new.difference(Efer::LMA) | old.intersection(Efer::LMA);
        if changed.contains(Efer::NXE) {
            self.tlb.flush(false);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
