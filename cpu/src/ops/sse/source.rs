//! Where the second operand of an instruction comes from.

use crate::exec::Exec;
use crate::fault::Stop;
use crate::memory::Value;
use crate::op::Op;

/// A place to read from.
pub(crate) trait Source {
    /// The operand, zero extended.
    fn read(exec: &mut Exec<'_>, op: &Op) -> Result<u128, Stop>;
}

/// An XMM register.
pub(crate) struct Register;

impl Source for Register {
    #[inline(always)]
    fn read(exec: &mut Exec<'_>, op: &Op) -> Result<u128, Stop> {
        Ok(exec.xmm(op.src))
    }
}

/// 16 bytes of memory, which must be aligned (SDM 1, 4.10.2).
pub(crate) struct Aligned;

impl Source for Aligned {
    #[inline(always)]
    fn read(exec: &mut Exec<'_>, op: &Op) -> Result<u128, Stop> {
        let address = exec.address(op, 16)?;
        exec.aligned(address, 16)?;
        exec.load(address)
    }
}

/// As many bytes of memory, wherever they lie.
pub(crate) struct Memory<T>(T);

impl<T: Value> Source for Memory<T> {
    #[inline(always)]
    fn read(exec: &mut Exec<'_>, op: &Op) -> Result<u128, Stop> {
        exec.load_operand::<T>(op)
    }
}

/// The immediate byte: a shift count.
pub(crate) struct Immediate;

impl Source for Immediate {
    #[inline(always)]
    fn read(_: &mut Exec<'_>, op: &Op) -> Result<u128, Stop> {
        Ok(u128::from(op.imm as u8))
    }
}

/// Chooses among handlers that differ in the source of the second operand only; 16 bytes of memory have to be aligned.
macro_rules! by_source {
    ($form:expr, $handler:ident $(, $argument:ty)*) => {
        match ($form.kind(1), $form.bytes_of(1)) {
            (iced_x86::OpKind::Memory, 2) => {
                $handler::<$($argument,)* $crate::ops::sse::source::Memory<u16>> as $crate::op::Handler
            }
            (iced_x86::OpKind::Memory, 4) => $handler::<$($argument,)* $crate::ops::sse::source::Memory<u32>>,
            (iced_x86::OpKind::Memory, 8) => $handler::<$($argument,)* $crate::ops::sse::source::Memory<u64>>,
            (iced_x86::OpKind::Memory, _) => $handler::<$($argument,)* $crate::ops::sse::source::Aligned>,
            (iced_x86::OpKind::Immediate8, _) => $handler::<$($argument,)* $crate::ops::sse::source::Immediate>,
            _ => $handler::<$($argument,)* $crate::ops::sse::source::Register>,
        }
    };
}
pub(crate) use by_source;
