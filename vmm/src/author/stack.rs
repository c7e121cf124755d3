//! The functions that called the one whose first instruction a processor is about to execute.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use cpu::CpuState;
use ram::GuestRam;

use crate::kallsyms::Symbols;

/// Frames that are read of a stack, and words that are looked at for them.
const FRAMES: usize = 32;
const WORDS: u64 = 512;
/// No function is longer.
const FUNCTION: u64 = 0x4000;
/// Functions that may follow each other by a jump at their end, as `submit_bio` and `submit_bio_noacct` do.
const TAILS: u32 = 3;
/// Where Linux puts modules.
const MODULES: Range<u64> = 0xffff_ffff_a000_0000..0xffff_ffff_ff00_0000;

/// A kernel in memory.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) text: Range<u64>,
    pub(super) symbols: Symbols,
    /// Where functions jump to at their ends, of those that were asked for.
    pub(super) tails: RefCell<BTreeMap<u64, Vec<u64>>>,
}

/// The stack of a processor that runs the first instruction of a function.
pub(super) struct Stack<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) state: &'a CpuState,
    pub(super) ram: &'a GuestRam,
}

impl Stack<'_> {
    /// Who called the function that begins, innermost first, and whether that is a guess.
    pub(super) fn callers(&self, rsp: u64, rbp: u64) -> (Vec<String>, bool) {
        match self.by_frame_pointers(rsp, rbp) {
            Some(names) => (names, false),
            None => (self.by_return_addresses(rsp), true),
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

    /// The callers, as far as each return address stands behind a call of the function before, of one that jumps there at its end, or
    /// behind a call by pointer.
    fn by_return_addresses(&self, rsp: u64) -> Vec<String> {
        let mut names = Vec::new();
        // Where the last function begins. None: nothing was called yet, and what stands on top is the caller for certain.
        let mut callee = None;
        for word in (0..WORDS).map_while(|word| self.word(rsp.wrapping_add(8 * word))) {
            if names.len() == FRAMES {
                break;
            }
            let Some((function, name)) = self.function(word) else { continue };
            if callee.is_none_or(|callee| self.calls(word, callee)) {
                callee = Some(function);
                names.push(name);
            }
        }
        names
    }

    /// The function that a return address leads back into, and its name. Modules have their symbols elsewhere.
    fn function(&self, address: u64) -> Option<(Function, String)> {
        if MODULES.contains(&address) && !self.kernel.text.contains(&address) {
            return Some((Function::OfModule(address), "(module)".into()));
        }
        let start = self.kernel.symbols.extent(address.wrapping_sub(1))?.start;
        Some((Function::At(start), self.caller(address)?))
    }

    /// Whether what stands before a return address calls this function, or whatever a pointer says.
    fn calls(&self, address: u64, callee: Function) -> bool {
        let back = |bytes: u64| self.byte(address.wrapping_sub(bytes));
        if back(5) == Some(0xe8) {
            let bytes = [back(4), back(3), back(2), back(1)].map(Option::unwrap_or_default);
            let target = address.wrapping_add(i32::from_le_bytes(bytes) as i64 as u64);
            let name = self.kernel.symbols.place(target).map(|place| place.name).unwrap_or_default();
            return name.starts_with("__x86_indirect_thunk")
                || match callee {
                    Function::At(start) => target == start || self.ends_in(target, start, TAILS),
                    Function::OfModule(inside) => {
                        MODULES.contains(&target)
                            && inside.checked_sub(target).is_some_and(|into| into < FUNCTION)
                    }
                };
        }
        // CALL by register, or by memory with a displacement of 8 or 32 bits.
        [2, 3, 6, 7].into_iter().any(|length| {
            back(length) == Some(0xff) && back(length - 1).is_some_and(|modrm| modrm >> 3 & 7 == 2)
        })
    }

    /// Whether a function ends by jumping to another one, or to one that does.
    fn ends_in(&self, function: u64, goal: u64, depth: u32) -> bool {
        let tails = self.tails(function);
        tails.contains(&goal) || depth > 1 && tails.iter().any(|next| self.ends_in(*next, goal, depth - 1))
    }

    /// Where a function that begins here jumps to out of itself: beginnings of other functions.
    fn tails(&self, function: u64) -> Vec<u64> {
        if let Some(known) = self.kernel.tails.borrow().get(&function) {
            return known.clone();
        }
        let mut found = Vec::new();
        let symbols = &self.kernel.symbols;
        if let Some(extent) = symbols.extent(function).filter(|extent| extent.start == function) {
            let end = extent.end.min(function.saturating_add(FUNCTION));
            let code: Vec<u8> = (function & !7..end)
                .step_by(8)
                .map_while(|at| self.word(at))
                .flat_map(u64::to_le_bytes)
                .skip((function & 7) as usize)
                .collect();
            for (at, window) in (function..end).zip(code.windows(5)) {
                let [0xe9, offset @ ..] = window else { continue };
                let Ok(offset) = <[u8; 4]>::try_from(offset) else { continue };
                let target = at.wrapping_add(5).wrapping_add(i32::from_le_bytes(offset) as i64 as u64);
                let begins = || symbols.extent(target).is_some_and(|other| other.start == target);
                if !extent.contains(&target) && self.kernel.text.contains(&target) && begins() {
                    found.push(target);
                }
            }
        }
        self.kernel.tails.borrow_mut().insert(function, found.clone());
        found
    }
}

/// A function on a stack.
#[derive(Debug, Clone, Copy)]
enum Function {
    /// It begins here.
    At(u64),
    /// Somewhere before this address, in a module.
    OfModule(u64),
}
