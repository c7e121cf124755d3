//! Far returns at the same and to an outer level.

use crate::fault::vector;
use crate::state::{Segment, SegmentName};
use crate::test_kernel::*;

/// `retf 8` in 32-bit mode with these words on the stack.
fn ret(words: &[u32]) -> Kernel {
    let mut kernel = Kernel::protected(&|a| a.retf_1(8));
    kernel.state().gpr[4] = STACK - 64;
    for (slot, word) in words.iter().enumerate() {
        kernel.ram.write(STACK - 64 + 4 * slot as u64, &word.to_le_bytes()).unwrap();
    }
    kernel
}

#[test]
fn the_same_level_only_drops_parameters() {
    let mut kernel = ret(&[0x9000, u32::from(CODE_32)]);
    kernel.run(1);
    assert_eq!((kernel.state().rip, kernel.state().gpr[4]), (0x9000, STACK - 64 + 16));
}

#[test]
fn an_outer_level_gets_its_stack_and_loses_what_it_must_not_have() {
    let mut kernel = ret(&[0x9000, u32::from(CODE_32_USER), 0, 0, 0x6_0000, u32::from(DATA_3)]);
    let user_data = *ret(&[]).state().segment(SegmentName::Ds);
    kernel.state().segments[SegmentName::Fs as usize] =
        Segment { selector: DATA_3, attributes: user_data.attributes.with_dpl(3), ..user_data };
    kernel.state().segments[SegmentName::Gs as usize] = Segment { base: 0x1234, ..user_data };
    kernel.run(1);
    let state = kernel.state();
    assert_eq!((state.rip, state.cpl(), state.gpr[4]), (0x9000, 3, 0x6_0008));
    let gs = state.segment(SegmentName::Gs);
    assert_eq!((gs.selector, gs.base, gs.attributes.unusable()), (0, 0x1234, true));
    assert_eq!(state.segment(SegmentName::Ss).selector, DATA_3);
    assert_eq!(state.segment(SegmentName::Fs).selector, DATA_3);
    let ds = state.segment(SegmentName::Ds);
    assert_eq!((ds.selector, ds.attributes.unusable()), (0, true));
}

#[test]
fn what_cannot_be_returned_to() {
    for (code, stack, handled, error) in [
        (0, DATA_3, vector::GP, 0),
        (DATA_3, DATA_3, vector::GP, DATA_3 & !3),
        // The level of the selector is not that of the segment.
        (CODE_32 | 3, DATA_3, vector::GP, CODE_32),
        (CODE_32_USER, 0, vector::GP, 0),
        (CODE_32_USER, DATA_0, vector::GP, DATA_0),
        (CODE_32_USER, ABSENT, vector::GP, ABSENT),
        (0x1003, DATA_3, vector::GP, 0x1000),
    ] {
        let mut kernel = ret(&[0x9000, u32::from(code), 0, 0, 0x6_0000, u32::from(stack)]);
        kernel.run(1);
        assert_eq!(kernel.handler(), Some(handled));
        assert_eq!(kernel.stack_32::<2>(), [u32::from(error), CODE as u32], "{code:x} {stack:x}");
        assert_eq!(kernel.state().gpr[4], STACK - 64 - 16);
    }
    let mut kernel = ret(&[0x9000, u32::from(CODE_32_USER), 0, 0, 0x6_0000, u32::from(FREE | 3)]);
    kernel.descriptor(FREE, 0x00cf_7300_0000_ffff);
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.stack_32::<1>()), (Some(vector::SS), [u32::from(FREE)]));
}

#[test]
fn an_inner_level_is_out_of_reach() {
    let mut kernel = Kernel::user(&|a| a.nop()).at(CODE, &[0x48, 0xcb]);
    kernel.write(STACK, 0x9000);
    kernel.write(STACK + 8, u64::from(CODE_64));
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.stack::<1>()), (Some(vector::GP), [u64::from(CODE_64)]));
}

#[test]
fn long_mode_returns_to_users() {
    let mut kernel = Kernel::long(&|a| a.nop()).at(CODE, &[0x48, 0xcb]);
    kernel.state().gpr[4] = STACK - 32;
    for (slot, value) in [0x9000, CODE_64_USER.into(), 0x6_0000, DATA_3.into()].into_iter().enumerate() {
        kernel.write(STACK - 32 + 8 * slot as u64, value);
    }
    kernel.run(1);
    assert_eq!((kernel.state().rip, kernel.state().cpl(), kernel.state().gpr[4]), (0x9000, 3, 0x6_0000));
}

#[test]
fn real_mode_pops_two_words() {
    let mut kernel = Kernel::real(&|a| a.retf());
    kernel.ram.write(0xff00, &[0x00, 0x90, 0x21, 0x43]).unwrap();
    kernel.run(1);
    let state = kernel.state();
    assert_eq!((state.rip, state.segment(SegmentName::Cs).base, state.gpr[4]), (0x9000, 0x4_3210, 0xff04));
}
