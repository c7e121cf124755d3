//! A case in the making.

use iced_x86::{Instruction, Register};

use crate::arena::Memory;
use crate::case::Form;
use crate::random::Random;

/// What was chosen cannot be encoded, or does not fit together: try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit;

pub struct Draft {
    pub form: Form,
    pub random: Random,
    pub instruction: Instruction,
    pub gpr: [u64; 16],
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
            if form.bits == 32 {
                *register &= 0xffff_ffff;
            }
        }
        Self { form, random, instruction, gpr, fixed: 0, memory: Memory::pristine(), operands: Vec::new() }
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
