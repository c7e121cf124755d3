//! The kernels of a scenario, ready to boot: by name from the catalogue, or a file with our agent beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_protocol::message::Role;
use guest_kernels::build::{self, BuildError, Outcome, Request};
use guest_kernels::bzimage::{BzImage, embedded_config};
use guest_kernels::cache::{Cache, CacheError};
use guest_kernels::check::{self, Ability, ConfigSource};
use guest_kernels::host::Host;
use guest_kernels::initramfs::{Initramfs, InitramfsError};
use guest_kernels::progress::Silent;
use guest_kernels::provision::{self, ProvisionError};
use thiserror::Error;
use vmm::Entry;

use crate::kernel::{Kernel, KernelError};
use crate::language::{BuildSpec, Scenario, Step};
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
        error: Box<ProvisionError>,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] KernelError),
    /// It is to be compiled, and cannot be.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The agent's initramfs cannot be made.
    #[error("the agent's initramfs: {0}")]
    Initramfs(#[from] InitramfsError),
}

impl KernelUnavailable {
    /// Whether what the user wrote is wrong, rather than something missing on the host.
    pub fn is_users(&self) -> bool {
        match self {
            Self::Provision { error, .. } => error.is_users(),
            Self::File(_) | Self::Build(BuildError::NoVariant(_) | BuildError::Unknown(_)) => true,
            Self::Build(_) | Self::Cache(_) | Self::Initramfs(_) => false,
        }
    }
}

/// Whether this names a file, and no kernel of the catalogue.
pub fn is_file(name: &str) -> bool {
    name.contains('/') || Path::new(name).is_file()
}

/// Every kernel of a scenario.
pub struct Kernels {
    /// A.
    pub primary: Arc<Loaded>,
    /// B, and C.
    pub saver: Option<Arc<Loaded>>,
    /// Those of single boots.
    pub others: Vec<Arc<Loaded>>,
}

impl Kernels {
    /// Those that a scenario names, each from `get`, which is told its name, how it is built if it is, and whether it is a saver.
    ///
    /// # Errors
    /// Those of `get`.
    pub fn gather<E>(
        scenario: &Scenario,
        mut get: impl FnMut(&str, Option<&BuildSpec>, bool) -> Result<Arc<Loaded>, E>,
    ) -> Result<Self, E> {
        let spec = &scenario.kernel;
        let mut get =
            |name: &str, is_saver| get(name, spec.builds.iter().find(|build| build.name == name), is_saver);
        let primary = get(&spec.primary, false)?;
        let saver = spec.saver.as_deref().map(|saver| get(saver, true)).transpose()?;
        let mut others: Vec<Arc<Loaded>> = Vec::new();
        for step in &scenario.steps {
            let Some(name) = &step.boot.kernel else { continue };
            if *name != spec.primary && others.iter().all(|other| other.name != *name) {
                others.push(get(name, step.step == Step::Restore)?);
            }
        }
        Ok(Self { primary, saver, others })
    }

    /// One that a step names.
    pub fn named(&self, name: &str) -> Option<&Loaded> {
        [&self.primary].into_iter().chain(&self.others).find(|kernel| kernel.name == name).map(Arc::as_ref)
    }

    /// Why these kernels cannot do what a scenario asks, as far as their configurations are known. None: they can.
    pub fn cannot(&self, scenario: &Scenario) -> Option<String> {
        let saver = self.saver.as_ref().and_then(|saver| saver.cannot(&scenario.asks_of_saver()));
        self.primary.cannot(&scenario.asks_of_primary()).or(saver)
    }
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
    /// Its file, beside which its configuration may lie.
    path: PathBuf,
}

impl Loaded {
    /// A kernel by name or by file. `say` is told what takes long.
    ///
    /// # Errors
    /// [`KernelUnavailable`].
    pub fn new(name: &str, is_saver: bool, say: &dyn Fn(&str)) -> Result<Self, KernelUnavailable> {
        if is_file(name) {
            return Self::of_file(name, name.into(), agents_initrd(is_saver)?);
        }
        let provided = provision::kernel(name, say).map_err(|error| KernelUnavailable::Provision {
            name: name.to_owned(),
            error: Box::new(error),
        })?;
        Self::of_file(name, provided.bzimage, provided.initrd)
    }

    /// A kernel that is compiled first, unless that was done before.
    ///
    /// # Errors
    /// [`KernelUnavailable`].
    pub fn built(spec: &BuildSpec, is_saver: bool, say: &dyn Fn(&str)) -> Result<Self, KernelUnavailable> {
        say(&format!("building {}: a few minutes, once", spec.name));
        let BuildSpec { name, source, config } = spec.clone();
        let request = Request { name, source, config, ..Request::default() };
        let (Outcome::Already(entry) | Outcome::Built(entry)) =
            build::build(&Cache::open()?, &Host::here(), &request, &Silent)?;
        Self::of_file(&spec.name, entry.bzimage(), agents_initrd(is_saver)?)
    }

    fn of_file(name: &str, path: PathBuf, initrd: Vec<u8>) -> Result<Self, KernelUnavailable> {
        let bzimage = std::fs::read(&path)
            .map_err(|error| KernelError::Read { path: path.display().to_string(), error })?;
        let kernel = Kernel::read(&path, Entry::Pvh)?;
        Ok(Self { name: name.to_owned(), kernel, bzimage, initrd, path })
    }

    /// Why it cannot do all of this: the first thing it lacks, with the settings of its configuration. None: it can, or nobody knows
    /// its configuration.
    pub fn cannot(&self, asked: &[Ability]) -> Option<String> {
        let report = check::check(&self.path, None).ok()?;
        let reason = asked.iter().find_map(|ability| report.reason(*ability))?;
        Some(format!("{}: {reason}", self.name))
    }

    /// The text of its configuration: what it carries, or what lies beside it. None: nobody knows.
    pub fn configuration(&self) -> Option<String> {
        if let Ok(Some(carried)) = embedded_config(&self.kernel.bytes) {
            return Some(carried);
        }
        match check::check(&self.path, None).ok()?.config {
            ConfigSource::File(path) => std::fs::read_to_string(path).ok(),
            ConfigSource::Kernel => None,
        }
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

/// The agent alone, and for a primary what it runs.
fn agents_initrd(is_saver: bool) -> Result<Vec<u8>, InitramfsError> {
    let initrd = Initramfs::new().file("/init", guest_kernels::agent::BINARY, 0o755);
    let initrd = if is_saver { initrd } else { initrd.program("mke2fs")? };
    initrd.finish()
}
