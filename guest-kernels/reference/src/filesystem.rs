//! A's file system judged from outside, on a throw-away copy: never while an image owns it.

use std::io;

use thiserror::Error;

use crate::disk::{Contents, DiskError};

/// The file system is not what it has to be, or cannot be judged.
#[derive(Debug, Error)]
pub enum FilesystemError {
    /// The judgement.
    #[error(transparent)]
    Judged(#[from] agent_link::filesystem::FilesystemError),
    /// The copy failed.
    #[error(transparent)]
    Copy(#[from] DiskError),
    /// The host failed.
    #[error("temporary directory: {0}")]
    Temporary(io::Error),
}

/// As [`agent_link::filesystem::check`], on a copy of a partition.
///
/// # Errors
/// Any [`FilesystemError`].
pub fn check(partition: &Contents, file: &str, seed: u64, synced: u64) -> Result<u64, FilesystemError> {
    let directory = tempfile::tempdir().map_err(FilesystemError::Temporary)?;
    let copy = directory.path().join("ext4");
    partition.save(&copy)?;
    Ok(agent_link::filesystem::check(&copy, file, seed, synced)?)
}
