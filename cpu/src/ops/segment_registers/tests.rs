//! What segment registers accept.

use iced_x86::code_asm::*;

use crate::fault::vector;
use crate::state::{Segment, SegmentName};
use crate::test_kernel::*;

fn load(mut kernel: Kernel, selector: u16) -> Kernel {
    kernel.state().gpr[0] = selector.into();
    kernel.run(1);
    kernel
}

fn load_ds(selector: u16) -> Kernel {
    load(Kernel::protected(&|a| a.mov(ds, eax)), selector)
}

fn error(kernel: &Kernel) -> (Option<u8>, u32) {
    (kernel.handler(), kernel.stack_32::<1>()[0])
}

#[test]
fn data_segments_take_data_and_readable_code() {
    for selector in [DATA_0, DATA_3, CODE_32, DATA_16] {
        let mut kernel = load_ds(selector);
        assert_eq!(kernel.state().segment(SegmentName::Ds).selector, selector);
    }
    assert_eq!(*load_ds(0).state().segment(SegmentName::Ds), Segment::null(0, 0));
    assert_eq!(*load_ds(3).state().segment(SegmentName::Ds), Segment::null(3, 0));
}

#[test]
fn what_a_data_segment_refuses() {
    assert_eq!(error(&load_ds(0x1000)), (Some(vector::GP), 0x1000));
    assert_eq!(error(&load_ds(TASK)), (Some(vector::GP), TASK.into()));
    // RPL 3 is more than DPL 0 allows.
    assert_eq!(error(&load_ds(DATA_0 | 3)), (Some(vector::GP), DATA_0.into()));
    assert_eq!(error(&load_ds(ABSENT)), (Some(vector::NP), ABSENT.into()));
    // Code that cannot be read.
    let kernel = Kernel::protected(&|a| a.mov(ds, eax));
    kernel.descriptor(FREE, 0x00cf_9900_0000_ffff);
    assert_eq!(error(&load(kernel, FREE)), (Some(vector::GP), FREE.into()));
    let kernel = Kernel::protected_user(&|a| a.mov(ds, eax));
    assert_eq!(error(&load(kernel, DATA_0)), (Some(vector::GP), DATA_0.into()));
}

#[test]
fn loading_sets_the_accessed_bit() {
    let kernel = Kernel::protected(&|a| a.mov(es, eax));
    kernel.descriptor(FREE, 0x12cf_9234_5678_ffff);
    let mut kernel = load(kernel, FREE);
    assert_eq!(kernel.read(GDT + u64::from(FREE)), 0x12cf_9334_5678_ffff);
    assert_eq!(kernel.state().segment(SegmentName::Es).base, 0x1234_5678);
}

#[test]
fn a_null_segment_cannot_be_used() {
    let mut kernel = Kernel::protected(&|a| {
        a.mov(es, eax)?;
        a.mov(ebx, dword_ptr(0x1000).es())
    });
    kernel.run(2);
    assert_eq!(error(&kernel), (Some(vector::GP), 0));
}

#[test]
fn the_stack_segment_must_be_of_the_level() {
    let load_ss = |selector| load(Kernel::protected(&|a| a.mov(ss, eax)), selector);
    for (selector, handled, code) in [
        (0, vector::GP, 0),
        (DATA_3, vector::GP, DATA_3 & !3),
        (CODE_32, vector::GP, CODE_32),
        (ABSENT, vector::SS, ABSENT),
    ] {
        assert_eq!(error(&load_ss(selector)), (Some(handled), code.into()), "{selector:x}");
    }
    let mut kernel = load_ss(DATA_16);
    assert_eq!(kernel.state().mode().stack_bits(), 16);
}

#[test]
fn long_mode_has_null_stacks_below_level_3() {
    let code = |a: &mut CodeAssembler| a.mov(ss, eax);
    let mut kernel = load(Kernel::long(&code), 0);
    assert_eq!((kernel.state().segment(SegmentName::Ss).selector, kernel.state().cpl()), (0, 0));
    let kernel = load(Kernel::user(&code), 3);
    assert_eq!((kernel.handler(), kernel.stack::<1>()), (Some(vector::GP), [0]));
    let kernel = load(Kernel::long(&code), 3);
    assert_eq!((kernel.handler(), kernel.stack::<1>()), (Some(vector::GP), [0]));
}

#[test]
fn mov_ss_holds_events_back_for_one_instruction() {
    let mut kernel = Kernel::long(&|a| {
        a.mov(ss, eax)?;
        a.inc(ebx)?;
        a.inc(ebx)
    });
    kernel.state().gpr[0] = DATA_0.into();
    kernel.run(1);
    kernel.state().nmi_pending = true;
    kernel.run(2);
    assert_eq!((kernel.handler(), kernel.state().gpr[3]), (Some(vector::NMI), 1));
    assert_eq!(kernel.stack::<1>(), [CODE + 4]);
}

#[test]
fn pop_and_far_pointers() {
    let mut kernel = Kernel::long(&|a| a.pop(fs));
    kernel.write(STACK, 0xffff_0000 | u64::from(DATA_3));
    kernel.run(1);
    assert_eq!(
        (kernel.state().segment(SegmentName::Fs).selector, kernel.state().gpr[4]),
        (DATA_3, STACK + 8)
    );

    let mut kernel = Kernel::protected(&|a| a.lss(esp, fword_ptr(0x5_0000)));
    kernel.write(0x5_0000, u64::from(DATA_0) << 32 | 0x6_0000);
    kernel.run(1);
    assert_eq!((kernel.state().segment(SegmentName::Ss).selector, kernel.state().gpr[4]), (DATA_0, 0x6_0000));

    let mut kernel = Kernel::protected(&|a| a.les(bx, dword_ptr(0x5_0000)));
    kernel.state().gpr[3] = 0x1111_1111;
    kernel.write(0x5_0000, u64::from(DATA_3) << 16 | 0x1234);
    kernel.run(1);
    assert_eq!(
        (kernel.state().segment(SegmentName::Es).selector, kernel.state().gpr[3]),
        (DATA_3, 0x1111_1234)
    );
}

#[test]
fn selectors_are_stored_as_16_bits_or_zero_extended() {
    let mut kernel = Kernel::long(&|a| {
        a.mov(eax, cs)?;
        a.mov(bx, cs)?;
        a.mov(word_ptr(0x5_0000), ss)
    });
    kernel.state().gpr = [u64::MAX; 16];
    kernel.write(0x5_0000, u64::MAX);
    kernel.run(3);
    assert_eq!(kernel.state().gpr[0], u64::from(CODE_64));
    assert_eq!(kernel.state().gpr[3], u64::MAX << 16 | u64::from(CODE_64));
    assert_eq!(kernel.read(0x5_0000), u64::MAX << 16 | u64::from(DATA_0));
}

#[test]
fn real_mode_keeps_the_limit() {
    let mut kernel = Kernel::real(&|a| a.mov(ds, ax));
    kernel.state().segments[3].limit = u32::MAX;
    let mut kernel = load(kernel, 0x1234);
    let data = *kernel.state().segment(SegmentName::Ds);
    assert_eq!((data.base, data.limit), (0x1_2340, u32::MAX));
}
