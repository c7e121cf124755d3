//! Loads, stores, exchanges, constants: numbers that move and may change their format.

use iced_x86::{Code, Mnemonic};

use crate::exec::Exec;
use crate::fault::{Done, Stop};
use crate::fp::extended::Extended;
use crate::fp::host_x87::{self, Noted};
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::{Form, by_condition};
use crate::state::{Fpu, status};

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(load(form).or_else(|| store(form)).or_else(|| within_registers(form))?)
}

fn load(form: &Form<'_>) -> Option<Handler> {
    Some(match form.instruction.code() {
        Code::Fld_m32fp => fld_single,
        Code::Fld_m64fp => fld_double,
        Code::Fld_m80fp => fld_extended,
        Code::Fild_m16int => fild::<u16>,
        Code::Fild_m32int => fild::<u32>,
        Code::Fild_m64int => fild::<u64>,
        Code::Fbld_m80bcd => fbld,
        Code::Fld1 => constant::<One>,
        Code::Fldz => constant::<Zero>,
        Code::Fldl2t => constant::<Log2Ten>,
        Code::Fldl2e => constant::<Log2E>,
        Code::Fldpi => constant::<Pi>,
        Code::Fldlg2 => constant::<Log10Two>,
        Code::Fldln2 => constant::<LnTwo>,
        _ => return None,
    })
}

fn store(form: &Form<'_>) -> Option<Handler> {
    Some(match form.instruction.code() {
        Code::Fst_m32fp => store_as::<Single, false>,
        Code::Fstp_m32fp => store_as::<Single, true>,
        Code::Fst_m64fp => store_as::<Double, false>,
        Code::Fstp_m64fp => store_as::<Double, true>,
        Code::Fstp_m80fp => store_as::<Whole, true>,
        Code::Fist_m16int => store_as::<Integer16, false>,
        Code::Fistp_m16int => store_as::<Integer16, true>,
        Code::Fist_m32int => store_as::<Integer32, false>,
        Code::Fistp_m32int => store_as::<Integer32, true>,
        Code::Fistp_m64int => store_as::<Integer64, true>,
        Code::Fisttp_m16int => store_as::<Truncated<Integer16>, true>,
        Code::Fisttp_m32int => store_as::<Truncated<Integer32>, true>,
        Code::Fisttp_m64int => store_as::<Truncated<Integer64>, true>,
        Code::Fbstp_m80bcd => store_as::<Decimal, true>,
        _ => return None,
    })
}

fn within_registers(form: &Form<'_>) -> Option<Handler> {
    Some(match form.instruction.mnemonic() {
        Mnemonic::Fld => fld_register,
        Mnemonic::Fst => fst_register::<false>,
        Mnemonic::Fstp => fst_register::<true>,
        Mnemonic::Fstpnce => fstpnce,
        Mnemonic::Fxch => fxch,
        Mnemonic::Fcmovb => by_condition!(2, fcmov),
        Mnemonic::Fcmove => by_condition!(4, fcmov),
        Mnemonic::Fcmovbe => by_condition!(6, fcmov),
        Mnemonic::Fcmovu => by_condition!(10, fcmov),
        Mnemonic::Fcmovnb => by_condition!(3, fcmov),
        Mnemonic::Fcmovne => by_condition!(5, fcmov),
        Mnemonic::Fcmovnbe => by_condition!(7, fcmov),
        Mnemonic::Fcmovnu => by_condition!(11, fcmov),
        Mnemonic::Ffree => ffree::<false>,
        Mnemonic::Ffreep => ffree::<true>,
        Mnemonic::Fincstp => move_top::<1>,
        Mnemonic::Fdecstp => move_top::<7>,
        _ => return None,
    })
}

fn fld_single(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let bits = exec.load_operand::<u32>(op)? as u32;
    let (value, noted) = host_x87::load_single(bits, exec.state.fpu.control);
    exec.push_noted(op, value, noted);
    Ok(())
}

fn fld_double(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let bits = exec.load_operand::<u64>(op)? as u64;
    let (value, noted) = host_x87::load_double(bits, exec.state.fpu.control);
    exec.push_noted(op, value, noted);
    Ok(())
}

/// No exception but that of the stack: the number stays what it is.
fn fld_extended(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let bytes = exec.load_ten(op)?;
    exec.push_noted(op, Extended::from_bytes(bytes), 0);
    Ok(())
}

fn fild<T: Value + crate::registers::Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let address = exec.address(op, <T as Value>::BYTES as u8)?;
    let integer = exec.load::<T>(address)?.sext() as i64;
    exec.push_noted(op, Extended::from_integer(integer), 0);
    Ok(())
}

/// Digits above nine, whose value is undefined, count what they are (SDM 2, FBLD).
fn fbld(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let [digits @ .., sign] = exec.load_ten(op)?;
    let hundreds = |value: u64, pair: &u8| {
        value.wrapping_mul(100).wrapping_add(u64::from(pair >> 4) * 10).wrapping_add(u64::from(pair & 15))
    };
    let magnitude = digits.iter().rev().fold(0, hundreds);
    let value = Extended::from_integer(magnitude as i64).with_sign(sign & 0x80 != 0);
    exec.push_noted(op, value, 0);
    Ok(())
}

fn fld_register(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    if exec.state.fpu.is_empty(op.dst) {
        // A full stack would be the same exception, told apart by C1.
        if exec.stack_underflow(op) {
            exec.state.fpu.push(Extended::INDEFINITE);
        }
        return Ok(());
    }
    exec.push_noted(op, exec.state.fpu.st(op.dst), 0);
    Ok(())
}

/// A number every program needs, rounded as the control word says.
trait Constant {
    fn value(control: u16) -> Extended;
}

macro_rules! constants {
    ($($name:ident($control:pat) $value:expr;)*) => {$(
        struct $name;
        impl Constant for $name {
            fn value($control: u16) -> Extended {
                $value
            }
        }
    )*};
}

constants! {
    One(_) Extended::ONE;
    Zero(_) Extended::ZERO;
    Log2Ten(control) host_x87::log2_ten(control);
    Log2E(control) host_x87::log2_e(control);
    Pi(control) host_x87::pi(control);
    Log10Two(control) host_x87::log10_two(control);
    LnTwo(control) host_x87::ln_two(control);
}

fn constant<C: Constant>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let value = C::value(exec.state.fpu.control);
    exec.push_noted(op, value, 0);
    Ok(())
}

/// A format in memory.
trait Format {
    /// As many bytes as it has.
    type Bytes: AsRef<[u8]>;
    /// What stands for an invalid result.
    const INDEFINITE: Self::Bytes;
    /// Converts a register.
    fn convert(value: Extended, control: u16) -> Noted<Self::Bytes>;
}

macro_rules! formats {
    ($($name:ident $bytes:literal, $convert:expr, $indefinite:expr;)*) => {$(
        struct $name;
        impl Format for $name {
            type Bytes = [u8; $bytes];
            const INDEFINITE: Self::Bytes = $indefinite;
            fn convert(value: Extended, control: u16) -> Noted<Self::Bytes> {
                let convert: fn(Extended, u16) -> Noted<Self::Bytes> = $convert;
                convert(value, control)
            }
        }
    )*};
}

formats! {
    Single 4, host_x87::store_single, 0xffc0_0000_u32.to_le_bytes();
    Double 8, host_x87::store_double, 0xfff8_0000_0000_0000_u64.to_le_bytes();
    Whole 10, |value, _| (value.to_bytes(), 0), [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];
    Integer16 2, host_x87::store_i16, i16::MIN.to_le_bytes();
    Integer32 4, host_x87::store_i32, i32::MIN.to_le_bytes();
    Integer64 8, host_x87::store_i64, i64::MIN.to_le_bytes();
    Decimal 10, host_x87::store_decimal, [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];
}

/// Rounded towards zero whatever the control word says.
struct Truncated<F>(F);

impl<F: Format> Format for Truncated<F> {
    type Bytes = F::Bytes;
    const INDEFINITE: Self::Bytes = F::INDEFINITE;
    fn convert(value: Extended, control: u16) -> Noted<Self::Bytes> {
        F::convert(value, control | 0xc00)
    }
}

fn store_as<F: Format, const POP: bool>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let fpu = &exec.state.fpu;
    let (bytes, noted) = if fpu.is_empty(0) {
        (F::INDEFINITE, status::IE | status::SF)
    } else {
        F::convert(fpu.st(0), fpu.control)
    };
    let bytes = bytes.as_ref();
    let address = exec.address_for_write(op, bytes.len() as u8)?;
    if !exec.is_storable(noted) {
        // Nothing is stored, but it must be possible.
        exec.probe_store(address, bytes.len())?;
        exec.note(op, noted);
        return Ok(());
    }
    exec.store_bytes(address, bytes)?;
    exec.note(op, noted);
    if POP {
        exec.state.fpu.pop();
    }
    Ok(())
}

fn fst_register<const POP: bool>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    if exec.replace_noted(op, op.dst, &[0], |fpu| (fpu.st(0), 0)) && POP {
        exec.state.fpu.pop();
    }
    Ok(())
}

/// FSTP at D9 D8, which is not documented: an empty stack is popped without complaint.
fn fstpnce(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    exec.note(op, 0);
    let fpu = &mut exec.state.fpu;
    if !fpu.is_empty(0) {
        fpu.set_st(op.dst, fpu.st(0));
    }
    fpu.pop();
    Ok(())
}

fn fxch(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let fpu = &exec.state.fpu;
    let full = |fpu: &Fpu, st| if fpu.is_empty(st) { Extended::INDEFINITE } else { fpu.st(st) };
    let (a, b) = (full(fpu, 0), full(fpu, op.src));
    let goes_on =
        if fpu.is_empty(0) || fpu.is_empty(op.src) { exec.stack_underflow(op) } else { exec.note(op, 0) };
    if goes_on {
        exec.state.fpu.set_st(0, b);
        exec.state.fpu.set_st(op.src, a);
    }
    Ok(())
}

/// C1 changes only with a stack fault.
fn fcmov<const CONDITION: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let from = if exec.flags.condition(CONDITION) { op.src } else { 0 };
    exec.replace_noted(op, 0, &[0, op.src], |fpu| (fpu.st(from), fpu.status & status::C1));
    Ok(())
}

fn ffree<const POP: bool>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    exec.note(op, 0);
    exec.state.fpu.free(op.dst);
    if POP {
        exec.state.fpu.pop();
    }
    Ok(())
}

/// Turns the stack by this many registers; tags stay with their registers.
fn move_top<const BY: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    exec.note(op, 0);
    let top = exec.state.fpu.top();
    exec.state.fpu.set_top(top + BY);
    Ok(())
}

impl Exec<'_> {
    fn load_ten(&mut self, op: &Op) -> Result<[u8; 10], Stop> {
        let address = self.address(op, 10)?;
        let low: u64 = self.load(address)?;
        let high: u16 = self.load(self.wrap_linear(address.wrapping_add(8)))?;
        Ok(Extended { significand: low, sign_exponent: high }.to_bytes())
    }

    /// Stores 2, 4, 8 or 10 bytes.
    fn store_bytes(&mut self, address: u64, bytes: &[u8]) -> Done {
        let value = bytes.iter().rev().fold(0u128, |value, byte| value << 8 | u128::from(*byte));
        match bytes.len() {
            2 => self.store(address, value as u16),
            4 => self.store(address, value as u32),
            8 => self.store(address, value as u64),
            _ => {
                self.probe_store(address, 10)?;
                self.store(address, value as u64)?;
                self.store(self.wrap_linear(address.wrapping_add(8)), (value >> 64) as u16)
            }
        }
    }
}
