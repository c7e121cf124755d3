//! Snapshots and forks of a whole machine.
//!
//! A [`Snapshot`] is a value: everything a machine is. A machine goes back to it in place, which costs as much as the pages that
//! differ; or another machine is made of it. Snapshots share the pages that did not change between them, so that a tree of
//! hundreds of them needs little memory. [`write_to`](Snapshot::write_to) and [`read_from`](Snapshot::read_from) turn one into
//! bytes and back.

mod bytes;
mod error;
mod fits;
mod header;
pub(crate) mod page_set;
pub(crate) mod pages;
pub(crate) mod tracker;

use std::sync::Arc;

use cpu::CpuState;
use ram::GuestRam;
use serde::{Deserialize, Serialize};

use crate::board::Board;
use crate::clock::Clock;
use crate::code_watch::CodeWatch;
use crate::config::Config;
use crate::engine::scheduler::Scheduler;
use crate::engine::software::Software;
use crate::machine::{Machine, MachineError};
use crate::power::PowerState;
use pages::Pages;
use tracker::Tracker;

pub use bytes::Limits;
pub use error::SnapshotError;

/// Everything a machine is but its memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineState {
    /// What it was built from.
    pub config: Config,
    /// The processors.
    pub processors: Vec<CpuState>,
    /// Devices and disks.
    pub board: Board,
    /// Run and world time.
    pub clock: Clock,
    /// Whose turn it is.
    pub scheduler: Scheduler,
    /// Instructions retired by all processors.
    pub instructions: u64,
    /// Works, sleeps, or is off.
    pub power: PowerState,
}

/// A machine at an instant. Machines with equal snapshots go on equally.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    state: MachineState,
    memory: Pages,
}

impl Snapshot {
    /// Everything but memory.
    pub fn state(&self) -> &MachineState {
        &self.state
    }

    /// The same memory with another state, whose parts must go together.
    ///
    /// # Errors
    /// [`SnapshotError::Contradiction`].
    pub fn with_state(&self, state: MachineState) -> Result<Arc<Self>, SnapshotError> {
        fits::check(&state).map_err(SnapshotError::Contradiction)?;
        if state.config.memory != self.state.config.memory {
            return Err(SnapshotError::Contradiction("the size of memory changed".into()));
        }
        Ok(Arc::new(Self { state, memory: self.memory.clone() }))
    }

    /// Pages of memory that are not all zeros.
    pub fn pages(&self) -> usize {
        self.memory.iter().count()
    }
}

impl Machine {
    /// The machine as it is now. Costs as much as the pages written since the last snapshot or restore.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        let memory = self.tracker.save();
        self.engine.ask_before_writes();
        Arc::new(Snapshot { state: self.state(), memory })
    }

    /// Goes back to a snapshot, or on to one, of this machine or of any other. Copies the pages that differ, and keeps translated code
    /// of all others.
    ///
    /// # Errors
    /// [`MachineError::Ram`] if the snapshot has another size of memory than the machine, and the host has none; the machine is as it
    /// was.
    pub fn restore(&mut self, snapshot: &Arc<Snapshot>) -> Result<(), MachineError> {
        let Snapshot { state, memory } = &**snapshot;
        if state.config.memory != self.ram.bytes() {
            self.put_memory(GuestRam::new(state.config.memory)?);
        }
        self.tracker.restore(memory);
        let MachineState { config, processors, board, clock, scheduler, instructions, power } = state;
        self.config.clone_from(config);
        self.engine.load(processors);
        self.board.clone_from(board);
        self.clock = *clock;
        self.scheduler = *scheduler;
        self.instructions = *instructions;
        self.power = *power;
        Ok(())
    }

    /// Another machine that is as this snapshot says.
    ///
    /// # Errors
    /// [`MachineError::Ram`] if the host has no memory left.
    pub fn from_snapshot(snapshot: &Arc<Snapshot>) -> Result<Self, MachineError> {
        let MachineState { config, processors: _, board, clock, scheduler, instructions, power } =
            &snapshot.state;
        let ram = GuestRam::new(config.memory)?;
        let mut machine = Self {
            config: config.clone(),
            tracker: Tracker::new(&ram),
            ram,
            board: board.clone(),
            clock: *clock,
            scheduler: *scheduler,
            instructions: *instructions,
            power: *power,
            code_watch: CodeWatch::default(),
            engine: Software::new(config),
        };
        machine.restore(snapshot)?;
        Ok(machine)
    }

    /// Another machine, the same as this one. From now on each goes its own way.
    ///
    /// # Errors
    /// [`MachineError::Ram`] if the host has no memory left.
    pub fn fork(&mut self) -> Result<Self, MachineError> {
        Self::from_snapshot(&self.snapshot())
    }

    /// Everything but memory.
    pub fn state(&self) -> MachineState {
        // All fields by name: whoever adds one decides here whether it is a part of the machine's state.
        let Self {
            config,
            ram: _,
            board,
            clock,
            scheduler,
            instructions,
            power,
            engine,
            tracker: _,
            code_watch: _,
        } = self;
        MachineState {
            config: config.clone(),
            processors: engine.processors().cloned().collect(),
            board: board.clone(),
            clock: *clock,
            scheduler: *scheduler,
            instructions: *instructions,
            power: *power,
        }
    }

    /// Other memory: zero, or marked as written to.
    pub(crate) fn put_memory(&mut self, ram: GuestRam) {
        ram.watch_foreign_writes(self.ram.watches_foreign_writes());
        self.tracker = Tracker::new(&ram);
        self.ram = ram;
        self.engine.forget_code();
    }
}
