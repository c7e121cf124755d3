//! Every form of every instruction against the host's own.

use iced_x86::{Code, CpuidFeature, Mnemonic};

use crate::testing::native::Block;
use crate::testing::versus::{Random, Versus, has_forms, instance};

/// Registers, condition codes, rounding, precision and masks at random; sometimes some registers are empty.
fn start(random: &mut Random) -> Block {
    let mut block = Block::new();
    let masks = if random.below(2) == 0 { 0x3f } else { random.bits() as u16 & 0x3f };
    block.set_word(0, masks | 0x40 | random.bits() as u16 & 0xf00);
    block.set_word(2, random.bits() as u16 & 0x7f00);
    block.before[4] = if random.below(3) == 0 { random.bits() as u8 } else { 0xff };
    if random.below(2) == 0 {
        // Room for a result.
        let top = block.before[3] >> 3 & 7;
        block.before[4] &= !(1 << (top.wrapping_sub(1) & 7));
    }
    for register in 0..8 {
        let (significand, sign_exponent) = random.extended();
        block.set_st(register, significand, sign_exponent);
    }
    for at in (0..256).step_by(16) {
        let value = match random.below(4) {
            0 => u128::from(random.double()),
            1 => u128::from(random.single()),
            2 => {
                let (significand, sign_exponent) = random.extended();
                u128::from(significand) | u128::from(sign_exponent) << 64
            }
            // Digits.
            _ => {
                u128::from_le_bytes(std::array::from_fn(|_| (random.below(10) << 4 | random.below(10)) as u8))
            }
        };
        block.data[at..at + 16].copy_from_slice(&value.to_le_bytes());
    }
    block.registers[3] = 64;
    block.flags = random.bits() & 0x8d5;
    block
}

/// Not the host's: transcendental functions, how far a partial remainder goes, and the pointers, which not all processors keep.
fn is_comparable(code: Code) -> bool {
    use Mnemonic as M;
    !matches!(
        code.mnemonic(),
        M::Fsin
            | M::Fcos
            | M::Fsincos
            | M::Fptan
            | M::Fpatan
            | M::F2xm1
            | M::Fyl2x
            | M::Fyl2xp1
            | M::Fnstenv
            | M::Fnsave
    )
}

#[test]
fn x87_is_as_on_the_host() {
    let mut report = String::new();
    let mut forms = 0;
    let features = [CpuidFeature::FPU, CpuidFeature::FPU387, CpuidFeature::FPU287, CpuidFeature::SSE3];
    for code in Code::values() {
        let info = code.op_code();
        let is_x87 = code.cpuid_features().iter().any(|feature| features.contains(feature))
            && format!("{code:?}").starts_with('F')
            || code == Code::Wait;
        if !is_x87 || !info.mode64() || !info.is_instruction() || info.fwait() || !is_comparable(code) {
            continue;
        }
        let (memory, _) = has_forms(code);
        let mut random = Random::new(code as u64);
        for choice in 0..4 {
            let Some(bytes) = instance(code, memory, [0, 16, 32, 5][choice], &mut random) else {
                report += &format!("{code:?}: no encoding\n");
                break;
            };
            forms += 1;
            let mut versus = Versus::new(&bytes);
            for _ in 0..150 {
                let start = start(&mut random);
                let differences = versus.run(&start).differences();
                if !differences.is_empty() {
                    let word = |at: usize| u16::from_le_bytes([start.before[at], start.before[at + 1]]);
                    report +=
                        &format!("{code:?} {bytes:02x?} {:x} {:x} {:x}\n", word(0), word(2), start.before[4]);
                    for i in 0..3 {
                        let at = 32 + 16 * i;
                        let value = u128::from_le_bytes(std::array::from_fn(|i| start.before[at + i]));
                        report += &format!("  st{i} {value:x}\n");
                    }
                    let operand = 64 + [0, 16, 32, 5][choice];
                    report += &format!("  data {:02x?}\n{differences}\n", &start.data[operand..operand + 10]);
                    break;
                }
            }
        }
    }
    assert!(report.is_empty(), "{report}");
    assert!(forms > 400, "only {forms} forms");
}
