//! Differences between two correct processors that are more than a mask: which of several faults comes first, and what of a fault
//! that is left to the implementation.

use iced_x86::Mnemonic;

use crate::case::{Case, Outcome};

const BREAKPOINT: u8 = 3;
const INVALID_OPCODE: u8 = 6;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;

/// The reason for which these outcomes may differ, if there is one.
pub fn excuse(case: &Case, host: &Outcome, ours: &Outcome) -> Option<&'static str> {
    match case.instruction.mnemonic() {
        Mnemonic::Retf
            if host.vector == PAGE_FAULT && matches!(ours.vector, PAGE_FAULT | GENERAL_PROTECTION) =>
        {
            Some("RETF reads the caller's stack before it looks at the selector")
        }
        Mnemonic::Enter if host.vector == PAGE_FAULT && ours.vector == PAGE_FAULT => {
            Some("ENTER looks at the new top of the stack before or after it copies pointers")
        }
        Mnemonic::Maskmovq | Mnemonic::Maskmovdqu if host.vector != BREAKPOINT => {
            Some("MASKMOV may fault for bytes that are masked, and changes to MMX before or after")
        }
        Mnemonic::Ud0 | Mnemonic::Ud1 if host.vector == INVALID_OPCODE && ours.vector == PAGE_FAULT => {
            Some("UD0 and UD1 have a ModRM byte, or have not")
        }
        _ => None,
    }
}
