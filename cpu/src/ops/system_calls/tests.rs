//! Ways into the kernel and back that look at no table.

use crate::fault::vector;
use crate::mode::CodeWidth;
use crate::state::{Attributes, Efer, SegmentName};
use crate::test_kernel::*;

/// With the registers an operating system sets up.
fn prepared(mut kernel: Kernel) -> Kernel {
    let msrs = &mut kernel.state().msrs;
    msrs.star = 0x0018_0008 << 32;
    msrs.lstar = 0xffff_8000_0000_9000;
    msrs.fmask = 0x4_7700;
    msrs.sysenter_cs = 8;
    msrs.sysenter_eip = 0x9000;
    msrs.sysenter_esp = KERNEL_STACK;
    kernel
}

fn selectors(kernel: &mut Kernel) -> (u16, u16) {
    let state = kernel.state();
    (state.segment(SegmentName::Cs).selector, state.segment(SegmentName::Ss).selector)
}

#[test]
fn syscall_keeps_where_it_came_from_in_registers() {
    let mut kernel = prepared(Kernel::user(&|a| a.syscall()));
    kernel.state().rflags = 0x4_0a47;
    kernel.run(1);
    assert_eq!(selectors(&mut kernel), (8, 16));
    let state = kernel.state();
    assert_eq!((state.rip, state.cpl(), state.gpr[4]), (0xffff_8000_0000_9000, 0, STACK));
    assert_eq!((state.gpr[1], state.gpr[11], state.rflags), (CODE + 2, 0x4_0a47, 0x0847));
    let code = state.segment(SegmentName::Cs);
    assert_eq!((code.base, code.limit, code.attributes), (0, u32::MAX, Attributes(0xa09b)));
    assert_eq!(state.segment(SegmentName::Ss).attributes, Attributes(0xc093));
}

#[test]
fn sysret_goes_back_at_either_size() {
    let mut kernel = prepared(Kernel::long(&|a| a.sysretq()));
    kernel.state().gpr[1] = 0x9000;
    kernel.state().gpr[11] = 0xffff_ffff;
    kernel.run(1);
    assert_eq!(selectors(&mut kernel), (0x2b, 0x23));
    // All but RF and VM, and no bit that is reserved. TF is set, but this instruction was not stepped.
    let state = kernel.state();
    assert_eq!((state.rip, state.cpl(), state.rflags), (0x9000, 3, 0x3c_7fd7));
    assert_eq!(state.segment(SegmentName::Cs).attributes, Attributes(0xa0fb));

    let mut kernel = prepared(Kernel::long(&|a| a.sysret()));
    kernel.state().gpr[1] = 0xffff_ffff_0000_9000;
    kernel.state().gpr[11] = 2;
    kernel.run(1);
    assert_eq!(selectors(&mut kernel), (0x1b, 0x23));
    assert_eq!((kernel.state().rip, kernel.state().mode().width()), (0x9000, CodeWidth::Bits32));
}

#[test]
fn sysret_to_no_address_faults_before_anything_changed() {
    let mut kernel = prepared(Kernel::long(&|a| a.sysretq()));
    kernel.state().gpr[1] = 0x8000_0000_0000;
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.state().cpl()), (Some(vector::GP), 0));
    assert_eq!(kernel.stack::<3>(), [0, CODE, u64::from(CODE_64)]);
    let mut kernel = prepared(Kernel::user(&|a| a.sysretq()));
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::GP));
}

#[test]
fn neither_exists_unless_enabled_in_64_bit_mode() {
    for code in [&[0x0f, 0x05], &[0x0f, 0x07]] {
        let mut kernel = prepared(Kernel::long(&|a| a.nop())).at(CODE, code);
        kernel.state().msrs.efer -= Efer::SCE;
        kernel.run(1);
        assert_eq!(kernel.handler(), Some(vector::UD));
        let mut kernel = prepared(Kernel::protected(&|a| a.nop())).at(CODE, code);
        kernel.state().msrs.efer = Efer::SCE;
        kernel.run(1);
        assert_eq!(kernel.handler(), Some(vector::UD));
    }
}

#[test]
fn sysenter_and_sysexit() {
    for (mut kernel, bits) in [
        (prepared(Kernel::protected_user(&|a| a.sysenter())), CodeWidth::Bits32),
        (prepared(Kernel::user(&|a| a.sysenter())), CodeWidth::Bits64),
    ] {
        kernel.state().rflags = 0x202;
        kernel.run(1);
        assert_eq!(selectors(&mut kernel), (8, 16));
        let state = kernel.state();
        assert_eq!((state.rip, state.gpr[4], state.rflags), (0x9000, KERNEL_STACK, 2));
        assert_eq!((state.mode().width(), state.cpl()), (bits, 0));
    }
    for (mut kernel, code, bits) in [
        (prepared(Kernel::protected(&|a| a.sysexit())), 0x1b, CodeWidth::Bits32),
        (prepared(Kernel::long(&|a| a.sysexit())), 0x1b, CodeWidth::Bits32),
        (prepared(Kernel::long(&|a| a.sysexitq())), 0x2b, CodeWidth::Bits64),
    ] {
        kernel.state().gpr[1] = 0x6_0000;
        kernel.state().gpr[2] = 0xa000;
        kernel.run(1);
        assert_eq!(selectors(&mut kernel), (code, code + 8));
        let state = kernel.state();
        assert_eq!((state.rip, state.gpr[4], state.cpl(), state.mode().width()), (0xa000, 0x6_0000, 3, bits));
    }
}

#[test]
fn without_a_selector_sysenter_leads_nowhere() {
    for mut kernel in [prepared(Kernel::long(&|a| a.sysenter())), prepared(Kernel::long(&|a| a.sysexitq()))] {
        kernel.state().msrs.sysenter_cs = 3;
        kernel.run(1);
        assert_eq!((kernel.handler(), kernel.stack::<1>()), (Some(vector::GP), [0]));
    }
}

#[test]
fn swapgs_exchanges_the_bases() {
    let mut kernel = Kernel::long(&|a| a.swapgs());
    kernel.state().msrs.kernel_gs_base = 0xffff_8000_1234_0000;
    kernel.state().segments[5].base = 0x1111;
    kernel.run(1);
    assert_eq!(kernel.state().segments[5].base, 0xffff_8000_1234_0000);
    assert_eq!(kernel.state().msrs.kernel_gs_base, 0x1111);
    let mut kernel = Kernel::user(&|a| a.swapgs());
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::GP));
}

/// The same with a processor of AMD.
fn amd(kernel: Kernel) -> Kernel {
    let mut kernel = prepared(kernel);
    kernel.state().identity.vendor = crate::cpuid::Vendor::Amd;
    kernel.state().msrs.star |= 0x9000;
    kernel.state().msrs.cstar = 0xa000;
    kernel
}

#[test]
fn syscall_of_amd_exists_in_every_mode() {
    let mut kernel = amd(Kernel::protected_user(&|a| a.syscall()));
    kernel.state().msrs.efer = Efer::SCE;
    kernel.state().rflags = 0x202;
    let r11 = kernel.state().gpr[11];
    kernel.run(1);
    assert_eq!(selectors(&mut kernel), (8, 16));
    let state = kernel.state();
    assert_eq!((state.rip, state.cpl(), state.mode().width()), (0x9000, 0, CodeWidth::Bits32));
    assert_eq!((state.gpr[1], state.gpr[11], state.rflags), (CODE + 2, r11, 2));

    let mut kernel = amd(Kernel::protected(&|a| a.sysret()));
    kernel.state().msrs.efer = Efer::SCE;
    kernel.state().gpr[1] = 0xa000;
    kernel.run(1);
    assert_eq!(selectors(&mut kernel), (0x1b, 0x20));
    let state = kernel.state();
    assert_eq!((state.rip, state.cpl(), state.rflags & 0x200), (0xa000, 3, 0x200));

    let mut kernel = amd(Kernel::user(&|a| a.syscall()));
    kernel.state().segments[SegmentName::Cs as usize].attributes = Attributes(0xc0fb);
    assert_eq!(kernel.state().mode().width(), CodeWidth::Bits32, "compatibility mode");
    kernel.run(1);
    let state = kernel.state();
    assert_eq!((state.rip, state.cpl(), state.mode().width()), (0xa000, 0, CodeWidth::Bits64));
    assert_eq!(state.gpr[1], CODE + 2);

    let mut kernel = amd(Kernel::protected_user(&|a| a.syscall()));
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::UD), "not enabled");
}

#[test]
fn sysret_of_amd_looks_at_no_address_and_keeps_the_stack_segment() {
    let mut kernel = amd(Kernel::long(&|a| a.sysretq()));
    kernel.state().gpr[1] = 0x8000_0000_0000;
    kernel.state().gpr[11] = 2;
    kernel.state().segments[SegmentName::Ss as usize].limit = 0x1234;
    kernel.run(1);
    assert_eq!(selectors(&mut kernel), (0x2b, 0x20));
    let state = kernel.state();
    assert_eq!((state.rip, state.cpl(), state.segment(SegmentName::Ss).limit), (0x8000_0000_0000, 3, 0x1234));
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::GP), "the first fetch faults, with the rights of the user");
    assert_eq!(kernel.stack::<5>()[1..3], [0x8000_0000_0000, 0x2b]);
}

#[test]
fn sysenter_of_amd_does_not_exist_in_long_mode() {
    for mut kernel in [
        amd(Kernel::user(&|a| a.sysenter())),
        amd(Kernel::long(&|a| a.sysexit())),
        amd(Kernel::long(&|a| a.sysexitq())),
    ] {
        kernel.run(1);
        assert_eq!(kernel.handler(), Some(vector::UD));
    }
    let mut kernel = amd(Kernel::protected_user(&|a| a.sysenter()));
    kernel.run(1);
    assert_eq!((kernel.state().rip, kernel.state().cpl()), (0x9000, 0));
}
