//! What a stock kernel has as modules and a guest needs: disks, file systems, and all they depend on, in load order.

mod closure;
mod info;
mod tree;

pub use closure::{Closure, close};
pub use info::ModuleInfo;
pub use tree::ModuleTree;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::cache::Entry;

/// The modules a guest can need, by name, and what for. What a kernel has built in or lacks is left out; order matters not.
pub const WANTED: [(&str, &str); 10] = [
    ("virtio_pci", "virtio devices on PCI"),
    ("virtio_mmio", "virtio devices without PCI"),
    ("virtio_blk", "virtio disks"),
    ("nvme", "NVMe disks"),
    ("ahci", "SATA disks"),
    ("sd_mod", "disks behind SATA"),
    ("ext4", "the file system of the workloads"),
    ("rtc_cmos", "the alarm that wakes the machine"),
    ("lzo", "compressed hibernation images"),
    ("button", "the power button, which wakes from s2idle"),
];

/// Why modules cannot be had.
#[derive(Debug, Error)]
pub enum ModuleError {
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What we were about to do.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A module that is no module.
    #[error("{path} is not a kernel module: {why}; the package is damaged, fetch it again")]
    NotAModule {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A module needs another that is nowhere.
    #[error(
        "module {needed_by} needs {name}, which is neither built into the kernel nor in its package; \
         the package is incomplete (some distributions split modules off): fetch another kernel"
    )]
    MissingDependency {
        /// The one that needs it.
        needed_by: String,
        /// The one that is missing.
        name: String,
    },
    /// Modules need each other in a circle, which no loader can satisfy.
    #[error("modules depend on each other in a circle: {}", .0.join(" needs "))]
    Circle(Vec<String>),
}

pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ModuleError {
    let path = path.to_owned();
    move |source| ModuleError::Io { action, path, source }
}

/// One module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// As the kernel names it: with `_`, never `-`.
    pub name: String,
    /// Modules that must be loaded before it; those come before it in the order, too.
    pub needs: Vec<String>,
}

/// The index of the modules of an entry, as it stands in the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    /// In load order.
    pub modules: Vec<Module>,
    /// Of [`WANTED`], those built into the kernel.
    pub built_in: Vec<String>,
    /// Of [`WANTED`], those the kernel does not have at all.
    pub absent: Vec<String>,
}

/// Directory of an entry with the modules.
pub(crate) const DIRECTORY: &str = "modules";
/// The index in it.
pub(crate) const INDEX: &str = "modules.json";

/// The modules of a stock kernel in the cache, uncompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockModules {
    directory: PathBuf,
    index: Index,
}

impl StockModules {
    /// The modules of an entry; none for a kernel we built, which has everything built in.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn of(entry: &Entry) -> Result<Self, ModuleError> {
        let directory = entry.file(DIRECTORY);
        let path = directory.join(INDEX);
        let index = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Index::default(),
            text => text
                .and_then(|text| serde_json::from_slice(&text).map_err(io::Error::other))
                .map_err(io_error("read", &path))?,
        };
        Ok(Self { directory, index })
    }

    /// In the order in which they can be loaded.
    pub fn load_order(&self) -> &[Module] {
        &self.index.modules
    }

    /// Of [`WANTED`], what the kernel has built in.
    pub fn built_in(&self) -> &[String] {
        &self.index.built_in
    }

    /// Of [`WANTED`], what the kernel does not have at all.
    pub fn absent(&self) -> &[String] {
        &self.index.absent
    }

    /// The contents of a module.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn read(&self, module: &Module) -> Result<Vec<u8>, ModuleError> {
        let path = self.directory.join(format!("{}.ko", module.name));
        fs::read(&path).map_err(io_error("read", &path))
    }
}

#[cfg(test)]
#[path = "modules/tests.rs"]
pub(crate) mod tests;
