//! What came of a campaign, against what was known before, for whoever reads it.

use std::path::Path;

use scenarios::explore::baseline::Baseline;
use scenarios::explore::campaign::Explored;
use scenarios::explore::finding::Found;
use scenarios::report::Command;

use crate::reports::quoted;

/// It.
pub struct Answer<'a> {
    /// The scenario's name.
    pub name: &'a str,
    /// What came of it.
    pub explored: &'a Explored,
    /// Whether anything was known before.
    pub has_baseline: bool,
    /// Of each finding: whether it was.
    pub known: Vec<bool>,
    /// What was known and was not seen.
    pub gone: Vec<String>,
    /// Where its files are.
    directory: &'a Path,
}

impl<'a> Answer<'a> {
    /// Of what came of it.
    pub fn new(
        name: &'a str,
        explored: &'a Explored,
        baseline: Option<&Baseline>,
        directory: &'a Path,
    ) -> Self {
        let findings = &explored.findings;
        let knows = |found: &Found| baseline.is_some_and(|baseline| baseline.knows(found));
        let gone = baseline.into_iter().flat_map(|baseline| baseline.gone(findings));
        let gone = gone.map(|known| match &known.clause {
            Some(clause) => format!("{clause} {}", known.class),
            None => known.class.clone(),
        });
        Self {
            name,
            explored,
            has_baseline: baseline.is_some(),
            known: findings.iter().map(knows).collect(),
            gone: gone.collect(),
            directory,
        }
    }

    /// Whether there is anything that was not known.
    pub fn is_found(&self) -> bool {
        self.known.iter().any(|known| !known)
    }

    /// What to type to see a finding again, and to know more of it.
    pub fn again(&self, found: &Found) -> Vec<Command> {
        let path = |file: &str| quoted(&self.directory.join(file).display().to_string());
        let mut commands = Vec::new();
        let mut add = |purpose: &str, line: String| commands.push(Command { purpose: purpose.into(), line });
        if let Some(files) = &found.repro {
            match (files.replay.as_str(), files.scenario.as_str()) {
                ("", "") => {}
                ("", scenario) => add("again", format!("kjvm run {}", path(scenario))),
                (replay, _) => add("replay", format!("kjvm replay {}", path(replay))),
            }
            if !files.report.is_empty() {
                add("report", path(&files.report));
            }
        }
        add("why", format!("kjvm explain {}", found.clause));
        commands
    }
}
