//! Looks at a sleeping and waking kernel from outside, at exact instructions: memory (O2, O3), time (O6) and
//! processors (O7).
//!
//! It knows where the primary's landmarks are, has the machine stop at them, and at each one looks at what the oracles are about. The
//! guest cannot tell. Which kernel runs is known from what was passed: after power was lost, until a kernel that slept is entered,
//! another one has the machine, though it may be the same file.

mod expected;
mod landmarks;

use std::collections::BTreeSet;
use std::ops::Range;

use agent_protocol::message::{Ready, ReadyWhy, Role};
use devices::{Moment, WorldTime};
use firmware::memory_map::Kind;
use ram::PAGE_SIZE;
use vmm::{CodePoint, Machine};

use crate::checks::memory::{self, Away, Departure, Images};
use crate::checks::processor::{self, SystemRegisters};
use crate::checks::record::Place;
use crate::checks::time::{Alarm, KeptTime, Reading};
use crate::checks::{Check, Clause};
use crate::image::Part;
pub use expected::expected;
pub use landmarks::Landmark;
use landmarks::{Landmarks, return_address};

/// An instruction that is about to be executed, of those that are watched.
#[derive(Debug, Clone, Copy)]
pub struct Hit {
    /// Which.
    pub point: u16,
    /// When, and by which processor.
    pub at: Moment,
}

/// Looks on.
pub struct Witness {
    landmarks: Landmarks,
    /// Found on the way: where `dpm_suspend_end` returns to, and where A comes back from a jump.
    found: Vec<CodePoint>,
    /// RAM that the primary has, whole pages.
    usable: Vec<Range<u64>>,
    /// Partitions that may hold an image.
    swap: Vec<Place>,
    ours: Vec<Place>,
    /// What is being done: cycle and step.
    of: String,
    /// What was found, of steps that are over and of the one that is not.
    done: Vec<Check>,
    step: Vec<Check>,
    /// A kernel boots or has booted whose landmarks are not known.
    blind: bool,
    /// The power was lost, and no kernel that slept has been entered since.
    lost: bool,
    /// When the power went last, a snapshot had been made: partitions as they were then.
    images: Option<Images>,
    /// A snapshot was made, and its image has not been looked for yet.
    snapshot: bool,
    /// A as it jumped, or why that could not be seen.
    departure: Option<Result<Departure, &'static str>>,
    /// Devices are down, and why, as far as that is known.
    away: Option<Option<Away>>,
    registers: Registers,
    time: Time,
}

/// Clocks and an alarm over a sleep.
#[derive(Default)]
struct Time {
    /// Run time in which the kernel kept time.
    kept: KeptTime,
    /// The last reading but one, and the last.
    before: Option<Reading>,
    latest: Option<Reading>,
    alarm: Option<Alarm>,
}

/// System registers over a sleep.
#[derive(Default)]
struct Registers {
    /// Of the processors when user mode had run last.
    before: Option<Vec<SystemRegisters>>,
    /// Of each when it enters user mode again.
    after: Vec<Option<SystemRegisters>>,
    /// They are watched for.
    watched: bool,
    /// User mode has run since `before`.
    stale: bool,
}

impl Witness {
    /// For a primary kernel, unpacked. `withheld`: RAM that its command line takes from it. `swap`, `ours`: partitions that may hold
    /// images.
    pub fn new(
        kernel: &[u8],
        machine: &Machine,
        withheld: Option<Range<u64>>,
        swap: Vec<Place>,
        ours: Vec<Place>,
    ) -> Self {
        Self {
            landmarks: Landmarks::of_kernel(kernel),
            found: Vec::new(),
            usable: usable(machine, withheld),
            swap,
            ours,
            of: String::new(),
            done: Vec::new(),
            step: Vec::new(),
            blind: false,
            lost: false,
            images: None,
            snapshot: false,
            departure: None,
            away: None,
            registers: Registers::default(),
            time: Time::default(),
        }
    }

    /// A kernel is about to boot, in a machine that forgot what was watched when it lost its power. Of one that is neither the primary nor
    /// elsewhere in memory nothing is known, and nothing is watched until the primary boots again: not even the entry of an image,
    /// whose addresses are that kernel's as well.
    pub fn boots(&mut self, machine: &mut Machine, is_known: bool) {
        self.blind = !is_known;
        self.watch(machine);
    }

    /// A step begins.
    pub fn begins(&mut self, of: String) {
        self.of = of;
    }

    /// The kernel that runs is a new session: nobody slept.
    pub fn begins_anew(&mut self, machine: &mut Machine) {
        (self.lost, self.snapshot, self.images, self.departure) = (false, false, None, None);
        self.registers = Registers::default();
        self.time.kept = KeptTime::since(machine.now());
        self.time.before = self.time.latest.map(|reading| Reading { kept: 0, ..reading });
        self.back(machine);
        self.found.clear();
        self.watch(machine);
    }

    /// A step came to its end: what it should have shown and did not is said. `expected`: clauses that it is about.
    pub fn ends(&mut self, machine: &mut Machine, expected: &[Clause]) {
        self.judge_registers(machine);
        self.keep_images(machine);
        for clause in expected {
            if !self.step.iter().any(|check| check.clause == *clause) {
                let why = match (self.blind, self.landmarks.is_empty()) {
                    (true, _) => {
                        "another kernel booted in the primary's place, whose landmarks are not known"
                    }
                    (_, true) => {
                        "the kernel has no table of symbols to find its landmarks by (CONFIG_KALLSYMS)"
                    }
                    _ => "the kernel did not come by where this is looked at",
                };
                self.step.push(Check::not_observed(*clause, &self.of, why));
            }
        }
        self.done.append(&mut self.step);
    }

    /// Memory is about to lose its power, or has.
    pub fn power_goes(&mut self, machine: &mut Machine) {
        self.judge_away(machine);
        self.keep_images(machine);
        self.lost = true;
        self.registers.watched = false;
        self.time.alarm = None;
        // Where a function returns to in a kernel that is no more.
        self.found.retain(|point| point.id == Landmark::VirtualMapped as u16);
    }

    /// An agent says that it is there, and what its clocks say.
    pub fn hears(&mut self, machine: &Machine, ready: &Ready) {
        let reading = Reading {
            monotonic_ms: ready.monotonic_ms,
            realtime_ms: ready.realtime_ms,
            kept: self.time.kept.until(machine.now()),
            world: machine.world(),
        };
        if ready.why == ReadyWhy::Return {
            if let Some(alarm) = self.time.alarm.take() {
                self.step.push(alarm.judge(machine.board().rtc.next_alarm(), &self.of));
            }
            if let (Role::Primary, false, Some(before)) = (ready.session.role, self.lost, &self.time.before) {
                self.step.push(reading.monotonic(before, &self.of));
                self.step.push(reading.realtime(&self.of));
                self.time.before = Some(reading);
            }
        }
        self.time.latest = Some(reading);
    }

    /// An alarm was set, to go off so many seconds from now.
    pub fn alarm_is_set(&mut self, machine: &Machine, seconds: u32) {
        let due = machine.world().0.saturating_add(u64::from(seconds) * 1_000_000_000);
        self.time.alarm = Some(Alarm { due: WorldTime(due), woke: None });
    }

    /// The machine woke.
    pub fn wakes(&mut self, machine: &Machine) {
        if let Some(alarm) = &mut self.time.alarm {
            alarm.woke = Some(machine.world());
        }
    }

    /// Everything that was found.
    pub fn conclude(mut self) -> Vec<Check> {
        self.done.append(&mut self.step);
        self.done
    }

    /// The machine stands before a watched instruction.
    pub fn sees(&mut self, machine: &mut Machine, hit: Hit) {
        let Some(landmark) = Landmark::of_point(hit.point) else { return };
        let processor = hit.at.processor.unwrap_or(0) as usize;
        match landmark {
            Landmark::Prepare => self.prepares(machine),
            Landmark::SuspendEnd => {
                let state = machine.processors().nth(processor);
                let back = state.and_then(|state| return_address(state, machine.ram(), Landmark::Suspended));
                self.put(machine, Landmark::Suspended, back);
            }
            Landmark::Suspended => {
                self.put(machine, Landmark::Suspended, None);
                let failed =
                    machine.processors().nth(processor).is_some_and(|state| state.gpr[0] as u32 != 0);
                if !failed {
                    machine.watch_foreign_writes(true);
                    self.away = Some(None);
                }
            }
            // Of a kernel that may be about to enter an image nobody wants to know.
            Landmark::TimeStops | Landmark::TimeGoesOn if self.lost => {}
            Landmark::TimeStops => self.time.kept.stops(machine.now()),
            Landmark::TimeGoesOn => self.time.kept.goes_on(machine.now()),
            Landmark::ResumeNoirq => {
                // A kernel that only idles wakes by itself. Of S3 the machine says when it woke.
                if self.time.alarm.is_some_and(|alarm| alarm.woke.is_none()) {
                    self.wakes(machine);
                }
            }
            Landmark::Snapshot => {
                self.time.kept.snapshot();
                self.away = self.away.map(|_| Some(Away::Save));
                (self.snapshot, self.images) = (true, None);
            }
            Landmark::RestoreRegisters => {
                self.time.kept.restored();
                self.keep_images(machine);
                let images = self.images.take().unwrap_or_else(|| self.look_for_images(machine));
                self.step.push(memory::compare_with_snapshot(machine.ram(), &images, &self.of));
                self.enters(machine, Away::Restore);
            }
            Landmark::RelocateKernel => self.jumps(machine, processor),
            Landmark::VirtualMapped => self.jumped_back(machine),
            Landmark::ResumeStart => self.judge_away(machine),
            Landmark::Complete => self.completes(machine),
            Landmark::ToUserBySysret | Landmark::ToUserByIret => self.enters_user_mode(machine, processor),
        }
    }

    /// Everything that is watched now.
    fn watch(&self, machine: &mut Machine) {
        if self.blind {
            return machine.watch_code(Vec::new());
        }
        let users = [Landmark::ToUserBySysret as u16, Landmark::ToUserByIret as u16];
        let never = [Landmark::VirtualMapped as u16];
        let standing = self.landmarks.points();
        // On the way back from a jump this is executed where the control page is, and nowhere else.
        let standing = standing.filter(|point| !never.contains(&point.id));
        let standing = standing.filter(|point| self.registers.watched || !users.contains(&point.id));
        machine.watch_code(standing.chain(self.found.iter().copied()).collect());
    }

    /// Watches for a landmark at this place, and at no other that was found for it before.
    fn put(&mut self, machine: &mut Machine, landmark: Landmark, point: Option<CodePoint>) {
        self.found.retain(|other| other.id != landmark as u16);
        self.found.extend(point);
        self.watch(machine);
    }

    /// User space is frozen. Of a kernel that may be about to enter an image nobody wants to know.
    fn prepares(&mut self, machine: &mut Machine) {
        self.keep_images(machine);
        let registers = &mut self.registers;
        if !self.lost && (registers.before.is_none() || registers.stale) {
            let before: Vec<_> = machine.processors().map(SystemRegisters::of).collect();
            registers.after = vec![None; before.len()];
            registers.before = Some(before);
            registers.stale = false;
        }
    }

    /// Devices work again: user mode comes next, if this is the kernel that slept.
    fn completes(&mut self, machine: &mut Machine) {
        let registers = &mut self.registers;
        if let (false, Some(before)) = (self.lost, &registers.before) {
            registers.after = vec![None; before.len()];
            registers.watched = true;
            self.watch(machine);
        }
    }

    /// A processor is about to enter user mode.
    fn enters_user_mode(&mut self, machine: &mut Machine, processor: usize) {
        let state = machine.processors().nth(processor).map(SystemRegisters::of);
        if let Some(after @ None) = self.registers.after.get_mut(processor) {
            *after = state;
        }
        if self.registers.after.iter().all(Option::is_some) {
            self.judge_registers(machine);
        }
    }

    fn judge_registers(&mut self, machine: &mut Machine) {
        let registers = &mut self.registers;
        if !std::mem::take(&mut registers.watched) {
            return;
        }
        if registers.after.iter().any(Option::is_some) {
            registers.stale = true;
            let before = registers.before.as_deref().unwrap_or_default();
            let checks = processor::compare(before, &registers.after, &self.of);
            // The last one of a step counts: of the two ways out of a snapshot the one that was taken.
            self.step.retain(|check| checks.iter().all(|other| other.clause != check.clause));
            self.step.extend(checks);
        }
        self.watch(machine);
    }

    /// A kernel is about to jump into another.
    fn jumps(&mut self, machine: &mut Machine, processor: usize) {
        let Some(state) = machine.processors().nth(processor) else { return };
        let departure = match Departure::of(state, machine.ram(), &self.usable) {
            Err(None) => return,
            Err(Some(why)) => Err(why),
            Ok(departure) => Ok(departure),
        };
        self.away = self.away.map(|_| Some(Away::Jump));
        let addresses =
            [Landmark::VirtualMapped, Landmark::RelocateKernel].map(|at| self.landmarks.address(at));
        let back = match (&departure, addresses) {
            (Ok(departure), [Some(back), Some(relocate)]) => Some(CodePoint {
                linear: back,
                physical: Some(departure.in_control_page(back.wrapping_sub(relocate))),
                id: Landmark::VirtualMapped as u16,
            }),
            _ => None,
        };
        self.departure = Some(departure);
        self.put(machine, Landmark::VirtualMapped, back);
    }

    /// A is about to go on.
    fn jumped_back(&mut self, machine: &mut Machine) {
        let check = match &self.departure {
            Some(Ok(departure)) => departure.compare(machine.ram(), &self.of),
            Some(Err(why)) => Check::not_observed(Clause::MemoryAcrossJump, &self.of, *why),
            None => return,
        };
        self.step.push(check);
        self.enters(machine, Away::Jump);
        self.put(machine, Landmark::VirtualMapped, None);
    }

    /// A kernel that slept goes on.
    fn enters(&mut self, machine: &mut Machine, away: Away) {
        self.lost = false;
        if self.away.is_none() {
            // Its devices went down before the power did, or in a kernel whose landmarks are not known.
            machine.watch_foreign_writes(true);
        }
        self.away = Some(Some(away));
    }

    /// Devices come up, or the power goes: what was written meanwhile is judged.
    fn judge_away(&mut self, machine: &mut Machine) {
        if let Some(Some(away)) = self.away {
            let writes = machine.take_foreign_writes();
            let mut swapped = BTreeSet::new();
            if let (Away::Jump, Some(Ok(departure))) = (away, &self.departure) {
                swapped.extend(departure.swapped());
            }
            let check = memory::foreign(away, &self.of, &writes, &self.usable, &swapped);
            self.step.push(check);
        }
        self.back(machine);
    }

    fn back(&mut self, machine: &mut Machine) {
        machine.watch_foreign_writes(false);
        self.away = None;
        if !self.lost && !self.found.iter().any(|point| point.id == Landmark::VirtualMapped as u16) {
            self.departure = None;
        }
    }

    /// A kernel has made a snapshot and is past writing it: what its image is, before anybody touches it.
    fn keep_images(&mut self, machine: &Machine) {
        if std::mem::take(&mut self.snapshot) {
            self.images = Some(self.look_for_images(machine));
        }
    }

    fn look_for_images(&self, machine: &Machine) -> Images {
        let part = |place: &Place| {
            let disk = machine.board().pci.disks().nth(place.disk)?;
            Some(Part::of(disk.media(), &place.bytes))
        };
        Images {
            swap: self.swap.iter().filter_map(part).collect(),
            ours: self.ours.iter().filter_map(part).collect(),
        }
    }
}

/// RAM as firmware describes it, without page 0 and what is withheld. Nothing, if there is no description.
fn usable(machine: &Machine, withheld: Option<Range<u64>>) -> Vec<Range<u64>> {
    let Ok(map) = machine.memory_map() else { return Vec::new() };
    let ram = map.entries().iter().filter(|entry| entry.kind == Kind::Usable);
    let mut ranges = Vec::new();
    for entry in ram {
        let end = entry.start.saturating_add(entry.len) / PAGE_SIZE * PAGE_SIZE;
        let range = entry.start.max(PAGE_SIZE).next_multiple_of(PAGE_SIZE)..end;
        let pieces = match &withheld {
            Some(not) => [range.start..range.end.min(not.start), range.start.max(not.end)..range.end],
            None => [range, 0..0],
        };
        ranges.extend(pieces.into_iter().filter(|range| range.start < range.end));
    }
    ranges
}

#[cfg(test)]
mod tests;
