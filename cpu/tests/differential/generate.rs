//! From a form and a seed to a case: the same on every host.

use iced_x86::{
    Code, Decoder, DecoderOptions, Encoder, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpCodeOperandKind, OpKind,
};

use crate::arena::{CODE, FS_BASE, GS_BASE, INSTRUCTIONS, INT3, PAGE, is_harmless};
use crate::case::{Case, Form, Registers};
use crate::draft::{Draft, Unfit};
use crate::forms::{Standing, standing};
use crate::fpu;
use crate::loadable::is_loadable;
use crate::random::Random;
use crate::segments::code_base;

/// Interrupts enabled, and the bit that is always set.
const RFLAGS: u64 = 0x202;
/// CF, PF, AF, ZF, SF, OF.
const STATUS: u64 = 0x8d5;
const DF: u64 = 1 << 10;
/// Alignment is checked: Linux sets CR0.AM.
const AC: u64 = 1 << 18;
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
    let code_base = code_base(form);
    draft.instruction.set_ip(around - code_base);
    draft.prepare()?;
    draft.choose_operands()?;
    draft.finish_prefixes();
    let mut bytes = encode(&draft.instruction, form, around - code_base)?;
    let linear = place(&mut draft.random, around, bytes.len() as u64);
    let rip = linear - code_base;
    if linear != around {
        bytes = encode(&draft.instruction, form, rip)?;
    }
    draft.fill();
    draft.relate()?;

    let mut instruction = decode(&bytes, form, rip);
    if instruction.code() != form.code || instruction.len() != bytes.len() {
        return Err(Unfit);
    }
    let is_plain = standing(form) == Standing::Compared && instruction.flow_control() == FlowControl::Next;
    if is_plain && draft.random.once_in(8) {
        (bytes, instruction) = prefixed(&mut draft.random, &bytes, form, rip)?;
    }
    let registers = registers(&mut draft, rip);
    let case = Case { form, seed, instruction, bytes, registers, memory: draft.memory };
    if is_safe(&case) && is_loadable(&case) { Ok(case) } else { Err(Unfit) }
}

fn encode(instruction: &Instruction, form: Form, rip: u64) -> Result<Vec<u8>, Unfit> {
    let mut encoder = Encoder::new(form.bits);
    encoder.encode(instruction, rip).map_err(|_| Unfit)?;
    Ok(encoder.take_buffer())
}

/// The instruction after prefixes that it may need or not. What comes of it must be an instruction that can be compared as well, or
/// none at all.
fn prefixed(
    random: &mut Random,
    bytes: &[u8],
    form: Form,
    rip: u64,
) -> Result<(Vec<u8>, Instruction), Unfit> {
    const PREFIXES: [u8; 11] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];
    let count = if random.once_in(16) { 16 } else { 1 + random.below(2) };
    let mut all: Vec<u8> = (0..count).map(|_| random.pick(&PREFIXES)).collect();
    all.extend_from_slice(bytes);
    // With what follows it, of which it may take a part.
    let instruction = decode(&[&all[..], &[INT3; 15]].concat(), form, rip);
    let other = Form { code: instruction.code(), ..form };
    // With REX.B what follows F3 is XCHG for some processors, and PAUSE for others.
    let is_pause = instruction.code() == Code::Pause && form.code != Code::Pause;
    let comparable = instruction.is_invalid() || standing(other) == Standing::Compared && !is_pause;
    // What a shorter instruction left over would be executed after it.
    let is_whole = instruction.len() == all.len() && instruction.flow_control() == FlowControl::Next;
    // What is no instruction may be found out before or after its last byte was fetched.
    let is_nothing = instruction.is_invalid()
        && rip + code_base(form) + all.len() as u64 <= CODE.end
        && !is_cr8_on_amd(form, &all);
    if comparable && (is_whole || is_nothing) { Ok((all, instruction)) } else { Err(Unfit) }
}

/// LOCK adds 8 to the number of a control register.
fn is_cr8_on_amd(form: Form, bytes: &[u8]) -> bool {
    form.code.op_code().op_kinds().contains(&OpCodeOperandKind::cr_reg) && bytes.contains(&0xf0)
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
    let random = &mut draft.random;
    let mut rflags = RFLAGS | random.bits() & STATUS;
    if random.once_in(4) {
        rflags |= DF | random.bits() & ID;
    }
    if random.once_in(16) {
        rflags |= AC;
    }
    Registers {
        gpr: draft.gpr,
        rip,
        rflags,
        selectors: draft.selectors,
        bases: [FS_BASE, GS_BASE],
        fpu: fpu::image(random),
    }
}

/// Whether the host survives it: every access is harmless, none writes to code, and no branch leads into the instruction itself.
fn is_safe(case: &Case) -> bool {
    let instruction = &case.instruction;
    let own = instruction.ip()..instruction.next_ip();
    let is_near =
        matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64);
    if is_near && own.contains(&instruction.near_branch_target()) {
        return false;
    }
    // A bit test reaches a page further (`Draft::fix_bit_offset`).
    let is_bit_test =
        matches!(instruction.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc);
    let reach = if is_bit_test { PAGE } else { 0 };
    let mut factory = InstructionInfoFactory::new();
    factory.info(instruction).used_memory().iter().all(|memory| {
        let address = memory.virtual_address(0, |register, _, _| Some(case.value(register)));
        // Of unknown size are the areas of XSAVE, and the frames that ENTER copies.
        let bytes = match memory.memory_size().size() {
            0 => 1024,
            bytes => bytes as u64,
        };
        let is_read = matches!(memory.access(), OpAccess::Read | OpAccess::CondRead);
        address.is_some_and(|address| {
            let first = case.wrap(address.wrapping_sub(reach));
            let bytes = bytes + 2 * reach;
            let is_code = first < CODE.end && CODE.start < first.wrapping_add(bytes);
            is_harmless(first, bytes) && (is_read || !is_code)
        })
    })
}
