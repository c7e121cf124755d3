//! Who asked for a flush of a disk.
//!
//! What hands a flush to a disk's driver is no help: Linux's block layer puts flushes off to a worker (`blk_kick_flush`, then
//! `blk_mq_requeue_work`), which sends one for all that were asked for meanwhile. So the askers are watched, where they come in: at
//! `blk_insert_flush`, in the task that submits the request. Its callers are read from the stack: by frame pointers where the kernel
//! has them, otherwise by return addresses that stand behind a call of the function before, which is a good guess and is marked as one.
//!
//! A flush that a disk accepts has as its authors all who asked since the one before; if nobody did, it is the second flush of a
//! request with data (the one behind its data), and has the same. Of several disks each asker counts for the first flush of any of
//! them. A flush that the driver sends by itself, as NVMe's shutdown is, has no author. Nothing of this changes the run.

use std::fmt;
use std::ops::Range;

use cpu::CpuState;
use cpu::bus::Here;
use ram::GuestRam;
use serde::{Deserialize, Serialize};

use crate::kallsyms::Symbols;
use crate::machine::Machine;

/// Where requests with a flush come in.
const ENTRY: &str = "blk_insert_flush";
/// Frames that are read of a stack, and words that are looked at for them.
const FRAMES: usize = 32;
const WORDS: u64 = 512;

/// Who asked, innermost function first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    calls: Vec<String>,
    /// From return addresses without frame pointers.
    guessed: bool,
}

impl Author {
    /// Of a stack, innermost function first.
    fn of(stack: &[String], guessed: bool) -> Self {
        Self { calls: reduce(stack), guessed }
    }

    /// Functions: the innermost that is not the block layer's, its caller, and the outermost: a system call or a thread's function.
    pub fn calls(&self) -> &[String] {
        &self.calls
    }

    /// Whether the kernel had no frame pointers to be sure by.
    pub fn is_guessed(&self) -> bool {
        self.guessed
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.calls.is_empty() {
            return f.write_str("unknown");
        }
        write!(f, "{}{}", self.calls.join(" < "), if self.guessed { " (guessed)" } else { "" })
    }
}

/// The functions that say something.
fn reduce(stack: &[String]) -> Vec<String> {
    const PLUMBING: &[&str] =
        &["submit_bio", "__submit_bio", "blk_mq_submit_bio", "blk_insert_flush", "submit_bh"];
    const ROOTS: &[&str] = &["ret_from_fork", "kthread", "do_syscall_64", "x64_sys_call", "entry_SYSCALL_64"];
    let begins = |name: &str, with: &[&str]| with.iter().any(|start| name.starts_with(start));
    let mut names = Vec::new();
    for name in stack {
        // Parts of a function that the compiler made (`.isra.0`, `.cold`) go under its name.
        let name = name.split('.').next().unwrap_or(name);
        if names.is_empty() && begins(name, PLUMBING) {
            continue;
        }
        if begins(name, ROOTS) {
            break;
        }
        if let Some(call) = name.strip_prefix("__x64_sys_").or(name.strip_prefix("__se_sys_")) {
            names.push(call.to_owned());
            break;
        }
        names.push(name.to_owned());
    }
    if names.len() > 3 {
        names.drain(2..names.len() - 1);
    }
    names
}

/// Watches for those who ask for flushes.
#[derive(Debug)]
pub struct FlushWatch {
    kernels: Vec<Kernel>,
    /// Who asked since the last flush.
    asked: Vec<Author>,
    /// Whose the last flush was.
    last: Vec<Author>,
}

#[derive(Debug)]
struct Kernel {
    entry: u64,
    text: Range<u64>,
    symbols: Symbols,
}

impl FlushWatch {
    /// For all kernels found in memory that have their symbols there.
    fn of(ram: &GuestRam) -> Option<Self> {
        let kernels: Vec<Kernel> = Symbols::find(ram)
            .into_iter()
            .filter_map(|symbols| {
                let entry = symbols.address(ENTRY)?;
                let text = symbols.address("_stext")?..symbols.address("_etext")?;
                Some(Kernel { entry, text, symbols })
            })
            .collect();
        (!kernels.is_empty()).then(|| Self { kernels, asked: Vec::new(), last: Vec::new() })
    }

    /// Where they come in, in each kernel.
    pub(crate) fn entries(&self) -> impl Iterator<Item = u64> + '_ {
        self.kernels.iter().map(|kernel| kernel.entry)
    }

    /// Somebody asks for a flush.
    pub(crate) fn executed(&mut self, here: &Here<'_>) {
        let Here { linear, registers, state, ram, .. } = *here;
        let Some(kernel) = self.kernels.iter().find(|kernel| kernel.entry == linear) else { return };
        let stack = Stack { kernel, state, ram };
        let (rsp, rbp) = (registers[4], registers[5]);
        let author = match stack.by_frame_pointers(rsp, rbp) {
            Some(names) => Author::of(&names, false),
            None => Author::of(&stack.by_return_addresses(rsp), true),
        };
        self.asked.push(author);
    }

    /// A disk accepted a flush: whose it is.
    fn flushed(&mut self) -> Vec<Author> {
        if !self.asked.is_empty() {
            self.last = std::mem::take(&mut self.asked);
        }
        self.last.clone()
    }
}

/// The stack of a processor that runs the first instruction of a function.
struct Stack<'a> {
    kernel: &'a Kernel,
    state: &'a CpuState,
    ram: &'a GuestRam,
}

impl Stack<'_> {
    fn word(&self, linear: u64) -> Option<u64> {
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
            if root || names.last().is_some_and(|name| name == "do_syscall_64" || name == "kthread") {
                return Some(names);
            }
            above = frame;
            frame = self.word(frame)?;
        }
        None
    }

    /// The callers, as far as each return address stands behind a call of the function before, or behind one by pointer.
    fn by_return_addresses(&self, rsp: u64) -> Vec<String> {
        let mut names = Vec::new();
        let mut callee = ENTRY.to_owned();
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

impl Machine {
    /// Watches from now on for who asks for flushes, until the machine starts again: to be called when a kernel has booted. False if no
    /// kernel in memory has its symbols there (CONFIG_KALLSYMS), and nothing is watched.
    pub fn watch_flushes(&mut self) -> bool {
        self.code_watch.flushes = FlushWatch::of(&self.ram);
        // What processors remember of code that is watched now.
        self.engine.forget_jumps();
        self.code_watch.flushes.is_some()
    }

    /// Who asked for the flush that a disk just accepted: to be called once for each, where the machine stopped at it. Empty: nobody
    /// that was seen.
    pub fn flush_authors(&mut self) -> Vec<Author> {
        self.code_watch.flushes.as_mut().map(FlushWatch::flushed).unwrap_or_default()
    }

    /// As [`Machine::flush_authors`], and writes them into the write log of the disk, if it keeps one.
    pub fn record_flush_authors(&mut self, disk: u8, request: u64) -> Vec<Author> {
        let authors = self.flush_authors();
        let text = authors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let disk = self.board.pci.disks_mut().find(|other| other.config().id == disk);
        if let Some(log) = disk.and_then(|disk| disk.log_mut())
            && !authors.is_empty()
        {
            log.set_flush_author(request, &text);
        }
        authors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(stack: &[&str]) -> String {
        let stack: Vec<String> = stack.iter().map(|name| (*name).to_owned()).collect();
        Author::of(&stack, false).to_string()
    }

    #[test]
    fn a_stack_becomes_a_short_name() {
        let fsync = [
            "blk_mq_submit_bio",
            "__submit_bio",
            "submit_bio_noacct_nocheck",
            "submit_bio_wait",
            "blkdev_issue_flush",
            "ext4_sync_file",
            "vfs_fsync_range",
            "do_fsync",
            "__x64_sys_fsync",
            "x64_sys_call",
            "do_syscall_64",
        ];
        assert_eq!(author(&fsync), "blkdev_issue_flush < ext4_sync_file < fsync");
        let journal = [
            "blk_mq_submit_bio",
            "submit_bh_wbc.isra.0",
            "jbd2_journal_commit_transaction",
            "kjournald2",
            "kthread",
        ];
        assert_eq!(author(&journal), "jbd2_journal_commit_transaction < kjournald2");
        assert_eq!(author(&["blk_mq_submit_bio", "do_syscall_64"]), "unknown");
        assert_eq!(Author::of(&["a.cold".to_owned()], true).to_string(), "a (guessed)");
    }

    #[test]
    fn a_flush_is_of_all_who_asked_since_the_last_and_a_second_one_of_the_same() {
        let one = |name: &str| Author::of(&[name.to_owned()], false);
        let mut watch = FlushWatch { kernels: Vec::new(), asked: vec![one("a"), one("b")], last: Vec::new() };
        assert_eq!(watch.flushed(), [one("a"), one("b")]);
        assert_eq!(watch.flushed(), [one("a"), one("b")]);
        watch.asked.push(one("c"));
        assert_eq!(watch.flushed(), [one("c")]);
    }
}
