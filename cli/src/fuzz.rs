//! `kjvm fuzz`: a scenario cut everywhere, and what the next boots make of it.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use scenarios::explore::campaign::{ExploreError, Explored, Found, Progress, explore};
use scenarios::explore::family::Depth;
use scenarios::report::{Phase, PowerHappening};
use scenarios::run::Listener;
use serde::Serialize;

use crate::failure::{Code, Failure};
use crate::output;
use crate::run::cases::{Case, cases};
use crate::run::jobs::side_by_side;
use crate::run::kernels::Kernels;

/// Lines of lost writes that are shown of a finding; the JSON file has all.
const LOST: usize = 6;

/// What to explore.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing was found, 1 something was found; 2, 3 and 4 as those of `run`."
)]
pub struct Fuzz {
    /// The scenario. Its own checks have to pass; its power cuts are left out, exploration brings them.
    scenario: PathBuf,
    /// Ends after this time: `90s`, `10m`, `2h`. Until everything is decided, if nothing is said.
    #[arg(long, value_name = "TIME", value_parser = budget)]
    budget: Option<Duration>,
    /// Two writes that are lost together stand at most so far apart in the order in which they were accepted. 0: one is lost at a time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pairs: usize,
    /// Changes a value, as `kernel.primary=./bzImage`; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Writes what came of it to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A time such as `90s`, `10m`, `2h`.
fn budget(text: &str) -> Result<Duration, String> {
    let (number, unit) =
        text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("a number and a unit: 90s, 10m, 2h".into()),
    };
    let number: u64 = number.parse().map_err(|_| "a number and a unit: 90s, 10m, 2h".to_owned())?;
    match number.saturating_mul(seconds) {
        0 => Err("in no time nothing is explored".into()),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

/// The file.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    scenario: &'a str,
    seed: u64,
    points: usize,
    skipped: usize,
    decided: u64,
    executed: u64,
    #[serde(flatten)]
    explored: &'a Explored,
}

struct Silent;

impl Listener for Silent {
    fn phase(&mut self, _: &Phase) {}

    fn power(&mut self, _: &PowerHappening) {}
}

/// Explores.
pub fn run(arguments: &Fuzz, quiet: bool) -> Result<ExitCode, Vec<Failure>> {
    let cases = cases(std::slice::from_ref(&arguments.scenario), &arguments.overrides)?;
    let [case] = &cases[..] else {
        let message = format!("{} scenarios: give one, without a matrix", cases.len());
        return Err(vec![Failure::new(Code::Arguments, message)]);
    };
    let kernels = Kernels::default();
    let mut results =
        side_by_side(std::slice::from_ref(case), 1, |case, page| kernels.of(&case.scenario, page));
    let kernels = match results.pop() {
        Some(Ok(kernels)) => kernels,
        Some(Err(failure)) => return Err(vec![failure]),
        None => return Err(vec![Failure::new(Code::Ours, "no kernels")]),
    };
    let mut out = std::io::stdout();
    if !quiet {
        let _ = writeln!(out, "{}   {}", case.name, case.scenario.about);
        let _ = writeln!(out, "recording it once");
    }
    let begun = Instant::now();
    let mut live = Live::new(quiet);
    let depth = Depth { pairs: arguments.pairs, ..Depth::default() };
    let explored = explore(&case.name, &case.scenario, &kernels, depth, &mut Silent, |progress| {
        live.show(progress);
        arguments.budget.is_none_or(|budget| begun.elapsed() < budget)
    });
    live.bar.finish_and_clear();
    let explored = explored.map_err(|error| vec![failure(case, &error)])?;
    let seconds = begun.elapsed().as_secs_f64();
    let _ = write!(out, "{}", conclusion(&case.name, &explored, seconds));
    if let Some(path) = &arguments.json {
        let progress = &explored.progress;
        let report = Report {
            version: 1,
            scenario: &case.name,
            seed: case.scenario.machine.config.seed,
            points: progress.points.total(),
            skipped: 0,
            decided: progress.effort.decided,
            executed: progress.effort.executed,
            explored: &explored,
        };
        output::write_json(path, &report).map_err(|failure| vec![failure])?;
    }
    Ok(if explored.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn failure(case: &Case, error: &ExploreError) -> Failure {
    let code = if error.is_users() { Code::Arguments } else { Code::Ours };
    Failure::new(code, format!("{}: {error}", case.file.display()))
}

/// How far it is, on a terminal.
struct Live {
    bar: ProgressBar,
}

impl Live {
    fn new(quiet: bool) -> Self {
        let bar = if quiet || !output::live() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
            bar.set_style(style);
        }
        Self { bar }
    }

    fn show(&mut self, progress: &Progress) {
        let Progress { points, states, effort, undecided, findings, .. } = progress;
        self.bar.set_message(format!(
            "{} cut points, {states} states, {} boots, {undecided} undecided, {findings} findings",
            points.total(),
            effort.executed
        ));
        self.bar.tick();
    }
}

/// What came of it, the answer last.
fn conclusion(name: &str, explored: &Explored, seconds: f64) -> String {
    let Explored { progress, tested, is_exhausted, outcomes, findings } = explored;
    let Progress { points, listed, states, effort, undecided, .. } = progress;
    let mut text = format!(
        "cut points   {} (disk {}, power {}, phases {})   0 skipped, {tested} decided to the last state\n",
        points.total(),
        points.disk,
        points.power,
        points.phase
    );
    let _ = writeln!(text, "states       {listed} of the listed family, {states} different");
    let _ = writeln!(
        text,
        "boots        {} executed, {:.1} a second, decide {} states; {}",
        effort.executed,
        effort.executed as f64 / seconds.max(0.001),
        effort.decided,
        if *is_exhausted { "nothing is undecided".to_owned() } else { format!("{undecided} are undecided") }
    );
    for (outcome, states) in outcomes {
        let _ = writeln!(text, "  {states:>8}   {outcome}");
    }
    for (number, found) in (1..).zip(findings) {
        text.push('\n');
        text.push_str(&finding(number, found));
    }
    let verdict = if findings.is_empty() { "CLEAN" } else { "FOUND" };
    let _ =
        writeln!(text, "\n{verdict}   {name}   {} findings   {}", findings.len(), output::duration(seconds));
    text
}

fn finding(number: usize, found: &Found) -> String {
    let Found {
        class, clause, cut, lost_writes, weakest_fault, user_effect, allowed, observed, seen, ..
    } = found;
    let mut text = format!("{number}  {clause}   {class}\n");
    let _ = writeln!(text, "   cut       {} ns into boot {}, in {}", cut.at.time.0, cut.boot, cut.step);
    if lost_writes.is_empty() {
        let _ = writeln!(text, "   lost      nothing that the disk had accepted");
    }
    for write in lost_writes.iter().take(LOST) {
        let (request, sector, sectors, owner) = (write.request, write.sector, write.sectors, &write.owner);
        let _ = writeln!(text, "   lost      write #{request}, sectors {sector}+{sectors} ({owner})");
    }
    if lost_writes.len() > LOST {
        let _ = writeln!(text, "             and {} more", lost_writes.len() - LOST);
    }
    let _ = writeln!(text, "   observed  {observed}");
    let _ = writeln!(text, "   legal     {}", allowed.join(" or "));
    let _ = writeln!(text, "   effect    {user_effect}");
    let _ = writeln!(text, "   needs     {weakest_fault}");
    let _ = writeln!(text, "   seen      in {seen} states");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_have_units() {
        assert_eq!(budget("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(budget("10m"), Ok(Duration::from_secs(600)));
        for wrong in ["", "10", "m", "0s", "1.5h", "10min"] {
            assert!(budget(wrong).is_err(), "{wrong}");
        }
    }
}
