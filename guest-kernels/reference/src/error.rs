//! What can go wrong in a run, and whose fault it is.

use agent_link::LinkError;
use agent_protocol::message::Failure;
use thiserror::Error;

use crate::disk::DiskError;
use crate::filesystem::FilesystemError;
use crate::qemu::QemuError;

/// A run did not behave.
#[derive(Debug, Error)]
pub enum RunError {
    /// On the agent's line.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// In QEMU.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// With the disk's file.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// In A's file system.
    #[error(transparent)]
    Filesystem(#[from] FilesystemError),
    /// With the host's files.
    #[error("{what}: {error}")]
    Host {
        /// What was done.
        what: &'static str,
        /// What went wrong.
        error: std::io::Error,
    },
    /// A sleep or a jump came back with a failure.
    #[error("{session}: came back with a failure: {failure}")]
    Outcome {
        /// Where.
        session: String,
        /// Which.
        failure: Failure,
    },
    /// A check failed.
    #[error("{0}")]
    Check(String),
    /// The run needs something the chosen kernels do not have.
    #[error("this run needs {0}")]
    Needs(&'static str),
}

impl RunError {
    /// Whether the host could not do its part, so that nothing was learnt about the guest.
    pub fn is_hosts(&self) -> bool {
        match self {
            RunError::Disk(_) | RunError::Host { .. } | RunError::Needs(_) => true,
            RunError::Qemu(error) => matches!(error, QemuError::Missing | QemuError::Start { .. }),
            RunError::Filesystem(FilesystemError::Judged(error)) => error.is_hosts(),
            RunError::Filesystem(_) => true,
            RunError::Link(_) | RunError::Outcome { .. } | RunError::Check(_) => false,
        }
    }
}
