//! The functions that called the one whose first instruction a processor is about to execute.

use std::ops::Range;

use cpu::CpuState;
use ram::GuestRam;

use crate::kallsyms::Symbols;

/// Frames that are read of a stack, and words that are looked at for them.
const FRAMES: usize = 32;
const WORDS: u64 = 512;

/// A kernel in memory.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) text: Range<u64>,
    pub(super) symbols: Symbols,
}

/// The stack of a processor that runs the first instruction of a function.
pub(super) struct Stack<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) state: &'a CpuState,
    pub(super) ram: &'a GuestRam,
}

impl Stack<'_> {
    /// Who called a function, innermost first, and whether that is a guess.
    pub(super) fn callers(&self, function: &str, rsp: u64, rbp: u64) -> (Vec<String>, bool) {
        match self.by_frame_pointers(rsp, rbp) {
            Some(names) => (names, false),
            None => (self.by_return_addresses(function, rsp), true),
        }
    }

    pub(super) fn word(&self, linear: u64) -> Option<u64> {
        cpu::memory::peek(self.state, self.ram, linear)
    }

    fn byte(&self, linear: u64) -> Option<u8> {
        let word = self.word(linear & !7)?;
        word.to_le_bytes().get((linear & 7) as usize).copied()
    }

    /// The function that a return address leads back into.
    fn caller(&self, address: u64) -> Option<String> {
        if !self.kernel.text.contains(&address) {
            return None;
        }
        // A call may be the last instruction of a function.
        self.kernel.symbols.place(address.wrapping_sub(1)).map(|place| place.name)
    }

    /// The callers, if the frame pointers lead to where every stack of a task begins.
    fn by_frame_pointers(&self, rsp: u64, mut frame: u64) -> Option<Vec<String>> {
        let mut names = vec![self.caller(self.word(rsp)?)?];
        let mut above = rsp;
        while names.len() < FRAMES {
            if frame <= above {
                return None;
            }
            let name = self.caller(self.word(frame.wrapping_add(8))?)?;
            let root = ["ret_from_fork", "entry_SYSCALL_64"].iter().any(|root| name.starts_with(root));
            names.push(name);
            if root
                || names.last().is_some_and(|name| {
                    ["do_syscall_64", "kthread", "do_one_initcall"].contains(&name.as_str())
                })
            {
                return Some(names);
            }
            above = frame;
            frame = self.word(frame)?;
        }
        None
    }

    /// The callers, as far as each return address stands behind a call of the function before, or behind one by pointer.
    fn by_return_addresses(&self, function: &str, rsp: u64) -> Vec<String> {
        let mut names = Vec::new();
        let mut callee = function.to_owned();
        for word in (0..WORDS).map_while(|word| self.word(rsp.wrapping_add(8 * word))) {
            if names.len() == FRAMES {
                break;
            }
            let Some(name) = self.caller(word) else { continue };
            if self.calls(word, &callee) {
                callee.clone_from(&name);
                names.push(name);
            }
        }
        names
    }

    /// Whether what stands before a return address calls this function, or whatever a pointer says.
    fn calls(&self, address: u64, callee: &str) -> bool {
        let back = |bytes: u64| self.byte(address.wrapping_sub(bytes));
        if back(5) == Some(0xe8) {
            let bytes = [back(4), back(3), back(2), back(1)].map(Option::unwrap_or_default);
            let target = address.wrapping_add(i32::from_le_bytes(bytes) as i64 as u64);
            let name = self.kernel.symbols.place(target).map(|place| place.name).unwrap_or_default();
            return name == callee || name.starts_with("__x86_indirect_thunk");
        }
        // CALL by register, or by memory with a displacement of 8 or 32 bits.
        [2, 3, 6, 7].into_iter().any(|length| {
            back(length) == Some(0xff) && back(length - 1).is_some_and(|modrm| modrm >> 3 & 7 == 2)
        })
    }
}
