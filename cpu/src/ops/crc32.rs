//! CRC32: the Castagnoli polynomial, bits reflected (SDM 2A, CRC32).

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::memory::Value;
use crate::op::{Lowered, Op, within};
use crate::ops::{Form, by_size};
use crate::registers::Int;

/// What each byte does to the remainder.
const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = remainder >> 1 ^ if remainder & 1 != 0 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
}

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    if form.instruction.mnemonic() != Mnemonic::Crc32 {
        return None;
    }
    let bytes = form.bytes_of(1);
    within(if form.is_memory(1) { by_size!(bytes, memory) } else { by_size!(bytes, register) })
}

/// The destination has 32 or 64 bits; of 64 the upper half is cleared as well.
fn accumulate<T: Int>(exec: &mut Exec<'_>, op: &Op, source: T) {
    let mut remainder = exec.reg::<u32>(op.dst);
    for byte in source.zext().to_le_bytes().into_iter().take(usize::from(T::BYTES)) {
        remainder = remainder >> 8 ^ TABLE[usize::from(remainder as u8 ^ byte)];
    }
    exec.set_reg(op.dst, remainder);
}

fn register<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let source = exec.reg::<T>(op.src);
    accumulate(exec, op, source);
    Ok(())
}

fn memory<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, <T as Int>::BYTES)?;
    let source = exec.load::<T>(address)?;
    accumulate(exec, op, source);
    Ok(())
}
