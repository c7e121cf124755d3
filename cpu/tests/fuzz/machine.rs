//! A processor with memory full of what the seed says.

use cpu::apic;
use cpu::exec::Missing;
use cpu::state::{Attributes, Cr0, Cr4, Efer, Segment, SegmentName, TableRegister};
use cpu::{BlockCache, Cpu, CpuState, Exit, Leave, NS_PER_INSTRUCTION, Slice};
use ram::GuestRam;

use crate::bus::Noise;
use crate::program;
use crate::random::Random;
use crate::tables::{
    self, CODE, CODE_END, GDT, GDT_ENTRIES, IDT, MEMORY, PAGE_TABLES, PAGE_TABLES_END, STACK, TSS,
};

/// How many times in a row a slice may end without an instruction having been retired.
const MOST_EMPTY: u32 = 16;

pub struct Machine {
    /// As a machine has them: messages are delivered to all of them.
    processors: [Cpu; 1],
    cache: BlockCache,
    ram: GuestRam,
    bus: Noise,
    now: u64,
    retired: u64,
    ended: &'static str,
}

impl Machine {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let ram = GuestRam::new(MEMORY).expect("memory");
        let mode = Mode::choose(&mut random);
        fill(&mut random, &ram, mode);
        let state = state(&mut random, mode);
        Self {
            processors: [Cpu::new(state)],
            cache: BlockCache::new(),
            ram,
            bus: Noise::default(),
            now: 0,
            retired: 0,
            ended: "still running",
        }
    }

    /// Runs so many instructions, in slices as long as `cut` says, as a machine does: with its timer, and with an NMI whenever
    /// nothing else would end HLT.
    ///
    /// # Panics
    /// If the processor does something that it never may.
    pub fn run(&mut self, instructions: u64, mut cut: impl FnMut() -> u64) {
        let mut empty = 0;
        while self.retired < instructions {
            let [cpu] = &mut self.processors;
            if cpu.state.deadline(self.now).is_some_and(|deadline| deadline <= self.now) {
                cpu.state.tick(self.now);
            }
            if !cpu.state.can_run() {
                if cpu.state.nmi_blocked || cpu.state.activity != cpu::state::Activity::Halted {
                    self.ended = "waits for ever";
                    return;
                }
                // The pin may be masked; a message is not.
                cpu.state.nmi_pending = true;
            }
            let mut budget = cut().min(instructions - self.retired);
            if let Some(deadline) = cpu.state.deadline(self.now) {
                budget = budget.min((deadline - self.now).div_ceil(NS_PER_INSTRUCTION).max(1));
            }
            let slice = Slice { now: self.now, instructions: budget };
            let Exit { leave, retired, spent } = cpu.run(&mut self.cache, &self.ram, &mut self.bus, slice);
            assert!(retired <= budget, "{retired} instructions where {budget} were allowed");
            self.now += retired * NS_PER_INSTRUCTION + spent;
            self.retired += retired;
            empty = if retired == 0 { empty + 1 } else { 0 };
            assert!(empty < MOST_EMPTY, "comes back and does nothing: {leave:?}");
            for message in std::mem::take(&mut self.bus.messages) {
                apic::deliver(&mut self.processors, message);
            }
            check(&self.processors[0].state);
            match leave {
                Leave::Budget | Leave::Bus | Leave::Pause | Leave::Halted => {}
                Leave::Shutdown => {
                    self.ended = "triple fault";
                    return;
                }
                Leave::Missing(Missing::Instruction(code)) => panic!("advertised, but missing: {code:?}"),
                Leave::Missing(Missing::CodeOutsideMemory(_)) => {
                    self.ended = "code outside memory";
                    return;
                }
                Leave::Missing(Missing::Feature(feature)) => {
                    self.ended = feature;
                    return;
                }
            }
        }
    }

    /// How it ended.
    pub fn ended(&self) -> &'static str {
        self.ended
    }

    /// Whether two runs came to the same end, to the bit.
    ///
    /// # Panics
    /// If not.
    pub fn assert_equal(&self, other: &Self) {
        assert_eq!((self.retired, self.now, self.ended), (other.retired, other.now, other.ended));
        assert_eq!(self.processors[0].state, other.processors[0].state);
        assert_eq!(self.bus, other.bus);
        let memory = |machine: &Self| {
            let mut bytes = vec![0; MEMORY as usize];
            machine.ram.read(0, &mut bytes).expect("memory");
            bytes
        };
        let (ours, theirs) = (memory(self), memory(other));
        let differs = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
        assert_eq!(differs, None, "memory differs");
    }
}

/// What can never be otherwise.
fn check(state: &CpuState) {
    assert_eq!(state.rflags & 0xffff_ffff_ffc0_802a, 2, "reserved bits of RFLAGS");
    if state.mode().is_64() {
        assert_eq!((state.rip << 16) as i64 >> 16, state.rip as i64, "RIP is canonical");
    } else {
        assert!(state.rip <= u64::from(u32::MAX), "EIP has 32 bits");
    }
    if state.is_protected() {
        // Its selector may still be that of real mode.
        let code = state.segment(SegmentName::Cs).attributes;
        let level = code.dpl();
        assert!(
            level == state.cpl() || code.is_conforming() && level < state.cpl(),
            "CS has the level that runs"
        );
    }
    let long = state.msrs.efer.contains(Efer::LME) && state.cr0.contains(Cr0::PG);
    assert_eq!(state.is_long(), long, "EFER.LMA is EFER.LME and CR0.PG");
    assert!(!state.cr0.contains(Cr0::PG) || state.cr0.contains(Cr0::PE), "paging is protected");
}

/// What it starts in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Real,
    /// Without paging, with tables of 4-byte entries, or with those of PAE.
    Protected(Paging),
    Long,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Paging {
    Off,
    Words,
    Pae,
}

impl Mode {
    fn choose(random: &mut Random) -> Self {
        match random.below(8) {
            0 => Self::Real,
            1 => Self::Protected(Paging::Off),
            2 => Self::Protected(Paging::Words),
            3 => Self::Protected(Paging::Pae),
            _ => Self::Long,
        }
    }
}

fn fill(random: &mut Random, ram: &GuestRam, mode: Mode) {
    // How seldom tables are wrong: a machine that dies at once shows little.
    let rarity = random.pick(&[4, 64, 1 << 20]);
    let mut memory = vec![0u8; MEMORY as usize];
    let mut put =
        |address: u64, bytes: &[u8]| memory[address as usize..][..bytes.len()].copy_from_slice(bytes);
    for address in (0..0x1000).step_by(4) {
        // Interrupt vectors of real mode: segment and offset.
        let vector = (CODE as u32 >> 4) << 16 | random.below(0x8000) as u32;
        put(address, &vector.to_le_bytes());
    }
    for address in (PAGE_TABLES..PAGE_TABLES_END).step_by(8) {
        put(address, &tables::entry(random).to_le_bytes());
    }
    page_tables(random, mode, rarity, &mut put);
    for index in 0..GDT_ENTRIES {
        put(GDT + 8 * index, &tables::descriptor(random, index, rarity).to_le_bytes());
    }
    for vector in 0..256 {
        let gate = tables::gate(random, vector, mode == Mode::Long, rarity);
        if mode == Mode::Long {
            put(IDT + 16 * vector, &gate.map(u64::to_le_bytes).concat());
        } else {
            put(IDT + 8 * vector, &gate[0].to_le_bytes());
        }
    }
    // Stacks of the task, and what else it holds.
    put(TSS, &[0; 0x100]);
    for slot in (4..0x68).step_by(8) {
        let pointer = if random.once_in(4 * rarity) { tables::word(random) } else { STACK + 0x800 };
        put(TSS + slot, &pointer.to_le_bytes());
    }
    if mode != Mode::Long {
        put(TSS + 8, &0x10u32.to_le_bytes());
    }
    for address in (STACK..MEMORY).step_by(8) {
        put(address, &tables::word(random).to_le_bytes());
    }
    program::fill(random, &mut memory[CODE as usize..CODE_END as usize]);
    ram.write(0, &memory).expect("memory");
}

/// The way to the low pages, which are at their own addresses unless somebody tampered with them.
fn page_tables(random: &mut Random, mode: Mode, rarity: u64, put: &mut impl FnMut(u64, &[u8])) {
    let table = |number: u64| PAGE_TABLES + 0x1000 * number;
    let frames = MEMORY >> 12;
    match mode {
        Mode::Protected(Paging::Words) => {
            put(table(0), &((table(1) | 7) as u32).to_le_bytes());
            for frame in 0..frames {
                put(table(1) + 4 * frame, &(tables::own_entry(random, frame, rarity) as u32).to_le_bytes());
            }
        }
        Mode::Protected(Paging::Pae) => {
            put(table(0), &(table(1) | 1).to_le_bytes());
            put(table(1), &(table(2) | 7).to_le_bytes());
            for frame in 0..frames {
                put(table(2) + 8 * frame, &tables::own_entry(random, frame, rarity).to_le_bytes());
            }
        }
        _ => {
            for level in 0..3 {
                put(table(level), &(table(level + 1) | 7).to_le_bytes());
            }
            for frame in 0..frames {
                put(table(3) + 8 * frame, &tables::own_entry(random, frame, rarity).to_le_bytes());
            }
        }
    }
}

fn state(random: &mut Random, mode: Mode) -> CpuState {
    let mut state = CpuState::reset();
    state.gpr = std::array::from_fn(|_| tables::word(random));
    state.gpr[4] = STACK + 0x800;
    state.rflags = random.bits() & 0x24_4ed5 | 2;
    if random.once_in(16) {
        state.rflags |= 0x100;
    }
    state.random = random.bits();
    state.fpu.xmm = std::array::from_fn(|_| random.vector());
    state.fpu.mxcsr = random.bits() as u32 & 0xffff;
    state.gdtr = TableRegister { base: GDT, limit: 8 * GDT_ENTRIES as u16 - 1 };
    state.idtr = TableRegister { base: IDT, limit: 0xfff };
    state.tr = Segment { selector: 0x48, base: TSS, limit: 0x67, attributes: Attributes::BUSY_TSS };
    state.rip = CODE + random.below(0x4000);
    (state.msrs.lstar, state.msrs.sysenter_eip) = (CODE + random.below(0x4000), CODE + random.below(0x4000));
    (state.msrs.star, state.msrs.sysenter_cs) = (0x0018_0008_0000_0000, 8);
    state.msrs.sysenter_esp = STACK + 0x800;
    if random.once_in(4) {
        state.debug = [
            CODE + random.below(0x4000),
            STACK,
            tables::word(random),
            tables::word(random),
            0xffff_0ff0,
            0x400,
        ];
        state.debug[5] |= random.bits() & 0xffff_03ff;
    }
    if random.once_in(2) {
        state.apic.set_virtual_wire();
        state.set_intr(random.once_in(4));
    }
    match mode {
        Mode::Real => {
            state.segments[SegmentName::Cs as usize] = Segment::real_code((CODE >> 4) as u16);
            state.rip -= CODE;
            state.idtr = TableRegister { base: 0, limit: 0xffff };
            state.segments[SegmentName::Ss as usize] = Segment::real((STACK >> 4) as u16);
            state.gpr[4] = 0x800;
        }
        Mode::Protected(paging) => protected(random, &mut state, paging),
        Mode::Long => long(random, &mut state),
    }
    state
}

/// CR0 and CR4 with some of the bits that any mode can have.
fn control(random: &mut Random, state: &mut CpuState, cr0: Cr0, cr4: Cr4) {
    let rare = if random.once_in(8) { Cr0::EM | Cr0::TS } else { Cr0::empty() };
    let any = Cr0::WP | Cr0::AM | Cr0::MP | rare;
    state.cr0 = cr0 | Cr0::PE | Cr0::ET | Cr0::NE | Cr0::from_bits_truncate(random.bits()) & any;
    // Every page is the user's: with these the kernel cannot do much.
    let protection = if random.once_in(8) { Cr4::SMEP | Cr4::SMAP } else { Cr4::empty() };
    let any = Cr4::TSD
        | Cr4::DE
        | Cr4::PSE
        | Cr4::PGE
        | Cr4::UMIP
        | Cr4::FSGSBASE
        | Cr4::OSFXSR
        | Cr4::OSXMMEXCPT
        | Cr4::OSXSAVE
        | protection;
    state.cr4 = cr4 | Cr4::from_bits_truncate(random.bits()) & any;
    state.cr3 = PAGE_TABLES;
    state.xcr0 = random.pick(&[1, 3]);
    let efer = Efer::SCE | Efer::NXE;
    state.msrs.efer |= Efer::from_bits_truncate(random.bits()) & efer;
}

fn segments(state: &mut CpuState, code: (u16, u32), data: (u16, u32)) {
    let segment = |(selector, attributes)| Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        attributes: Attributes(attributes),
    };
    state.segments = [segment(data); 6];
    state.segments[SegmentName::Cs as usize] = segment(code);
}

fn protected(random: &mut Random, state: &mut CpuState, paging: Paging) {
    let (cr0, cr4) = match paging {
        Paging::Off => (Cr0::empty(), Cr4::empty()),
        Paging::Words => (Cr0::PG, Cr4::empty()),
        Paging::Pae => (Cr0::PG, Cr4::PAE),
    };
    control(random, state, cr0, cr4);
    if random.once_in(2) {
        segments(state, (0x18, 0xc09b), (0x10, 0xc093));
    } else {
        segments(state, (0x23, 0xc0fb), (0x2b, 0xc0f3));
    }
}

fn long(random: &mut Random, state: &mut CpuState) {
    state.msrs.efer = Efer::LME | Efer::LMA;
    control(random, state, Cr0::PG, Cr4::PAE);
    match random.below(8) {
        0 => segments(state, (0x23, 0xc0fb), (0x2b, 0xc0f3)),
        1..4 => segments(state, (0x33, 0xa0fb), (0x2b, 0xc0f3)),
        _ => segments(state, (0x08, 0xa09b), (0x10, 0xc093)),
    }
}
