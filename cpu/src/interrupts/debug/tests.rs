//! Single steps, breakpoints, alignment.

use iced_x86::code_asm::*;

use crate::fault::vector;
use crate::state::{Cr0, Cr4};
use crate::test_kernel::*;

const TF: u64 = 0x100;

/// What DR6 says.
fn causes(kernel: &mut Kernel) -> u64 {
    kernel.state().debug[4] & 0xe00f
}

/// Three increments of EBX.
fn increments(a: &mut CodeAssembler) -> Result<(), iced_x86::IcedError> {
    a.inc(ebx)?;
    a.inc(ebx)?;
    a.inc(ebx)
}

#[test]
fn a_single_step_traps_after_the_instruction() {
    let mut kernel = Kernel::user(&increments);
    kernel.state().rflags = TF | 2;
    // The instruction is one, the trap another.
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.state().gpr[3]), (None, 1));
    kernel.run(1);
    assert_eq!((kernel.handler(), causes(&mut kernel)), (Some(vector::DB), 1 << 14));
    assert_eq!(kernel.stack::<3>(), [CODE + 2, CODE_64_USER.into(), TF | 2]);
    assert_eq!(kernel.state().rflags, 2);
}

#[test]
fn a_fault_comes_instead_of_the_trap() {
    let mut kernel = Kernel::user(&|a| a.ud2());
    kernel.state().rflags = TF | 2;
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::UD));
    assert_eq!((kernel.stack::<3>()[2], causes(&mut kernel), kernel.state().pending_debug), (0x1_0102, 0, 0));
}

#[test]
fn popf_that_sets_tf_is_not_stepped_itself() {
    let mut kernel = Kernel::long(&|a| {
        a.popfq()?;
        increments(a)
    });
    kernel.write(STACK, TF | 2);
    kernel.run(3);
    assert_eq!((kernel.handler(), kernel.stack::<1>()), (Some(vector::DB), [CODE + 3]));
}

#[test]
fn mov_ss_delays_the_step() {
    let mut kernel = Kernel::long(&|a| {
        a.mov(ss, eax)?;
        increments(a)
    });
    kernel.state().gpr[0] = DATA_0.into();
    kernel.state().rflags = TF | 2;
    kernel.run(3);
    assert_eq!((kernel.handler(), kernel.stack::<1>()), (Some(vector::DB), [CODE + 4]));
}

#[test]
fn interrupt_calls_are_not_stepped_into() {
    let mut kernel = Kernel::long(&|a| a.int(0x80));
    kernel.state().rflags = TF | 2;
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.state().pending_debug), (Some(0x80), 0));
    assert_eq!(kernel.stack::<3>()[2], TF | 2);

    let mut kernel = Kernel::user(&|a| a.syscall());
    kernel.state().msrs.lstar = HANDLERS + 16 * 0x99;
    kernel.state().rflags = TF | 2;
    kernel.state().msrs.fmask = TF;
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.state().pending_debug), (Some(0x99), 0));
    // Unless TF is left set.
    let mut kernel = Kernel::user(&|a| a.syscall());
    kernel.state().msrs.lstar = HANDLERS + 16 * 0x99;
    kernel.state().rflags = TF | 2;
    kernel.run(2);
    assert_eq!((kernel.handler(), kernel.stack::<1>()), (Some(vector::DB), [HANDLERS + 16 * 0x99]));
}

#[test]
fn repeated_instructions_are_stepped_by_iteration() {
    let mut kernel = Kernel::long(&|a| a.rep().stosb());
    kernel.state().gpr[1] = 3;
    kernel.state().gpr[7] = 0x5_0000;
    kernel.state().rflags = TF | 2;
    kernel.run(2);
    assert_eq!((kernel.handler(), kernel.state().gpr[1]), (Some(vector::DB), 2));
    assert_eq!(kernel.stack::<1>(), [CODE]);
}

#[test]
fn steps_from_branch_to_branch() {
    const BTF: u64 = 2;
    let mut kernel = Kernel::user(&|a| {
        let (mut there, mut end) = (a.create_label(), a.create_label());
        a.inc(ebx)?;
        a.jc(end)?;
        a.jmp(there)?;
        a.set_label(&mut end)?;
        a.nop()?;
        a.set_label(&mut there)?;
        a.inc(ebx)
    });
    kernel.state().rflags = TF | 2;
    kernel.state().msrs.debug_control = BTF;
    kernel.run(4);
    assert_eq!((kernel.handler(), causes(&mut kernel)), (Some(vector::DB), 1 << 14));
    assert_eq!((kernel.stack::<1>(), kernel.state().gpr[3]), ([CODE + 7], 1), "the branch was taken");
    assert_eq!(kernel.state().msrs.debug_control, 0, "the exception clears it");
}

#[test]
fn an_instruction_breakpoint_comes_before_and_rf_lets_pass() {
    let mut kernel = Kernel::long(&increments);
    kernel.state().debug[1] = CODE + 2;
    kernel.state().debug[5] = 0x404;
    kernel.run(2);
    assert_eq!((kernel.handler(), kernel.state().gpr[3], causes(&mut kernel)), (Some(vector::DB), 1, 2));
    assert_eq!(kernel.stack::<3>(), [CODE + 2, CODE_64.into(), 0x1_0002]);
    // Return from it with an IRETQ at the handler.
    let mut kernel = kernel.at(HANDLERS + 16, &[0x48, 0xcf]);
    kernel.run(3);
    assert_eq!((kernel.handler(), kernel.state().gpr[3], kernel.state().rflags & 0x1_0000), (None, 3, 0));
}

#[test]
fn data_breakpoints_trap_after_any_touch() {
    let code = |a: &mut CodeAssembler| {
        a.mov(eax, dword_ptr(0x5_0000))?;
        a.mov(dword_ptr(0x5_0000), eax)?;
        a.mov(qword_ptr(0x4_fffc), rax)
    };
    // DR7: which, what, how long; instructions until the trap.
    for (control, address, steps) in [
        // Any access to 0x5_0000.
        (0x0003_0001, 0x5_0000, Some(1)),
        // Writes only.
        (0x0001_0001, 0x5_0000, Some(2)),
        // One byte inside; 4 bytes, whose address is rounded down.
        (0x0001_0001, 0x5_0003, Some(2)),
        (0x000d_0001, 0x5_0003, Some(2)),
        // The byte before, which the third one touches; 8 bytes that it touches partly.
        (0x0003_0001, 0x4_ffff, Some(3)),
        (0x000b_0001, 0x4_fff8, Some(3)),
        (0x0003_0001, 0x5_0004, None),
        // Not enabled.
        (0x0003_0000, 0x5_0000, None),
    ] {
        let mut kernel = Kernel::long(&code);
        kernel.state().debug[0] = address;
        kernel.state().debug[5] = 0x400 | control;
        let found = (0..4).find(|_| {
            kernel.run(1);
            kernel.handler() == Some(vector::DB)
        });
        assert_eq!(found, steps, "{control:x} {address:x}");
        assert_eq!(causes(&mut kernel), u64::from(steps.is_some()));
    }
}

#[test]
fn a_data_breakpoint_waits_for_the_end_of_a_mov_ss_shadow() {
    let mut kernel = Kernel::long(&|a| {
        a.mov(ss, word_ptr(0x5_0000))?;
        increments(a)
    });
    kernel.write(0x5_0000, DATA_0.into());
    kernel.state().debug[0] = 0x5_0000;
    kernel.state().debug[5] = 0x3_0401;
    kernel.run(3);
    assert_eq!((kernel.handler(), kernel.state().gpr[3], causes(&mut kernel)), (Some(vector::DB), 1, 1));
}

#[test]
fn int1_tells_of_what_mov_ss_held_back() {
    let mut kernel = Kernel::long(&|a| {
        a.mov(ss, word_ptr(0x5_0000))?;
        a.int1()
    })
    .at(HANDLERS + 16, &[0x90; 4]);
    kernel.write(0x5_0000, DATA_0.into());
    kernel.state().debug[0] = 0x5_0000;
    kernel.state().debug[5] = 0x3_0401;
    kernel.run(2);
    assert_eq!((kernel.handler(), causes(&mut kernel)), (Some(vector::DB), 1));
    kernel.run(1);
    assert_eq!(kernel.state().rip, HANDLERS + 17, "there is no other");
}

#[test]
fn debug_registers_are_guarded() {
    let mut kernel = Kernel::long(&|a| a.mov(dr0, rax));
    kernel.state().debug[5] = 0x2400;
    kernel.run(1);
    assert_eq!((kernel.handler(), causes(&mut kernel)), (Some(vector::DB), 1 << 13));
    assert_eq!((kernel.stack::<1>(), kernel.state().debug[5]), ([CODE], 0x400));
    let mut kernel = Kernel::user(&|a| a.mov(rax, dr7));
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::GP));
    let mut kernel = Kernel::long(&|a| a.mov(rax, dr4));
    kernel.state().debug[4] = 0xffff_4ff1;
    kernel.run(1);
    assert_eq!(kernel.state().gpr[0], 0xffff_4ff1);
    kernel.state().cr4 |= Cr4::DE;
    kernel.state().rip = CODE;
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::UD));
}

#[test]
fn debug_registers_have_fixed_bits() {
    let mut kernel = Kernel::long(&|a| {
        a.mov(dr6, rax)?;
        a.mov(dr7, rax)?;
        a.mov(dr3, rbx)?;
        a.mov(dr6, rbx)
    });
    kernel.state().gpr[0] = 0xffff_df00;
    kernel.state().gpr[3] = u64::MAX;
    kernel.run(3);
    assert_eq!(kernel.state().debug[3..], [u64::MAX, 0xffff_cff0, 0xffff_0700]);
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.stack::<1>()), (Some(vector::GP), [0]));
}

#[test]
fn a_breakpoint_set_by_the_guest_works_at_once() {
    let mut kernel = Kernel::long(&|a| {
        a.mov(ecx, dword_ptr(0x5_0000))?;
        a.mov(dr0, rax)?;
        a.mov(dr7, rbx)?;
        a.mov(ecx, dword_ptr(0x5_0000))?;
        a.nop()
    });
    kernel.state().gpr[0] = 0x5_0000;
    kernel.state().gpr[3] = 0x3_0001;
    kernel.run(5);
    assert_eq!((kernel.handler(), causes(&mut kernel)), (Some(vector::DB), 1));
}

#[test]
fn misaligned_users_are_caught() {
    let code = |a: &mut CodeAssembler| {
        a.mov(eax, dword_ptr(0x5_0002))?;
        a.nop()
    };
    for (mut kernel, am, ac, caught) in [
        (Kernel::user(&code), true, true, true),
        (Kernel::user(&code), false, true, false),
        (Kernel::user(&code), true, false, false),
        (Kernel::long(&code), true, true, false),
    ] {
        kernel.state().cr0.set(Cr0::AM, am);
        kernel.state().rflags = if ac { 0x4_0002 } else { 2 };
        kernel.run(1);
        assert_eq!(kernel.handler(), caught.then_some(vector::AC));
        if caught {
            assert_eq!(kernel.stack::<2>(), [0, CODE]);
        }
    }
}
