//! A machine that is nothing but processor and memory.

use cpu::apic::Message;
use cpu::state::{Attributes, Cr0, Cr4, Efer, Segment, SegmentName};
use cpu::{BlockCache, Bus, Cpu, CpuState, Exit, Slice};
use iced_x86::IcedError;
use iced_x86::code_asm::CodeAssembler;
use ram::GuestRam;

/// Where the code begins.
const CODE: u64 = 0x1_0000;
/// Where the stack pointer points to.
const STACK: u64 = 0x8_0000;
/// Memory for data, to the end.
pub const DATA: u64 = 0x10_0000;
/// All of it, mapped at its physical address in pages of 4 KiB.
const BYTES: u64 = 16 << 20;

/// Tables: one of each upper level, then one for each 2 MiB.
const ROOT: u64 = 0x1000;

/// A guest that cannot be set up.
#[derive(Debug)]
pub enum GuestError {
    /// Its code cannot be assembled.
    Code(IcedError),
    /// Its memory cannot be had, or the code does not fit.
    Memory(String),
}

/// A bus nobody is connected to.
struct NoBus;

impl Bus for NoBus {
    fn port_read(&mut self, _: u64, _: u16, _: u8) -> u32 {
        u32::MAX
    }
    fn port_write(&mut self, _: u64, _: u16, _: u8, _: u32) {}
    fn mmio_read(&mut self, _: u64, _: u64, _: u8) -> u64 {
        u64::MAX
    }
    fn mmio_write(&mut self, _: u64, _: u64, _: u8, _: u64) {}
    fn acknowledge_interrupt(&mut self, _: u64) -> u8 {
        0xff
    }
    fn send_interrupt(&mut self, _: Message) {}
    fn end_of_interrupt(&mut self, _: u8) {}
}

/// A processor in 64-bit mode at privilege level 3, with paging, about to run a program that never ends.
pub struct Guest {
    cpu: Cpu,
    cache: BlockCache,
    ram: GuestRam,
}

impl Guest {
    /// With this code.
    ///
    /// # Errors
    /// [`GuestError`].
    pub fn new(
        program: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
    ) -> Result<Self, GuestError> {
        let mut assembler = CodeAssembler::new(64).map_err(GuestError::Code)?;
        program(&mut assembler).map_err(GuestError::Code)?;
        let code = assembler.assemble(CODE).map_err(GuestError::Code)?;
        let ram = GuestRam::new(BYTES).map_err(|error| GuestError::Memory(error.to_string()))?;
        let write = |address: u64, bytes: &[u8]| {
            ram.write(address, bytes).map_err(|error| GuestError::Memory(error.to_string()))
        };
        write(CODE, &code)?;
        let table = |number: u64| ROOT + 0x1000 * number;
        write(table(0), &(table(1) | 7).to_le_bytes())?;
        write(table(1), &(table(2) | 7).to_le_bytes())?;
        for number in 0..BYTES >> 21 {
            write(table(2) + 8 * number, &(table(3 + number) | 7).to_le_bytes())?;
        }
        for page in 0..BYTES >> 12 {
            write(table(3) + 8 * page, &(page << 12 | 7).to_le_bytes())?;
        }
        Ok(Self { cpu: Cpu::new(state()), cache: BlockCache::new(), ram })
    }

    /// Runs this many instructions.
    pub fn run(&mut self, instructions: u64) -> Exit {
        self.cpu.run(&mut self.cache, &self.ram, &mut NoBus, Slice { now: 0, instructions })
    }

    /// A general register.
    pub fn register(&self, number: usize) -> u64 {
        self.cpu.state.gpr.get(number).copied().unwrap_or_default()
    }
}

fn state() -> CpuState {
    let segment = |selector, attributes| Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        attributes: Attributes(attributes).with_dpl(3),
    };
    let mut state = CpuState::reset();
    state.segments = [segment(0x13, 0xc093); 6];
    state.segments[SegmentName::Cs as usize] = segment(0xb, 0xa09b);
    state.rip = CODE;
    state.gpr[4] = STACK;
    state.cr0 = Cr0::PE | Cr0::PG | Cr0::WP | Cr0::ET;
    state.cr3 = ROOT;
    state.cr4 = Cr4::PAE;
    state.msrs.efer = Efer::LME | Efer::LMA | Efer::NXE;
    state
}
