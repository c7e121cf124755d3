//! Exchanges of pairs of registers; all others are compared with the host's.

use iced_x86::code_asm::*;

use crate::Leave;
use crate::flags::RFlags;
use crate::testing::{DATA, Guest};

const ZF: u64 = RFlags::ZF.bits();

fn guest(
    code: impl FnOnce(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>,
    memory: u128,
    registers: [u64; 4],
) -> Guest {
    let mut guest = Guest::long(code);
    guest.ram.write(DATA, &memory.to_le_bytes()).unwrap();
    guest.cpu.state.gpr[..4].copy_from_slice(&registers);
    guest.cpu.state.gpr[6] = DATA;
    guest
}

#[test]
fn eight_bytes() {
    let code = |a: &mut CodeAssembler| a.cmpxchg8b(qword_ptr(rsi));
    let upper = 0xdead_beef << 32;
    let mut equal = guest(code, 0x1111_1111_2222_2222, [upper | 0x2222_2222, 0x33, 0x1111_1111, 0x44]);
    equal.run_through();
    assert_eq!(equal.bytes(DATA), (0x33u64 << 32 | 0x44).to_le_bytes());
    assert_eq!((equal.cpu.state.rflags & ZF, equal.reg(0)), (ZF, upper | 0x2222_2222));
    let mut different = guest(code, 0x1111_1111_2222_2222, [upper | 0x2222_2223, 0x33, 0x1111_1111, 0x44]);
    different.run_through();
    assert_eq!(different.bytes(DATA), 0x1111_1111_2222_2222u64.to_le_bytes());
    assert_eq!((different.reg(0), different.reg(2)), (0x2222_2222, 0x1111_1111));
    assert_eq!(different.cpu.state.rflags & ZF, 0);
}

#[test]
fn sixteen_bytes() {
    let code = |a: &mut CodeAssembler| a.cmpxchg16b(xmmword_ptr(rsi));
    let memory = 5u128 << 64 | 6;
    let mut equal = guest(code, memory, [6, 7, 5, 8]);
    equal.run_through();
    assert_eq!(equal.bytes(DATA), (7u128 << 64 | 8).to_le_bytes());
    let mut different = guest(code, memory, [6, 7, 6, 8]);
    different.run_through();
    assert_eq!((different.reg(0), different.reg(2)), (6, 5));
    assert_eq!(different.bytes(DATA), memory.to_le_bytes());
    let mut misaligned = guest(code, memory, [0; 4]);
    misaligned.cpu.state.gpr[6] += 8;
    assert_eq!(misaligned.run(1).leave, Leave::Shutdown);
}

#[test]
fn both_operands_may_be_one_register() {
    let mut guest = Guest::long(|a| {
        a.xadd(eax, eax)?;
        a.xchg(bl, bh)?;
        a.xchg(ecx, ecx)
    });
    let gpr = &mut guest.cpu.state.gpr;
    (gpr[0], gpr[1], gpr[3]) = (0x4000_0001, u64::MAX, 0x1234);
    guest.run_through();
    assert_eq!((guest.reg(0), guest.reg(1), guest.reg(3)), (0x8000_0002, 0xffff_ffff, 0x3412));
}
