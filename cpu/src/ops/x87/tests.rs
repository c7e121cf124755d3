//! Every form of every instruction against the host's own.

use iced_x86::{Code, CpuidFeature, Mnemonic};

use crate::fp::extended::Extended;
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

/// ST(i) of an image.
fn st(image: &[u8; 512], i: usize) -> Extended {
    Extended::from_bytes(std::array::from_fn(|byte| image[32 + 16 * i + byte]))
}

/// How many units in the last place two numbers of one sign are apart.
fn apart(a: Extended, b: Extended) -> u128 {
    let ordinal =
        |value: Extended| u128::from(value.exponent()) << 63 | u128::from(value.significand & !(1 << 63));
    ordinal(a).abs_diff(ordinal(b))
}

/// The transcendental functions are our own. Everything but the last unit must be as on the host: stack, exceptions, infinities,
/// NaNs. It reduces angles with fewer bits of pi, so that angles are small here, and it does not say of any result that it is
/// exact.
#[test]
fn transcendental_functions_are_close_to_the_host() {
    let mut report = String::new();
    use Code as C;
    for code in [C::Fsin, C::Fcos, C::Fsincos, C::Fptan, C::Fpatan, C::F2xm1, C::Fyl2x, C::Fyl2xp1] {
        let mut random = Random::new(code as u64);
        let Some(bytes) = instance(code, false, 0, &mut random) else { panic!("{code:?}") };
        let mut versus = Versus::new(&bytes);
        for _ in 0..3000 {
            let mut start = start(&mut random);
            start.before[0] |= 0x20;
            let limit = match code {
                C::Fyl2x | C::Fpatan => 0x7fff,
                C::F2xm1 => 0x3fff,
                C::Fyl2xp1 => 0x3ffd,
                _ => 0x3ffe,
            };
            let operand = st(&start.before, 0);
            if operand.exponent() > limit && operand.exponent() < 0x7fff
                || code == C::F2xm1 && operand.exponent() == 0x3fff
            {
                let exponent = operand.exponent() % 8 + limit - 8;
                start.set_st(0, operand.significand, exponent | operand.sign_exponent & 0x8000);
            }
            let mut pair = versus.run(&start);
            // Results that differ by a unit may differ in how they were rounded.
            for i in 0..2 {
                let (host, ours) = (st(&pair.native.after, i), st(&pair.ours.after, i));
                if host != ours && host.is_negative() == ours.is_negative() && apart(host, ours) <= 1 {
                    pair.native.after[32 + 16 * i..][..10].copy_from_slice(&ours.to_bytes());
                }
            }
            let (precision, underflow, c1) = (0x20, 0x10, 2);
            if pair.ours.after[2] & precision == 0 {
                pair.native.after[2] &= pair.ours.after[2] | !(precision | underflow);
            }
            pair.native.after[3] = pair.native.after[3] & !c1 | pair.ours.after[3] & c1;
            let differences = pair.differences();
            if !differences.is_empty() {
                let word = |at: usize| u16::from_le_bytes([start.before[at], start.before[at + 1]]);
                report += &format!("{code:?} {:x} {:x} {:x}\n", word(0), word(2), start.before[4]);
                report +=
                    &format!("  {:x?}\n  {:x?}\n{differences}\n", st(&start.before, 0), st(&start.before, 1));
                break;
            }
        }
    }
    assert!(report.is_empty(), "{report}");
}
