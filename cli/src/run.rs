//! `kjvm run`: scenarios in, verdicts out.

pub mod cases;
pub mod jobs;
pub mod kernels;
mod known;
mod live;
pub mod outcome;
pub mod reproduction;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use scenarios::report::terminal;
use scenarios::run::Finished;
use scenarios::{Report, Verdict, expected};

use self::cases::Case;
use self::jobs::{Page, side_by_side};
use self::kernels::Kernels;
use self::known::Tables;
use self::live::Live;
use self::outcome::Outcome;
pub use self::outcome::UNTESTED;
use crate::failure::{Code, Failure};
use crate::reports::{self, Reports};
use crate::{fault, output};

/// What to run.
#[derive(Debug, Args)]
#[command(
    after_help = "With several scenarios the largest exit code counts; every one is run. A skipped scenario counts as passed."
)]
pub struct Run {
    /// Scenarios, directories of them, or `-` for standard input.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Changes a value, as `kernel.primary=./bzImage`; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    #[command(flatten)]
    reports: Reports,
    /// Writes a file that repeats the run (`kjvm replay`); of several scenarios, one each into this directory. A run that fails leaves one
    /// in kjvm-out/ in any case.
    #[arg(long, value_name = "FILE|DIR")]
    repro: Option<PathBuf>,
    /// Runs so many scenarios at once: as many as there are processors, if nothing is said.
    #[arg(long, short, value_name = "N", default_value_t = jobs::processors(), hide_default_value = true)]
    jobs: usize,
    /// For `git bisect run`: 1 if a check failed; 125 if anything was skipped or could not be run; else 0.
    #[arg(long)]
    bisect: bool,
    /// Failures that are known, in place of `expected.toml` beside each scenario.
    #[arg(long, value_name = "FILE")]
    expected: Option<PathBuf>,
    /// Shows the scenarios, and runs none.
    #[arg(long)]
    list: bool,
}

/// Runs scenarios, several at once.
pub fn run(arguments: &Run, quiet: bool) -> Result<ExitCode, Vec<Failure>> {
    let cases = cases::cases(&arguments.paths, &arguments.overrides)?;
    if arguments.list {
        list(&cases);
        return Ok(ExitCode::SUCCESS);
    }
    arguments.reports.check(cases.len()).map_err(|failure| vec![failure])?;
    if let Some(path) = arguments.repro.as_ref().filter(|_| cases.len() > 1) {
        std::fs::create_dir_all(path).map_err(|error| {
            let message =
                format!("--repro {}: {} scenarios need a directory: {error}", path.display(), cases.len());
            vec![Failure::new(Code::Arguments, message)]
        })?;
    }
    let tables = Tables::read(arguments.expected.as_deref(), &cases).map_err(|failure| vec![failure])?;
    let begun = Instant::now();
    let kernels = Kernels::default();
    let outcomes = side_by_side(&cases, arguments.jobs, |case, page| {
        let begun = Instant::now();
        let came = one(case, arguments, &kernels, &tables, page, quiet);
        Outcome { name: case.name.clone(), seconds: begun.elapsed().as_secs_f64(), came }
    });
    for failure in outcomes.iter().filter_map(|outcome| outcome.came.as_ref().err()) {
        failure.say();
    }
    let reports = outcomes.iter().filter_map(|outcome| Some((outcome.came.as_ref().ok()?, outcome.seconds)));
    arguments.reports.write_together(reports).map_err(|failure| vec![failure])?;
    if outcomes.len() > 1 {
        let mut out = std::io::stdout();
        if !quiet {
            let _ = writeln!(out, "{}", outcome::table(&outcomes));
        }
        let _ = writeln!(out, "{}", outcome::summary(&outcomes, begun.elapsed().as_secs_f64()));
    }
    Ok(outcome::exit_code(&outcomes, arguments.bisect))
}

/// Runs a scenario, writes its reports and says what comes of it.
fn one(
    case: &Case,
    arguments: &Run,
    kernels: &Kernels,
    tables: &Tables,
    page: &Page,
    quiet: bool,
) -> Result<Report, Failure> {
    let begun = Instant::now();
    let mut finished = attempt(case, kernels, page, quiet)?;
    expected::apply(tables.of(case), &mut finished.report);
    let repro = reproduction::write(
        arguments.repro.as_deref(),
        case,
        tables.text_of(case),
        &finished,
        kernels,
        page,
    )?;
    let seconds = begun.elapsed().as_secs_f64();
    let commands = reports::commands(&case.file, &arguments.overrides, &finished.report, repro.as_deref());
    let html = arguments.reports.write(&case.scenario, &finished, &commands, seconds)?;
    let report = finished.report;
    let shown = |path: PathBuf| path.display().to_string();
    let ending = terminal::Ending { seconds, html: html.map(shown), repro: repro.map(shown) };
    let conclusion = terminal::conclusion(&report, &ending, output::look());
    if quiet && report.verdict == Verdict::Pass {
        page.line(conclusion.lines().last().unwrap_or_default());
    } else {
        page.line(conclusion.trim_end());
    }
    if report.verdict == Verdict::Broken {
        page.aside(fault::ADVICE);
    }
    Ok(report)
}

/// Runs a scenario. A panic of ours is a run that is broken.
///
/// # Errors
/// Kernels that cannot be had.
pub fn attempt(case: &Case, kernels: &Kernels, page: &Page, quiet: bool) -> Result<Finished, Failure> {
    let Case { name, scenario, .. } = case;
    let kernels = kernels.of(scenario, page)?;
    let mut live = Live::new(page, output::look(), quiet);
    let done = fault::guarded(|| scenarios::run::run(name, scenario, &kernels, &mut live));
    Ok(done.unwrap_or_else(|panic| {
        let mut report = Report::begun(name, scenario, Vec::new());
        report.broken = Some(panic);
        report.verdict = report.judge();
        Finished::without_trace(report)
    }))
}

fn list(cases: &[Case]) {
    let width = cases.iter().map(|case| case.name.chars().count()).max().unwrap_or(0);
    for Case { name, scenario, .. } in cases {
        let line = format!("{name:width$}  {}", scenario.about);
        let _ = writeln!(std::io::stdout(), "{}", line.trim_end());
    }
}
