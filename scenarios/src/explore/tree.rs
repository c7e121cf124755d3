//! All states boot together, and part where the guest reads what differs between them.
//!
//! A node is a machine at an instant and the states for which everything so far was the same. The machine stops in the event that accepts a read,
//! before any byte is read. If the states of the node differ in what is read, by whole blocks of 4 KiB that nobody has overwritten since
//! the power came on, they part: one child for each contents. What was never read never parts anybody. At the end of a boot all states of a
//! node have the same outcome: it was *executed* once and *decided* for all of them.
//!
//! Sound because a boot depends on the disks through what it reads alone: times and numbers of requests depend on kinds, sectors and lengths.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use devices::disk::{BLOCK, BaseError, Extent, SECTOR};
use devices::{DiskAction, DiskStep, Event, Moment, Observer};
use serde::Serialize;
use vmm::{Limit, Machine, MachineError, Snapshot};

use super::family::{Family, State};
use super::recovery::{Outcome, Recovery};

const SECTORS: u64 = BLOCK / SECTOR;

/// States with one outcome.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Numbers of the states.
    pub states: Vec<usize>,
    /// What came of them.
    pub outcome: Outcome,
    /// Instructions from the last parting to the end.
    pub instructions: u64,
    /// The last lines of the console.
    pub console: Vec<String>,
}

/// What is heard and seen of a boot. Stops the machine after each line of the agent, and at each read that states differ in.
#[derive(Debug, Clone, Default)]
pub struct Ears {
    console: Vec<u8>,
    agent: Vec<u8>,
    /// Blocks of each disk in which states of the family differ.
    differ: Arc<Vec<BTreeSet<u64>>>,
    /// Sectors that were overwritten since power came on, by disk.
    written: Vec<BTreeSet<u64>>,
    /// A read that was accepted and may tell states apart.
    read: Option<(usize, Extent)>,
    /// A request that makes zeros of ranges, of which the event names the first.
    zeroes: Option<(usize, u64)>,
}

impl Ears {
    /// What the agent said since the last call.
    pub fn take_agent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.agent)
    }

    fn note_written(&mut self, disk: usize, extent: Extent) {
        if let (Some(differ), Some(written)) = (self.differ.get(disk), self.written.get_mut(disk)) {
            // Only what can tell states apart is worth remembering.
            for block in differ.range(extent.sector / SECTORS..extent.end().div_ceil(SECTORS)) {
                let sectors = block * SECTORS..(block + 1) * SECTORS;
                written.extend(sectors.filter(|sector| extent.sector <= *sector && *sector < extent.end()));
            }
        }
    }

    /// Everything on the console so far.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&self.console).into_owned()
    }

    /// Blocks of an extent in which states may differ and that were not overwritten as a whole.
    fn open_blocks(&self, disk: usize, extent: Extent) -> Vec<u64> {
        let Some(differ) = self.differ.get(disk) else { return Vec::new() };
        let blocks = extent.sector / SECTORS..extent.end().div_ceil(SECTORS);
        differ.range(blocks).copied().filter(|block| !self.is_overwritten(disk, *block)).collect()
    }

    fn is_overwritten(&self, disk: usize, block: u64) -> bool {
        let first = block * SECTORS;
        self.written
            .get(disk)
            .is_some_and(|written| written.range(first..first + SECTORS).count() as u64 == SECTORS)
    }
}

impl Observer for Ears {
    fn event(&mut self, _: Moment, event: Event) -> bool {
        match event {
            Event::Serial { port: 0, byte } => self.console.push(byte),
            Event::Serial { byte, .. } => {
                self.agent.push(byte);
                return byte == b'\n';
            }
            Event::Disk(event) if event.step == DiskStep::Accepted => {
                let disk = usize::from(event.disk);
                match event.action {
                    DiskAction::Read(extent) if !self.open_blocks(disk, extent).is_empty() => {
                        self.read = Some((disk, extent));
                        return true;
                    }
                    DiskAction::Write { extent, .. } => self.note_written(disk, extent),
                    DiskAction::Discard(_) | DiskAction::WriteZeroes(_) => {
                        self.zeroes = Some((disk, event.request));
                        return true;
                    }
                    DiskAction::Read(_) | DiskAction::Flush => {}
                }
            }
            _ => {}
        }
        false
    }
}

/// A boot under way, for the states that were the same so far.
struct Node {
    snapshot: Arc<Snapshot>,
    states: Vec<usize>,
    /// Whose contents the machine's disks have where nobody looked.
    face: usize,
    recovery: Recovery,
    ears: Ears,
}

/// What it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Effort {
    /// Boots that came to their end.
    pub executed: u64,
    /// States they decide.
    pub decided: u64,
    /// Partings.
    pub forks: u64,
    /// Instructions that were executed.
    pub instructions: u64,
}

/// A tree that is being searched.
pub struct Tree<'a> {
    states: &'a [State],
    machine: Machine,
    open: Vec<Node>,
    effort: Effort,
}

impl<'a> Tree<'a> {
    /// A machine that is about to boot, with the contents of the first of these states on its disks.
    pub fn new(family: &'a Family, chosen: Vec<usize>, mut machine: Machine, recovery: Recovery) -> Self {
        let differ = Arc::new(family.touched.clone());
        let written = vec![BTreeSet::new(); differ.len()];
        let ears = Ears { differ, written, ..Ears::default() };
        let face = chosen.first().copied().unwrap_or_default();
        let snapshot = machine.snapshot();
        let open = vec![Node { snapshot, states: chosen, face, recovery, ears }];
        Self { states: &family.states, machine, open, effort: Effort::default() }
    }

    /// What it took so far.
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// States that are not decided yet.
    pub fn undecided(&self) -> usize {
        self.open.iter().map(|node| node.states.len()).sum()
    }

    /// Their numbers.
    pub fn undecided_states(&self) -> impl Iterator<Item = usize> + '_ {
        self.open.iter().flat_map(|node| node.states.iter().copied())
    }

    /// Executes one boot to its end; None if all is decided.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn next_leaf(&mut self) -> Result<Option<Leaf>, MachineError> {
        let Some(mut node) = self.open.pop() else { return Ok(None) };
        self.machine.restore(&node.snapshot)?;
        let representative = node.states.first().copied().unwrap_or_default();
        self.show(&node.ears, node.face, representative)?;
        node.face = representative;
        let begun = self.machine.instructions();
        loop {
            node.recovery.speak(&mut self.machine, &mut node.ears);
            let limit = Limit { time: Some(node.recovery.until()), instructions: None };
            let stop = self.machine.run(limit, &mut node.ears);
            if let Some((disk, request)) = node.ears.zeroes.take() {
                let changes = self.machine.board().pci.disks().nth(disk);
                let changes = changes.into_iter().flat_map(|disk| disk.changes());
                let of_request = changes.filter(|change| change.request == request);
                let extents: Vec<Extent> = of_request.map(|change| change.extent).collect();
                extents.iter().for_each(|extent| node.ears.note_written(disk, *extent));
            }
            if let Some((disk, extent)) = node.ears.read.take() {
                self.part(&mut node, disk, extent)?;
            }
            node.recovery.hear(stop, self.machine.now(), &mut node.ears);
            if let Some(outcome) = node.recovery.outcome() {
                let instructions = self.machine.instructions().saturating_sub(begun);
                self.effort.executed += 1;
                self.effort.decided += node.states.len() as u64;
                self.effort.instructions += instructions;
                let console = node.ears.console();
                let lines: Vec<&str> = console.lines().collect();
                let tail =
                    lines[lines.len().saturating_sub(12)..].iter().map(|line| (*line).to_owned()).collect();
                return Ok(Some(Leaf {
                    states: node.states,
                    outcome: outcome.clone(),
                    instructions,
                    console: tail,
                }));
            }
        }
    }

    /// The states of a node that differ in what is read part from those that are as its face.
    fn part(&mut self, node: &mut Node, disk: usize, extent: Extent) -> Result<(), MachineError> {
        let blocks = node.ears.open_blocks(disk, extent);
        let contents = |state: &usize| -> Vec<Option<[u8; 32]>> {
            let media = self.states.get(*state).and_then(|state| state.disks.get(disk));
            blocks.iter().map(|block| media.and_then(|media| media.block_hash(*block))).collect()
        };
        let mut classes: BTreeMap<Vec<Option<[u8; 32]>>, Vec<usize>> = BTreeMap::new();
        for state in &node.states {
            classes.entry(contents(state)).or_default().push(*state);
        }
        let own = contents(&node.face);
        node.states = classes.remove(&own).unwrap_or_default();
        if classes.is_empty() {
            return Ok(());
        }
        let snapshot = self.machine.snapshot();
        // Taken from the end: first those in which the least is lost.
        let least = |states: &Vec<usize>| {
            let origins =
                states.iter().filter_map(|state| self.states.get(*state)).flat_map(|state| &state.origins);
            origins.map(|origin| origin.lost).min()
        };
        let mut classes: Vec<Vec<usize>> = classes.into_values().collect();
        classes.sort_by_key(|states| std::cmp::Reverse(least(states)));
        for states in classes {
            self.effort.forks += 1;
            let (recovery, ears) = (node.recovery.clone(), node.ears.clone());
            self.open.push(Node { snapshot: Arc::clone(&snapshot), states, face: node.face, recovery, ears });
        }
        Ok(())
    }

    /// The machine's disks have the contents of another state, where nobody looked or wrote.
    fn show(&mut self, ears: &Ears, from: usize, to: usize) -> Result<(), BaseError> {
        let (Some(from), Some(to)) = (self.states.get(from), self.states.get(to)) else { return Ok(()) };
        let disks = self.machine.board_mut().pci.disks_mut();
        for (number, disk) in disks.enumerate().take(to.disks.len()) {
            let (Some(old), Some(new), Some(differ)) =
                (from.disks.get(number), to.disks.get(number), ears.differ.get(number))
            else {
                continue;
            };
            for block in differ.iter().filter(|block| old.block_hash(**block) != new.block_hash(**block)) {
                let written = ears.written.get(number);
                let sectors = block * SECTORS..(block + 1) * SECTORS;
                for sector in
                    sectors.filter(|sector| !written.is_some_and(|written| written.contains(sector)))
                {
                    disk.substitute(Extent { sector, sectors: 1 }, new)?;
                }
            }
        }
        Ok(())
    }
}
