//! What single instructions need beyond random operands, to do something and not only to fault.

use iced_x86::{Code, FlowControl, Mnemonic, OpKind, Register};

use crate::arena::{PAGE, STACK};
use crate::draft::{Draft, Unfit};

impl Draft {
    /// Registers that an instruction implies, and its prefixes. To be called before operands are chosen.
    pub fn prepare(&mut self) -> Result<(), Unfit> {
        let op_code = self.form.code.op_code();
        let may_repeat = op_code.can_use_rep_prefix() || op_code.can_use_repne_prefix();
        if may_repeat && !self.random.once_in(3) {
            if op_code.can_use_repne_prefix() && (!op_code.can_use_rep_prefix() || self.random.once_in(2)) {
                self.instruction.set_has_repne_prefix(true);
            } else {
                self.instruction.set_has_rep_prefix(true);
            }
            let count = self.count();
            self.fix(Register::RCX, count)?;
        }
        if op_code.is_stack_instruction() || self.form.code.mnemonic() == Mnemonic::Leave {
            self.prepare_stack()?;
        }
        match self.form.code.mnemonic() {
            Mnemonic::Loop
            | Mnemonic::Loope
            | Mnemonic::Loopne
            | Mnemonic::Jcxz
            | Mnemonic::Jecxz
            | Mnemonic::Jrcxz => {
                let value = if self.random.once_in(2) { self.random.below(3) } else { self.random.integer() };
                let kept = self.gpr[1] & self.random.pick(&[0, !0xffff, !0xffff_ffff]);
                self.fix(Register::RCX, kept | value & self.mode_mask())?;
            }
            // No state components but x87 and SSE: the host has others.
            Mnemonic::Xsave
            | Mnemonic::Xsave64
            | Mnemonic::Xsaveopt
            | Mnemonic::Xsaveopt64
            | Mnemonic::Xrstor
            | Mnemonic::Xrstor64 => {
                let components = self.random.below(4);
                self.fix(Register::RAX, components)?;
                self.fix(Register::RDX, 0)?;
            }
            // XCR0 only: with 1 in ECX newer processors have more to say.
            Mnemonic::Xgetbv => {
                let number = if self.random.once_in(2) { 0 } else { 2 + self.random.below(100) };
                self.fix(Register::RCX, number)?;
            }
            Mnemonic::Div | Mnemonic::Idiv if !self.random.once_in(4) => {
                let small = self.random.below(64);
                self.gpr[2] = self.random.pick(&[0, self.mode_mask(), small]);
                if self.random.once_in(2) {
                    self.gpr[0] &= 0xff;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Lock prefix and mask register, once operands are known.
    pub fn finish_prefixes(&mut self) {
        let op_code = self.form.code.op_code();
        if op_code.can_use_lock_prefix()
            && self.instruction.op0_kind() == OpKind::Memory
            && self.random.once_in(4)
        {
            self.instruction.set_has_lock_prefix(true);
        }
        if op_code.require_op_mask_register() {
            self.instruction.set_op_mask(Register::K1);
        }
    }

    fn mode_mask(&self) -> u64 {
        u64::MAX >> (64 - self.form.bits)
    }

    /// Repetitions: some, enough to leave the arena, or far too many.
    fn count(&mut self) -> u64 {
        let count = match self.random.below(8) {
            0 => 0,
            1..5 => self.random.below(40),
            5 => self.random.below(3 * PAGE),
            // With an address size that leaves out these bits it is 0, or small.
            6 => (self.random.below(2) << 32 | self.random.below(2) << 16) + self.random.below(4),
            _ => self.random.integer(),
        };
        count & self.mode_mask()
    }

    fn prepare_stack(&mut self) -> Result<(), Unfit> {
        let wide = u64::from(self.form.bits) / 8;
        let random = &mut self.random;
        let pointer = |random: &mut crate::random::Random| match random.below(16) {
            0 => STACK.end - random.below(8 * wide),
            1 => STACK.start + random.below(8 * wide),
            2 => STACK.start + PAGE + random.below(4 * wide) - 2 * wide,
            3 => STACK.start + random.below(2 * PAGE),
            _ => STACK.start + PAGE / 2 + random.below(PAGE / wide) * wide,
        };
        let (stack, mut frame) = (pointer(random), pointer(random));
        if self.form.bits == 64 && random.once_in(32) {
            frame = random.bits() | 1 << 62;
        }
        self.fix(Register::RSP, stack)?;
        if matches!(self.form.code.mnemonic(), Mnemonic::Leave | Mnemonic::Enter) {
            self.fix(Register::RBP, frame)?;
        }
        Ok(())
    }

    /// Registers that only make sense together with operands that are known now.
    pub fn relate(&mut self) -> Result<(), Unfit> {
        match self.form.code.mnemonic() {
            Mnemonic::Cmpxchg if self.random.once_in(2) => {
                let accumulator = match self.instruction.op1_register().size() {
                    1 => Register::AL,
                    2 => Register::AX,
                    4 => Register::EAX,
                    _ => Register::RAX,
                };
                let destination = self.instruction.op0_register();
                let value = self.value(accumulator);
                if destination == Register::None {
                    self.put_operand(&value.to_le_bytes()[..accumulator.size()]);
                } else if destination.full_register() != Register::RAX && !destination_is_high(destination) {
                    self.fix(destination, value)?;
                }
            }
            Mnemonic::Cmpxchg8b if self.random.once_in(2) => {
                let value = self.value(Register::EDX) << 32 | self.value(Register::EAX);
                self.put_operand(&value.to_le_bytes());
            }
            Mnemonic::Cmpxchg16b if self.random.once_in(2) => {
                let value = u128::from(self.gpr[2]) << 64 | u128::from(self.gpr[0]);
                self.put_operand(&value.to_le_bytes());
            }
            Mnemonic::Bound if self.random.once_in(2) => {
                let register = self.instruction.op0_register();
                let value = self.value(register).to_le_bytes();
                let bytes = [&value[..register.size()], &value[..register.size()]].concat();
                self.put_operand(&bytes);
            }
            _ => self.relate_branch()?,
        }
        Ok(())
    }

    /// Targets of indirect branches.
    fn relate_branch(&mut self) -> Result<(), Unfit> {
        if !matches!(self.form.code.flow_control(), FlowControl::IndirectBranch | FlowControl::IndirectCall) {
            return Ok(());
        }
        let target = self.destination();
        let register = self.instruction.op0_register();
        if register != Register::None {
            let mask = u64::MAX >> (64 - 8 * register.size());
            return self.fix(register, target & mask);
        }
        let selector = self.code_selector();
        let bytes = self.instruction.memory_size().size();
        let mut pointer = target.to_le_bytes().to_vec();
        if is_far(self.form.code) {
            pointer.truncate(bytes - 2);
            pointer.extend_from_slice(&selector.to_le_bytes());
        }
        self.put_operand(&pointer[..bytes]);
        Ok(())
    }

    /// Content of the memory operand.
    pub fn put_operand(&mut self, bytes: &[u8]) {
        if let Some((target, _)) = self.operands.last() {
            self.memory.put(*target, bytes);
        }
    }
}

fn destination_is_high(register: Register) -> bool {
    matches!(register, Register::AH | Register::BH | Register::CH | Register::DH)
}

fn is_far(code: Code) -> bool {
    code.is_jmp_far_indirect() || code.is_call_far_indirect()
}
