//! Returns from handlers, in every direction.

use crate::fault::vector;
use crate::mode::CodeWidth;
use crate::state::SegmentName;
use crate::test_kernel::*;

const FRAME: u64 = STACK - 64;

/// IRETQ at level 0 with this frame.
fn iretq(frame: [u64; 5]) -> Kernel {
    framed(Kernel::long(&|a| a.iretq()), frame)
}

fn framed(mut kernel: Kernel, frame: [u64; 5]) -> Kernel {
    kernel.state().gpr[4] = FRAME;
    for (slot, value) in frame.into_iter().enumerate() {
        kernel.write(FRAME + 8 * slot as u64, value);
    }
    kernel
}

fn protected(frame: [u32; 5]) -> Kernel {
    let mut kernel = Kernel::protected(&|a| a.iretd());
    kernel.state().gpr[4] = FRAME;
    for (slot, value) in frame.into_iter().enumerate() {
        kernel.ram.write(FRAME + 4 * slot as u64, &value.to_le_bytes()).unwrap();
    }
    kernel
}

#[test]
fn to_a_user() {
    let mut kernel = iretq([0x9000, CODE_64_USER.into(), 0x3202, 0x6_0008, DATA_3.into()]);
    kernel.run(1);
    let state = kernel.state();
    assert_eq!((state.rip, state.cpl(), state.rflags, state.gpr[4]), (0x9000, 3, 0x3202, 0x6_0008));
    assert_eq!(state.segment(SegmentName::Ss).selector, DATA_3);
    // It loses the kernel's data segments.
    assert!(state.segment(SegmentName::Ds).attributes.unusable());
}

#[test]
fn to_a_user_of_32_bits() {
    let mut kernel = iretq([0x9000, CODE_32_USER.into(), 0x202, 0xffff_ffff_0006_0008, DATA_3.into()]);
    kernel.run(1);
    assert_eq!((kernel.state().mode().width(), kernel.state().gpr[4]), (CodeWidth::Bits32, 0x6_0008));
}

#[test]
fn to_the_kernel_the_stack_is_popped_too_and_may_be_null() {
    for ss in [DATA_0, 0] {
        let mut kernel = iretq([0x9000, CODE_64.into(), 2, 0x6_0008, ss.into()]);
        kernel.run(1);
        assert_eq!((kernel.state().rip, kernel.state().gpr[4]), (0x9000, 0x6_0008));
        assert_eq!((kernel.state().segment(SegmentName::Ss).selector, kernel.state().cpl()), (ss, 0));
    }
}

#[test]
fn what_cannot_be_returned_to() {
    let user = u64::from(CODE_64_USER);
    let data = u64::from(DATA_3);
    for (rip, cs, ss, error) in [
        (0x8000_0000_0000, user, data, 0),
        (0x9000, 0, data, 0),
        (0x9000, user, 0, 0),
        (0x9000, user, 3, 0),
        (0x9000, user, DATA_0.into(), DATA_0),
        (0x9000, CODE_64.into(), data, DATA_3 & !3),
        (0x9000, CODE_64 as u64 | 3, data, CODE_64),
        // 32-bit code of the kernel needs a stack segment.
        (0x9000, CODE_32.into(), 0, 0),
        (0x1_0000_0000, CODE_32_USER.into(), data, 0),
    ] {
        let mut kernel = iretq([rip, cs, 0x202, 0x6_0000, ss]);
        kernel.run(1);
        assert_eq!(kernel.handler(), Some(vector::GP), "{rip:x} {cs:x} {ss:x}");
        let stack = kernel.stack::<5>();
        assert_eq!((stack[0], stack[1], stack[4]), (error.into(), CODE, FRAME), "{rip:x} {cs:x} {ss:x}");
    }
}

#[test]
fn both_code_sizes_at_once_are_none() {
    let mut kernel = iretq([0x9000, (FREE | 3).into(), 0x202, 0x6_0000, DATA_3.into()]);
    kernel.descriptor(FREE, 0x00ef_fb00_0000_ffff);
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.stack::<1>()), (Some(vector::GP), [FREE.into()]));
}

#[test]
fn nested_tasks_do_not_exist_in_long_mode() {
    let mut kernel = iretq([0x9000, CODE_64.into(), 2, 0x6_0000, 0]);
    kernel.state().rflags = 0x4002;
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.stack::<1>()), (Some(vector::GP), [0]));
}

#[test]
fn users_change_what_they_may() {
    // IF, IOPL, AC, ID, VIF, VIP, TF in the image; level 3 with IOPL 0.
    let mut kernel = framed(
        Kernel::user(&|a| a.iretq()),
        [0x9000, CODE_64_USER.into(), 0x3c_3b02, 0x6_0000, DATA_3.into()],
    );
    kernel.run(1);
    assert_eq!(kernel.state().rflags, 0x24_0902);
    let mut kernel = iretq([0x9000, CODE_64_USER.into(), 0x3c_3a02, 0x6_0000, DATA_3.into()]);
    kernel.run(1);
    assert_eq!(kernel.state().rflags, 0x3c_3a02);
}

#[test]
fn protected_mode_pops_the_stack_for_another_level_only() {
    let mut kernel = protected([0x9000, CODE_32.into(), 2, 0x6_0000, DATA_3.into()]);
    kernel.run(1);
    assert_eq!((kernel.state().rip, kernel.state().gpr[4], kernel.state().cpl()), (0x9000, FRAME + 12, 0));
    let mut kernel = protected([0x9000, CODE_32_USER.into(), 0x202, 0x6_0000, DATA_3.into()]);
    kernel.run(1);
    assert_eq!((kernel.state().rip, kernel.state().gpr[4], kernel.state().cpl()), (0x9000, 0x6_0000, 3));
}

#[test]
fn a_16_bit_stack_keeps_the_upper_half_of_the_pointer() {
    let mut kernel = protected([0x9000, CODE_32_USER.into(), 0x202, 0x6_1234, (FREE | 3).into()]);
    kernel.descriptor(FREE, 0x000f_f300_0000_ffff);
    kernel.run(1);
    assert_eq!(kernel.state().gpr[4], FRAME & !0xffff | 0x1234);
}

#[test]
fn real_mode_pops_three_words() {
    let mut kernel = Kernel::real(&|a| a.iret());
    kernel.ram.write(0xff00, &[0x00, 0x90, 0x21, 0x43, 0xd7, 0x7f]).unwrap();
    kernel.state().rflags = 0x4_0002;
    kernel.run(1);
    let state = kernel.state();
    assert_eq!((state.rip, state.segment(SegmentName::Cs).base, state.gpr[4]), (0x9000, 0x4_3210, 0xff06));
    assert_eq!(state.rflags, 0x4_7fd7);
}

#[test]
fn a_fault_still_ends_the_blocking_of_nmis() {
    let mut kernel = iretq([0x9000, 0, 2, 0, 0]);
    kernel.state().nmi_blocked = true;
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::GP));
    assert!(!kernel.state().nmi_blocked);
}
