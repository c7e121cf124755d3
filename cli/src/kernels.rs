//! `kjvm kernels`: what is there, make it, look at it, remove it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use guest_kernels::build::{self, Outcome, Request};
use guest_kernels::cache::{Cache, Entry};
use guest_kernels::catalogue::{self, CATALOGUE, Recipe};
use guest_kernels::check;
use guest_kernels::host::Host;
use guest_kernels::manifest::Origin;
use guest_kernels::stock::{self, Wanted};

use crate::failure::{Code, Failure};
use crate::output::{duration, size};
use crate::progress::Shown;

/// Commands on kernels.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every kernel that has a name, and which are there.
    List,
    /// Compile kernels from the distribution's source package, or from a tree of yours.
    Build(Build),
    /// Get stock kernels from the distribution, or from a package file.
    Fetch(Fetch),
    /// Tell what a kernel can do, and which settings it lacks for the rest.
    Check(Check),
    /// Print where a kernel is.
    Path(Path),
    /// Remove kernels, or the sources they were compiled from.
    Rm(Remove),
}

/// What to compile.
#[derive(Debug, Args)]
pub struct Build {
    /// Names, as `list` shows them; with --source also one of your own: `primary-mine`.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Compile this kernel tree: a directory, a tar archive, or a source package.
    #[arg(long, value_name = "DIR|TAR|DEB")]
    source: Option<PathBuf>,
    /// Configure it by this: a fragment on allnoconfig, or a whole .config.
    #[arg(long, value_name = "FILE", requires = "source")]
    config: Option<PathBuf>,
    /// Apply this unified diff to the tree first; may be given again.
    #[arg(long = "patch", value_name = "FILE", requires = "source")]
    patches: Vec<PathBuf>,
}

/// What to fetch.
#[derive(Debug, Args)]
pub struct Fetch {
    /// Names, as `list` shows them; with --deb one of your own.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// This version: the package's, or the kernel's, such as 6.12.107.
    #[arg(long, conflicts_with = "deb")]
    version: Option<String>,
    /// Take the kernel out of this package file.
    #[arg(long, value_name = "FILE")]
    deb: Option<PathBuf>,
}

/// What to examine.
#[derive(Debug, Args)]
pub struct Check {
    /// A bzImage, a vmlinux, a .config, or the name of a kernel that is there.
    #[arg(value_name = "FILE|NAME")]
    kernel: PathBuf,
    /// The configuration it was compiled with, if it does not carry it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What to find.
#[derive(Debug, Args)]
pub struct Path {
    /// The kernel.
    name: String,
    /// Its directory, where its configuration and its manifest are as well.
    #[arg(long)]
    directory: bool,
}

/// What to remove.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub struct Remove {
    /// These kernels.
    #[arg(group = "what", value_name = "NAME")]
    names: Vec<String>,
    /// Every kernel.
    #[arg(long, group = "what", conflicts_with = "names")]
    all: bool,
    /// The unpacked sources; they are fetched again when needed.
    #[arg(long, group = "what")]
    sources: bool,
}

/// Does what a command says.
pub fn run(command: Command, quiet: bool) -> Result<ExitCode, Failure> {
    let cache = Cache::open()?;
    match command {
        Command::List => print!("{}", list(&cache)?),
        Command::Build(arguments) => build(&cache, &arguments, quiet)?,
        Command::Fetch(arguments) => fetch(&cache, &arguments, quiet)?,
        Command::Check(arguments) => examine(&cache, &arguments)?,
        Command::Path(arguments) => path(&cache, &arguments)?,
        Command::Rm(arguments) => remove(&cache, &arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn build(cache: &Cache, arguments: &Build, quiet: bool) -> Result<(), Failure> {
    let Build { names, source, config, patches } = arguments;
    // Before hours of work for the first, see that the last exists.
    if source.is_none() {
        names.iter().try_for_each(|name| catalogue::lookup(name).map(drop))?;
    }
    let host = Host::here();
    for name in names {
        let request = Request {
            name: name.clone(),
            source: source.clone(),
            config: config.clone(),
            patches: patches.clone(),
        };
        let progress = Shown::new(name, quiet);
        let outcome = build::build(cache, &host, &request, &progress)
            .map_err(|error| Failure::of_build(error, source.is_some()))?;
        let (entry, what) = match outcome {
            Outcome::Already(entry) => (entry, "already built".to_owned()),
            Outcome::Built(entry) => {
                let took = entry.manifest.build_seconds.map_or_else(String::new, duration);
                (entry, format!("built in {took}"))
            }
        };
        println!("{name}  {what}  {}  {}", entry.manifest.release, entry.bzimage().display());
    }
    Ok(())
}

fn fetch(cache: &Cache, arguments: &Fetch, quiet: bool) -> Result<(), Failure> {
    let Fetch { names, version, deb } = arguments;
    if let (Some(file), [_, _, ..]) = (deb, names.as_slice()) {
        let message =
            format!("{} is one kernel and cannot have {} names: give one", file.display(), names.len());
        return Err(Failure::new(Code::Arguments, message));
    }
    let wanted = |name: &String| match (catalogue::lookup(name).map(|known| known.recipe), deb) {
        (Ok(Recipe::Build { .. }), _) => Err(Failure::new(
            Code::Arguments,
            format!("{name} is compiled here: `kjvm kernels build {name}`"),
        )),
        (_, Some(file)) => Ok(Wanted::File(file.clone())),
        (Ok(Recipe::Stock { package }), None) => {
            Ok(Wanted::Package { package: package.to_owned(), version: version.clone() })
        }
        (Err(unknown), None) => Err(unknown.into()),
    };
    let all = names.iter().map(wanted).collect::<Result<Vec<_>, _>>()?;
    let host = Host::here();
    for (name, wanted) in names.iter().zip(&all) {
        let progress = Shown::new(name, quiet);
        let outcome = stock::fetch(cache, &host, name, wanted, &progress)
            .map_err(|error| Failure::of_fetch(error, deb.is_some()))?;
        let (entry, what) = match outcome {
            stock::Outcome::Already(entry) => (entry, "already fetched"),
            stock::Outcome::Fetched(entry) => (entry, "fetched"),
        };
        println!("{name}  {what}  {}  {}", entry.manifest.release, entry.bzimage().display());
    }
    Ok(())
}

fn examine(cache: &Cache, arguments: &Check) -> Result<(), Failure> {
    let Check { kernel, config } = arguments;
    let named = kernel.to_str().filter(|_| !kernel.exists());
    // What is no file may be the name of a kernel; what is neither is reported as a file that is not there.
    let file = match named.filter(|name| guest_kernels::cache::check_name(name).is_ok()) {
        Some(name) if catalogue::lookup(name).is_ok() || cache.newest(name)?.is_some() => {
            entry(cache, name)?.bzimage()
        }
        _ => kernel.clone(),
    };
    let report =
        check::check(&file, config.as_deref()).map_err(|error| Failure::new(Code::Arguments, error))?;
    println!("{report}");
    Ok(())
}

fn path(cache: &Cache, arguments: &Path) -> Result<(), Failure> {
    let entry = entry(cache, &arguments.name)?;
    let path = if arguments.directory { entry.path } else { entry.bzimage() };
    println!("{}", path.display());
    Ok(())
}

/// A kernel that must be there.
fn entry(cache: &Cache, name: &str) -> Result<Entry, Failure> {
    if let Some(entry) = cache.newest(name)? {
        return Ok(entry);
    }
    let known =
        catalogue::lookup(name).map_err(|_| catalogue::unknown(name, &cache.names().unwrap_or_default()))?;
    Err(Failure::new(
        Code::Host,
        format!("{name} is not there: `kjvm kernels {} {name}`", verb(known.recipe)),
    ))
}

fn remove(cache: &Cache, arguments: &Remove) -> Result<(), Failure> {
    let there = cache.names()?;
    for name in &arguments.names {
        if !there.contains(name) {
            catalogue::lookup(name).map_err(|_| catalogue::unknown(name, &there))?;
        }
    }
    for name in if arguments.all { &there } else { &arguments.names } {
        if there.contains(name) {
            println!("{name}  removed, {}", size(cache.remove(name)?));
        } else {
            println!("{name}  is not there");
        }
    }
    if arguments.sources {
        for path in cache.remove_sources()? {
            println!("{}  removed", path.display());
        }
    }
    Ok(())
}

/// The command that gets a kernel.
fn verb(recipe: Recipe) -> &'static str {
    match recipe {
        Recipe::Build { .. } => "build",
        Recipe::Stock { .. } => "fetch",
    }
}

/// One line a kernel: name, version, state, size, what it is for.
fn list(cache: &Cache) -> Result<String, Failure> {
    let mut rows = vec![["NAME", "VERSION", "STATE", "SIZE", "FOR"].map(str::to_owned)];
    for known in &CATALOGUE {
        let missing = match known.recipe {
            Recipe::Build { .. } => "not built",
            Recipe::Stock { .. } => "not fetched",
        };
        rows.push(row(known.name, cache.newest(known.name)?.as_ref(), missing, known.purpose));
    }
    for name in cache.names()? {
        if catalogue::lookup(&name).is_err()
            && let Some(entry) = cache.newest(&name)?
        {
            rows.push(row(&name, Some(&entry), "", "yours"));
        }
    }
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..4).map(|column| width(column).unwrap_or(0)).collect();
    Ok(rows.iter().fold(String::new(), |mut text, row| {
        for (cell, width) in row.iter().zip(&widths) {
            text += &format!("{cell:<width$}  ");
        }
        text + &row[4] + "\n"
    }))
}

fn row(name: &str, entry: Option<&Entry>, missing: &str, purpose: &str) -> [String; 5] {
    let (version, state, bytes) = match entry {
        None => ("-".to_owned(), missing, "-".to_owned()),
        Some(Entry { manifest, .. }) => {
            let version = match &manifest.origin {
                Origin::Package { version, .. } => version.clone(),
                Origin::Directory { .. } | Origin::Archive { .. } => manifest.release.clone(),
            };
            (version, "ready", size(manifest.size()))
        }
    };
    [name.to_owned(), version, state.to_owned(), bytes, purpose.to_owned()]
}
