//! Our processor in the same place: a kernel of sorts around the arena, whose every interrupt gate leads to a HLT of its own.
//!
//! Segments are those of Linux, and the local ones that the host was given, so that selectors mean the same to both.

use cpu::apic::Message;
use cpu::exec::Missing;
use cpu::state::{Activity, Attributes, Cr0, Cr4, Efer, InterruptShadow, Segment, TableRegister};
use cpu::{BlockCache, Bus, Cpu, CpuState, Leave, Slice};
use ram::GuestRam;

use crate::arena::{CODE, INT3, Memory, PAGE, PARTS, READ_ONLY, RESERVED, STACK};
use crate::case::{Case, FpuImage, Outcome, Registers};
use crate::native::has_local_table;
use crate::segments::{GLOBAL, LOCAL, descriptor};

/// Where the kernel sees all of memory.
const KERNEL: u64 = 0xffff_8000_0000_0000;
const GDT: u64 = 0x8000;
const LDT: u64 = 0x8800;
const TSS: u64 = 0x9000;
const IDT: u64 = 0xa000;
/// One HLT for each vector.
const HANDLERS: u64 = 0xb000;
const STACK_TOP: u64 = 0xd000;
const TABLES: u64 = 0x1000;
/// First frame of the arena; its pages follow in no order, so that neighbours are no neighbours in memory.
const ARENA_FRAMES: u64 = 0x20;
const BYTES: u64 = 0x60 * PAGE;
/// No case takes longer: the longest repeats over all of the arena, byte by byte.
const MOST_INSTRUCTIONS: u64 = 1 << 16;

const TASK: u64 = KERNEL + TSS;

/// The rest of the GDT: the TSS and the LDT, 16 bytes each, as far as Linux goes.
const SYSTEM: [u64; 9] = [
    0,
    0x0000_8b00_0000_0067 | (TASK & 0xff_ffff) << 16 | (TASK >> 24 & 0xff) << 56,
    TASK >> 32,
    0,
    0,
    0,
    0,
    0,
    0,
];

/// Why there is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Missing(Missing),
    Endless,
    TripleFault,
}

/// A processor with memory.
pub struct Interpreted {
    cpu: Cpu,
    cache: BlockCache,
    ram: GuestRam,
    kernel: CpuState,
}

impl Interpreted {
    pub fn new() -> Self {
        let ram = GuestRam::new(BYTES).expect("memory");
        map(&ram);
        write_words(&ram, GDT, &[&GLOBAL[..], &SYSTEM].concat());
        write_words(&ram, LDT, &LOCAL.map(|local| local.descriptor()));
        // RSP0 is at offset 4; the I/O bitmap begins at the limit.
        write_words(&ram, TSS, &[(KERNEL + STACK_TOP) << 32, (KERNEL + STACK_TOP) >> 32]);
        ram.write(TSS + 0x66, &[0x68, 0]).expect("TSS");
        for vector in 0..256 {
            let handler = KERNEL + HANDLERS + vector;
            let level = if matches!(vector, 3 | 4) { 3 } else { 0 };
            let low =
                handler & 0xffff | 0x10 << 16 | (0x8e | level << 5) << 40 | (handler >> 16 & 0xffff) << 48;
            write_words(&ram, IDT + 16 * vector, &[low, handler >> 32]);
        }
        ram.write(HANDLERS, &[0xf4; 256]).expect("handlers");
        for page in CODE.step_by(PAGE as usize) {
            ram.write(frame_of(page) * PAGE, &[INT3; PAGE as usize]).expect("code");
        }
        for (page, bytes) in
            READ_ONLY.step_by(PAGE as usize).zip(Memory::pristine().part(&READ_ONLY).chunks(PAGE as usize))
        {
            ram.write(frame_of(page) * PAGE, bytes).expect("read-only page");
        }
        let kernel = kernel_state();
        Self { cpu: Cpu::new(kernel.clone()), cache: BlockCache::new(), ram, kernel }
    }

    /// Runs a case in slices of so many instructions.
    pub fn run(&mut self, case: &Case, slice: u64) -> Result<Outcome, Failure> {
        self.put_memory(&case.memory);
        self.put(case.linear_ip(), &case.bytes);
        self.cpu.state = self.user_state(&case.registers);
        self.cpu.flush();
        let mut now = 0;
        let mut left = MOST_INSTRUCTIONS;
        let leave = loop {
            let exit =
                self.cpu.run(&mut self.cache, &self.ram, &mut Nobody, Slice { now, instructions: slice });
            now += exit.retired * cpu::NS_PER_INSTRUCTION + exit.spent;
            left = left.saturating_sub(exit.retired.max(1));
            if left == 0 || !matches!(exit.leave, Leave::Budget | Leave::Bus | Leave::Pause) {
                break exit.leave;
            }
        };
        self.put(case.linear_ip(), &vec![INT3; case.bytes.len()]);
        match leave {
            Leave::Halted => Ok(self.outcome()),
            Leave::Missing(missing) => Err(Failure::Missing(missing)),
            Leave::Shutdown => Err(Failure::TripleFault),
            Leave::Budget | Leave::Bus | Leave::Pause => Err(Failure::Endless),
        }
    }

    fn user_state(&self, registers: &Registers) -> CpuState {
        let mut state = self.kernel.clone();
        state.gpr = registers.gpr;
        state.rip = registers.rip;
        state.rflags = registers.rflags;
        for (register, selector) in state.segments.iter_mut().zip(registers.selectors) {
            *register = if selector == 0 { Segment::null(0, 3) } else { segment(selector) };
        }
        (state.segments[4].base, state.segments[5].base) = (registers.bases[0], registers.bases[1]);
        let image = &registers.fpu;
        let fpu = &mut state.fpu;
        (fpu.control, fpu.status, fpu.tags) = (image.control(), image.status(), image.tags());
        fpu.mxcsr = image.mxcsr();
        let top = usize::from(fpu.status >> 11 & 7);
        for i in 0..8 {
            fpu.registers[(top + i) % 8].copy_from_slice(image.st(i));
        }
        fpu.xmm = std::array::from_fn(|i| image.xmm(i));
        state
    }

    /// What the handler finds: on its stack, in its registers, in memory.
    fn outcome(&self) -> Outcome {
        let state = &self.cpu.state;
        let mut frame = [0; 6];
        let with_error = state.gpr[4] == KERNEL + STACK_TOP - 48;
        let fields = if with_error { &mut frame[..] } else { &mut frame[1..] };
        for (address, field) in (state.gpr[4] - KERNEL..).step_by(8).zip(fields) {
            let mut bytes = [0; 8];
            self.ram.read(address, &mut bytes).expect("stack");
            *field = u64::from_le_bytes(bytes);
        }
        let [error, rip, cs, rflags, rsp, ss] = frame;
        let mut gpr = state.gpr;
        gpr[4] = rsp;
        let mut selectors = state.segments.map(|segment| segment.selector);
        (selectors[1], selectors[2]) = (cs as u16, ss as u16);
        let vector = (state.rip - KERNEL - HANDLERS - 1) as u8;
        let bases = [state.segments[4].base, state.segments[5].base];
        Outcome {
            vector,
            error: error as u32,
            address: if vector == 14 { state.cr2 } else { 0 },
            registers: Registers { gpr, rip, rflags, selectors, bases, fpu: image(state) },
            memory: self.memory(),
        }
    }

    fn put_memory(&self, memory: &Memory) {
        for part in PARTS.iter().filter(|part| **part != READ_ONLY) {
            for (page, bytes) in
                part.clone().step_by(PAGE as usize).zip(memory.part(part).chunks(PAGE as usize))
            {
                self.ram.write(frame_of(page) * PAGE, bytes).expect("arena");
            }
        }
    }

    fn memory(&self) -> Memory {
        let mut memory = Memory::pristine();
        for part in PARTS {
            let pages = part.clone().step_by(PAGE as usize);
            for (page, bytes) in pages.zip(memory.part_mut(&part).chunks_mut(PAGE as usize)) {
                self.ram.read(frame_of(page) * PAGE, bytes).expect("arena");
            }
        }
        memory
    }

    /// Puts code, as far as there is memory for it.
    fn put(&self, address: u64, bytes: &[u8]) {
        for (address, byte) in (address..CODE.end).zip(bytes) {
            let at = frame_of(address) * PAGE + address % PAGE;
            self.ram.write(at, &[*byte]).expect("code");
        }
    }
}

fn image(state: &CpuState) -> FpuImage {
    let fpu = &state.fpu;
    let mut image = FpuImage([0; 512]);
    image.put(0, &fpu.control.to_le_bytes());
    image.put(2, &fpu.status.to_le_bytes());
    image.put(4, &[fpu.tags]);
    image.put(24, &fpu.mxcsr.to_le_bytes());
    let top = usize::from(fpu.status >> 11 & 7);
    for i in 0..8 {
        image.put(32 + 16 * i, &fpu.registers[(top + i) % 8]);
    }
    for (i, value) in fpu.xmm.iter().enumerate() {
        image.put(160 + 16 * i, &value.to_le_bytes());
    }
    image
}

/// As loading it would.
fn segment(selector: u16) -> Segment {
    let descriptor = descriptor(selector);
    let attributes = Attributes((descriptor >> 40) as u32 & 0xf0ff);
    let limit = (descriptor & 0xffff | descriptor >> 32 & 0xf_0000) as u32;
    Segment {
        selector,
        base: descriptor >> 16 & 0xff_ffff | descriptor >> 56 << 24,
        limit: if attributes.granular() { limit << 12 | 0xfff } else { limit },
        attributes,
    }
}

fn kernel_state() -> CpuState {
    let mut state = CpuState::reset();
    state.cr0 = Cr0::PE | Cr0::MP | Cr0::ET | Cr0::NE | Cr0::WP | Cr0::AM | Cr0::PG;
    state.cr4 = Cr4::PAE
        | Cr4::OSFXSR
        | Cr4::OSXMMEXCPT
        | Cr4::UMIP
        | Cr4::FSGSBASE
        | Cr4::OSXSAVE
        | Cr4::SMEP
        | Cr4::SMAP;
    state.cr3 = TABLES;
    state.xcr0 = 3;
    state.msrs.efer = Efer::SCE | Efer::LME | Efer::LMA | Efer::NXE;
    state.gdtr = TableRegister { base: KERNEL + GDT, limit: 127 };
    state.idtr = TableRegister { base: KERNEL + IDT, limit: 4095 };
    state.tr = Segment { selector: 0x40, base: KERNEL + TSS, limit: 0x67, attributes: Attributes::BUSY_TSS };
    state.ldtr = if has_local_table() {
        Segment {
            selector: 0x50,
            base: KERNEL + LDT,
            limit: 8 * LOCAL.len() as u32 - 1,
            attributes: Attributes::LDT,
        }
    } else {
        Segment::null(0, 0)
    };
    state.activity = Activity::Running;
    state.shadow = InterruptShadow::None;
    state
}

/// 4-level tables: the arena for users in the lower half, everything for the kernel in the upper.
fn map(ram: &GuestRam) {
    const USER: u64 = 7;
    const SUPERVISOR: u64 = 3;
    const NO_EXECUTE: u64 = 1 << 63;
    let table = |number: u64| TABLES + number * PAGE;
    write_words(ram, table(0), &[table(1) | USER]);
    write_words(ram, table(0) + 8 * 256, &[table(4) | SUPERVISOR]);
    write_words(ram, table(1), &[table(2) | USER]);
    write_words(ram, table(2) + 8 * (RESERVED.start >> 21), &[table(3) | USER]);
    write_words(ram, table(4), &[table(5) | SUPERVISOR]);
    write_words(ram, table(5), &[table(6) | SUPERVISOR]);
    for frame in 0..BYTES / PAGE {
        write_words(ram, table(6) + 8 * frame, &[(frame * PAGE) | SUPERVISOR]);
    }
    for part in PARTS.into_iter().chain([CODE]) {
        let rights = match part {
            CODE => USER,
            READ_ONLY => USER & !2 | NO_EXECUTE,
            _ => USER | NO_EXECUTE,
        };
        for page in part.step_by(PAGE as usize) {
            write_words(ram, table(3) + 8 * (page >> 12 & 511), &[(frame_of(page) * PAGE) | rights]);
        }
    }
}

/// Physical frame of an address in the arena.
fn frame_of(address: u64) -> u64 {
    let page = (address - CODE.start) / PAGE;
    debug_assert!(address < STACK.end);
    ARENA_FRAMES + page * 7 % 32
}

fn write_words(ram: &GuestRam, address: u64, words: &[u64]) {
    for (address, word) in (address..).step_by(8).zip(words) {
        ram.write(address, &word.to_le_bytes()).expect("within memory");
    }
}

/// The bus: nothing but memory is mapped.
struct Nobody;

impl Bus for Nobody {
    fn port_read(&mut self, _: u64, port: u16, _: u8) -> u32 {
        panic!("read of port {port:#x} at privilege level 3")
    }
    fn port_write(&mut self, _: u64, port: u16, _: u8, _: u32) {
        panic!("write to port {port:#x} at privilege level 3")
    }
    fn mmio_read(&mut self, _: u64, address: u64, _: u8) -> u64 {
        panic!("read of {address:#x}, which is not memory")
    }
    fn mmio_write(&mut self, _: u64, address: u64, _: u8, _: u64) {
        panic!("write to {address:#x}, which is not memory")
    }
    fn acknowledge_interrupt(&mut self, _: u64) -> u8 {
        panic!("no interrupt was requested")
    }
    fn send_interrupt(&mut self, message: Message) {
        panic!("{message:?} at privilege level 3")
    }
    fn end_of_interrupt(&mut self, vector: u8) {
        panic!("end of {vector} at privilege level 3")
    }
}
