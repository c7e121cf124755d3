//! An arithmetic instruction and the conditional branch after it as one operation, in 64-bit mode: the flags are recorded, but the
//! branch looks at the operands.
//!
//! The pair is the last operation of its block and counts as two instructions. It does both or nothing: where the branch would
//! fault, the first runs alone, and the branch after it by itself.

use iced_x86::{Instruction, Mnemonic};

use crate::exec::Exec;
use crate::fault::{Done, Stop};
use crate::memory::Value;
use crate::mode::Mode;
use crate::op::{Handler, Op};
use crate::ops::Form;
use crate::registers::{BLOCK_IP, Int};

/// One operation for two instructions, of which `op` is the first; none if there is none.
pub(crate) fn fuse(first: &Instruction, op: &Op, second: &Instruction, mode: Mode) -> Option<Op> {
    if !mode.is_64() || !second.code().is_jcc_short_or_near() {
        return None;
    }
    let code = Form { instruction: second, mode }.condition();
    let run = handler(&Form { instruction: first, mode }, code)?;
    // An immediate and the way to the target share the place of an immediate.
    let immediate = i32::try_from(op.imm as i64).ok()?;
    let target = i32::try_from(second.near_branch_target() as i64).ok()?;
    let imm = u64::from(immediate as u32) << 32 | u64::from(target as u32);
    Some(Op { run, imm, next: second.next_ip() as u16, ..*op })
}

/// The first instruction.
trait First {
    /// Whether its result goes to the first operand.
    const WRITES: bool;
    fn result(a: u64, b: u64) -> u64;
    fn record<T: Int>(exec: &mut Exec<'_>, a: T, b: T, result: T);
    /// CF.
    fn below<T: Int>(a: T, b: T) -> bool;
    /// SF not equal to OF.
    fn less<T: Int>(a: T, b: T) -> bool;
}

/// A difference, which goes to the first operand or nowhere.
struct Difference<const WRITES: bool>;
/// The bits both have, which go to the first operand or nowhere.
struct Common<const WRITES: bool>;
/// One less; CF is not asked for.
struct Decrement;

impl<const WRITES: bool> First for Difference<WRITES> {
    const WRITES: bool = WRITES;
    #[inline(always)]
    fn result(a: u64, b: u64) -> u64 {
        a.wrapping_sub(b)
    }
    #[inline(always)]
    fn record<T: Int>(exec: &mut Exec<'_>, a: T, b: T, result: T) {
        exec.flags.sub(a, b, result);
    }
    #[inline(always)]
    fn below<T: Int>(a: T, b: T) -> bool {
        a.zext() < b.zext()
    }
    #[inline(always)]
    fn less<T: Int>(a: T, b: T) -> bool {
        (a.sext() as i64) < b.sext() as i64
    }
}

impl<const WRITES: bool> First for Common<WRITES> {
    const WRITES: bool = WRITES;
    #[inline(always)]
    fn result(a: u64, b: u64) -> u64 {
        a & b
    }
    #[inline(always)]
    fn record<T: Int>(exec: &mut Exec<'_>, _: T, _: T, result: T) {
        exec.flags.logic(result);
    }
    #[inline(always)]
    fn below<T: Int>(_: T, _: T) -> bool {
        false
    }
    #[inline(always)]
    fn less<T: Int>(a: T, b: T) -> bool {
        a.zext() & b.zext() & T::SIGN != 0
    }
}

impl First for Decrement {
    const WRITES: bool = true;
    #[inline(always)]
    fn result(a: u64, _: u64) -> u64 {
        a.wrapping_sub(1)
    }
    #[inline(always)]
    fn record<T: Int>(exec: &mut Exec<'_>, a: T, _: T, result: T) {
        exec.flags.dec(a, result);
    }
    #[inline(always)]
    fn below<T: Int>(_: T, _: T) -> bool {
        false
    }
    #[inline(always)]
    fn less<T: Int>(a: T, _: T) -> bool {
        (a.sext() as i64) < 1
    }
}

/// Where the operands of the first instruction are.
trait Operands {
    fn get<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Result<(T, T), Stop>;
}

struct RegisterRegister;
struct RegisterImmediate;
struct RegisterMemory;
struct MemoryRegister;
struct MemoryImmediate;

#[inline(always)]
fn immediate<T: Int>(op: &Op) -> T {
    T::of((op.imm as i64 >> 32) as u64)
}

#[inline(always)]
fn load<T: Int + Value>(exec: &mut Exec<'_>, op: &Op) -> Result<T, Stop> {
    let address = exec.address(op, <T as Int>::BYTES)?;
    exec.load::<T>(address)
}

macro_rules! operands {
    ($name:ident, |$exec:ident, $op:ident| $a:expr, $b:expr) => {
        impl Operands for $name {
            #[inline(always)]
            fn get<T: Int + Value>($exec: &mut Exec<'_>, $op: &Op) -> Result<(T, T), Stop> {
                Ok(($a, $b))
            }
        }
    };
}

operands!(RegisterRegister, |exec, op| exec.reg(op.dst), exec.reg(op.src));
operands!(RegisterImmediate, |exec, op| exec.reg(op.dst), immediate(op));
operands!(RegisterMemory, |exec, op| exec.reg(op.dst), load(exec, op)?);
operands!(MemoryRegister, |exec, op| load(exec, op)?, exec.reg(op.src));
operands!(MemoryImmediate, |exec, op| load(exec, op)?, immediate(op));

fn run<F: First, O: Operands, T: Int + Value, const CODE: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let (a, b) = O::get::<T>(exec, op)?;
    let result = T::of(F::result(a.zext(), b.zext()));
    let equal = || result.zext() == 0;
    let holds = match CODE >> 1 {
        1 => F::below(a, b),
        2 => equal(),
        3 => F::below(a, b) || equal(),
        4 => result.zext() & T::SIGN != 0,
        6 => F::less(a, b),
        _ => F::less(a, b) || equal(),
    };
    if holds != (CODE & 1 != 0) {
        let target = exec.reg::<u64>(BLOCK_IP).wrapping_add(op.imm as i32 as u64);
        if !exec.is_canonical(target) {
            return Err(Stop::Alone);
        }
        exec.rip = target;
    }
    F::record(exec, a, b, result);
    if F::WRITES {
        exec.set_reg(op.dst, result);
    }
    Ok(())
}

/// Chooses by the condition; those of overflow and parity are left to branches by themselves.
macro_rules! by_code {
    ($code:expr, [$($value:literal)*], $first:ty, $operands:ty, $type:ty) => {
        match $code {
            $($value => run::<$first, $operands, $type, $value> as Handler,)*
            _ => return None,
        }
    };
}

/// Chooses by operand size; 16 bits are rare.
macro_rules! by_bytes {
    ($form:expr, [$($bytes:literal $type:ty),*], $code:expr, $codes:tt, $first:ty, $operands:ty) => {
        match $form.bytes() {
            $($bytes => by_code!($code, $codes, $first, $operands, $type),)*
            _ => return None,
        }
    };
}

macro_rules! compare {
    ($form:expr, $code:expr, $operands:ty) => {
        by_bytes!($form, [1 u8, 4 u32, 8 u64], $code, [2 3 4 5 6 7 8 9 12 13 14 15], Difference<false>, $operands)
    };
}

macro_rules! test {
    ($form:expr, $code:expr, $operands:ty) => {
        by_bytes!($form, [1 u8, 4 u32, 8 u64], $code, [4 5 8 9 14 15], Common<false>, $operands)
    };
}

macro_rules! change {
    ($form:expr, $code:expr, $first:ty, $operands:ty) => {
        by_bytes!($form, [4 u32, 8 u64], $code, [4 5 8 9], $first, $operands)
    };
}

fn handler(form: &Form<'_>, code: u8) -> Option<Handler> {
    let operands = (form.is_memory(0), form.is_register(1), form.is_memory(1));
    Some(match (form.instruction.mnemonic(), operands) {
        (Mnemonic::Cmp, (false, true, _)) => compare!(form, code, RegisterRegister),
        (Mnemonic::Cmp, (false, _, true)) => compare!(form, code, RegisterMemory),
        (Mnemonic::Cmp, (false, ..)) => compare!(form, code, RegisterImmediate),
        (Mnemonic::Cmp, (true, true, _)) => compare!(form, code, MemoryRegister),
        (Mnemonic::Cmp, (true, ..)) => compare!(form, code, MemoryImmediate),
        (Mnemonic::Test, (false, true, _)) => test!(form, code, RegisterRegister),
        (Mnemonic::Test, (false, _, false)) => test!(form, code, RegisterImmediate),
        (Mnemonic::Test, (true, true, _)) => test!(form, code, MemoryRegister),
        (Mnemonic::Test, (true, ..)) => test!(form, code, MemoryImmediate),
        (Mnemonic::Sub, (false, true, _)) => change!(form, code, Difference<true>, RegisterRegister),
        (Mnemonic::Sub, (false, _, false)) => change!(form, code, Difference<true>, RegisterImmediate),
        (Mnemonic::And, (false, true, _)) => change!(form, code, Common<true>, RegisterRegister),
        (Mnemonic::And, (false, _, false)) => change!(form, code, Common<true>, RegisterImmediate),
        (Mnemonic::Dec, (false, ..)) => change!(form, code, Decrement, RegisterRegister),
        _ => return None,
    })
}
