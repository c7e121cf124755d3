//! `kjvm compare`: scenarios on two kernels, and what is not the same.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use scenarios::Report;
use scenarios::compare::{Change, Kind, compare};
use serde::Serialize;

use crate::failure::Failure;
use crate::fault;
use crate::output::write_json;
use crate::run::cases::{Case, cases};
use crate::run::jobs::{Page, processors, side_by_side};
use crate::run::kernels::Kernels;
use crate::run::{attempt, outcome, reproduction};

/// What to compare.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing is new, 1 something fails on the head that did not fail on the base; 2, 3 and 4 as those of `run`."
)]
pub struct Compare {
    /// The kernel as it was: a name, or a file.
    #[arg(long, value_name = "KERNEL")]
    base: String,
    /// The kernel as it is.
    #[arg(long, value_name = "KERNEL")]
    head: String,
    /// Scenarios, or directories of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Changes a value in all of them; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Compares so many scenarios at once: as many as there are processors, if nothing is said.
    #[arg(long, short, value_name = "N", default_value_t = processors(), hide_default_value = true)]
    jobs: usize,
    /// Writes what is not the same to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The whole of it, as a file has it.
#[derive(Serialize)]
struct Comparison<'a> {
    version: u32,
    base: &'a str,
    head: &'a str,
    scenarios: Vec<&'a Compared>,
}

/// A scenario on both.
#[derive(Serialize)]
struct Compared {
    scenario: String,
    base: Run,
    head: Run,
    changes: Vec<Change>,
    #[serde(skip)]
    code: u8,
}

/// A run of one of them.
#[derive(Serialize)]
struct Run {
    verdict: &'static str,
    digest: Option<String>,
}

/// Compares.
pub fn run(arguments: &Compare, quiet: bool) -> Result<ExitCode, Vec<Failure>> {
    let Compare { base, head, paths, overrides, jobs, json } = arguments;
    let with = |kernel: &str| {
        let overrides: Vec<String> =
            overrides.iter().cloned().chain([format!("kernel.primary={}", quoted(kernel))]).collect();
        cases(paths, &overrides)
    };
    let pairs: Vec<(Case, Case)> = with(base)?.into_iter().zip(with(head)?).collect();
    let kernels = Kernels::default();
    let results = side_by_side(&pairs, *jobs, |(base, head), page| both(base, head, &kernels, page, quiet));
    let mut worst = 0;
    let mut compared = Vec::new();
    for result in &results {
        match result {
            Ok(one) => compared.push(one),
            Err(failure) => {
                failure.say();
                worst = worst.max(failure.code as u8);
            }
        }
    }
    if let Some(path) = json {
        let scenarios = compared.clone();
        write_json(path, &Comparison { version: 1, base, head, scenarios })
            .map_err(|failure| vec![failure])?;
    }
    let count =
        |kind| compared.iter().flat_map(|one| &one.changes).filter(|change| change.kind == kind).count();
    let (new, fixed, changed) = (count(Kind::New), count(Kind::Fixed), count(Kind::Changed));
    let _ = writeln!(
        std::io::stdout(),
        "{} of {} scenarios compared, base {base}, head {head}: {new} new, {fixed} fixed, {changed} changed",
        compared.len(),
        results.len()
    );
    worst = compared.iter().map(|one| one.code).fold(worst, u8::max).max(u8::from(new > 0));
    Ok(ExitCode::from(worst))
}

/// Runs a scenario on both, and says what is not the same.
fn both(base: &Case, head: &Case, kernels: &Kernels, page: &Page, quiet: bool) -> Result<Compared, Failure> {
    let before = attempt(base, kernels, page, true)?.report;
    let finished = attempt(head, kernels, page, true)?;
    let changes = compare(&before, &finished.report);
    if changes.is_empty() && !quiet {
        page.line(format!("same     {}", head.name));
    }
    for change in &changes {
        page.line(shown(&head.name, change));
    }
    if changes.iter().any(|change| change.kind == Kind::New)
        && let Some(repro) = reproduction::write(None, head, "", &finished, kernels, page)?
    {
        page.line(format!("         again: kjvm replay {}", repro.display()));
    }
    // A failure is what both may have; what is ours says nothing of either.
    let code = [&before, &finished.report].map(outcome::code_of).into_iter().filter(|code| *code > 1).max();
    if code.is_some() {
        page.aside(fault::ADVICE);
    }
    let run = |report: &Report| Run { verdict: report.verdict.name(), digest: report.digest.clone() };
    Ok(Compared {
        scenario: head.name.clone(),
        base: run(&before),
        head: run(&finished.report),
        changes,
        code: code.unwrap_or(0),
    })
}

fn shown(scenario: &str, change: &Change) -> String {
    let word = match change.kind {
        Kind::New => "NEW",
        Kind::Fixed => "FIXED",
        Kind::Changed => "CHANGED",
    };
    let mut text = format!("{word:7}  {scenario}");
    if let Some(clause) = change.clause {
        let _ = write!(text, "   {clause}   {}", clause.about());
    }
    let classes =
        |classes: &[String]| if classes.is_empty() { "none".to_owned() } else { classes.join(", ") };
    let _ = write!(text, "\n         base: {}, head: {}", classes(&change.base), classes(&change.head));
    if !change.remark.is_empty() {
        let _ = write!(text, "   {}", change.remark);
    }
    text
}

/// As a string of TOML, whatever it looks like.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_two_lines() {
        let change = Change {
            kind: Kind::New,
            clause: scenarios::checks::Clause::named("O9.C1"),
            base: vec![],
            head: vec!["refused".into()],
            remark: "suspend: the agent refused".into(),
        };
        insta::assert_snapshot!(shown("s3", &change), @r"
        NEW      s3   O9.C1   every step comes to its end
                 base: none, head: refused   suspend: the agent refused
        ");
        assert_eq!(quoted("7"), "\"7\"");
    }
}
