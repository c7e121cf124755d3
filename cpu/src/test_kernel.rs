//! For tests: a machine with the tables of a small kernel, in any mode, and instructions to try on it.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod hostile;
mod programs;

use iced_x86::IcedError;
use iced_x86::code_asm::CodeAssembler;
use ram::GuestRam;

use crate::state::{Attributes, Cr0, Cr4, Efer, Segment, SegmentName, TableRegister};
use crate::testing::Recorder;
use crate::{BlockCache, Cpu, CpuState, Exit, Slice};

/// Where its tables are.
pub const GDT: u64 = 0x1000;
pub const IDT: u64 = 0x2000;
pub const TSS: u64 = 0x3000;
const ROOT: u64 = 0x4000;
/// Entry n maps page n: the first 2 MiB. What lies above is mapped by large pages.
pub const PAGE_TABLE: u64 = 0x7000;
/// Handler of vector n at `HANDLERS + 16 n`.
pub const HANDLERS: u64 = 0x8000;
/// Code under test.
pub const CODE: u64 = 0x1_0000;
/// Stack pointers: the running code's, that of level 0 in the TSS, that of the first entry of the interrupt stack table.
pub const STACK: u64 = 0x2_0000;
pub const KERNEL_STACK: u64 = 0x3_0000;
pub const INTERRUPT_STACK: u64 = 0x4_0000;

/// Selectors.
pub const CODE_64: u16 = 0x08;
pub const DATA_0: u16 = 0x10;
pub const CODE_32_USER: u16 = 0x18 | 3;
pub const DATA_3: u16 = 0x20 | 3;
pub const CODE_64_USER: u16 = 0x28 | 3;
pub const CODE_32: u16 = 0x30;
pub const CODE_16: u16 = 0x38;
pub const DATA_16: u16 = 0x40;
pub const CONFORMING: u16 = 0x48;
pub const ABSENT: u16 = 0x50;
pub const TASK: u16 = 0x58;
/// For the test to fill; two of them.
pub const FREE: u16 = 0x68;

const DESCRIPTORS: [u64; 15] = [
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
    0x00cf_9b00_0000_ffff,
    0x000f_9b00_0000_ffff,
    0x000f_9300_0000_ffff,
    0x00cf_9f00_0000_ffff,
    0x00cf_1300_0000_ffff,
    0x0000_8900_3000_0067,
    0,
    0,
    0,
];

/// The machine.
pub struct Kernel {
    pub cpu: Cpu,
    cache: BlockCache,
    pub ram: GuestRam,
    bits: u32,
}

/// What assembles the code under test.
pub type Code<'a> = &'a dyn Fn(&mut CodeAssembler) -> Result<(), IcedError>;

impl Kernel {
    /// 64-bit mode at level 0, everything mapped where it is, for users as well.
    pub fn long(code: Code<'_>) -> Self {
        let mut kernel = Self::new(64, code);
        for (table, next) in [(ROOT, 0x5000u64), (0x5000, 0x6000), (0x6000, PAGE_TABLE)] {
            kernel.write(table, next | 7);
        }
        for page in 0..512 {
            kernel.write(PAGE_TABLE + 8 * page, page << 12 | 7);
        }
        kernel.write(0x6008, 0x20_0087);
        for vector in 0..=255 {
            kernel.gate(vector, CODE_64, HANDLERS + 16 * u64::from(vector), 0x8e00);
        }
        kernel.write(TSS + 4, KERNEL_STACK);
        kernel.write(TSS + 0x24, INTERRUPT_STACK);
        let state = kernel.state();
        state.cr0 = Cr0::PE | Cr0::PG | Cr0::ET | Cr0::WP;
        state.cr3 = ROOT;
        state.cr4 = Cr4::PAE;
        state.msrs.efer = Efer::LME | Efer::LMA | Efer::SCE;
        kernel.in_segments(CODE_64, DATA_0)
    }

    /// 64-bit mode at level 3.
    pub fn user(code: Code<'_>) -> Self {
        Self::long(code).in_segments(CODE_64_USER, DATA_3)
    }

    /// 32-bit protected mode at level 0, without paging.
    pub fn protected(code: Code<'_>) -> Self {
        let mut kernel = Self::new(32, code);
        for vector in 0..=255 {
            kernel.gate(vector, CODE_32, HANDLERS + 16 * u64::from(vector), 0x8e00);
        }
        kernel.ram.write(TSS + 4, &(KERNEL_STACK as u32).to_le_bytes()).unwrap();
        kernel.ram.write(TSS + 8, &DATA_0.to_le_bytes()).unwrap();
        kernel.state().cr0 = Cr0::PE | Cr0::ET;
        kernel.in_segments(CODE_32, DATA_0)
    }

    /// The same at level 3.
    pub fn protected_user(code: Code<'_>) -> Self {
        Self::protected(code).in_segments(CODE_32_USER, DATA_3)
    }

    /// Real mode, the code at 0x1000:0.
    pub fn real(code: Code<'_>) -> Self {
        let mut kernel = Self::new(16, code);
        for vector in 0..256u64 {
            kernel.ram.write(IDT + 4 * vector, &[0x34, 0x12, vector as u8, 0x40]).unwrap();
        }
        let state = kernel.state();
        state.segments[SegmentName::Cs as usize] = Segment::real_code((CODE >> 4) as u16);
        state.rip = 0;
        state.gpr[4] = 0xff00;
        kernel
    }

    fn new(bits: u32, code: Code<'_>) -> Self {
        let mut state = CpuState::reset();
        state.gdtr = TableRegister { base: GDT, limit: 8 * DESCRIPTORS.len() as u16 - 1 };
        state.idtr = TableRegister { base: IDT, limit: 0xfff };
        state.tr = Segment { selector: TASK, base: TSS, limit: 0x67, attributes: Attributes::BUSY_TSS };
        state.gpr[4] = STACK;
        let kernel = Self {
            cpu: Cpu::new(state),
            cache: BlockCache::new(),
            ram: GuestRam::new(4 << 20).unwrap(),
            bits,
        };
        for (index, descriptor) in DESCRIPTORS.iter().enumerate() {
            kernel.write(GDT + 8 * index as u64, *descriptor);
        }
        kernel.with_code(code)
    }

    fn with_code(self, code: Code<'_>) -> Self {
        let mut kernel = self.with(CODE, code);
        kernel.state().rip = CODE;
        kernel
    }

    /// More code, somewhere else. Real mode has it at the start of a segment.
    pub fn with(self, address: u64, code: Code<'_>) -> Self {
        let mut assembler = CodeAssembler::new(self.bits).unwrap();
        code(&mut assembler).unwrap();
        let bytes = assembler.assemble(if self.bits == 16 { 0 } else { address }).unwrap();
        self.at(address, &bytes)
    }

    fn in_segments(mut self, code: u16, data: u16) -> Self {
        let [code, data] = [code, data].map(|selector| {
            let raw = DESCRIPTORS[usize::from(selector / 8)];
            crate::segmentation::Descriptor(raw).segment(selector)
        });
        self.state().segments = [data; 6];
        self.state().segments[SegmentName::Cs as usize] = code;
        self
    }

    /// Code at an address of its own.
    pub fn at(self, address: u64, bytes: &[u8]) -> Self {
        self.ram.write(address, bytes).unwrap();
        self
    }

    /// The processor.
    pub fn state(&mut self) -> &mut CpuState {
        &mut self.cpu.state
    }

    /// Puts 8 bytes into memory.
    pub fn write(&self, address: u64, value: u64) {
        self.ram.write(address, &value.to_le_bytes()).unwrap();
    }

    /// 8 bytes of memory.
    pub fn read(&self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        self.ram.read(address, &mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    }

    /// What is on the stack in 64-bit mode, from the stack pointer up.
    pub fn stack<const N: usize>(&self) -> [u64; N] {
        let top = self.cpu.state.gpr[4];
        std::array::from_fn(|slot| self.read(top + 8 * slot as u64))
    }

    /// The same in words of 4 bytes.
    pub fn stack_32<const N: usize>(&self) -> [u32; N] {
        let top = self.cpu.state.gpr[4];
        std::array::from_fn(|slot| self.read(top + 4 * slot as u64) as u32)
    }

    /// The same in words of 2 bytes.
    pub fn stack_16<const N: usize>(&self) -> [u16; N] {
        let top = self.cpu.state.gpr[4] & 0xffff;
        std::array::from_fn(|slot| self.read(top + 2 * slot as u64) as u16)
    }

    /// A gate of the interrupt table; `attributes` are bits 32 to 47.
    pub fn gate(&self, vector: u8, selector: u16, offset: u64, attributes: u16) {
        let low = offset & 0xffff
            | u64::from(selector) << 16
            | u64::from(attributes) << 32
            | (offset >> 16 & 0xffff) << 48;
        if self.bits == 64 {
            self.write(IDT + 16 * u64::from(vector), low);
            self.write(IDT + 16 * u64::from(vector) + 8, offset >> 32);
        } else {
            self.write(IDT + 8 * u64::from(vector), low);
        }
    }

    /// A descriptor of the GDT.
    pub fn descriptor(&self, selector: u16, value: u64) {
        self.write(GDT + u64::from(selector & !7), value);
    }

    /// Runs instructions; each delivery of an event counts as one.
    pub fn run(&mut self, instructions: u64) -> Exit {
        self.run_at(0, instructions)
    }

    /// The same at this time.
    pub fn run_at(&mut self, now: u64, instructions: u64) -> Exit {
        let exit =
            self.cpu.run(&mut self.cache, &self.ram, &mut Recorder::default(), Slice { now, instructions });
        self.cpu.flush();
        exit
    }

    /// The vector whose handler is about to run.
    pub fn handler(&self) -> Option<u8> {
        let state = &self.cpu.state;
        let real = state.cr0.contains(Cr0::PE);
        if !real {
            let selector = state.segment(SegmentName::Cs).selector;
            return (state.rip == 0x1234 && selector >> 8 == 0x40).then_some(selector as u8);
        }
        let offset = state.rip.checked_sub(HANDLERS)?;
        (offset % 16 == 0).then_some(())?;
        u8::try_from(offset / 16).ok()
    }
}
