//! Where a kernel's configuration comes from: given, carried by the kernel, or lying beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Report;
use super::kconfig::KernelConfig;
use crate::bzimage::{BzImage, BzImageError, KernelFileError, embedded_config};
use crate::manifest::{self, Manifest};

/// Why a kernel cannot be judged.
#[derive(Debug, Error)]
pub enum CheckError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is no kernel.
    #[error(transparent)]
    Kernel(#[from] KernelFileError),
    /// What was given as a configuration is none.
    #[error("{0} is not a kernel configuration for x86: it has no line CONFIG_X86=y")]
    NotAConfig(PathBuf),
    /// The configuration belongs to another kernel.
    #[error(
        "{config} is the configuration of Linux {theirs}, but {kernel} is {release}: give the one it was compiled with"
    )]
    OtherKernel {
        /// The configuration.
        config: PathBuf,
        /// Its version.
        theirs: String,
        /// The kernel.
        kernel: PathBuf,
        /// What that is.
        release: String,
    },
    /// Nothing says how the kernel was configured.
    #[error(
        "{kernel} (Linux {release}) does not carry its configuration, and there is no {} beside it: give it with --config FILE \
         (distributions have it as /boot/config-{release}), or compile with CONFIG_IKCONFIG=y",
        .looked_for.join(" or ")
    )]
    NoConfig {
        /// The kernel.
        kernel: PathBuf,
        /// Its release.
        release: String,
        /// Names of files looked for.
        looked_for: Vec<String>,
    },
}

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "from", content = "path")]
pub enum ConfigSource {
    /// The kernel carries it (CONFIG_IKCONFIG).
    Kernel,
    /// A file, given or found beside the kernel.
    File(PathBuf),
}

/// What a kernel file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFacts {
    /// The file.
    pub path: PathBuf,
    /// What `uname -r` says in it; empty for a vmlinux, which does not say.
    pub release: String,
    /// How the kernel is compressed in it.
    pub compression: String,
    /// Its boot protocol; empty for a vmlinux.
    pub protocol: String,
    /// Length of the file, in bytes.
    pub len: u64,
}

/// Judges a kernel (bzImage or vmlinux) or a bare configuration. `config` goes before what the kernel carries or has beside it.
///
/// # Errors
/// If the file is neither, or nothing says how it was configured.
pub fn check(file: &Path, config: Option<&Path>) -> Result<Report, CheckError> {
    let bytes = fs::read(file).map_err(|source| CheckError::Read { path: file.to_owned(), source })?;
    if let Some(bare) = std::str::from_utf8(&bytes).ok().and_then(KernelConfig::parse) {
        return Ok(Report::new(None, ConfigSource::File(file.to_owned()), &bare));
    }
    let at = |error| KernelFileError { path: file.to_owned(), error };
    let (facts, carried) = examine(file, bytes, config.is_none()).map_err(at)?;
    if let Some(text) = carried {
        let config = KernelConfig::parse(&text).ok_or_else(|| CheckError::NotAConfig(file.to_owned()))?;
        return Ok(Report::new(Some(facts), ConfigSource::Kernel, &config));
    }
    let looked_for = vec![format!("config-{}", facts.release)];
    let path = match config {
        Some(path) => path.to_owned(),
        None => beside(file, &looked_for).ok_or_else(|| CheckError::NoConfig {
            kernel: file.to_owned(),
            release: facts.release.clone(),
            looked_for,
        })?,
    };
    let bytes = fs::read(&path).map_err(|source| CheckError::Read { path: path.clone(), source })?;
    let config = KernelConfig::parse(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| CheckError::NotAConfig(path.clone()))?;
    // The release of a distribution need not repeat the last number, but never lies about the first two.
    if let Some(theirs) = config
        .version()
        .filter(|version| !facts.release.is_empty() && series(version) != series(&facts.release))
    {
        return Err(CheckError::OtherKernel {
            theirs: theirs.to_owned(),
            config: path,
            kernel: file.to_owned(),
            release: facts.release,
        });
    }
    Ok(Report::new(Some(facts), ConfigSource::File(path), &config))
}

/// What the kernel says of itself, and, if `unpack`, the configuration it carries.
fn examine(file: &Path, bytes: Vec<u8>, unpack: bool) -> Result<(KernelFacts, Option<String>), BzImageError> {
    let mut facts = KernelFacts {
        path: file.to_owned(),
        release: String::new(),
        compression: "none".to_owned(),
        protocol: String::new(),
        len: bytes.len() as u64,
    };
    if bytes.starts_with(b"\x7fELF") {
        let carried = if unpack { embedded_config(&bytes)? } else { None };
        // Of an ELF file, only a configuration in it shows that it is a kernel.
        return match (&carried, unpack) {
            (None, true) => BzImage::parse(bytes).map(|_| (facts, carried)),
            _ => Ok((facts, carried)),
        };
    }
    let image = BzImage::parse(bytes)?;
    facts.release = image.release().to_owned();
    facts.compression = image.compression()?.to_string();
    facts.protocol = image.header.protocol();
    let carried = match unpack.then(|| image.vmlinux()) {
        // It may still lie beside it.
        None | Some(Err(BzImageError::Compression(_))) => None,
        Some(kernel) => embedded_config(&kernel?)?,
    };
    Ok((facts, carried))
}

/// In a directory of the cache `config`, elsewhere `config-<release>`.
fn beside(file: &Path, names: &[String]) -> Option<PathBuf> {
    let directory = file.parent()?;
    let ours = Manifest::read(directory).map(|_| directory.join(manifest::file::CONFIG));
    ours.into_iter().chain(names.iter().map(|name| directory.join(name))).find(|path| path.is_file())
}

/// `6.1` of `6.1.0-56-amd64`.
fn series(version: &str) -> Vec<&str> {
    version.split(|c: char| !c.is_ascii_digit()).take(2).collect()
}
