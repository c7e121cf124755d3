//! Whole programs, for what single instructions do together.

mod native;

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

#[test]
fn offsets_of_64_bits_and_sizes_of_addresses() {
    let mut guest = Guest::long(|a| {
        // MOV with an offset: RAX from and to it.
        a.db(&[0x48, 0xa1])?;
        a.db(&DATA.to_le_bytes())?;
        a.db(&[0x66, 0xa3])?;
        a.db(&(DATA + 8).to_le_bytes())?;
        a.lea(rcx, ptr(rbx + rsi * 4 - 3))?;
        a.lea(rdx, ptr(ebx + esi * 4 - 3))?;
        a.lea(si, ptr(rbx))?;
        a.xlatb()
    });
    let number = 0x1122_3344_5566_7788u64;
    guest.ram.write(DATA, &number.to_le_bytes()).unwrap();
    guest.ram.write(DATA + 0x88, &[0x5a]).unwrap();
    let gpr = &mut guest.cpu.state.gpr;
    (gpr[3], gpr[6]) = (DATA, 0x4000_0000);
    // Instructions given as bytes are not counted by the assembler.
    guest.run(6);
    assert_eq!(guest.bytes(DATA + 8), [0x88, 0x77, 0, 0]);
    assert_eq!((guest.reg(0), guest.reg(1)), (number & !0xff | 0x5a, 0x1_0000_0000 + DATA - 3));
    assert_eq!((guest.reg(2), guest.reg(6)), (DATA - 3, 0x4000_0000 | DATA & 0xffff));
}

#[test]
fn hints_do_nothing_but_a_flush_needs_its_page() {
    let mut guest = Guest::long(|a| {
        a.prefetcht0(byte_ptr(rax))?;
        a.prefetchw(byte_ptr(rax))?;
        a.db(&[0x0f, 0x1f, 0x44, 0, 0])?;
        a.endbr64()?;
        // Of the rest of that space: prefetches to come, what was MPX, RDSSP.
        for bytes in [
            &[0x0fu8, 0x18, 0x78, 0][..],
            &[0x0f, 0x0d, 0x58, 0],
            &[0x0f, 0x0d, 0xc0],
            &[0x0f, 0x19, 0xc0],
            &[0x0f, 0x1a, 0x40, 0],
            &[0x0f, 0x1a, 0xc0],
            &[0x66, 0x0f, 0x1b, 0xc0],
            &[0x0f, 0x1c, 0x40, 0],
            &[0x0f, 0x1d, 0xc0],
            &[0x0f, 0x1e, 0xc0],
            &[0xf3, 0x48, 0x0f, 0x1e, 0xc8],
        ] {
            a.db(bytes)?;
        }
        a.mfence()?;
        a.clflush(byte_ptr(rsp))?;
        a.clflushopt(byte_ptr(rax))
    });
    guest.cpu.state.gpr[0] = 1 << 40;
    let flags = guest.cpu.state.rflags;
    assert_eq!(guest.run(17).leave, crate::Leave::Budget);
    assert_eq!((guest.reg(0), guest.cpu.state.rflags), (1 << 40, flags));
    assert_eq!(guest.run(1).leave, crate::Leave::Shutdown);
}
