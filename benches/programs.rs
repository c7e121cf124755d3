//! Programs that never end: each begins again when it is done.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use crate::guest::DATA;

/// What building a program gives.
type Built = Result<(), IcedError>;

/// Registers only: a xorshift generator, its numbers summed up.
///
/// # Errors
/// Of the assembler.
pub fn integer_loop(a: &mut CodeAssembler) -> Built {
    let mut next = a.create_label();
    a.mov(rax, 88_172_645_463_325_252u64)?;
    a.xor(edx, edx)?;
    a.set_label(&mut next)?;
    for (count, left) in [(13, true), (7, false), (17, true)] {
        a.mov(rcx, rax)?;
        if left {
            a.shl(rcx, count)?
        } else {
            a.shr(rcx, count)?
        }
        a.xor(rax, rcx)?;
    }
    a.add(rdx, rax)?;
    a.jmp(next)
}

/// Loads and stores: running sums of 4096 numbers of 64 bits.
///
/// # Errors
/// Of the assembler.
pub fn memory_loop(a: &mut CodeAssembler) -> Built {
    let (mut again, mut next) = (a.create_label(), a.create_label());
    a.mov(rdi, DATA)?;
    a.set_label(&mut again)?;
    a.xor(ecx, ecx)?;
    a.xor(eax, eax)?;
    a.set_label(&mut next)?;
    a.add(rax, qword_ptr(rdi + rcx * 8))?;
    a.inc(rax)?;
    a.mov(qword_ptr(rdi + rcx * 8), rax)?;
    a.add(ecx, 1)?;
    a.cmp(ecx, 4096)?;
    a.jne(next)?;
    a.jmp(again)
}

/// Calls and returns: Fibonacci numbers by recursion.
///
/// # Errors
/// Of the assembler.
pub fn calls(a: &mut CodeAssembler) -> Built {
    let (mut again, mut function, mut done) = (a.create_label(), a.create_label(), a.create_label());
    a.set_label(&mut again)?;
    a.mov(edi, 24)?;
    a.call(function)?;
    a.jmp(again)?;
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
    a.ret()
}

/// How many numbers [`sort`] sorts.
const NUMBERS: i32 = 4096;

/// Branches nobody can predict: quicksort of random numbers, made anew each time.
///
/// # Errors
/// Of the assembler.
pub fn sort(a: &mut CodeAssembler) -> Built {
    let (mut again, mut fill) = (a.create_label(), a.create_label());
    let quicksort = a.create_label();
    a.mov(r15, DATA)?;
    a.mov(r14d, 12345)?;
    a.set_label(&mut again)?;
    a.xor(ecx, ecx)?;
    a.set_label(&mut fill)?;
    a.imul_3(r14d, r14d, 1_103_515_245)?;
    a.add(r14d, 12345)?;
    a.mov(eax, r14d)?;
    a.shr(eax, 8)?;
    a.mov(dword_ptr(r15 + rcx * 4), eax)?;
    a.inc(ecx)?;
    a.cmp(ecx, NUMBERS)?;
    a.jne(fill)?;
    a.mov(rdi, r15)?;
    a.lea(rsi, qword_ptr(r15 + (NUMBERS - 1) * 4))?;
    a.call(quicksort)?;
    a.jmp(again)?;
    partition(a, quicksort)
}

/// Sorts from RDI to RSI, both included (Hoare's partition).
fn partition(a: &mut CodeAssembler, mut quicksort: CodeLabel) -> Built {
    let (mut up, mut down) = (a.create_label(), a.create_label());
    let (mut crossed, mut done) = (a.create_label(), a.create_label());
    a.set_label(&mut quicksort)?;
    a.cmp(rdi, rsi)?;
    a.jae(done)?;
    a.mov(rax, rdi)?;
    a.add(rax, rsi)?;
    a.shr(rax, 1)?;
    a.and(rax, -4)?;
    a.mov(eax, dword_ptr(rax))?;
    a.lea(rcx, qword_ptr(rdi - 4))?;
    a.lea(rdx, qword_ptr(rsi + 4))?;
    a.set_label(&mut up)?;
    a.add(rcx, 4)?;
    a.cmp(dword_ptr(rcx), eax)?;
    a.jb(up)?;
    a.set_label(&mut down)?;
    a.sub(rdx, 4)?;
    a.cmp(dword_ptr(rdx), eax)?;
    a.ja(down)?;
    a.cmp(rcx, rdx)?;
    a.jae(crossed)?;
    a.mov(r8d, dword_ptr(rcx))?;
    a.mov(r9d, dword_ptr(rdx))?;
    a.mov(dword_ptr(rcx), r9d)?;
    a.mov(dword_ptr(rdx), r8d)?;
    a.jmp(up)?;
    a.set_label(&mut crossed)?;
    a.push(rsi)?;
    a.push(rdx)?;
    a.mov(rsi, rdx)?;
    a.call(quicksort)?;
    a.pop(rdi)?;
    a.add(rdi, 4)?;
    a.pop(rsi)?;
    a.jmp(quicksort)?;
    a.set_label(&mut done)?;
    a.ret()
}

/// A sieve over 3 MB: bytes far apart, so that pages have to be looked up.
///
/// # Errors
/// Of the assembler.
pub fn sieve(a: &mut CodeAssembler) -> Built {
    const SIZE: i32 = 3 << 20;
    let (mut again, mut number, mut strike) = (a.create_label(), a.create_label(), a.create_label());
    let mut composite = a.create_label();
    a.mov(rbx, DATA)?;
    a.set_label(&mut again)?;
    a.xor(eax, eax)?;
    a.mov(rdi, rbx)?;
    a.mov(ecx, SIZE / 8)?;
    a.rep().stosq()?;
    a.mov(esi, 2)?;
    a.set_label(&mut number)?;
    a.cmp(byte_ptr(rbx + rsi), 0)?;
    a.jne(composite)?;
    a.lea(edx, ptr(rsi + rsi))?;
    a.set_label(&mut strike)?;
    a.mov(byte_ptr(rbx + rdx), 1)?;
    a.add(edx, esi)?;
    a.cmp(edx, SIZE)?;
    a.jl(strike)?;
    a.set_label(&mut composite)?;
    a.inc(esi)?;
    a.cmp(esi, SIZE / 2)?;
    a.jl(number)?;
    a.jmp(again)
}

/// How many bytes [`copy`] and [`fill`] go through at a time.
pub const BLOCK: u32 = 1 << 20;

/// Copies a megabyte by REP MOVSB.
///
/// # Errors
/// Of the assembler.
pub fn copy(a: &mut CodeAssembler) -> Built {
    let mut again = a.create_label();
    a.set_label(&mut again)?;
    a.mov(rsi, DATA)?;
    a.mov(rdi, DATA + 2 * u64::from(BLOCK) + 64)?;
    a.mov(ecx, BLOCK)?;
    a.rep().movsb()?;
    a.jmp(again)
}

/// Fills a megabyte by REP STOSQ.
///
/// # Errors
/// Of the assembler.
pub fn fill(a: &mut CodeAssembler) -> Built {
    let mut again = a.create_label();
    a.set_label(&mut again)?;
    a.mov(rdi, DATA)?;
    a.mov(ecx, BLOCK / 8)?;
    a.rep().stosq()?;
    a.jmp(again)
}
