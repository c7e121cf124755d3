//! All states boot together, and part where the guest reads what differs between them.
//!
//! A node is a machine at an instant and the states for which everything so far was the same. The machine stops in the event that accepts a read,
//! before any byte is read. If the states of the node differ in what is read, by whole blocks of 4 KiB that nobody has overwritten since
//! the power came on, they part: one child for each contents. What was never read never parts anybody. At the end of a boot all states of a
//! node have the same outcome: it was *executed* once and *decided* for all of them.
//!
//! Sound because a boot depends on the disks through what it reads alone: times and numbers of requests depend on kinds, sectors and lengths.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use devices::disk::{BLOCK, BaseError, Extent, SECTOR};
use devices::{DiskAction, DiskStep, Event, Moment, Observer};
use serde::{Deserialize, Serialize};
use vmm::{Limit, Machine, MachineError, Snapshot};

use super::family::{Family, State};
use super::recovery::{Outcome, Recovery};
use super::set::{Face, Place, Set};

const SECTORS: u64 = BLOCK / SECTOR;

/// States with one outcome.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// They.
    pub set: Set,
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
#[derive(Clone)]
struct Node {
    snapshot: Arc<Snapshot>,
    set: Set,
    /// Whose contents the machine's disks have where nobody looked.
    face: Face,
    /// Blocks of the read that the machine stands before, by which the states have yet to be parted.
    reads: Vec<Place>,
    recovery: Recovery,
    ears: Ears,
}

/// A boot under way that another tree of the same family may go on with.
pub struct Given(Node);

/// What it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effort {
    /// Boots that came to their end.
    pub executed: u64,
    /// Listed states they decide.
    pub decided: u64,
    /// Partings.
    pub forks: u64,
    /// Instructions that were executed.
    pub instructions: u64,
}

impl Effort {
    /// What came since an earlier sum.
    pub fn since(self, before: &Self) -> Self {
        Self {
            executed: self.executed.saturating_sub(before.executed),
            decided: self.decided.saturating_sub(before.decided),
            forks: self.forks.saturating_sub(before.forks),
            instructions: self.instructions.saturating_sub(before.instructions),
        }
    }
}

impl std::ops::AddAssign for Effort {
    fn add_assign(&mut self, other: Self) {
        self.executed += other.executed;
        self.decided += other.decided;
        self.forks += other.forks;
        self.instructions += other.instructions;
    }
}

/// A tree that is being searched.
pub struct Tree<'a> {
    states: &'a [State],
    machine: Machine,
    /// The boot up to the first read in which any two states may differ: the same for all of them.
    trunk: Node,
    open: VecDeque<Node>,
    effort: Effort,
}

/// How a stretch of a boot ended.
enum Stretch {
    /// Before a read of these blocks.
    Reads(Vec<Place>),
    Over(Outcome),
    /// Somewhere: nobody wants to know how it goes on.
    Stopped,
}

/// Nanoseconds of the guest's time after which somebody is asked whether it goes on: a guest that neither dies nor speaks takes long.
const SLICE: u64 = 250_000_000;

impl<'a> Tree<'a> {
    /// A machine that is about to boot, with the contents of the first state of the family on its disks. Boots it until something is
    /// read that may differ between states.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn new(family: &'a Family, mut machine: Machine, recovery: Recovery) -> Result<Self, MachineError> {
        let differ = Arc::new(family.touched.clone());
        let written = vec![BTreeSet::new(); differ.len()];
        let ears = Ears { differ, written, ..Ears::default() };
        let set = Set::Listed(vec![0]);
        let (snapshot, face) = (machine.snapshot(), set.face());
        let mut trunk = Node { snapshot, set, face, reads: Vec::new(), recovery, ears };
        let mut effort = Effort::default();
        if let Stretch::Reads(reads) = stretch(&mut machine, &mut trunk, &mut effort, &|| true) {
            trunk.reads = reads;
            trunk.snapshot = machine.snapshot();
        }
        Ok(Self { states: &family.states, machine, trunk, open: VecDeque::new(), effort })
    }

    /// These states are to be decided as well.
    pub fn begin(&mut self, set: Set) {
        self.open.push_back(Node { set, ..self.trunk.clone() });
    }

    /// Gives away the boot that parted from the others first, if another one is left.
    pub fn give(&mut self) -> Option<Given> {
        if self.open.len() > 1 { self.open.pop_front().map(Given) } else { None }
    }

    /// Goes on with one that another tree began.
    pub fn take(&mut self, given: Given) {
        self.open.push_back(given.0);
    }

    /// What it took so far.
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// Listed states that are not decided yet.
    pub fn undecided(&self) -> usize {
        self.open.iter().map(|node| node.set.listed().len()).sum()
    }

    /// Their numbers.
    pub fn undecided_states(&self) -> impl Iterator<Item = usize> + '_ {
        self.open.iter().flat_map(|node| node.set.listed().iter().copied())
    }

    /// Executes one boot to its end; None if all is decided.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn next_leaf(&mut self) -> Result<Option<Leaf>, MachineError> {
        self.next_leaf_while(&|| true)
    }

    /// The same, as long as `goes_on` says so, which is asked now and then. None as well if it said no: what was under way is left where it
    /// stood, and its states are undecided.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn next_leaf_while(&mut self, goes_on: &dyn Fn() -> bool) -> Result<Option<Leaf>, MachineError> {
        let Some(mut node) = self.next() else { return Ok(None) };
        self.machine.restore(&node.snapshot)?;
        let snapshot = Arc::clone(&node.snapshot);
        self.part(&mut node, Some(snapshot))?;
        let begun = self.effort.instructions;
        let outcome = loop {
            match stretch(&mut self.machine, &mut node, &mut self.effort, goes_on) {
                Stretch::Reads(reads) => {
                    node.reads = reads;
                    self.part(&mut node, None)?;
                }
                Stretch::Over(outcome) => break outcome,
                Stretch::Stopped => {
                    node.snapshot = self.machine.snapshot();
                    self.open.push_back(node);
                    return Ok(None);
                }
            }
        };
        self.effort.executed += 1;
        self.effort.decided += node.set.listed().len() as u64;
        let console = node.ears.console();
        let lines: Vec<&str> = console.lines().collect();
        let tail = lines[lines.len().saturating_sub(12)..].iter().map(|line| (*line).to_owned()).collect();
        let instructions = self.effort.instructions.saturating_sub(begun);
        Ok(Some(Leaf { set: node.set, outcome, instructions, console: tail }))
    }

    /// The boot that is executed next: in turns one that parted last, from where little is left to do, and one that parted first. Those that
    /// parted early differ in what matters most; going on with the last ones only, one would see a thousand times the same.
    fn next(&mut self) -> Option<Node> {
        if self.effort.executed.is_multiple_of(2) { self.open.pop_back() } else { self.open.pop_front() }
    }

    /// The machine stands before a read, as in this snapshot if there is one: states of the node that differ in what is read part from
    /// those that are as its face, which go on.
    fn part(&mut self, node: &mut Node, mut snapshot: Option<Arc<Snapshot>>) -> Result<(), MachineError> {
        let reads = std::mem::take(&mut node.reads);
        for (set, reads) in node.set.part(self.states, &reads) {
            self.effort.forks += 1;
            let (recovery, ears) = (node.recovery.clone(), node.ears.clone());
            let snapshot = Arc::clone(snapshot.get_or_insert_with(|| self.machine.snapshot()));
            self.open.push_back(Node { snapshot, set, face: node.face.clone(), reads, recovery, ears });
        }
        let face = node.set.face();
        self.show(&node.ears, &node.face, &face)?;
        node.face = face;
        Ok(())
    }

    /// The machine's disks have the contents of another state, where nobody looked or wrote.
    fn show(&mut self, ears: &Ears, from: &Face, to: &Face) -> Result<(), BaseError> {
        let disks = self.machine.board_mut().pci.disks_mut();
        for ((number, disk), (differ, written)) in
            disks.enumerate().zip(ears.differ.iter().zip(&ears.written))
        {
            for block in differ {
                let place = (number, *block);
                if from.agrees(to, self.states, place) {
                    continue;
                }
                let Some(media) = to.media(self.states, place) else { continue };
                let sectors = block * SECTORS..(block + 1) * SECTORS;
                for sector in sectors.filter(|sector| !written.contains(sector)) {
                    disk.substitute(Extent { sector, sectors: 1 }, media)?;
                }
            }
        }
        Ok(())
    }
}

/// Runs until something is read in which states may differ, or it is over, or nobody wants it to go on.
fn stretch(
    machine: &mut Machine,
    node: &mut Node,
    effort: &mut Effort,
    goes_on: &dyn Fn() -> bool,
) -> Stretch {
    let begun = machine.instructions();
    let end = loop {
        if let Some(outcome) = node.recovery.outcome() {
            break Stretch::Over(outcome.clone());
        }
        if !goes_on() {
            break Stretch::Stopped;
        }
        node.recovery.speak(machine, &mut node.ears);
        let until = node.recovery.until().min(machine.now().after(SLICE));
        let limit = Limit { time: Some(until), instructions: None };
        let stop = machine.run(limit, &mut node.ears);
        if let Some((disk, request)) = node.ears.zeroes.take() {
            let changes = machine.board().pci.disks().nth(disk);
            let changes = changes.into_iter().flat_map(|disk| disk.changes());
            let of_request = changes.filter(|change| change.request == request);
            let extents: Vec<Extent> = of_request.map(|change| change.extent).collect();
            extents.iter().for_each(|extent| node.ears.note_written(disk, *extent));
        }
        let read = node.ears.read.take();
        node.recovery.hear(stop, machine.now(), &mut node.ears);
        if let Some((disk, extent)) = read {
            let blocks = node.ears.open_blocks(disk, extent);
            break Stretch::Reads(blocks.into_iter().map(|block| (disk, block)).collect());
        }
    };
    effort.instructions += machine.instructions().saturating_sub(begun);
    end
}
