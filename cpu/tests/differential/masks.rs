//! What the architecture leaves open, and what two correct processors may do differently.

use std::ops::Range;

use iced_x86::{Code, Mnemonic, OpKind, RflagsBits};

use crate::arena::STACK;
use crate::case::{Case, Outcome};
use crate::segments::CODE_64;
use crate::transcendental;

/// Of the INT3 after the instruction.
const BREAKPOINT: u8 = 3;
/// What is not compared.
#[derive(Debug, Default)]
pub struct Ignored {
    pub gpr: [u64; 16],
    pub rflags: u64,
    pub x87_status: u16,
    pub mxcsr: u32,
    /// The result is an estimate.
    pub is_estimate: bool,
    memory: Vec<Range<u64>>,
}

impl Ignored {
    pub fn covers(&self, address: u64) -> bool {
        self.memory.iter().any(|range| range.contains(&address))
    }
}

/// For a case that ended like this on the host.
pub fn of(case: &Case, host: &Outcome) -> Ignored {
    let mut ignored = Ignored {
        rflags: undefined_flags(case),
        x87_status: transcendental::open_status(case, host),
        ..Ignored::default()
    };
    let instruction = &case.instruction;
    match instruction.mnemonic() {
        // Time, randomness, and what XSAVE would save: the host's.
        Mnemonic::Rdtsc => (ignored.gpr[0], ignored.gpr[2]) = (u64::MAX, u64::MAX),
        Mnemonic::Rdtscp => (ignored.gpr[0], ignored.gpr[1], ignored.gpr[2]) = (u64::MAX, u64::MAX, u64::MAX),
        Mnemonic::Rdrand | Mnemonic::Rdseed => {
            let register = instruction.op0_register();
            ignored.gpr[register.full_register().number()] = u64::MAX >> (64 - 8 * register.size());
        }
        Mnemonic::Xgetbv => (ignored.gpr[0], ignored.gpr[2]) = (u64::MAX, u64::MAX),
        Mnemonic::Rcpps | Mnemonic::Rcpss | Mnemonic::Rsqrtps | Mnemonic::Rsqrtss => {
            ignored.is_estimate = true
        }
        // Some of what they push or pop may be there before the fault.
        Mnemonic::Enter | Mnemonic::Call | Mnemonic::Pusha | Mnemonic::Pushad
            if host.vector != BREAKPOINT =>
        {
            ignored.memory.push(STACK);
        }
        Mnemonic::Popa | Mnemonic::Popad if host.vector != BREAKPOINT => ignored.gpr = [u64::MAX; 16],
        _ => x87(case, &mut ignored),
    }
    if case.form.bits == 64 && host.registers.selectors[1] != CODE_64 {
        // Leaving 64-bit mode loses upper halves (SDM 1, 3.4.1.1).
        ignored.gpr.iter_mut().for_each(|ignored| *ignored |= !0xffff_ffff);
    }
    if let Some(destination) = undefined_result(case) {
        if case.instruction.code() != Code::Bswap_r16 {
            ignored.rflags |= STATUS;
        }
        match instruction.op0_kind() {
            OpKind::Register => ignored.gpr[destination] = u64::MAX,
            _ => ignored.memory.extend(operand(case)),
        }
    }
    ignored
}

/// Flags that are undefined after this instruction, with these operands if it depends on them.
fn undefined_flags(case: &Case) -> u64 {
    let instruction = &case.instruction;
    let count = match instruction.mnemonic() {
        Mnemonic::Shl
        | Mnemonic::Sal
        | Mnemonic::Shr
        | Mnemonic::Sar
        | Mnemonic::Shld
        | Mnemonic::Shrd
        | Mnemonic::Rol
        | Mnemonic::Ror
        | Mnemonic::Rcl
        | Mnemonic::Rcr => shift_count(case),
        _ => None,
    };
    match count {
        Some(0) => return 0,
        Some(1) => return bits(instruction.rflags_undefined() & !RflagsBits::OF),
        _ => {}
    }
    bits(instruction.rflags_undefined())
}

/// CF, PF, AF, ZF, SF, OF.
const STATUS: u64 = 0x8d5;

fn shift_count(case: &Case) -> Option<u64> {
    let instruction = &case.instruction;
    let last = instruction.op_count() - 1;
    let bits = operand_bits(case);
    let count = match instruction.op_kind(last) {
        OpKind::Immediate8 => u64::from(instruction.immediate8()),
        _ => case.registers.gpr[1],
    };
    Some(count & if bits == 64 { 63 } else { 31 })
}

fn operand_bits(case: &Case) -> u64 {
    let instruction = &case.instruction;
    let bytes = match instruction.op0_kind() {
        OpKind::Register => instruction.op0_register().size(),
        _ => instruction.memory_size().size(),
    };
    8 * bytes as u64
}

fn bits(flags: u32) -> u64 {
    const BITS: [(u32, u64); 6] = [
        (RflagsBits::CF, 1 << 0),
        (RflagsBits::PF, 1 << 2),
        (RflagsBits::AF, 1 << 4),
        (RflagsBits::ZF, 1 << 6),
        (RflagsBits::SF, 1 << 7),
        (RflagsBits::OF, 1 << 11),
    ];
    BITS.iter().filter(|(flag, _)| flags & flag != 0).fold(0, |all, (_, bit)| all | bit)
}

/// Number of the destination register if nothing is said of what it holds.
fn undefined_result(case: &Case) -> Option<usize> {
    let instruction = &case.instruction;
    let number = instruction.op0_register().full_register();
    let number = if instruction.op0_kind() == OpKind::Register { number.number() } else { 0 };
    let undefined = match instruction.code() {
        Code::Bswap_r16 => true,
        _ if matches!(instruction.mnemonic(), Mnemonic::Shld | Mnemonic::Shrd) => {
            operand_bits(case) == 16 && shift_count(case).is_some_and(|count| count > 16)
        }
        _ => false,
    };
    undefined.then_some(number)
}

fn operand(case: &Case) -> Option<Range<u64>> {
    let address = case.operand_address()?;
    Some(address..address + case.instruction.memory_size().size() as u64)
}

fn x87(case: &Case, ignored: &mut Ignored) {
    let start = |ignored: &mut Ignored, offsets: Range<u64>| {
        let address = operand_of_unknown_size(case);
        ignored.memory.push(address + offsets.start..address + offsets.end);
    };
    match case.instruction.mnemonic() {
        // Pointers to the last instruction and its operand: processors differ in when they keep them.
        Mnemonic::Fnstenv | Mnemonic::Fnsave => match case.instruction.memory_size().size() {
            14 | 94 => start(ignored, 6..14),
            _ => start(ignored, 12..28),
        },
        // The same, and MXCSR_MASK.
        Mnemonic::Fxsave
        | Mnemonic::Fxsave64
        | Mnemonic::Xsave
        | Mnemonic::Xsave64
        | Mnemonic::Xsaveopt
        | Mnemonic::Xsaveopt64 => {
            start(ignored, 6..24);
            start(ignored, 28..32);
        }
        _ => {}
    }
}

fn operand_of_unknown_size(case: &Case) -> u64 {
    operand(case).map_or(0, |range| range.start)
}

/// Whether all lanes are equal, or within the error of an estimate (SDM 2B, RCPPS: relative 1.5 * 2^-12).
pub fn is_near_estimate(host: u128, ours: u128) -> bool {
    (0..4).all(|lane| {
        let number = |vector: u128| f32::from_bits((vector >> (32 * lane)) as u32);
        let (host, ours) = (number(host), number(ours));
        let close = (host - ours).abs() <= host.abs() * (3.0 / 4096.0);
        host.to_bits() == ours.to_bits() || close
    })
}
