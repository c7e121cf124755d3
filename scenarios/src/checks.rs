//! Checks: what has to be true, looked at from outside the guest, and what was found.

pub mod disk;
mod kernel_log;

use serde::Serialize;

pub use kernel_log::{Complaint, complaints};

/// A check and its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which.
    pub oracle: Oracle,
    /// A clause of it, or what exactly was checked.
    pub clause: String,
    /// What came of it.
    pub status: Status,
    /// Kind of failure: two failures of one class have one cause, as far as can be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// What a person wants to see.
    pub evidence: Vec<String>,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As it has to be.
    Pass,
    /// Not as it has to be.
    Fail,
    /// Could not be looked at.
    NotObserved,
}

/// The oracles of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Oracle {
    /// An image is consumed once.
    O1,
    /// Refusals are clean.
    O8,
    /// The machine goes on.
    O9,
    /// The kernel log is quiet.
    O10,
    /// The file system is whole, and what was synced is there.
    O11,
    /// Workloads find everything as it was.
    O13,
}

impl Oracle {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::O1, Self::O8, Self::O9, Self::O10, Self::O11, Self::O13];

    /// `O10`.
    pub fn name(self) -> &'static str {
        match self {
            Self::O1 => "O1",
            Self::O8 => "O8",
            Self::O9 => "O9",
            Self::O10 => "O10",
            Self::O11 => "O11",
            Self::O13 => "O13",
        }
    }

    /// What it watches, in one line.
    pub fn about(self) -> &'static str {
        match self {
            Self::O1 => "an image is consumed once, and is not valid any more when A continues",
            Self::O8 => "what has to be refused is refused, with words",
            Self::O9 => "the machine goes on: no hang, panic, oops, lockup, stall or triple fault",
            Self::O10 => "the kernel log holds no complaint that the scenario does not allow",
            Self::O11 => "after a journal replay the file system is clean and holds every synced record",
            Self::O13 => {
                "workloads go on and find everything as it was, as if the power had never been touched"
            }
        }
    }
}

impl Check {
    /// It is as it has to be.
    pub fn pass(oracle: Oracle, clause: impl Into<String>) -> Self {
        Self { oracle, clause: clause.into(), status: Status::Pass, class: None, evidence: Vec::new() }
    }

    /// It is not.
    pub fn fail(
        oracle: Oracle,
        clause: impl Into<String>,
        class: impl Into<String>,
        evidence: Vec<String>,
    ) -> Self {
        let (clause, class) = (clause.into(), Some(class.into()));
        Self { oracle, clause, status: Status::Fail, class, evidence }
    }
}
