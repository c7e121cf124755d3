//! A finding, told so that somebody else can follow it: the smallest witness, what was lost and whose it was, a reproduction, a report.
//!
//! [`tell`] is called once for each class when a campaign is over. Whatever it cannot do or could not confirm it says in [`Found::said`].

mod boot;
pub mod found;
pub mod logs;
pub mod loss;
pub mod minimise;
pub mod narrative;
mod owner;
mod reproduce;
mod scenario;
mod script;
mod text;

use std::path::Path;

use devices::disk::{BaseError, Media};
use thiserror::Error;
use vmm::MachineError;

use found::Facts;
use logs::Logs;
use loss::Then;
use reproduce::{Silent, reproduce};
use text::Background;

use super::cuts::Cut;
use super::judge::{Finding, Judge};
use super::recovery::Outcome;
use super::subject::Subject;
use crate::checks::Record;
use crate::history::{Entry, Happening};
use crate::kernels::Kernels;
use crate::lab::Trouble;
use crate::language::Scenario;
use crate::report::file::write_whole;
use crate::repro::{Booted, Repro};
use crate::run;
pub use boot::boot;
pub use found::{CutTold, Files, Found, LostWrite, Minimal};
pub use loss::Loss;
pub use narrative::Narrative;

/// What a finding follows from.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The scenario's name.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// What was recorded of it: [`super::subject::recorded`].
    pub scenario: &'a Scenario,
    /// With these kernels.
    pub kernels: &'a Kernels,
    /// The run that was recorded.
    pub record: &'a Record<'a>,
    /// Where it was cut.
    pub cuts: &'a [Cut],
    /// What is legal.
    pub judge: &'a Judge,
    /// How the session comes back.
    pub subject: &'a Subject,
    /// Who is behind requests, if that was recorded.
    pub narrative: Option<&'a Narrative>,
    /// The same kernels with a fix, as a control.
    pub fixed: Option<&'a Kernels>,
}

/// How much is done for a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Boots that looking for a smaller witness may take.
    pub boots: u32,
    /// A reproduction is written, and run once.
    pub repro: bool,
    /// So is a report for a maintainer, with logs of the disks and a script.
    pub report: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { boots: 64, repro: true, report: false }
    }
}

/// Boots a machine from these contents, and says what came of it.
pub type Execute<'a> = dyn FnMut(&[Media]) -> Result<Outcome, FindingError> + 'a;

/// A finding that cannot be told.
#[derive(Debug, Error)]
pub enum FindingError {
    /// Its numbers are of another campaign.
    #[error("a finding of another run: {0}")]
    Foreign(&'static str),
    /// Contents of a disk.
    #[error(transparent)]
    Disk(#[from] BaseError),
    /// A disk that there is not.
    #[error(transparent)]
    Media(#[from] devices::disk::MediaError),
    /// The machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The machine that boots after a cut.
    #[error(transparent)]
    Boot(#[from] Trouble),
    /// A file cannot be written.
    #[error("{path}: {error}")]
    Write {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

/// Runs a scenario again and sees who is behind each request: once for a campaign, which pays nothing for it meanwhile.
pub fn narrative(name: &str, scenario: &Scenario, kernels: &Kernels) -> Narrative {
    Narrative::read(&run::narrate(name, scenario, kernels, &mut Silent).history)
}

/// Tells a finding: the smallest witness of its class is looked for with `execute`, and files go into `directory`, which is there, under
/// names with `number`.
///
/// # Errors
/// [`FindingError`].
pub fn tell(
    context: &Context<'_>,
    finding: &Finding,
    number: usize,
    directory: &Path,
    options: &Options,
    execute: &mut Execute<'_>,
) -> Result<Found, FindingError> {
    let minimised = minimise::minimise(context, finding, options.boots, execute)?;
    let facts = Facts::of(context, &minimised)?;
    let mut found = found::explain(&facts, finding, &minimised)?;
    if !options.repro && !options.report {
        return Ok(found);
    }
    let then = Then::at(context.record, facts.entry)?;
    let media = facts.loss.media(&then.disks)?;
    let name = format!("finding-{number}");
    let write = |suffix: &str, contents: &[u8]| -> Result<String, FindingError> {
        let file = format!("{name}{suffix}");
        let path = directory.join(&file);
        let failed = |error| FindingError::Write { path: path.display().to_string(), error };
        write_whole(&path, contents).map_err(failed)?;
        Ok(file)
    };
    let mut files = Files::default();
    let about = format!("{}: {}, of {}", found.clause, found.class, context.name);
    let mut reproduction = None;
    match scenario::text(&facts, &then, &about) {
        Ok(text) => match Scenario::read(&text, &[]) {
            Ok(scenario) => {
                files.scenario = write(".toml", text.as_bytes())?;
                let run = reproduce(
                    &name,
                    context.subject.way,
                    &scenario,
                    context.kernels,
                    Some(&media),
                    &found.observed,
                )?;
                found.said.extend(run.said);
                let booted = Booted::all(context.kernels);
                let repro = Repro::of(&text, "", booted, &run.finished.report, &run.finished.history);
                match repro.text() {
                    Ok(text) => files.replay = write(".repro", text.as_bytes())?,
                    Err(error) => found.said.push(format!("the reproduction cannot be written: {error}")),
                }
                reproduction = Some(scenario);
            }
            Err((mistake, _)) => found.said.push(format!("no scenario can be made of it: {}", mistake.what)),
        },
        Err(why) => found.said.push(format!("no scenario can be made of it: {why}")),
    }
    if options.report {
        let Logs { names: logs, said } = logs::write(&facts, &then, &media, number, directory)?;
        found.said.extend(said);
        let script = script::text(context.scenario, context.kernels, &name, &logs, &found.observed)?;
        files.script = write(".sh", script.as_bytes())?;
        files.logs = logs.into_iter().map(|(_, log)| log).collect();
        let mut background = Background::of(&facts, &files);
        background.controls = controls(&facts, &then, reproduction.as_ref(), execute)?;
        files.report = write(".txt", text::report(&text::log(&facts), &found, &background).as_bytes())?;
    }
    found.repro = Some(files);
    Ok(found)
}

/// What comes of it where it should not show.
fn controls(
    facts: &Facts<'_>,
    then: &Then,
    reproduction: Option<&Scenario>,
    execute: &mut Execute<'_>,
) -> Result<Vec<String>, FindingError> {
    let context = facts.context;
    let well = |entry: &Entry| !matches!(entry.what, Happening::StepEnds { well: false, .. });
    let mut controls = vec![match context.record.entries().iter().all(well) {
        true => "The same run without a cut: every step ends as it should.".to_owned(),
        false => "The same run without a cut: not every step ends as it should.".to_owned(),
    }];
    let everything = Loss::default();
    if facts.loss.is_empty() {
        let later = context.cuts.iter().find(|cut| {
            cut.entry > facts.entry && cut.boot == facts.boot && minimise::accepts(context.record, cut)
        });
        if let Some(later) = later {
            let then = Then::at(context.record, later.entry)?;
            let outcome = execute(&everything.media(&then.disks)?)?;
            controls.push(text::control("The power fails one write later, nothing lost", &outcome));
        }
    } else {
        let outcome = execute(&everything.media(&then.disks)?)?;
        controls.push(text::control("The same cut with nothing lost", &outcome));
    }
    match (context.fixed, reproduction) {
        (Some(fixed), Some(scenario)) => {
            let run = reproduce("fixed", context.subject.way, scenario, fixed, None, &Outcome::Resumed)?;
            controls.push(text::control("The same cut on the fixed kernel", &run.outcome));
        }
        _ => controls.push("No fixed kernel was given to compare with.".into()),
    }
    Ok(controls)
}
