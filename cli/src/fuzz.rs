//! `kjvm fuzz`: a scenario cut everywhere, and what the next boots make of it.

mod answer;
mod conclusion;
mod json;
mod live;
mod place;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use scenarios::explore::baseline::Baseline;
use scenarios::explore::campaign::{Campaign, Exhausted, ExploreError, Explored, Progress, Telling};
use scenarios::explore::family::Depth;
use scenarios::explore::identity::Identity;
use scenarios::explore::store::Store;
use scenarios::explore::survey::{Recording, Survey};
use scenarios::kernels;
use scenarios::report::{Phase, PowerHappening, html, junit};
use scenarios::run::Listener;

use crate::failure::{Code, Failure};
use crate::output::{self, write_whole};
use crate::run::cases::{Case, cases};
use crate::run::jobs::{self, side_by_side};
use crate::run::kernels::Kernels;
use crate::{interrupts, reports};
use answer::Answer;
use live::Live;
use place::Place;

/// What to explore.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing (new) was found, 1 something was found, 2 an argument or a file is wrong, 3 the host lacks something, 4 kjvm's own fault.\n\
                  Ctrl-C ends it in order: what is decided is kept, and --resume goes on."
)]
pub struct Fuzz {
    /// The scenario. Its own checks have to pass; its power cuts are replaced.
    scenario: PathBuf,
    /// Ends after this time, the recorded run included: `90s`, `10m`, `2h`. Until everything is decided, if nothing is said.
    #[arg(long, value_name = "TIME", value_parser = budget)]
    budget: Option<Duration>,
    /// Boots with so many machines at once: as many as there are processors, if nothing is said.
    #[arg(long, short, value_name = "N", default_value_t = jobs::processors(), hide_default_value = true)]
    jobs: usize,
    /// Two writes that are lost together stand at most so far apart in the order in which they were accepted. 0: one is lost at a time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pairs: usize,
    /// Cuts the power at so many instructions between two events as well.
    #[arg(long, value_name = "N", default_value_t = 64)]
    instructions: usize,
    /// Of the seeded choices and these instructions: that of the scenario, if nothing is said.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Decides every mix of versions in a region as well, whatever its size: `header`, `map`, `journal`, `image`, `swap`, `ext4`, `all`, or a
    /// step, such as `hibernate`: all blocks, at the cuts of that step. May be given more than once.
    #[arg(long, value_name = "REGION|STEP")]
    exhaustive: Vec<String>,
    /// Looks into the file system after a cold boot too: what was synced before has to be there. Takes many more boots.
    #[arg(long)]
    files: bool,
    /// Goes on with the campaign of this directory.
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    resume: Option<PathBuf>,
    /// Keeps what is done in this directory: kjvm-out/NAME.fuzz, if nothing is said.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Classes of findings that are known: what --json wrote, or a list of them. They do not fail the campaign.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Boots that making a finding smaller may take, of each.
    #[arg(long, value_name = "N", default_value_t = 64)]
    minimise: u32,
    /// Writes a report for a maintainer of each finding, with logs of the disks that show it without kjvm.
    #[arg(long)]
    report: bool,
    /// Writes what came of it for programs.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes it for continuous integration.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Writes it for people.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Changes a value, as `kernel.primary=./bzImage`; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
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
    Recording::can(&case.scenario).map_err(|error| failure(case, &error))?;
    let baseline = arguments.baseline.as_deref().map(known).transpose()?;
    for path in [&arguments.json, &arguments.junit, &arguments.html].into_iter().flatten() {
        reports::make_directory(path.parent())?;
    }
    let kernels = Kernels::default();
    let mut gathered =
        side_by_side(std::slice::from_ref(case), 1, |case, page| kernels.of(&case.scenario, page));
    let kernels = gathered.pop().ok_or_else(|| Failure::new(Code::Ours, "no kernels"))??;
    let place = Place::new(&case.name, arguments.resume.as_deref(), arguments.out.as_deref())?;
    if let Some(moved) = place.moved.as_ref().filter(|_| !quiet) {
        say(&format!("the campaign that was here is now in {}", moved.display()));
    }
    let explored = explore(case, arguments, &kernels, &place, begun, quiet)?;
    let answer = Answer::new(&case.name, &explored, baseline.as_ref(), &place.directory);
    let look = output::look();
    if !quiet {
        let _ = write!(std::io::stdout(), "{}", conclusion::text(&answer, look));
        if !explored.is_exhausted {
            say(&place.how_to_go_on(case));
        }
        say("");
    }
    say(&conclusion::last(&answer, look));
    write(case, arguments, &answer)?;
    Ok(if answer.is_found() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn say(text: &str) {
    // Nobody listens if standard output is closed, and then nobody misses it.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Begins a campaign or goes on with one, until it is over or has to end; of one that is over, what came of it.
fn explore(
    case: &Case,
    arguments: &Fuzz,
    kernels: &kernels::Kernels,
    place: &Place,
    begun: Instant,
    quiet: bool,
) -> Result<Explored, Failure> {
    let failed = |error: ExploreError| failure(case, &error);
    let stored = |error| failed(ExploreError::from(error));
    let seed = seed(case, arguments);
    let (pairs, instructions) = (arguments.pairs, arguments.instructions);
    let depth = Depth { pairs, instructions, seed, files: arguments.files, ..Depth::default() };
    let identity = Identity::new(&case.name, &case.text, seed, kernels, depth);
    let store = Store::open(&place.directory, &identity).map_err(stored)?;
    if let Some(explored) = concluded(&store, arguments).map_err(stored)? {
        if !quiet {
            say(&format!("{}   everything is decided already", case.name));
        }
        return Ok(explored);
    }
    if !quiet {
        say(format!("{}   {}", case.name, case.scenario.about).trim_end());
        say("recording it once");
    }
    let recording = Recording::of(&case.name, &case.scenario, kernels, &mut Silent).map_err(failed)?;
    store.identify(&identity.recorded(&recording.finished.history)).map_err(stored)?;
    let survey = Survey::of(&recording, depth).map_err(failed)?;
    let mut campaign = Campaign::new(&survey, &store, begun).map_err(failed)?;
    let mut live = Live::new(arguments.budget, begun, quiet);
    interrupts::catch();
    let mut goes_on = |progress: &Progress| {
        live.show(progress);
        !interrupts::came() && arguments.budget.is_none_or(|budget| begun.elapsed() < budget)
    };
    // What is small and was asked for comes first.
    let ran = (arguments.exhaustive.iter())
        .try_for_each(|region| campaign.exhaust(region, arguments.jobs, &mut goes_on))
        .and_then(|()| campaign.run(arguments.jobs, &mut goes_on));
    live.end();
    let to_go_on = |mut failure: Failure| {
        if failure.code == Code::Host {
            failure.message += &format!("\n{}", place.how_to_go_on(case));
        }
        failure
    };
    ran.map_err(failed).map_err(to_go_on)?;
    let found = campaign.progress().findings;
    if found > 0 && !quiet {
        eprintln!("looking for the smallest witness of {found} findings");
    }
    let telling = Telling {
        jobs: arguments.jobs,
        boots: arguments.minimise,
        report: arguments.report,
        is_hasty: interrupts::came(),
    };
    let findings = campaign.tell(&case.text, &place.directory, telling).map_err(failed).map_err(to_go_on)?;
    let explored = campaign.explored(findings);
    let regions_too = explored.regions.iter().all(Exhausted::is_exhausted);
    if explored.is_exhausted && regions_too && !telling.is_hasty {
        let text = serde_json::to_string(&explored).map_err(|error| Failure::new(Code::Ours, error))?;
        store.conclude(&text).map_err(stored).map_err(to_go_on)?;
    }
    Ok(explored)
}

/// What came of a campaign that is at its end, unless more is asked of it now, or another kjvm wrote it.
fn concluded(
    store: &Store,
    arguments: &Fuzz,
) -> Result<Option<Explored>, scenarios::explore::store::StoreError> {
    let explored: Option<Explored> = store.conclusion()?.and_then(|text| serde_json::from_str(&text).ok());
    let has_reports = |explored: &Explored| {
        let mut files = explored.findings.iter().map(|found| found.repro.as_ref());
        files.all(|files| files.is_some_and(|files| !files.report.is_empty()))
    };
    let has_regions = |explored: &Explored| {
        let is_done = |name: &String| explored.regions.iter().any(|done| done.region == *name);
        arguments.exhaustive.iter().all(is_done)
    };
    Ok(explored.filter(|it| (!arguments.report || has_reports(it)) && has_regions(it)))
}

fn seed(case: &Case, arguments: &Fuzz) -> u64 {
    arguments.seed.unwrap_or(case.scenario.machine.config.seed)
}

fn known(path: &Path) -> Result<Baseline, Failure> {
    let wrong = |error: String| Failure::new(Code::Arguments, format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    Baseline::read(&text).map_err(|error| wrong(error.to_string()))
}

/// Writes the reports that were asked for.
fn write(case: &Case, arguments: &Fuzz, answer: &Answer<'_>) -> Result<(), Failure> {
    let seed = seed(case, arguments);
    if let Some(path) = &arguments.json {
        json::write(path, answer, seed)?;
    }
    if let Some(path) = &arguments.junit {
        let text = junit::campaign::text(answer.name, answer.explored, &answer.known);
        write_whole(path, text.map_err(|error| Failure::new(Code::Ours, error))?.as_bytes())?;
    }
    if let Some(path) = &arguments.html {
        let again: Vec<_> = answer.explored.findings.iter().map(|found| answer.again(found)).collect();
        let page = html::campaign::page(&html::campaign::Account {
            scenario: answer.name,
            about: &case.scenario.about,
            seed,
            explored: answer.explored,
            known: &answer.known,
            gone: &answer.gone,
            again: &again,
        });
        write_whole(path, page.as_bytes())?;
    }
    Ok(())
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
