//! A kernel as a machine boots it.

use std::path::Path;

use guest_kernels::bzimage::{BzImage, BzImageError, KernelFileError};
use thiserror::Error;
use vmm::Entry;

/// A kernel that cannot be booted.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The file is no kernel.
    #[error(transparent)]
    File(#[from] KernelFileError),
    /// It does not unpack.
    #[error("{path}: {error}")]
    Unpack {
        /// The file.
        path: String,
        /// Why.
        error: BzImageError,
    },
    /// It cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

/// A kernel in the form its entry needs.
pub struct Kernel {
    /// How it is entered.
    pub entry: Entry,
    /// An ELF file for PVH, a bzImage for the other.
    pub bytes: Vec<u8>,
}

impl Kernel {
    /// Reads a kernel: a bzImage, which is unpacked here for PVH, or an ELF vmlinux.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn read(path: &Path, entry: Entry) -> Result<Self, KernelError> {
        let named = || path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| KernelError::Read { path: named(), error })?;
        if entry == Entry::Pvh && bytes.starts_with(b"\x7fELF") {
            return Ok(Self { entry, bytes });
        }
        if entry == Entry::Multiboot {
            return Ok(Self { entry, bytes });
        }
        let image =
            BzImage::parse(bytes).map_err(|error| KernelFileError { path: path.to_owned(), error })?;
        let bytes = match entry {
            Entry::Pvh => image.vmlinux().map_err(|error| KernelError::Unpack { path: named(), error })?,
            Entry::BzImage | Entry::Multiboot => image.bytes().to_vec(),
        };
        Ok(Self { entry, bytes })
    }
}
