//! What came of a campaign, as files and reports have it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Exhausted, Progress};
use crate::explore::cuts::{Cut, Kind, Points};
use crate::explore::family::Spaces;
use crate::explore::finding::Found;
use crate::explore::recovery::Outcome;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explored {
    /// How far it came.
    pub progress: Progress,
    /// How many cut points there are of each kind, by its name.
    pub points_by_name: BTreeMap<String, usize>,
    /// Cut points of which every listed state is decided.
    pub tested: Points,
    /// Why cut points are skipped. Empty: none is.
    pub unfollowed: String,
    /// Whether everything of the family is decided.
    pub is_exhausted: bool,
    /// Sizes of the whole spaces that the listed states are taken from.
    pub spaces: Spaces,
    /// Regions of which every state was to be decided.
    pub regions: Vec<Exhausted>,
    /// How many states end in which way.
    pub outcomes: Vec<(Outcome, u64)>,
    /// What must not be, and is.
    pub findings: Vec<Found>,
    /// Boots in a second, all workers together, when it went on last.
    pub rate: f64,
    /// Seconds that it took on the host's clock, whenever that was.
    pub seconds: f64,
    /// Each cut point in turn.
    pub along: Vec<AtCut>,
}

/// What may come of a cut point, and what comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AtCut {
    /// In which boot.
    pub boot: u32,
    /// Run time of that boot.
    pub nanoseconds: u64,
    /// In which step.
    pub step: String,
    /// What kind of place.
    pub kind: Kind,
    /// What is legal.
    pub allowed: Vec<String>,
    /// How many of its states end in each of the outcomes, in their order.
    pub shown: Vec<u64>,
    /// States that are not decided.
    pub undecided: u64,
}

impl AtCut {
    pub(super) fn of(cut: &Cut, allowed: Vec<String>, outcomes: usize) -> Self {
        Self {
            boot: cut.boot,
            nanoseconds: cut.at.time.0,
            step: cut.step.clone(),
            kind: cut.kind,
            allowed,
            shown: vec![0; outcomes],
            undecided: 0,
        }
    }
}

impl Explored {
    /// The answer, in capitals, and what it holds for.
    pub fn verdict(&self, is_found: bool) -> (&'static str, &'static str) {
        let regions = self.regions.iter().all(Exhausted::is_exhausted);
        match (is_found, self.is_exhausted && regions && self.progress.points.skipped == 0) {
            (true, _) => ("FOUND", ""),
            (false, true) => ("CLEAN", ""),
            (false, false) => ("CLEAN", "of what was decided"),
        }
    }
}
