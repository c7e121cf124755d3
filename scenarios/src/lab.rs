//! A scenario's machine, and how each step is done.

mod after_cut;
mod boots;
mod disks;
mod requests;
mod scratch;

use std::sync::Arc;

use agent_protocol::layout::{MemoryRange, SAVER_REGION};
use agent_protocol::message::{
    AfterSnapshot, Answer, Ask, HibernateMode, Outcome, PmTest, ReadyWhy, Role, SuspendState, Workload,
    WorkloadReport,
};
use devices::PowerRequest;
use devices::acpi_pm::SleepState;
use devices::disk::{Counters, Disk, DiskConfig, Media, MemoryBase};
use scratch::Scratch;
use thiserror::Error;
use vmm::{Config, Drive, FrontEnd, Machine, MachineError, WakeError};

use crate::checks::Clause;
use crate::checks::record::places;
use crate::guest::Deed;
use crate::guest::{Guest, GuestError};
use crate::history::Happening;
use crate::kernels::{Kernels, Loaded};
use crate::language::{
    Back, BootSpec, DiskSpec, Expect, FaultSpec, MachineSpec, Scenario, Step, StepSpec, Use, Wake,
};
use crate::witness::{self, Witness};

pub use after_cut::{AfterCut, EPOCH_AFTER_CUT};

const SECOND: u64 = 1_000_000_000;
/// The longest that a step may take, in the guest's time: a limit of host time is never a verdict.
const PATIENCE: u64 = 120 * SECOND;
/// Between two looks at the workloads, and how many there are before they are said to stand still.
const LOOK: u64 = SECOND / 5;
const LOOKS: u32 = 20;
/// Bytes of RAM, if the scenario does not say.
const MEMORY: u64 = 256 << 20;
/// The same for a distribution's kernel, whose initramfs holds modules.
const STOCK_MEMORY: u64 = 512 << 20;
/// KiB that each workload holds.
const WORKLOAD_KIB: u32 = 1024;
/// Of their patterns.
pub const WORKLOAD_SEED: u64 = 7;

/// What a step ended with, if not well.
#[derive(Debug, Error)]
pub enum Trouble {
    /// The guest did not do as it should.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// It did something else.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What should have come.
        expected: String,
        /// What came.
        found: String,
    },
    /// It does not wake.
    #[error(transparent)]
    Wake(#[from] WakeError),
    /// Workloads found a difference, or stand still.
    #[error("{} workloads are not well", .0.len())]
    Workloads(Vec<WorkloadReport>),
    /// The machine cannot be built.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// It should have been refused.
    #[error("it should have been refused, and was not: {0}")]
    NotRefused(String),
    /// Something should have been said.
    #[error("nobody said {wanted:?}; what was said: {found}")]
    Unsaid {
        /// What.
        wanted: String,
        /// The answer, or the refusal.
        found: String,
    },
    /// The scenario asks for what cannot be now.
    #[error("{0}")]
    Impossible(String),
}

/// A machine in the middle of a scenario.
pub struct Lab<'a> {
    /// The machine and its agent.
    pub guest: Guest,
    /// How often the power came on.
    pub boots: u32,
    /// Who runs, or ran last.
    pub role: Role,
    /// Records of the journal on ext4 that are known to be synced.
    pub synced: u64,
    /// How long the power is to stay off, in nanoseconds, if something said so.
    pub off: Option<u64>,
    /// The reset line was pulled, and nothing has booted since.
    pub was_reset: bool,
    /// The last step that booted ended without the session that was before it.
    pub was_cold: bool,
    /// What stood in the signature of swap when a cold boot found it there.
    pub stale_image: Option<String>,
    scenario: &'a Scenario,
    kernels: &'a Kernels,
    /// The kernel in A's place.
    booted: &'a Loaded,
    /// What boots in this step, where it differs.
    next_boot: BootSpec,
    /// Where the swap file lies: page of its partition.
    pub swap_file: Option<u64>,
    /// The machine's memory as firmware described it to A.
    pub firmware: Vec<MemoryRange>,
    /// Sessions begun, from which epochs are made.
    epochs: u32,
}

impl<'a> Lab<'a> {
    /// A machine whose power came on, with blank disks.
    ///
    /// # Errors
    /// [`Trouble::Machine`].
    pub fn new(scenario: &'a Scenario, kernels: &'a Kernels) -> Result<Self, Trouble> {
        let primary = &kernels.primary;
        let mut drives = Vec::new();
        for (spec, id) in scenario.disks.iter().zip(0u8..) {
            let media = Media::blank(spec.size).map_err(impossible)?;
            let fault = |fault: &FaultSpec| match fault.counts_at_first() {
                true => fault.fault(Counters::default()),
                false => FaultSpec::idle(),
            };
            let faults = spec.faults.iter().map(fault).collect();
            let config = DiskConfig { id, serial: Some(spec.name.clone()), faults, ..spec.config.clone() };
            drives.push(Drive {
                front_end: spec.front_end,
                disk: Disk::new(config, media).map_err(impossible)?,
            });
        }
        let scratch = Scratch::of(scenario, kernels);
        if !scratch.is_empty() {
            let media = Media::over(Arc::new(MemoryBase(scratch.into_bytes()))).map_err(impossible)?;
            let config = DiskConfig {
                id: scenario.disks.len() as u8,
                serial: Some("scratch".into()),
                read_only: true,
                ..DiskConfig::default()
            };
            drives.push(Drive {
                front_end: FrontEnd::Virtio,
                disk: Disk::new(config, media).map_err(impossible)?,
            });
        }
        let config = config_of(&scenario.machine, primary);
        let mut guest = Guest::new(Machine::new(config, drives)?);
        let withheld = kernels
            .saver
            .as_ref()
            .filter(|_| scenario.kernel.reserves_region)
            .map(|_| SAVER_REGION.start..SAVER_REGION.start + SAVER_REGION.len);
        let [swap, ours] = [Use::Swap, Use::Image].map(|what| places(scenario, what));
        guest.witness = Some(Witness::new(&primary.kernel.bytes, &guest.machine, withheld, swap, ours));
        Ok(Self {
            guest,
            boots: 1,
            role: Role::Primary,
            synced: 0,
            off: None,
            was_reset: false,
            was_cold: false,
            stale_image: None,
            scenario,
            kernels,
            booted: primary,
            next_boot: BootSpec::default(),
            swap_file: None,
            firmware: Vec::new(),
            epochs: 0,
        })
    }

    /// Whether A has the machine, or had it last.
    pub fn is_primary(&self) -> bool {
        self.role == Role::Primary
    }

    /// The machine that a step boots.
    pub fn config_for(&self, boot: &BootSpec) -> Config {
        config_of(boot.machine.as_ref().unwrap_or(&self.scenario.machine), &self.kernels.primary)
    }

    /// A boots, makes its file systems and swap, and its workloads run.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn start(&mut self) -> Result<(), Trouble> {
        self.boot(Role::Primary)?;
        self.arrives(Role::Primary, ReadyWhy::Boot)?;
        self.guest.tell(Witness::begins_anew);
        self.make_disks()?;
        self.take_up()?;
        if self.kernels.saver.is_some() {
            let Answer::MemoryMap { ranges, total } = self.ask(&Ask::MemoryMap { skip: 0 })? else {
                return Err(unexpected("a memory map", "something else"));
            };
            if ranges.len() != total as usize {
                return Err(unexpected("a memory map of one line", format!("{total} ranges")));
            }
            self.firmware = ranges;
        }
        Ok(())
    }

    /// Does a step, and sees whether it ended as it has to. Returns what is worth saying of it.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn step(&mut self, spec: &StepSpec) -> Result<String, Trouble> {
        let (heard, role) = (self.guest.tape.heard(), self.role);
        self.next_boot = spec.boot.clone();
        self.was_cold = false;
        let result = match spec.expect {
            Expect::Cold => self.cold_instead(&spec.step),
            _ => self.act(&spec.step),
        };
        let said = match (spec.expect, result) {
            (Expect::Refused, Err(Trouble::Guest(GuestError::Refused(failure)))) => {
                format!("refused: {failure}")
            }
            (Expect::Refused, Ok(said)) => return Err(Trouble::NotRefused(said)),
            (Expect::Stays, Err(Trouble::Guest(GuestError::CameBack))) => "rolled back".to_owned(),
            (Expect::Stays, Ok(said)) => return Err(Trouble::NotRefused(said)),
            (_, result) => result?,
        };
        let expected = self.expected(spec, role);
        self.guest.tell(|witness, machine| witness.ends(machine, &expected));
        match &spec.says {
            Some(says) if !said.contains(says) && !self.guest.tape.console_since(heard).contains(says) => {
                Err(Trouble::Unsaid { wanted: says.clone(), found: said })
            }
            _ => Ok(said),
        }
    }

    /// What the witness has to have seen when a step ended as it did.
    fn expected(&self, spec: &StepSpec, role: Role) -> Vec<Clause> {
        match (spec.expect, &spec.step) {
            (Expect::Well, _) if self.was_cold => Vec::new(),
            (Expect::Well, Step::Recover { by }) => match by {
                Back::Restore => witness::expected(&Step::Restore, role),
                Back::SnapshotRestore => witness::expected(&Step::SnapshotRestore, role),
                Back::Resume | Back::Derived => witness::expected(&Step::Resume, role),
            },
            (Expect::Well, step) => witness::expected(step, role),
            _ => Vec::new(),
        }
    }

    fn act(&mut self, step: &Step) -> Result<String, Trouble> {
        match step {
            Step::Check => self.check(),
            Step::Preload => self.preload(),
            Step::Jump => {
                self.depart(&Ask::Jump { image: self.saved_image() })?;
                self.guest.note(Happening::Kernel(Role::Saver));
                self.arrives(Role::Saver, ReadyWhy::Boot)?;
                Ok(String::new())
            }
            Step::Save => self.save(),
            Step::JumpBack => {
                self.depart(&Ask::JumpBack { image: self.saved_image() })?;
                self.guest.note(Happening::Kernel(Role::Primary));
                self.returns(Role::Primary)?;
                Ok(String::new())
            }
            Step::Suspend { state, wake, pm_test } => self.suspend(*state, *wake, *pm_test),
            Step::Hibernate { mode, pm_test } => self.hibernate(*mode, *pm_test),
            Step::Snapshot { then } => {
                let device = self.image().unwrap_or_default();
                self.depart(&Ask::SnapshotSave { device, then: *then })?;
                match then {
                    AfterSnapshot::PowerOff => self.goes_off()?,
                    AfterSnapshot::SuspendToRam => {
                        self.falls_asleep(SleepState::S3)?;
                        self.wakes(Wake::Button)?;
                        self.returns(self.role)?;
                    }
                }
                Ok(String::new())
            }
            Step::PowerOff => {
                self.depart(&Ask::PowerOff)?;
                self.falls_asleep(SleepState::S5)?;
                Ok(String::new())
            }
            Step::EnterS4 => {
                self.depart(&Ask::EnterS4)?;
                self.falls_asleep(SleepState::S4)?;
                Ok(String::new())
            }
            Step::Reboot => {
                self.depart(&Ask::Reboot)?;
                self.resets()?;
                Ok(String::new())
            }
            Step::Crash => {
                self.depart(&Ask::Crash)?;
                self.resets()?;
                Ok("panic, reset".into())
            }
            Step::Kexec => self.kexec(),
            Step::Restore => self.restore(),
            Step::Resume => self.resume(),
            Step::SnapshotRestore => self.snapshot_restore(),
            Step::ColdBoot => self.cold_boot(),
            Step::Recover { by } => self.recover(*by),
            step => self.request(step),
        }
    }

    /// Every workload makes progress, and none finds a difference.
    fn check(&mut self) -> Result<String, Trouble> {
        let mut first: Option<Vec<WorkloadReport>> = None;
        for _ in 0..LOOKS {
            let Answer::Workloads(reports) = self.ask(&Ask::CheckWorkloads)? else {
                return Err(unexpected("reports of workloads", "something else"));
            };
            let bad: Vec<WorkloadReport> =
                reports.iter().filter(|report| !report.differences.is_empty()).cloned().collect();
            if !bad.is_empty() {
                return Err(Trouble::Workloads(bad));
            }
            let grows = |before: &Vec<WorkloadReport>| {
                before.iter().zip(&reports).all(|(before, now)| before.progress < now.progress)
            };
            if first.as_ref().is_some_and(grows) {
                let journal = reports.iter().find(|report| report.workload == Workload::Ext4);
                self.synced = journal.map_or(0, |report| report.progress);
                return Ok(format!("{} workloads clean", reports.len()));
            }
            first.get_or_insert(reports);
            self.guest.rest(LOOK);
        }
        Err(Trouble::Workloads(first.unwrap_or_default()))
    }

    fn preload(&mut self) -> Result<String, Trouble> {
        if self.kernels.saver.is_none() {
            return Err(Trouble::Impossible("there is no saver".into()));
        }
        let scratch = Scratch::of(self.scenario, self.kernels);
        let (kernel, initrd) = scratch.saver(&self.scratch_device());
        self.epochs += 1;
        let more = &self.scenario.kernel.saver_arguments;
        let cmdline = format!("console=ttyS0 kjvm.role=B kjvm.epoch={} {more}", self.epochs * 1000);
        let (cmdline, region) = (cmdline.trim().to_owned(), SAVER_REGION);
        match self.ask(&Ask::Preload { kernel, initrd, region, cmdline })? {
            Answer::Preloaded { vmcore_bytes, .. } => Ok(format!("{} MiB to be saved", vmcore_bytes >> 20)),
            other => Err(unexpected("a preloaded saver", format!("{other:?}"))),
        }
    }

    fn save(&mut self) -> Result<String, Trouble> {
        let device = self.image().unwrap_or_default();
        let disks = (0..self.scenario.disks.len())
            .filter(|number| {
                self.scenario.disks[*number].partitions.iter().any(|partition| partition.what != Use::Image)
            })
            .map(|number| self.device(number, 0).trim_start_matches("/dev/").to_owned())
            .collect();
        match self.ask(&Ask::SaveImage { device, disks })? {
            Answer::Saved { pages, stored, .. } => {
                Ok(format!("image of A: {} MiB, {} MiB not zero", pages >> 8, stored >> 8))
            }
            other => Err(unexpected("a saved image", format!("{other:?}"))),
        }
    }

    fn suspend(
        &mut self,
        state: SuspendState,
        wake: Wake,
        pm_test: Option<PmTest>,
    ) -> Result<String, Trouble> {
        // A test turns back by itself.
        if let (Wake::Alarm { seconds }, None) = (wake, pm_test) {
            self.ask(&Ask::SetAlarm { seconds })?;
            self.guest.tell(|witness, machine| witness.alarm_is_set(machine, seconds));
        }
        self.depart(&Ask::Suspend { state, pm_test })?;
        match (state, pm_test) {
            (_, Some(_)) => {}
            (SuspendState::Freeze, None) => {
                if wake == Wake::Button {
                    self.guest.rest(SECOND);
                    self.guest.machine.press_power_button(&mut self.guest.tape);
                }
            }
            (SuspendState::Mem, None) => {
                self.falls_asleep(SleepState::S3)?;
                self.wakes(wake)?;
            }
        }
        self.returns(self.role)?;
        Ok(String::new())
    }

    fn hibernate(&mut self, mode: HibernateMode, pm_test: Option<PmTest>) -> Result<String, Trouble> {
        if mode == HibernateMode::Suspend && pm_test.is_none() {
            self.ask(&Ask::SetAlarm { seconds: 30 })?;
            self.guest.tell(|witness, machine| witness.alarm_is_set(machine, 30));
        }
        self.depart(&Ask::Hibernate { mode, pm_test })?;
        match mode {
            _ if pm_test.is_some() => self.returns(Role::Primary)?,
            HibernateMode::Platform => self.falls_asleep(SleepState::S4)?,
            HibernateMode::Shutdown => self.falls_asleep(SleepState::S5)?,
            HibernateMode::Reboot => self.resets()?,
            HibernateMode::Suspend => {
                self.falls_asleep(SleepState::S3)?;
                self.wakes(Wake::Alarm { seconds: 30 })?;
                self.returns(Role::Primary)?;
            }
            HibernateMode::TestResume => self.returns(Role::Primary)?,
        }
        Ok(mode.name().to_owned())
    }

    /// The machine, which sleeps, wakes: by what a trigger said, or else by this.
    fn wakes(&mut self, wake: Wake) -> Result<(), Trouble> {
        match (self.guest.take_wake(), wake) {
            (Some(Deed::Button), _) | (None, Wake::Button) => {
                self.guest.machine.wake_by_button(SECOND, &mut self.guest.tape)?
            }
            (Some(_), _) | (None, Wake::Host) => {
                self.guest.machine.wake_by_host(SECOND, &mut self.guest.tape)?
            }
            (None, Wake::Alarm { .. }) => self.guest.machine.sleep_until_wake(&mut self.guest.tape)?,
        };
        self.guest.tell(|witness, machine| witness.wakes(machine));
        Ok(())
    }

    /// What Linux calls a partition (from 1; 0 is the disk) of a disk of the scenario.
    pub fn device(&self, number: usize, partition: u32) -> String {
        let front_end = self.scenario.disks.get(number).map_or(FrontEnd::Virtio, |disk| disk.front_end);
        let before = self.scenario.disks.iter().take(number);
        let among = before.filter(|disk| disk.front_end == front_end).count();
        DiskSpec::device(front_end, among, partition)
    }

    fn named(&self, what: Use) -> Option<String> {
        self.scenario.partition(what).map(|(disk, partition)| self.device(disk, partition))
    }

    fn image(&self) -> Option<String> {
        self.named(Use::Image)
    }

    /// Where B puts the image, if the scenario lets it save one.
    fn saved_image(&self) -> Option<String> {
        let saves = self.scenario.steps.iter().any(|step| step.step == Step::Save);
        self.image().filter(|_| saves)
    }

    fn ask(&mut self, ask: &Ask) -> Result<Answer, Trouble> {
        Ok(self.guest.ask(ask, PATIENCE)?)
    }

    fn depart(&mut self, ask: &Ask) -> Result<(), Trouble> {
        Ok(self.guest.depart(ask, PATIENCE)?)
    }

    fn arrives(&mut self, role: Role, why: ReadyWhy) -> Result<(), Trouble> {
        let ready = self.guest.wait_ready(PATIENCE)?;
        if (ready.session.role, ready.why) != (role, why) {
            let found = format!("{} after {:?}", ready.session.role, ready.why);
            return Err(unexpected(format!("{role} after {why:?}"), found));
        }
        self.role = role;
        Ok(())
    }

    /// The kernel that went is back, and says that all went well.
    fn returns(&mut self, role: Role) -> Result<(), Trouble> {
        let ready = self.guest.wait_ready(PATIENCE)?;
        let well = matches!(ready.outcome, Some(ref outcome) if outcome.result.is_ok());
        if let (true, Some(Outcome { result: Err(failure), .. })) =
            ((ready.session.role, ready.why) == (role, ReadyWhy::Return), &ready.outcome)
        {
            self.role = role;
            return Err(GuestError::Refused(failure.clone()).into());
        }
        if ready.session.role != role || ready.why != ReadyWhy::Return || !well {
            let found = format!("{} after {:?}, {:?}", ready.session.role, ready.why, ready.outcome);
            return Err(unexpected(format!("{role} to come back"), found));
        }
        self.role = role;
        Ok(())
    }

    fn falls_asleep(&mut self, state: SleepState) -> Result<(), Trouble> {
        match self.guest.run_to_power_request(PATIENCE)? {
            PowerRequest::Sleep { slp_typ } if SleepState::of_slp_typ(slp_typ) == Some(state) => Ok(()),
            other => Err(unexpected(format!("{state:?}"), format!("{other:?}"))),
        }
    }

    fn goes_off(&mut self) -> Result<(), Trouble> {
        match self.guest.run_to_power_request(PATIENCE)? {
            PowerRequest::Sleep { slp_typ }
                if matches!(SleepState::of_slp_typ(slp_typ), Some(SleepState::S4 | SleepState::S5)) =>
            {
                Ok(())
            }
            other => Err(unexpected("S4 or S5", format!("{other:?}"))),
        }
    }

    fn resets(&mut self) -> Result<(), Trouble> {
        match self.guest.run_to_power_request(PATIENCE)? {
            PowerRequest::Reset => {
                self.guest.tell(Witness::power_goes);
                self.guest.machine.reset_line(&mut self.guest.tape)?;
                self.guest.power_lost();
                self.boots += 1;
                self.was_reset = true;
                Ok(())
            }
            other => Err(unexpected("a reset", format!("{other:?}"))),
        }
    }
}

fn impossible(error: impl ToString) -> Trouble {
    Trouble::Impossible(error.to_string())
}

fn unexpected(expected: impl Into<String>, found: impl Into<String>) -> Trouble {
    Trouble::Unexpected { expected: expected.into(), found: found.into() }
}

/// As a machine is built that this kernel boots on.
fn config_of(spec: &MachineSpec, primary: &Loaded) -> Config {
    let mut config = spec.config.clone();
    if !spec.sized {
        config.memory = if primary.has_modules() { STOCK_MEMORY } else { MEMORY };
    }
    config
}
