//! A scenario's machine, and how each step is done.

use std::sync::Arc;

use agent_protocol::layout::{MemoryRange, SAVER_REGION, primary_arguments, restorer_arguments};
use agent_protocol::message::{
    AfterSnapshot, Answer, Ask, Bulk, HibernateMode, Partition, PartitionKind, PmTest, ReadyWhy, Role,
    SuspendState, Workload, WorkloadReport,
};
use devices::PowerRequest;
use devices::acpi_pm::SleepState;
use devices::disk::{Disk, DiskConfig, Media, MemoryBase};
use firmware::boot::Payload;
use thiserror::Error;
use vmm::{Drive, FrontEnd, Machine, MachineError, WakeError};

use crate::checks::record::places;
use crate::guest::{Guest, GuestError};
use crate::history::Happening;
use crate::kernels::Loaded;
use crate::language::{DiskSpec, Scenario, Step, Use, Wake};
use crate::witness::{self, Witness};

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
/// Sessions that were before a boot after a cut, as far as that boot is told: more than a scenario has.
const EPOCH_AFTER_CUT: u32 = 1000;
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
    /// Cuts of the scenario that are watched for, in the order of the triggers.
    pub cuts: Vec<usize>,
    /// How long the power is to stay off, in nanoseconds, if something said so.
    pub off: Option<u64>,
    /// The reset line was pulled, and nothing has booted since.
    pub was_reset: bool,
    scenario: &'a Scenario,
    primary: &'a Loaded,
    saver: Option<&'a Loaded>,
    /// The machine's memory as firmware described it to A.
    firmware: Vec<MemoryRange>,
    /// Sessions begun, from which epochs are made.
    epochs: u32,
}

impl<'a> Lab<'a> {
    /// A machine whose power came on, with blank disks.
    ///
    /// # Errors
    /// [`Trouble::Machine`].
    pub fn new(
        scenario: &'a Scenario,
        primary: &'a Loaded,
        saver: Option<&'a Loaded>,
    ) -> Result<Self, Trouble> {
        let mut drives = Vec::new();
        for (spec, id) in scenario.disks.iter().zip(0u8..) {
            let media = Media::blank(spec.size).map_err(impossible)?;
            let config =
                DiskConfig { id, serial: Some(spec.name.clone()), log: true, ..DiskConfig::default() };
            drives.push(Drive {
                front_end: spec.front_end,
                disk: Disk::new(config, media).map_err(impossible)?,
            });
        }
        if let Some(saver) = saver {
            let media = Media::over(Arc::new(MemoryBase(scratch(saver).1))).map_err(impossible)?;
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
        let spec = &scenario.machine;
        let mut config = spec.config.clone();
        if !spec.sized {
            config.memory = if primary.has_modules() { STOCK_MEMORY } else { MEMORY };
        }
        let mut guest = Guest::new(Machine::new(config, drives)?);
        let withheld = saver.map(|_| SAVER_REGION.start..SAVER_REGION.start + SAVER_REGION.len);
        let [swap, ours] = [Use::Swap, Use::Image].map(|what| places(scenario, what));
        guest.witness = Some(Witness::new(&primary.kernel.bytes, &guest.machine, withheld, swap, ours));
        let firmware = Vec::new();
        let (boots, role, synced, cuts, off, was_reset) = (1, Role::Primary, 0, Vec::new(), None, false);
        Ok(Self {
            guest,
            boots,
            role,
            synced,
            cuts,
            off,
            was_reset,
            scenario,
            primary,
            saver,
            firmware,
            epochs: 0,
        })
    }

    /// A machine in which A is about to boot from these disks: a function of scenario, kernels and contents, and of nothing that was before.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn after_cut(
        scenario: &'a Scenario,
        primary: &'a Loaded,
        saver: Option<&'a Loaded>,
        contents: &[Media],
    ) -> Result<Machine, Trouble> {
        let mut lab = Self::new(scenario, primary, saver)?;
        for (disk, media) in lab.guest.machine.board_mut().pci.disks_mut().zip(contents) {
            disk.power_on(media.clone());
        }
        lab.epochs = EPOCH_AFTER_CUT;
        lab.boot(Role::Primary)?;
        Ok(lab.guest.machine)
    }

    /// A boots, makes its file systems and swap, and its workloads run.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn start(&mut self) -> Result<(), Trouble> {
        self.boot(Role::Primary)?;
        self.arrives(Role::Primary, ReadyWhy::Boot)?;
        self.guest.tell(Witness::begins_anew);
        let mut directory = None;
        for number in 0..self.scenario.disks.len() {
            let disk = self.device(number, 0);
            let spec = &self.scenario.disks[number];
            if spec.partitions.is_empty() {
                continue;
            }
            let partitions = spec.partitions.iter().map(|partition| Partition {
                mib: partition.mib,
                kind: match partition.what {
                    Use::Ext4 => PartitionKind::Linux,
                    Use::Swap => PartitionKind::Swap,
                    Use::Image => PartitionKind::Image,
                },
            });
            self.ask(&Ask::Partition { disk, partitions: partitions.collect() })?;
            for (partition, at) in spec.partitions.iter().zip(1..) {
                let device = self.device(number, at);
                match partition.what {
                    Use::Ext4 => {
                        let mount = format!(
                            "/data{}",
                            directory.as_ref().map_or(String::new(), |_| format!("{number}-{at}"))
                        );
                        self.ask(&Ask::MakeExt4 { device: device.clone(), arguments: Vec::new() })?;
                        let (fstype, options) = ("ext4".into(), String::new());
                        self.ask(&Ask::Mount { device, at: mount.clone(), fstype, options })?;
                        directory.get_or_insert(mount);
                    }
                    Use::Swap => {
                        self.ask(&Ask::MakeSwap { device: device.clone() })?;
                        self.ask(&Ask::SwapOn { device, priority: None })?;
                    }
                    Use::Image => {}
                }
            }
        }
        let workloads = self.workloads(directory.is_some());
        if !workloads.is_empty() {
            let directory = directory.unwrap_or_else(|| "/".into());
            let (kib, seed) = (WORKLOAD_KIB, WORKLOAD_SEED);
            self.ask(&Ask::StartWorkloads { workloads, directory, kib, seed })?;
        }
        if self.saver.is_some() {
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

    /// Those workloads that this machine has a place for.
    fn workloads(&self, has_ext4: bool) -> Vec<Workload> {
        let has_swap = self.scenario.partition(Use::Swap).is_some();
        let can = |workload: &Workload| match workload {
            Workload::Ext4 => has_ext4,
            Workload::Swap => has_swap,
            _ => true,
        };
        self.scenario.workloads.iter().copied().filter(can).collect()
    }

    /// Does a step. Returns what is worth saying of it.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn step(&mut self, step: &Step) -> Result<String, Trouble> {
        let expected = witness::expected(step, self.role);
        let done = self.do_step(step)?;
        self.guest.tell(|witness, machine| witness.ends(machine, &expected));
        Ok(done)
    }

    fn do_step(&mut self, step: &Step) -> Result<String, Trouble> {
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
                        self.guest.machine.wake_by_button(SECOND, &mut self.guest.tape)?;
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
            Step::Restore => {
                self.boot(Role::Restorer)?;
                self.arrives(Role::Restorer, ReadyWhy::Boot)?;
                let device = self.image().unwrap_or_default();
                self.depart(&Ask::RestoreImage { device })?;
                self.guest.note(Happening::Kernel(Role::Primary));
                self.returns(Role::Primary)?;
                Ok("image consumed, A continues".into())
            }
            Step::Resume => {
                self.boot(Role::Primary)?;
                if self.primary.has_modules() {
                    self.arrives(Role::Primary, ReadyWhy::Boot)?;
                    let device = self.named(Use::Swap).unwrap_or_default();
                    self.depart(&Ask::Resume { device, offset: 0 })?;
                }
                self.returns(Role::Primary)?;
                Ok("image consumed, A continues".into())
            }
            Step::SnapshotRestore => {
                self.boot(Role::Primary)?;
                self.arrives(Role::Primary, ReadyWhy::Boot)?;
                let device = self.image().unwrap_or_default();
                self.depart(&Ask::SnapshotRestore { device })?;
                self.returns(Role::Primary)?;
                Ok("image consumed, A continues".into())
            }
            Step::ColdBoot => {
                self.boot(Role::Primary)?;
                self.arrives(Role::Primary, ReadyWhy::Boot)?;
                self.guest.tell(Witness::begins_anew);
                Ok("no session".into())
            }
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
        let Some(saver) = self.saver else { return Err(Trouble::Impossible("there is no saver".into())) };
        let ([kernel, initrd], _) = scratch(saver);
        // Behind the disks of the scenario.
        let others = self.scenario.disks.iter().filter(|disk| disk.front_end == FrontEnd::Virtio).count();
        let device = DiskSpec::device(FrontEnd::Virtio, others, 0);
        let bulk = |stretch: Stretch| Bulk::Scratch {
            device: device.clone(),
            offset: stretch.offset,
            len: stretch.len,
            crc32: Some(stretch.crc32),
        };
        self.epochs += 1;
        let cmdline = format!("console=ttyS0 kjvm.role=B kjvm.epoch={}", self.epochs * 1000);
        let (kernel, initrd, region) = (bulk(kernel), bulk(initrd), SAVER_REGION);
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
        if let Wake::Alarm { seconds } = wake {
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
                match wake {
                    Wake::Alarm { .. } => self.guest.machine.sleep_until_wake(&mut self.guest.tape)?,
                    Wake::Button => self.guest.machine.wake_by_button(SECOND, &mut self.guest.tape)?,
                };
                self.guest.tell(|witness, machine| witness.wakes(machine));
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
                self.guest.machine.sleep_until_wake(&mut self.guest.tape)?;
                self.guest.tell(|witness, machine| witness.wakes(machine));
                self.returns(Role::Primary)?;
            }
            HibernateMode::TestResume => self.returns(Role::Primary)?,
        }
        Ok(mode.name().to_owned())
    }

    /// Boots a kernel; the machine was off, or its reset line was pulled.
    fn boot(&mut self, role: Role) -> Result<(), Trouble> {
        self.epochs += 1;
        let epoch = self.epochs * 1000;
        let (loaded, command_line) = match (role, self.saver) {
            (Role::Primary, saver) => {
                let mut line =
                    "console=ttyS0 panic=-1 oops=panic random.trust_cpu=on suspend.pm_test_delay=1"
                        .to_owned();
                if let Some(swap) = self.named(Use::Swap) {
                    line += &format!(" resume={swap}");
                }
                if saver.is_some() {
                    line += &format!(" {}", primary_arguments(SAVER_REGION));
                }
                (
                    self.primary,
                    format!("{line} kjvm.role=A kjvm.epoch={epoch} {}", self.scenario.kernel.arguments),
                )
            }
            (_, Some(saver)) => {
                let arguments = restorer_arguments(&self.firmware, SAVER_REGION);
                (saver, format!("console=ttyS0 kjvm.role=C kjvm.epoch={epoch} {arguments}"))
            }
            (_, None) => return Err(Trouble::Impossible("there is no saver".into())),
        };
        let payload = Payload {
            kernel: &loaded.kernel.bytes,
            initrd: Some(&loaded.initrd),
            command_line: command_line.trim(),
        };
        self.guest.note(Happening::Kernel(role));
        self.guest.machine.boot(loaded.kernel.entry, &payload)?;
        self.guest.tell(Witness::boots);
        self.role = role;
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

/// A part of the scratch disk.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    offset: u64,
    len: u64,
    crc32: u32,
}

/// The saver's kernel and initramfs, as they lie on the scratch disk.
fn scratch(saver: &Loaded) -> ([Stretch; 2], Vec<u8>) {
    let mut bytes = Vec::new();
    let stretches = [&saver.bzimage, &saver.initrd].map(|file| {
        let (offset, len, crc32) = (bytes.len() as u64, file.len() as u64, crc32fast::hash(file));
        bytes.extend_from_slice(file);
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        Stretch { offset, len, crc32 }
    });
    (stretches, bytes)
}
