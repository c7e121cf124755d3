//! Every form of every instruction against the host's own.

use iced_x86::{Code, CpuidFeature, Mnemonic};

use crate::testing::native::Block;
use crate::testing::versus::{Random, Versus, has_forms, instance};

/// Encodings of one feature that have to be compared.
fn encodings(feature: CpuidFeature) -> impl Iterator<Item = Code> {
    Code::values().filter(move |code| {
        let info = code.op_code();
        info.mode64()
            && info.is_instruction()
            && code.cpuid_features() == [feature]
            && code.encoding() == iced_x86::EncodingKind::Legacy
    })
}

/// Estimates differ among processors, and not everything of a feature is an instruction of vectors.
fn is_comparable(code: Code) -> bool {
    !matches!(
        code.mnemonic(),
        Mnemonic::Rcpps | Mnemonic::Rcpss | Mnemonic::Rsqrtps | Mnemonic::Rsqrtss | Mnemonic::Ldmxcsr
    )
}

fn start(random: &mut Random) -> Block {
    let mut block = Block::new();
    block.set_mxcsr(random.mxcsr());
    for register in 0..16 {
        block.set_xmm(register, random.vector());
    }
    for register in 0..8 {
        let value = random.vector() as u64;
        block.set_st(register, value, 0xffff);
    }
    for register in [0, 1, 2, 5, 6] {
        block.registers[register] = match random.below(3) {
            0 => random.below(24) as u64,
            1 => (random.below(24) as u64).wrapping_neg(),
            _ => random.bits(),
        };
    }
    for chunk in block.data.chunks_exact_mut(16) {
        chunk.copy_from_slice(&random.vector().to_le_bytes());
    }
    block.registers[3] = 64;
    block.registers[7] = 64 + random.below(32) as u64;
    block.flags = random.bits() & 0x8d5;
    block
}

/// Compares this many cases of each form; what differs, if anything.
fn compare(feature: CpuidFeature, cases: usize) {
    let mut forms = 0;
    let mut report = String::new();
    for code in encodings(feature).filter(|code| is_comparable(*code)) {
        let mut random = Random::new(code as u64);
        let (memory, register) = has_forms(code);
        for place in [memory.then_some(true), register.then_some(false)].into_iter().flatten() {
            // Several choices of operands, among them a misaligned one in memory.
            for choice in 0..4 {
                let offset = [0, 16, 32, 5][choice];
                let Some(bytes) = instance(code, place, offset, &mut random) else { continue };
                forms += 1;
                let mut versus = Versus::new(&bytes);
                for _ in 0..cases / 4 {
                    let start = start(&mut random);
                    let differences = versus.run(&start).differences();
                    if !differences.is_empty() {
                        report += &format!("{code:?} {bytes:02x?} {:x}\n{differences}\n", start.mxcsr());
                        break;
                    }
                }
            }
        }
    }
    assert!(report.is_empty(), "{report}");
    assert!(forms > 10, "only {forms} forms");
}

#[test]
fn sse_is_as_on_the_host() {
    compare(CpuidFeature::SSE, 480);
}

#[test]
fn sse2_is_as_on_the_host() {
    compare(CpuidFeature::SSE2, 480);
}

#[test]
fn sse3_is_as_on_the_host() {
    compare(CpuidFeature::SSE3, 480);
}

#[test]
fn ssse3_is_as_on_the_host() {
    compare(CpuidFeature::SSSE3, 480);
}

#[test]
fn sse4_1_is_as_on_the_host() {
    compare(CpuidFeature::SSE4_1, 480);
}

#[test]
fn sse4_2_is_as_on_the_host() {
    compare(CpuidFeature::SSE4_2, 1600);
}

#[test]
fn mmx_is_as_on_the_host() {
    compare(CpuidFeature::MMX, 400);
}
