//! Whether what an instruction loads from memory means the same to both processors.

use std::ops::RangeInclusive;

use iced_x86::{Mnemonic, OpKind, Register};

use crate::case::Case;

/// Thread-local storage and the processor's number in Linux's GDT: the host's business.
const PRIVATE_SELECTORS: RangeInclusive<u16> = 0x60..=0x7f;
/// AMD's misaligned-exception mask, which we do not have.
pub const MM: u32 = 1 << 17;

pub fn is_loadable(case: &Case) -> bool {
    if selectors(case).any(|selector| PRIVATE_SELECTORS.contains(&selector)) {
        return false;
    }
    let Some(area) = case.operand_address() else { return true };
    let word = |offset| case.memory.get(area.wrapping_add(offset));
    match case.instruction.mnemonic() {
        Mnemonic::Ldmxcsr => word(0) as u32 & MM == 0,
        Mnemonic::Fxrstor | Mnemonic::Fxrstor64 => word(24) as u32 & MM == 0,
        // Neither components that only the host has, nor its compacted form.
        Mnemonic::Xrstor | Mnemonic::Xrstor64 => {
            word(24) as u32 & MM == 0
                && word(512) & 0x7fff_fffc == word(512) & 0x7fff_0000
                && word(520) | word(528) == 0
        }
        _ => true,
    }
}

/// The selectors that an instruction may look at, but for those it has in itself.
fn selectors(case: &Case) -> impl Iterator<Item = u16> {
    let far_pointer = case.instruction.memory_size().size().saturating_sub(2) as u64;
    let (operand, popped): (Option<u16>, &[u64]) = match case.instruction.mnemonic() {
        Mnemonic::Lar | Mnemonic::Lsl | Mnemonic::Mov => (operand(case, 1, 0), &[]),
        Mnemonic::Verr | Mnemonic::Verw => (operand(case, 0, 0), &[]),
        Mnemonic::Lds | Mnemonic::Les | Mnemonic::Lfs | Mnemonic::Lgs | Mnemonic::Lss => {
            (operand(case, 1, far_pointer), &[])
        }
        Mnemonic::Jmp | Mnemonic::Call => (operand(case, 0, far_pointer), &[]),
        Mnemonic::Pop => (None, &[0]),
        // Words of 2, 4 or 8 bytes.
        Mnemonic::Retf => (None, &[2, 4, 8]),
        Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq => (None, &[2, 4, 8, 16, 32]),
        _ => (None, &[]),
    };
    let stack = case.value(if case.form.bits == 64 { Register::RSP } else { Register::ESP });
    operand
        .into_iter()
        .chain(popped.iter().map(move |offset| case.memory.get(stack.wrapping_add(*offset)) as u16))
}

fn operand(case: &Case, operand: u32, offset: u64) -> Option<u16> {
    match case.instruction.op_kind(operand) {
        OpKind::Register => Some(case.value(case.instruction.op_register(operand)) as u16),
        OpKind::Memory => Some(case.memory.get(case.operand_address()?.wrapping_add(offset)) as u16),
        _ => None,
    }
}
