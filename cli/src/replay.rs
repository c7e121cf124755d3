//! `kjvm replay`: a recorded run again, and where it goes another way.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use scenarios::expected;
use scenarios::language::read_expected;
use scenarios::report::terminal;
use scenarios::repro::{Changed, Difference, Left, Repro};

use crate::failure::{Code, Failure};
use crate::fault;
use crate::output;
use crate::run::cases::{Case, mistake_in};
use crate::run::jobs::{Page, side_by_side};
use crate::run::kernels::Kernels;
use crate::run::{attempt, outcome, reproduction};

/// What to replay.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: that of the run if it goes as recorded; 1 if it does not and something is known to be different (a kernel, \
                  the initramfs, kjvm, what --set changes); 4 if nothing is."
)]
pub struct Replay {
    /// A file that a run left (`kjvm-out/*.repro`, `kjvm run --repro`).
    file: PathBuf,
    /// Changes a value of the scenario, as `kernel.primary=./bzImage`; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

/// It went another way.
const OTHER: u8 = 1;

/// Runs it again.
pub fn run(arguments: &Replay, quiet: bool) -> Result<ExitCode, Failure> {
    let Replay { file, overrides } = arguments;
    let wrong = |error: String| Failure::new(Code::Arguments, format!("{}: {error}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let recorded = Repro::read(&text).map_err(|error| wrong(error.to_string()))?;
    let cases = Case::of(&recorded.name, file, &recorded.scenario, overrides)?;
    let kernels = Kernels::default();
    let code = side_by_side(&cases, 1, |case, page| again(file, &recorded, case, &kernels, page, quiet));
    code.into_iter().next().unwrap_or(Ok(Code::Ours as u8)).map(ExitCode::from)
}

fn again(
    file: &Path,
    recorded: &Repro,
    case: &Case,
    kernels: &Kernels,
    page: &Page,
    quiet: bool,
) -> Result<u8, Failure> {
    let begun = Instant::now();
    let known = read_expected(&recorded.expected)
        .map_err(|mistake| mistake_in(file, mistake, recorded.expected.clone()))?;
    let mut finished = attempt(case, kernels, page, quiet)?;
    expected::apply(&known, &mut finished.report);
    if !quiet {
        let ending =
            terminal::Ending { seconds: begun.elapsed().as_secs_f64(), ..terminal::Ending::default() };
        page.line(terminal::conclusion(&finished.report, &ending, output::look()).trim_end());
    }
    let now = reproduction::of(case, &recorded.expected, &finished, kernels, page)?;
    let Some(difference) = recorded.differs_from(&now, &finished.history) else {
        let digest = recorded.digest.as_deref().and_then(|digest| digest.get(..8)).unwrap_or("none");
        let (events, verdict) = (recorded.events(), &recorded.verdict);
        page.line(format!("SAME   {}   {events} events, digest {digest}, verdict {verdict}", case.name));
        return Ok(outcome::code_of(&finished.report));
    };
    page.line(shown(&case.name, &difference));
    if difference.causes.is_empty() {
        page.aside("Nothing that the run follows from is different: either the file was changed, or kjvm is not deterministic.");
        page.aside(fault::ADVICE);
        return Ok(Code::Ours as u8);
    }
    Ok(OTHER)
}

/// What is different, the causes first.
fn shown(name: &str, difference: &Difference) -> String {
    let mut text = String::new();
    let mut row = |what: &str, recorded: &str, now: &str| {
        text += &format!("  {what:16} recorded  {recorded}\n  {:16} now       {now}\n", "");
    };
    for Changed { what, recorded, now } in &difference.causes {
        row(what, recorded, now);
    }
    for Changed { what, recorded, now } in &difference.effects {
        row(what, recorded, now);
    }
    match &difference.left {
        None => text += "  every event is the same\n",
        Some(Left { events, cycle, step, boot, instructions, before, recorded, now }) => {
            let step = if step.is_empty() {
                "before the first step".to_owned()
            } else {
                format!("cycle {cycle}, step {step}")
            };
            text += &format!(
                "  leaves the path  {step}, boot {boot}, after instruction {instructions}, {events} events\n"
            );
            for (what, line) in [("the last common", before), ("recorded", recorded), ("now", now)] {
                text += &format!("    {what:15}  {}\n", line.as_deref().map_or("the end".to_owned(), event));
            }
        }
    }
    format!("OTHER  {name}\n{}", text.trim_end())
}

/// A line of the path, for people.
fn event(line: &str) -> String {
    let mut words = line.splitn(4, ' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(_), Some(instructions), Some(nanoseconds), Some(what)) => {
            let seconds = nanoseconds.parse::<f64>().unwrap_or_default() / 1e9;
            format!("instruction {instructions}, {seconds:.9} s: {what}")
        }
        _ => line.to_owned(),
    }
}
