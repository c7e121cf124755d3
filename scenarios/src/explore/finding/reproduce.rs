//! A finding as a run of its own: whether it cuts where it should, leaves what it should, and fails as it should.

use std::mem::discriminant;

use devices::PowerEvent;
use devices::disk::Media;

use super::FindingError;
use super::loss::{Then, is_same};
use crate::checks::{Clause, Record, Status};
use crate::explore::recovery::{Outcome, Way, damage, failed_load};
use crate::history::{Happening, History};
use crate::kernels::Kernels;
use crate::language::Scenario;
use crate::report::{Phase, PowerHappening, Report};
use crate::run::{self, Finished, Listener};

/// Nobody listens.
pub(super) struct Silent;

impl Listener for Silent {
    fn phase(&mut self, _: &Phase) {}

    fn power(&mut self, _: &PowerHappening) {}
}

/// A run that cuts the power where a witness has it.
pub(super) struct Reproduction {
    pub(super) finished: Finished,
    /// What came of it.
    pub(super) outcome: Outcome,
    /// What is not as it should be.
    pub(super) said: Vec<String>,
}

/// Runs it, and compares: the disks after the cut, by contents, and the kind of the outcome.
pub(super) fn reproduce(
    name: &str,
    way: Way,
    scenario: &Scenario,
    kernels: &Kernels,
    wanted: Option<&[Media]>,
    outcome: &Outcome,
) -> Result<Reproduction, FindingError> {
    let finished = run::run(name, scenario, kernels, &mut Silent);
    let mut said = Vec::new();
    let cut = cut_of(&finished.history);
    match (cut, wanted) {
        (None, _) => said.push("the reproduction does not come to its cut".to_owned()),
        (Some(cut), Some(wanted)) => {
            let record = Record { scenario, history: &finished.history, logs: &finished.logs };
            let then = Then::at(&record, cut)?;
            let left: Vec<Media> = then.disks.into_iter().map(|disk| disk.durable).collect();
            let is_same =
                left.len() == wanted.len() && left.iter().zip(wanted).all(|(one, other)| is_same(one, other));
            if !is_same {
                said.push(
                    "the reproduction leaves other contents on the disks than the state that was explored"
                        .into(),
                );
            }
        }
        (Some(_), None) => {}
    }
    let seen = outcome_of(way, &finished.report, &finished.history, cut);
    if discriminant(&seen) != discriminant(outcome) {
        said.push(format!("the reproduction ends otherwise: {seen}, not {outcome}"));
    }
    Ok(Reproduction { finished, outcome: seen, said })
}

/// Where the power was cut.
fn cut_of(history: &History) -> Option<usize> {
    history.entries().iter().position(|entry| entry.what == Happening::Power(PowerEvent::Cut))
}

/// What the next boot made of it, from how `recover` ended.
fn outcome_of(way: Way, report: &Report, history: &History, cut: Option<usize>) -> Outcome {
    if let Some(why) = report.broken.as_ref().or(report.skipped.as_ref()) {
        return Outcome::Broken(why.clone());
    }
    let Some(recover) =
        report.phases.iter().rfind(|phase| matches!(phase.what.as_str(), "recover" | "cold-boot"))
    else {
        return Outcome::Broken("nothing was recovered".into());
    };
    let console: Vec<&str> = history
        .entries()
        .iter()
        .skip(cut.unwrap_or(0))
        .filter_map(|entry| match &entry.what {
            Happening::Console(line) => Some(line.as_str()),
            _ => None,
        })
        .collect();
    if recover.detail == "no session" {
        return Outcome::Cold;
    }
    if let Some(why) = recover.detail.strip_prefix("cold boot: ") {
        let refused = match way {
            Way::Swap => failed_load(&console.join("\n")),
            Way::Snapshot | Way::Jump => damage(why),
        };
        let lost = report
            .checks
            .iter()
            .find(|check| check.status == Status::Fail && check.clause == Clause::SyncedRecords);
        return match (lost, refused) {
            (Some(check), _) => Outcome::FilesLost(check.class.clone().unwrap_or_default()),
            (None, Some(why)) => Outcome::Lost(why),
            (None, None) => Outcome::Cold,
        };
    }
    let ended = |what: &str| {
        history.entries().iter().rev().find_map(|entry| match &entry.what {
            Happening::StepEnds { step, well } if step == what => Some(*well),
            _ => None,
        })
    };
    if ended(&recover.what) != Some(true) {
        return Outcome::Dead(recover.detail.clone());
    }
    // It went on: something is wrong in it if the check behind it says so.
    let wrong = report.checks.iter().find(|check| {
        matches!(check.status, Status::Fail | Status::ExpectedFail)
            && matches!(check.oracle.name(), "O9" | "O10" | "O13")
    });
    match wrong {
        Some(check) => Outcome::Damaged(check.class.clone().unwrap_or_default()),
        None => Outcome::Resumed,
    }
}
