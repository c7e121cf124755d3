//! Registers through RDMSR and WRMSR.

use iced_x86::code_asm::*;

use super::index;
use crate::apic::{Destination, Message};
use crate::cpuid::Vendor;
use crate::state::Efer;
use crate::testing::{Guest, Recorder};
use crate::{Leave, NS_PER_INSTRUCTION};

/// Writes and reads back; `None` if one of both faults.
fn written(msr: u32, value: u64) -> Option<u64> {
    written_on(Vendor::Intel, msr, value)
}

fn written_on(vendor: Vendor, msr: u32, value: u64) -> Option<u64> {
    let mut guest = Guest::long(|a| {
        a.wrmsr()?;
        a.rdmsr()
    });
    guest.cpu.state.identity.vendor = vendor;
    let gpr = &mut guest.cpu.state.gpr;
    (gpr[1], gpr[0], gpr[2]) = (u64::from(msr), value & 0xffff_ffff, value >> 32);
    // A change of the timer or of interrupts ends the slice after the instruction.
    while guest.cpu.state.rip < crate::testing::CODE + guest.code_bytes {
        let left = 2 - (guest.cpu.state.rip - crate::testing::CODE) / 2;
        if guest.run(left).leave == Leave::Shutdown {
            return None;
        }
    }
    Some(guest.reg(2) << 32 | guest.reg(0))
}

const NOT_CANONICAL: u64 = 1 << 47;

#[test]
fn what_is_written_is_read() {
    for (msr, value) in [
        (index::SYSENTER_CS, 0x10),
        (index::SYSENTER_EIP, 0xffff_ffff_8000_0000),
        (index::STAR, 0x0123_4567_89ab_cdef),
        (index::LSTAR, 0xffff_8000_0000_0000),
        (index::CSTAR, 0x1234),
        (index::FMASK, 0x4_7700),
        (index::FS_BASE, 0x7fff_1234_5678),
        (index::GS_BASE, 0xffff_8880_0000_0000),
        (index::KERNEL_GS_BASE, 7),
        (index::TSC_AUX, 0x3005),
        (index::PAT, 0x0407_0106_0007_0406),
        (index::MTRR_DEF_TYPE, 0xc06),
        (index::MTRR_VARIABLE + 14, 0x12_3400_0006),
        (index::MTRR_VARIABLE + 15, 0x7f_8000_0800),
        (index::MTRR_FIX_64K, 0x0606_0606_0606_0606),
        (index::MTRR_FIX_16K_LAST, 0x0505_0505_0505_0505),
        (index::MTRR_FIX_4K_LAST, 0x0101_0101_0404_0404),
        (index::TSC_ADJUST, 0xffff_ffff_0000_0000),
        (index::DEBUG_CONTROL, 2),
        (index::MCG_STATUS, 0),
        (index::EFER, (Efer::SCE | Efer::LME | Efer::LMA | Efer::NXE).bits()),
    ] {
        assert_eq!(written(msr, value), Some(value), "{msr:#x}");
    }
    assert_eq!(written(index::BIOS_SIGN_ID, 0), Some(1 << 32));
    assert_eq!(written(index::MISC_ENABLE, u64::MAX), Some(0x4_00c5_1889));
    assert_eq!(written(index::TSC_DEADLINE, 77), Some(0), "not in that mode");
}

#[test]
fn what_is_wrong_faults() {
    for (msr, value) in [
        (index::SYSENTER_ESP, NOT_CANONICAL),
        (index::LSTAR, NOT_CANONICAL),
        (index::CSTAR, 1 << 63),
        (index::FS_BASE, NOT_CANONICAL),
        (index::GS_BASE, NOT_CANONICAL),
        (index::KERNEL_GS_BASE, NOT_CANONICAL),
        (index::FMASK, 1 << 32),
        (index::TSC_AUX, 1 << 32),
        (index::PAT, 2),
        (index::PAT, 0x08 << 56),
        (index::MTRR_DEF_TYPE, 0xc02),
        (index::MTRR_DEF_TYPE, 0x1000),
        (index::MTRR_VARIABLE, 7),
        (index::MTRR_VARIABLE, 1 << 39),
        (index::MTRR_VARIABLE + 1, 0x400),
        (index::MTRR_FIX_64K, 3),
        (index::MTRR_CAP, 0),
        (index::MCG_CAP, 0),
        (index::PLATFORM_INFO, 0),
        (index::DEBUG_CONTROL, 4),
        (index::EFER, (Efer::LMA).bits()),
        (index::EFER, 1 << 2 | Efer::LME.bits()),
        (index::APIC_BASE, 0),
        (index::X2APIC + 8, 0),
        (0x1234, 0),
        (0xc000_0104, 0),
        (u32::MAX, 0),
    ] {
        let read = written(msr, value);
        // The base of an APIC that is off is no fault but in a long mode without one.
        if msr == index::APIC_BASE {
            assert_eq!(read, Some(0x100));
        } else {
            assert_eq!(read, None, "{msr:#x} = {value:#x}");
        }
    }
}

/// What Linux writes without asking is there (init_amd, amd_bus_cpu_online, k8_check_syscfg_dram_mod_en); what is Intel's is not.
#[test]
fn vendors_have_registers_of_their_own() {
    for (msr, value, read) in [
        (index::HWCR, 1 << 6, Some(1 << 24 | 1 << 6)),
        (index::SYSCFG, 1 << 20, Some(1 << 20)),
        (index::NB_CFG, 1 << 46, Some(1 << 46)),
        (index::LS_CFG, 1 << 10, Some(1 << 10)),
        (index::DE_CFG, 1 << 9, Some(1 << 9 | 2)),
        (index::BIOS_SIGN_ID, 0, Some(0x0a20_1210)),
        (index::TSC_ADJUST, 0, None),
        (index::MISC_ENABLE, 0, None),
        (index::TSC_DEADLINE, 0, None),
        (index::PATCH_LOADER, 0, None),
        (0xc001_0000, 0, None),
        (index::STAR, 7, Some(7)),
    ] {
        assert_eq!(written_on(Vendor::Amd, msr, value), read, "{msr:#x}");
    }
    for msr in [index::HWCR, index::SYSCFG, index::NB_CFG, index::LS_CFG, index::DE_CFG, index::PATCH_LOADER]
    {
        assert_eq!(written(msr, 0), None, "{msr:#x}");
    }
}

#[test]
fn the_counter_follows_time() {
    let mut guest = Guest::long(|a| {
        a.rdtsc()?;
        a.mov(ecx, 0)?;
        a.rdtscp()
    });
    guest.cpu.state.msrs.tsc_adjust = 1 << 40;
    guest.cpu.state.msrs.tsc_aux = 0x1005;
    guest.run_on(&mut Recorder::default(), 1_000_000, 1);
    assert_eq!((guest.reg(2), guest.reg(0)), (1 << 8, 2 * (1_000_000 + NS_PER_INSTRUCTION)));
    guest.run_on(&mut Recorder::default(), 2_000_000, 2);
    assert_eq!((guest.reg(2), guest.reg(0)), (1 << 8, 2 * (2_000_000 + 2 * NS_PER_INSTRUCTION)));
    assert_eq!(guest.reg(1), 0x1005);
}

#[test]
fn setting_the_counter_adjusts_it() {
    let mut guest = Guest::long(|a| {
        a.mov(ecx, index::TSC)?;
        a.mov(eax, 5000)?;
        a.xor(edx, edx)?;
        a.wrmsr()?;
        a.rdmsr()?;
        a.mov(rbx, rax)?;
        a.mov(ecx, index::TSC_ADJUST)?;
        a.rdmsr()
    });
    let exit = guest.run_on(&mut Recorder::default(), 1_000_000, 8);
    assert_eq!((exit.leave, exit.retired), (Leave::Bus, 4), "deadlines may be other ones now");
    guest.run_on(&mut Recorder::default(), 1_000_000 + 4 * NS_PER_INSTRUCTION, 4);
    assert_eq!(guest.reg(3), 5000 + 2 * NS_PER_INSTRUCTION);
    let adjust = guest.reg(2) << 32 | guest.reg(0);
    assert_eq!(adjust, 5000u64.wrapping_sub(2 * (1_000_000 + 4 * NS_PER_INSTRUCTION)));
}

#[test]
fn an_ipi_leaves_the_processor() {
    let mut guest = Guest::long(|a| {
        a.mov(ecx, index::APIC_BASE)?;
        a.rdmsr()?;
        a.or(eax, 1 << 10)?;
        a.wrmsr()?;
        a.mov(ecx, index::X2APIC + 0x30)?;
        a.mov(eax, 0x40f5)?;
        a.mov(edx, 3)?;
        a.wrmsr()?;
        a.mov(ecx, index::X2APIC + 0x0b)?;
        a.xor(eax, eax)?;
        a.xor(edx, edx)?;
        a.wrmsr()
    });
    let mut bus = Recorder::default();
    assert_eq!(guest.run_on(&mut bus, 0, 99).retired, 4);
    let exit = guest.run_on(&mut bus, 0, 99);
    assert_eq!((exit.leave, exit.retired), (Leave::Bus, 4));
    let [Message { destination, vector, .. }] = bus.messages[..] else { panic!("{bus:?}") };
    assert_eq!((destination, vector), (Destination::Physical(3), 0xf5));
    let apic = &mut guest.cpu.state.apic;
    apic.set_virtual_wire();
    apic.accept(0x66, true);
    apic.acknowledge();
    assert_eq!(guest.run_on(&mut bus, 0, 4).leave, Leave::Bus);
    assert_eq!(bus.ends, [0x66]);
}

#[test]
fn user_mode_has_no_msrs() {
    let mut guest = Guest::long(|a| a.rdmsr());
    guest.cpu.state.segments[2].attributes = guest.cpu.state.segments[2].attributes.with_dpl(3);
    guest.cpu.state.gpr[1] = u64::from(index::TSC);
    assert_eq!(guest.run(1).leave, Leave::Shutdown, "there is no IDT");
}
