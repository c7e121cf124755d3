//! Running the kernel's own build: configure, compare with what was asked, compile.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Instant;

use thiserror::Error;

use crate::config::{self, ConfigError, Configuration};
use crate::host::Host;
use crate::manifest::file;
use crate::progress::Progress;

/// Why a kernel could not be compiled.
#[derive(Debug, Error)]
pub enum CompileError {
    /// Fragments that contradict each other or do not hold.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `make` failed.
    #[error("make {goal} fails:\n{}\nthe whole log: {log}", .tail.join("\n"))]
    Make {
        /// What it was to make.
        goal: &'static str,
        /// The lines that say why, or the last ones.
        tail: Vec<String>,
        /// Where all it said is kept.
        log: PathBuf,
    },
    /// Somebody or something ended `make`; the kernel may have, for lack of memory.
    #[error(
        "make {goal} was ended by signal {signal}, which nothing in the sources does: try again, with more free memory if it is 9"
    )]
    Ended {
        /// What it was to make.
        goal: &'static str,
        /// The signal's number.
        signal: i32,
    },
    /// The source tree has been built in.
    #[error(
        "{0} has been built in (there is a .config in it): run `make mrproper` there, or give a clean copy"
    )]
    Unclean(PathBuf),
    /// The system refused.
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

/// What a kernel is configured from.
#[derive(Debug, Clone)]
pub enum Plan {
    /// Fragments, on a configuration in which all else is off.
    Fragments(Configuration),
    /// A whole `.config`, in which only what this version adds is decided, by its defaults.
    Complete(String),
}

impl Plan {
    /// The configuration as a file; equal plans give equal text.
    pub fn text(&self) -> String {
        match self {
            Self::Fragments(configuration) => configuration.text(),
            Self::Complete(text) => text.clone(),
        }
    }
}

/// One run of the kernel's build.
pub(crate) struct Compile<'a> {
    /// The machine to compile on.
    pub host: &'a Host,
    /// A clean kernel tree; nothing is written there.
    pub tree: &'a Path,
    /// What to configure.
    pub plan: &'a Plan,
    /// An empty directory for the results; objects are kept below it while compiling.
    pub out: &'a Path,
    /// A lock that `make` shall hold as well, on standard input, which it does not read. If we are killed and it lives on,
    /// nobody else will work in the directory before it has ended.
    pub lock: &'a File,
    /// Where to keep the log if it fails.
    pub log: &'a Path,
    /// How many steps to expect.
    pub steps: Option<u64>,
    /// Who wants to know.
    pub progress: &'a dyn Progress,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// What `uname -r` says in it.
    pub release: String,
    /// Wall time of `make`.
    pub seconds: f64,
    /// Steps it took.
    pub steps: u64,
}

impl Compile<'_> {
    /// Leaves `bzImage`, `config` and `System.map` in `out`, and nothing else.
    pub fn run(&self) -> Result<Compiled, CompileError> {
        if self.tree.join(".config").exists() {
            return Err(CompileError::Unclean(self.tree.to_owned()));
        }
        let began = Instant::now();
        let objects = self.out.join("objects");
        fs::create_dir(&objects).map_err(io_error("create", &objects))?;
        let made = self.configure(&objects)?;
        let steps = self.make(&objects, "bzImage", self.steps)?;
        let seconds = began.elapsed().as_secs_f64();

        let release = objects.join("include/config/kernel.release");
        let release = fs::read_to_string(&release).map_err(io_error("read", &release))?.trim().to_owned();
        for (from, to) in [("arch/x86/boot/bzImage", file::BZIMAGE), ("System.map", file::SYSTEM_MAP)] {
            let from = objects.join(from);
            fs::rename(&from, self.out.join(to)).map_err(io_error("keep", &from))?;
        }
        let kept = self.out.join(file::CONFIG);
        fs::write(&kept, made).map_err(io_error("write", &kept))?;
        fs::remove_dir_all(&objects).map_err(io_error("remove", &objects))?;
        let log = self.working_log();
        fs::remove_file(&log).map_err(io_error("remove", &log))?;
        Ok(Compiled { release, seconds, steps })
    }

    /// Makes the `.config`, checks it, and returns it.
    fn configure(&self, objects: &Path) -> Result<String, CompileError> {
        let made = objects.join(".config");
        match self.plan {
            Plan::Fragments(configuration) => {
                let asked = objects.join("asked.config");
                fs::write(&asked, configuration.text()).map_err(io_error("write", &asked))?;
                self.make(objects, "allnoconfig", None)?;
                let text = fs::read_to_string(&made).map_err(io_error("read", &made))?;
                let known = symbols(self.tree).map_err(io_error("read", self.tree))?;
                configuration.verify(&text, &known)?;
                Ok(text)
            }
            Plan::Complete(text) => {
                fs::write(&made, text).map_err(io_error("write", &made))?;
                self.make(objects, "olddefconfig", None)?;
                fs::read_to_string(&made).map_err(io_error("read", &made))
            }
        }
    }

    /// Runs `make goal`; returns the number of steps it took.
    fn make(&self, objects: &Path, goal: &'static str, steps: Option<u64>) -> Result<u64, CompileError> {
        let log = self.working_log();
        let run = || -> io::Result<(ExitStatus, u64)> {
            let (reader, writer) = io::pipe()?;
            let mut child = self
                .command(objects, goal)
                .stdin(self.lock.try_clone()?)
                .stdout(writer.try_clone()?)
                .stderr(writer)
                .spawn()?;
            self.progress.begin(&format!("make {goal}"), steps);
            let steps = self.follow(reader, &log)?;
            self.progress.end();
            Ok((child.wait()?, steps))
        };
        let (status, steps) = run().map_err(io_error("run make in", self.tree))?;
        if status.success() {
            return Ok(steps);
        }
        if let Some(signal) = status.signal() {
            return Err(CompileError::Ended { goal, signal });
        }
        let keep = || -> io::Result<()> {
            if let Some(folder) = self.log.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::rename(&log, self.log)
        };
        let tail = telling_lines(&fs::read(&log).unwrap_or_default());
        keep().map_err(io_error("keep the log at", self.log))?;
        Err(CompileError::Make { goal, tail, log: self.log.to_owned() })
    }

    /// Copies what `make` says to the log until it has ended, counting the steps.
    fn follow(&self, output: impl Read, log: &Path) -> io::Result<u64> {
        let mut log = File::options().create(true).append(true).open(log)?;
        let mut steps = 0;
        for line in BufReader::new(output).split(b'\n') {
            let mut line = line?;
            line.push(b'\n');
            log.write_all(&line)?;
            // `  CC      kernel/fork.o`
            if line.starts_with(b"  ") {
                steps += 1;
                self.progress.step(String::from_utf8_lossy(&line).trim());
            }
        }
        Ok(steps)
    }

    /// `make`, so that the same inputs give the same image, byte for byte: nothing of the user's environment, and no date,
    /// user, host or build number but ours.
    fn command(&self, objects: &Path, goal: &str) -> Command {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let mut command = self.host.command("make");
        command
            .env("KCONFIG_ALLCONFIG", objects.join("asked.config"))
            .env("KCONFIG_NOTIMESTAMP", "1")
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
            .env("KBUILD_BUILD_USER", "kjvm")
            .env("KBUILD_BUILD_HOST", "kjvm")
            .env("KBUILD_BUILD_VERSION", "1")
            .env("SOURCE_DATE_EPOCH", "0")
            .arg("-C")
            .arg(self.tree)
            .arg(format!("O={}", objects.display()))
            .arg("ARCH=x86_64")
            .arg(format!("-j{jobs}"))
            .arg(goal);
        command
    }

    fn working_log(&self) -> PathBuf {
        self.out.join("build.log")
    }
}

/// Every symbol that this kernel's Kconfig files define, without `CONFIG_`.
fn symbols(tree: &Path) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut pending = vec![tree.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let name = entry.file_name();
            let foreign = directory == tree.join("arch") && name != "x86";
            if kind.is_dir() && !foreign {
                pending.push(entry.path());
            } else if kind.is_file() && name.as_encoded_bytes().starts_with(b"Kconfig") {
                let text = fs::read(entry.path())?;
                found.extend(String::from_utf8_lossy(&text).lines().filter_map(defined).map(str::to_owned));
            }
        }
    }
    Ok(found)
}

/// The symbol that a line of a Kconfig file begins to define.
fn defined(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    matches!(words.next()?, "config" | "menuconfig").then(|| words.next())?
}

/// The lines of a log that tell why a build failed: the compiler's, else the last.
fn telling_lines(log: &[u8]) -> Vec<String> {
    const MOST: usize = 12;
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text.lines().collect();
    let telling = |line: &&&str| {
        line.contains("error:") || line.contains("rror: ") || line.contains("undefined reference")
    };
    let mut kept: Vec<String> =
        lines.iter().filter(telling).take(MOST).map(|line| (*line).to_owned()).collect();
    if kept.is_empty() {
        kept = lines.iter().rev().take(MOST).rev().map(|line| (*line).to_owned()).collect();
    }
    kept
}

pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CompileError {
    let path = path.to_owned();
    move |source| CompileError::Io { action, path, source }
}

/// Reads what somebody wants a kernel configured by: a fragment, or a whole `.config`.
pub fn plan_from_file(path: &Path) -> Result<Plan, CompileError> {
    let text = fs::read_to_string(path).map_err(io_error("read", path))?;
    if config::is_complete(&text) {
        return Ok(Plan::Complete(text));
    }
    let fragment = config::Fragment { name: path.display().to_string(), text };
    Ok(Plan::Fragments(Configuration::merge(&[fragment])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_lines_are_told_from_the_noise() {
        let log = "  CC      a.o\n../a.c:1:2: error: expected ';'\nmake[2]: *** [Makefile:1: a.o] Error 1\n  CC      b.o\n";
        assert_eq!(telling_lines(log.as_bytes()), ["../a.c:1:2: error: expected ';'"]);
        let log: String = (0..40).map(|number| format!("line {number}\n")).collect();
        let tail = telling_lines(log.as_bytes());
        assert_eq!((tail.len(), tail[0].as_str(), tail[11].as_str()), (12, "line 28", "line 39"));
    }

    #[test]
    fn symbols_come_from_config_and_menuconfig_lines() {
        assert_eq!(defined("config SMP"), Some("SMP"));
        assert_eq!(defined("menuconfig NET"), Some("NET"));
        assert_eq!(defined("\tdepends on SMP"), None);
        assert_eq!(defined("  config SPACED  "), Some("SPACED"));
    }
}
