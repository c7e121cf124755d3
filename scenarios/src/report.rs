//! What came of a scenario: the verdict, and what it rests on.

pub mod file;
pub mod html;
pub mod json;
pub mod junit;
#[cfg(test)]
mod sample;
pub mod terminal;
pub mod words;

use agent_protocol::message::Role;
use serde::Serialize;

use crate::checks::{Check, Record, Status};
use crate::language::Scenario;

/// How a scenario ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything behaved.
    Pass,
    /// A check failed.
    Fail,
    /// The kernel cannot do it.
    Skipped,
    /// Our own fault: nothing can be said of the kernel.
    Broken,
}

impl Verdict {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
            Self::Broken => "broken",
        }
    }
}

/// Everything there is to say about a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The answer.
    pub verdict: Verdict,
    /// Its name.
    pub scenario: String,
    /// One line about it.
    pub about: String,
    /// Which engine ran it.
    pub engine: &'static str,
    /// Of everything random.
    pub seed: u64,
    /// One hash over the machine at the end, in hexadecimal. None if nothing ran.
    pub digest: Option<String>,
    /// Kernels, by role.
    pub kernels: Vec<KernelUsed>,
    /// What happened, in order.
    pub phases: Vec<Phase>,
    /// What happened to the power, in order.
    pub power_events: Vec<PowerHappening>,
    /// What was checked.
    pub checks: Vec<Check>,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// What we could not do, for which nothing can be said of the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

impl Report {
    /// Of a run that begins.
    pub fn begun(name: &str, scenario: &Scenario, kernels: Vec<KernelUsed>) -> Self {
        Self {
            verdict: Verdict::Pass,
            scenario: name.to_owned(),
            about: scenario.about.clone(),
            engine: "software",
            seed: scenario.machine.config.seed,
            digest: None,
            kernels,
            phases: Vec::new(),
            power_events: Vec::new(),
            checks: Vec::new(),
            skipped: None,
            broken: None,
        }
    }

    /// What follows from the checks.
    pub fn judge(&self) -> Verdict {
        let failed = self.checks.iter().any(|check| check.status == Status::Fail);
        match (&self.broken, &self.skipped) {
            (Some(_), _) => Verdict::Broken,
            (None, Some(_)) => Verdict::Skipped,
            (None, None) if failed => Verdict::Fail,
            (None, None) => Verdict::Pass,
        }
    }
}

/// A run that is over, as report files tell of it.
pub struct Account<'a> {
    /// What came of it.
    pub report: &'a Report,
    /// What it left.
    pub record: Record<'a>,
    /// What to type to see it again.
    pub commands: &'a [Command],
    /// How long it took on the host's clock.
    pub seconds: f64,
}

/// Something to type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What it is good for.
    pub purpose: String,
    /// As for a shell.
    pub line: String,
}

/// The failure that is shown first: that of the first clause, and of those with a sentence if there are some.
pub fn that_matters(report: &Report) -> Option<&Check> {
    report.checks.iter().find(|check| check.status == Status::Fail)
}

/// What was found, in one sentence.
pub fn sentence(check: &Check) -> String {
    let first =
        check.evidence.iter().flat_map(|evidence| evidence.lines()).find(|line| !line.trim().is_empty());
    let class = || check.class.clone().unwrap_or_default();
    first.map_or_else(class, |line| line.trim().to_owned())
}

/// `14 of 14`: those that passed, of those that could be looked at. Notes are neither.
pub fn score(report: &Report) -> String {
    let of = report.checks.iter().filter(|check| !matches!(check.status, Status::Note | Status::NotObserved));
    let passed = of.clone().filter(|check| matches!(check.status, Status::Pass | Status::Fixed)).count();
    format!("{passed} of {}", of.count())
}

/// The last word.
pub fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Skipped => "SKIPPED",
        Verdict::Broken => "BROKEN",
    }
}

/// As it is called in reports.
pub fn status_word(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Fail => "fail",
        Status::ExpectedFail => "expected fail",
        Status::Fixed => "fixed",
        Status::Note => "note",
        Status::NotObserved => "not observed",
    }
}

/// A kernel of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelUsed {
    /// `A`, `B`, `C`.
    pub role: Role,
    /// Of the catalogue, or the file.
    pub name: String,
    /// What it calls itself, as `uname -r` would; empty if its file does not say.
    pub release: String,
    /// BLAKE3 of the bzImage, in hexadecimal.
    pub blake3: String,
}

impl KernelUsed {
    /// Its name, with all of its release: `primary-6.12.117`.
    pub fn called(&self) -> String {
        let Self { name, release, .. } = self;
        // Releases of ours end with what the kernel is for, which its name says.
        let version = release.split('-').next().unwrap_or_default();
        let begun =
            name.rsplit_once('-').filter(|(_, begun)| !begun.is_empty() && version.starts_with(begun));
        match begun {
            _ if release.is_empty() => name.clone(),
            Some((what, _)) if release.ends_with(what) => format!("{what}-{version}"),
            _ => format!("{name} ({release})"),
        }
    }
}

/// Something that took its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// How often the power came on so far.
    pub boot: u32,
    /// Cycle, from 1; 0 before the first.
    pub cycle: u32,
    /// Who ran at its end. None: nobody.
    pub role: Option<Role>,
    /// The step.
    pub what: String,
    /// More about it.
    pub detail: String,
    /// Run time of the boot at its beginning, in nanoseconds.
    pub began: u64,
    /// Of run time, in nanoseconds.
    pub nanoseconds: u64,
    /// Retired by all processors.
    pub instructions: u64,
    /// Writes that the scenario's disks took, discards and zeroing included.
    pub writes: u64,
    /// Flushes that they took.
    pub flushes: u64,
}

/// Something that happened to the power.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PowerHappening {
    /// During or after which phase, counted from 0.
    pub phase: usize,
    /// What.
    pub what: String,
    /// Why then.
    pub when: String,
    /// Of the boot, in nanoseconds of run time.
    pub at: u64,
    /// Retired since power came on.
    pub instructions: u64,
    /// Writes that were not durable.
    pub volatile_writes: u64,
    /// Of those, what became of them.
    pub survived: String,
}
