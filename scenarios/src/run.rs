//! Running a scenario: its steps, its cuts, its checks, and what is said of them.

mod inspection;
mod judgement;

use agent_protocol::message::Role;
use devices::disk::{BaseError, CrashSpaceError, Disk, Media, WriteLog};
use devices::{DiskAction, DiskStep, PowerEvent, VirtualTime};
use vmm::power::{PowerState, everything_accepted, nothing_unflushed};
use vmm::trigger::{DiskPattern, Match, Trigger, Triggers, What};

use crate::checks::{self, Check, Clause, Record};
use crate::guest::GuestError;
use crate::history::{Entry, Happening, History};
use crate::kernels::Loaded;
use crate::lab::{Lab, Trouble};
use crate::language::{Cut, Scenario, Step, StepSpec, Survives, When};
use crate::report::{Phase, PowerHappening, Report};
use crate::witness::Witness;

/// How long the machine stays off if nothing says so, in nanoseconds.
const OFF: u64 = 60_000_000_000;

/// Told of what happens as it happens.
pub trait Listener {
    /// A phase begins.
    fn begins(&mut self, _what: &str) {}

    /// A phase is over.
    fn phase(&mut self, phase: &Phase);

    /// Something happened to the power.
    fn power(&mut self, happening: &PowerHappening);
}

/// Runs a scenario with these kernels. What goes wrong in it is a check that fails.
pub fn run(
    name: &str,
    scenario: &Scenario,
    primary: &Loaded,
    saver: Option<&Loaded>,
    listener: &mut dyn Listener,
) -> Finished {
    let mut kernels = vec![primary.used_as(Role::Primary)];
    if let Some(saver) = saver {
        kernels.extend([saver.used_as(Role::Saver), saver.used_as(Role::Restorer)]);
    }
    let mut report = Report::begun(name, scenario, kernels);
    let mut record = (History::default(), Vec::new());
    match Lab::new(scenario, primary, saver) {
        Ok(lab) => {
            record = Runner { lab, scenario, report: &mut report, listener, cycle: 0, synced: 0 }.run();
        }
        Err(trouble) => report.broken = Some(format!("the machine cannot be built: {trouble}")),
    }
    let (history, logs) = record;
    report.checks.extend(checks::conclude(&Record { scenario, history: &history, logs: &logs }));
    report.checks.sort_by_key(|check| check.clause);
    report.verdict = report.judge();
    Finished { report, history, logs }
}

/// A run that is over.
pub struct Finished {
    /// What came of it.
    pub report: Report,
    /// What happened, in order.
    pub history: History,
    /// What was written to the scenario's disks, in its order.
    pub logs: Vec<WriteLog>,
}

impl Finished {
    /// A run of which nothing is left but this.
    pub fn without_trace(report: Report) -> Self {
        Self { report, history: History::default(), logs: Vec::new() }
    }
}

struct Runner<'a, 'b> {
    lab: Lab<'a>,
    scenario: &'a Scenario,
    report: &'b mut Report,
    listener: &'b mut dyn Listener,
    cycle: u32,
    /// Records of the journal on ext4 that are known to be synced.
    synced: u64,
}

/// Why a step ended early.
enum Early {
    /// The power was cut.
    Cut,
    /// Something failed, and a check says so.
    Failed,
}

impl Runner<'_, '_> {
    /// Returns the history and the disks' write logs.
    fn run(mut self) -> (History, Vec<WriteLog>) {
        let ended_well = self.steps().is_ok();
        self.report.digest = Some(self.lab.guest.machine.digest().to_string());
        if ended_well {
            self.report.checks.push(Check::pass(Clause::StepsEnd, ""));
            if !self.scenario.workloads.is_empty() {
                self.report.checks.push(Check::pass(Clause::WorkloadsClean, ""));
                self.report.checks.push(Check::pass(Clause::WorkloadsGoOn, ""));
            }
            self.file_system();
        }
        self.kernel_log();
        let mut guest = self.lab.guest;
        self.report.checks.extend(guest.witness.take().map(Witness::conclude).unwrap_or_default());
        let disks = guest.machine.board().pci.disks().take(self.scenario.disks.len());
        let logs = disks.map(|disk| disk.log().cloned().unwrap_or_default()).collect();
        (guest.tape.history, logs)
    }

    fn steps(&mut self) -> Result<(), Early> {
        self.timed("boot, file systems, workloads", |lab| lab.start().map(|()| String::new()))?;
        self.timed("check", |lab| lab.step(&Step::Check))?;
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
            self.timed("check", |lab| lab.step(&Step::Check))?;
        }
        self.synced = self.lab.synced;
        Ok(())
    }

    fn cycle(&mut self) -> Result<(), Early> {
        let scenario = self.scenario;
        let mut steps = scenario.steps.iter();
        while let Some(StepSpec { step, .. }) = steps.next() {
            if step.begins_off() {
                self.power_on(step)?;
            }
            self.watch_for(Some(step.name()));
            match self.timed(step.name(), |lab| lab.step(step)) {
                Ok(()) => {}
                Err(Early::Cut) => {
                    // What would have followed without the cut does not happen.
                    while steps.as_slice().first().is_some_and(|next| !next.step.begins_off()) {
                        steps.next();
                    }
                    continue;
                }
                Err(Early::Failed) => return Err(Early::Failed),
            }
            self.images(step);
        }
        Ok(())
    }

    /// Triggers of this cycle that count from here: those of a step when it begins, the others when the cycle does.
    fn watch_for(&mut self, during: Option<&'static str>) {
        if during.is_none() {
            self.lab.guest.watch_for(Triggers::default());
            self.lab.cuts.clear();
        }
        for (number, cut) in self.scenario.power.iter().enumerate() {
            let belongs = match &cut.when {
                When::Disk { during: of, .. } => *of == during,
                _ => during.is_none(),
            };
            if belongs
                && cut.cycle.is_none_or(|cycle| cycle == self.cycle)
                && !self.lab.cuts.contains(&number)
            {
                self.lab.guest.triggers_mut().watch(trigger(&cut.when));
                self.lab.cuts.push(number);
            }
        }
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
        self.listener.begins(what);
        let since_entry = self.lab.guest.tape.history.entries().len();
        let of = if self.cycle == 0 { what.to_owned() } else { format!("cycle {}, {what}", self.cycle) };
        self.lab.guest.tell(|witness, _| witness.begins(of));
        let result = act(&mut self.lab);
        self.lab.guest.tell(|witness, machine| witness.ends(machine, &[]));
        self.lab.guest.note(Happening::StepEnds { step: what.to_owned(), well: result.is_ok() });
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
        match result {
            Ok(_) => Ok(()),
            Err(Trouble::Guest(GuestError::Triggered(found))) => {
                let cut =
                    self.lab.cuts.get(found.trigger).and_then(|number| self.scenario.power.get(*number));
                match cut {
                    Some(cut) => self.cut(cut, found),
                    None => Err(Early::Failed),
                }
            }
            Err(trouble) => {
                self.failed(what, &trouble);
                Err(Early::Failed)
            }
        }
    }

    /// The power is cut, now and here.
    fn cut(&mut self, cut: &Cut, found: Match) -> Result<(), Early> {
        let guest = &mut self.lab.guest;
        guest.tell(Witness::power_goes);
        let volatile_writes =
            guest.machine.board().pci.disks().map(|disk| disk.changes().count() as u64).sum();
        let seeded = |seed: u64| move |disk: &Disk| some(disk, seed);
        let done = match cut.survives {
            Survives::Nothing => guest.machine.power_cut(&mut nothing_unflushed, &mut guest.tape),
            Survives::Everything => guest.machine.power_cut(&mut everything_accepted, &mut guest.tape),
            Survives::Some { seed } => guest.machine.power_cut(&mut seeded(seed), &mut guest.tape),
        };
        guest.power_lost();
        let happening = PowerHappening {
            phase: self.report.phases.len().saturating_sub(1),
            what: "power cut".into(),
            when: trigger(&cut.when).to_string(),
            at: found.at.time.0,
            instructions: found.at.instructions,
            volatile_writes,
            survived: match cut.survives {
                Survives::Nothing => "nothing".into(),
                Survives::Everything => "everything".into(),
                Survives::Some { seed } => format!("some, seed {seed}"),
            },
        };
        self.listener.power(&happening);
        self.report.power_events.push(happening);
        self.lab.off = Some(cut.off);
        match done {
            Ok(()) => Err(Early::Cut),
            Err(error) => {
                self.failed("power cut", &Trouble::Machine(error));
                Err(Early::Failed)
            }
        }
    }

    /// A step that begins with a machine that is off.
    fn power_on(&mut self, step: &Step) -> Result<(), Early> {
        let off = self.lab.off.take().unwrap_or(OFF);
        let guest = &mut self.lab.guest;
        match guest.machine.power_state() {
            // A reset leaves it on, and nobody in it.
            PowerState::S0 if self.lab.was_reset => {
                self.lab.was_reset = false;
                return Ok(());
            }
            PowerState::S0 | PowerState::S3 => {
                let text = format!("`{}` begins with a machine that is off, and it is on", step.name());
                self.failed(step.name(), &Trouble::Impossible(text));
                return Err(Early::Failed);
            }
            PowerState::S4 | PowerState::S5 | PowerState::Cut => {}
        }
        guest.tell(Witness::power_goes);
        if let Err(error) = guest.machine.power_on(off, &mut guest.tape) {
            self.failed("power on", &Trouble::Machine(error));
            return Err(Early::Failed);
        }
        guest.power_lost();
        self.lab.boots += 1;
        Ok(())
    }
}

/// Some of what is not durable, chosen by the seed.
fn some(disk: &Disk, seed: u64) -> Result<Media, BaseError> {
    let ours = |error: String| BaseError::Host { offset: 0, reason: error };
    let space = disk.crash_space().map_err(|error| match error {
        CrashSpaceError::Base(error) => error,
        other => ours(other.to_string()),
    })?;
    let chosen = space.seeded(seed).next().unwrap_or_else(|| space.none());
    space.media(&chosen).map_err(|error| ours(error.to_string()))
}

/// As the machine watches for it.
fn trigger(when: &When) -> Trigger {
    match when {
        When::S3Entered => Trigger::first(What::Power(PowerEvent::Asleep)),
        When::OffEntered => Trigger::first(What::Power(PowerEvent::Off)),
        When::SleepRegister => Trigger::first(What::SleepRegister { slp_typ: None }),
        When::Console(text) => Trigger::first(What::console(text)),
        When::Time(time) => Trigger::first(What::Time(VirtualTime(*time))),
        When::Instruction(number) => Trigger::first(What::Instruction(*number)),
        When::Disk { disk, request, step, nth, during: _ } => {
            let disk = disk.map(|number| number as u8);
            let (kind, step) = (Some(*request), Some(*step));
            Trigger::nth(What::Disk(DiskPattern { disk, step, kind, sectors: None }), *nth)
        }
    }
}
