//! The FADT: fixed hardware of ACPI, and what else of a PC is there (ACPI 6.5, 5.2.9).

use acpi_tables::fadt::{FADT, FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};

use super::{OEM, OEM_REVISION, OEM_TABLE};
use crate::config::Config;
use crate::layout;

const PM1_EVENT_LEN: u8 = 4;
const PM1_CONTROL_LEN: u8 = 2;
const PM_TIMER_LEN: u8 = 4;
/// More than 100 us, and more than 1000 us: no C2, no C3.
const NO_C2: u16 = 101;
const NO_C3: u16 = 1001;

/// IAPC_BOOT_ARCH (table 5.11). No 8042: what answers at port 0x64 only resets. A CMOS clock is there: that it is not would be bit 5.
mod boot_architecture {
    pub const LEGACY_DEVICES: u16 = 1 << 0;
    pub const NO_VGA: u16 = 1 << 2;
}

/// `dsdt`: its address.
pub fn table(config: &Config, dsdt: u32) -> FADT {
    let power = &config.power;
    let io =
        |port: u16, len: u8, access| GAS::new(AddressSpace::SystemIo, len * 8, 0, access, u64::from(port));

    // One FACS address, the 32-bit one: with two, kernels of some ages take either for the one that holds the vector.
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .preferred_pm_profile(PmProfile::Desktop)
        .firmware_ctrl_32(layout::FACS as u32)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        // Set means "no fixed sleep button". Clear POWER_BUTTON and FIX_RTC mean that those are fixed hardware.
        .flag(Flags::SlpButton)
        .flag(Flags::RtcS4)
        .flag(Flags::ResetRegSup);
    if power.timer_is_32_bits {
        fadt = fadt.flag(Flags::TmrValExt);
    }
    fadt.dsdt = dsdt.into();
    fadt.x_dsdt = u64::from(dsdt).into();
    fadt.sci_int = u16::from(power.sci).into();
    // SMI_CMD, ACPI_ENABLE and ACPI_DISABLE stay 0: the machine is always in ACPI mode (4.8.2.5).
    fadt.pm1a_evt_blk = u32::from(power.event).into();
    fadt.pm1a_cnt_blk = u32::from(power.control).into();
    fadt.pm_tmr_blk = u32::from(power.timer).into();
    fadt.gpe0_blk = u32::from(power.gpe0).into();
    fadt.pm1_evt_len = PM1_EVENT_LEN;
    fadt.pm1_cnt_len = PM1_CONTROL_LEN;
    fadt.pm_tmr_len = PM_TIMER_LEN;
    fadt.gpe0_blk_len = power.gpe0_len;
    fadt.x_pm1a_evt_blk = io(power.event, PM1_EVENT_LEN, AccessSize::WordAccess);
    fadt.x_pm1a_cnt_blk = io(power.control, PM1_CONTROL_LEN, AccessSize::WordAccess);
    fadt.x_pm_tmr_blk = io(power.timer, PM_TIMER_LEN, AccessSize::DwordAccess);
    fadt.x_gpe0_blk = io(power.gpe0, power.gpe0_len, AccessSize::ByteAccess);
    fadt.p_lvl2_lat = NO_C2.into();
    fadt.p_lvl3_lat = NO_C3.into();
    fadt.day_alrm = config.clock.day_alarm;
    fadt.mon_alrm = config.clock.month_alarm;
    fadt.century = config.clock.century;
    fadt.iapc_boot_arch = (boot_architecture::LEGACY_DEVICES | boot_architecture::NO_VGA).into();
    fadt.reset_reg = io(power.reset, 1, AccessSize::ByteAccess);
    fadt.reset_value = power.reset_value;
    // SLEEP_CONTROL and SLEEP_STATUS stay 0: with an address there, ACPICA sleeps by them and not by PM1.
    fadt.finalize()
}
