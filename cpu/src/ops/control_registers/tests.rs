//! The smaller instructions around control registers.

use iced_x86::code_asm::*;

use crate::fault::vector;
use crate::state::{Cr0, Cr4};
use crate::test_kernel::Kernel;

#[test]
fn the_machine_status_word() {
    let mut kernel = Kernel::long(&|a| {
        a.mov(eax, 0xfff0 | 6)?;
        a.lmsw(ax)?;
        a.clts()?;
        a.mov(ecx, -1)?;
        a.smsw(cx)?;
        a.smsw(edx)?;
        a.smsw(rbx)?;
        a.smsw(word_ptr(0x11_0000))
    });
    kernel.write(0x11_0000, u64::MAX);
    let before = kernel.state().cr0;
    kernel.run(2);
    assert_eq!(kernel.state().cr0, before | Cr0::MP | Cr0::EM, "PE stays, the upper half is not written");
    assert_eq!(kernel.handler(), None);
    kernel.state().cr0 |= Cr0::TS;
    kernel.run(6);
    let control = kernel.state().cr0;
    assert_eq!(control, before | Cr0::MP | Cr0::EM);
    let state = kernel.state();
    assert_eq!(state.gpr[1], 0xffff_0000 | control.bits() & 0xffff);
    assert_eq!((state.gpr[2], state.gpr[3]), (control.bits(), control.bits()));
    assert_eq!(kernel.read(0x11_0000), !0xffff | control.bits() & 0xffff);
}

#[test]
fn user_mode_instruction_prevention() {
    for (extensions, handler) in [(Cr4::empty(), None), (Cr4::UMIP, Some(vector::GP))] {
        let mut kernel = Kernel::user(&|a| a.smsw(eax));
        kernel.state().cr4 |= extensions;
        kernel.run(1);
        assert_eq!(kernel.handler(), handler);
    }
}

#[test]
fn task_priority_is_the_apics() {
    let mut kernel = Kernel::long(&|a| {
        a.mov(cr8, rax)?;
        a.mov(rbx, cr8)
    });
    kernel.state().gpr[0] = 9;
    kernel.run(2);
    assert_eq!((kernel.state().gpr[3], kernel.state().apic.task_priority()), (9, 0x90));
}

/// The exception of XSETBV, and XCR0 as XGETBV reads it.
fn xsetbv(number: u64, value: u64, extensions: Cr4) -> (Option<u8>, u64) {
    let mut kernel = Kernel::long(&|a| {
        a.xsetbv()?;
        a.xgetbv()
    });
    let state = kernel.state();
    state.cr4 |= extensions;
    (state.gpr[1], state.gpr[0], state.gpr[2]) = (number, value & 0xffff_ffff, value >> 32);
    kernel.run(1);
    if let Some(vector) = kernel.handler() {
        return (Some(vector), 0);
    }
    kernel.run(1);
    let state = kernel.state();
    let read = state.gpr[2] << 32 | state.gpr[0];
    (None, read)
}

#[test]
fn extended_state_is_enabled() {
    const ON: Cr4 = Cr4::OSXSAVE;
    assert_eq!(xsetbv(0, 3, ON), (None, 3));
    assert_eq!(xsetbv(0, 1, ON), (None, 1));
    for (number, value) in [(0, 0), (0, 2), (0, 7), (0, 1 << 32 | 1), (1, 1)] {
        assert_eq!(xsetbv(number, value, ON).0, Some(vector::GP), "{number}, {value:#x}");
    }
    assert_eq!(xsetbv(0, 3, Cr4::empty()).0, Some(vector::UD));
}

#[test]
fn user_mode_reads_what_is_enabled() {
    let mut kernel = Kernel::user(&|a| a.xgetbv());
    kernel.state().cr4 |= Cr4::OSXSAVE;
    kernel.state().xcr0 = 3;
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.state().gpr[0]), (None, 3));
    let mut kernel = Kernel::user(&|a| a.xsetbv());
    kernel.state().cr4 |= Cr4::OSXSAVE;
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::GP));
}
