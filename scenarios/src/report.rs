//! What came of a scenario: the verdict, and what it rests on.

pub mod terminal;

use agent_protocol::message::Role;
use serde::Serialize;

use crate::checks::{Check, Status};
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
