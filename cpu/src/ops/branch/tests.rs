//! Where branches lead, and where they may not.

use iced_x86::code_asm::*;
use proptest::prelude::*;

use crate::testing::{CODE, Guest, STACK};
use crate::{CpuState, Leave};

#[test]
fn loops_count_what_the_address_size_says() {
    let mut guest = Guest::long(|a| {
        let (mut first, mut second, mut end) = (a.create_label(), a.create_label(), a.create_label());
        a.set_label(&mut first)?;
        a.inc(eax)?;
        a.loop_(first)?;
        a.mov(ecx, 5)?;
        a.set_label(&mut second)?;
        a.inc(edx)?;
        a.cmp(edx, 3)?;
        a.loopne(second)?;
        a.mov(rbx, rcx)?;
        a.mov(rcx, 1u64 << 32)?;
        // JECXZ over the next.
        a.db(&[0x67, 0xe3, 2])?;
        a.ud2()?;
        a.set_label(&mut end)?;
        a.jmp(end)
    });
    let gpr = &mut guest.cpu.state.gpr;
    (gpr[1], gpr[2]) = (7, 0);
    assert_eq!(guest.run(100).leave, Leave::Budget);
    assert_eq!((guest.reg(0), guest.reg(2), guest.reg(3)), (7, 3, 2));
}

#[test]
fn a_return_drops_arguments() {
    let mut guest = Guest::long(|a| {
        let (mut function, mut end) = (a.create_label(), a.create_label());
        a.push(1)?;
        a.push(2)?;
        a.lea(rax, ptr(function))?;
        a.call(rax)?;
        a.set_label(&mut end)?;
        a.jmp(end)?;
        a.set_label(&mut function)?;
        a.ret_1(16)
    });
    guest.run(20);
    assert_eq!(guest.reg(4), STACK);
}

#[test]
fn a_16_bit_branch_wraps_around() {
    let mut guest = Guest::real(|a| a.jmp(0xfff0));
    guest.ram.write(CODE + 0xfff0, &[0xeb, 0x20]).unwrap();
    assert_eq!(guest.run(2).retired, 2);
    assert_eq!(guest.cpu.state.rip, 0x12);
}

#[test]
fn what_is_not_canonical_is_no_target() {
    for code in [
        (|a: &mut CodeAssembler| a.jmp(rax)) as fn(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>,
        |a| a.call(rax),
        |a| {
            a.push(rax)?;
            a.ret()
        },
    ] {
        let mut guest = Guest::long(code);
        guest.cpu.state.gpr[0] = 1 << 47;
        assert_eq!(guest.run(10).leave, Leave::Shutdown);
        assert!(guest.reg(4) >= STACK - 8);
        assert!(guest.cpu.state.rip < CODE + 4, "the fault is the branch's own");
    }
}

#[test]
fn a_target_outside_the_segment_is_the_branchs_fault() {
    let mut guest = Guest::protected(|a| a.jmp(u64::from(u32::MAX)));
    guest.cpu.state.segments[1].limit = CODE as u32 + 0xfff;
    assert_eq!(guest.run(1).leave, Leave::Shutdown);
    assert_eq!(guest.cpu.state.rip, CODE);
}

/// Insertion sort of 32 numbers, made anew with each round: comparisons of every kind with a branch right behind.
fn sort(a: &mut CodeAssembler) -> Result<(), iced_x86::IcedError> {
    let (mut round, mut fill, mut next) = (a.create_label(), a.create_label(), a.create_label());
    let (mut shift, mut place) = (a.create_label(), a.create_label());
    a.mov(rdi, crate::testing::DATA)?;
    a.mov(r8d, 1)?;
    a.set_label(&mut round)?;
    a.mov(ecx, 32)?;
    a.set_label(&mut fill)?;
    a.imul_3(r8d, r8d, 1_103_515_245)?;
    a.add(r8d, 12345)?;
    a.mov(dword_ptr(rdi + rcx * 4 - 4), r8d)?;
    a.dec(ecx)?;
    a.jnz(fill)?;
    a.mov(ecx, 1)?;
    a.set_label(&mut next)?;
    a.mov(eax, dword_ptr(rdi + rcx * 4))?;
    a.mov(edx, ecx)?;
    a.set_label(&mut shift)?;
    a.cmp(dword_ptr(rdi + rdx * 4 - 4), eax)?;
    a.jle(place)?;
    a.mov(ebx, dword_ptr(rdi + rdx * 4 - 4))?;
    a.mov(dword_ptr(rdi + rdx * 4), ebx)?;
    a.sub(edx, 1)?;
    a.jne(shift)?;
    a.set_label(&mut place)?;
    a.mov(dword_ptr(rdi + rdx * 4), eax)?;
    a.inc(ecx)?;
    a.cmp(ecx, 32)?;
    a.jb(next)?;
    a.test(byte_ptr(rdi), 1)?;
    a.js(round)?;
    a.jmp(round)
}

/// The state after so many instructions, and what has been sorted.
fn after(guest: &mut Guest, slices: &[u64]) -> (CpuState, [u8; 128]) {
    for slice in slices {
        let exit = guest.run(*slice);
        assert_eq!((exit.leave, exit.retired), (Leave::Budget, *slice));
    }
    let mut state = guest.cpu.state.clone();
    // Time is what the caller says, which here is always the beginning.
    state.msrs = CpuState::reset().msrs;
    (state, guest.bytes(crate::testing::DATA))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn how_a_run_is_cut_does_not_matter(slices in prop::collection::vec(0u64..40, 1..200)) {
        let whole = slices.iter().sum();
        let once = after(&mut Guest::long(sort), &[whole]);
        let cut = after(&mut Guest::long(sort), &slices);
        prop_assert_eq!(once.0, cut.0);
        prop_assert_eq!(once.1, cut.1);
    }
}
