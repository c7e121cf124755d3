//! From a form and a seed to a case: the same on every host.

use iced_x86::{Decoder, DecoderOptions, Encoder, Instruction, InstructionInfoFactory, OpKind, Register};

use crate::arena::{CODE, FS_BASE, GS_BASE, INSTRUCTIONS, PAGE, is_harmless};
use crate::case::{Case, Form, Registers};
use crate::draft::{Draft, Unfit};
use crate::fpu;
use crate::random::Random;

/// Interrupts enabled, and the bit that is always set.
const RFLAGS: u64 = 0x202;
/// CF, PF, AF, ZF, SF, OF.
const STATUS: u64 = 0x8d5;
const DF: u64 = 1 << 10;
const ID: u64 = 1 << 21;

/// A case; `None` for a form of which no instruction can be made.
pub fn case(form: Form, seed: u64) -> Option<Case> {
    let name = form
        .to_string()
        .bytes()
        .fold(0, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut random = Random::new(seed ^ name.rotate_left(32));
    (0..200).find_map(|_| attempt(form, seed, Random::new(random.bits())).ok())
}

fn attempt(form: Form, seed: u64, random: Random) -> Result<Case, Unfit> {
    let mut draft = Draft::new(form, random);
    // Branches need to know about where they are.
    let around = INSTRUCTIONS + draft.random.below(PAGE - 0x400);
    draft.instruction.set_ip(around);
    draft.prepare()?;
    draft.choose_operands()?;
    draft.finish_prefixes();
    let mut bytes = encode(&draft.instruction, form, around)?;
    let rip = place(&mut draft.random, around, bytes.len() as u64);
    if rip != around {
        bytes = encode(&draft.instruction, form, rip)?;
    }
    draft.fill();
    draft.relate()?;

    let instruction = decode(&bytes, form, rip);
    if instruction.code() != form.code || instruction.len() != bytes.len() || !draft.is_loadable() {
        return Err(Unfit);
    }
    let registers = registers(&mut draft, rip);
    let case = Case { form, seed, instruction, bytes, registers, memory: draft.memory };
    if is_safe(&case) { Ok(case) } else { Err(Unfit) }
}

fn encode(instruction: &Instruction, form: Form, rip: u64) -> Result<Vec<u8>, Unfit> {
    let mut encoder = Encoder::new(form.bits);
    encoder.encode(instruction, rip).map_err(|_| Unfit)?;
    Ok(encoder.take_buffer())
}

/// As both processors do.
pub fn decode(bytes: &[u8], form: Form, rip: u64) -> Instruction {
    Decoder::with_ip(form.bits, bytes, rip, DecoderOptions::NONE).decode()
}

/// Where the instruction lies: mostly somewhere, at times over the edge of a page, or up to or over the end of all code.
fn place(random: &mut Random, around: u64, length: u64) -> u64 {
    match random.below(16) {
        0 => CODE.start + PAGE - random.below(length),
        1 => CODE.end - length,
        2 if random.once_in(4) => CODE.end - random.below(length).max(1),
        _ => around,
    }
}

fn registers(draft: &mut Draft, rip: u64) -> Registers {
    let bits = draft.form.bits;
    let random = &mut draft.random;
    let mut rflags = RFLAGS | random.bits() & STATUS;
    if random.once_in(4) {
        rflags |= DF | random.bits() & ID;
    }
    Registers {
        gpr: draft.gpr,
        rip,
        rflags,
        // ES, CS, SS, DS, FS, GS.
        selectors: if bits == 64 { [0, 0x33, 0x2b, 0, 0, 0] } else { [0x2b, 0x23, 0x2b, 0x2b, 0x2b, 0x2b] },
        bases: [FS_BASE, GS_BASE],
        fpu: fpu::image(random),
    }
}

/// Whether the host survives it: every access is harmless, and no branch leads into the instruction itself.
fn is_safe(case: &Case) -> bool {
    let instruction = &case.instruction;
    let own = instruction.ip()..instruction.next_ip();
    let is_near =
        matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64);
    if is_near && own.contains(&instruction.near_branch_target()) {
        return false;
    }
    let mut factory = InstructionInfoFactory::new();
    factory.info(instruction).used_memory().iter().all(|memory| {
        let address = memory.virtual_address(0, |register, _, _| Some(value(&case.registers, register)));
        // Of unknown size are the areas of XSAVE, and the frames that ENTER copies.
        let bytes = memory.memory_size().size().max(if memory.memory_size().size() == 0 { 1024 } else { 1 });
        address.is_some_and(|address| is_harmless(linear(case.form, address), bytes as u64))
    })
}

fn linear(form: Form, address: u64) -> u64 {
    if form.bits == 64 { address } else { address & 0xffff_ffff }
}

/// Value of a register, or base of a segment.
fn value(registers: &Registers, register: Register) -> u64 {
    match register {
        Register::FS => registers.bases[0],
        Register::GS => registers.bases[1],
        _ if register.is_gpr() => {
            let whole = registers.gpr[register.full_register().number()];
            match register {
                Register::AH | Register::BH | Register::CH | Register::DH => whole >> 8 & 0xff,
                _ => whole & u64::MAX >> (64 - 8 * register.size()),
            }
        }
        _ => 0,
    }
}
