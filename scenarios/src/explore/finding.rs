//! A finding, told so that somebody else can follow it: the smallest witness, what was lost and whose it was, a reproduction, a report.
//!
//! [`tell`] is called once for each class when a campaign is over. Whatever it cannot do or could not confirm it says in [`Found::said`].

mod boot;
pub mod found;
pub mod loss;
pub mod minimise;
pub mod narrative;
mod owner;

use std::path::Path;

use devices::disk::{BaseError, Media};
use thiserror::Error;
use vmm::MachineError;

use super::cuts::Cut;
use super::judge::{Finding, Judge};
use super::recovery::Outcome;
use crate::checks::Record;
use crate::kernels::Kernels;
use crate::lab::Trouble;
use crate::language::Scenario;
pub use boot::boot;
pub use found::{CutTold, Files, Found, LostWrite, Minimal};
pub use loss::Loss;
pub use narrative::Narrative;

/// What a finding follows from.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The scenario's name.
    pub name: &'a str,
    /// Its text, which `scenario` was read from.
    pub text: &'a str,
    /// What was explored.
    pub scenario: &'a Scenario,
    /// With these kernels.
    pub kernels: &'a Kernels,
    /// The run that was recorded.
    pub record: &'a Record<'a>,
    /// Where it was cut.
    pub cuts: &'a [Cut],
    /// What is legal.
    pub judge: &'a Judge,
}

/// How much is done for a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Boots that looking for a smaller witness may take.
    pub boots: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { boots: 64 }
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

/// Tells a finding: the smallest witness of its class is looked for with `execute`, and files go into `directory`, under names with
/// `number`. `narrative` says who is behind requests, if somebody recorded that.
///
/// # Errors
/// [`FindingError`].
pub fn tell(
    context: &Context<'_>,
    finding: &Finding,
    number: usize,
    directory: &Path,
    narrative: Option<&Narrative>,
    options: &Options,
    execute: &mut Execute<'_>,
) -> Result<Found, FindingError> {
    let minimised = minimise::minimise(context, finding, options.boots, execute)?;
    let facts = found::Facts::of(context, &minimised, narrative)?;
    let _ = (number, directory);
    found::explain(&facts, finding, &minimised)
}
