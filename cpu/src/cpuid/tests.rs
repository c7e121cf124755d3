//! The identity as software reads it.

use std::fmt::Write;

use super::*;

fn table(state: &CpuState) -> String {
    let mut table = String::new();
    let mut line = |leaf: u32, subleaf: u32| {
        let Leaf { eax, ebx, ecx, edx } = state.cpuid(leaf, subleaf);
        if (eax, ebx, ecx, edx) != (0, 0, 0, 0) {
            writeln!(table, "{leaf:08x}.{subleaf} {eax:08x} {ebx:08x} {ecx:08x} {edx:08x}").unwrap();
        }
    };
    for leaf in (0..=BASIC).chain([0x4000_0000, HYPERVISOR]).chain(0x8000_0000..=0x8000_0021) {
        if !state.identity.is_amd() && leaf > EXTENDED {
            continue;
        }
        let subleaves = if matches!(leaf, 4 | 7 | 0xb | 0xd | 0x1f) { 4 } else { 1 };
        (0..subleaves).for_each(|subleaf| line(leaf, subleaf));
    }
    table
}

#[test]
fn one_processor() {
    insta::assert_snapshot!(table(&CpuState::reset()));
}

#[test]
fn the_third_of_three_with_flaws_on_bare_metal() {
    let identity = Identity {
        processors: 3,
        apic_id: 2,
        hypervisor: Hypervisor::None,
        mitigations: Mitigations::Real,
        ..Identity::default()
    };
    insta::assert_snapshot!(table(&CpuState::power_on(identity)));
}

#[test]
fn one_processor_of_amd() {
    let identity = Identity { vendor: Vendor::Amd, ..Identity::default() };
    insta::assert_snapshot!(table(&CpuState::power_on(identity)));
}

#[test]
fn the_third_of_three_of_amd_with_flaws_on_bare_metal() {
    let identity = Identity {
        processors: 3,
        apic_id: 2,
        vendor: Vendor::Amd,
        hypervisor: Hypervisor::None,
        mitigations: Mitigations::Real,
    };
    insta::assert_snapshot!(table(&CpuState::power_on(identity)));
}

#[test]
fn state_shows() {
    let mut state = CpuState::reset();
    let bit = |leaf: Leaf, bit: u32| (leaf.ecx >> bit & 1, leaf.edx >> bit & 1);
    assert_eq!((bit(state.cpuid(1, 0), 27).0, bit(state.cpuid(1, 0), 9).1), (0, 1));
    state.cr4 |= Cr4::OSXSAVE;
    state.apic.set_base(0).unwrap();
    assert_eq!((bit(state.cpuid(1, 0), 27).0, bit(state.cpuid(1, 0), 9).1), (1, 0));
}

#[test]
fn old_software_limits_what_it_sees() {
    let mut state = CpuState::reset();
    let nx = |state: &CpuState| state.cpuid(0x8000_0001, 0).edx >> 20 & 1;
    assert_eq!((state.cpuid(0, 0).eax, nx(&state)), (BASIC, 1));
    state.msrs.misc_enable |= LIMIT_CPUID | DISABLE_NX;
    assert_eq!((state.cpuid(0, 0).eax, nx(&state)), (2, 0));
    assert_eq!(state.cpuid(7, 0), state.cpuid(2, 0));
}

#[test]
fn beyond_the_last_leaf_is_the_highest_basic_one() {
    let state = CpuState::reset();
    for leaf in [BASIC + 1, 0x3fff_ffff, 0x5000_0000, EXTENDED + 1, u32::MAX] {
        assert_eq!(state.cpuid(leaf, 1), state.cpuid(BASIC, 1));
    }
    let amd = CpuState::power_on(Identity { vendor: Vendor::Amd, ..Identity::default() });
    for leaf in [0x11, 0x15, BASIC, 0x3fff_ffff, 0x5000_0000, 0x8000_0022, u32::MAX] {
        assert_eq!(amd.cpuid(leaf, 1), Leaf::default());
    }
}

#[test]
fn names_are_told_apart() {
    let mut names: Vec<_> = features::names().collect();
    names.sort_unstable();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before);
}

#[test]
fn what_is_not_advertised_is_no_instruction() {
    use iced_x86::Code;
    for there in [
        Code::Add_r32_rm32,
        Code::Mov_cr_r64,
        Code::Syscall,
        Code::Tzcnt_r32_rm32,
        Code::Crc32_r32_rm32,
        Code::Endbr64,
        Code::Rdsspq_r64,
        Code::Xgetbv,
        Code::Ud2,
        Code::Bndmk_bnd_m64,
    ] {
        assert!(has_instruction(there), "{there:?}");
    }
    for absent in [
        Code::VEX_Vaddps_ymm_ymm_ymmm256,
        Code::Aesenc_xmm_xmmm128,
        Code::Monitorq,
        Code::Mwait,
        Code::Vmcall,
        Code::Vmmcall,
        Code::Rsm,
        Code::Rdpid_r64,
        Code::Xsavec_mem,
        Code::Getsecd,
        Code::Xbegin_rel32,
        Code::Wrpkru,
        Code::Loadall286,
    ] {
        assert!(!has_instruction(absent), "{absent:?}");
    }
}
