//! Where far jumps and calls may go.

use iced_x86::code_asm::*;

use crate::fault::vector;
use crate::mode::CodeWidth;
use crate::state::SegmentName;
use crate::test_kernel::*;

/// `jmp far [0x5000]` or `call far [0x5000]` to this place, in 32-bit mode.
fn far(user: bool, call: bool, selector: u16, offset: u32) -> Kernel {
    let code = move |a: &mut CodeAssembler| {
        if call { a.call(fword_ptr(0x5_0000)) } else { a.jmp(fword_ptr(0x5_0000)) }
    };
    let kernel = if user { Kernel::protected_user(&code) } else { Kernel::protected(&code) };
    kernel.write(0x5_0000, u64::from(selector) << 32 | u64::from(offset));
    kernel
}

fn cs(kernel: &mut Kernel) -> u16 {
    kernel.state().segment(SegmentName::Cs).selector
}

/// The vector and error code of what comes of it.
fn refused(mut kernel: Kernel) -> (Option<u8>, u32) {
    // Handlers that run at the level of the code need no other stack.
    let level = cs(&mut kernel) & 3;
    let selector = if level == 3 { CODE_32_USER } else { CODE_32 };
    for handled in [vector::GP, vector::NP, vector::TS, vector::SS] {
        kernel.gate(handled, selector, HANDLERS + 16 * u64::from(handled), 0x8e00);
    }
    kernel.run(1);
    let [error, ip] = kernel.stack_32();
    assert_eq!(u64::from(ip), CODE);
    (kernel.handler(), error)
}

#[test]
fn real_mode_changes_the_base_only() {
    let mut kernel = Kernel::real(&|a| a.call_far(0x4321, 0x0010));
    kernel.state().segments[1].limit = 0x7fff;
    kernel.run(1);
    let code = *kernel.state().segment(SegmentName::Cs);
    assert_eq!((code.selector, code.base, code.limit, kernel.state().rip), (0x4321, 0x4_3210, 0x7fff, 0x10));
    assert_eq!(kernel.stack_16(), [5, (CODE >> 4) as u16]);
    assert_eq!(kernel.state().gpr[4], 0xfefc);

    let mut kernel = Kernel::real(&|a| a.jmp_far(0x4321, 0x9000));
    kernel.state().segments[1].limit = 0x7fff;
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::GP));
}

#[test]
fn a_direct_jump_enters_16_bit_code() {
    let mut kernel = Kernel::protected(&|a| a.jmp_far(CODE_16, 0x9000));
    kernel.run(1);
    assert_eq!((cs(&mut kernel), kernel.state().rip), (CODE_16, 0x9000));
    assert_eq!(kernel.state().mode().width(), CodeWidth::Bits16);
}

#[test]
fn a_call_returns_behind_itself() {
    let mut kernel = far(false, true, CODE_32, 0x9000);
    kernel.run(1);
    assert_eq!((cs(&mut kernel), kernel.state().rip, kernel.state().gpr[4]), (CODE_32, 0x9000, STACK - 8));
    assert_eq!(kernel.stack_32(), [CODE as u32 + 6, u32::from(CODE_32)]);
}

#[test]
fn what_no_far_transfer_may_name() {
    for call in [false, true] {
        assert_eq!(refused(far(false, call, 3, 0)), (Some(vector::GP), 0));
        assert_eq!(refused(far(false, call, 0x1000, 0)), (Some(vector::GP), 0x1000));
        assert_eq!(refused(far(false, call, CODE_32 | 4, 0)), (Some(vector::GP), u32::from(CODE_32 | 4)));
        assert_eq!(refused(far(false, call, DATA_0, 0)), (Some(vector::GP), u32::from(DATA_0)));
        assert_eq!(refused(far(true, call, CODE_32, 0)), (Some(vector::GP), u32::from(CODE_32)));
        assert_eq!(
            refused(far(false, call, CODE_32_USER, 0)),
            (Some(vector::GP), u32::from(CODE_32_USER & !3))
        );
        // Beyond the limit.
        let kernel = far(false, call, FREE, 0x1001);
        kernel.descriptor(FREE, 0x0040_9b00_0000_1000);
        assert_eq!(refused(kernel), (Some(vector::GP), 0));
        let kernel = far(false, call, FREE, 0);
        kernel.descriptor(FREE, 0x00cf_1b00_0000_ffff);
        assert_eq!(refused(kernel), (Some(vector::NP), u32::from(FREE)));
    }
}

#[test]
fn conforming_code_runs_at_the_callers_level() {
    let mut kernel = far(true, false, CONFORMING, 0x9000);
    kernel.run(1);
    assert_eq!((cs(&mut kernel), kernel.state().cpl(), kernel.state().rip), (CONFORMING | 3, 3, 0x9000));
}

#[test]
fn the_accessed_bit_is_set() {
    let mut kernel = far(false, false, FREE, 0x10);
    kernel.descriptor(FREE, 0x00cf_9a00_0000_ffff);
    kernel.run(1);
    assert_eq!(kernel.read(GDT + u64::from(FREE)), 0x00cf_9b00_0000_ffff);
}

#[test]
fn a_call_that_does_not_fit_on_the_stack_writes_nothing() {
    let mut kernel = far(true, true, CODE_32_USER, 0x9000);
    kernel.write(0, 0x1111_1111);
    // The selector would fit, the return address lies below the segment.
    kernel.state().segments[SegmentName::Ss as usize].limit = 0xfff;
    kernel.state().gpr[4] = 4;
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.read(0)), (Some(vector::SS), 0x1111_1111));
    assert_eq!(kernel.stack_32::<5>()[..4], [0, CODE as u32, u32::from(CODE_32_USER), 0x1_0002]);
    assert_eq!(kernel.stack_32::<5>()[4], 4);
}

/// A call gate in [`FREE`].
fn call_gate(kernel: &Kernel, code: u16, offset: u64, attributes: u16) {
    let low =
        offset & 0xffff | u64::from(code) << 16 | u64::from(attributes) << 32 | (offset >> 16 & 0xffff) << 48;
    kernel.descriptor(FREE, low);
}

#[test]
fn a_gate_takes_parameters_to_the_inner_stack() {
    let mut kernel = far(true, true, FREE | 3, 0x1234_5678);
    call_gate(&kernel, CODE_32, 0x9000, 0xec02);
    kernel.write(STACK, 0x2222_2222_1111_1111);
    kernel.run(1);
    assert_eq!((cs(&mut kernel), kernel.state().cpl(), kernel.state().rip), (CODE_32, 0, 0x9000));
    assert_eq!(kernel.state().segment(SegmentName::Ss).selector, DATA_0);
    assert_eq!(kernel.state().gpr[4], KERNEL_STACK - 24);
    let frame =
        [CODE as u32 + 6, u32::from(CODE_32_USER), 0x1111_1111, 0x2222_2222, STACK as u32, u32::from(DATA_3)];
    assert_eq!(kernel.stack_32(), frame);
}

#[test]
fn a_16_bit_gate_pushes_words() {
    let mut kernel = far(false, true, FREE, 0);
    call_gate(&kernel, CODE_32, 0x9999_9000, 0x8400);
    kernel.run(1);
    assert_eq!((kernel.state().rip, kernel.state().gpr[4]), (0x9000, STACK - 4));
    assert_eq!(kernel.read(STACK - 4) as u32, u32::from(CODE_32) << 16 | (CODE as u32 + 6) & 0xffff);
}

#[test]
fn what_no_gate_may_do() {
    let gate = |user, call, code, attributes| {
        let kernel = far(user, call, if user { FREE | 3 } else { FREE }, 0);
        call_gate(&kernel, code, 0x9000, attributes);
        refused(kernel)
    };
    let free = u32::from(FREE);
    // Not for this level; absent; to no code; a jump to another level.
    assert_eq!(gate(true, true, CODE_32, 0x8c00), (Some(vector::GP), free));
    assert_eq!(gate(false, true, CODE_32, 0x0c00), (Some(vector::NP), free));
    assert_eq!(gate(false, true, 0, 0x8c00), (Some(vector::GP), 0));
    assert_eq!(gate(false, true, DATA_0, 0x8c00), (Some(vector::GP), u32::from(DATA_0)));
    assert_eq!(gate(true, false, CODE_32, 0xec00), (Some(vector::GP), u32::from(CODE_32)));
    // An interrupt gate is none.
    assert_eq!(gate(false, true, CODE_32, 0x8e00), (Some(vector::GP), free));
}

#[test]
fn long_mode_reaches_compatibility_code_and_gates() {
    let mut kernel = Kernel::long(&|a| a.jmp(fword_ptr(0x5_0000)));
    kernel.write(0x5_0000, u64::from(CODE_32) << 32 | 0x9000);
    kernel.run(1);
    assert_eq!((cs(&mut kernel), kernel.state().rip), (CODE_32, 0x9000));
    assert_eq!(kernel.state().mode().width(), CodeWidth::Bits32);

    let mut kernel = Kernel::user(&|a| a.call(fword_ptr(0x5_0000)));
    kernel.write(0x5_0000, u64::from(FREE | 3) << 32);
    call_gate(&kernel, CODE_64, 0xffff_ffff_8000_9000, 0xec00);
    kernel.write(GDT + u64::from(FREE) + 8, 0xffff_ffff);
    kernel.run(1);
    assert_eq!((cs(&mut kernel), kernel.state().rip), (CODE_64, 0xffff_ffff_8000_9000));
    let frame = [CODE + 7, u64::from(CODE_64_USER), STACK, u64::from(DATA_3)];
    assert_eq!(kernel.stack(), frame);
    assert_eq!(kernel.state().gpr[4], KERNEL_STACK - 32);
    assert_eq!(kernel.state().segment(SegmentName::Ss).selector, 0);
}

#[test]
fn a_gate_of_long_mode_must_be_well_formed() {
    for (upper, code, error) in [(0x0c00 << 32, CODE_64, FREE), (0, CODE_32, CODE_32), (0x8000, CODE_64, 0)] {
        let mut kernel = Kernel::long(&|a| a.call(fword_ptr(0x5_0000)));
        kernel.write(0x5_0000, u64::from(FREE) << 32);
        call_gate(&kernel, code, 0x9000, 0x8c00);
        kernel.write(GDT + u64::from(FREE) + 8, upper);
        kernel.run(1);
        assert_eq!((kernel.handler(), kernel.stack::<2>()), (Some(vector::GP), [u64::from(error), CODE]));
    }
}
