//! Checks: what has to be true, looked at from outside the guest, and what was found.

mod clauses;
mod consumed_once;
pub mod disk;
pub(crate) mod ext4;
mod kernel_log;
mod life_of_image;
pub mod memory;
mod order;
mod outcomes;
pub mod processor;
mod queues;
mod quiet_disk;
pub mod record;
mod replay;
mod tenures;
#[cfg(test)]
pub(crate) mod testing;
pub mod time;

use std::fmt;

use serde::{Serialize, Serializer};

pub use clauses::Clause;
pub use kernel_log::{Complaint, complaints};
pub use record::Record;

/// A check and its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Whose it is.
    pub oracle: Oracle,
    /// Which.
    pub clause: Clause,
    /// Of what: the cycle, the step, the disk. Empty: of the whole run.
    pub of: String,
    /// What came of it.
    pub status: Status,
    /// Kind of failure: two failures of one class have one cause, as far as can be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The weakest disk that shows it, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<FaultModel>,
    /// What a person wants to see. The first is one sentence, and says it.
    pub evidence: Vec<String>,
}

/// What has to be held against a disk before a failure shows, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultModel {
    /// The power is cut; whatever was completed survives.
    CutOnly,
    /// What was completed and not flushed may be lost.
    VolatileCache,
    /// The disk says that something is durable, and it is not. Never a fault of the kernel.
    LyingDisk,
}

impl FaultModel {
    /// As it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::CutOnly => "cut only",
            Self::VolatileCache => "volatile cache",
            Self::LyingDisk => "lying disk",
        }
    }
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As it has to be.
    Pass,
    /// Not as it has to be.
    Fail,
    /// Not as it has to be, and known of this kernel.
    ExpectedFail,
    /// As it has to be, though on another kernel it is known not to be.
    Fixed,
    /// Worth knowing, and no failure.
    Note,
    /// Could not be looked at.
    NotObserved,
}

macro_rules! oracles {
    ($($name:ident, $about:literal;)*) => {
        /// What looks on from outside the guest.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Oracle { $(#[doc = $about] $name,)* }

        impl Oracle {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// `O10`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What it watches, in one line.
            pub fn about(self) -> &'static str {
                match self { $(Self::$name => $about,)* }
            }
        }
    };
}

oracles! {
    O1, "consumed once: an image is entered once, and never after somebody else wrote";
    O2, "memory: A's memory is the same across the sleep";
    O3, "quiet memory: nobody else writes to A's memory while it is away";
    O4, "quiet disk: nobody writes outside what the phase owns";
    O5, "order: commit records become durable after what they commit to";
    O6, "time: clocks and alarms are right after the sleep";
    O7, "processor state: system registers are the same across the sleep";
    O8, "refusals: what has to be refused is refused, with words, and leaves no image";
    O9, "liveness: the machine goes on";
    O10, "kernel log: it holds no complaint";
    O11, "content: the file system is whole, and what was synced is there";
    O12, "devices: queues are initialised again, no completion is lost or doubled";
    O13, "output: workloads go on as if the power had never been touched";
    O14, "legal outcomes: what comes after a power cut is legal there";
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Oracle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Check {
    fn new(clause: Clause, of: impl Into<String>, status: Status, evidence: Vec<String>) -> Self {
        Self { oracle: clause.oracle(), clause, of: of.into(), status, class: None, needs: None, evidence }
    }

    /// It is as it has to be.
    pub fn pass(clause: Clause, of: impl Into<String>) -> Self {
        Self::new(clause, of, Status::Pass, Vec::new())
    }

    /// It is not.
    pub fn fail(
        clause: Clause,
        of: impl Into<String>,
        class: impl Into<String>,
        evidence: Vec<String>,
    ) -> Self {
        Self { class: Some(class.into()), ..Self::new(clause, of, Status::Fail, evidence) }
    }

    /// Says what the weakest disk is that shows it.
    pub fn needs(self, model: FaultModel) -> Self {
        Self { needs: Some(model), ..self }
    }

    /// Worth knowing, and no failure.
    pub fn note(clause: Clause, of: impl Into<String>, evidence: Vec<String>) -> Self {
        Self::new(clause, of, Status::Note, evidence)
    }

    /// It could not be looked at, for this reason.
    pub fn not_observed(clause: Clause, of: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(clause, of, Status::NotObserved, vec![why.into()])
    }
}

/// What the readers of the stream of events have to say of a run that is over.
pub fn conclude(record: &Record<'_>) -> Vec<Check> {
    let lives = life_of_image::Lives::of(record);
    let readers =
        [consumed_once::checks, quiet_disk::checks, order::checks, queues::checks, outcomes::checks];
    readers.into_iter().flat_map(|read| read(&lives)).collect()
}
