//! What can be wrong with the file of a campaign, and whose fault it is.

use std::path::{Path, PathBuf};

use rusqlite::{Error, ErrorCode};
use thiserror::Error;

use crate::repro::Changed;

/// A campaign that cannot be kept, or cannot go on.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The directory cannot be used.
    #[error("{}: {error}", path.display())]
    Directory {
        /// It.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Somebody else is at work there.
    #[error("{}: a campaign is at work in this directory{}", directory.display(), who(*pid))]
    Busy {
        /// It.
        directory: PathBuf,
        /// Whose process that is, if it says so.
        pid: Option<u32>,
    },
    /// A database of something else.
    #[error("{}: these are not the results of a campaign of kjvm", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Of another kjvm.
    #[error("{}: version {found} of the format; this kjvm knows version {known}: take the kjvm that wrote it, or another directory", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Not what was written.
    #[error("{}: damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Results of something else.
    #[error("{}: the results of another campaign:{}", path.display(), told(changed))]
    Differs {
        /// The file.
        path: PathBuf,
        /// In what.
        changed: Vec<Changed>,
    },
    /// The host has no room, or cannot write.
    #[error("{}: {what}; what was decided so far is kept", path.display())]
    Host {
        /// The file.
        path: PathBuf,
        /// What it says.
        what: String,
    },
    /// What should not be.
    #[error("{}: {error}", path.display())]
    Ours {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: Error,
    },
}

fn who(pid: Option<u32>) -> String {
    pid.map_or(String::new(), |pid| format!(": process {pid}"))
}

fn told(changed: &[Changed]) -> String {
    changed
        .iter()
        .map(|Changed { what, recorded, now }| format!("\n  {what}: {recorded} there, {now} here"))
        .collect()
}

impl StoreError {
    /// What SQLite says of a file.
    pub(super) fn of(path: &Path, error: Error) -> Self {
        let path = path.to_owned();
        let what = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::TypeMismatch) => Self::Damaged { path, what },
            Some(ErrorCode::DiskFull) => Self::Host { path, what: "no room on the disk".into() },
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Host { path, what },
            _ if matches!(error, Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..)) => {
                Self::Damaged { path, what }
            }
            _ => Self::Ours { path, error },
        }
    }

    /// Whether what the user asked for is wrong.
    pub fn is_users(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Foreign { .. }
                | Self::Format { .. }
                | Self::Damaged { .. }
                | Self::Differs { .. }
        )
    }

    /// Whether the host lacks something.
    pub fn is_hosts(&self) -> bool {
        matches!(self, Self::Directory { .. } | Self::Host { .. })
    }
}
