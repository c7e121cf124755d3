//! LGDT, LIDT, SGDT, SIDT, LLDT, LTR, SLDT, STR.

use iced_x86::{Code, Mnemonic};

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop, vector};
use crate::op::{Lowered, Op, last, within};
use crate::ops::Form;
use crate::segmentation::{Descriptor, is_null};
use crate::state::{Attributes, Segment, TableRegister};

/// Type of a TSS that LTR accepts: available, 16 bits (not in long mode) and 32 or 64.
const AVAILABLE_TSS_16: u8 = 0x1;
const AVAILABLE_TSS: u8 = 0x9;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    match form.instruction.code() {
        Code::Lgdt_m1632_16 => last(load_table::<GDT, 3, 4>),
        Code::Lgdt_m1632 => last(load_table::<GDT, 4, 4>),
        Code::Lgdt_m1664 => last(load_table::<GDT, 8, 8>),
        Code::Lidt_m1632_16 => last(load_table::<IDT, 3, 4>),
        Code::Lidt_m1632 => last(load_table::<IDT, 4, 4>),
        Code::Lidt_m1664 => last(load_table::<IDT, 8, 8>),
        Code::Sgdt_m1632_16 | Code::Sgdt_m1632 => within(store_table::<GDT, 4>),
        Code::Sgdt_m1664 => within(store_table::<GDT, 8>),
        Code::Sidt_m1632_16 | Code::Sidt_m1632 => within(store_table::<IDT, 4>),
        Code::Sidt_m1664 => within(store_table::<IDT, 8>),
        _ => selector_handler(form),
    }
}

fn selector_handler(form: &Form<'_>) -> Option<Lowered> {
    let memory = form.is_memory(0);
    match (form.instruction.mnemonic(), form.bytes()) {
        (Mnemonic::Lldt, _) if memory => last(lldt::<true>),
        (Mnemonic::Lldt, _) => last(lldt::<false>),
        (Mnemonic::Ltr, _) if memory => last(ltr::<true>),
        (Mnemonic::Ltr, _) => last(ltr::<false>),
        (Mnemonic::Sldt, _) if memory => within(store_to_memory::<LDT>),
        (Mnemonic::Sldt, 2) => within(store_to_register::<LDT, 2>),
        (Mnemonic::Sldt, 4) => within(store_to_register::<LDT, 4>),
        (Mnemonic::Sldt, _) => within(store_to_register::<LDT, 8>),
        (Mnemonic::Str, _) if memory => within(store_to_memory::<TASK>),
        (Mnemonic::Str, 2) => within(store_to_register::<TASK, 2>),
        (Mnemonic::Str, 4) => within(store_to_register::<TASK, 4>),
        (Mnemonic::Str, _) => within(store_to_register::<TASK, 8>),
        _ => None,
    }
}

const GDT: bool = false;
const IDT: bool = true;
const LDT: bool = false;
const TASK: bool = true;

/// LGDT and LIDT of a base of `BASE` bytes, for which `FIELD` are read.
fn load_table<const WHICH: bool, const BASE: u8, const FIELD: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.require_supervisor()?;
    let address = exec.address(op, 2 + FIELD)?;
    let limit = exec.load::<u16>(address)?;
    let field = exec.wrap_linear(address.wrapping_add(2));
    let base = match BASE {
        3 => u64::from(exec.load::<u32>(field)? & 0xff_ffff),
        4 => u64::from(exec.load::<u32>(field)?),
        _ => exec.load::<u64>(field)?,
    };
    if !exec.is_canonical(base) {
        return Err(exec.raise(Fault::GP0));
    }
    *table::<WHICH>(exec) = TableRegister { base, limit };
    Ok(())
}

/// SGDT and SIDT. The form with 16 bits stores 32 bits of the base too, as all processors since the 386.
fn store_table<const WHICH: bool, const BASE: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.require_umip()?;
    let address = exec.address_for_write(op, 2 + BASE)?;
    exec.probe_write(address, 2 + u64::from(BASE))?;
    let TableRegister { base, limit } = *table::<WHICH>(exec);
    exec.store(address, limit)?;
    let field = exec.wrap_linear(address.wrapping_add(2));
    if BASE == 4 { exec.store(field, base as u32) } else { exec.store(field, base) }
}

fn table<'a, const WHICH: bool>(exec: &'a mut Exec<'_>) -> &'a mut TableRegister {
    if WHICH == IDT { &mut exec.state.idtr } else { &mut exec.state.gdtr }
}

fn selector<const MEMORY: bool>(exec: &mut Exec<'_>, op: &Op) -> Result<u16, Stop> {
    exec.require_protected()?;
    exec.require_supervisor()?;
    if !MEMORY {
        return Ok(exec.reg::<u16>(op.dst));
    }
    let address = exec.address(op, 2)?;
    exec.load::<u16>(address)
}

fn lldt<const MEMORY: bool>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let selector = selector::<MEMORY>(exec, op)?;
    if is_null(selector) {
        exec.state.ldtr = Segment::null(selector, 0);
        return Ok(());
    }
    let descriptor = global_descriptor(exec, selector)?;
    let attributes = descriptor.attributes();
    if attributes.is_code_or_data() || attributes.kind() != Attributes::LDT.kind() {
        return Err(exec.raise(Fault::selector(vector::GP, selector)));
    }
    exec.state.ldtr = system_segment(exec, selector, descriptor)?;
    Ok(())
}

fn ltr<const MEMORY: bool>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let selector = selector::<MEMORY>(exec, op)?;
    if is_null(selector) {
        return Err(exec.raise(Fault::GP0));
    }
    let descriptor = global_descriptor(exec, selector)?;
    let attributes = descriptor.attributes();
    let available = match attributes.kind() {
        AVAILABLE_TSS => true,
        AVAILABLE_TSS_16 => !exec.state.is_long(),
        _ => false,
    };
    if attributes.is_code_or_data() || !available {
        return Err(exec.raise(Fault::selector(vector::GP, selector)));
    }
    let segment = system_segment(exec, selector, descriptor)?;
    let busy = exec.busy(selector, descriptor)?;
    exec.state.tr = Segment { attributes: busy.attributes(), ..segment };
    Ok(())
}

/// A descriptor that must be in the GDT.
fn global_descriptor(exec: &mut Exec<'_>, selector: u16) -> Result<Descriptor, Stop> {
    if selector & 4 != 0 {
        return Err(exec.raise(Fault::selector(vector::GP, selector)));
    }
    exec.descriptor(selector, vector::GP)
}

/// LDTR or TR, present, with all 64 bits of its base in long mode.
fn system_segment(exec: &mut Exec<'_>, selector: u16, descriptor: Descriptor) -> Result<Segment, Stop> {
    if !descriptor.attributes().present() {
        return Err(exec.raise(Fault::selector(vector::NP, selector)));
    }
    let high = exec.upper_half(selector)?;
    let mut segment = descriptor.segment(selector);
    segment.base |= high << 32;
    // The upper half's type field must be zero, or it could be taken for a descriptor (SDM 3A 7.2.3).
    if high >> 40 & 0x1f != 0 || !exec.is_canonical(segment.base) {
        return Err(exec.raise(Fault::selector(vector::GP, selector)));
    }
    Ok(segment)
}

/// SLDT and STR.
fn stored_selector<const WHICH: bool>(exec: &mut Exec<'_>) -> Result<u16, Stop> {
    exec.require_protected()?;
    exec.require_umip()?;
    Ok(if WHICH == TASK { exec.state.tr.selector } else { exec.state.ldtr.selector })
}

fn store_to_memory<const WHICH: bool>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let selector = stored_selector::<WHICH>(exec)?;
    let address = exec.address_for_write(op, 2)?;
    exec.store(address, selector)
}

fn store_to_register<const WHICH: bool, const BYTES: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let selector = stored_selector::<WHICH>(exec)?;
    match BYTES {
        2 => exec.set_reg(op.dst, selector),
        4 => exec.set_reg(op.dst, u32::from(selector)),
        _ => exec.set_reg(op.dst, u64::from(selector)),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
