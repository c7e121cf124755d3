//! `kjvm kernels build`: from a name to a kernel in the cache.

use std::fs;
use std::path::PathBuf;

use thiserror::Error;

use crate::cache::{self, Begun, Cache, CacheError, Entry};
use crate::catalogue::{self, Recipe, UnknownKernel, Variant};
use crate::compile::{self, Compile, CompileError, Plan};
use crate::config::{ConfigError, Configuration};
use crate::host::{Host, HostError};
use crate::manifest::{Kind, Manifest, PieceRecord, sha256_of};
use crate::patch::{Changes, Patch, PatchError};
use crate::progress::Progress;
use crate::source::{self, Source, SourceError};

/// Why there is no kernel.
#[derive(Debug, Error)]
pub enum BuildError {
    /// No such name.
    #[error(transparent)]
    Unknown(#[from] UnknownKernel),
    /// The name is that of a kernel that is not compiled here.
    #[error("{0} comes ready from the distribution: `kjvm kernels fetch {0}`")]
    Stock(String),
    /// A name of the user's own that says no variant, without a configuration.
    #[error(
        "`{0}` says neither primary nor saver: call it `primary-...` or `saver-...`, or give --config FILE"
    )]
    NoVariant(String),
    /// The host lacks something.
    #[error(transparent)]
    Host(#[from] HostError),
    /// No sources.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The fragments contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The sources cannot be patched.
    #[error("{name} cannot be built: {source}")]
    Patch {
        /// The kernel.
        name: String,
        /// Why.
        source: PatchError,
    },
    /// The compilation failed.
    #[error("{name} could not be built: {source}")]
    Compile {
        /// The kernel.
        name: String,
        /// Why.
        source: CompileError,
    },
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// A kernel that somebody wants compiled.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// A name of the catalogue, or with `source` any.
    pub name: String,
    /// Sources other than the distribution's: a directory or a tar archive.
    pub source: Option<PathBuf>,
    /// A configuration other than the variant's: a fragment on `allnoconfig`, or a whole `.config`.
    pub config: Option<PathBuf>,
    /// Unified diffs to apply to the sources first, in this order, after those that the name implies.
    pub patches: Vec<PathBuf>,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// It was there.
    Already(Entry),
    /// It was compiled now.
    Built(Entry),
}

/// Room that must be free to begin compiling: four times what a saver 6.12 took. A whole `.config` can take more.
const OBJECTS_SIZE: u64 = 700 << 20;

/// Steps of `make bzImage` for a variant, until one has been built and counted: they only scale the progress bar.
const fn usual_steps(variant: Variant) -> u64 {
    match variant {
        Variant::Primary => 1720,
        Variant::Saver => 1610,
    }
}

/// Compiles a kernel, unless the cache has it.
pub fn build(
    cache: &Cache,
    host: &Host,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Outcome, BuildError> {
    let name = request.name.as_str();
    let Chosen { variant, source, mut patches } = chosen(request)?;
    let unpatched = |source| BuildError::Patch { name: name.to_owned(), source };
    for path in &request.patches {
        patches.push(Patch::read(path).map_err(unpatched)?);
    }
    let patches = patches;
    let plan = match (&request.config, variant) {
        (Some(file), _) => compile::plan_from_file(file).map_err(|error| failed(name, error))?,
        (None, Some(variant)) => Plan::Fragments(Configuration::merge(&variant.fragments())?),
        (None, None) => return Err(BuildError::NoVariant(name.to_owned())),
    };
    let tools = host.tools()?;
    let identity = source.identify(cache)?;
    let records: Vec<_> = patches
        .iter()
        .map(|patch| PieceRecord { name: patch.name.clone(), sha256: sha256_of(&patch.text) })
        .collect();
    let (identity_key, plan_text) = (identity.key(), plan.text());
    let mut parts = vec!["build 1", &identity_key, &plan_text, &tools.compiler, &tools.linker];
    parts.extend(records.iter().map(|record| record.sha256.as_str()));
    let key = source::key(&parts);

    let pending = match cache.begin(Kind::Built, name, &key)? {
        Begun::Finished(entry) => return Ok(Outcome::Already(entry)),
        Begun::Pending(pending) => pending,
    };
    host.check_room(&format!("the build of {name}"), pending.path(), OBJECTS_SIZE)?;
    let tree = identity.fetch(cache, host, progress)?;
    let patched = pending.path().join("tree");
    if !patches.is_empty() {
        let copy = || Changes::of(&patches, &tree.path)?.copy_tree(&tree.path, &patched);
        copy().map_err(unpatched)?;
    }
    let compiled = Compile {
        host,
        tree: if patches.is_empty() { &tree.path } else { &patched },
        plan: &plan,
        out: pending.path(),
        lock: pending.lock(),
        log: &cache.log(name, &key),
        steps: variant.map(usual_steps),
        progress,
    }
    .run()
    .map_err(|error| failed(name, error))?;
    if !patches.is_empty() {
        fs::remove_dir_all(&patched).map_err(cache::io_error("remove", &patched))?;
    }

    let mut manifest = Manifest::new(name, Kind::Built, &key, &compiled.release, tree.origin);
    manifest.tools = Some(tools);
    manifest.patches = records;
    manifest.build_seconds = Some(compiled.seconds);
    if let Plan::Fragments(configuration) = plan {
        manifest.fragments = configuration.fragments;
    }
    tracing::debug!(name, steps = compiled.steps, "compiled");
    Ok(Outcome::Built(pending.publish(manifest)?))
}

/// What to compile.
struct Chosen {
    variant: Option<Variant>,
    source: Source,
    patches: Vec<Patch>,
}

/// The variant a name means, if any, the sources to take, and what to change in them.
fn chosen(request: &Request) -> Result<Chosen, BuildError> {
    let name = &request.name;
    let given = request.source.as_ref().map(|path| Source::Path(path.clone()));
    match (catalogue::lookup(name).map(|known| known.recipe), given) {
        (Ok(Recipe::Stock { .. }), _) => Err(BuildError::Stock(name.clone())),
        (Ok(Recipe::Build { variant, package, fixes }), given) => Ok(Chosen {
            variant: Some(variant),
            source: given.unwrap_or_else(|| Source::Package(package.to_owned())),
            patches: fixes.iter().map(|fix| fix.patch()).collect(),
        }),
        (Err(_), Some(source)) => Ok(Chosen { variant: Variant::of_name(name), source, patches: Vec::new() }),
        (Err(unknown), None) => Err(unknown.into()),
    }
}

fn failed(name: &str, source: CompileError) -> BuildError {
    BuildError::Compile { name: name.to_owned(), source }
}
