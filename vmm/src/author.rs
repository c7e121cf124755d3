//! Who asked for a flush of a disk, and who is behind a write.
//!
//! What hands a flush to a disk's driver is no help: Linux's block layer puts flushes off to a worker (`blk_kick_flush`, then
//! `blk_mq_requeue_work`), which sends one for all that were asked for meanwhile. So the askers are watched, where they come in: at
//! `blk_insert_flush`, in the task that submits the request. Its callers are read from the stack: by frame pointers where the kernel
//! has them, otherwise by return addresses that stand behind a call of the function before, which is a good guess and is marked as one.
//! Writes are watched at `blk_mq_submit_bio`, and matched by their sectors ([`writes`]).
//!
//! A flush that a disk accepts has as its authors all who asked since the one before; if nobody did, it is the second flush of a
//! request with data (the one behind its data), and has the same. Of several disks each asker counts for the first flush of any of
//! them. A flush that the driver sends by itself, as NVMe's shutdown is, has no author. Nothing of this changes the run.

mod stack;
mod writes;

use std::cell::RefCell;
use std::fmt;

use cpu::bus::Here;
use devices::disk::Extent;
use ram::GuestRam;
use serde::{Deserialize, Serialize};
use stack::{Kernel, Stack};
use writes::Writes;

use crate::kallsyms::Symbols;
use crate::machine::Machine;

/// Where requests with a flush come in, and where all do.
const FLUSH: &str = "blk_insert_flush";
const SUBMIT: &str = "blk_mq_submit_bio";

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
    const PLUMBING: &[&str] = &[
        "submit_bio",
        "__submit_bio",
        "blk_mq_submit_bio",
        "blk_insert_flush",
        "submit_bh",
        // Of swsusp: what is between a page and its bio.
        "hib_submit_io",
        "write_page",
    ];
    const ROOTS: &[&str] =
        &["ret_from_fork", "kthread", "do_one_initcall", "do_syscall_64", "x64_sys_call", "entry_SYSCALL_64"];
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
        // A system call may end in its common part.
        let calls = ["__x64_sys_", "__se_sys_", "ksys_"];
        if let Some(call) = calls.iter().find_map(|prefix| name.strip_prefix(prefix)) {
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

/// Watches for those who ask for flushes and submit writes.
#[derive(Debug, Default)]
pub struct AuthorWatch {
    kernels: Vec<Watched>,
    /// Who asked since the last flush.
    asked: Vec<Author>,
    /// Whose the last flush was.
    last: Vec<Author>,
    writes: Writes,
}

/// A kernel in memory that is watched.
#[derive(Debug)]
struct Watched {
    flush: u64,
    /// None: writes have no authors.
    submit: Option<u64>,
    kernel: Kernel,
}

impl AuthorWatch {
    /// For all kernels found in memory that have their symbols there.
    fn of(ram: &GuestRam) -> Option<Self> {
        let kernels: Vec<Watched> = Symbols::find(ram)
            .into_iter()
            .filter_map(|symbols| {
                let (flush, submit) = (symbols.address(FLUSH)?, symbols.address(SUBMIT));
                let text = symbols.address("_stext")?..symbols.address("_etext")?;
                Some(Watched { flush, submit, kernel: Kernel { text, symbols, tails: RefCell::default() } })
            })
            .collect();
        (!kernels.is_empty()).then(|| Self { kernels, ..Self::default() })
    }

    /// Where they come in, in each kernel.
    pub(crate) fn entries(&self) -> impl Iterator<Item = u64> + '_ {
        self.kernels.iter().flat_map(|watched| [Some(watched.flush), watched.submit]).flatten()
    }

    /// Somebody asks for a flush, or submits a request.
    pub(crate) fn executed(&mut self, here: &Here<'_>) {
        let Here { linear, registers, state, ram, .. } = *here;
        let comes_in = |watched: &&Watched| watched.flush == linear || watched.submit == Some(linear);
        let Some(watched) = self.kernels.iter().find(comes_in) else { return };
        let stack = Stack { kernel: &watched.kernel, state, ram };
        let author = || {
            let (names, guessed) = stack.callers(registers[4], registers[5]);
            Author::of(&names, guessed)
        };
        if watched.flush == linear {
            self.asked.push(author());
        } else {
            // RDI: the bio.
            self.writes.submit(&stack, registers[7], author);
        }
    }

    /// A disk accepted a flush: whose it is.
    fn flushed(&mut self) -> Vec<Author> {
        if !self.asked.is_empty() {
            self.last = std::mem::take(&mut self.asked);
        }
        self.last.clone()
    }
}

impl Machine {
    /// Watches from now on for who asks for flushes and submits writes, until the machine starts again: to be called when a kernel is in
    /// memory. False if no kernel there has its symbols with it (CONFIG_KALLSYMS), and nothing is watched.
    pub fn watch_authors(&mut self) -> bool {
        let watch = AuthorWatch::of(&self.ram);
        let entries = |watch: &Option<AuthorWatch>| -> Vec<u64> {
            watch.iter().flat_map(AuthorWatch::entries).collect()
        };
        // What was submitted to the kernels that are watched already is still under way.
        if entries(&watch) != entries(&self.code_watch.authors) {
            self.code_watch.authors = watch;
        }
        // What processors remember of code that is watched now.
        self.engine.forget_jumps();
        self.code_watch.authors.is_some()
    }

    /// Who asked for the flush that a disk just accepted: to be called once for each, where the machine stopped at it. Empty: nobody
    /// that was seen.
    pub fn flush_authors(&mut self) -> Vec<Author> {
        self.code_watch.authors.as_mut().map(AuthorWatch::flushed).unwrap_or_default()
    }

    /// Who is behind the write of these sectors that a disk just accepted: to be called once for each, where the machine stopped at it.
    /// Several if requests were merged. Empty: nobody that was seen.
    pub fn write_authors(&mut self, disk: u8, extent: Extent) -> Vec<Author> {
        let authors = self.code_watch.authors.as_mut();
        authors.map(|authors| authors.writes.accepted(disk, extent)).unwrap_or_default()
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
        assert_eq!(
            author(&["swap_write_page", "save_image", "swsusp_write", "ksys_write", "x"]),
            "swap_write_page < save_image < write"
        );
        assert_eq!(author(&["blk_mq_submit_bio", "do_syscall_64"]), "unknown");
        assert_eq!(Author::of(&["a.cold".to_owned()], true).to_string(), "a (guessed)");
    }

    #[test]
    fn a_flush_is_of_all_who_asked_since_the_last_and_a_second_one_of_the_same() {
        let one = |name: &str| Author::of(&[name.to_owned()], false);
        let mut watch = AuthorWatch { asked: vec![one("a"), one("b")], ..AuthorWatch::default() };
        assert_eq!(watch.flushed(), [one("a"), one("b")]);
        assert_eq!(watch.flushed(), [one("a"), one("b")]);
        watch.asked.push(one("c"));
        assert_eq!(watch.flushed(), [one("c")]);
    }
}
