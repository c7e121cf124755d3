//! MOV and POP of segment registers; LDS, LES, LSS, LFS, LGS.

use iced_x86::{Code, Mnemonic};

use crate::exec::Exec;
use crate::fault::Done;
use crate::op::{Handler, Lowered, Op, last, within};
use crate::ops::Form;
use crate::ops::far::far_pointer;
use crate::registers::gpr::RSP;
use crate::state::{InterruptShadow, SegmentName};

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    let memory = form.is_memory(0);
    match form.instruction.code() {
        Code::Mov_rm16_Sreg | Code::Mov_r32m16_Sreg | Code::Mov_r64m16_Sreg if memory => within(to_memory),
        Code::Mov_rm16_Sreg => within(to_register::<2>),
        Code::Mov_r32m16_Sreg => within(to_register::<4>),
        Code::Mov_r64m16_Sreg => within(to_register::<8>),
        Code::Mov_Sreg_rm16 | Code::Mov_Sreg_r32m16 | Code::Mov_Sreg_r64m16 => {
            last(if form.is_memory(1) { from_memory } else { from_register })
        }
        Code::Popw_ES | Code::Popw_SS | Code::Popw_DS | Code::Popw_FS | Code::Popw_GS => last(pop::<2>),
        Code::Popd_ES | Code::Popd_SS | Code::Popd_DS | Code::Popd_FS | Code::Popd_GS => last(pop::<4>),
        Code::Popq_FS | Code::Popq_GS => last(pop::<8>),
        _ => pointer_handler(form).and_then(last),
    }
}

fn pointer_handler(form: &Form<'_>) -> Option<Handler> {
    let bytes = form.bytes();
    Some(match (form.instruction.mnemonic(), bytes) {
        (Mnemonic::Les, 2) => load_pointer::<{ SegmentName::Es as u8 }, 2>,
        (Mnemonic::Les, _) => load_pointer::<{ SegmentName::Es as u8 }, 4>,
        (Mnemonic::Lds, 2) => load_pointer::<{ SegmentName::Ds as u8 }, 2>,
        (Mnemonic::Lds, _) => load_pointer::<{ SegmentName::Ds as u8 }, 4>,
        (Mnemonic::Lss, 2) => load_pointer::<{ SegmentName::Ss as u8 }, 2>,
        (Mnemonic::Lss, 4) => load_pointer::<{ SegmentName::Ss as u8 }, 4>,
        (Mnemonic::Lss, _) => load_pointer::<{ SegmentName::Ss as u8 }, 8>,
        (Mnemonic::Lfs, 2) => load_pointer::<{ SegmentName::Fs as u8 }, 2>,
        (Mnemonic::Lfs, 4) => load_pointer::<{ SegmentName::Fs as u8 }, 4>,
        (Mnemonic::Lfs, _) => load_pointer::<{ SegmentName::Fs as u8 }, 8>,
        (Mnemonic::Lgs, 2) => load_pointer::<{ SegmentName::Gs as u8 }, 2>,
        (Mnemonic::Lgs, 4) => load_pointer::<{ SegmentName::Gs as u8 }, 4>,
        (Mnemonic::Lgs, _) => load_pointer::<{ SegmentName::Gs as u8 }, 8>,
        _ => return None,
    })
}

/// The segment register of this number.
fn name(number: u8) -> SegmentName {
    match number {
        0 => SegmentName::Es,
        1 => SegmentName::Cs,
        2 => SegmentName::Ss,
        4 => SegmentName::Fs,
        5 => SegmentName::Gs,
        _ => SegmentName::Ds,
    }
}

fn to_memory(exec: &mut Exec<'_>, op: &Op) -> Done {
    let selector = exec.state.segment(name(op.src)).selector;
    let address = exec.address_for_write(op, 2)?;
    exec.store(address, selector)
}

fn to_register<const BYTES: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let selector = exec.state.segment(name(op.src)).selector;
    match BYTES {
        2 => exec.set_reg(op.dst, selector),
        4 => exec.set_reg(op.dst, u32::from(selector)),
        _ => exec.set_reg(op.dst, u64::from(selector)),
    }
    Ok(())
}

fn from_memory(exec: &mut Exec<'_>, op: &Op) -> Done {
    let address = exec.address(op, 2)?;
    let selector = exec.load::<u16>(address)?;
    load(exec, name(op.dst), selector)
}

fn from_register(exec: &mut Exec<'_>, op: &Op) -> Done {
    let selector = exec.reg::<u16>(op.src);
    load(exec, name(op.dst), selector)
}

/// MOV or POP: of SS, it holds interrupts back.
fn load(exec: &mut Exec<'_>, name: SegmentName, selector: u16) -> Done {
    exec.load_segment(name, selector)?;
    if name == SegmentName::Ss {
        exec.state.shadow = InterruptShadow::MovSs;
        exec.attention = true;
    }
    Ok(())
}

fn pop<const BYTES: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let stack = exec.current_stack();
    let selector = exec.peek(&stack, 0, BYTES)? as u16;
    // The new SS has its own idea of how wide the stack pointer is; the pop still goes by the old one.
    let popped = stack.above(u64::from(BYTES));
    load(exec, name(op.dst), selector)?;
    exec.regs[RSP as usize] = popped;
    Ok(())
}

fn load_pointer<const SEGMENT: u8, const BYTES: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let (offset, selector) = far_pointer::<BYTES>(exec, op)?;
    exec.load_segment(name(SEGMENT), selector)?;
    match BYTES {
        2 => exec.set_reg(op.dst, offset as u16),
        4 => exec.set_reg(op.dst, offset as u32),
        _ => exec.set_reg(op.dst, offset),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
