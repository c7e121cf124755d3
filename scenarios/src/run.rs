//! Running a scenario: its steps, its cuts, its checks, and what is said of them.

use std::ops::Range;

use agent_link::filesystem;
use agent_protocol::message::Role;
use devices::disk::{BaseError, CrashSpaceError, Disk, Media};
use devices::{PowerEvent, VirtualTime};
use vmm::power::{PowerState, everything_accepted, nothing_unflushed};
use vmm::trigger::{DiskPattern, Match, Trigger, Triggers, What};
use vmm::{Autopsy, Stop};

use crate::checks::{self, Check, Oracle, Status};
use crate::guest::GuestError;
use crate::kernels::Loaded;
use crate::lab::{Lab, Trouble, WORKLOAD_SEED};
use crate::language::{Cut, Scenario, Step, StepSpec, Survives, Use, When};
use crate::report::{Phase, PowerHappening, Report, Verdict};

/// Lines of the console that a failure shows.
const CONSOLE_LINES: usize = 40;
/// How long the machine stays off if nothing says so, in nanoseconds.
const OFF: u64 = 60_000_000_000;
const MIB: u64 = 1 << 20;

/// Told of what happens as it happens.
pub trait Listener {
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
) -> Report {
    let mut kernels = vec![primary.used_as(Role::Primary)];
    if let Some(saver) = saver {
        kernels.extend([saver.used_as(Role::Saver), saver.used_as(Role::Restorer)]);
    }
    let mut report = Report {
        verdict: Verdict::Pass,
        scenario: name.to_owned(),
        about: scenario.about.clone(),
        engine: "software",
        seed: scenario.machine.config.seed,
        digest: None,
        kernels,
        phases: Vec::new(),
        power_events: Vec::new(),
        checks: Vec::new(),
        skipped: None,
    };
    match Lab::new(scenario, primary, saver) {
        Ok(lab) => Runner { lab, scenario, report: &mut report, listener, cycle: 0, synced: 0 }.run(),
        Err(trouble) => report.checks.push(Check::fail(
            Oracle::O9,
            "the machine can be built",
            "machine",
            vec![trouble.to_string()],
        )),
    }
    report.checks.sort_by_key(|check| check.oracle);
    if report.checks.iter().any(|check| check.status == Status::Fail) {
        report.verdict = Verdict::Fail;
    }
    report
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
    fn run(mut self) {
        let ended_well = self.steps().is_ok();
        self.report.digest = Some(self.lab.guest.machine.digest().to_string());
        if ended_well {
            self.report.checks.push(Check::pass(Oracle::O9, "every step came to its end"));
            if !self.scenario.workloads.is_empty() {
                self.report.checks.push(Check::pass(Oracle::O13, "workloads go on and are clean"));
            }
            self.file_system();
        }
        self.kernel_log();
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
        let result = act(&mut self.lab);
        let machine = &self.lab.guest.machine;
        // A machine that was reset or switched on meanwhile counts from 0.
        let (since, before) =
            if self.lab.boots == boots { (time, instructions) } else { (VirtualTime(0), 0) };
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
            nanoseconds: machine.now().since(since),
            instructions: machine.instructions().saturating_sub(before),
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
        if let Err(error) = guest.machine.power_on(off, &mut guest.tape) {
            self.failed("power on", &Trouble::Machine(error));
            return Err(Early::Failed);
        }
        guest.power_lost();
        self.lab.boots += 1;
        Ok(())
    }

    /// Something went wrong: which check says so.
    fn failed(&mut self, what: &str, trouble: &Trouble) {
        let mut evidence = vec![format!("{what}: {trouble}")];
        let (oracle, clause, class) = match trouble {
            Trouble::Workloads(reports) => {
                for report in reports {
                    let name = report.workload.name();
                    let found = report.differences.iter().map(|text| format!("{name}: {text}"));
                    evidence.extend(found);
                    if report.differences.is_empty() {
                        evidence.push(format!("{name}: stands still at {}", report.progress));
                    }
                }
                (Oracle::O13, "workloads go on and are clean", "workload".to_owned())
            }
            Trouble::Guest(GuestError::Refused(_)) => {
                (Oracle::O9, "every step came to its end", "refused".to_owned())
            }
            Trouble::Guest(GuestError::Stopped(stop)) => {
                (Oracle::O9, "the machine goes on", stopped(*stop).to_owned())
            }
            Trouble::Guest(GuestError::Silent { .. }) => {
                (Oracle::O9, "the machine goes on", "virtual-time limit".to_owned())
            }
            Trouble::Wake(_) => (Oracle::O9, "the machine wakes", "no wake".to_owned()),
            _ => (Oracle::O9, "every step came to its end", "unexpected".to_owned()),
        };
        let console = self.lab.guest.tape.console();
        let class = match checks::complaints(&console, &self.scenario.allow).last() {
            Some(complaint) if complaint.class == "panic" || complaint.class == "oops" => {
                complaint.class.to_owned()
            }
            _ => class,
        };
        evidence.push(Autopsy::of(&self.lab.guest.machine).to_string());
        let lines: Vec<&str> = console.lines().collect();
        evidence.push(lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n"));
        self.report.checks.push(Check::fail(oracle, clause, class, evidence));
    }

    /// The place of a partition: its disk and its bytes.
    fn place(&self, what: Use) -> Option<(&Disk, Range<u64>)> {
        let (disk, partition) = self.scenario.partition(what)?;
        let partitions = &self.scenario.disks.get(disk)?.partitions;
        let at = partition as usize - 1;
        let start = MIB + partitions[..at].iter().map(|other| u64::from(other.mib) * MIB).sum::<u64>();
        let end = start + u64::from(partitions.get(at)?.mib) * MIB;
        Some((self.lab.guest.machine.board().pci.disks().nth(disk)?, start..end))
    }

    /// After A continues, no image that could be entered again may be there.
    fn images(&mut self, step: &Step) {
        let consumed = match step {
            Step::Resume => self.place(Use::Swap).map(|(disk, range)| {
                checks::disk::image_in_swap(disk.media(), range.start)
                    .map(|found| found.map(|signature| format!("swap signature {signature}")))
            }),
            Step::Restore | Step::SnapshotRestore | Step::JumpBack => {
                self.place(Use::Image).map(|(disk, range)| {
                    checks::disk::holds_valid_image(disk.media(), range.start)
                        .map(|valid| valid.then(|| "the image's header is still valid".to_owned()))
                })
            }
            _ => None,
        };
        let clause = format!("cycle {}, after {}: the image is gone", self.cycle, step.name());
        self.report.checks.extend(consumed.map(|found| match found {
            Ok(None) => Check::pass(Oracle::O1, clause),
            Ok(Some(evidence)) => Check::fail(Oracle::O1, clause, "image still valid", vec![evidence]),
            Err(error) => Check::fail(Oracle::O1, clause, "disk unreadable", vec![error.to_string()]),
        }));
    }

    /// The power fails under the workloads: what is then on the disk has to be whole, with every record that was synced.
    fn file_system(&mut self) {
        let has_journal = self.scenario.workloads.contains(&agent_protocol::message::Workload::Ext4);
        let Some((disk, range)) = self.place(Use::Ext4).filter(|_| has_journal) else { return };
        let clause =
            "clean after a journal replay, every synced record there, had the power failed at the end";
        let judged = tempfile::tempdir().map_err(|error| error.to_string()).and_then(|directory| {
            let copy = directory.path().join("ext4");
            checks::disk::copy_out(disk.durable(), &range, &copy).map_err(|error| error.to_string())?;
            Ok(filesystem::check(&copy, "/journal", WORKLOAD_SEED, self.synced))
        });
        let check = match judged {
            Ok(Ok(_)) => Check::pass(Oracle::O11, clause),
            Ok(Err(error)) if !error.is_hosts() => {
                Check::fail(Oracle::O11, clause, "file system", vec![error.to_string()])
            }
            Ok(Err(error)) => not_observed(Oracle::O11, clause, error.to_string()),
            Err(error) => not_observed(Oracle::O11, clause, error),
        };
        self.report.checks.push(check);
    }

    fn kernel_log(&mut self) {
        let console = self.lab.guest.tape.console();
        let found = checks::complaints(&console, &self.scenario.allow);
        let clause = "no complaint";
        let check = match found.first() {
            None => Check::pass(Oracle::O10, clause),
            Some(first) => {
                let lines = found.iter().map(|complaint| complaint.line.clone()).collect();
                Check::fail(Oracle::O10, clause, first.class, lines)
            }
        };
        self.report.checks.push(check);
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

fn not_observed(oracle: Oracle, clause: &str, why: String) -> Check {
    Check { oracle, clause: clause.to_owned(), status: Status::NotObserved, class: None, evidence: vec![why] }
}

fn stopped(stop: Stop) -> &'static str {
    match stop {
        Stop::Idle => "idle with nothing pending",
        Stop::TripleFault { .. } => "triple fault",
        Stop::Power(_) => "the machine went away",
        Stop::Missing { .. } => "not emulated",
        Stop::Instructions | Stop::Time | Stop::Triggered => "stopped",
        _ => "stopped",
    }
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
