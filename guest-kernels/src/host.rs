//! What the host must have before a kernel can be compiled on it: tools, headers, room.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::manifest::Tools;

/// What the host lacks.
#[derive(Debug, Error)]
pub enum HostError {
    /// Programs or headers that are not installed.
    #[error("compiling a kernel needs {}: apt-get install {}", list(.missing), packages(.missing))]
    Missing {
        /// What is missing, and the Debian package that has it.
        missing: Vec<(&'static str, &'static str)>,
    },
    /// A tool that does not even tell its version.
    #[error("{tool} --version fails: {reason}: reinstall it")]
    Tool {
        /// The tool.
        tool: &'static str,
        /// Why.
        reason: String,
    },
    /// Too little space.
    #[error(
        "{what} needs {needed} MiB in {path}, and {free} MiB are free: make room, or set KJVM_CACHE to a place that has it"
    )]
    NoRoom {
        /// What needs it.
        what: String,
        /// Where.
        path: PathBuf,
        /// In MiB.
        needed: u64,
        /// In MiB.
        free: u64,
    },
    /// The file system does not say.
    #[error("cannot tell how much room there is in {path}: {source}")]
    Room {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The machine that compiles. Tests give it another search path and less room.
#[derive(Debug, Clone)]
pub struct Host {
    /// Where programs are looked for, written like `PATH`.
    pub search: OsString,
    /// Free bytes of the file system that a path is on.
    pub room: fn(&Path) -> io::Result<u64>,
}

/// Programs, each with the Debian package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("make", "make"),
    ("gcc", "gcc"),
    ("as", "binutils"),
    ("ld", "binutils"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("lz4", "lz4"),
    ("gzip", "gzip"),
    ("cmp", "diffutils"),
    ("sed", "sed"),
    ("awk", "mawk"),
];

/// Headers, likewise: objtool reads ELF files by libelf.
const HEADERS: &[(&str, &str)] = &[("stdlib.h", "libc6-dev"), ("gelf.h", "libelf-dev")];

impl Host {
    /// The machine we run on.
    pub fn here() -> Self {
        Self { search: std::env::var_os("PATH").unwrap_or_default(), room: free_bytes }
    }

    /// Whether all tools are there; which compiler and linker.
    pub fn tools(&self) -> Result<Tools, HostError> {
        let mut missing: Vec<_> =
            PROGRAMS.iter().filter(|(name, _)| self.find(name).is_none()).copied().collect();
        if !missing.iter().any(|(name, _)| *name == "gcc") {
            missing.extend(HEADERS.iter().filter(|(name, _)| !self.has_header(name)));
        }
        if !missing.is_empty() {
            return Err(HostError::Missing { missing });
        }
        Ok(Tools { compiler: self.version("gcc")?, linker: self.version("ld")? })
    }

    /// Whether there is room for something. The path need not exist yet.
    pub fn check_room(&self, what: &str, path: &Path, needed: u64) -> Result<(), HostError> {
        const MIB: u64 = 1 << 20;
        let existing = path.ancestors().find(|path| path.exists()).unwrap_or(path);
        let free =
            (self.room)(existing).map_err(|source| HostError::Room { path: existing.to_owned(), source })?;
        if free >= needed {
            return Ok(());
        }
        let path = path.to_owned();
        Err(HostError::NoRoom { what: what.to_owned(), path, needed: needed.div_ceil(MIB), free: free / MIB })
    }

    /// A command with nothing of the user's environment but the search path: what is built depends on nothing else.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(self.find(&program).unwrap_or_else(|| program.as_ref().into()));
        command.env_clear().env("PATH", &self.search).env("LC_ALL", "C");
        for kept in ["HOME", "TMPDIR"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command
    }

    fn find(&self, program: impl AsRef<OsStr>) -> Option<PathBuf> {
        let executable = |path: &PathBuf| {
            path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        std::env::split_paths(&self.search).map(|folder| folder.join(program.as_ref())).find(executable)
    }

    fn has_header(&self, name: &str) -> bool {
        let compile = || -> io::Result<bool> {
            let mut child = self
                .command("gcc")
                .args(["-fsyntax-only", "-x", "c", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            if let Some(mut input) = child.stdin.take() {
                writeln!(input, "#include <{name}>")?;
            }
            Ok(child.wait()?.success())
        };
        compile().unwrap_or(false)
    }

    fn version(&self, tool: &'static str) -> Result<String, HostError> {
        let failed = |reason: String| HostError::Tool { tool, reason };
        let output =
            self.command(tool).arg("--version").output().map_err(|error| failed(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let first = text.lines().next().unwrap_or_default().trim();
        if output.status.success() && !first.is_empty() {
            Ok(first.to_owned())
        } else {
            Err(failed(output.status.to_string()))
        }
    }
}

fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = nix::sys::statvfs::statvfs(path)?;
    Ok(found.blocks_available().saturating_mul(found.fragment_size()))
}

fn list(missing: &[(&str, &str)]) -> String {
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => names.concat(),
    }
}

fn packages(missing: &[(&str, &str)]) -> String {
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    packages.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_tool_is_named_with_its_package() {
        let empty = tempfile::tempdir().unwrap();
        let host = Host { search: empty.path().into(), ..Host::here() };
        insta::assert_snapshot!(host.tools().unwrap_err(), @"compiling a kernel needs make, gcc, as, ld, flex, bison, bc, lz4, gzip, cmp, sed and awk: apt-get install make gcc binutils flex bison bc lz4 gzip diffutils sed mawk");
    }

    #[test]
    fn one_missing_tool_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (name, _) in PROGRAMS.iter().filter(|(name, _)| *name != "bison") {
            let real = Host::here().find(name).unwrap();
            std::os::unix::fs::symlink(real, folder.path().join(name)).unwrap();
        }
        let host = Host { search: folder.path().into(), ..Host::here() };
        insta::assert_snapshot!(host.tools().unwrap_err(), @"compiling a kernel needs bison: apt-get install bison");
    }

    #[test]
    fn a_missing_header_is_noticed() {
        assert!(Host::here().has_header("stdlib.h"));
        assert!(!Host::here().has_header("there-is-no-such-header.h"));
    }

    #[test]
    fn too_little_room_is_said_in_figures() {
        let host = Host { room: |_| Ok(100 << 20), ..Host::here() };
        host.check_room("a build", Path::new("/nowhere/at/all"), 100 << 20).unwrap();
        let error = host
            .check_room("the build of primary-6.12", Path::new("/nowhere/at/all"), 700 << 20)
            .unwrap_err();
        insta::assert_snapshot!(error, @"the build of primary-6.12 needs 700 MiB in /nowhere/at/all, and 100 MiB are free: make room, or set KJVM_CACHE to a place that has it");
    }
}
