//! One campaign at a time in a directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::StoreError;

/// Held as long as this lives, and no longer than the process does, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// The file that is locked. It says who has it.
    pub const NAME: &str = "campaign.lock";

    /// Takes it, or says who has it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn take(directory: &Path) -> Result<Self, StoreError> {
        let io = |error| StoreError::Directory { path: directory.to_owned(), error };
        let path = directory.join(Self::NAME);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(io(error)),
            Err(TryLockError::WouldBlock) => {
                let mut who = String::new();
                // Whoever it is, it is somebody.
                let _ = file.read_to_string(&mut who);
                let pid = who.trim().parse().ok();
                return Err(StoreError::Busy { directory: directory.to_owned(), pid });
            }
        }
        let pid = std::process::id().to_string();
        file.rewind()
            .and_then(|()| file.set_len(0))
            .and_then(|()| file.write_all(pid.as_bytes()))
            .map_err(io)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_free_again_when_he_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let first = Lock::take(directory.path()).unwrap();
        let said = Lock::take(directory.path()).unwrap_err().to_string();
        assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
        drop(first);
        Lock::take(directory.path()).unwrap();
        assert!(Lock::take(&directory.path().join("nowhere")).is_err());
    }
}
