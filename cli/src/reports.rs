//! Report files: where they go, and writing them.

use std::path::{Path, PathBuf};

use clap::Args;
use scenarios::checks::{Record, Status};
use scenarios::report::junit::Junit;
use scenarios::report::{Account, Command, html, json};
use scenarios::run::Finished;
use scenarios::{Report, Scenario, Verdict};

use crate::failure::{Code, Failure};
use crate::output::write_whole;

/// Where failures leave their reports if nobody says.
pub const OUT: &str = "kjvm-out";

/// Which reports are written.
#[derive(Debug, Args)]
pub struct Reports {
    /// Writes a report for programs; with several scenarios, one each into this directory.
    #[arg(long, value_name = "FILE|DIR")]
    json: Option<PathBuf>,
    /// Writes one JUnit report of all scenarios.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Writes a report for people; with several scenarios, one each into this directory. A run that fails leaves one in kjvm-out/ in any case.
    #[arg(long, value_name = "FILE|DIR")]
    html: Option<PathBuf>,
}

impl Reports {
    /// What cannot be written is said before anything runs.
    ///
    /// # Errors
    /// A file where several scenarios need a directory, or a directory that is not there and cannot be made.
    pub fn check(&self, scenarios: usize) -> Result<(), Failure> {
        let many = [("json", &self.json), ("html", &self.html)];
        for (kind, path) in many.into_iter().filter_map(|(kind, path)| Some((kind, path.as_ref()?))) {
            let is_file = path.is_file() || (!path.is_dir() && has_extension(path, kind));
            if scenarios > 1 && is_file {
                let message = format!("--{kind} {}: {scenarios} scenarios need a directory", path.display());
                return Err(Failure::new(Code::Arguments, message));
            }
            make_directory(if is_directory(path, kind) { Some(path) } else { path.parent() })?;
        }
        make_directory(self.junit.as_deref().and_then(Path::parent))
    }

    /// Writes the reports of a scenario, which are of its own. Returns where the one for people is.
    ///
    /// # Errors
    /// Those of the host.
    pub fn write(
        &self,
        scenario: &Scenario,
        finished: &Finished,
        commands: &[Command],
        seconds: f64,
    ) -> Result<Option<PathBuf>, Failure> {
        let Finished { report, history, logs, .. } = finished;
        if let Some(path) = &self.json {
            let text = json::text(report).map_err(|error| Failure::new(Code::Ours, error))?;
            write_whole(&target(path, "json", report), text.as_bytes())?;
        }
        let failed = matches!(report.verdict, Verdict::Fail | Verdict::Broken);
        let path = match &self.html {
            Some(path) => target(path, "html", report),
            None if failed => Path::new(OUT).join(name(report, "html")),
            None => return Ok(None),
        };
        let record = Record { scenario, history, logs };
        let page = html::page(&Account { report, record, commands, seconds });
        let written = write_whole(&path, page.as_bytes());
        match (written, &self.html) {
            (Ok(()), _) => Ok(Some(path)),
            (Err(failure), Some(_)) => Err(failure),
            // Nobody asked for it: the verdict counts.
            (Err(failure), None) => {
                tracing::warn!("no report: {}", failure.message);
                Ok(None)
            }
        }
    }

    /// Writes the report of all scenarios together.
    ///
    /// # Errors
    /// Those of the host.
    pub fn write_together<'a>(
        &self,
        reports: impl Iterator<Item = (&'a Report, f64)>,
    ) -> Result<(), Failure> {
        let Some(path) = &self.junit else { return Ok(()) };
        let mut junit = Junit::default();
        reports.for_each(|(report, seconds)| junit.add(report, seconds));
        let text = junit.text().map_err(|error| Failure::new(Code::Ours, error))?;
        write_whole(path, text.as_bytes())
    }
}

/// What to type to see a run again.
pub fn commands(file: &Path, overrides: &[String], report: &Report, repro: Option<&Path>) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut add = |purpose: &str, words: Vec<String>| {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        commands.push(Command { purpose: purpose.into(), line: words.join(" ") });
    };
    if let Some(repro) = repro {
        add("the same run again", vec!["kjvm".into(), "replay".into(), repro.display().to_string()]);
    }
    let mut run = vec!["kjvm".into(), "run".into(), file.display().to_string()];
    for assignment in overrides {
        run.extend(["--set".into(), assignment.clone()]);
    }
    add("the scenario again", run);
    let mut clauses: Vec<_> =
        report.checks.iter().filter(|check| check.status == Status::Fail).map(|check| check.clause).collect();
    clauses.dedup();
    for clause in clauses {
        add(&format!("what {clause} means"), vec!["kjvm".into(), "explain".into(), clause.id().into()]);
    }
    commands
}

/// As a shell reads it back.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// A directory is one that is there, or whose name ends like none of our files.
fn is_directory(path: &Path, extension: &str) -> bool {
    path.is_dir()
        || (!path.is_file()
            && (path.as_os_str().to_string_lossy().ends_with('/') || path.extension().is_none()))
            && !has_extension(path, extension)
}

/// The name of a scenario's file. What a matrix adds to a name may hold paths.
fn name(report: &Report, extension: &str) -> String {
    format!("{}.{extension}", report.scenario.replace('/', "_"))
}

fn target(path: &Path, extension: &str, report: &Report) -> PathBuf {
    if is_directory(path, extension) { path.join(name(report, extension)) } else { path.to_owned() }
}

/// Makes a directory, if it is one and is not there.
///
/// # Errors
/// Those of the host.
pub fn make_directory(path: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(path).map_err(|error| failure(path, &error))
}

fn failure(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Host, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("kernel.primary=./bzImage"), "kernel.primary=./bzImage");
        assert_eq!(quoted("kernel.arguments=a b"), "'kernel.arguments=a b'");
        assert_eq!((quoted(""), quoted("it's")), ("''".into(), r"'it'\''s'".into()));
    }

    #[test]
    fn a_directory_holds_one_file_for_each_scenario_and_a_file_is_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let scenario = Scenario::read("version = 1\nsteps = []\nkernel = { primary = \"a\" }", &[]).unwrap();
        let report = Report::begun("s3", &scenario, Vec::new());
        let inside = |path: &str| target(&directory.path().join(path), "html", &report);
        assert_eq!(inside("").strip_prefix(directory.path()).unwrap(), Path::new("s3.html"));
        assert_eq!(inside("new").strip_prefix(directory.path()).unwrap(), Path::new("new/s3.html"));
        assert_eq!(inside("one.html").strip_prefix(directory.path()).unwrap(), Path::new("one.html"));
        assert_eq!(inside("one.htm").strip_prefix(directory.path()).unwrap(), Path::new("one.htm"));
        let html = |path: &str| Reports { json: None, junit: None, html: Some(directory.path().join(path)) };
        assert!(html("one.html").check(2).is_err());
        assert!(html("one.html").check(1).is_ok());
        assert!(html("all").check(2).is_ok());
        assert!(directory.path().join("all").is_dir());
    }
}
