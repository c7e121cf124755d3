//! Where the kernels of a run come from: the cache, filled on demand, and an initramfs with the agent for each.

use guest_kernels::build::{self, BuildError, Request};
use guest_kernels::cache::{Cache, CacheError, Entry};
use guest_kernels::catalogue::{Recipe, UnknownKernel, lookup};
use guest_kernels::host::Host;
use guest_kernels::initramfs::{Initramfs, InitramfsError};
use guest_kernels::modules::{ModuleError, StockModules};
use guest_kernels::progress::Silent;
use guest_kernels::stock::{self, StockError, Wanted};
use thiserror::Error;

use crate::kernels::{Kernel, Kernels};

/// Modules a distribution's kernel needs in a reference run: every other one costs boot time.
const MODULES: [&str; 9] =
    ["virtio_pci", "virtio_blk", "nvme", "ahci", "sd_mod", "ext4", "rtc_cmos", "virtio_mmio", "lzo"];

/// The kernels of a run cannot be had.
#[derive(Debug, Error)]
pub enum ProvisionError {
    /// No such kernel.
    #[error(transparent)]
    Unknown(#[from] UnknownKernel),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// One cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// One cannot be fetched.
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

/// The kernels of a series (`6.12`: a primary and a saver, built if missing) or a distribution's kernel (`stock-6.12`, fetched
/// if missing). `say` is told what takes long.
///
/// # Errors
/// [`ProvisionError`].
pub fn kernels(series: &str, say: &dyn Fn(&str)) -> Result<Kernels, ProvisionError> {
    if series.starts_with("stock-") {
        return Ok(Kernels { primary: primary(series, say)?, saver: None });
    }
    let saver = format!("saver-{series}");
    let entry = entry(&saver, say)?;
    let initrd = Initramfs::new().file("/init", guest_kernels::agent::BINARY, 0o755).finish()?;
    let saver = Kernel { name: saver, bzimage: entry.bzimage(), initrd };
    Ok(Kernels { primary: primary(&format!("primary-{series}"), say)?, saver: Some(saver) })
}

fn primary(name: &str, say: &dyn Fn(&str)) -> Result<Kernel, ProvisionError> {
    let entry = entry(name, say)?;
    let initrd = Initramfs::new()
        .file("/init", guest_kernels::agent::BINARY, 0o755)
        .program("mke2fs")?
        .modules(&StockModules::of(&entry)?.only(if name.starts_with("stock-") { &MODULES } else { &[] })?)?
        .finish()?;
    Ok(Kernel { name: name.to_owned(), bzimage: entry.bzimage(), initrd })
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
