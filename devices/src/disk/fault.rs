//! Requests that fail, or are not done, because the scenario wants it.

use serde::{Deserialize, Serialize};

use super::Extent;
use crate::DiskAction;

/// Kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Reads.
    Read,
    /// Writes, with and without FUA.
    Write,
    /// Flushes: those that a front end makes of its own (an NVMe shutdown) as well.
    Flush,
    /// Discards.
    Discard,
    /// Requests to write zeros.
    WriteZeroes,
}

impl From<DiskAction> for Kind {
    fn from(action: DiskAction) -> Self {
        match action {
            DiskAction::Read(_) => Self::Read,
            DiskAction::Write { .. } => Self::Write,
            DiskAction::Flush => Self::Flush,
            DiskAction::Discard(_) => Self::Discard,
            DiskAction::WriteZeroes(_) => Self::WriteZeroes,
        }
    }
}

/// Requests that fail, and how. The first fault that matches a request is its fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// Only the request with this number on the disk, counted from 0 since power-on.
    pub request: Option<u64>,
    /// Only requests of this kind.
    pub kind: Option<Kind>,
    /// Of the kind, only the one with this number, counted from 0 since power-on.
    pub nth: Option<u64>,
    /// Only requests that touch one of these sectors.
    pub extent: Option<Extent>,
    /// How often.
    pub times: Times,
    /// What becomes of the request.
    pub outcome: FaultOutcome,
}

/// How often a fault strikes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Times {
    /// The first request that matches since power-on: a boot does not remember what was before it.
    #[default]
    Once,
    /// Every request that matches.
    Always,
}

/// What becomes of a request with a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultOutcome {
    /// It takes its time and fails: an unrecovered read, a write fault, a flush that did not flush.
    Fails(Applied),
    /// It never completes: the driver has to give up and reset.
    Hangs(Applied),
    /// Of flushes: the disk takes its time, says that all is durable, and did nothing. Of writes: the disk does not force unit access,
    /// though it was asked to.
    Lies,
}

impl Default for FaultOutcome {
    fn default() -> Self {
        Self::Fails(Applied::Nothing)
    }
}

impl FaultOutcome {
    pub(super) fn applied(self) -> Applied {
        match self {
            Self::Fails(applied) | Self::Hangs(applied) => applied,
            Self::Lies => Applied::Nothing,
        }
    }
}

/// How much of a write that fails is done all the same. What is done is a change like any other: reads see it, and of a write that
/// failed a later flush makes it durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// Nothing.
    #[default]
    Nothing,
    /// So many atomic units ([`super::AtomicUnit`]) from the start on.
    Units(u64),
    /// All.
    All,
}

/// A request as faults see it.
pub(super) struct Candidate<'a> {
    pub request: u64,
    pub kind: Kind,
    pub nth: u64,
    pub extents: &'a [Extent],
}

impl Fault {
    pub(super) fn matches(&self, candidate: &Candidate<'_>) -> bool {
        self.request.is_none_or(|request| request == candidate.request)
            && self.kind.is_none_or(|kind| kind == candidate.kind)
            && self.nth.is_none_or(|nth| nth == candidate.nth)
            && self.extent.is_none_or(|extent| candidate.extents.iter().any(|other| extent.overlaps(*other)))
    }
}
