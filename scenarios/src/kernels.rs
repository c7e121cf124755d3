//! The kernels of a scenario, ready to boot: by name from the catalogue, or a file with our agent beside it.

use std::path::Path;

use agent_protocol::message::Role;
use guest_kernels::bzimage::BzImage;
use guest_kernels::initramfs::Initramfs;
use guest_kernels::provision::{self, ProvisionError};
use thiserror::Error;
use vmm::Entry;

use crate::kernel::{Kernel, KernelError};
use crate::report::KernelUsed;

/// A kernel that a scenario names and that cannot be had.
#[derive(Debug, Error)]
pub enum KernelUnavailable {
    /// By name.
    #[error("{name}: {error}")]
    Provision {
        /// Its name.
        name: String,
        /// Why.
        error: ProvisionError,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] KernelError),
    /// The agent's initramfs cannot be made.
    #[error("the agent's initramfs: {0}")]
    Initramfs(String),
}

impl KernelUnavailable {
    /// Whether what the user wrote is wrong, rather than something missing on the host.
    pub fn is_users(&self) -> bool {
        match self {
            Self::Provision { error, .. } => error.is_users(),
            Self::File(_) => true,
            Self::Initramfs(_) => false,
        }
    }
}

/// Whether this names a file, and no kernel of the catalogue.
pub fn is_file(name: &str) -> bool {
    name.contains('/') || Path::new(name).is_file()
}

/// A kernel and what boots with it.
pub struct Loaded {
    /// As the scenario names it.
    pub name: String,
    /// As the machine enters it.
    pub kernel: Kernel,
    /// bzImage, for a kernel that is loaded by another one.
    pub bzimage: Vec<u8>,
    /// Initramfs with the agent.
    pub initrd: Vec<u8>,
}

impl Loaded {
    /// A kernel by name or by file. `say` is told what takes long.
    ///
    /// # Errors
    /// [`KernelUnavailable`].
    pub fn new(name: &str, is_saver: bool, say: &dyn Fn(&str)) -> Result<Self, KernelUnavailable> {
        let (path, initrd) = if is_file(name) {
            let mut initrd = Initramfs::new().file("/init", guest_kernels::agent::BINARY, 0o755);
            let failed = |error: guest_kernels::initramfs::InitramfsError| {
                KernelUnavailable::Initramfs(error.to_string())
            };
            if !is_saver {
                initrd = initrd.program("mke2fs").map_err(failed)?;
            }
            (name.into(), initrd.finish().map_err(failed)?)
        } else {
            let provided = provision::kernel(name, say)
                .map_err(|error| KernelUnavailable::Provision { name: name.to_owned(), error })?;
            (provided.bzimage, provided.initrd)
        };
        let bzimage = std::fs::read(&path)
            .map_err(|error| KernelError::Read { path: path.display().to_string(), error })?;
        Ok(Self { name: name.to_owned(), kernel: Kernel::read(&path, Entry::Pvh)?, bzimage, initrd })
    }

    /// Whether drivers of disks are modules, which a resume at boot comes too early for.
    pub fn has_modules(&self) -> bool {
        self.name.starts_with("stock-")
    }

    /// For the report.
    pub fn used_as(&self, role: Role) -> KernelUsed {
        let release =
            BzImage::parse(self.bzimage.clone()).map_or(String::new(), |image| image.release().to_owned());
        let blake3 = blake3::hash(&self.bzimage).to_hex().to_string();
        KernelUsed { role, name: self.name.clone(), release, blake3 }
    }
}
