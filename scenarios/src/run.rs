//! Running a scenario: its steps, its cuts, its checks, and what is said of them.

mod inspection;
mod judgement;
mod power;
mod watch;

use agent_protocol::layout::MemoryRange;
use agent_protocol::message::Role;
use devices::disk::{Media, WriteLog};
use devices::{DiskAction, DiskStep, VirtualTime};
use vmm::power::PowerState;

use crate::checks::{self, Check, Clause, Record, Status};
use crate::guest::GuestError;
use crate::history::{Entry, Happening, History};
use crate::kernels::Kernels;
use crate::lab::{Lab, Trouble};
use crate::language::{Back, Scenario, Step, StepSpec};
use crate::report::{Phase, PowerHappening, Report};
use crate::witness::Witness;

/// Told of what happens as it happens.
pub trait Listener {
    /// The run begins: what the report says so far.
    fn begun(&mut self, _report: &Report) {}

    /// A phase begins, in this boot.
    fn begins(&mut self, _boot: u32, _what: &str) {}

    /// A phase is over.
    fn phase(&mut self, phase: &Phase);

    /// Something happened to the power.
    fn power(&mut self, happening: &PowerHappening);
}

/// Runs a scenario with these kernels. What goes wrong in it is a check that fails.
pub fn run(name: &str, scenario: &Scenario, kernels: &Kernels, listener: &mut dyn Listener) -> Finished {
    follow(name, scenario, kernels, listener, false)
}

/// As [`run`], and the history says who is behind writes and flushes ([`Happening::Authors`]). Takes longer, and goes the same way.
pub fn narrate(name: &str, scenario: &Scenario, kernels: &Kernels, listener: &mut dyn Listener) -> Finished {
    follow(name, scenario, kernels, listener, true)
}

fn follow(
    name: &str,
    scenario: &Scenario,
    kernels: &Kernels,
    listener: &mut dyn Listener,
    narrates: bool,
) -> Finished {
    let mut used = vec![kernels.primary.used_as(Role::Primary)];
    if let Some(saver) = &kernels.saver {
        used.extend([saver.used_as(Role::Saver), saver.used_as(Role::Restorer)]);
    }
    used.extend(kernels.others.iter().map(|other| other.used_as(Role::Primary)));
    let mut report = Report::begun(name, scenario, used);
    listener.begun(&report);
    report.skipped = kernels.cannot(scenario);
    if report.skipped.is_some() {
        report.verdict = report.judge();
        return Finished::without_trace(report);
    }
    let mut trace = Trace::default();
    match Lab::new(scenario, kernels) {
        Ok(mut lab) => {
            lab.guest.tape.stop_for_requests = narrates;
            trace = Runner {
                lab,
                scenario,
                report: &mut report,
                listener,
                cycle: 0,
                synced: 0,
                synced_at: Vec::new(),
                watched: Vec::new(),
                steps_seen: Vec::new(),
                before_boot: None,
            }
            .run();
        }
        Err(trouble) => report.broken = Some(format!("the machine cannot be built: {trouble}")),
    }
    let Trace { history, logs, found } = trace;
    report.checks.extend(checks::conclude(&Record { scenario, history: &history, logs: &logs }));
    must_fail(&scenario.must_fail, &mut report.checks);
    report.checks.sort_by_key(|check| check.clause);
    report.verdict = report.judge();
    Finished { report, history, logs, found }
}

/// A run that is over.
pub struct Finished {
    /// What came of it.
    pub report: Report,
    /// What happened, in order.
    pub history: History,
    /// What was written to the scenario's disks, in its order.
    pub logs: Vec<WriteLog>,
    /// What a boot after a cut of this run has to be told.
    pub found: Found,
}

/// What is known of a machine only when A has run on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Its memory as firmware described it to A; empty without a saver.
    pub firmware: Vec<MemoryRange>,
    /// Page of its partition at which the swap file begins.
    pub swap_file: Option<u64>,
    /// From which entry of the history on so many records of the journal on ext4 are known to be synced.
    pub synced: Vec<(usize, u64)>,
}

impl Found {
    /// Records that every state of the disks has that a cut after this entry of the history may leave.
    pub fn synced_from(&self, entry: usize) -> u64 {
        let before = self.synced.iter().rev().find(|(at, _)| *at <= entry).map_or(0, |(_, records)| *records);
        let after = self.synced.iter().filter(|(at, _)| *at > entry).map(|(_, records)| *records);
        after.fold(before, u64::min)
    }
}

impl Finished {
    /// A run of which nothing is left but this.
    pub fn without_trace(report: Report) -> Self {
        let Trace { history, logs, found } = Trace::default();
        Self { report, history, logs, found }
    }
}

/// What a run leaves behind.
#[derive(Default)]
struct Trace {
    history: History,
    logs: Vec<WriteLog>,
    found: Found,
}

struct Runner<'a, 'b> {
    lab: Lab<'a>,
    scenario: &'a Scenario,
    report: &'b mut Report,
    listener: &'b mut dyn Listener,
    cycle: u32,
    /// Records of the journal on ext4 that are known to be synced.
    synced: u64,
    /// From which entry of the history on.
    synced_at: Vec<(usize, u64)>,
    /// What the triggers of this cycle are for, in their order.
    watched: Vec<Watched>,
    /// Steps that began (false) and ended (true) in this cycle.
    steps_seen: Vec<(&'static str, bool)>,
    /// The disk of A's file system as it was before the step that boots.
    before_boot: Option<Media>,
}

use power::Power;
use watch::Watched;

/// Why a step ended early.
enum Early {
    /// The power was cut.
    Cut,
    /// Something failed, and a check says so.
    Failed,
}

impl Runner<'_, '_> {
    fn run(mut self) -> Trace {
        let ended_well = self.steps().is_ok();
        self.report.digest = Some(self.lab.guest.machine.digest().to_string());
        if ended_well {
            self.report.checks.push(Check::pass(Clause::StepsEnd, ""));
            if !self.scenario.workloads.is_empty() {
                self.report.checks.push(Check::pass(Clause::WorkloadsClean, ""));
                self.report.checks.push(Check::pass(Clause::WorkloadsGoOn, ""));
            }
            self.file_system_at_the_end();
        }
        self.kernel_log();
        let mut guest = self.lab.guest;
        self.report.checks.extend(guest.witness.take().map(Witness::conclude).unwrap_or_default());
        let disks = guest.machine.board().pci.disks().take(self.scenario.disks.len());
        let logs = disks.map(|disk| disk.log().cloned().unwrap_or_default()).collect();
        let found =
            Found { firmware: self.lab.firmware, swap_file: self.lab.swap_file, synced: self.synced_at };
        Trace { history: guest.tape.history, logs, found }
    }

    fn steps(&mut self) -> Result<(), Early> {
        self.timed("boot, file systems, workloads", |lab| lab.start().map(|()| String::new()))?;
        self.timed("check", |lab| lab.step(&StepSpec::plain(Step::Check)))?;
        for cycle in 1..=self.scenario.cycles {
            self.cycle = cycle;
            self.watch_for(None);
            self.cycle()?;
        }
        // Whatever the last step was, what it left has to be well.
        let checked = self.scenario.steps.last().is_some_and(|last| last.step == Step::Check);
        if !checked
            && self.lab.guest.machine.power_state() == PowerState::S0
            && self.lab.role == Role::Primary
        {
            self.timed("check", |lab| lab.step(&StepSpec::plain(Step::Check)))?;
        }
        Ok(())
    }

    fn cycle(&mut self) -> Result<(), Early> {
        let scenario = self.scenario;
        let mut steps = scenario.steps.iter();
        while let Some(spec) = steps.next() {
            let spec = &self.decided(spec);
            if spec.step.begins_off() && self.power_on(spec)? == Power::NeverGone {
                continue;
            }
            match self.do_step(spec) {
                Ok(()) => self.after(spec),
                Err(Early::Cut) => {
                    // What would have followed without the cut does not happen.
                    while steps.as_slice().first().is_some_and(|next| !next.step.begins_off()) {
                        steps.next();
                    }
                }
                Err(Early::Failed) => return Err(Early::Failed),
            }
        }
        Ok(())
    }

    /// A step that is left to what was before it is the one that follows from that.
    fn decided(&self, spec: &StepSpec) -> StepSpec {
        let step = match &spec.step {
            Step::Recover { by: Back::Derived } => match self.scenario.back(&spec.place) {
                Some(by) => Step::Recover { by },
                None => Step::ColdBoot,
            },
            step => step.clone(),
        };
        StepSpec { step, ..spec.clone() }
    }

    fn do_step(&mut self, spec: &StepSpec) -> Result<(), Early> {
        let name = spec.step.name();
        self.watch_for(Some(name));
        self.at_step(name, false)?;
        self.timed(name, |lab| lab.step(spec))?;
        self.at_step(name, true)
    }

    /// Does something, and notes how long it took.
    fn timed(
        &mut self,
        what: &str,
        act: impl FnOnce(&mut Lab<'_>) -> Result<String, Trouble>,
    ) -> Result<(), Early> {
        let machine = &self.lab.guest.machine;
        let (boots, time, instructions) = (self.lab.boots, machine.now(), machine.instructions());
        self.lab.guest.note(Happening::StepBegins { cycle: self.cycle, step: what.to_owned() });
        self.listener.begins(self.lab.boots, what);
        let since_entry = self.lab.guest.tape.history.entries().len();
        let of = if self.cycle == 0 { what.to_owned() } else { format!("cycle {}, {what}", self.cycle) };
        self.lab.guest.tell(|witness, _| witness.begins(of));
        let result = act(&mut self.lab);
        self.lab.guest.tell(|witness, machine| witness.ends(machine, &[]));
        self.lab.guest.note(Happening::StepEnds { step: what.to_owned(), well: result.is_ok() });
        if self.synced_at.last().map_or(0, |(_, records)| *records) != self.lab.synced {
            self.synced_at.push((self.lab.guest.tape.history.entries().len(), self.lab.synced));
        }
        let machine = &self.lab.guest.machine;
        // A machine that was reset or switched on meanwhile counts from 0.
        let (since, before) =
            if self.lab.boots == boots { (time, instructions) } else { (VirtualTime(0), 0) };
        let happened = self.lab.guest.tape.history.entries().get(since_entry..).unwrap_or_default();
        let accepted = |wanted: &dyn Fn(&DiskAction) -> bool| {
            let counts = |entry: &&Entry| matches!(&entry.what, Happening::Disk(event) if event.step == DiskStep::Accepted && wanted(&event.action));
            happened.iter().filter(counts).count() as u64
        };
        let phase = Phase {
            boot: self.lab.boots,
            cycle: self.cycle,
            role: Some(self.lab.role),
            what: what.to_owned(),
            detail: match &result {
                Ok(detail) => detail.clone(),
                Err(Trouble::Guest(GuestError::Triggered(_))) => "cut short".into(),
                Err(trouble) => trouble.to_string(),
            },
            began: since.0,
            nanoseconds: machine.now().since(since),
            instructions: machine.instructions().saturating_sub(before),
            writes: accepted(&|action| !matches!(action, DiskAction::Read(_) | DiskAction::Flush)),
            flushes: accepted(&|action| *action == DiskAction::Flush),
        };
        self.listener.phase(&phase);
        self.report.phases.push(phase);
        self.tell_deeds();
        match result {
            Ok(_) => Ok(()),
            Err(Trouble::Guest(GuestError::Triggered(found))) => self.cut_at(found),
            Err(trouble) => {
                self.failed(what, &trouble);
                Err(Early::Failed)
            }
        }
    }
}

/// Clauses that have to find something have found it, and that is well; or they have not.
fn must_fail(clauses: &[Clause], checks: &mut Vec<Check>) {
    for clause in clauses {
        let mut caught = false;
        for check in checks.iter_mut() {
            if check.clause == *clause && matches!(check.status, Status::Fail | Status::ExpectedFail) {
                check.status = Status::ExpectedFail;
                check.evidence.push("the scenario is there to be caught, and was".into());
                caught = true;
            }
        }
        if !caught {
            let evidence = vec!["the scenario does what this clause is there to catch (`must-fail`)".into()];
            checks.push(Check::fail(*clause, "", "not caught", evidence));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synced_records_are_those_that_no_later_cut_lacks() {
        let found = Found { synced: vec![(10, 5), (20, 9), (30, 0), (40, 3)], ..Found::default() };
        assert_eq!([0, 10, 25, 30, 50].map(|entry| found.synced_from(entry)), [0, 0, 0, 0, 3]);
        let found = Found { synced: vec![(10, 5), (20, 9)], ..Found::default() };
        assert_eq!([0, 10, 25].map(|entry| found.synced_from(entry)), [0, 5, 9]);
    }

    #[test]
    fn what_has_to_be_caught_is_well_where_it_is_caught_and_only_there() {
        let caught = || Check::fail(Clause::QuietDiskInSaver, "", "foreign write", Vec::new());
        let other = || Check::fail(Clause::GoesOn, "", "panic", Vec::new());
        let judged = |mut checks: Vec<Check>| {
            must_fail(&[Clause::QuietDiskInSaver], &mut checks);
            checks.iter().map(|check| (check.clause, check.status)).collect::<Vec<_>>()
        };
        let (ours, fail) = (Clause::QuietDiskInSaver, Status::Fail);
        assert_eq!(judged(vec![caught()]), [(ours, Status::ExpectedFail)]);
        assert_eq!(judged(vec![caught(), other()])[1], (Clause::GoesOn, fail));
        assert_eq!(judged(vec![]), [(ours, fail)]);
        let passes = judged(vec![Check::pass(ours, "")]);
        assert_eq!(passes, [(ours, Status::Pass), (ours, fail)]);
    }
}
