//! Code that might be instructions.

use crate::random::Random;

const PREFIXES: [u8; 11] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];

/// Instructions that change what all others depend on: tables, modes, levels, interrupts, translations.
const SYSTEM: [&[u8]; 53] = [
    &[0x0f, 0x22, 0xc0],
    &[0x0f, 0x22, 0xd8],
    &[0x0f, 0x22, 0xe0],
    &[0x0f, 0x20, 0xc0],
    &[0x0f, 0x23, 0xf8],
    &[0x0f, 0x23, 0xc1],
    &[0x0f, 0x30],
    &[0x0f, 0x32],
    &[0x0f, 0x31],
    &[0x0f, 0xa2],
    &[0x0f, 0x01, 0x10],
    &[0x0f, 0x01, 0x18],
    &[0x0f, 0x01, 0x38],
    &[0x0f, 0x01, 0xf0],
    &[0x0f, 0x01, 0xd1],
    &[0x0f, 0x01, 0xd0],
    &[0x0f, 0x01, 0xf8],
    &[0x0f, 0x01, 0xca],
    &[0x0f, 0x01, 0xcb],
    &[0x0f, 0x00, 0xd0],
    &[0x0f, 0x00, 0xd8],
    &[0x66, 0x0f, 0x38, 0x82, 0x08],
    &[0x0f, 0x05],
    &[0x0f, 0x07],
    &[0x48, 0x0f, 0x07],
    &[0x0f, 0x34],
    &[0x0f, 0x35],
    &[0x0f, 0x06],
    &[0x0f, 0x08],
    &[0x0f, 0x09],
    &[0xcf],
    &[0x48, 0xcf],
    &[0xcb],
    &[0xca, 4, 0],
    &[0xff, 0x28],
    &[0xff, 0x18],
    &[0xcd, 0x80],
    &[0xcd, 0x0e],
    &[0xcc],
    &[0xf1],
    &[0xce],
    &[0xf4],
    &[0xfa],
    &[0xfb],
    &[0x9d],
    &[0x8e, 0xd0],
    &[0x8e, 0xd8],
    &[0x8e, 0xe0],
    &[0x17],
    &[0x0f, 0xb2, 0x20],
    &[0xec],
    &[0xef],
    &[0xe6, 0x80],
];

/// Numbers of model-specific registers.
const MSRS: [u32; 22] = [
    0x10,
    0x1b,
    0x3b,
    0x8b,
    0xfe,
    0x174,
    0x175,
    0x176,
    0x179,
    0x1a0,
    0x200,
    0x250,
    0x277,
    0x2ff,
    0x6e0,
    0x80b,
    0x830,
    0x832,
    0xc000_0080,
    0xc000_0081,
    0xc000_0100,
    0xc000_0102,
];

/// Fills a place with code.
pub fn fill(random: &mut Random, code: &mut [u8]) {
    let mut bytes = Vec::with_capacity(code.len() + 32);
    while bytes.len() < code.len() {
        instruction(random, &mut bytes);
    }
    code.copy_from_slice(&bytes[..code.len()]);
}

fn instruction(random: &mut Random, code: &mut Vec<u8>) {
    match random.below(16) {
        0 => code.extend((0..random.below(12)).map(|_| random.clone().bits() as u8)),
        1 => {
            // MOV ECX, number of an MSR; RDMSR or WRMSR.
            code.push(0xb9);
            code.extend(random.pick(&MSRS).wrapping_add(random.below(2) as u32).to_le_bytes());
            code.extend([0x0f, random.pick(&[0x30, 0x32])]);
        }
        2..5 => code.extend(random.pick(&SYSTEM)),
        5 => repeated(random, code),
        6 => {
            // A jump that stays near.
            let opcode = random.pick(&[0xeb, 0x70 + random.clone().below(16) as u8, 0xe2, 0xe3]);
            code.extend([opcode, random.below(64) as u8]);
        }
        _ => encoded(random, code),
    }
}

/// String instructions with a prefix that repeats them.
fn repeated(random: &mut Random, code: &mut Vec<u8>) {
    if random.once_in(2) {
        code.push(0xb9);
        code.extend((random.integer() as u32).to_le_bytes());
    }
    code.push(random.pick(&[0xf2, 0xf3]));
    code.push(
        random.pick(&[0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0x6c, 0x6d, 0x6e, 0x6f]),
    );
}

/// Prefixes, an opcode of any map, a ModRM byte that is likely to stay near a register, and something to be displacement and
/// immediate.
fn encoded(random: &mut Random, code: &mut Vec<u8>) {
    for _ in 0..random.below(4).saturating_sub(1) {
        code.push(random.pick(&PREFIXES));
    }
    if random.once_in(3) {
        code.push(0x40 | random.bits() as u8 & 15);
    }
    match random.below(8) {
        0..4 => {}
        4..7 => code.push(0x0f),
        _ => code.extend([0x0f, random.pick(&[0x38, 0x3a])]),
    }
    code.push(random.bits() as u8);
    let modrm = random.bits() as u8;
    code.push(if random.once_in(2) { modrm & 0x3f | 0x40 } else { modrm });
    let rest = random.integer().to_le_bytes();
    code.extend(&rest[..random.below(9) as usize]);
}
