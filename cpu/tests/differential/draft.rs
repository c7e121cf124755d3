//! A case in the making.

use iced_x86::{Instruction, Register};

use crate::arena::Memory;
use crate::case::Form;
use crate::random::Random;
use crate::segments::{BOUNDED, CODE_16, CODE_32, CODE_64, DATA_16, DATA_FLAT};

/// What was chosen cannot be encoded, or does not fit together: try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit;

pub struct Draft {
    pub form: Form,
    pub random: Random,
    pub instruction: Instruction,
    pub gpr: [u64; 16],
    /// ES, CS, SS, DS, FS, GS.
    pub selectors: [u16; 6],
    /// General registers, by bits, whose values lead somewhere.
    fixed: u32,
    pub memory: Memory,
    /// Where memory operands lie, and how long they are.
    pub operands: Vec<(u64, u64)>,
}

impl Draft {
    pub fn new(form: Form, mut random: Random) -> Self {
        let mut instruction = Instruction::new();
        instruction.set_code(form.code);
        let mut gpr = [0; 16];
        let alike = random.once_in(8);
        let common = random.integer();
        for register in gpr.iter_mut().take(Self::registers_of(form) as usize) {
            *register = if alike { common } else { random.integer() };
            if form.bits != 64 {
                *register &= 0xffff_ffff;
            }
        }
        let selectors = selectors(form, &mut random);
        Self {
            form,
            random,
            instruction,
            gpr,
            selectors,
            fixed: 0,
            memory: Memory::pristine(),
            operands: Vec::new(),
        }
    }

    fn registers_of(form: Form) -> u64 {
        if form.bits == 64 { 16 } else { 8 }
    }

    /// How many general or vector registers the mode has.
    pub fn general_registers(&self) -> u64 {
        Self::registers_of(self.form)
    }

    pub fn note_operand(&mut self, target: u64, bytes: u64) {
        self.operands.push((target, bytes));
    }

    /// Value of a general register, 0 for none.
    pub fn value(&self, register: Register) -> u64 {
        if register == Register::None {
            return 0;
        }
        let whole = self.gpr[register.full_register().number()];
        match register {
            Register::AH | Register::BH | Register::CH | Register::DH => whole >> 8 & 0xff,
            _ => whole & u64::MAX >> (64 - 8 * register.size()),
        }
    }

    pub fn is_fixed(&self, register: Register) -> bool {
        self.fixed & 1 << register.full_register().number() != 0
    }

    /// Its value must not change any more.
    pub fn hold(&mut self, register: Register) {
        if register.is_gpr() {
            self.fixed |= 1 << register.full_register().number();
        }
    }

    /// Gives a register a value for good.
    pub fn fix(&mut self, register: Register, value: u64) -> Result<(), Unfit> {
        let mask = u64::MAX >> (64 - 8 * register.size());
        if self.is_fixed(register) || value & !mask != 0 {
            return Err(Unfit);
        }
        let whole = &mut self.gpr[register.full_register().number()];
        *whole = *whole & !mask | value;
        self.hold(register);
        Ok(())
    }
}

/// Segments to start with: flat ones, or those that 16 bits reach; at times data segments with limits.
fn selectors(form: Form, random: &mut Random) -> [u16; 6] {
    let mut data = |usual| if random.once_in(8) { random.pick(&BOUNDED) } else { usual };
    match form.bits {
        64 => [0, CODE_64, DATA_FLAT, 0, 0, 0],
        32 => [data(DATA_FLAT), CODE_32, DATA_FLAT, data(DATA_FLAT), DATA_FLAT, DATA_FLAT],
        _ => [data(DATA_16), CODE_16, DATA_FLAT, data(DATA_16), DATA_FLAT, DATA_FLAT],
    }
}
