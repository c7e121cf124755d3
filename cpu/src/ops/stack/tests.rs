//! What is where on the stack.

use iced_x86::code_asm::*;

use crate::Leave;
use crate::flags::RFlags;
use crate::testing::{Guest, STACK};

fn words(guest: &Guest, count: u64) -> Vec<u32> {
    (1..=count).map(|word| u32::from_le_bytes(guest.bytes(STACK - 4 * word))).collect()
}

#[test]
fn pusha_stores_the_stack_pointer_and_popa_skips_it() {
    let mut guest = Guest::protected(|a| {
        a.pushad()?;
        a.xor(eax, eax)?;
        a.mov(dword_ptr(esp + 12), 77)?;
        a.mov(ebp, eax)?;
        a.popad()
    });
    let before = [1, 2, 3, 4, STACK, 5, 6, 7];
    guest.cpu.state.gpr[..8].copy_from_slice(&before);
    guest.run_through();
    assert_eq!(words(&guest, 8), [1, 2, 3, 4, 77, 5, 6, 7]);
    assert_eq!(guest.cpu.state.gpr[..8], before);
}

#[test]
fn enter_copies_the_links_of_enclosing_frames() {
    let mut guest = Guest::protected(|a| {
        a.mov(ebp, STACK as u32 + 0x100)?;
        a.mov(dword_ptr(ebp - 4), 0xaaaa)?;
        a.mov(dword_ptr(ebp - 8), 0xbbbb)?;
        a.enter(0x10, 3)
    });
    guest.run_through();
    let frame = STACK as u32 - 4;
    assert_eq!(words(&guest, 4), [STACK as u32 + 0x100, 0xaaaa, 0xbbbb, frame]);
    assert_eq!((guest.reg(5), guest.reg(4)), (u64::from(frame), STACK - 4 - 12 - 0x10));
}

#[test]
fn leave_undoes_enter() {
    let mut guest = Guest::long(|a| {
        a.mov(rbp, 0x1234_5678_9abcu64)?;
        a.enter(0x20, 0)?;
        a.leave()
    });
    guest.run_through();
    assert_eq!((guest.reg(5), guest.reg(4)), (0x1234_5678_9abc, STACK));
}

#[test]
fn a_pop_to_memory_addresses_by_the_new_stack_pointer() {
    let mut guest = Guest::long(|a| {
        a.push(0x55)?;
        a.pop(qword_ptr(rsp + 8))?;
        a.push(rsp)?;
        a.pop(rsp)?;
        a.push(fs)?;
        a.pop(rax)
    });
    guest.run_through();
    assert_eq!(guest.bytes(STACK + 8), 0x55u64.to_le_bytes());
    assert_eq!((guest.reg(0), guest.reg(4)), (16, STACK));
}

#[test]
fn a_pop_that_cannot_be_stored_leaves_the_stack_pointer() {
    let mut guest = Guest::long(|a| a.pop(qword_ptr(rax)));
    guest.cpu.state.gpr[0] = 1 << 62;
    assert_eq!(guest.run(10).leave, Leave::Shutdown);
    assert_eq!(guest.reg(4), STACK);
}

#[test]
fn a_16_bit_stack_wraps_around_and_keeps_the_upper_half() {
    let mut guest = Guest::real(|a| {
        a.push(ax)?;
        a.push(eax)
    });
    let gpr = &mut guest.cpu.state.gpr;
    (gpr[0], gpr[4]) = (0x1122_3344, 0x7777_0002);
    guest.run_through();
    assert_eq!(guest.reg(4), 0x7777_fffc);
    assert_eq!((guest.bytes(0), guest.bytes(0xfffc)), ([0x44, 0x33], [0x44, 0x33, 0x22, 0x11]));
}

#[test]
fn popf_changes_what_the_privilege_level_allows() {
    let code = |a: &mut iced_x86::code_asm::CodeAssembler| {
        a.push(0x24_7fd7)?;
        a.popfq()?;
        a.pushfq()?;
        a.pop(rax)
    };
    let mut kernel = Guest::long(code);
    kernel.run(1);
    // A trap flag would end in the debug exception.
    kernel.ram.write(STACK - 8, &0x24_7ed7u64.to_le_bytes()).unwrap();
    kernel.run(3);
    assert_eq!(kernel.reg(0), 0x24_7ed7);
    let mut user = Guest::long(code);
    for segment in &mut user.cpu.state.segments {
        segment.attributes = segment.attributes.with_dpl(3);
    }
    user.cpu.flush();
    user.run(1);
    user.ram.write(STACK - 8, &0x24_7ed7u64.to_le_bytes()).unwrap();
    user.run(3);
    let forbidden = RFlags::IF.union(RFlags::IOPL).bits();
    assert_eq!(user.reg(0), 0x24_7ed7 & !forbidden);
}
