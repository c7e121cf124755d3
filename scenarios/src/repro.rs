//! A run that can be repeated by somebody else: all that it follows from, how it ended, and the way it went.

mod path;

use agent_protocol::message::Role;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::checks::Status;
use crate::history::{Happening, History};
use crate::kernels::{Kernels, Loaded};
use crate::report::Report;
use path::{Path, line};

/// The version of the file format.
const VERSION: u32 = 1;

/// A run, as a `.repro` file holds it: JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repro {
    /// Version of the format.
    pub version: u32,
    /// Version of the kjvm that ran it.
    pub kjvm: String,
    /// The scenario's name.
    pub name: String,
    /// Its text, with what was changed in it.
    pub scenario: String,
    /// Of everything random.
    pub seed: u64,
    /// What was known to fail: the text of that table, empty if there was none.
    pub expected: String,
    /// What booted.
    pub kernels: Vec<Booted>,
    /// How it ended.
    pub verdict: String,
    /// The machine at the end. None: the run broke off.
    pub digest: Option<String>,
    /// What failed.
    pub failures: Vec<Failure>,
    /// Where it was when steps began.
    pub checkpoints: Vec<Checkpoint>,
    /// Every event.
    path: Path,
}

/// A kernel and its initramfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Booted {
    /// `A`, or `B`, which is C as well.
    pub role: String,
    /// As the scenario names it.
    pub name: String,
    /// BLAKE3 of the kernel's file.
    pub blake3: String,
    /// BLAKE3 of the initramfs: the agent, and programs of the host that ran kjvm.
    pub initramfs: String,
}

/// A check that failed, or one that failed as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// `O5.C1`.
    pub clause: String,
    /// Of what.
    pub of: String,
    /// Its kind.
    pub class: String,
    /// It is known of this kernel.
    pub expected: bool,
}

/// A place on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Cycle, from 1; 0 before the first.
    pub cycle: u32,
    /// The step that begins here.
    pub step: String,
    /// How often the power came on.
    pub boot: u32,
    /// Retired since then.
    pub instructions: u64,
    /// Nanoseconds of run time since then.
    pub nanoseconds: u64,
    /// How many events came before.
    pub events: u64,
    /// The first half of BLAKE3 over all of them.
    pub hash: String,
}

/// A file that is no reproduction.
#[derive(Debug, Error)]
pub enum ReproError {
    /// It says something else.
    #[error("this is no reproduction of a run: {0}")]
    Format(#[from] serde_json::Error),
    /// Another version of the format.
    #[error("version {0} of the format: this kjvm reads version {VERSION}")]
    Version(u32),
}

impl Booted {
    /// What booted a run with these kernels.
    pub fn all(kernels: &Kernels) -> Vec<Self> {
        let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
        let booted = |role: Role, loaded: &Loaded| Self {
            role: role.to_string(),
            name: loaded.name.clone(),
            blake3: hash(&loaded.bzimage),
            initramfs: hash(&loaded.initrd),
        };
        let saver = kernels.saver.iter().map(|saver| booted(Role::Saver, saver));
        let others = kernels.others.iter().map(|other| booted(Role::Primary, other));
        [booted(Role::Primary, &kernels.primary)].into_iter().chain(saver).chain(others).collect()
    }
}

/// BLAKE3 over every event of a run: equal ones went the same way.
pub fn path_hash(history: &History) -> String {
    let mut hasher = blake3::Hasher::new();
    for entry in history.entries() {
        hasher.update(line(entry).as_bytes()).update(b"\n");
    }
    hasher.finalize().to_hex().to_string()
}

impl Repro {
    /// Of a run that is over. `text` is the scenario's, `expected` that of the table of what is known to fail.
    pub fn of(text: &str, expected: &str, kernels: Vec<Booted>, report: &Report, history: &History) -> Self {
        let failures =
            report.checks.iter().filter(|check| matches!(check.status, Status::Fail | Status::ExpectedFail));
        let failures = failures.map(|check| Failure {
            clause: check.clause.id().to_owned(),
            of: check.of.clone(),
            class: check.class.clone().unwrap_or_default(),
            expected: check.status == Status::ExpectedFail,
        });
        Self {
            version: VERSION,
            kjvm: env!("CARGO_PKG_VERSION").to_owned(),
            name: report.scenario.clone(),
            scenario: text.to_owned(),
            seed: report.seed,
            expected: expected.to_owned(),
            kernels,
            verdict: report.verdict.name().to_owned(),
            digest: report.digest.clone(),
            failures: failures.collect(),
            checkpoints: checkpoints(history),
            path: Path::of(history),
        }
    }

    /// As a file.
    ///
    /// # Errors
    /// None that are known.
    pub fn text(&self) -> Result<String, ReproError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// From a file.
    ///
    /// # Errors
    /// [`ReproError`].
    pub fn read(text: &str) -> Result<Self, ReproError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_str(text)?;
        if version != VERSION {
            return Err(ReproError::Version(version));
        }
        Ok(serde_json::from_str(text)?)
    }

    /// How many events there were.
    pub fn events(&self) -> usize {
        self.path.lines().len()
    }

    /// How a run differs from this one. `history` is the other's. None: in nothing.
    pub fn differs_from(&self, now: &Self, history: &History) -> Option<Difference> {
        let mut causes = Vec::new();
        let mut compare = |what: String, recorded: &str, now: &str| {
            if recorded != now {
                causes.push(Changed { what, recorded: recorded.to_owned(), now: now.to_owned() });
            }
        };
        let none = Booted {
            role: String::new(),
            name: "none".to_owned(),
            blake3: String::new(),
            initramfs: String::new(),
        };
        for number in 0..self.kernels.len().max(now.kernels.len()) {
            let [old, new] = [self, now].map(|run| run.kernels.get(number).unwrap_or(&none));
            let role = if old.role.is_empty() { &new.role } else { &old.role };
            compare(format!("kernel {role}"), &old.shown(), &new.shown());
            compare(format!("initramfs of {role}"), &old.initramfs, &new.initramfs);
        }
        compare("seed".into(), &self.seed.to_string(), &now.seed.to_string());
        compare("kjvm".into(), &self.kjvm, &now.kjvm);
        if self.scenario != now.scenario && causes.is_empty() {
            causes.push(Changed {
                what: "scenario".into(),
                recorded: "as in the file".into(),
                now: "changed".into(),
            });
        }
        let mut effects = Vec::new();
        let shown = |digest: &Option<String>| digest.clone().unwrap_or_else(|| "none".to_owned());
        for (what, recorded, now) in [
            ("verdict", self.verdict.clone(), now.verdict.clone()),
            ("failed", self.failed(), now.failed()),
            ("digest", shown(&self.digest), shown(&now.digest)),
        ] {
            if recorded != now {
                effects.push(Changed { what: what.to_owned(), recorded, now });
            }
        }
        let left = self.left(history);
        let same = effects.is_empty() && left.is_none();
        (!same).then_some(Difference { causes, left, effects })
    }

    fn failed(&self) -> String {
        let failures = self.failures.iter();
        let all: Vec<String> = failures
            .map(|failure| format!("{} ({}) {}", failure.clause, failure.class, failure.of))
            .collect();
        if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
    }

    /// Where a history first leaves the recorded path.
    fn left(&self, history: &History) -> Option<Left> {
        let recorded = self.path.lines();
        let entries = history.entries();
        let at = (0..recorded.len().max(entries.len())).find(|at| {
            match (recorded.get(*at), entries.get(*at)) {
                (Some(recorded), Some(entry)) => *recorded != line(entry),
                _ => true,
            }
        })?;
        let begun = entries.iter().take(at).rev().find_map(|entry| match &entry.what {
            Happening::StepBegins { cycle, step } => Some((*cycle, step.clone())),
            _ => None,
        });
        let (cycle, step) = begun.unwrap_or_default();
        let last = at.checked_sub(1).and_then(|before| entries.get(before));
        Some(Left {
            events: at,
            cycle,
            step,
            boot: last.map_or(1, |entry| entry.boot),
            instructions: last.map_or(0, |entry| entry.at.instructions),
            before: last.map(line),
            recorded: recorded.get(at).map(|line| (*line).to_owned()),
            now: entries.get(at).map(line),
        })
    }
}

impl Booted {
    fn shown(&self) -> String {
        format!("{} {}", self.name, self.blake3.get(..16).unwrap_or_default())
    }
}

/// How a run differs from one that was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it was made of is not what it is made of now. Empty: it is, and should have gone the same way.
    pub causes: Vec<Changed>,
    /// Where it first went another way. None: it went the same way.
    pub left: Option<Left>,
    /// What came of it.
    pub effects: Vec<Changed>,
}

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// What.
    pub what: String,
    /// As it was.
    pub recorded: String,
    /// As it is.
    pub now: String,
}

/// Where a run first went another way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// How many events are the same.
    pub events: usize,
    /// Cycle, from 1; 0 before the first.
    pub cycle: u32,
    /// The step.
    pub step: String,
    /// How often the power had come on.
    pub boot: u32,
    /// Retired since then, at the last event that is the same.
    pub instructions: u64,
    /// The last event that is the same.
    pub before: Option<String>,
    /// What came then. None: the end.
    pub recorded: Option<String>,
    /// What comes now. None: the end.
    pub now: Option<String>,
}

fn checkpoints(history: &History) -> Vec<Checkpoint> {
    let mut hash = blake3::Hasher::new();
    let mut checkpoints = Vec::new();
    for (entry, events) in history.entries().iter().zip(0..) {
        if let Happening::StepBegins { cycle, step } = &entry.what {
            checkpoints.push(Checkpoint {
                cycle: *cycle,
                step: step.clone(),
                boot: entry.boot,
                instructions: entry.at.instructions,
                nanoseconds: entry.at.time.0,
                events,
                hash: hash.finalize().to_hex().chars().take(32).collect(),
            });
        }
        hash.update(line(entry).as_bytes()).update(b"\n");
    }
    checkpoints
}

#[cfg(test)]
mod tests {
    use devices::{Moment, VirtualTime};

    use super::*;
    use crate::checks::{Check, Clause};
    use crate::language::Scenario;

    const SCENARIO: &str = "version = 1\nsteps = []\nkernel = { primary = \"a\" }";

    fn history(lines: &[&str]) -> History {
        let mut history = History::default();
        for (text, number) in lines.iter().zip(1..) {
            let at = Moment { time: VirtualTime(number * 10), instructions: number * 100, processor: None };
            let what = match text.strip_prefix("step ") {
                Some(step) => Happening::StepBegins { cycle: 1, step: step.into() },
                None => Happening::Console((*text).into()),
            };
            history.note(at, what);
        }
        history
    }

    fn run(history: &History, kernel: &str, checks: Vec<Check>) -> Repro {
        let mut report = Report::begun("s", &Scenario::read(SCENARIO, &[]).unwrap(), Vec::new());
        report.checks = checks;
        report.verdict = report.judge();
        report.digest = Some("00ff".into());
        let booted = Booted {
            role: "A".into(),
            name: kernel.into(),
            blake3: kernel.repeat(64),
            initramfs: "i".into(),
        };
        Repro::of(SCENARIO, "", vec![booted], &report, history)
    }

    #[test]
    fn a_file_holds_all_of_it_and_another_version_is_refused() {
        let history = history(&["one", "step jump", "two"]);
        let repro = run(&history, "a", vec![Check::fail(Clause::StepsEnd, "cycle 1", "refused", Vec::new())]);
        let text = repro.text().unwrap();
        assert_eq!(Repro::read(&text).unwrap(), repro);
        assert_eq!((repro.events(), repro.checkpoints.len(), repro.checkpoints[0].events), (3, 1, 1));
        assert_eq!((repro.verdict.as_str(), repro.failures[0].class.as_str()), ("fail", "refused"));
        assert!(matches!(
            Repro::read(&text.replacen("\"version\": 1", "\"version\": 2", 1)),
            Err(ReproError::Version(2))
        ));
        for wrong in ["", "{}", "{\"version\": 1}", "version = 1"] {
            assert!(matches!(Repro::read(wrong), Err(ReproError::Format(_))), "{wrong}");
        }
    }

    #[test]
    fn the_same_run_differs_in_nothing() {
        let history = history(&["one", "step jump", "two"]);
        let repro = run(&history, "a", Vec::new());
        assert_eq!(repro.differs_from(&repro, &history), None);
    }

    #[test]
    fn where_a_run_leaves_the_path_is_said_with_both_events() {
        let recorded = run(&history(&["one", "step jump", "two", "three"]), "a", Vec::new());
        for (lines, events, was, is) in [
            (&["one", "step jump", "2", "three"][..], 2, Some("two"), Some("2")),
            (&["one", "step jump", "two"][..], 3, Some("three"), None),
            (&["one", "step jump", "two", "three", "four"][..], 4, None, Some("four")),
        ] {
            let now = history(lines);
            let found = recorded.differs_from(&run(&now, "a", Vec::new()), &now).unwrap();
            assert_eq!(found.causes, []);
            let left = found.left.unwrap();
            assert_eq!((left.events, left.cycle, left.step.as_str()), (events, 1, "jump"));
            assert_eq!(left.instructions, events as u64 * 100);
            let ends = |line: Option<String>, with: Option<&str>| match (line, with) {
                (Some(line), Some(with)) => line.ends_with(with),
                (None, None) => true,
                _ => false,
            };
            assert!(ends(left.recorded, was) && ends(left.now, is), "{lines:?}");
        }
    }

    #[test]
    fn another_kernel_is_named_first() {
        let history = history(&["one"]);
        let recorded = run(&history, "a", Vec::new());
        let mut now = run(&history, "b", vec![Check::fail(Clause::StepsEnd, "", "refused", Vec::new())]);
        now.digest = Some("1100".into());
        let found = recorded.differs_from(&now, &history).unwrap();
        assert_eq!(found.causes[0].what, "kernel A");
        let effects: Vec<&str> = found.effects.iter().map(|effect| effect.what.as_str()).collect();
        assert_eq!((effects, found.left), (vec!["verdict", "failed", "digest"], None));
        // A kernel that differs and changes nothing is no difference of the run.
        let now = run(&history, "b", Vec::new());
        assert_eq!(recorded.differs_from(&now, &history), None);
    }
}
