//! A campaign for programs.

use std::collections::BTreeMap;
use std::path::Path;

use scenarios::explore::campaign::{Exhausted, Progress};
use scenarios::explore::family::Spaces;
use scenarios::explore::finding::Found;
use scenarios::explore::recovery::Outcome;
use serde::Serialize;

use super::answer::Answer;
use crate::failure::Failure;
use crate::output;

/// Counts up when a field changes its meaning or goes away, not when one is added.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    format: u32,
    kjvm: &'static str,
    scenario: &'a str,
    seed: u64,
    verdict: &'static str,
    points: usize,
    tested: usize,
    skipped: usize,
    decided: u64,
    executed: u64,
    findings: Vec<Told<'a>>,
    not_seen: &'a [String],
    exhausted: bool,
    seconds: f64,
    progress: Progress,
    points_by_name: &'a BTreeMap<String, usize>,
    spaces: Spaces,
    regions: &'a [Exhausted],
    outcomes: Vec<Ended<'a>>,
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    found: &'a Found,
    /// Only there if there is a baseline: `new`, or `known`.
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<&'static str>,
}

#[derive(Serialize)]
struct Ended<'a> {
    outcome: &'a Outcome,
    words: String,
    states: u64,
}

/// Writes it.
///
/// # Errors
/// Those of the host.
pub fn write(path: &Path, answer: &Answer<'_>, seed: u64) -> Result<(), Failure> {
    let explored = answer.explored;
    let told = explored.findings.iter().zip(&answer.known).map(|(found, known)| Told {
        found,
        baseline: answer.has_baseline.then_some(if *known { "known" } else { "new" }),
    });
    let ended = explored.outcomes.iter();
    let outcomes =
        ended.map(|(outcome, states)| Ended { outcome, words: outcome.to_string(), states: *states });
    let report = Report {
        format: FORMAT,
        kjvm: env!("CARGO_PKG_VERSION"),
        scenario: answer.name,
        seed,
        verdict: if answer.is_found() { "found" } else { "clean" },
        points: explored.progress.points.total(),
        tested: explored.tested.total(),
        skipped: explored.progress.points.skipped,
        decided: explored.progress.effort.decided,
        executed: explored.progress.effort.executed,
        findings: told.collect(),
        not_seen: &answer.gone,
        exhausted: explored.is_exhausted,
        seconds: explored.seconds,
        progress: explored.progress,
        points_by_name: &explored.points_by_name,
        spaces: explored.spaces,
        regions: &explored.regions,
        outcomes: outcomes.collect(),
    };
    output::write_json(path, &report)
}
