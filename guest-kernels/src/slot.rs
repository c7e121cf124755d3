//! A directory that comes into being all at once, whoever dies on the way.
//!
//! The work is done in a hidden sibling, and a rename publishes it. The sibling itself is the lock (`flock` on the open
//! directory): it needs no cleaning up, a dead process lets go of it, and a hidden directory that nobody holds is rubbish.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What [`acquire`] found.
#[derive(Debug)]
pub(crate) enum Slot {
    /// The directory is there, whole.
    Finished,
    /// Ours to make.
    Open(Workspace),
}

/// A hidden directory to work in, ours alone. Dropped without being published, it is removed.
#[derive(Debug)]
pub(crate) struct Workspace {
    hidden: PathBuf,
    target: PathBuf,
    lock: File,
    published: bool,
}

/// Waits until nobody else works on `target`; then says whether it is there (as `finished` judges) or hands out an empty
/// directory to make it in. A `target` that is there but not finished is removed.
pub(crate) fn acquire(target: &Path, finished: impl Fn(&Path) -> bool) -> io::Result<Slot> {
    let hidden = hidden_sibling(target)?;
    if finished(target) {
        return Ok(Slot::Finished);
    }
    loop {
        fs::create_dir_all(&hidden)?;
        let Some(lock) = lock(&hidden, true)? else { continue };
        if finished(target) {
            fs::remove_dir_all(&hidden)?;
            return Ok(Slot::Finished);
        }
        empty(&hidden)?;
        if target.exists() {
            remove(target)?;
        }
        return Ok(Slot::Open(Workspace { hidden, target: target.to_owned(), lock, published: false }));
    }
}

/// Removes the hidden directories in `parent` that nobody holds: left by processes that died.
pub(crate) fn sweep(parent: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let ours = entry.file_name().as_encoded_bytes().starts_with(b".") && entry.file_type()?.is_dir();
        if ours && let Some(_lock) = lock(&entry.path(), false)? {
            tracing::debug!(path = %entry.path().display(), "removing what a dead process left");
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Removes a published directory, at once for every reader.
pub(crate) fn remove(target: &Path) -> io::Result<()> {
    let doomed = hidden_sibling(target)?.with_extension(format!("doomed-{}", std::process::id()));
    // Held, so that nobody sweeps it away under our hands.
    let Some(_lock) = lock(target, true)? else { return Ok(()) };
    fs::rename(target, &doomed)?;
    fs::remove_dir_all(doomed)
}

impl Workspace {
    /// Where to work.
    pub fn path(&self) -> &Path {
        &self.hidden
    }

    /// The open, locked directory. A child process that holds it too keeps others out should we be killed before it.
    pub fn lock(&self) -> &File {
        &self.lock
    }

    /// Makes the directory visible under its name.
    pub fn publish(mut self) -> io::Result<PathBuf> {
        fs::rename(&self.hidden, &self.target)?;
        self.published = true;
        if let Some(parent) = self.target.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(self.target.clone())
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs::remove_dir_all(&self.hidden)
        {
            tracing::warn!(path = %self.hidden.display(), %error, "cannot be removed");
        }
    }
}

fn hidden_sibling(target: &Path) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".partial");
    Ok(target.with_file_name(hidden))
}

/// Locks a directory. `None`: it went away meanwhile, or somebody holds it and we were not to wait.
fn lock(path: &Path, wait: bool) -> io::Result<Option<File>> {
    let directory = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        directory => directory?,
    };
    match directory.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) if wait => {
            tracing::info!("another process is making {}: waiting for it", path.display());
            directory.lock()?;
        }
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Its holder may have published or removed it before we got the lock: then this is not the directory of that name.
    let held = directory.metadata()?;
    let named = fs::metadata(path).ok();
    let same = named.is_some_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino()));
    Ok(same.then_some(directory))
}

fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
