//! A kernel ready to boot, by name: from the cache, which is filled on demand, with an initramfs that carries the agent.

use std::path::PathBuf;

use thiserror::Error;

use crate::build::{self, BuildError, Request};
use crate::cache::{Cache, CacheError, Entry};
use crate::catalogue::{Recipe, UnknownKernel, lookup};
use crate::host::Host;
use crate::initramfs::{Initramfs, InitramfsError};
use crate::modules::{ModuleError, StockModules};
use crate::progress::Silent;
use crate::stock::{self, StockError, Wanted};

/// A kernel and its initramfs.
#[derive(Debug, Clone)]
pub struct Provided {
    /// As in the catalogue, for instance `primary-6.12`.
    pub name: String,
    /// bzImage.
    pub bzimage: PathBuf,
    /// Uncompressed cpio.
    pub initrd: Vec<u8>,
}

/// A kernel cannot be had.
#[derive(Debug, Error)]
pub enum ProvisionError {
    /// No such kernel.
    #[error(transparent)]
    Unknown(#[from] UnknownKernel),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// It cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// It cannot be fetched.
    #[error(transparent)]
    Stock(#[from] StockError),
    /// Its modules cannot be read.
    #[error(transparent)]
    Modules(#[from] ModuleError),
    /// Its initramfs cannot be written.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
}

impl ProvisionError {
    /// Whether the name was wrong, rather than something missing on the host.
    pub fn is_users(&self) -> bool {
        matches!(self, ProvisionError::Unknown(_))
    }
}

/// The kernel of this name, built or fetched if it is missing; `say` is told what takes long. A saver's initramfs holds the agent
/// alone, any other also what the agent runs and loads.
///
/// # Errors
/// [`ProvisionError`].
pub fn kernel(name: &str, say: &dyn Fn(&str)) -> Result<Provided, ProvisionError> {
    let entry = entry(name, say)?;
    let mut initrd = Initramfs::new().file("/init", crate::agent::BINARY, 0o755);
    if !name.starts_with("saver-") {
        initrd = initrd.program("mke2fs")?.modules(&StockModules::of(&entry)?)?;
    }
    Ok(Provided { name: name.to_owned(), bzimage: entry.bzimage(), initrd: initrd.finish()? })
}

fn entry(name: &str, say: &dyn Fn(&str)) -> Result<Entry, ProvisionError> {
    let known = lookup(name)?;
    let cache = Cache::open()?;
    if let Some(entry) = cache.newest(name)? {
        return Ok(entry);
    }
    let host = Host::here();
    Ok(match known.recipe {
        Recipe::Build { .. } => {
            say(&format!("building {name}: a few minutes, once"));
            let request = Request { name: name.to_owned(), ..Request::default() };
            match build::build(&cache, &host, &request, &Silent)? {
                build::Outcome::Already(entry) | build::Outcome::Built(entry) => entry,
            }
        }
        Recipe::Stock { package } => {
            say(&format!("fetching {name}: once"));
            let wanted = Wanted::Package { package: package.to_owned(), version: None };
            match stock::fetch(&cache, &host, name, &wanted, &Silent)? {
                stock::Outcome::Already(entry) | stock::Outcome::Fetched(entry) => entry,
            }
        }
    })
}
