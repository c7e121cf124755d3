//! Operands of every kind.

use iced_x86::{Code, Mnemonic, OpCodeOperandKind as Kind, OpKind, Register};

use crate::draft::{Draft, Unfit};

/// Registers an operand can be in.
#[derive(Clone, Copy)]
enum Class {
    R8,
    R16,
    R32,
    R64,
    Mmx,
    Xmm,
    Ymm,
    Zmm,
    Mask,
    Bound,
    Tile,
    X87,
    Segment,
    Control,
    Debug,
}

/// What an operand can be in, if that is a register or memory.
fn class(kind: Kind) -> Option<Class> {
    Some(match kind {
        Kind::r8_or_mem | Kind::r8_reg | Kind::r8_opcode => Class::R8,
        Kind::r16_or_mem | Kind::r16_reg | Kind::r16_rm | Kind::r16_opcode | Kind::r16_reg_mem => Class::R16,
        Kind::r32_or_mem
        | Kind::r32_or_mem_mpx
        | Kind::r32_reg
        | Kind::r32_rm
        | Kind::r32_opcode
        | Kind::r32_vvvv
        | Kind::r32_reg_mem => Class::R32,
        Kind::r64_or_mem
        | Kind::r64_or_mem_mpx
        | Kind::r64_reg
        | Kind::r64_rm
        | Kind::r64_opcode
        | Kind::r64_vvvv
        | Kind::r64_reg_mem => Class::R64,
        Kind::mm_or_mem | Kind::mm_reg | Kind::mm_rm => Class::Mmx,
        Kind::xmm_or_mem
        | Kind::xmm_reg
        | Kind::xmm_rm
        | Kind::xmm_vvvv
        | Kind::xmmp3_vvvv
        | Kind::xmm_is4
        | Kind::xmm_is5 => Class::Xmm,
        Kind::ymm_or_mem | Kind::ymm_reg | Kind::ymm_rm | Kind::ymm_vvvv | Kind::ymm_is4 | Kind::ymm_is5 => {
            Class::Ymm
        }
        Kind::zmm_or_mem | Kind::zmm_reg | Kind::zmm_rm | Kind::zmm_vvvv | Kind::zmmp3_vvvv => Class::Zmm,
        Kind::k_or_mem | Kind::k_reg | Kind::kp1_reg | Kind::k_rm | Kind::k_vvvv => Class::Mask,
        Kind::bnd_or_mem_mpx | Kind::bnd_reg => Class::Bound,
        Kind::tmm_reg | Kind::tmm_rm | Kind::tmm_vvvv => Class::Tile,
        Kind::sti_opcode => Class::X87,
        Kind::seg_reg => Class::Segment,
        Kind::cr_reg => Class::Control,
        Kind::dr_reg => Class::Debug,
        _ => return None,
    })
}

fn may_be_memory(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::r8_or_mem
            | Kind::r16_or_mem
            | Kind::r32_or_mem
            | Kind::r32_or_mem_mpx
            | Kind::r64_or_mem
            | Kind::r64_or_mem_mpx
            | Kind::mm_or_mem
            | Kind::xmm_or_mem
            | Kind::ymm_or_mem
            | Kind::zmm_or_mem
            | Kind::k_or_mem
            | Kind::bnd_or_mem_mpx
    )
}

/// Index of a gather or scatter.
fn vector_index(kind: Kind) -> Option<Register> {
    Some(match kind {
        Kind::mem_vsib32x | Kind::mem_vsib64x => Register::XMM5,
        Kind::mem_vsib32y | Kind::mem_vsib64y => Register::YMM5,
        Kind::mem_vsib32z | Kind::mem_vsib64z => Register::ZMM5,
        _ => return None,
    })
}

impl Draft {
    /// Chooses all operands: those in memory last, since registers that they need may be operands of their own.
    pub fn choose_operands(&mut self) -> Result<(), Unfit> {
        let kinds = self.form.code.op_code().op_kinds();
        let mut in_memory = Vec::new();
        for (operand, kind) in (0..).zip(kinds) {
            if self.choose(operand, *kind)? {
                in_memory.push((operand, *kind));
            }
        }
        self.fix_bit_offset()?;
        for (operand, kind) in in_memory {
            let bytes = self.memory_bytes();
            match kind {
                Kind::mem_offs => self.absolute_operand(operand, bytes)?,
                _ => self.memory_operand(operand, bytes)?,
            }
            if let Some(index) = vector_index(kind) {
                self.instruction.set_memory_index(index);
            }
        }
        Ok(())
    }

    /// How long the memory operand is.
    fn memory_bytes(&self) -> u64 {
        match self.form.code.mnemonic() {
            Mnemonic::Xsave
            | Mnemonic::Xsave64
            | Mnemonic::Xrstor
            | Mnemonic::Xrstor64
            | Mnemonic::Xsaveopt
            | Mnemonic::Xsaveopt64 => 576,
            _ => self.instruction.memory_size().size() as u64,
        }
    }

    /// Chooses an operand unless it is in memory: true then.
    fn choose(&mut self, operand: u32, kind: Kind) -> Result<bool, Unfit> {
        let bits = self.form.bits;
        if let Some(class) = class(kind) {
            let in_memory = may_be_memory(kind) && self.random.once_in(2);
            if !in_memory {
                self.register(operand, class);
            }
            return Ok(in_memory);
        }
        match kind {
            Kind::mem
            | Kind::mem_offs
            | Kind::mem_mpx
            | Kind::mem_mib
            | Kind::mem_vsib32x
            | Kind::mem_vsib64x
            | Kind::mem_vsib32y
            | Kind::mem_vsib64y
            | Kind::mem_vsib32z
            | Kind::mem_vsib64z
            | Kind::sibmem => return Ok(true),
            Kind::es => self.instruction.set_op_register(operand, Register::ES),
            Kind::cs => self.instruction.set_op_register(operand, Register::CS),
            Kind::ss => self.instruction.set_op_register(operand, Register::SS),
            Kind::ds => self.instruction.set_op_register(operand, Register::DS),
            Kind::fs => self.instruction.set_op_register(operand, Register::FS),
            Kind::gs => self.instruction.set_op_register(operand, Register::GS),
            Kind::al => self.instruction.set_op_register(operand, Register::AL),
            Kind::cl => self.instruction.set_op_register(operand, Register::CL),
            Kind::ax => self.instruction.set_op_register(operand, Register::AX),
            Kind::dx => self.instruction.set_op_register(operand, Register::DX),
            Kind::eax => self.instruction.set_op_register(operand, Register::EAX),
            Kind::rax => self.instruction.set_op_register(operand, Register::RAX),
            Kind::st0 => self.instruction.set_op_register(operand, Register::ST0),
            Kind::imm8_const_1 => self.immediate(operand, OpKind::Immediate8, 1),
            Kind::imm4_m2z => {
                let value = self.random.below(4);
                self.immediate(operand, OpKind::Immediate8, value);
            }
            Kind::imm8 if operand > 0 && self.instruction.op_kind(operand - 1) == OpKind::Immediate16 => {
                // Nesting level of ENTER.
                let value = if self.random.once_in(2) { 0 } else { self.random.integer() };
                self.immediate(operand, OpKind::Immediate8_2nd, value & 0xff);
            }
            Kind::imm8 => {
                let value = self.byte();
                self.immediate(operand, OpKind::Immediate8, value);
            }
            Kind::imm16 => {
                let value = self.random.integer() & 0xffff;
                self.immediate(operand, OpKind::Immediate16, value);
            }
            Kind::imm32 => {
                let value = self.random.integer() & 0xffff_ffff;
                self.immediate(operand, OpKind::Immediate32, value);
            }
            Kind::imm64 => {
                let value = self.random.integer();
                self.immediate(operand, OpKind::Immediate64, value);
            }
            Kind::imm8sex16 => self.signed_immediate(operand, OpKind::Immediate8to16),
            Kind::imm8sex32 => self.signed_immediate(operand, OpKind::Immediate8to32),
            Kind::imm8sex64 => self.signed_immediate(operand, OpKind::Immediate8to64),
            Kind::imm32sex64 => {
                let value = self.random.integer() as i32 as i64 as u64;
                self.immediate(operand, OpKind::Immediate32to64, value);
            }
            Kind::seg_rSI | Kind::es_rDI | Kind::seg_rDI => self.string_operand(operand, kind)?,
            Kind::seg_rBX_al => {
                let base = match bits {
                    64 => Register::RBX,
                    32 => Register::EBX,
                    _ => Register::BX,
                };
                self.instruction.set_op_kind(operand, OpKind::Memory);
                self.instruction.set_memory_base(base);
                self.instruction.set_memory_index(Register::AL);
                let al = self.value(Register::AL);
                self.implied_operand(base, 1, true)?;
                let moved = self.value(base).wrapping_sub(al) & u64::MAX >> (64 - bits);
                self.gpr[3] = moved;
            }
            Kind::br16_1 | Kind::br32_1 | Kind::br64_1 => self.near_branch(operand, true),
            Kind::br16_2 | Kind::br32_4 | Kind::br64_4 => self.near_branch(operand, false),
            Kind::farbr2_2 | Kind::farbr4_2 => self.far_branch(operand, kind),
            _ => return Err(Unfit),
        }
        Ok(false)
    }

    /// The vector of INT must not be that of the host's system calls.
    fn byte(&mut self) -> u64 {
        let value = self.random.integer() & 0xff;
        if self.form.code == Code::Int_imm8 && (value == 0x80 || self.random.once_in(2)) {
            return self.random.below(5);
        }
        value
    }

    fn immediate(&mut self, operand: u32, kind: OpKind, value: u64) {
        self.instruction.set_op_kind(operand, kind);
        if kind == OpKind::Immediate8_2nd {
            self.instruction.set_immediate8_2nd(value as u8);
        } else {
            self.instruction.set_immediate_u64(operand, value);
        }
    }

    fn signed_immediate(&mut self, operand: u32, kind: OpKind) {
        let value = self.random.integer() as i8 as i64;
        self.instruction.set_op_kind(operand, kind);
        self.instruction.set_immediate_i64(operand, value);
    }

    fn register(&mut self, operand: u32, class: Class) {
        let number = |random: &mut crate::random::Random, count| random.below(count) as u32;
        let count = self.general_registers();
        let random = &mut self.random;
        let register = match class {
            // AL to BH, then SPL to R15L, which need a REX prefix.
            Class::R8 => Register::AL + number(random, if count == 16 { 20 } else { 8 }),
            Class::R16 => Register::AX + number(random, count),
            Class::R32 => Register::EAX + number(random, count),
            Class::R64 => Register::RAX + number(random, count),
            Class::Mmx => Register::MM0 + number(random, 8),
            Class::Xmm => Register::XMM0 + number(random, count),
            Class::Ymm => Register::YMM0 + number(random, count),
            Class::Zmm => Register::ZMM0 + number(random, count),
            Class::Mask => Register::K0 + number(random, 8),
            Class::Bound => Register::BND0 + number(random, 4),
            Class::Tile => Register::TMM0 + number(random, 8),
            Class::X87 => Register::ST0 + number(random, 8),
            Class::Segment => Register::ES + number(random, 6),
            Class::Control => random.pick(&[Register::CR0, Register::CR2, Register::CR3, Register::CR4]),
            Class::Debug => Register::DR0 + number(random, 8),
        };
        self.instruction.set_op_register(operand, register);
    }

    fn string_operand(&mut self, operand: u32, kind: Kind) -> Result<(), Unfit> {
        // Both operands of MOVS and CMPS have the same address size.
        let bits = match (operand > 0).then(|| self.instruction.op_kind(0)) {
            Some(OpKind::MemoryESRDI | OpKind::MemorySegRSI) => 64,
            Some(OpKind::MemoryESEDI | OpKind::MemorySegESI) => 32,
            Some(OpKind::MemoryESDI | OpKind::MemorySegSI) => 16,
            _ => self.address_bits(),
        };
        let (op_kind, register) = match (kind, bits) {
            (Kind::seg_rSI, 64) => (OpKind::MemorySegRSI, Register::RSI),
            (Kind::seg_rSI, 32) => (OpKind::MemorySegESI, Register::ESI),
            (Kind::seg_rSI, _) => (OpKind::MemorySegSI, Register::SI),
            (Kind::es_rDI, 64) => (OpKind::MemoryESRDI, Register::RDI),
            (Kind::es_rDI, 32) => (OpKind::MemoryESEDI, Register::EDI),
            (Kind::es_rDI, _) => (OpKind::MemoryESDI, Register::DI),
            (_, 64) => (OpKind::MemorySegRDI, Register::RDI),
            (_, 32) => (OpKind::MemorySegEDI, Register::EDI),
            (_, _) => (OpKind::MemorySegDI, Register::DI),
        };
        self.instruction.set_op_kind(operand, op_kind);
        if register.size() == 2 && kind == Kind::es_rDI && self.form.bits != 16 {
            // Below 64 KiB nothing is mapped, and ES seldom has a base.
            let value = self.random.bits() & 0xffff;
            return self.fix(register, value);
        }
        let bytes = self.instruction.memory_size().size() as u64;
        self.implied_operand(register, bytes, kind != Kind::es_rDI)?;
        Ok(())
    }

    /// Bit tests with the bit's number in a register reach far: keep it within a page.
    fn fix_bit_offset(&mut self) -> Result<(), Unfit> {
        let is_bit_test =
            matches!(self.form.code.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc);
        let register = self.instruction.op1_register();
        if !is_bit_test || register == Register::None {
            return Ok(());
        }
        if self.instruction.op0_register() == Register::None {
            let mask = u64::MAX >> (64 - 8 * register.size());
            let near = (self.random.below(1 << 16) as i64 - (1 << 15)) >> self.random.below(16);
            self.fix(register, near as u64 & mask)?;
        }
        Ok(())
    }
}
