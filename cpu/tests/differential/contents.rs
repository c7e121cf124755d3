//! What lies in memory where operands are: values of the right type, and images that an instruction loads.

use iced_x86::{MemorySize, Mnemonic, Register};

use crate::draft::Draft;
use crate::fpu;
use crate::loadable::MM;
use crate::random::Random;

/// Trap flag: what executes next would be stepped, and stepping is the host's business.
const TF: u64 = 1 << 8;
impl Draft {
    /// Fills operands in memory, and the stack if it is read.
    pub fn fill(&mut self) {
        let size = self.instruction.memory_size();
        let alike = self.random.once_in(2).then(|| element(&mut self.random, size));
        for (target, bytes) in self.operands.clone() {
            let content = self.content(size, bytes as usize, alike.as_deref());
            self.memory.put(target, &content);
        }
        if let Some(bytes) = self.stacked() {
            let pointer = self.value(if self.form.bits == 64 { Register::RSP } else { Register::ESP });
            self.memory.put(pointer, &bytes);
        }
    }

    fn content(&mut self, size: MemorySize, bytes: usize, alike: Option<&[u8]>) -> Vec<u8> {
        if self.instruction.is_string_instruction() {
            // Comparisons and searches go on for a while over equal elements.
            return match alike {
                Some(element) => element.repeat(64),
                None => self.random.vector().to_le_bytes().to_vec(),
            };
        }
        match self.form.code.mnemonic() {
            Mnemonic::Ldmxcsr => fpu::mxcsr(&mut self.random).to_le_bytes().to_vec(),
            Mnemonic::Fldcw => fpu::control(&mut self.random).to_le_bytes().to_vec(),
            Mnemonic::Fldenv | Mnemonic::Frstor => self.environment(bytes),
            Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => self.fxsave_image().to_vec(),
            Mnemonic::Xrstor
            | Mnemonic::Xrstor64
            | Mnemonic::Xsave
            | Mnemonic::Xsave64
            | Mnemonic::Xsaveopt
            | Mnemonic::Xsaveopt64 => self.xsave_image(),
            Mnemonic::Lds | Mnemonic::Les | Mnemonic::Lfs | Mnemonic::Lgs | Mnemonic::Lss => {
                let mut bytes_of_pointer = self.random.integer().to_le_bytes()[..bytes - 2].to_vec();
                bytes_of_pointer.extend_from_slice(&self.selector().to_le_bytes());
                bytes_of_pointer
            }
            Mnemonic::Mov | Mnemonic::Lar | Mnemonic::Lsl | Mnemonic::Verr | Mnemonic::Verw
                if size == MemorySize::UInt16 && self.random.once_in(2) =>
            {
                self.selector().to_le_bytes().to_vec()
            }
            _ => {
                let mut content = Vec::new();
                while content.len() < bytes.min(512) {
                    content.extend(element(&mut self.random, size));
                }
                content
            }
        }
    }

    fn fxsave_image(&mut self) -> [u8; 512] {
        let mut image = fpu::image(&mut self.random);
        if self.random.once_in(8) {
            image.put(24, &(self.random.bits() as u32 & !MM).to_le_bytes());
        }
        // Where pointers are.
        image.put(6, &[0; 18]);
        image.0
    }

    /// Area of XSAVE: after the legacy part which components are there, and that it is not compacted. Of the rest of its header
    /// processors check more or less.
    fn xsave_image(&mut self) -> Vec<u8> {
        let mut image = self.fxsave_image().to_vec();
        let garbage = if self.random.once_in(8) { 1 << (16 + self.random.below(40)) } else { 0 };
        let present = self.random.below(4) | garbage;
        let reserved = if self.random.once_in(8) { self.random.below(256) } else { 0 };
        for word in [present, 0, 0, reserved, 0, 0, 0, 0] {
            image.extend_from_slice(&word.to_le_bytes());
        }
        image
    }

    /// Of FLDENV and FRSTOR: three words in slots of 2 or 4 bytes, pointers, registers.
    fn environment(&mut self, bytes: usize) -> Vec<u8> {
        let words = [fpu::control(&mut self.random), self.random.bits() as u16, self.random.bits() as u16];
        let wide = matches!(bytes, 28 | 108);
        let mut image = Vec::new();
        for word in words {
            image.extend_from_slice(&word.to_le_bytes());
            if wide {
                image.extend_from_slice(&[0xff, 0xff]);
            }
        }
        image.resize(if wide { 28 } else { 14 }, 0);
        while image.len() < bytes {
            image.extend_from_slice(&self.random.extended());
        }
        image
    }

    /// What the stack holds for an instruction that gives it a meaning.
    fn stacked(&mut self) -> Option<Vec<u8>> {
        let flags = self.random.bits() & 0x3f_7fff & !TF;
        let mnemonic = self.form.code.mnemonic();
        let wide = self.stack_bytes();
        let words = match mnemonic {
            Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq => vec![flags],
            Mnemonic::Pop => vec![u64::from(self.selector())],
            Mnemonic::Ret => vec![self.destination()],
            Mnemonic::Retf => vec![self.destination(), u64::from(self.code_selector())],
            Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq => {
                let stack = if self.random.once_in(8) { self.selector() } else { 0x2b };
                let pointer = self.random.integer();
                vec![self.destination(), u64::from(self.code_selector()), flags, pointer, u64::from(stack)]
            }
            _ => return None,
        };
        Some(words.iter().flat_map(|word| word.to_le_bytes()[..wide].to_vec()).collect())
    }

    fn stack_bytes(&self) -> usize {
        use iced_x86::Code;
        match self.form.code {
            Code::Popfw | Code::Retnw | Code::Retnw_imm16 | Code::Retfw | Code::Retfw_imm16 | Code::Iretw => {
                2
            }
            Code::Popfd | Code::Retnd | Code::Retnd_imm16 | Code::Retfd | Code::Retfd_imm16 | Code::Iretd => {
                4
            }
            Code::Popfq | Code::Retnq | Code::Retnq_imm16 | Code::Retfq | Code::Retfq_imm16 | Code::Iretq => {
                8
            }
            _ => self.form.bits as usize / 8,
        }
    }
}

/// One element of an operand of this type.
fn element(random: &mut Random, size: MemorySize) -> Vec<u8> {
    match size.element_type() {
        MemorySize::Float32 => random.single().to_le_bytes().to_vec(),
        MemorySize::Float64 => random.double().to_le_bytes().to_vec(),
        MemorySize::Float80 => random.extended().to_vec(),
        MemorySize::Bcd => {
            let digits = |random: &mut Random| (random.below(10) | random.below(10) << 4) as u8;
            let mut bytes: Vec<u8> = (0..9).map(|_| digits(random)).collect();
            bytes.push(random.pick(&[0, 0x80, 0xff]));
            bytes
        }
        other => {
            let bytes = other.size().clamp(1, 8);
            random.integer().to_le_bytes()[..bytes].to_vec()
        }
    }
}
