//! Where kernel sources come from, and how they get into the cache.
//!
//! First a source is *identified*, which is quick and is part of a kernel's key; only when a kernel has to be compiled it is
//! *fetched*: downloaded and unpacked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::cache::{Cache, CacheError};
use crate::candidate;
use crate::compression::Compression;
use crate::debian::{self, AptError, Candidate, Deb, DebError};
use crate::host::{Host, HostError};
use crate::manifest::{Origin, sha256_of, sha256_of_file};
use crate::progress::Progress;

/// Why there are no sources.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The distribution's tools do not give the package.
    #[error("the distribution gives no kernel sources: {0} (for `build`, that is --source FILE)")]
    Apt(#[from] AptError),
    /// The package cannot be read.
    #[error(transparent)]
    Deb(#[from] DebError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// No room.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What was given is something else.
    #[error(
        "{path} is no kernel tree: {why}; give the directory, or a tar archive of it, that has the kernel's top Makefile"
    )]
    NotATree {
        /// What was given.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// The archive cannot be unpacked.
    #[error("{path} cannot be unpacked: {source}")]
    Unpack {
        /// The archive.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Sources that somebody chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The newest version the distribution has of a package such as `linux-source-6.12`.
    Package(String),
    /// A directory, a tar archive or a source package, with a kernel tree.
    Path(PathBuf),
}

/// A source, told from all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A version of a package.
    Package {
        /// The package.
        package: String,
        /// The version.
        version: String,
    },
    /// A directory in a state.
    Directory {
        /// Where.
        path: PathBuf,
        /// Of names, sizes and modification times below it.
        fingerprint: String,
    },
    /// A tar archive or a source package with a content.
    Archive {
        /// Where.
        path: PathBuf,
        /// Of the file.
        sha256: String,
    },
}

/// Sources that can be compiled.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The kernel tree; read only.
    pub path: PathBuf,
    /// Where it came from.
    pub origin: Origin,
}

/// What an unpacked kernel tree takes: 1.7 GiB for 6.12.
const TREE_SIZE: u64 = 2 << 30;
/// What a source package takes while it is unpacked.
const PACKAGE_SIZE: u64 = 200 << 20;
/// How a `.deb` begins.
const DEB_MAGIC: &[u8] = b"!<arch>\n";
/// Where a tar archive says what it is; every writer since 1988 does.
const TAR_MAGIC_AT: usize = 257;
const TAR_BLOCK: u64 = 512;
/// Entries in a source archive; only the progress bar needs it.
const TREE_ENTRIES: u64 = 92_000;

impl Source {
    /// Which sources these are now.
    pub fn identify(&self, cache: &Cache) -> Result<Identity, SourceError> {
        match self {
            Self::Package(package) => {
                // Without the package lists, what was unpacked before still serves.
                let version = candidate::version(cache, package)
                    .or_else(|error| unpacked_version(cache, package).ok_or(error))?;
                Ok(Identity::Package { package: package.clone(), version })
            }
            Self::Path(path) => {
                let path = fs::canonicalize(path).map_err(io_error(path))?;
                if path.is_dir() {
                    check_tree(&path, &path)?;
                    let fingerprint = fingerprint(&path).map_err(io_error(&path))?;
                    return Ok(Identity::Directory { path, fingerprint });
                }
                let sha256 = sha256_of_file(&path).map_err(io_error(&path))?;
                Ok(Identity::Archive { path, sha256 })
            }
        }
    }
}

impl Identity {
    /// What a kernel's key has of it: nothing about where on this machine the sources are.
    pub fn key(&self) -> String {
        match self {
            Self::Package { package, version } => format!("package {package} {version}"),
            Self::Directory { fingerprint, .. } => format!("directory {fingerprint}"),
            Self::Archive { sha256, .. } => format!("archive {sha256}"),
        }
    }

    /// Makes the tree available, unpacking it into the cache if it is not there.
    pub fn fetch(&self, cache: &Cache, host: &Host, progress: &dyn Progress) -> Result<Tree, SourceError> {
        match self {
            Self::Directory { path, fingerprint } => {
                let origin = Origin::Directory { path: path.clone(), fingerprint: fingerprint.clone() };
                Ok(Tree { path: path.clone(), origin })
            }
            Self::Package { package, version } => {
                let name = source_name(package, version);
                in_cache(cache, host, &name, |work| {
                    progress.begin(&format!("downloading {package} {version}"), None);
                    let wanted = Candidate { package: package.clone(), version: version.clone() };
                    let file = debian::download(&wanted, work)?;
                    progress.end();
                    let sha256 = sha256_of_file(&file).map_err(io_error(&file))?;
                    unpack_package(&file, work, progress)?;
                    fs::remove_file(&file).map_err(io_error(&file))?;
                    Ok(Origin::Package { package: package.clone(), version: version.clone(), sha256 })
                })
            }
            Self::Archive { path, sha256 } => {
                let name = format!("archive-{}", sha256.get(..16).unwrap_or(sha256));
                in_cache(cache, host, &name, |work| {
                    let mut stream =
                        BufReader::with_capacity(1 << 18, File::open(path).map_err(io_error(path))?);
                    if stream.fill_buf().map_err(io_error(path))?.starts_with(DEB_MAGIC) {
                        unpack_package(path, work, progress)?;
                    } else {
                        unpack(stream, path, work, progress)?;
                    }
                    Ok(Origin::Archive { path: path.clone(), sha256: sha256.clone() })
                })
            }
        }
    }
}

/// A tree in the cache, with a note of where it came from beside it.
fn in_cache(
    cache: &Cache,
    host: &Host,
    name: &str,
    make: impl FnOnce(&Path) -> Result<Origin, SourceError>,
) -> Result<Tree, SourceError> {
    const ORIGIN: &str = "origin.json";
    let directory = cache.source(name, |work| {
        host.check_room("unpacking the kernel's sources", work, TREE_SIZE + PACKAGE_SIZE)?;
        let origin = make(work)?;
        let note = work.join(ORIGIN);
        let text = serde_json::to_vec_pretty(&origin).map_err(|error| io_error(&note)(error.into()))?;
        fs::write(&note, text).map_err(io_error(&note))
    })?;
    let note = directory.join(ORIGIN);
    let read = || -> io::Result<Origin> { Ok(serde_json::from_slice(&fs::read(&note)?)?) };
    Ok(Tree { path: directory.join("tree"), origin: read().map_err(io_error(&note))? })
}

fn unpack_package(file: &Path, work: &Path, progress: &dyn Progress) -> Result<(), SourceError> {
    let deb = Deb::open(file)?;
    let prefix = format!("usr/src/{}.tar", deb.package);
    let mut found = false;
    deb.each_file(|inside| -> Result<_, SourceError> {
        if !inside.path.starts_with(&prefix) {
            return Ok(ControlFlow::Continue(()));
        }
        found = true;
        unpack(BufReader::with_capacity(1 << 18, inside), file, work, progress)?;
        Ok(ControlFlow::Break(()))
    })?;
    if found { Ok(()) } else { Err(deb.missing(&prefix).into()) }
}

/// Unpacks a tar archive, compressed or not, with one kernel tree in it, to `work/tree`.
fn unpack(
    mut stream: impl BufRead,
    path: &Path,
    work: &Path,
    progress: &dyn Progress,
) -> Result<(), SourceError> {
    let wrong = |source| SourceError::Unpack { path: path.to_owned(), source };
    let compression = Compression::by_magic(stream.fill_buf().map_err(wrong)?).unwrap_or(Compression::None);
    let mut archive = compression.reader(stream).map_err(wrong)?;
    let mut head = Vec::new();
    archive.by_ref().take(TAR_BLOCK).read_to_end(&mut head).map_err(wrong)?;
    if head.get(TAR_MAGIC_AT..).is_none_or(|rest| !rest.starts_with(b"ustar")) {
        let why = "it is neither a directory nor a tar archive".to_owned();
        return Err(SourceError::NotATree { path: path.to_owned(), why });
    }
    let unpacked = work.join("unpacked");
    fs::create_dir(&unpacked).map_err(wrong)?;

    progress.begin("unpacking the kernel's sources", Some(TREE_ENTRIES));
    let unpack_all = || -> io::Result<()> {
        for entry in tar::Archive::new(head.as_slice().chain(archive)).entries()? {
            entry?.unpack_in(&unpacked)?;
            progress.step("");
        }
        Ok(())
    };
    unpack_all().map_err(wrong)?;
    progress.end();

    let found: Vec<PathBuf> = fs::read_dir(&unpacked)
        .and_then(|found| found.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(wrong)?;
    let root = match found.as_slice() {
        [only] if only.is_dir() => only.clone(),
        _ => unpacked.clone(),
    };
    check_tree(&root, path)?;
    fs::rename(&root, work.join("tree")).map_err(wrong)?;
    if root != unpacked {
        fs::remove_dir(&unpacked).map_err(wrong)?;
    }
    Ok(())
}

/// Whether a directory has what every kernel tree has. `named`: what the user gave.
fn check_tree(root: &Path, named: &Path) -> Result<(), SourceError> {
    let wrong = |why: String| SourceError::NotATree { path: named.to_owned(), why };
    for needed in ["Makefile", "Kconfig", "arch/x86/Kconfig", "kernel/power/Kconfig"] {
        if !root.join(needed).is_file() {
            return Err(wrong(format!("there is no {needed} in it")));
        }
    }
    let makefile = fs::read_to_string(root.join("Makefile")).map_err(io_error(root))?;
    let has = |name: &str| makefile.lines().any(|line| line.starts_with(name) && line.contains('='));
    if has("VERSION") && has("PATCHLEVEL") {
        Ok(())
    } else {
        Err(wrong("its Makefile says no VERSION".into()))
    }
}

/// A digest of the names, sizes and modification times below a directory. Contents would take seconds to read; version
/// control and editors both change the times. What version control itself keeps there is left out.
fn fingerprint(root: &Path) -> io::Result<String> {
    let mut files = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let data = entry.metadata()?;
            if data.is_dir() {
                if entry.file_name() != ".git" {
                    pending.push(entry.path());
                }
            } else {
                let path = entry.path();
                let inside = path.strip_prefix(root).map_err(io::Error::other)?.to_owned();
                files.insert(inside, (data.len(), data.mtime(), data.mtime_nsec()));
            }
        }
    }
    let mut hash = Sha256::new();
    for (path, (size, seconds, nanoseconds)) in files {
        hash.update(path.as_os_str().as_bytes());
        hash.update(format!("\0{size} {seconds} {nanoseconds}\n"));
    }
    Ok(format!("{:x}", hash.finalize()))
}

fn source_name(package: &str, version: &str) -> String {
    format!("{package}_{version}")
}

/// The newest version of a package that is unpacked in the cache.
fn unpacked_version(cache: &Cache, package: &str) -> Option<String> {
    let prefix = source_name(package, "");
    let names = fs::read_dir(cache.sources()).ok()?.flatten();
    names
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(&prefix).map(str::to_owned))
        .max_by(|a, b| debian::compare_versions(a, b))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SourceError {
    let path = path.to_owned();
    move |source| SourceError::Io { path, source }
}

/// The key of a kernel: a digest of all that decides what comes out.
pub(crate) fn key(parts: &[&str]) -> String {
    let mut key = sha256_of(parts.join("\n").as_bytes());
    key.truncate(16);
    key
}
