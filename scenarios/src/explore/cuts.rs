//! Where the power may fail: every place of a recorded run at which something can be told apart from the place before.

use std::ops::Range;

use devices::{DiskAction, DiskStep, Moment};
use serde::{Deserialize, Serialize};

use crate::checks::Record;
use crate::history::Happening;

/// A place at which the power may fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// The power fails right after this entry of the history.
    pub entry: usize,
    /// In which boot.
    pub boot: u32,
    /// When.
    pub at: Moment,
    /// What kind of place it is.
    pub kind: Kind,
    /// Which step of the scenario it lies in.
    pub step: String,
}

/// What just happened at a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A request to a disk went a step further.
    Disk,
    /// A register for sleep, reset or power was written, or the machine changed its state.
    Power,
    /// A step began or ended, a kernel took over, the agent came or went.
    Phase,
}

/// Cuts in this part of a history. Reads are none: they change nothing on a disk, and what is the same is the same state.
pub fn cuts(record: &Record<'_>, entries: Range<usize>) -> Vec<Cut> {
    let mut step = String::new();
    let mut cuts = Vec::new();
    for (number, entry) in record.entries().iter().enumerate().take(entries.end) {
        if let Happening::StepBegins { step: name, .. } = &entry.what {
            step.clone_from(name);
        }
        let kind = match &entry.what {
            Happening::Disk(event) if matches!(event.action, DiskAction::Read(_)) => None,
            // Of a flush nothing changes when it is accepted but what its end makes durable.
            Happening::Disk(event) if event.step == DiskStep::Failed => Some(Kind::Disk),
            Happening::Disk(_) => Some(Kind::Disk),
            Happening::SleepRegister { .. } | Happening::Power(_) => Some(Kind::Power),
            Happening::StepBegins { .. }
            | Happening::StepEnds { .. }
            | Happening::Kernel(_)
            | Happening::Ready { .. }
            | Happening::Going { .. } => Some(Kind::Phase),
            _ => None,
        };
        let Some(kind) = kind.filter(|_| entries.contains(&number)) else { continue };
        cuts.push(Cut { entry: number, boot: entry.boot, at: entry.at, kind, step: step.clone() });
    }
    cuts
}
