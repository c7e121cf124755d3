//! Kernels as the distribution compiled them: fetched, unpacked, and laid into the cache with the modules a guest needs.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::bzimage::{BzImage, BzImageError};
use crate::cache::{Begun, Cache, CacheError, Entry, Pending};
use crate::debian::{self, AptError, Candidate, Deb, DebError};
use crate::host::{Host, HostError};
use crate::manifest::{Kind, Manifest, Origin, file, sha256_of, sha256_of_file};
use crate::modules::{self, Index, ModuleError, ModuleTree, WANTED};
use crate::progress::Progress;

/// Why a stock kernel cannot be had.
#[derive(Debug, Error)]
pub enum StockError {
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The package manager.
    #[error(transparent)]
    Apt(#[from] AptError),
    /// The package.
    #[error(transparent)]
    Deb(#[from] DebError),
    /// The host: no room.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The kernel in the package.
    #[error("the kernel in {path}: {error}")]
    Kernel {
        /// The package file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: BzImageError,
    },
    /// Its modules.
    #[error(transparent)]
    Modules(#[from] ModuleError),
    /// A package of something else.
    #[error(
        "{path} (package {package}) holds no kernel: it has no boot/vmlinuz-*. Meta packages only depend on the one that does: \
         give linux-image-<version>-amd64"
    )]
    NoKernel {
        /// The file.
        path: PathBuf,
        /// Its package.
        package: String,
    },
    /// A file cannot be written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What we were about to do.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Which kernel is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// From the distribution.
    Package {
        /// A kernel package, or a meta package: the newest is taken then, unless there is a version.
        package: String,
        /// The package's version, the kernel's, or its release.
        version: Option<String>,
    },
    /// A `.deb` file.
    File(PathBuf),
}

/// What [`fetch`] did.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was there.
    Already(Entry),
    /// It is there now.
    Fetched(Entry),
}

/// What a package and its contents take while they are laid out: 107 MiB and 400 MiB for the largest seen.
const ROOM: u64 = 700 << 20;
/// Changes whenever entries are laid out otherwise, so that older ones are made again.
const LAYOUT: u32 = 1;
/// Subdirectories of an entry in the making, gone when it is finished.
const DOWNLOAD: &str = "download";
const UNPACKED: &str = "unpacked";
/// A System.map below this is the note that it is in another package.
const SYSTEM_MAP_LEAST: u64 = 4096;

/// Gets a stock kernel into the cache under a name. A series in the name (`stock-6.1`) is held to: what a meta package stands
/// for moves with the distribution's release.
///
/// # Errors
/// If there is no such package or version, the package is damaged or no kernel's, or there is no room.
pub fn fetch(
    cache: &Cache,
    host: &Host,
    name: &str,
    wanted: &Wanted,
    progress: &dyn Progress,
) -> Result<Outcome, StockError> {
    match wanted {
        Wanted::Package { package, version } => {
            if let Some(version) = version
                && let Some(key) = exact_key(cache, name, version)?
                && let Begun::Finished(entry) = cache.begin(Kind::Stock, name, &key)?
            {
                return Ok(Outcome::Already(entry));
            }
            let found = match debian::resolve(package, series(name), version.as_deref()) {
                Ok(found) => found,
                // Without the package lists, what was fetched before still serves.
                Err(error) => match cache.newest(name)?.filter(|_| version.is_none()) {
                    Some(entry) => return Ok(Outcome::Already(entry)),
                    None => return Err(error.into()),
                },
            };
            let pending = match cache.begin(Kind::Stock, name, &key(&found.version, None))? {
                Begun::Finished(entry) => return Ok(Outcome::Already(entry)),
                Begun::Pending(pending) => pending,
            };
            host.check_room(&format!("fetching {name}"), pending.path(), ROOM)?;
            let deb = download(&found, &pending, progress)?;
            lay_out(name, &deb, pending, progress)
        }
        Wanted::File(path) => {
            let deb = Deb::open(path)?;
            let sha256 = sha256_of_file(path).map_err(io_error("read", path))?;
            match cache.begin(Kind::Stock, name, &key(&deb.version, Some(&sha256)))? {
                Begun::Finished(entry) => Ok(Outcome::Already(entry)),
                Begun::Pending(pending) => {
                    host.check_room(&format!("unpacking {name}"), pending.path(), ROOM)?;
                    lay_out(name, &deb, pending, progress)
                }
            }
        }
    }
}

/// The key says version, layout and what is collected. The distribution's packages are told apart by their version; two files
/// of one version need not be the same.
fn key(version: &str, sha256: Option<&str>) -> String {
    let mut digest = format!("layout {LAYOUT}\nfile {}\n", sha256.unwrap_or("distribution"));
    for (module, _) in WANTED {
        digest += &format!("module {module}\n");
    }
    let digest = sha256_of(digest.as_bytes());
    // A colon (epoch) is unusual in file names.
    format!("{}-{}", version.replace(':', "+"), digest.get(..12).unwrap_or(&digest))
}

/// The key of an entry that has this exact version already: then nobody need be asked.
fn exact_key(cache: &Cache, name: &str, version: &str) -> Result<Option<String>, CacheError> {
    let of_this_version = |entry: &Entry| match &entry.manifest.origin {
        Origin::Package { version: has, .. } => {
            (has == version || entry.manifest.release == version) && entry.manifest.key == key(has, None)
        }
        _ => false,
    };
    Ok(cache.find(name)?.into_iter().find(of_this_version).map(|entry| entry.manifest.key))
}

/// `6.1` of `stock-6.1-cloud`.
fn series(name: &str) -> Option<&str> {
    name.split('-').find(|part| {
        part.split_once('.').is_some_and(|(major, minor)| {
            [major, minor]
                .iter()
                .all(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
        })
    })
}

fn download(found: &Candidate, pending: &Pending, progress: &dyn Progress) -> Result<Deb, StockError> {
    let directory = pending.path().join(DOWNLOAD);
    fs::create_dir(&directory).map_err(io_error("make", &directory))?;
    progress.begin(&format!("downloading {} {}", found.package, found.version), None);
    let deb = Deb::open(&debian::download(found, &directory)?)?;
    progress.end();
    Ok(deb)
}

/// Unpacks what is needed, finds the modules, and publishes the entry.
fn lay_out(name: &str, deb: &Deb, pending: Pending, progress: &dyn Progress) -> Result<Outcome, StockError> {
    let work = pending.path().to_owned();
    let unpacked = work.join(UNPACKED);
    let sha256 = sha256_of_file(deb.path()).map_err(io_error("read", deb.path()))?;

    progress.begin(&format!("unpacking {}", deb.package), None);
    unpack(deb, &work, &unpacked, progress)?;
    progress.end();
    let kernel = work.join(file::BZIMAGE);
    if !kernel.is_file() {
        return Err(StockError::NoKernel { path: deb.path().to_owned(), package: deb.package.clone() });
    }
    let bytes = fs::read(&kernel).map_err(io_error("read", &kernel))?;
    let kernel =
        BzImage::parse(bytes).map_err(|error| StockError::Kernel { path: deb.path().to_owned(), error })?;

    progress.begin("collecting modules", None);
    let tree = ModuleTree::open(&unpacked)?;
    let wanted = WANTED.map(|(module, _)| module);
    let index = Index::from(modules::close(&tree, &wanted)?);
    store(&tree, &index, &work.join(modules::DIRECTORY))?;
    progress.end();

    for scratch in [work.join(DOWNLOAD), unpacked] {
        match fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &scratch)(error));
            }
            _ => {}
        }
    }
    let origin = Origin::Package { package: deb.package.clone(), version: deb.version.clone(), sha256 };
    // The name and key are those the entry was begun with.
    let manifest = Manifest::new(name, Kind::Stock, "", kernel.release(), origin);
    Ok(Outcome::Fetched(pending.publish(manifest)?))
}

/// Kernel and configuration to their places, all that is about modules to `unpacked`.
fn unpack(deb: &Deb, work: &Path, unpacked: &Path, progress: &dyn Progress) -> Result<(), StockError> {
    fs::create_dir(unpacked).map_err(io_error("make", unpacked))?;
    deb.each_file(|mut file| -> Result<_, StockError> {
        let path = file.path.strip_prefix("usr/").unwrap_or(&file.path);
        let to = if path.starts_with("boot/vmlinuz-") {
            Some(work.join(file::BZIMAGE))
        } else if path.starts_with("boot/config-") {
            Some(work.join(file::CONFIG))
        } else if path.starts_with("boot/System.map-") && file.size >= SYSTEM_MAP_LEAST {
            Some(work.join(file::SYSTEM_MAP))
        } else {
            // lib/modules/<release>/...; a path that leads elsewhere is not followed.
            path.strip_prefix("lib/modules/")
                .and_then(|path| path.split_once('/'))
                .map(|(_, path)| path)
                .filter(|path| !path.split('/').any(|part| part == ".."))
                .filter(|path| path.contains(".ko") || path.starts_with("modules.builtin"))
                .map(|path| unpacked.join(path))
        };
        if let Some(to) = to {
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(io_error("make", parent))?;
            }
            file.copy_to(&to)?;
            progress.step(&file.path);
        }
        Ok(ControlFlow::Continue(()))
    })
}

fn store(tree: &ModuleTree, index: &Index, directory: &Path) -> Result<(), StockError> {
    fs::create_dir(directory).map_err(io_error("make", directory))?;
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, bytes).map_err(io_error("write", &path))
    };
    for module in &index.modules {
        write(&format!("{}.ko", module.name), &tree.read(&module.name)?)?;
    }
    let text =
        serde_json::to_vec_pretty(index).map_err(|error| io_error("write", directory)(error.into()))?;
    write(modules::INDEX, &text)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StockError {
    let path = path.to_owned();
    move |source| StockError::Io { action, path, source }
}

#[cfg(test)]
#[path = "stock_tests.rs"]
mod tests;
