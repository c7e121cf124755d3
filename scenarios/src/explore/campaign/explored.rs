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

#[cfg(test)]
pub(crate) mod sample {
    use super::*;
    use crate::explore::finding::{CutTold, LostWrite, Minimal};

    /// A finding whose guest has tried to write a page of its own.
    pub(crate) fn found() -> Found {
        let cut = CutTold {
            entry: 7,
            boot: 1,
            nanoseconds: 2_000,
            instructions: 500,
            step: "hibernate".into(),
            kind: Kind::Disk,
            event: "write #9 accepted".into(),
            words: "0.2 ms after #9 header S1SUSPEND".into(),
        };
        let write = |request| LostWrite {
            disk: "system".into(),
            request,
            sector: 8 * request,
            sectors: 8,
            owner: "swap map page 2 of 2".into(),
            function: "swap_write_page < save_image".into(),
        };
        Found {
            class: "a header before its map".into(),
            oracle: "O5".into(),
            clause: "O5.C1".into(),
            cut,
            lost_writes: (0..12).map(write).collect(),
            weakest_fault: "volatile cache".into(),
            user_effect: "the session is lost".into(),
            allowed: vec!["resume".into(), "cold boot".into()],
            observed: Outcome::Lost("<script>alert(1)</script>]]>".into()),
            seen: 3,
            window: 80_000,
            minimal: Minimal { boots: 4, is_proven: true },
            repro: None,
            said: vec!["not confirmed & alone".into()],
        }
    }

    /// A campaign with that finding, which ended before all was decided.
    pub(crate) fn explored() -> Explored {
        let outcomes = vec![(Outcome::Cold, 30), (found().observed, 3)];
        let at = |shown: Vec<u64>, undecided| AtCut {
            boot: 1,
            nanoseconds: 5,
            step: "hibernate".into(),
            kind: Kind::Disk,
            allowed: vec!["cold boot".into()],
            shown,
            undecided,
        };
        let points = Points { disk: 4, power: 1, phase: 1, instruction: 0, skipped: 0 };
        let progress =
            Progress { points, listed: 90, states: 35, undecided: 2, findings: 1, ..Progress::default() };
        Explored {
            progress,
            points_by_name: BTreeMap::from([("write accepted".into(), 4)]),
            tested: Points { disk: 3, ..points },
            regions: Vec::new(),
            unfollowed: String::new(),
            is_exhausted: false,
            spaces: Spaces { count: 5, largest: 38.0, sum: 40.0 },
            outcomes,
            findings: vec![found()],
            rate: 12.0,
            seconds: 9.5,
            along: vec![at(vec![5, 0], 0), at(vec![6, 0], 0), at(vec![4, 3], 2)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_says_of_what() {
        let open = sample::explored();
        assert_eq!(open.verdict(true), ("FOUND", ""));
        assert_eq!(open.verdict(false), ("CLEAN", "of what was decided"));
        let mut over = Explored { is_exhausted: true, ..open };
        assert_eq!(over.verdict(false), ("CLEAN", ""));
        over.progress.points.skipped = 1;
        assert_eq!(over.verdict(false), ("CLEAN", "of what was decided"));
    }

    #[test]
    fn it_comes_back_as_it_was_kept() {
        let explored = sample::explored();
        let text = serde_json::to_string(&explored).unwrap();
        assert_eq!(serde_json::from_str::<Explored>(&text).unwrap(), explored);
    }
}
