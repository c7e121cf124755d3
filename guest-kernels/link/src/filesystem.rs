//! The file system of the ext4 workload, judged from outside, on a throw-away copy: never while an image owns it.
//!
//! `e2fsck -n` on a journal that was not replayed skips recovery and reports errors that are none, so the copy's journal
//! is replayed first, as a mount would.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use agent_protocol::journal::{self, JournalError};
use thiserror::Error;

/// The file system is not what it has to be, or cannot be judged.
#[derive(Debug, Error)]
pub enum FilesystemError {
    /// A program is missing.
    #[error("{0} is not installed; it is in the Debian package e2fsprogs")]
    Missing(&'static str),
    /// A program cannot be run.
    #[error("{program}: {error}")]
    Run {
        /// Which.
        program: &'static str,
        /// What went wrong.
        error: io::Error,
    },
    /// Damage.
    #[error("{what} ended with {code:?}:\n{output}")]
    Unclean {
        /// The call.
        what: &'static str,
        /// Its exit code.
        code: Option<i32>,
        /// What it said.
        output: String,
    },
    /// The workload's journal is not what was synced.
    #[error("journal of the ext4 workload: {0}")]
    Journal(#[from] JournalError),
}

impl FilesystemError {
    /// Whether the host could not do its part, so that nothing was learnt about the file system.
    pub fn is_hosts(&self) -> bool {
        match self {
            Self::Missing(_) | Self::Run { .. } => true,
            Self::Unclean { .. } | Self::Journal(_) => false,
        }
    }
}

/// Replays the journal of the file system in the file `copy`, which this changes; then it has to be clean, and `file` in it has to
/// hold at least `synced` records of the journal with this seed. Returns how many it holds.
///
/// # Errors
/// Any [`FilesystemError`].
pub fn check(copy: &Path, file: &str, seed: u64, synced: u64) -> Result<u64, FilesystemError> {
    // 0: nothing to do, 1: errors (here: a journal to be replayed) were corrected.
    expect("e2fsck -E journal_only", &run("e2fsck", &["-E", "journal_only", "-fy"], copy)?, &[0, 1])?;
    expect("e2fsck -fn", &run("e2fsck", &["-fn"], copy)?, &[0])?;
    let contents = run("debugfs", &["-R", &format!("cat {file}")], copy)?;
    expect("debugfs cat", &contents, &[0])?;
    Ok(journal::replay(&contents.stdout, seed, synced)?)
}

fn expect(what: &'static str, output: &Output, codes: &[i32]) -> Result<(), FilesystemError> {
    if output.status.code().is_some_and(|code| codes.contains(&code)) {
        return Ok(());
    }
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let output_text = String::from_utf8_lossy(&text).into_owned();
    Err(FilesystemError::Unclean { what, code: output.status.code(), output: output_text })
}

fn run(program: &'static str, arguments: &[&str], copy: &Path) -> Result<Output, FilesystemError> {
    // Debian keeps these where an ordinary user's PATH does not look.
    for directory in ["", "/usr/sbin", "/sbin"] {
        let path = PathBuf::from(directory).join(program);
        match Command::new(path).args(arguments).arg(copy).env("LC_ALL", "C").output() {
            Ok(output) => return Ok(output),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(FilesystemError::Run { program, error }),
        }
    }
    Err(FilesystemError::Missing(program))
}
