//! `kjvm run`: scenarios in, verdicts out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use miette::{LabeledSpan, MietteDiagnostic, NamedSource};
use scenarios::kernels::{KernelUnavailable, Loaded};
use scenarios::language::Mistake;
use scenarios::report::{Phase, PowerHappening, terminal};
use scenarios::run::Listener;
use scenarios::{Report, Scenario, Verdict, run};

use crate::failure::{Code, Failure};

/// What to run.
#[derive(Debug, Args)]
pub struct Run {
    /// Scenarios, or directories of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Changes a value, as `kernel.primary=./bzImage`; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Writes the report of the only scenario to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs scenarios, one after the other.
pub fn run(arguments: &Run, quiet: bool) -> Result<ExitCode, Failure> {
    let files = files(&arguments.paths)?;
    if arguments.json.is_some() && files.len() != 1 {
        return Err(Failure::new(Code::Arguments, format!("--json takes one scenario, not {}", files.len())));
    }
    // All are read before the first one runs: a mistake in the last should not cost the time of the others.
    let read = files.iter().map(|file| read(file, &arguments.overrides)).collect::<Result<Vec<_>, _>>()?;
    let mut failed = 0;
    for (file, scenario) in files.iter().zip(&read) {
        let report = one(&name(file), scenario, quiet)?;
        if let Some(path) = &arguments.json {
            write_whole(path, &report)?;
        }
        failed += u32::from(report.verdict == Verdict::Fail);
    }
    if files.len() > 1 {
        println!("{} scenarios, {failed} failed", files.len());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn one(name: &str, scenario: &Scenario, quiet: bool) -> Result<Report, Failure> {
    let begun = Instant::now();
    let load = |kernel: &str, is_saver| {
        Loaded::new(kernel, is_saver, &|text| eprintln!("{text}")).map_err(kernel_failure)
    };
    let primary = load(&scenario.kernel.primary, false)?;
    let saver = scenario.kernel.saver.as_deref().map(|saver| load(saver, true)).transpose()?;
    if !quiet {
        println!("{}", terminal::head(name, scenario.machine.config.seed, &scenario.about));
    }
    let mut live = Live { quiet, before: None };
    let report = run::run(name, scenario, &primary, saver.as_ref(), &mut live).report;
    let conclusion = terminal::conclusion(&report, begun.elapsed().as_secs_f64());
    if quiet && report.verdict == Verdict::Pass {
        println!("{}", conclusion.lines().last().unwrap_or_default());
    } else {
        print!("{conclusion}");
    }
    Ok(report)
}

/// Prints what happens as it happens.
struct Live {
    quiet: bool,
    before: Option<Phase>,
}

impl Listener for Live {
    fn phase(&mut self, phase: &Phase) {
        if !self.quiet {
            println!("{}", terminal::phase(phase, self.before.as_ref()));
            let _ = std::io::stdout().flush();
        }
        self.before = Some(phase.clone());
    }

    fn power(&mut self, happening: &PowerHappening) {
        if !self.quiet {
            println!("{}", terminal::power(happening));
        }
    }
}

/// The scenarios meant: a directory means those in it, in the order of their names.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let unreadable =
            |error: std::io::Error| Failure::new(Code::Arguments, format!("{}: {error}", path.display()));
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            let is_scenario = file.extension().is_some_and(|extension| extension == "toml")
                && file.file_name().is_some_and(|name| name != "Cargo.toml");
            if is_scenario {
                inside.push(file);
            }
        }
        if inside.is_empty() {
            let message = format!("{}: no scenario (*.toml) is in this directory", path.display());
            return Err(Failure::new(Code::Arguments, message));
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

fn name(file: &Path) -> String {
    file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

fn read(file: &Path, overrides: &[String]) -> Result<Scenario, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Code::Arguments, format!("{}: {error}", file.display())))?;
    Scenario::read(&text, overrides).map_err(|(mistake, text)| mistake_in(file, mistake, text))
}

/// A mistake, shown at its place.
fn mistake_in(file: &Path, mistake: Mistake, text: String) -> Failure {
    let Mistake { what, place, label, help } = mistake;
    let mut diagnostic = MietteDiagnostic::new(what).with_label(LabeledSpan::new_with_span(label, place));
    diagnostic.help = help;
    let report = miette::Report::new(diagnostic)
        .with_source_code(NamedSource::new(file.display().to_string(), text).with_language("TOML"));
    Failure { message: String::new(), code: Code::Arguments, report: Some(report) }
}

fn kernel_failure(error: KernelUnavailable) -> Failure {
    let code = if error.is_users() { Code::Arguments } else { Code::Host };
    Failure::new(code, error)
}

/// Under its final name there is a whole report, or what was there before.
fn write_whole(path: &Path, report: &Report) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(Code::Host, format!("{}: {error}", path.display()));
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    serde_json::to_writer_pretty(&mut file, report).map_err(|error| failed(error.into()))?;
    file.write_all(b"\n").map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
