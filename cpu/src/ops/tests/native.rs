//! Every form of every integer instruction that user code may execute, against the host's own.
//!
//! Branches, the stack and repetition are tested where they are implemented.

use iced_x86::{
    Code, ConditionCode, Decoder, DecoderOptions, EncodingKind, Instruction, Mnemonic, OpCodeOperandKind,
    RflagsBits,
};

use crate::flags::RFlags;
use crate::testing::native::Block;
use crate::testing::versus::{Random, Versus, has_forms, instance};

/// Cases of each choice of operands.
const CASES: usize = 60;
/// Choices of operands of each form.
const CHOICES: usize = 6;

#[rustfmt::skip]
fn is_compared(mnemonic: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        mnemonic,
        Adc | Add | And | Cmp | Or | Sbb | Sub | Test | Xor | Dec | Inc | Neg | Not
            | Mov | Movbe | Movnti | Movsx | Movsxd | Movzx | Xchg | Bswap
            | Cbw | Cdq | Cdqe | Cqo | Cwd | Cwde | Lahf | Sahf
            | Rcl | Rcr | Rol | Ror | Sal | Sar | Shl | Shr | Shld | Shrd
            | Mul | Imul | Div | Idiv
            | Bt | Btc | Btr | Bts | Bsf | Bsr | Tzcnt | Lzcnt | Popcnt
            | Andn | Bextr | Blsi | Blsmsk | Blsr | Bzhi | Pdep | Pext | Mulx | Rorx | Sarx | Shlx | Shrx
            | Adcx | Adox | Crc32 | Xadd | Cmpxchg
            | Clc | Stc | Cmc | Cld | Std
            | Lodsb | Lodsw | Lodsd | Lodsq | Stosb | Stosw | Stosd | Stosq | Scasb | Scasw | Scasd | Scasq
            | Movsb | Movsw | Movsq | Cmpsb | Cmpsw | Cmpsq
    )
}

/// SETcc and CMOVcc: what has a condition and general operands.
fn is_conditional(code: Code) -> bool {
    use OpCodeOperandKind as Kind;
    let mut instruction = Instruction::default();
    instruction.set_code(code);
    let last = code.op_code().op_kinds().last().copied();
    instruction.condition_code() != ConditionCode::None
        && last.is_some_and(|kind| {
            matches!(kind, Kind::r8_or_mem | Kind::r16_or_mem | Kind::r32_or_mem | Kind::r64_or_mem)
        })
}

fn encodings() -> impl Iterator<Item = Code> {
    Code::values().filter(|code| {
        let info = code.op_code();
        let known = is_compared(code.mnemonic()) || is_conditional(*code);
        // Their results are undefined, or undefined for some counts.
        let undefined = [
            Code::Bswap_r16,
            Code::Shld_rm16_r16_imm8,
            Code::Shld_rm16_r16_CL,
            Code::Shrd_rm16_r16_imm8,
            Code::Shrd_rm16_r16_CL,
        ];
        // EVEX forms are of other processors.
        let encoded = matches!(code.encoding(), EncodingKind::Legacy | EncodingKind::VEX);
        info.mode64() && info.is_instruction() && known && encoded && !undefined.contains(code)
    })
}

/// Flags that the manual leaves undefined.
fn undefined_flags(bytes: &[u8]) -> RFlags {
    let instruction = Decoder::new(64, bytes, DecoderOptions::NONE).decode();
    let reported = instruction.rflags_undefined();
    let mut undefined = RFlags::empty();
    for (bit, flag) in [
        (RflagsBits::OF, RFlags::OF),
        (RflagsBits::SF, RFlags::SF),
        (RflagsBits::ZF, RFlags::ZF),
        (RflagsBits::AF, RFlags::AF),
        (RflagsBits::CF, RFlags::CF),
        (RflagsBits::PF, RFlags::PF),
    ] {
        undefined.set(flag, reported & bit != 0);
    }
    let narrow = instruction.op0_register().size() < 4 && instruction.memory_size().size() < 4;
    if narrow
        && matches!(instruction.mnemonic(), Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr | Mnemonic::Sar)
    {
        // By more than the operand's size.
        undefined.insert(RFlags::CF);
    }
    undefined
}

/// Something to start from. `near`: registers are small, so that bit strings and tables stay within the data.
fn start(random: &mut Random, near: bool) -> Block {
    let mut block = Block::new();
    for register in [0, 1, 2, 5, 6] {
        block.registers[register] = match random.below(4) {
            0 => random.below(24) as u64,
            1 => (random.below(24) as u64).wrapping_neg(),
            _ if near => random.below(48) as u64 * 8,
            2 => random.pick(&[
                0,
                1,
                1 << 63,
                1 << 31,
                0x7f,
                0x80,
                0x7fff,
                0x8000,
                i32::MAX as u64,
                u32::MAX.into(),
            ]),
            _ => random.bits(),
        };
    }
    for chunk in block.data.chunks_exact_mut(8) {
        let value = if random.below(3) == 0 { random.below(4) as u64 } else { random.bits() };
        chunk.copy_from_slice(&value.to_le_bytes());
    }
    // Sometimes what an exchange compares with is there.
    if random.below(2) == 0 {
        let (low, high) = (block.registers[0].to_le_bytes(), block.registers[2].to_le_bytes());
        block.data[64..72].copy_from_slice(&low);
        block.data[72..80].copy_from_slice(&high);
    }
    block.registers[3] = 64;
    block.registers[7] = 64 + random.below(64) as u64;
    block.flags = random.bits() & RFlags::STATUS.union(RFlags::DF).bits();
    block
}

#[test]
fn integer_instructions_are_as_on_the_host() {
    let mut forms = 0;
    let mut report = String::new();
    for code in encodings() {
        let mut random = Random::new(code as u64);
        let (memory, register) = has_forms(code);
        for place in [memory.then_some(true), register.then_some(false)].into_iter().flatten() {
            for choice in 0..CHOICES {
                let offset = [0, 16, 32, 5][choice % 4];
                let Some(bytes) = instance(code, place, offset, &mut random) else { continue };
                forms += 1;
                let undefined = undefined_flags(&bytes);
                let mut versus = Versus::new(&bytes);
                let string = Decoder::new(64, &bytes, DecoderOptions::NONE).decode().is_string_instruction();
                if string {
                    versus.pointers.push(6);
                }
                let near =
                    matches!(code.mnemonic(), Mnemonic::Bt | Mnemonic::Btc | Mnemonic::Btr | Mnemonic::Bts);
                for _ in 0..CASES {
                    let mut start = start(&mut random, near && place);
                    if string {
                        start.registers[6] = 64 + random.below(64) as u64;
                    }
                    let differences = versus.run(&start).differences_but_for(undefined.bits());
                    if !differences.is_empty() {
                        report += &format!(
                            "{code:?} {bytes:02x?} {:x?} {:x}\n{differences}\n",
                            start.registers, start.flags
                        );
                        break;
                    }
                }
            }
        }
    }
    assert!(report.is_empty(), "{report}");
    assert!(forms > 2000, "only {forms} forms");
}
