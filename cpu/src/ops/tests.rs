//! Whole programs, for what single instructions do together.

use iced_x86::code_asm::*;

use crate::testing::{DATA, Guest, STACK};

#[test]
fn a_recursive_function_returns() {
    // Fibonacci: rdi -> rax.
    let mut guest = Guest::long(|a| {
        let mut function = a.create_label();
        let mut end = a.create_label();
        let mut done = a.create_label();
        a.mov(edi, 15)?;
        a.call(function)?;
        a.jmp(end)?;
        a.set_label(&mut function)?;
        a.mov(eax, edi)?;
        a.cmp(edi, 2)?;
        a.jl(done)?;
        a.push(rbx)?;
        a.push(rdi)?;
        a.dec(edi)?;
        a.call(function)?;
        a.mov(ebx, eax)?;
        a.pop(rdi)?;
        a.sub(edi, 2)?;
        a.call(function)?;
        a.add(eax, ebx)?;
        a.pop(rbx)?;
        a.set_label(&mut done)?;
        a.ret()?;
        a.set_label(&mut end)?;
        a.jmp(end)
    });
    guest.run(1 << 16);
    assert_eq!((guest.reg(0), guest.reg(4)), (610, STACK));
}

#[test]
fn a_table_is_built_and_searched() {
    // CRC-32 of "123456789", with a table made first.
    let mut guest = Guest::long(|a| {
        let (mut byte, mut bit, mut even, mut next, mut end) =
            (a.create_label(), a.create_label(), a.create_label(), a.create_label(), a.create_label());
        a.xor(ecx, ecx)?;
        a.set_label(&mut byte)?;
        a.mov(eax, ecx)?;
        a.mov(edx, 8)?;
        a.set_label(&mut bit)?;
        a.shr(eax, 1)?;
        a.jnc(even)?;
        a.xor(eax, 0xedb8_8320u32)?;
        a.set_label(&mut even)?;
        a.dec(edx)?;
        a.jnz(bit)?;
        a.mov(dword_ptr(rcx * 4 + DATA as i32), eax)?;
        a.inc(ecx)?;
        a.test(cl, cl)?;
        a.jnz(byte)?;
        a.mov(rsi, DATA + 0x1000)?;
        a.mov(rax, 0x3837_3635_3433_3231u64)?;
        a.mov(qword_ptr(rsi), rax)?;
        a.mov(byte_ptr(rsi + 8), 0x39)?;
        a.or(eax, -1)?;
        a.mov(ecx, 9)?;
        a.set_label(&mut next)?;
        a.movzx(edx, byte_ptr(rsi))?;
        a.xor(dl, al)?;
        a.shr(eax, 8)?;
        a.xor(eax, dword_ptr(rdx * 4 + DATA as i32))?;
        a.add(rsi, 1)?;
        a.loop_(next)?;
        a.not(eax)?;
        a.set_label(&mut end)?;
        a.jmp(end)
    });
    guest.run(1 << 16);
    assert_eq!(guest.reg(0), 0xcbf4_3926);
}
