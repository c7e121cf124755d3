//! FXSAVE, FXRSTOR, XSAVE, XSAVEOPT and XRSTOR for x87 and SSE state (SDM 1, 10.5 and chapter 13).

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop};
use crate::fp::extended::Extended;
use crate::memory::Value;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::Form;
use crate::ops::sse::MXCSR_MASK;
use crate::registers::gpr::{RAX, RDX};
use crate::state::{Cr0, Cr4, Fpu};

/// x87 in a bitmap of state components.
const X87: u64 = 1;
/// XMM registers and MXCSR.
const SSE: u64 = 2;
/// Bytes of the area that FXSAVE knows.
const LEGACY_BYTES: u32 = 512;
/// With the header of XSAVE.
const AREA_BYTES: u32 = 576;
/// XSTATE_BV within the area.
const XSTATE_BV: u64 = 512;
/// MXCSR and its mask.
const MXCSR: u64 = 24;
/// ST(0); each takes 16 bytes.
const STACK: u64 = 32;
/// XMM0.
const XMM: u64 = 160;

/// Chooses the layout without REX.W.
macro_rules! by_mode {
    ($form:ident, $handler:ident) => {
        if $form.mode.is_64() { $handler::<SHORT> as Handler } else { $handler::<LEGACY> as Handler }
    };
}

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Fxsave => by_mode!(form, fxsave),
        Mnemonic::Fxsave64 => fxsave::<WIDE>,
        Mnemonic::Fxrstor => by_mode!(form, fxrstor),
        Mnemonic::Fxrstor64 => fxrstor::<WIDE>,
        Mnemonic::Xsave => by_mode!(form, xsave),
        Mnemonic::Xsave64 => xsave::<WIDE>,
        Mnemonic::Xsaveopt => by_mode!(form, xsaveopt),
        Mnemonic::Xsaveopt64 => xsaveopt::<WIDE>,
        Mnemonic::Xrstor => by_mode!(form, xrstor),
        Mnemonic::Xrstor64 => xrstor::<WIDE>,
        _ => return None,
    })
}

/// Layouts: 8 XMM registers outside 64-bit mode; 16 with short pointers; 16 with pointers of 64 bits.
const LEGACY: u8 = 0;
const SHORT: u8 = 1;
const WIDE: u8 = 2;

fn fxsave<const LAYOUT: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.fxsave_on()?;
    let area = exec.area(op, LEGACY_BYTES, 16, true)?;
    exec.probe_write(area.0, u64::from(LEGACY_BYTES))?;
    exec.save_x87::<LAYOUT>(area)?;
    exec.save_mxcsr(area)?;
    exec.save_xmm::<LAYOUT>(area)
}

fn fxrstor<const LAYOUT: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.fxsave_on()?;
    let area = exec.area(op, LEGACY_BYTES, 16, false)?;
    // All of it must be there, however much is used.
    exec.load_from::<u64>(area, u64::from(LEGACY_BYTES) - 8)?;
    let mut fpu = exec.state.fpu.clone();
    exec.load_x87::<LAYOUT>(area, &mut fpu)?;
    exec.load_mxcsr(area, &mut fpu)?;
    exec.load_xmm::<LAYOUT>(area, &mut fpu)?;
    exec.state.fpu = fpu;
    Ok(())
}

fn xsave<const LAYOUT: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.xsave::<LAYOUT>(op, false)
}

/// Leaves out what is in its initial state. It never looks for what was not modified since XRSTOR, which it only may.
fn xsaveopt<const LAYOUT: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.xsave::<LAYOUT>(op, true)
}

/// The standard form. The compacted one would come with XSAVEC, so that any format but zero is refused.
fn xrstor<const LAYOUT: u8>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.xsave_on()?;
    let area = exec.area(op, AREA_BYTES, 64, false)?;
    let requested = exec.requested();
    let present: u64 = exec.load_from(area, XSTATE_BV)?;
    let format: u64 = exec.load_from(area, XSTATE_BV + 8)?;
    let reserved: u64 = exec.load_from(area, XSTATE_BV + 16)?;
    if format | reserved != 0 || present & !exec.state.xcr0 != 0 {
        return Err(exec.raise(Fault::GP0));
    }
    let mut fpu = exec.state.fpu.clone();
    if requested & X87 != 0 {
        if present & X87 != 0 {
            exec.load_x87::<LAYOUT>(area, &mut fpu)?;
        } else {
            fpu.initialize_x87();
            fpu.registers = [[0; 10]; 8];
        }
    }
    if requested & SSE != 0 {
        // Whether or not SSE state is present (SDM 1, 13.8.1).
        exec.load_mxcsr(area, &mut fpu)?;
        if present & SSE != 0 {
            exec.load_xmm::<LAYOUT>(area, &mut fpu)?;
        } else {
            let count = registers::<LAYOUT>();
            fpu.xmm.iter_mut().take(count).for_each(|register| *register = 0);
        }
    }
    exec.state.fpu = fpu;
    Ok(())
}

/// How many XMM registers a layout has.
fn registers<const LAYOUT: u8>() -> usize {
    if LAYOUT == LEGACY { 8 } else { 16 }
}

/// Linear address of an area, aligned as it must be.
#[derive(Clone, Copy)]
struct Area(u64);

impl Exec<'_> {
    fn fxsave_on(&mut self) -> Done {
        if self.state.cr0.contains(Cr0::EM) {
            return Err(self.raise(Fault::UD));
        }
        if self.state.cr0.contains(Cr0::TS) { Err(self.raise(Fault::NM)) } else { Ok(()) }
    }

    fn xsave_on(&mut self) -> Done {
        if !self.state.cr4.contains(Cr4::OSXSAVE) {
            return Err(self.raise(Fault::UD));
        }
        if self.state.cr0.contains(Cr0::TS) { Err(self.raise(Fault::NM)) } else { Ok(()) }
    }

    fn area(&mut self, op: &Op, bytes: u32, alignment: u64, write: bool) -> Result<Area, Stop> {
        let offset = self.offset(op);
        let linear = if op.segment.is_flat() {
            offset
        } else {
            self.linear(op.segment.segment(), offset & op.segment.address_mask(), bytes, write)?
        };
        self.aligned(linear, alignment)?;
        Ok(Area(linear))
    }

    fn load_from<T: Value>(&mut self, area: Area, offset: u64) -> Result<T, Stop> {
        self.load(self.wrap_linear(area.0.wrapping_add(offset)))
    }

    fn store_to<T: Value>(&mut self, area: Area, offset: u64, value: T) -> Done {
        self.store(self.wrap_linear(area.0.wrapping_add(offset)), value)
    }

    /// The components that EDX:EAX asks for and XCR0 allows.
    fn requested(&self) -> u64 {
        (u64::from(self.reg::<u32>(RDX)) << 32 | u64::from(self.reg::<u32>(RAX))) & self.state.xcr0
    }

    fn xsave<const LAYOUT: u8>(&mut self, op: &Op, only_in_use: bool) -> Done {
        self.xsave_on()?;
        let area = self.area(op, AREA_BYTES, 64, true)?;
        self.probe_write(area.0, u64::from(AREA_BYTES))?;
        let requested = self.requested();
        let before: u64 = self.load_from(area, XSTATE_BV)?;
        let in_use = self.components_in_use::<LAYOUT>();
        let saved = if only_in_use { requested & in_use } else { requested };
        if saved & X87 != 0 {
            self.save_x87::<LAYOUT>(area)?;
        }
        if requested & SSE != 0 {
            self.save_mxcsr(area)?;
        }
        if saved & SSE != 0 {
            self.save_xmm::<LAYOUT>(area)?;
        }
        self.store_to(area, XSTATE_BV, before & !requested | requested & in_use)
    }

    /// XINUSE (SDM 1, 13.6), which is exact here. MXCSR does not count.
    fn components_in_use<const LAYOUT: u8>(&self) -> u64 {
        let fpu = &self.state.fpu;
        let sse = fpu.xmm.iter().take(registers::<LAYOUT>()).any(|register| *register != 0);
        (if fpu.is_x87_initial() { 0 } else { X87 }) | if sse { SSE } else { 0 }
    }

    fn save_x87<const LAYOUT: u8>(&mut self, area: Area) -> Done {
        let fpu = self.state.fpu.clone();
        let pointer = |address: u64, selector: u16| {
            if LAYOUT == WIDE { address } else { address & 0xffff_ffff | u64::from(selector) << 32 }
        };
        let words = u64::from(fpu.control)
            | u64::from(fpu.status) << 16
            | u64::from(fpu.tags) << 32
            | u64::from(fpu.opcode) << 48;
        let instruction = pointer(fpu.instruction, fpu.selectors[0]);
        self.store_to(area, 0, u128::from(words) | u128::from(instruction) << 64)?;
        self.store_to(area, 16, pointer(fpu.operand, fpu.selectors[1]))?;
        for i in 0..8 {
            let Extended { significand, sign_exponent } = fpu.register(fpu.top() + i);
            let slot = u128::from(significand) | u128::from(sign_exponent) << 64;
            self.store_to(area, STACK + 16 * u64::from(i), slot)?;
        }
        Ok(())
    }

    fn load_x87<const LAYOUT: u8>(&mut self, area: Area, fpu: &mut Fpu) -> Done {
        let pointer = |field: u64| {
            if LAYOUT == WIDE { (field, 0) } else { (field & 0xffff_ffff, (field >> 32) as u16) }
        };
        let words: u64 = self.load_from(area, 0)?;
        let instruction = pointer(self.load_from(area, 8)?);
        let operand = pointer(self.load_from(area, 16)?);
        fpu.status = (words >> 16) as u16;
        fpu.tags = (words >> 32) as u8;
        fpu.opcode = (words >> 48) as u16 & 0x7ff;
        (fpu.instruction, fpu.operand) = (instruction.0, operand.0);
        fpu.selectors = [instruction.1, operand.1];
        fpu.set_control(words as u16);
        for i in 0..8 {
            let slot: u128 = self.load_from(area, STACK + 16 * u64::from(i))?;
            let value = Extended { significand: slot as u64, sign_exponent: (slot >> 64) as u16 };
            fpu.set_register(fpu.top() + i, value);
        }
        Ok(())
    }

    fn save_mxcsr(&mut self, area: Area) -> Done {
        self.store_to(area, MXCSR, u64::from(self.state.fpu.mxcsr) | u64::from(MXCSR_MASK) << 32)
    }

    fn load_mxcsr(&mut self, area: Area, fpu: &mut Fpu) -> Done {
        fpu.mxcsr = self.load_from(area, MXCSR)?;
        if fpu.mxcsr & !MXCSR_MASK == 0 { Ok(()) } else { Err(self.raise(Fault::GP0)) }
    }

    fn save_xmm<const LAYOUT: u8>(&mut self, area: Area) -> Done {
        for i in 0..registers::<LAYOUT>() as u8 {
            self.store_to(area, XMM + 16 * u64::from(i), self.xmm(i))?;
        }
        Ok(())
    }

    fn load_xmm<const LAYOUT: u8>(&mut self, area: Area, fpu: &mut Fpu) -> Done {
        for (i, register) in (0..).zip(fpu.xmm.iter_mut().take(registers::<LAYOUT>())) {
            *register = self.load_from(area, XMM + 16 * i)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
