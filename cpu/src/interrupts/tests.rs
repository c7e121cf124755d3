//! Delivery, one event at a time.

use super::*;
use crate::CpuState;
use crate::state::{Activity, SegmentName};
use crate::test_kernel::*;

const NX: u64 = 1 << 63;

fn undefined(a: &mut iced_x86::code_asm::CodeAssembler) -> Result<(), iced_x86::IcedError> {
    a.ud2()
}

#[test]
fn a_fault_of_a_user_enters_the_kernel_stack() {
    let mut kernel = Kernel::user(&undefined);
    kernel.state().rflags = 0x202;
    assert_eq!(kernel.run(1).retired, 1);
    assert_eq!(kernel.handler(), Some(vector::UD));
    let frame = [CODE, u64::from(CODE_64_USER), 0x1_0202, STACK, u64::from(DATA_3)];
    assert_eq!(kernel.stack(), frame);
    let state = kernel.state();
    assert_eq!(state.gpr[4], KERNEL_STACK - 40);
    assert_eq!((state.cpl(), state.rflags), (0, 2));
    assert_eq!(state.segment(SegmentName::Ss).selector, 0);
    assert!(state.segment(SegmentName::Ss).attributes.unusable());
    assert_eq!(state.segment(SegmentName::Cs).selector, CODE_64);
}

#[test]
fn a_fault_of_the_kernel_stays_on_its_stack_aligned() {
    let mut kernel = Kernel::long(&undefined);
    kernel.state().gpr[4] = STACK - 3;
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::UD));
    assert_eq!(kernel.state().gpr[4], STACK - 16 - 40);
    assert_eq!(kernel.stack::<5>()[3..], [STACK - 3, u64::from(DATA_0)]);
    assert_eq!(kernel.state().segment(SegmentName::Ss).selector, DATA_0);
}

#[test]
fn the_interrupt_stack_table_is_used_without_a_change_of_level() {
    let mut kernel = Kernel::long(&undefined);
    kernel.gate(vector::UD, CODE_64, HANDLERS + 16 * 6, 0x8e01);
    kernel.run(1);
    assert_eq!(kernel.state().gpr[4], INTERRUPT_STACK - 40);
    assert_eq!(kernel.state().segment(SegmentName::Ss).selector, DATA_0);
}

#[test]
fn page_faults_say_what_was_wrong() {
    let touch = |a: &mut iced_x86::code_asm::CodeAssembler| {
        a.add(iced_x86::code_asm::byte_ptr(0x5_0123), 1)?;
        a.nop()
    };
    let read = |a: &mut iced_x86::code_asm::CodeAssembler| {
        a.cmp(iced_x86::code_asm::byte_ptr(0x5_0123), 1)?;
        a.nop()
    };
    // Absent, read-only, supervisor's, reserved bit: by user and by kernel.
    for (entry, user_error, kernel_error) in [
        (0, 0b00110, Some(0b00010)),
        (0x5_0005, 0b00111, Some(0b00011)),
        (0x5_0003, 0b00111, None),
        (0x5_0007 | 1 << 51, 0b01111, Some(0b01011)),
    ] {
        let mut user = Kernel::user(&touch);
        user.write(PAGE_TABLE + 8 * 0x50, entry);
        user.run(1);
        assert_eq!((user.handler(), user.state().cr2), (Some(vector::PF), 0x5_0123), "{entry:x}");
        assert_eq!(user.stack::<2>(), [user_error, CODE], "{entry:x}");
        let mut kernel = Kernel::long(&touch);
        kernel.write(PAGE_TABLE + 8 * 0x50, entry);
        kernel.run(1);
        assert_eq!(kernel.handler(), kernel_error.map(|_| vector::PF), "{entry:x}");
        if let Some(error) = kernel_error {
            assert_eq!(kernel.stack::<2>(), [error, CODE], "{entry:x}");
        }
    }
    let mut user = Kernel::user(&read);
    user.write(PAGE_TABLE + 8 * 0x50, 0);
    user.run(1);
    assert_eq!(user.stack::<1>(), [0b00100]);
}

#[test]
fn fetches_fault_with_their_own_bit() {
    use crate::state::{Cr4, Efer};
    let mut kernel = Kernel::long(&undefined);
    kernel.state().msrs.efer |= Efer::NXE;
    kernel.write(PAGE_TABLE + 8 * (CODE >> 12), CODE | 7 | NX);
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.state().cr2), (Some(vector::PF), CODE));
    assert_eq!(kernel.stack::<2>(), [0b10001, CODE]);
    let mut kernel = Kernel::long(&undefined);
    // The handler's page is the kernel's, or it could not be entered either.
    kernel.write(PAGE_TABLE + 8 * (HANDLERS >> 12), HANDLERS | 3);
    kernel.state().cr4 |= Cr4::SMEP;
    kernel.run(1);
    assert_eq!(kernel.stack::<2>(), [0b10001, CODE]);
}

#[test]
fn a_gate_that_is_not_there() {
    let mut kernel = Kernel::long(&undefined);
    kernel.gate(vector::UD, CODE_64, HANDLERS, 0x0e00);
    kernel.run(1);
    // #NP with the vector, IDT and EXT.
    assert_eq!(kernel.handler(), Some(vector::NP));
    assert_eq!(kernel.stack::<2>(), [u64::from(vector::UD) << 3 | 3, CODE]);

    let mut kernel = Kernel::long(&undefined);
    kernel.state().idtr.limit = 16 * 14 - 1;
    kernel.gate(vector::UD, CODE_32, HANDLERS, 0x8e00);
    kernel.run(1);
    // Not 64-bit code: #GP with its selector and EXT.
    assert_eq!(kernel.handler(), Some(vector::GP));
    assert_eq!(kernel.stack::<1>(), [u64::from(CODE_32) | 1]);
}

#[test]
fn a_fault_without_a_stack_is_a_double_fault() {
    let mut kernel = Kernel::user(&undefined);
    // Nothing is mapped below the kernel's stack; #DF has its own.
    kernel.write(PAGE_TABLE + 8 * ((KERNEL_STACK - 1) >> 12), 0);
    kernel.gate(vector::DF, CODE_64, HANDLERS + 16 * 8, 0x8e01);
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::DF));
    assert_eq!(kernel.stack::<2>(), [0, CODE]);
    // #UD, then #PF for the push, then another for the push of that.
    assert_eq!(kernel.state().cr2, KERNEL_STACK - 8);
    assert_eq!(kernel.state().gpr[4], INTERRUPT_STACK - 48);
}

#[test]
fn a_fault_during_a_double_fault_is_the_end() {
    let mut kernel = Kernel::long(&undefined);
    kernel.state().idtr.limit = 0;
    let before = kernel.state().clone();
    let exit = kernel.run(5);
    assert_eq!((exit.leave, exit.retired), (Leave::Shutdown, 1));
    let after = kernel.state().clone();
    assert_eq!(after, CpuState { activity: Activity::Shutdown, ..before });
    assert_eq!(kernel.run(5).retired, 0);
}

#[test]
fn a_stack_that_is_half_there_is_not_written() {
    let mut kernel = Kernel::long(&undefined);
    kernel.state().gpr[4] = 0x5_1010;
    kernel.write(PAGE_TABLE + 8 * 0x50, 0);
    kernel.gate(vector::PF, CODE_64, HANDLERS + 16 * 14, 0x8e01);
    kernel.write(0x5_1008, 0x1111);
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::PF));
    assert_eq!((kernel.read(0x5_1008), kernel.state().cr2), (0x1111, 0x5_0ff8));
    assert_eq!(kernel.stack::<5>()[..2], [0b0010, CODE]);
}

#[test]
fn software_interrupts_need_the_gate_open() {
    let mut kernel = Kernel::user(&|a| a.int(0x80));
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::GP));
    assert_eq!(kernel.stack::<2>(), [0x80 << 3 | 2, CODE]);

    let mut kernel = Kernel::user(&|a| a.int(0x80));
    kernel.gate(0x80, CODE_64, HANDLERS + 16 * 0x80, 0xee00);
    kernel.state().rflags = 0x4302;
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(0x80));
    assert_eq!(kernel.stack::<3>(), [CODE + 2, u64::from(CODE_64_USER), 0x4302]);
    assert_eq!(kernel.state().rflags, 2);
}

#[test]
fn trap_gates_leave_interrupts_enabled() {
    let mut kernel = Kernel::long(&|a| a.int3());
    kernel.state().rflags = 0x202;
    kernel.gate(vector::BP, CODE_64, HANDLERS + 16 * 3, 0x8f00);
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.state().rflags), (Some(vector::BP), 0x202));
    assert_eq!(kernel.stack::<3>(), [CODE + 1, u64::from(CODE_64), 0x202]);
}

#[test]
fn thirty_two_bits_push_less() {
    let mut kernel = Kernel::protected(&undefined);
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::UD));
    assert_eq!(kernel.stack_32(), [CODE as u32, u32::from(CODE_32), 0x1_0002]);
    assert_eq!(kernel.state().gpr[4], STACK - 12);

    let mut kernel = Kernel::protected_user(&undefined);
    kernel.run(1);
    let frame = [CODE as u32, u32::from(CODE_32_USER), 0x1_0002, STACK as u32, u32::from(DATA_3)];
    assert_eq!(kernel.stack_32(), frame);
    assert_eq!((kernel.state().cpl(), kernel.state().gpr[4]), (0, KERNEL_STACK - 20));
    assert_eq!(kernel.state().segment(SegmentName::Ss).selector, DATA_0);
}

#[test]
fn sixteen_bit_gates_push_words() {
    let mut kernel = Kernel::protected(&|a| a.int(0x20));
    kernel.gate(0x20, CODE_32, 0x8200, 0x8600);
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(0x20));
    let top = kernel.state().gpr[4];
    assert_eq!(top, STACK - 6);
    assert_eq!(kernel.read(top) & 0xffff_ffff_ffff, 2 << 32 | u64::from(CODE_32) << 16 | (CODE + 2) & 0xffff);
}

#[test]
fn a_task_state_segment_that_is_wrong() {
    // Limit too small for the stack of level 0; stack segment null; stack segment of another level.
    for (limit, selector, error) in [(7, DATA_0, TASK), (0x67, 0, 0), (0x67, DATA_3, DATA_3 & !3)] {
        let mut kernel = Kernel::protected_user(&undefined);
        kernel.state().tr.limit = limit;
        kernel.ram.write(TSS + 8, &selector.to_le_bytes()).unwrap();
        // The handler of #TS runs at level 3, so that it needs no other stack.
        kernel.gate(vector::TS, CODE_32_USER, HANDLERS + 16 * 10, 0x8e00);
        kernel.run(1);
        assert_eq!(kernel.handler(), Some(vector::TS));
        assert_eq!(kernel.stack_32::<2>(), [u32::from(error) | 1, CODE as u32], "{limit:x} {selector:x}");
    }
}

#[test]
fn real_mode_goes_by_far_pointers() {
    let mut kernel = Kernel::real(&|a| a.int(0x21));
    kernel.state().rflags = 0x302;
    kernel.run(1);
    // TF was set: the trap that INT would earn is dropped.
    assert_eq!(kernel.handler(), Some(0x21));
    assert_eq!((kernel.state().rflags, kernel.state().gpr[4]), (2, 0xff00 - 6));
    assert_eq!(kernel.stack_16(), [2, (CODE >> 4) as u16, 0x302]);
    kernel.run(0);
    assert_eq!(kernel.state().segment(SegmentName::Cs).base, 0x4_0210);
}

#[test]
fn real_mode_knows_no_error_codes() {
    let mut kernel = Kernel::real(&undefined);
    kernel.state().idtr.limit = 6 * 4 - 1;
    assert_eq!(kernel.run(2).leave, Leave::Shutdown);
    let mut kernel = Kernel::real(&|a| a.int(0x21));
    kernel.state().idtr.limit = 0x20 * 4 - 1;
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.state().gpr[4]), (Some(vector::GP), 0xff00 - 6));
    assert_eq!(kernel.stack_16::<1>(), [0]);
}

#[test]
fn an_nmi_blocks_others_until_iret() {
    let mut kernel = Kernel::long(&|a| a.nop());
    let mut kernel_at = |rip, nmi| {
        kernel.state().rip = rip;
        kernel.state().nmi_pending = nmi;
        kernel.run(1);
        (kernel.handler(), kernel.state().nmi_pending)
    };
    assert_eq!(kernel_at(CODE, true), (Some(vector::NMI), false));
    assert!(kernel_at(CODE, true).1, "blocked");
    let mut kernel = Kernel::long(&|a| a.iretq());
    kernel.state().gpr[4] = STACK - 40;
    for (slot, value) in [CODE, u64::from(CODE_64), 2, STACK, u64::from(DATA_0)].into_iter().enumerate() {
        kernel.write(STACK - 40 + 8 * slot as u64, value);
    }
    kernel.state().nmi_blocked = true;
    kernel.state().nmi_pending = true;
    kernel.run(2);
    assert_eq!(kernel.handler(), Some(vector::NMI));
    assert_eq!(kernel.stack::<1>(), [CODE]);
}

#[test]
fn events_wake_a_halted_processor() {
    let mut kernel = Kernel::long(&|a| a.nop());
    kernel.state().activity = Activity::Halted;
    assert_eq!(kernel.run(3).leave, Leave::Halted);
    kernel.state().nmi_pending = true;
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.state().activity), (Some(vector::NMI), Activity::Running));
}

/// A machine whose 8259 pair drives INTR; it will say vector 0x31.
fn interrupted(code: Code<'_>) -> Kernel {
    let mut kernel = Kernel::long(code);
    let state = kernel.state();
    state.rflags = 0x202;
    state.apic.set_virtual_wire();
    state.set_intr(true);
    kernel
}

#[test]
fn a_maskable_interrupt_comes_between_instructions() {
    let code = |a: &mut iced_x86::code_asm::CodeAssembler| a.nop();
    let mut kernel = interrupted(&code);
    let exit = kernel.run(10);
    assert_eq!((exit.leave, exit.retired, kernel.handler()), (Leave::Bus, 1, Some(0x31)));
    assert_eq!(kernel.stack::<3>(), [CODE, u64::from(CODE_64), 0x202]);
    let mut kernel = interrupted(&code);
    kernel.state().rflags = 2;
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.state().rip), (None, CODE + 1));
}

#[test]
fn nothing_is_taken_without_a_budget() {
    let mut kernel = interrupted(&|a| a.nop());
    let before = kernel.state().clone();
    assert_eq!(kernel.run(0).retired, 0);
    assert_eq!(*kernel.state(), before);
}

#[test]
fn an_nmi_goes_first() {
    let mut kernel = interrupted(&|a| a.nop());
    kernel.state().nmi_pending = true;
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::NMI));
}

#[test]
fn sti_lets_one_instruction_pass_if_interrupts_were_off() {
    let code = |a: &mut iced_x86::code_asm::CodeAssembler| {
        a.sti()?;
        a.inc(iced_x86::code_asm::ebx)?;
        a.inc(iced_x86::code_asm::ebx)
    };
    for chopped in [false, true] {
        let mut kernel = interrupted(&code);
        kernel.state().rflags = 2;
        if chopped {
            (0..3).for_each(|_| assert_eq!(kernel.run(1).retired, 1));
        } else {
            kernel.run(3);
        }
        assert_eq!((kernel.handler(), kernel.state().gpr[3]), (Some(0x31), 1));
    }
    let mut kernel = interrupted(&code);
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.state().gpr[3]), (Some(0x31), 0));
}

#[test]
fn an_interrupt_that_cannot_be_delivered_is_an_external_event() {
    let mut kernel = interrupted(&|a| a.nop());
    kernel.gate(0x31, CODE_64, HANDLERS, 0x0e00);
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.stack::<2>()), (Some(vector::NP), [0x31 << 3 | 3, CODE]));
    // INT n is none.
    let mut kernel = Kernel::long(&|a| a.int(0x31));
    kernel.gate(0x31, CODE_64, HANDLERS, 0x0e00);
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.stack::<2>()), (Some(vector::NP), [0x31 << 3 | 2, CODE]));
}

#[test]
fn task_gates_are_missing_by_name() {
    use crate::exec::Missing;
    let mut kernel = Kernel::protected(&undefined);
    kernel.gate(vector::UD, TASK, 0, 0x8500);
    assert_eq!(kernel.run(5).leave, Leave::Missing(Missing::Feature("task switch by an interrupt")));
}
