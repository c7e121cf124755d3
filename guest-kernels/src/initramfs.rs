//! The initramfs: a cpio archive in the kernel's "newc" format, written in memory by ourselves.
//!
//! The same contents give the same bytes on every host: entries in the order of their paths, inodes numbered, no times, all
//! owned by root. It is not compressed: unpacking costs the guest more than reading.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use thiserror::Error;

use crate::modules::{ModuleError, StockModules};
use crate::programs::{Program, ProgramError};

/// Why an initramfs cannot be written.
#[derive(Debug, Error)]
pub enum InitramfsError {
    /// Such a path cannot be unpacked.
    #[error("`{0}` cannot be a path in an initramfs: it must have a name, no `..` and no NUL")]
    Path(String),
    /// Something lies below what is not a directory.
    #[error("{0} is both a file and a directory of the initramfs")]
    NotADirectory(String),
    /// The format has 32 bits for it.
    #[error("{path} is too large for an initramfs: {len} bytes, the limit is 4 GiB")]
    TooLarge {
        /// In the initramfs.
        path: String,
        /// In bytes.
        len: usize,
    },
    /// A file of the host that goes into it cannot be read.
    #[error("cannot read {path} for the initramfs: {source}")]
    Read {
        /// On the host.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A program of the host.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The modules of a stock kernel.
    #[error(transparent)]
    Modules(#[from] ModuleError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory,
    File { bytes: Vec<u8>, mode: u32 },
    Symlink { target: String },
    CharacterDevice { major: u32, minor: u32 },
}

/// An initramfs in the making. Directories come by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initramfs {
    nodes: BTreeMap<String, Node>,
}

impl Default for Initramfs {
    fn default() -> Self {
        Self::new()
    }
}

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;
const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
/// Archives are padded to this, as cpio does: another can be appended.
const BLOCK: usize = 512;

impl Initramfs {
    /// With nothing but /dev/console, which PID 1 has as its standard streams before /dev is mounted.
    pub fn new() -> Self {
        Self { nodes: BTreeMap::new() }.node("dev/console", Node::CharacterDevice { major: 5, minor: 1 })
    }

    /// Adds a file, or replaces it. `mode`: permissions, such as `0o755`.
    pub fn file(self, path: &str, bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.node(path, Node::File { bytes: bytes.into(), mode: mode & 0o7777 })
    }

    /// Adds an empty directory.
    pub fn directory(self, path: &str) -> Self {
        self.node(path, Node::Directory)
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.node(path, Node::Symlink { target: target.to_owned() })
    }

    /// Adds a program of this host, with its loader and the libraries it needs, as `/bin/<name>`.
    ///
    /// # Errors
    /// If the host does not have it, or it needs a library that is not there.
    pub fn program(mut self, name: &str) -> Result<Self, InitramfsError> {
        let program = Program::find(name)?;
        for (path, host) in program.files() {
            let bytes =
                std::fs::read(host).map_err(|source| InitramfsError::Read { path: host.clone(), source })?;
            self = self.file(path, bytes, 0o755);
        }
        Ok(self)
    }

    /// Adds the modules of a stock kernel as `/modules/<number>-<name>.ko`: in the order of their names they can be loaded.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn modules(mut self, modules: &StockModules) -> Result<Self, InitramfsError> {
        for (number, module) in modules.load_order().iter().enumerate() {
            let bytes = modules.read(module)?;
            self = self.file(&format!("/modules/{number:03}-{}.ko", module.name), bytes, 0o644);
        }
        Ok(self)
    }

    /// The archive.
    ///
    /// # Errors
    /// For paths that cannot be unpacked, and files beyond 4 GiB.
    pub fn finish(self) -> Result<Vec<u8>, InitramfsError> {
        let mut archive = Archive { out: Vec::new(), inode: 0 };
        let mut nodes = self.nodes;
        for directory in parents(&nodes)? {
            nodes.entry(directory).or_insert(Node::Directory);
        }
        for (path, node) in &nodes {
            archive.entry(path, node)?;
        }
        archive.trailer();
        Ok(archive.out)
    }

    fn node(mut self, path: &str, node: Node) -> Self {
        let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        self.nodes.insert(path.join("/"), node);
        self
    }
}

/// The directories that paths need. In the order of paths a directory comes before what is in it, as unpacking wants it.
fn parents(nodes: &BTreeMap<String, Node>) -> Result<BTreeSet<String>, InitramfsError> {
    let mut directories = BTreeSet::new();
    for path in nodes.keys() {
        if path.is_empty()
            || path.contains('\0')
            || path.split('/').any(|part| part == "..")
            || path == TRAILER
        {
            return Err(InitramfsError::Path(path.clone()));
        }
        for (end, _) in path.match_indices('/') {
            let Some(parent) = path.get(..end) else { continue };
            if nodes.get(parent).is_some_and(|node| *node != Node::Directory) {
                return Err(InitramfsError::NotADirectory(format!("/{parent}")));
            }
            directories.insert(parent.to_owned());
        }
    }
    Ok(directories)
}

struct Archive {
    out: Vec<u8>,
    inode: u32,
}

impl Archive {
    fn entry(&mut self, path: &str, node: &Node) -> Result<(), InitramfsError> {
        let (mode, links, contents, device): (_, _, &[u8], _) = match node {
            Node::Directory => (DIRECTORY | 0o755, 2, &[], (0, 0)),
            Node::File { bytes, mode } => (REGULAR | mode, 1, bytes, (0, 0)),
            Node::Symlink { target } => (SYMLINK | 0o777, 1, target.as_bytes(), (0, 0)),
            Node::CharacterDevice { major, minor } => (CHARACTER | 0o600, 1, &[], (*major, *minor)),
        };
        let len = u32::try_from(contents.len())
            .map_err(|_| InitramfsError::TooLarge { path: format!("/{path}"), len: contents.len() })?;
        self.inode += 1;
        self.header(path, self.inode, mode, links, len, device);
        self.out.extend(contents);
        self.pad(4);
        Ok(())
    }

    fn trailer(&mut self) {
        self.header(TRAILER, 0, 0, 1, 0, (0, 0));
        self.pad(BLOCK);
    }

    fn header(&mut self, path: &str, inode: u32, mode: u32, links: u32, len: u32, device: (u32, u32)) {
        let (owner, group, time, checksum, disk) = (0, 0, 0, 0, (0, 0));
        let name = path.len() as u32 + 1;
        let fields =
            [inode, mode, owner, group, links, time, len, disk.0, disk.1, device.0, device.1, name, checksum];
        self.out.extend(MAGIC.bytes());
        for field in fields {
            self.out.extend(format!("{field:08x}").bytes());
        }
        self.out.extend(path.bytes());
        self.out.push(0);
        self.pad(4);
    }

    fn pad(&mut self, to: usize) {
        self.out.resize(self.out.len().next_multiple_of(to), 0);
    }
}

#[cfg(test)]
#[path = "initramfs_tests.rs"]
mod tests;
