//! MOV to and from control registers, CLTS, LMSW, SMSW, XGETBV, XSETBV.

use iced_x86::{Code, Mnemonic};

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop};
use crate::memory::Value;
use crate::op::{Lowered, Op, last, within};
use crate::ops::{Form, by_size};
use crate::registers::{Int, gpr};
use crate::state::{Cr0, Cr4};

/// Bits of CR0 that LMSW writes; it sets PE but never clears it.
const MACHINE_STATUS: u64 = 15;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    let bytes = form.bytes();
    match form.instruction.mnemonic() {
        Mnemonic::Clts => last(clts),
        Mnemonic::Lmsw if form.is_memory(0) => last(lmsw_memory),
        Mnemonic::Lmsw => last(lmsw_register),
        Mnemonic::Smsw if form.is_memory(0) => within(smsw_memory),
        Mnemonic::Smsw => within(by_size!(bytes, smsw_register)),
        Mnemonic::Xgetbv => within(xgetbv),
        Mnemonic::Xsetbv => last(xsetbv),
        _ => match form.instruction.code() {
            Code::Mov_cr_r32 | Code::Mov_cr_r64 => last(by_size!(form.bytes_of(1), write)),
            Code::Mov_r32_cr | Code::Mov_r64_cr => within(by_size!(bytes, read)),
            _ => None,
        },
    }
}

fn write<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let value = exec.reg::<T>(op.src).zext();
    check_number(exec, op.dst)?;
    match op.dst {
        0 => exec.write_cr0(value)?,
        2 => exec.state.cr2 = value,
        3 => exec.write_cr3(value)?,
        4 => exec.write_cr4(value)?,
        _ if value > 15 => return Err(exec.raise(Fault::GP0)),
        _ => exec.state.apic.set_task_priority((value << 4) as u8),
    }
    // A lower task priority may let an interrupt through.
    exec.attention = true;
    Ok(())
}

fn read<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    check_number(exec, op.src)?;
    let value = match op.src {
        0 => exec.state.cr0.bits(),
        2 => exec.state.cr2,
        3 => exec.state.cr3,
        4 => exec.state.cr4.bits(),
        _ => u64::from(exec.state.apic.task_priority() >> 4),
    };
    exec.set_reg(op.dst, T::of(value));
    Ok(())
}

/// There are CR0, 2, 3, 4 and 8; a wrong number comes before a wrong privilege level.
fn check_number(exec: &mut Exec<'_>, number: u8) -> Done {
    if !matches!(number, 0 | 2 | 3 | 4 | 8) {
        return Err(exec.raise(Fault::UD));
    }
    exec.require_supervisor()
}

fn clts(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.require_supervisor()?;
    exec.state.cr0.remove(Cr0::TS);
    Ok(())
}

fn lmsw_register(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.require_supervisor()?;
    let value = exec.reg::<u16>(op.dst);
    lmsw(exec, value)
}

fn lmsw_memory(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.require_supervisor()?;
    let address = exec.address(op, 2)?;
    let value = exec.load::<u16>(address)?;
    lmsw(exec, value)
}

fn lmsw(exec: &mut Exec<'_>, value: u16) -> Done {
    let old = exec.state.cr0;
    let kept = old.bits() & !MACHINE_STATUS | (old & Cr0::PE).bits();
    exec.write_cr0(kept | u64::from(value) & MACHINE_STATUS)
}

fn smsw_register<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.require_umip()?;
    let value = exec.state.cr0.bits();
    exec.set_reg(op.dst, T::of(value));
    Ok(())
}

fn smsw_memory(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.require_umip()?;
    let value = u16::from_bits(u128::from(exec.state.cr0.bits()));
    let address = exec.address_for_write(op, 2)?;
    exec.store::<u16>(address, value)
}

/// ECX, of which only 0, XCR0, exists.
fn extended_control(exec: &mut Exec<'_>) -> Result<(), Stop> {
    if !exec.state.cr4.contains(Cr4::OSXSAVE) {
        return Err(exec.raise(Fault::UD));
    }
    if exec.reg::<u32>(gpr::RCX) != 0 { Err(exec.raise(Fault::GP0)) } else { Ok(()) }
}

fn xgetbv(exec: &mut Exec<'_>, _: &Op) -> Done {
    extended_control(exec)?;
    exec.set_edx_eax(exec.state.xcr0);
    Ok(())
}

fn xsetbv(exec: &mut Exec<'_>, _: &Op) -> Done {
    extended_control(exec)?;
    exec.require_supervisor()?;
    exec.write_xcr0(exec.edx_eax())
}

#[cfg(test)]
mod tests;
