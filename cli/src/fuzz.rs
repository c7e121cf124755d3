//! `kjvm fuzz`: a scenario cut everywhere, and what the next boots make of it.

mod conclusion;
mod live;
mod place;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use scenarios::explore::campaign::{Campaign, ExploreError, Explored};
use scenarios::explore::family::Depth;
use scenarios::explore::identity::Identity;
use scenarios::explore::store::Store;
use scenarios::explore::survey::{Recording, Survey};
use scenarios::report::{Phase, PowerHappening};
use scenarios::run::Listener;
use serde::Serialize;

use crate::failure::{Code, Failure};
use crate::run::cases::{Case, cases};
use crate::run::jobs::{self, side_by_side};
use crate::run::kernels::Kernels;
use crate::{interrupts, output};
use live::Live;
use place::Place;

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
    /// Boots with so many machines at once: as many as there are processors, if nothing is said.
    #[arg(long, short, value_name = "N", default_value_t = jobs::processors(), hide_default_value = true)]
    jobs: usize,
    /// Goes on with the campaign of this directory.
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    resume: Option<PathBuf>,
    /// Keeps what is done in this directory: kjvm-out/NAME.fuzz, if nothing is said.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Two writes that are lost together stand at most so far apart in the order in which they were accepted. 0: one is lost at a time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pairs: usize,
    /// Cuts the power at so many instructions between two events as well.
    #[arg(long, value_name = "N", default_value_t = 64)]
    instructions: usize,
    /// Of the seeded choices and these instructions: that of the scenario, if nothing is said.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
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
    let begun = Instant::now();
    let cases = cases(std::slice::from_ref(&arguments.scenario), &arguments.overrides)?;
    let [case] = &cases[..] else {
        let message = format!("{} scenarios: give one, without a matrix", cases.len());
        return Err(vec![Failure::new(Code::Arguments, message)]);
    };
    one(case, arguments, begun, quiet).map_err(|failure| vec![failure])
}

fn one(case: &Case, arguments: &Fuzz, begun: Instant, quiet: bool) -> Result<ExitCode, Failure> {
    let failed = |error: ExploreError| failure(case, &error);
    let kernels = Kernels::default();
    let mut results =
        side_by_side(std::slice::from_ref(case), 1, |case, page| kernels.of(&case.scenario, page));
    let kernels = results.pop().ok_or_else(|| Failure::new(Code::Ours, "no kernels"))??;
    let seed = arguments.seed.unwrap_or(case.scenario.machine.config.seed);
    let (pairs, instructions) = (arguments.pairs, arguments.instructions);
    let depth = Depth { pairs, instructions, seed, ..Depth::default() };
    Recording::can(&case.scenario).map_err(failed)?;
    let identity = Identity::new(&case.name, &case.text, seed, &kernels, depth);
    let place = Place::new(&case.name, arguments.resume.as_deref(), arguments.out.as_deref())?;
    let mut out = std::io::stdout();
    let mut say = |text: &str| {
        if !quiet {
            let _ = writeln!(out, "{text}");
        }
    };
    if let Some(moved) = &place.moved {
        say(&format!("the campaign that was here is now in {}", moved.display()));
    }
    let stored = |error| failed(ExploreError::from(error));
    let store = Store::open(&place.directory, &identity).map_err(stored)?;
    say(&format!("{}   {}", case.name, case.scenario.about));
    say("recording it once");
    let recording = Recording::of(&case.name, &case.scenario, &kernels, &mut Silent).map_err(failed)?;
    store.identify(&identity.recorded(&recording.finished.history)).map_err(stored)?;
    let survey = Survey::of(&recording, depth).map_err(failed)?;
    let mut campaign = Campaign::new(&survey, &store, begun).map_err(failed)?;
    let mut live = Live::new(arguments.budget, begun, quiet);
    interrupts::catch();
    let ran = campaign.run(arguments.jobs, |progress| {
        live.show(progress);
        !interrupts::came() && arguments.budget.is_none_or(|budget| begun.elapsed() < budget)
    });
    live.end();
    ran.map_err(|error| {
        let mut failure = failed(error);
        if failure.code == Code::Host {
            failure.message += &format!("\n{}", place.how_to_go_on(case));
        }
        failure
    })?;
    let explored = campaign.explored().map_err(failed)?;
    let _ = write!(std::io::stdout(), "{}", conclusion::text(&case.name, &explored));
    if let Some(path) = &arguments.json {
        let progress = &explored.progress;
        let report = Report {
            version: 1,
            scenario: &case.name,
            seed,
            points: progress.points.total(),
            skipped: progress.points.skipped,
            decided: progress.effort.decided,
            executed: progress.effort.executed,
            explored: &explored,
        };
        output::write_json(path, &report)?;
    }
    Ok(if explored.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn failure(case: &Case, error: &ExploreError) -> Failure {
    let code = match error {
        error if error.is_users() => Code::Arguments,
        error if error.is_hosts() => Code::Host,
        _ => Code::Ours,
    };
    match error {
        // It is about that file, and says so.
        ExploreError::Store(error) => Failure::new(code, error),
        error => Failure::new(code, format!("{}: {error}", case.file.display())),
    }
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
