//! A small machine for tests: code somewhere in low memory, a stack, and nothing on the bus.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

pub mod native;
pub mod versus;

use iced_x86::IcedError;
use iced_x86::code_asm::CodeAssembler;
use ram::GuestRam;

use crate::state::{Attributes, Cr0, Cr4, Efer, Segment, SegmentName};
use crate::{BlockCache, Bus, Cpu, CpuState, Exit, Leave, Slice};

/// Where the code begins.
pub const CODE: u64 = 0x1_0000;
/// Where the stack pointer points to.
pub const STACK: u64 = 0x2_0000;
/// Memory for data.
pub const DATA: u64 = 0x3_0000;
/// All of it. In long mode everything is mapped at its physical address.
pub const BYTES: u64 = 4 << 20;

/// A bus that keeps what was done to it and answers with what it was given. Its 8259 pair says vector 0x31.
#[derive(Debug, Default, PartialEq)]
pub struct Recorder {
    /// What ports read as.
    pub input: u32,
    /// Time, port, size and, if written, value.
    pub ports: Vec<(u64, u16, u8, Option<u32>)>,
    pub messages: Vec<crate::apic::Message>,
    pub ends: Vec<u8>,
}

impl Bus for Recorder {
    fn port_read(&mut self, now: u64, port: u16, size: u8) -> u32 {
        self.ports.push((now, port, size, None));
        self.input
    }
    fn port_write(&mut self, now: u64, port: u16, size: u8, value: u32) {
        self.ports.push((now, port, size, Some(value)));
    }
    fn mmio_read(&mut self, _: u64, _: u64, _: u8) -> u64 {
        u64::MAX
    }
    fn mmio_write(&mut self, _: u64, _: u64, _: u8, _: u64) {}
    fn acknowledge_interrupt(&mut self, _: u64) -> u8 {
        0x31
    }
    fn send_interrupt(&mut self, message: crate::apic::Message) {
        self.messages.push(message);
    }
    fn end_of_interrupt(&mut self, vector: u8) {
        self.ends.push(vector);
    }
}

/// A machine.
pub struct Guest {
    pub cpu: Cpu,
    pub cache: BlockCache,
    pub ram: GuestRam,
    /// Instructions of the code that was assembled.
    pub instructions: u64,
    /// Its length.
    pub code_bytes: u64,
}

impl Guest {
    /// 64-bit mode, privilege level 0.
    pub fn long(code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Self {
        let mut guest = Self::with_state(64, code, flat(1 << 13, 1 << 14));
        let ram = &guest.ram;
        // Large pages, present, writable, for users too.
        ram.write(0x1000, &(0x2000u64 | 7).to_le_bytes()).unwrap();
        ram.write(0x2000, &(0x3000u64 | 7).to_le_bytes()).unwrap();
        for page in 0..BYTES >> 21 {
            ram.write(0x3000 + 8 * page, &(page << 21 | 0x87).to_le_bytes()).unwrap();
        }
        let state = &mut guest.cpu.state;
        state.cr3 = 0x1000;
        state.cr4 = Cr4::PAE;
        state.cr0 = Cr0::PE | Cr0::PG | Cr0::ET;
        state.msrs.efer = Efer::LME | Efer::LMA;
        guest
    }

    /// 32-bit protected mode without paging, privilege level 0.
    pub fn protected(code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Self {
        Self::with_state(32, code, flat(1 << 14, 1 << 14))
    }

    /// Real mode; all segments but CS start at 0.
    pub fn real(code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Self {
        let mut state = CpuState::reset();
        state.segments[SegmentName::Cs as usize] = Segment::real_code((CODE >> 4) as u16);
        let mut guest = Self::with_state(16, code, state);
        guest.cpu.state.rip = 0;
        guest.cpu.state.gpr[4] = 0x8000;
        guest
    }

    fn with_state(
        bits: u32,
        code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
        mut state: CpuState,
    ) -> Self {
        let mut assembler = CodeAssembler::new(bits).unwrap();
        code(&mut assembler).unwrap();
        let bytes = assembler.assemble(if bits == 16 { 0 } else { CODE }).unwrap();
        let ram = GuestRam::new(BYTES).unwrap();
        ram.write(CODE, &bytes).unwrap();
        state.rip = CODE;
        state.gpr[4] = STACK;
        let instructions = assembler.instructions().len() as u64;
        Self {
            cpu: Cpu::new(state),
            cache: BlockCache::new(),
            ram,
            instructions,
            code_bytes: bytes.len() as u64,
        }
    }

    /// Runs this many instructions.
    pub fn run(&mut self, instructions: u64) -> Exit {
        self.cpu.run(&mut self.cache, &self.ram, &mut Recorder::default(), Slice { now: 0, instructions })
    }

    /// Runs this many instructions from this time on, on this bus.
    pub fn run_on(&mut self, bus: &mut dyn Bus, now: u64, instructions: u64) -> Exit {
        self.cpu.run(&mut self.cache, &self.ram, bus, Slice { now, instructions })
    }

    /// Runs the code once from its start to its end; there must be no branch in it.
    pub fn run_through(&mut self) -> &CpuState {
        let exit = self.run(self.instructions);
        assert_eq!((exit.leave, exit.retired), (Leave::Budget, self.instructions), "{:x?}", self.cpu.state);
        &self.cpu.state
    }

    /// A general register.
    pub fn reg(&self, number: u8) -> u64 {
        self.cpu.state.gpr[usize::from(number)]
    }

    /// Bytes of memory.
    pub fn bytes<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.ram.read(address, &mut bytes).unwrap();
        bytes
    }
}

/// Protected mode with flat segments: attributes of code and of data beyond those every one has.
fn flat(code: u32, data: u32) -> CpuState {
    let mut state = CpuState::reset();
    let segment = |selector, attributes| Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        attributes: Attributes(attributes | 1 << 15),
    };
    state.segments = [segment(16, 0x93 | data); 6];
    state.segments[SegmentName::Cs as usize] = segment(8, 0x9b | code);
    state.cr0 = Cr0::PE | Cr0::ET;
    state
}
