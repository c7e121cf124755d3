//! Differences between two correct processors that are more than a mask: which of several faults comes first, and what of a fault
//! that is left to the implementation.

use iced_x86::Mnemonic;

use crate::case::{Case, Outcome};
use crate::transcendental;

const BREAKPOINT: u8 = 3;
const INVALID_OPCODE: u8 = 6;
const STACK_FAULT: u8 = 12;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;
const ALIGNMENT: u8 = 17;
const CF: u64 = 1;

/// The reason for which these outcomes may differ, if there is one.
pub fn excuse(case: &Case, host: &Outcome, ours: &Outcome) -> Option<&'static str> {
    let of_memory = |outcome: &Outcome| {
        matches!(outcome.vector, STACK_FAULT | GENERAL_PROTECTION | PAGE_FAULT | ALIGNMENT)
    };
    let both_of_memory = of_memory(host) && of_memory(ours);
    match case.instruction.mnemonic() {
        Mnemonic::Retf | Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq if both_of_memory => {
            Some("the order in which what is popped is read and checked")
        }
        Mnemonic::Pusha | Mnemonic::Pushad if both_of_memory => {
            Some("which of several words is looked at first")
        }
        Mnemonic::Lds | Mnemonic::Les | Mnemonic::Lfs | Mnemonic::Lgs | Mnemonic::Lss | Mnemonic::Jmp
            if both_of_memory =>
        {
            Some("a far pointer is read in one part or in two")
        }
        Mnemonic::Call if both_of_memory => {
            Some("the target is checked before or after the return address is pushed")
        }
        Mnemonic::Enter if of_memory(host) && (of_memory(ours) || host.vector == ALIGNMENT) => {
            Some("ENTER looks at the new top of the stack before or after it copies pointers")
        }
        Mnemonic::Fxsave
        | Mnemonic::Fxsave64
        | Mnemonic::Fxrstor
        | Mnemonic::Fxrstor64
        | Mnemonic::Xsave
        | Mnemonic::Xsave64
        | Mnemonic::Xsaveopt
        | Mnemonic::Xsaveopt64
        | Mnemonic::Xrstor
        | Mnemonic::Xrstor64
        | Mnemonic::Fnstenv
        | Mnemonic::Fnsave
        | Mnemonic::Fldenv
        | Mnemonic::Frstor
            if both_of_memory || host.vector == PAGE_FAULT =>
        {
            Some("which part of a state area is looked at first")
        }
        Mnemonic::INVALID if case.bytes.len() > 15 && is_refused(host) && is_refused(ours) => {
            Some("whether a length or an encoding is found impossible first")
        }
        _ if transcendental::is_undefined(case) => Some("the operand of F2XM1 or FYL2XP1 is out of range"),
        _ if both_of_memory && case.instruction.memory_size().size() == 10 => {
            Some("numbers of ten bytes are read and written in two parts")
        }
        Mnemonic::Maskmovq | Mnemonic::Maskmovdqu if host.vector != BREAKPOINT => {
            Some("MASKMOV may fault for bytes that are masked, and changes to MMX before or after")
        }
        Mnemonic::Ud0 | Mnemonic::Ud1 if host.vector == INVALID_OPCODE && ours.vector == PAGE_FAULT => {
            Some("UD0 and UD1 have a ModRM byte, or have not")
        }
        Mnemonic::Rdrand | Mnemonic::Rdseed if host.registers.rflags & CF == 0 => {
            Some("the host ran out of random numbers")
        }
        _ => None,
    }
}

/// As no instruction, or as one that is too long.
fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome.vector, INVALID_OPCODE | GENERAL_PROTECTION)
}
