//! What moves a machine.

mod entry;
mod pins;
pub mod scheduler;
pub mod software;

use cpu::exec::Missing;
use devices::{PowerRequest, VirtualTime};

use crate::power::PowerState;

/// How far to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    /// Instructions retired since power-on, by all processors together.
    pub instructions: Option<u64>,
    /// Run time.
    pub time: Option<VirtualTime>,
}

/// Why a machine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The limit of instructions.
    Instructions,
    /// The limit of time.
    Time,
    /// An observer's trigger matched. Nothing ran after the event.
    Triggered,
    /// Every processor waits, and nothing will ever wake one.
    Idle,
    /// A processor gave up (triple fault): a real PC resets.
    TripleFault {
        /// Which.
        processor: usize,
    },
    /// A device asks for a reset, for sleep, or for the end.
    Power(PowerRequest),
    /// The machine does not work: it sleeps or is off. Nothing ran.
    NotRunning(PowerState),
    /// A processor met something it does not do.
    Missing {
        /// Which.
        processor: usize,
        /// What.
        what: Missing,
    },
}
