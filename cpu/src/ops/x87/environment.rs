//! FNSTENV, FLDENV, FNSAVE, FRSTOR (SDM 1, 8.1.10 and 8.1.11).

use iced_x86::Code;

use crate::exec::Exec;
use crate::fault::{Done, Stop};
use crate::flags::RFlags;
use crate::fp::extended::Extended;
use crate::memory::Value;
use crate::op::{Lowered, Op, within};
use crate::ops::Form;
use crate::state::{Fpu, status};

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.code() {
        Code::Fnstenv_m14byte => fnstenv::<u16>,
        Code::Fnstenv_m28byte => fnstenv::<u32>,
        Code::Fldenv_m14byte => fldenv::<u16>,
        Code::Fldenv_m28byte => fldenv::<u32>,
        Code::Fnsave_m94byte => fnsave::<u16>,
        Code::Fnsave_m108byte => fnsave::<u32>,
        Code::Frstor_m94byte => frstor::<u16>,
        Code::Frstor_m108byte => frstor::<u32>,
        _ => return None,
    })
}

/// An environment is seven fields of 16 or 32 bits.
trait Field: Value {
    /// Bytes of all of them.
    const ALL: u8 = 7 * Self::BYTES as u8;
    /// From a word, with what the processor fills it up with.
    fn word(word: u16) -> Self;
    /// What real mode keeps above bits 15:0 of an address, beside 11 bits of opcode.
    fn real_high(address: u64) -> u32;
}

impl Field for u16 {
    fn word(word: u16) -> Self {
        word
    }
    fn real_high(address: u64) -> u32 {
        (address >> 16 & 0xf) as u32
    }
}

impl Field for u32 {
    fn word(word: u16) -> Self {
        0xffff_0000 | u32::from(word)
    }
    fn real_high(address: u64) -> u32 {
        (address >> 16 & 0xffff) as u32
    }
}

fn field<F: Field>(bits: u64) -> F {
    F::from_bits(u128::from(bits) & (u128::MAX >> (128 - 8 * F::BYTES)))
}

impl Fpu {
    /// Two bits for each physical register, made of what they hold.
    fn tag_word(&self) -> u16 {
        (0..8).fold(0, |word, register| {
            let empty = self.tags >> register & 1 == 0;
            word | if empty { 3 } else { self.register(register).tag() } << (2 * register)
        })
    }

    /// Only whether a register is empty is taken from a tag word.
    fn set_tag_word(&mut self, word: u16) {
        self.tags = (0..8).filter(|i| word >> (2 * i) & 3 != 3).fold(0, |tags, i| tags | 1 << i);
    }

    fn environment<F: Field>(&self, real: bool) -> [F; 7] {
        let [cs, ds] = self.selectors.map(u64::from);
        let opcode = u64::from(self.opcode);
        let pointers = if real {
            [
                self.instruction & 0xffff,
                u64::from(F::real_high(self.instruction)) << 12 | opcode,
                self.operand & 0xffff,
                u64::from(F::real_high(self.operand)) << 12,
            ]
        } else {
            [self.instruction, cs | opcode << 16, self.operand, ds]
        };
        let [ip, ip_high, dp, dp_high] = pointers.map(field);
        // The selector of the operand is a word of its own.
        let dp_high = if real { dp_high } else { F::word(self.selectors[1]) };
        [F::word(self.control), F::word(self.status), F::word(self.tag_word()), ip, ip_high, dp, dp_high]
    }

    fn set_environment<F: Field>(&mut self, fields: [F; 7], real: bool) {
        let [control, status, tags, ip, ip_high, dp, dp_high] = fields.map(|field| field.to_bits() as u64);
        self.status = status as u16;
        self.set_tag_word(tags as u16);
        if real {
            self.instruction = ip & 0xffff | ip_high >> 12 << 16;
            self.operand = dp & 0xffff | dp_high >> 12 << 16;
            self.selectors = [0; 2];
            self.opcode = (ip_high & 0x7ff) as u16;
        } else {
            self.instruction = ip;
            self.operand = dp;
            self.selectors = [ip_high as u16, dp_high as u16];
            self.opcode = (ip_high >> 16 & 0x7ff) as u16;
        }
        self.set_control(control as u16);
    }
}

fn fnstenv<F: Field>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_on()?;
    let address = exec.address_for_write(op, F::ALL)?;
    exec.probe_write(address, u64::from(F::ALL))?;
    exec.store_environment::<F>(address)?;
    let control = exec.state.fpu.control;
    exec.state.fpu.set_control(control | status::EXCEPTIONS);
    Ok(())
}

fn fldenv<F: Field>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let address = exec.address(op, F::ALL)?;
    let fields = exec.load_environment::<F>(address)?;
    let real = exec.has_real_pointers();
    exec.state.fpu.set_environment(fields, real);
    Ok(())
}

fn fnsave<F: Field>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_on()?;
    let address = exec.address_for_write(op, F::ALL + 80)?;
    exec.probe_write(address, u64::from(F::ALL) + 80)?;
    exec.store_environment::<F>(address)?;
    for i in 0..8 {
        let place = address.wrapping_add(u64::from(F::ALL + 10 * i));
        for (word, bytes) in (0..).zip(exec.state.fpu.st(i).to_bytes().chunks_exact(2)) {
            let value = u16::from_le_bytes([bytes[0], bytes[1]]);
            exec.store(exec.wrap_linear(place.wrapping_add(2 * word)), value)?;
        }
    }
    exec.state.fpu.initialize_x87();
    Ok(())
}

fn frstor<F: Field>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.x87_ready()?;
    let address = exec.address(op, F::ALL + 80)?;
    let fields = exec.load_environment::<F>(address)?;
    let mut registers = [Extended::ZERO; 8];
    for (i, register) in (0..8).zip(&mut registers) {
        let place = address.wrapping_add(u64::from(F::ALL + 10 * i));
        let mut bytes = [0; 10];
        for (word, bytes) in (0..).zip(bytes.chunks_exact_mut(2)) {
            let value: u16 = exec.load(exec.wrap_linear(place.wrapping_add(2 * word)))?;
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        *register = Extended::from_bytes(bytes);
    }
    let real = exec.has_real_pointers();
    let fpu = &mut exec.state.fpu;
    fpu.set_environment(fields, real);
    for (i, register) in (0..8).zip(registers) {
        fpu.set_register(fpu.top() + i, register);
    }
    Ok(())
}

impl Exec<'_> {
    /// Real and virtual-8086 mode have linear addresses in place of selectors.
    fn has_real_pointers(&self) -> bool {
        !self.state.is_protected() || self.flags.system().contains(RFlags::VM)
    }

    fn store_environment<F: Field>(&mut self, address: u64) -> Done {
        let fields: [F; 7] = self.state.fpu.environment(self.has_real_pointers());
        for (i, field) in (0..).zip(fields) {
            self.store(self.wrap_linear(address.wrapping_add(i * F::BYTES as u64)), field)?;
        }
        Ok(())
    }

    fn load_environment<F: Field>(&mut self, address: u64) -> Result<[F; 7], Stop> {
        let mut fields = [F::word(0); 7];
        for (i, field) in (0..).zip(&mut fields) {
            *field = self.load(self.wrap_linear(address.wrapping_add(i * F::BYTES as u64)))?;
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests;
