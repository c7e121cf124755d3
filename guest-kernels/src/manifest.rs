//! What a kernel in the cache is, from what it was made, and the hash of each of its files.
//!
//! A manifest is the last file written into an entry: an entry without a valid one does not exist.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Name of the manifest inside an entry.
pub const FILE_NAME: &str = "manifest.json";

/// Version of the format; an entry of any other version is made again.
pub const FORMAT: u32 = 1;

/// Names of the files that entries of both kinds have.
pub mod file {
    /// The bootable image.
    pub const BZIMAGE: &str = "bzImage";
    /// The configuration it was compiled with.
    pub const CONFIG: &str = "config";
    /// Addresses of its symbols.
    pub const SYSTEM_MAP: &str = "System.map";
}

/// How a kernel came to be in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Compiled here.
    Built,
    /// Compiled by the distribution.
    Stock,
}

/// What a kernel was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Origin {
    /// A package of the distribution, or a `.deb` file somebody had.
    Package {
        /// Its name.
        package: String,
        /// Its version, as the distribution writes it.
        version: String,
        /// Of the `.deb`, lower-case hexadecimal.
        sha256: String,
    },
    /// A directory with a kernel tree.
    Directory {
        /// Where it was.
        path: PathBuf,
        /// Of the names, sizes and modification times of its files.
        fingerprint: String,
    },
    /// A tar archive with a kernel tree.
    Archive {
        /// Where it was.
        path: PathBuf,
        /// Of the archive, lower-case hexadecimal.
        sha256: String,
    },
}

/// The tools a kernel was compiled with, each by its own first line of `--version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    /// The C compiler.
    pub compiler: String,
    /// The linker.
    pub linker: String,
}

/// One file of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// In bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// A configuration fragment or a patch that a kernel was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceRecord {
    /// Its name, or the path it was read from.
    pub name: String,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// What a kernel is and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The name it is asked for by, such as `primary-6.12`.
    pub name: String,
    /// How it came to be here.
    pub kind: Kind,
    /// What `uname -r` says in it.
    pub release: String,
    /// What tells it from other kernels of the same name: a digest of all it was made from.
    pub key: String,
    /// What it was made from.
    pub origin: Origin,
    /// What it was made with; `None` for a stock kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Tools>,
    /// The configuration fragments it was made from, in the order they were merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fragments: Vec<PieceRecord>,
    /// The patches its sources were changed by, in the order they were applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<PieceRecord>,
    /// How long `make` took, in seconds of wall time; `None` for a stock kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_seconds: Option<f64>,
    /// Every file beside the manifest, by its path inside the entry. Filled in when the entry is published.
    #[serde(default)]
    pub files: BTreeMap<String, FileRecord>,
}

impl Manifest {
    /// A manifest with what every kernel has; the rest is filled in by name.
    pub fn new(name: &str, kind: Kind, key: &str, release: &str, origin: Origin) -> Self {
        Self {
            format: FORMAT,
            name: name.to_owned(),
            kind,
            release: release.to_owned(),
            key: key.to_owned(),
            origin,
            tools: None,
            fragments: Vec::new(),
            patches: Vec::new(),
            build_seconds: None,
            files: BTreeMap::new(),
        }
    }

    /// Reads the manifest of an entry. `None`: there is none, it is damaged or of another version, or a file it names is
    /// missing or of another size.
    pub fn read(entry: &Path) -> Option<Self> {
        let text = fs::read(entry.join(FILE_NAME)).ok()?;
        let manifest: Self = serde_json::from_slice(&text).ok()?;
        let whole = manifest.format == FORMAT
            && manifest.files.contains_key(file::BZIMAGE)
            && manifest.files.iter().all(|(path, record)| {
                fs::metadata(entry.join(path))
                    .is_ok_and(|found| found.is_file() && found.len() == record.size)
            });
        whole.then_some(manifest)
    }

    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.files.values().map(|record| record.size).sum()
    }

    /// The files of an entry that no longer have the recorded contents.
    pub fn damaged(&self, entry: &Path) -> Vec<String> {
        let same = |path: &str, record: &FileRecord| {
            sha256_of_file(&entry.join(path)).is_ok_and(|sum| sum == record.sha256)
        };
        self.files.iter().filter(|(path, record)| !same(path, record)).map(|(path, _)| path.clone()).collect()
    }
}

/// Hashes everything below a directory, by path inside it, making each file durable on the way.
pub(crate) fn record_files(root: &Path) -> io::Result<BTreeMap<String, FileRecord>> {
    let mut records = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for found in fs::read_dir(&directory)? {
            let found = found?;
            if found.file_type()?.is_dir() {
                pending.push(found.path());
                continue;
            }
            let path = found.path();
            let inside = path.strip_prefix(root).map_err(io::Error::other)?.to_string_lossy().into_owned();
            File::open(&path)?.sync_all()?;
            records
                .insert(inside, FileRecord { size: found.metadata()?.len(), sha256: sha256_of_file(&path)? });
        }
    }
    Ok(records)
}

/// SHA-256 of a file, in lower-case hexadecimal.
pub fn sha256_of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer)?;
        let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { break };
        hash.update(piece);
    }
    Ok(format!("{:x}", hash.finalize()))
}

/// SHA-256 of bytes, in lower-case hexadecimal.
pub fn sha256_of(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
