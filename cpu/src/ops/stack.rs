//! PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE; and the stack itself for those who push in passing.

mod flags;
mod frame;

use iced_x86::{Code, Mnemonic};

use crate::exec::Exec;
use crate::fault::{Done, Stop};
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, last, within};
use crate::ops::Form;
use crate::registers::Int;
use crate::registers::gpr::RSP;
use crate::state::SegmentName;

/// An operand that can be pushed.
pub(crate) trait Word: Int + Value {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}

/// Chooses among handlers by the bytes pushed or popped.
macro_rules! by_word {
    ($bytes:expr, $handler:path) => {{
        use $handler as handler;
        match $bytes {
            2 => handler::<u16> as $crate::op::Handler,
            4 => handler::<u32> as $crate::op::Handler,
            _ => handler::<u64> as $crate::op::Handler,
        }
    }};
}
pub(crate) use by_word;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    let bytes = form.instruction.stack_pointer_increment().unsigned_abs();
    match form.instruction.mnemonic() {
        Mnemonic::Push => within(push(form, bytes)?),
        Mnemonic::Pop => within(pop(form, bytes)?),
        Mnemonic::Pusha => within(frame::push_all::<u16>),
        Mnemonic::Pushad => within(frame::push_all::<u32>),
        Mnemonic::Popa => within(frame::pop_all::<u16>),
        Mnemonic::Popad => within(frame::pop_all::<u32>),
        Mnemonic::Pushf => within(flags::push::<u16>),
        Mnemonic::Pushfd => within(flags::push::<u32>),
        Mnemonic::Pushfq => within(flags::push::<u64>),
        Mnemonic::Popf => last(flags::pop::<u16>),
        Mnemonic::Popfd => last(flags::pop::<u32>),
        Mnemonic::Popfq => last(flags::pop::<u64>),
        Mnemonic::Enter => within(by_word!(frame::enter_bytes(form), frame::enter)),
        Mnemonic::Leave => within(by_word!(bytes_of_leave(form), frame::leave)),
        _ => None,
    }
}

/// iced-x86 knows no increment of LEAVE.
fn bytes_of_leave(form: &Form<'_>) -> u32 {
    match form.instruction.code() {
        Code::Leavew => 2,
        Code::Leaved => 4,
        _ => 8,
    }
}

fn push(form: &Form<'_>, bytes: u32) -> Option<Handler> {
    Some(if form.is_memory(0) {
        by_word!(bytes, push_memory)
    } else if !form.is_register(0) {
        by_word!(bytes, push_immediate)
    } else if form.instruction.op_register(0).is_segment_register() {
        by_word!(bytes, push_segment)
    } else {
        by_word!(bytes, push_register)
    })
}

/// POP of a segment register is of the family in `segment_registers.rs`.
fn pop(form: &Form<'_>, bytes: u32) -> Option<Handler> {
    if form.is_memory(0) {
        return Some(by_word!(bytes, pop_memory));
    }
    let general = form.is_register(0) && form.instruction.op_register(0).is_gpr();
    general.then(|| by_word!(bytes, pop_register))
}

impl Exec<'_> {
    /// Bits of the stack pointer that count.
    fn stack_mask(&self) -> u64 {
        u64::MAX >> (64 - self.mode.stack_bits())
    }

    /// Sets as much of the stack pointer as counts.
    #[inline(always)]
    pub(crate) fn set_stack_pointer(&mut self, pointer: u64) {
        match self.mode.stack_bits() {
            64 => self.set_reg(RSP, pointer),
            32 => self.set_reg(RSP, pointer as u32),
            _ => self.set_reg(RSP, pointer as u16),
        }
    }

    /// Linear address of bytes on the stack.
    #[inline(always)]
    fn stack_address(&mut self, pointer: u64, bytes: u32, write: bool) -> Result<u64, Stop> {
        if self.mode.is_64() {
            return Ok(pointer);
        }
        let offset = pointer & self.stack_mask();
        self.linear(SegmentName::Ss, offset, bytes, write)
    }

    /// Reads from the stack.
    #[inline(always)]
    pub(crate) fn load_stack<T: Word>(&mut self, pointer: u64) -> Result<T, Stop> {
        let address = self.stack_address(pointer, u32::from(<T as Int>::BYTES), false)?;
        self.load::<T>(address).map_err(|stop| self.as_stack_fault(stop))
    }

    /// Writes to the stack.
    #[inline(always)]
    pub(crate) fn store_stack<T: Word>(&mut self, pointer: u64, value: T) -> Done {
        let address = self.stack_address(pointer, u32::from(<T as Int>::BYTES), true)?;
        self.store::<T>(address, value).map_err(|stop| self.as_stack_fault(stop))
    }

    /// Makes sure that all of the stack between these may be written, at most a page.
    fn probe_stack(&mut self, pointer: u64, bytes: u32) -> Done {
        let address = self.stack_address(pointer, bytes, true)?;
        self.probe_write(address, u64::from(bytes)).map_err(|stop| self.as_stack_fault(stop))
    }

    /// Pushes.
    ///
    /// # Errors
    /// Whatever the store raises; nothing has changed then.
    #[inline(always)]
    pub(crate) fn push<T: Word>(&mut self, value: T) -> Done {
        let pointer = self.reg::<u64>(RSP).wrapping_sub(u64::from(<T as Int>::BYTES));
        self.store_stack(pointer, value)?;
        self.set_stack_pointer(pointer);
        Ok(())
    }

    /// Pops.
    ///
    /// # Errors
    /// Whatever the load raises; nothing has changed then.
    #[inline(always)]
    pub(crate) fn pop<T: Word>(&mut self) -> Result<T, Stop> {
        let pointer = self.reg::<u64>(RSP);
        let value = self.load_stack(pointer)?;
        self.set_stack_pointer(pointer.wrapping_add(u64::from(<T as Int>::BYTES)));
        Ok(value)
    }
}

fn push_register<T: Word>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.push(exec.reg::<T>(op.dst))
}

fn push_immediate<T: Word>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.push(T::of(op.imm))
}

fn push_memory<T: Word>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, <T as Int>::BYTES)?;
    let value = exec.load::<T>(address)?;
    exec.push(value)
}

fn push_segment<T: Word>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let selector = exec.state.segments.get(usize::from(op.dst)).map_or(0, |segment| segment.selector);
    exec.push(T::of(u64::from(selector)))
}

fn pop_register<T: Word>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let value = exec.pop::<T>()?;
    exec.set_reg(op.dst, value);
    Ok(())
}

/// The address is computed with the stack pointer as it is after the pop (SDM 2B, POP).
fn pop_memory<T: Word>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let before = exec.reg::<u64>(RSP);
    let value = exec.pop::<T>()?;
    let stored = exec.address_for_write(op, <T as Int>::BYTES).and_then(|address| exec.store(address, value));
    if stored.is_err() {
        exec.set_reg(RSP, before);
    }
    stored
}

#[cfg(test)]
mod tests;
