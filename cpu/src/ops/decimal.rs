//! AAA, AAS, AAM, AAD, DAA, DAS (SDM 2A); none exists in 64-bit mode.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::{Done, Fault, vector};
use crate::op::{Lowered, Op, within};
use crate::ops::Form;
use crate::registers::HIGH_BYTE;
use crate::registers::gpr::RAX;

const AH: u8 = HIGH_BYTE | RAX;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Aaa => adjust_after_addition,
        Mnemonic::Aas => adjust_after_subtraction,
        Mnemonic::Aam => split,
        Mnemonic::Aad => join,
        Mnemonic::Daa => pack_after_addition,
        Mnemonic::Das => pack_after_subtraction,
        _ => return None,
    })
}

/// Whether the low digit of AL is none, or carried.
fn low_digit_overflows(exec: &Exec<'_>) -> bool {
    exec.reg::<u8>(RAX) & 15 > 9 || exec.flags.af()
}

/// AF and CF say whether there was a carry into AH; of the result only the digit counts.
fn unpacked(exec: &mut Exec<'_>, carry: bool) -> Done {
    let digit = exec.reg::<u8>(RAX) & 15;
    exec.set_reg(RAX, digit);
    exec.flags.result(digit, carry, false, carry);
    Ok(())
}

fn adjust_after_addition(exec: &mut Exec<'_>, _: &Op) -> Done {
    let carry = low_digit_overflows(exec);
    if carry {
        exec.set_reg(RAX, exec.reg::<u16>(RAX).wrapping_add(0x106));
    }
    unpacked(exec, carry)
}

fn adjust_after_subtraction(exec: &mut Exec<'_>, _: &Op) -> Done {
    let carry = low_digit_overflows(exec);
    if carry {
        exec.set_reg(RAX, exec.reg::<u16>(RAX).wrapping_sub(0x106));
    }
    unpacked(exec, carry)
}

fn split(exec: &mut Exec<'_>, op: &Op) -> Done {
    let value = exec.reg::<u8>(RAX);
    let base = op.imm as u8;
    let (Some(upper), Some(lower)) = (value.checked_div(base), value.checked_rem(base)) else {
        return Err(exec.raise(Fault::plain(vector::DE)));
    };
    exec.set_reg(AH, upper);
    exec.set_reg(RAX, lower);
    exec.flags.logic(lower);
    Ok(())
}

fn join(exec: &mut Exec<'_>, op: &Op) -> Done {
    let value = exec.reg::<u8>(AH).wrapping_mul(op.imm as u8).wrapping_add(exec.reg::<u8>(RAX));
    exec.set_reg(RAX, u16::from(value));
    exec.flags.logic(value);
    Ok(())
}

fn pack_after_addition(exec: &mut Exec<'_>, _: &Op) -> Done {
    let (before, low) = (exec.reg::<u8>(RAX), low_digit_overflows(exec));
    let high = before > 0x99 || exec.flags.cf();
    let result = before.wrapping_add(if low { 6 } else { 0 }).wrapping_add(if high { 0x60 } else { 0 });
    exec.set_reg(RAX, result);
    exec.flags.result(result, high, false, low);
    Ok(())
}

fn pack_after_subtraction(exec: &mut Exec<'_>, _: &Op) -> Done {
    let (before, low) = (exec.reg::<u8>(RAX), low_digit_overflows(exec));
    let high = before > 0x99 || exec.flags.cf();
    let result = before.wrapping_sub(if low { 6 } else { 0 }).wrapping_sub(if high { 0x60 } else { 0 });
    exec.set_reg(RAX, result);
    // A borrow from subtracting 6 counts as well.
    exec.flags.result(result, high || low && before < 6, false, low);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::flags::RFlags;
    use crate::testing::{CODE, Guest};
    use iced_x86::code_asm::*;

    /// AX and the flags after this code, AX, BL and flags being these before.
    fn after(guest: &mut Guest, accumulator: u64, b: u64, flags: RFlags) -> (u64, RFlags) {
        let state = &mut guest.cpu.state;
        (state.gpr[0], state.gpr[3], state.rflags, state.rip) = (accumulator, b, flags.bits(), CODE);
        let state = guest.run_through();
        (state.gpr[0], RFlags::from_bits_truncate(state.rflags))
    }

    #[test]
    fn packed_sums_and_differences_of_all_numbers() {
        let packed = |number: u64| (number / 10 % 10) << 4 | (number % 10);
        let mut sum = Guest::protected(|a| {
            a.add(al, bl)?;
            a.daa()
        });
        let mut difference = Guest::protected(|a| {
            a.sub(al, bl)?;
            a.das()
        });
        for a in 0..100 {
            for b in 0..100 {
                let (result, flags) = after(&mut sum, packed(a), packed(b), RFlags::empty());
                assert_eq!((result, flags.contains(RFlags::CF)), (packed(a + b), a + b > 99), "{a} + {b}");
                let (result, flags) = after(&mut difference, packed(a), packed(b), RFlags::empty());
                assert_eq!((result, flags.contains(RFlags::CF)), (packed(100 + a - b), a < b), "{a} - {b}");
            }
        }
    }

    #[test]
    fn unpacked_digits() {
        let carry = RFlags::CF.union(RFlags::AF);
        let (result, flags) = after(&mut Guest::protected(|a| a.aaa()), 0x010c, 0, RFlags::empty());
        assert_eq!((result, flags.intersection(carry)), (0x0202, carry));
        let (result, flags) = after(&mut Guest::protected(|a| a.aas()), 0x02fe, 0, RFlags::AF);
        assert_eq!((result, flags.intersection(carry)), (0x0108, carry));
        assert_eq!(after(&mut Guest::protected(|a| a.aam(10)), 0x0063, 0, RFlags::empty()).0, 0x0909);
        assert_eq!(after(&mut Guest::protected(|a| a.aad(10)), 0x0909, 0, RFlags::empty()).0, 0x0063);
    }
}
