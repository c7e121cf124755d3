//! Asking the distribution's package manager. `apt-cache` answers from local lists, without network; only [`download`] fetches.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use thiserror::Error;

/// Why the package manager could not serve.
#[derive(Debug, Error)]
pub enum AptError {
    /// Another distribution.
    #[error(
        "{tool} is not on this machine: give a package with --deb FILE, or kernel sources with --source DIR|TAR"
    )]
    NoApt {
        /// What we wanted to run.
        tool: &'static str,
    },
    /// It could not be run.
    #[error("cannot run {tool}: {source}")]
    Run {
        /// What.
        tool: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// No package list has it.
    #[error(
        "apt knows no package {package}{}; try `apt-get update`, or give a package file with --deb FILE",
        nearest(.near)
    )]
    NoPackage {
        /// Its name.
        package: String,
        /// Names that look like it.
        near: Vec<String>,
    },
    /// There is the package, but not in that version.
    #[error(
        "apt has no version {version} of {package}; it has {}; others can be given with --deb FILE",
        list(.known)
    )]
    NoVersion {
        /// Its name.
        package: String,
        /// The version asked for.
        version: String,
        /// Those there are, newest first.
        known: Vec<String>,
    },
    /// The download failed.
    #[error(
        "apt-get cannot download {package} {version}: {said}; try `apt-get update`, or give it with --deb FILE"
    )]
    Download {
        /// Its name.
        package: String,
        /// Its version.
        version: String,
        /// The last thing apt-get said.
        said: String,
    },
}

fn nearest(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!(" (nearest: {})", near.join(", ")) }
}

fn list(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

/// A package that can be downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
}

/// The version of a package that apt would install.
///
/// # Errors
/// If apt is not here or does not know the package.
pub fn candidate(package: &str) -> Result<Candidate, AptError> {
    let Some(stanza) = show(&[package])?.into_iter().next() else {
        return Err(AptError::NoPackage { package: package.to_owned(), near: nearest_names(package)? });
    };
    let version = field(&stanza, "Version").unwrap_or_default().to_owned();
    Ok(Candidate { package: package.to_owned(), version })
}

/// The kernel package that a name stands for. A meta package (`linux-image-amd64`, `linux-image-6.12-cloud-amd64`) stands for
/// the newest it can; with a version, for that one. What it stands for moves with the distribution's release, so `series`
/// (`6.1`) holds it to what is wanted.
///
/// # Errors
/// If apt is not here, or knows no such package or version.
pub fn resolve(package: &str, series: Option<&str>, version: Option<&str>) -> Result<Candidate, AptError> {
    let name = ImageName::parse(package);
    let series = series.or(name.as_ref().and_then(|name| name.series));
    match (name, series) {
        (Some(ImageName { release: None, flavour, .. }), Some(series)) => match version {
            Some(version) => exact_kernel(series, flavour, version),
            None => newest_kernel(series, flavour),
        },
        (Some(ImageName { release: None, .. }), None) => {
            let stanza = show(&[package])?.into_iter().next();
            match (stanza.as_deref().and_then(image_dependency), version) {
                (Some(image), None) => Ok(image),
                (Some(image), Some(version)) => {
                    let series =
                        ImageName::parse(&image.package).and_then(|name| name.series).map(str::to_owned);
                    resolve(package, series.as_deref(), Some(version))
                }
                (None, _) => candidate(package),
            }
        }
        (_, _) => match version {
            Some(version) => pick(package, &madison(&[package.to_owned()])?, version),
            None => candidate(package),
        },
    }
}

/// A kernel package's name, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct ImageName<'a> {
    /// `6.1.0-56` of one with a kernel in it; a meta package has none.
    release: Option<&'a str>,
    /// `6.1`.
    series: Option<&'a str>,
    /// `cloud`; empty for the ordinary one.
    flavour: &'a str,
}

impl<'a> ImageName<'a> {
    fn parse(package: &'a str) -> Option<Self> {
        let rest = package.strip_prefix("linux-image-")?;
        let rest = if rest == "amd64" { "" } else { rest.strip_suffix("-amd64")? };
        let flavour_at = rest.rfind('-').filter(|at| {
            rest.get(at + 1..).is_some_and(|last| last.starts_with(|c: char| c.is_ascii_alphabetic()))
        });
        let (version, flavour) = match flavour_at {
            Some(at) => (rest.get(..at)?, rest.get(at + 1..)?),
            None if rest.starts_with(|c: char| c.is_ascii_digit()) => (rest, ""),
            None => ("", rest),
        };
        let second_dot = version.match_indices('.').nth(1).map(|(at, _)| at);
        let series = version.get(..second_dot.unwrap_or(version.len())).filter(|series| !series.is_empty());
        Some(Self { release: second_dot.map(|_| version), series, flavour })
    }
}

/// The packages with kernels of a series (`6.12`), newest first. `flavour` is what stands before `amd64`: empty, or `cloud`.
///
/// # Errors
/// If apt is not here.
pub fn kernel_packages(series: &str, flavour: &str) -> Result<Vec<Candidate>, AptError> {
    let flavour = if flavour.is_empty() { String::new() } else { format!("{flavour}-") };
    let series = series.replace('.', "[.]");
    let pattern = format!("^linux-image-{series}[.][0-9][^-]*(-[0-9]+)?-{flavour}amd64$");
    let mut found = madison(&search(&pattern)?)?;
    found.sort_by(|a, b| {
        super::compare_versions(&b.version, &a.version).then_with(|| a.package.cmp(&b.package))
    });
    Ok(found)
}

/// The newest kernel package of a series, as [`kernel_packages`] has it, but found faster: by the meta packages.
///
/// # Errors
/// If apt is not here or has none.
pub fn newest_kernel(series: &str, flavour: &str) -> Result<Candidate, AptError> {
    let flavoured = if flavour.is_empty() { "amd64".to_owned() } else { format!("{flavour}-amd64") };
    let meta = format!("linux-image-{series}-{flavoured}");
    let begin = format!("linux-image-{series}.");
    let by_meta = show(&[&meta, &format!("linux-image-{flavoured}")])?
        .iter()
        .filter_map(|stanza| image_dependency(stanza))
        .find(|image| image.package.starts_with(&begin));
    match by_meta {
        Some(image) => Ok(image),
        None => kernel_packages(series, flavour)?
            .into_iter()
            .next()
            .ok_or(AptError::NoPackage { near: nearest_names(&meta)?, package: meta }),
    }
}

/// The kernel package of a series in an exact version: the package's (`6.1.176-1`), the kernel's (`6.1.176`) or the release
/// (`6.1.0-53-amd64`).
///
/// # Errors
/// If apt is not here or does not have it.
pub fn exact_kernel(series: &str, flavour: &str, version: &str) -> Result<Candidate, AptError> {
    pick(&format!("linux-image-{series}"), &kernel_packages(series, flavour)?, version)
}

/// Downloads a package into a directory; returns its path.
///
/// # Errors
/// If apt is not here or cannot fetch it.
pub fn download(wanted: &Candidate, into: &Path) -> Result<PathBuf, AptError> {
    let exact = format!("{}={}", wanted.package, wanted.version);
    let failed = |output: &Output| AptError::Download {
        package: wanted.package.clone(),
        version: wanted.version.clone(),
        said: last_error(output),
    };
    // 'URL' FILE SIZE HASH: so we need not guess how apt spells the file.
    let uris = run("apt-get", &["--print-uris", "download", &exact], None)?;
    let text = String::from_utf8_lossy(&uris.stdout).into_owned();
    let name = text.lines().find_map(|line| line.split_whitespace().nth(1));
    let Some(name) = name.filter(|name| uris.status.success() && !name.contains('/')) else {
        return Err(failed(&uris));
    };
    // As root apt would become another user, who may not write here, and warn that it does not.
    let arguments = ["-q", "-o", "APT::Sandbox::User=root", "download", &exact];
    let output = run("apt-get", &arguments, Some(into))?;
    let path = into.join(name);
    if output.status.success() && path.is_file() { Ok(path) } else { Err(failed(&output)) }
}

/// A field of a control stanza, its first line.
pub(super) fn field<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// What a kernel's meta package depends on: `Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)`.
fn image_dependency(stanza: &str) -> Option<Candidate> {
    field(stanza, "Depends")?.split(',').find_map(|dependency| {
        let (package, rest) = dependency.trim().split_once(' ')?;
        let version = rest.trim().strip_prefix("(= ")?.strip_suffix(')')?;
        package
            .starts_with("linux-image-")
            .then(|| Candidate { package: package.to_owned(), version: version.to_owned() })
    })
}

fn pick(package: &str, known: &[Candidate], version: &str) -> Result<Candidate, AptError> {
    let is_it = |candidate: &&Candidate| {
        candidate.version == version
            || candidate.version.rsplit_once('-').is_some_and(|(upstream, _)| upstream == version)
            || candidate.package.strip_prefix("linux-image-") == Some(version)
    };
    known.iter().find(is_it).cloned().ok_or_else(|| AptError::NoVersion {
        package: package.to_owned(),
        version: version.to_owned(),
        known: known.iter().map(|candidate| candidate.version.clone()).collect(),
    })
}

fn show(packages: &[&str]) -> Result<Vec<String>, AptError> {
    let output = run("apt-cache", &[&["show", "--no-all-versions"], packages].concat(), None)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()).map(str::to_owned).collect())
}

fn search(pattern: &str) -> Result<Vec<String>, AptError> {
    let output = run("apt-cache", &["search", "--names-only", pattern], None)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect())
}

/// Every version of some packages: ` name | version | source Packages`.
fn madison(packages: &[String]) -> Result<Vec<Candidate>, AptError> {
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let output = run("apt-cache", &[&["madison"], packages.as_slice()].concat(), None)?;
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut columns = line.split('|').map(str::trim);
        if let (Some(package), Some(version), Some(source)) = (columns.next(), columns.next(), columns.next())
        {
            let candidate = Candidate { package: package.to_owned(), version: version.to_owned() };
            if source.ends_with("Packages") && !found.contains(&candidate) {
                found.push(candidate);
            }
        }
    }
    Ok(found)
}

fn nearest_names(package: &str) -> Result<Vec<String>, AptError> {
    let begin: Vec<&str> =
        package.split('-').take(2).filter(|word| word.chars().all(char::is_alphanumeric)).collect();
    let mut near = search(&format!("^{}", begin.join("-")))?;
    near.sort_by(|a, b| strsim::jaro(b, package).total_cmp(&strsim::jaro(a, package)));
    near.truncate(3);
    Ok(near)
}

fn run(tool: &'static str, arguments: &[&str], directory: Option<&Path>) -> Result<Output, AptError> {
    let mut command = Command::new(tool);
    // Its answers are parsed: not in the user's language.
    command.args(arguments).env("LC_ALL", "C");
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    tracing::debug!(?command, "asking apt");
    command.output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => AptError::NoApt { tool },
        _ => AptError::Run { tool, source },
    })
}

fn last_error(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = text.lines().rfind(|line| line.starts_with("E: ")).or_else(|| text.lines().last());
    last.unwrap_or("it gave no reason").trim_start_matches("E: ").to_owned()
}

#[cfg(test)]
#[path = "apt_tests.rs"]
mod tests;
