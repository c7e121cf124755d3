//! What is delivered when: the rest is compared with the host.

use iced_x86::code_asm::*;

use crate::fault::vector;
use crate::state::{Cr0, Cr4};
use crate::test_kernel::{Code, Kernel};

/// Data, and an address where no page is.
const DATA: u64 = 0x10_0000;
const NOWHERE: u64 = 0x4000_0000;

fn kernel(code: Code<'_>) -> Kernel {
    let mut kernel = Kernel::long(code);
    let state = kernel.state();
    state.cr4 |= Cr4::OSFXSR | Cr4::OSXMMEXCPT;
    (state.gpr[0], state.gpr[3]) = (NOWHERE, DATA);
    (state.fpu.xmm[0], state.fpu.xmm[1]) = (0x3f80_0000, 0);
    kernel
}

/// The vector that one instruction ends in, and MXCSR and XMM0 afterwards.
fn outcome(mut kernel: Kernel) -> (Option<u8>, u32, u128) {
    kernel.run(1);
    let handler = kernel.handler();
    (handler, kernel.state().fpu.mxcsr, kernel.state().fpu.xmm[0])
}

const QUOTIENT: Code<'static> = &|a| a.divss(xmm0, xmm1);
const SUM_OF_NOTHING: Code<'static> = &|a| a.addps(xmm0, ptr(rax));

#[test]
fn a_division_by_zero_is_masked_or_not() {
    assert_eq!(outcome(kernel(QUOTIENT)), (None, 0x1f84, 0x7f80_0000));
    let mut unmasked = kernel(QUOTIENT);
    unmasked.state().fpu.mxcsr = 0x1d80;
    assert_eq!(outcome(unmasked), (Some(vector::XM), 0x1d84, 0x3f80_0000));
    // A system that has not said that it handles #XM gets #UD.
    let mut unprepared = kernel(QUOTIENT);
    unprepared.state().fpu.mxcsr = 0x1d80;
    unprepared.state().cr4 -= Cr4::OSXMMEXCPT;
    assert_eq!(outcome(unprepared), (Some(vector::UD), 0x1d84, 0x3f80_0000));
}

#[test]
fn a_flag_that_is_set_already_raises_nothing() {
    let mut kernel = kernel(&|a| a.addss(xmm0, xmm0));
    kernel.state().fpu.mxcsr = 0x003f;
    assert_eq!(outcome(kernel), (None, 0x003f, 0x4000_0000));
}

#[test]
fn an_unavailable_unit_is_noticed_before_memory() {
    assert_eq!(outcome(kernel(SUM_OF_NOTHING)).0, Some(vector::PF));
    let mut emulated = kernel(SUM_OF_NOTHING);
    emulated.state().cr0 |= Cr0::EM | Cr0::TS;
    assert_eq!(outcome(emulated).0, Some(vector::UD));
    let mut switched = kernel(SUM_OF_NOTHING);
    switched.state().cr0 |= Cr0::TS;
    assert_eq!(outcome(switched).0, Some(vector::NM));
    let mut unprepared = kernel(SUM_OF_NOTHING);
    unprepared.state().cr4 -= Cr4::OSFXSR;
    assert_eq!(outcome(unprepared).0, Some(vector::UD));
}

#[test]
fn alignment_comes_before_the_page() {
    for code in [
        &|a: &mut CodeAssembler| a.addps(xmm0, ptr(rax + 8)),
        &|a: &mut CodeAssembler| a.movaps(ptr(rax + 8), xmm0),
        &|a: &mut CodeAssembler| a.movntdq(ptr(rax + 1), xmm0),
    ] as [Code<'_>; 3]
    {
        assert_eq!(outcome(kernel(code)).0, Some(vector::GP));
    }
    // These take any address.
    for code in [
        &|a: &mut CodeAssembler| a.movups(ptr(rbx + 1), xmm0),
        &|a: &mut CodeAssembler| a.lddqu(xmm0, ptr(rbx + 7)),
        &|a: &mut CodeAssembler| a.addss(xmm0, dword_ptr(rbx + 3)),
        &|a: &mut CodeAssembler| a.pcmpistri(xmm0, xmmword_ptr(rbx + 5), 0),
    ] as [Code<'_>; 4]
    {
        assert_eq!(outcome(kernel(code)).0, None);
    }
}

#[test]
fn reserved_bits_of_mxcsr() {
    for (value, expected) in [(0xffff_u32, (None, 0xffff)), (0x1_1f80, (Some(vector::GP), 0x1f80))] {
        let kernel = kernel(&|a| a.ldmxcsr(dword_ptr(rbx)));
        kernel.ram.write(DATA, &value.to_le_bytes()).unwrap();
        let (handler, mxcsr, _) = outcome(kernel);
        assert_eq!((handler, mxcsr), expected);
    }
}
