//! An image file as a [`Base`]. This is the host's: a disk holds the contents, and knows nothing of files.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use devices::disk::{Base, BaseError, SECTOR};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::{Whence, lseek};
use thiserror::Error;

/// A file that cannot be a disk. Each message names the file and the cure.
#[derive(Debug, Error)]
pub enum DiskFileError {
    /// Cannot be opened or looked at.
    #[error("disk {path}: {error}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The host's reason.
        error: io::Error,
    },
    /// A directory, a pipe, a terminal.
    #[error("disk {0} is neither a file nor a block device: give a raw disk image")]
    Kind(PathBuf),
    /// No disk has such a size.
    #[error(
        "disk {path} has {bytes} bytes, and a raw disk image has a multiple of {SECTOR} that is not 0: convert it (qemu-img convert -O raw) or extend it (truncate -s)"
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Somebody writes to it.
    #[error(
        "disk {0} is in use: another program has locked it for writing; end that program, or copy the image"
    )]
    InUse(PathBuf),
}

/// A raw image, open for reading, locked against programs that would write to it and ask before they do.
#[derive(Debug)]
pub struct DiskFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl DiskFile {
    /// Opens a raw image. Many may read it at the same time.
    ///
    /// # Errors
    /// [`DiskFileError`].
    pub fn open(path: &Path) -> Result<Self, DiskFileError> {
        let failed = |error: io::Error| DiskFileError::Open { path: path.to_owned(), error };
        // Asked before it is opened: opening a pipe waits for somebody to write.
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(DiskFileError::Kind(path.to_owned()));
        }
        let file = File::open(path).map_err(failed)?;
        // The end, since block devices have no length in their metadata.
        let bytes = lseek(&file, 0, Whence::SeekEnd).map_err(|errno| failed(errno.into()))?;
        let bytes = u64::try_from(bytes).unwrap_or(0);
        if bytes == 0 || !bytes.is_multiple_of(SECTOR) {
            return Err(DiskFileError::Size { path: path.to_owned(), bytes });
        }
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DiskFileError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        if qemu_writes(&file) {
            return Err(DiskFileError::InUse(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), file, bytes })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether QEMU has the image open for writing. It locks no file as a whole, but one byte for each permission; 101 is that of
/// writing (100 plus the number of the permission). A file system without such locks has nobody who holds one.
fn qemu_writes(file: &File) -> bool {
    const WRITE_PERMISSION: libc::off_t = 101;
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: WRITE_PERMISSION,
        l_len: 1,
        l_pid: 0,
    };
    let asked = fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock));
    asked.is_ok() && lock.l_type != libc::F_UNLCK as libc::c_short
}

impl Base for DiskFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads the file, never a mapping of it: a file that somebody truncates is an error here, and would be a signal there.
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), BaseError> {
        self.file.read_exact_at(into, offset).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::UnexpectedEof => "the file is shorter than when it was opened".into(),
                _ => error.to_string(),
            };
            BaseError::Host { offset, reason: format!("{}: {reason}", self.path.display()) }
        })
    }

    fn next_data(&self, offset: u64) -> Option<u64> {
        if offset >= self.bytes {
            return None;
        }
        let seek = i64::try_from(offset).ok().map(|offset| lseek(&self.file, offset, Whence::SeekData));
        match seek {
            Some(Ok(data)) => u64::try_from(data).ok().filter(|data| *data < self.bytes),
            Some(Err(Errno::ENXIO)) => None,
            // A host that knows no holes: all may be data.
            _ => Some(offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use devices::disk::{BaseRef, Media, MemoryBase};

    use super::*;

    fn image(directory: &Path, contents: &[u8]) -> PathBuf {
        let path = directory.join("disk.img");
        std::fs::write(&path, contents).unwrap();
        path
    }

    fn refused(path: &Path, directory: &Path) -> String {
        let message = DiskFile::open(path).unwrap_err().to_string();
        message.replace(&directory.display().to_string(), "")
    }

    #[test]
    fn what_cannot_be_a_disk_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let mut messages = vec![refused(&at.join("missing"), at), refused(at, at)];
        messages.push(refused(&image(at, &[1; 700]), at));
        messages.push(refused(&image(at, &[]), at));
        insta::assert_snapshot!(messages.join("\n"));
    }

    #[test]
    fn a_disk_that_somebody_writes_to_is_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let path = image(directory.path(), &[1; 1024]);
        let readers = (DiskFile::open(&path).unwrap(), DiskFile::open(&path).unwrap());
        drop(readers);

        let writer = OpenOptions::new().write(true).open(&path).unwrap();
        writer.lock().unwrap();
        assert!(matches!(DiskFile::open(&path), Err(DiskFileError::InUse(_))));
        drop(writer);

        let qemu = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let lock = libc::flock {
            l_type: libc::F_RDLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 101,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&qemu, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        assert!(matches!(DiskFile::open(&path), Err(DiskFileError::InUse(_))));
        drop(qemu);
        DiskFile::open(&path).unwrap();
    }

    #[test]
    fn holes_do_not_change_who_it_is_and_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sparse.img");
        let sparse = File::create(&path).unwrap();
        sparse.set_len(4 << 20).unwrap();
        sparse.write_all_at(&[5; 512], 3 << 20).unwrap();
        drop(sparse);
        let mut contents = vec![0; 4 << 20];
        contents[3 << 20..][..512].fill(5);
        let opened = Arc::new(DiskFile::open(&path).unwrap());
        assert_eq!(BaseRef::new(opened.clone()), BaseRef::new(Arc::new(MemoryBase(contents.clone()))));

        let mut media = Media::over(opened).unwrap();
        media.write(3 << 20, &[9; 100]).unwrap();
        let mut bytes = [0; 102];
        media.read((3 << 20) - 1, &mut bytes).unwrap();
        assert_eq!((bytes[0], bytes[1], bytes[100], bytes[101]), (0, 9, 9, 5));
        assert!(std::fs::read(&path).unwrap() == contents);
    }

    #[test]
    fn a_file_truncated_under_us_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = image(directory.path(), &[1; 8192]);
        let file = DiskFile::open(&path).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(4096).unwrap();
        let error = file.read(4096, &mut [0; 512]).unwrap_err();
        assert!(error.to_string().contains("shorter than when it was opened"), "{error}");
    }
}
