//! The steps runs are made of.

use std::time::{Duration, Instant};

use agent_protocol::layout::SAVER_REGION;
use agent_protocol::message::{
    AfterSnapshot, Answer, Ask, HibernateMode, PmTest, ReadyWhy, Role, SuspendState, Workload,
};

use crate::machine::{Machine, RunError};

/// Where A's file system is mounted.
pub const MOUNT: &str = "/data";
/// Of every pattern the workloads write.
pub const SEED: u64 = 0x6b6a_766d;
/// What the memory and the swap workload hold, each, in KiB.
const HOLD_KIB: u32 = 4096;
/// RTC alarms are in whole seconds; the machine has to be asleep by then, also on a busy host.
const ALARM_SECONDS: u32 = 4;
const SLEEP_EVENT: Duration = Duration::from_secs(30);

/// How a sleeping machine is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// By the RTC alarm the guest set.
    Alarm,
    /// By the host.
    Host,
}

impl Machine {
    /// Cold boot of A on blank disks: partitions, ext4, swap, all workloads.
    ///
    /// # Errors
    /// [`RunError`], as of every step.
    pub fn start_primary(&mut self) -> Result<(), RunError> {
        self.power_on(Role::Primary, ReadyWhy::Boot)?;
        let begun = Instant::now();
        let [disk, ext4, swap] = [0, 1, 2].map(|partition| self.device(partition));
        let partitions = self.disk.layout().partitions();
        self.read_memory_map()?;
        self.ask(&Ask::Partition { disk, partitions })?;
        self.ask(&Ask::MakeExt4 { device: ext4.clone(), arguments: Vec::new() })?;
        self.mount(ext4)?;
        self.ask(&Ask::MakeSwap { device: swap.clone() })?;
        self.ask(&Ask::SwapOn { device: swap, priority: None })?;
        self.start_workloads()?;
        self.note(Role::Primary, "ext4, swap, workloads started", begun);
        self.check_workloads()
    }

    fn mount(&mut self, device: String) -> Result<(), RunError> {
        let (at, fstype) = (MOUNT.to_owned(), "ext4".to_owned());
        self.ask(&Ask::Mount { device, at, fstype, options: String::new() })?;
        Ok(())
    }

    fn start_workloads(&mut self) -> Result<(), RunError> {
        let (workloads, directory) = (Workload::ALL.to_vec(), MOUNT.to_owned());
        self.ask(&Ask::StartWorkloads { workloads, directory, kib: HOLD_KIB, seed: SEED })?;
        self.progress.clear();
        Ok(())
    }

    fn read_memory_map(&mut self) -> Result<(), RunError> {
        let mut map = Vec::new();
        loop {
            let skip = u32::try_from(map.len()).unwrap_or(u32::MAX);
            match self.ask(&Ask::MemoryMap { skip })? {
                Answer::MemoryMap { total, ranges } => {
                    let got = ranges.len();
                    map.extend(ranges);
                    if map.len() >= total as usize || got == 0 {
                        self.firmware = map;
                        return Ok(());
                    }
                }
                other => return Err(RunError::Check(format!("not a memory map: {other:?}"))),
            }
        }
    }

    /// A loads the saver.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn preload(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        let ask = self.preload_ask()?;
        match self.ask(&ask)? {
            Answer::Preloaded { swapped_bytes, vmcore_bytes, .. } => {
                let reserved = self.setup.reserve_region;
                if reserved != (swapped_bytes < SAVER_REGION.len) {
                    return Err(RunError::Check(format!(
                        "region reserved: {reserved}, but {swapped_bytes} bytes will be swapped"
                    )));
                }
                let text = format!(
                    "preload saver ({} KiB to be swapped, {} MiB to be saved)",
                    swapped_bytes >> 10,
                    vmcore_bytes >> 20
                );
                self.note(Role::Primary, &text, begun);
                Ok(())
            }
            other => Err(RunError::Check(format!("not preloaded: {other:?}"))),
        }
    }

    /// The request of [`Machine::preload`].
    ///
    /// # Errors
    /// [`RunError::Needs`].
    pub fn preload_ask(&mut self) -> Result<Ask, RunError> {
        let saver = self.scratch().saver(&self.scratch_device());
        let (kernel, initrd) = saver.ok_or(RunError::Needs("a saver kernel"))?;
        Ok(Ask::Preload { kernel, initrd, region: SAVER_REGION, cmdline: self.cmdline(Role::Saver) })
    }

    /// A jumps into the saver it preloaded, which boots.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn jump(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        self.depart(&Ask::Jump { image: Some(self.device(3)) })?;
        let ready = self.arrive(Role::Saver, ReadyWhy::Boot)?;
        let own = Duration::from_millis(ready.boottime_ms).as_secs_f64();
        self.note(Role::Saver, &format!("quiesce, jump, saver ready ({own:.2} s of its own)"), begun);
        self.before_saver = Some(self.disk.outside_image()?);
        Ok(())
    }

    /// A jumps into the kernel that stayed in memory since A was entered from it: B after a jump back.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn jump_to_resident(&mut self, role: Role) -> Result<(), RunError> {
        let begun = Instant::now();
        self.depart(&Ask::Jump { image: Some(self.device(3)) })?;
        self.arrive(role, ReadyWhy::Return)?;
        self.note(role, "entered again", begun);
        self.before_saver = Some(self.disk.outside_image()?);
        Ok(())
    }

    /// B saves the image of A.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn save(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        match self.ask(&self.save_ask())? {
            Answer::Saved { pages, stored, flushed, .. } => {
                let disk = self.device(0).trim_start_matches("/dev/").to_owned();
                if !flushed.contains(&disk) {
                    return Err(RunError::Check(format!("{disk} was not flushed, only {flushed:?}")));
                }
                let text = format!("image of A: {} MiB, {} MiB not zero", pages >> 8, stored >> 8);
                self.note(Role::Saver, &text, begun);
                self.expect_image("valid")
            }
            other => Err(RunError::Check(format!("not saved: {other:?}"))),
        }
    }

    /// The request of [`Machine::save`].
    pub fn save_ask(&self) -> Ask {
        let disk = self.device(0).trim_start_matches("/dev/").to_owned();
        Ask::SaveImage { device: self.device(3), disks: vec![disk] }
    }

    /// B goes back to A.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn jump_back(&mut self) -> Result<(), RunError> {
        self.expect_only_image_written("B before it jumps back")?;
        let begun = Instant::now();
        self.depart(&Ask::JumpBack { image: Some(self.device(3)) })?;
        self.arrive(Role::Primary, ReadyWhy::Return)?;
        self.note(Role::Primary, "continues", begun);
        Ok(())
    }

    /// The kernel in this role sleeps in S3 until it is woken.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn suspend_to_ram(&mut self, role: Role, wake: Wake) -> Result<(), RunError> {
        let begun = Instant::now();
        if wake == Wake::Alarm {
            self.ask(&Ask::SetAlarm { seconds: ALARM_SECONDS })?;
        }
        self.fall_asleep()?;
        if wake == Wake::Host {
            self.qemu()?.wake()?;
        }
        self.qemu()?.wait_event("WAKEUP", SLEEP_EVENT)?;
        self.arrive(role, ReadyWhy::Return)?;
        self.note(role, &format!("suspend to RAM, wake by {wake:?}"), begun);
        Ok(())
    }

    /// The kernel that listens enters S3.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn fall_asleep(&mut self) -> Result<(), RunError> {
        self.depart(&Ask::Suspend { state: SuspendState::Mem, pm_test: None })?;
        Ok(self.qemu()?.wait_event("SUSPEND", SLEEP_EVENT)?)
    }

    /// The kernel that listens idles (s2idle) until the power button wakes it. QEMU does not wake s2idle by the RTC alarm:
    /// it does not raise the ACPI RTC event while the machine is in S0.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn suspend_to_idle(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        self.depart(&Ask::Suspend { state: SuspendState::Freeze, pm_test: None })?;
        // Nothing outside tells that it sleeps: the button waits until it surely does, and a second press wakes a late one.
        let mut presses = 0;
        loop {
            std::thread::sleep(Duration::from_secs(3));
            presses += 1;
            self.qemu()?.power_button()?;
            match self.link()?.wait_ready(Duration::from_secs(8)) {
                Ok(ready) => {
                    self.expect_returned(&ready, Role::Primary)?;
                    break;
                }
                Err(error) if presses >= 4 => return Err(error.into()),
                Err(_) => {}
            }
        }
        self.note(Role::Primary, "s2idle, wake by power button", begun);
        Ok(())
    }

    /// Turns back from a transition at a test level.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn test_level(&mut self, level: PmTest, disk: bool) -> Result<(), RunError> {
        let begun = Instant::now();
        let pm_test = Some(level);
        self.depart(&if disk {
            Ask::Hibernate { mode: HibernateMode::Platform, pm_test }
        } else {
            Ask::Suspend { state: SuspendState::Mem, pm_test }
        })?;
        self.arrive(Role::Primary, ReadyWhy::Return)?;
        let target = if disk { "disk" } else { "mem" };
        self.note(Role::Primary, &format!("pm_test {} for {target}", level.name()), begun);
        Ok(())
    }

    /// The kernel that listens powers the machine off in order.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn power_off(&mut self, role: Role) -> Result<(), RunError> {
        let begun = Instant::now();
        self.depart(&Ask::PowerOff)?;
        self.wait_off()?;
        self.note(role, "power off", begun);
        Ok(())
    }

    /// B enters S4 through /dev/snapshot.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn enter_s4(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        self.depart(&Ask::EnterS4)?;
        self.qemu()?.wait_event("SUSPEND_DISK", SLEEP_EVENT)?;
        self.wait_off()?;
        self.note(Role::Saver, "S4", begun);
        Ok(())
    }

    /// Cold boot of C, which restores A.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn cold_restore(&mut self) -> Result<(), RunError> {
        self.expect_only_image_written("B until the power was off")?;
        self.power_on(Role::Restorer, ReadyWhy::Boot)?;
        let begun = Instant::now();
        self.depart(&Ask::RestoreImage { device: self.device(3) })?;
        self.arrive(Role::Primary, ReadyWhy::Return)?;
        self.expect_image("consumed")?;
        self.note(Role::Primary, "image consumed, jump to A, A continues", begun);
        Ok(())
    }

    /// A hibernates by its own means; returns when it continues, wherever that is.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn hibernate(&mut self, mode: HibernateMode) -> Result<(), RunError> {
        let begun = Instant::now();
        self.depart(&Ask::Hibernate { mode, pm_test: None })?;
        match mode {
            HibernateMode::Platform => self.qemu()?.wait_event("SUSPEND_DISK", SLEEP_EVENT)?,
            HibernateMode::Suspend => {
                self.qemu()?.wait_event("SUSPEND", SLEEP_EVENT)?;
                self.note(Role::Primary, "image written, in S3", begun);
                return Ok(());
            }
            HibernateMode::TestResume => {
                self.arrive(Role::Primary, ReadyWhy::Return)?;
                self.note(Role::Primary, "image written and loaded at once", begun);
                return Ok(());
            }
            HibernateMode::Shutdown | HibernateMode::Reboot => {}
        }
        self.wait_off()?;
        self.note(Role::Primary, &format!("hibernate: {}", mode.name()), begun);
        Ok(())
    }

    /// Cold boot of the same kernel, which finds A's image in swap and becomes A.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn resume_from_swap(&mut self) -> Result<(), RunError> {
        if self.setup.kernels.saver.is_some() {
            // Drivers are built in: the kernel resumes before there is any agent.
            self.power_on(Role::Primary, ReadyWhy::Return)?;
        } else {
            self.power_on(Role::Primary, ReadyWhy::Boot)?;
            let begun = Instant::now();
            self.depart(&Ask::Resume { device: self.device(2) })?;
            self.arrive(Role::Primary, ReadyWhy::Return)?;
            self.note(Role::Primary, "resume asked for after the modules were loaded", begun);
        }
        Ok(())
    }

    /// A hibernates through /dev/snapshot.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn snapshot_save(&mut self, then: AfterSnapshot) -> Result<(), RunError> {
        let begun = Instant::now();
        self.depart(&Ask::SnapshotSave { device: self.device(3), then })?;
        match then {
            AfterSnapshot::PowerOff => self.wait_off()?,
            AfterSnapshot::SuspendToRam => self.qemu()?.wait_event("SUSPEND", SLEEP_EVENT)?,
        }
        self.expect_image("valid")?;
        self.note(Role::Primary, "image through /dev/snapshot", begun);
        Ok(())
    }

    /// Cold boot of the same kernel, which restores A through /dev/snapshot.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn snapshot_restore(&mut self) -> Result<(), RunError> {
        self.power_on(Role::Primary, ReadyWhy::Boot)?;
        let begun = Instant::now();
        self.depart(&Ask::SnapshotRestore { device: self.device(3) })?;
        self.arrive(Role::Primary, ReadyWhy::Return)?;
        self.expect_image("consumed")?;
        self.note(Role::Primary, "restored through /dev/snapshot", begun);
        Ok(())
    }

    /// A executes a fresh copy of its own kernel, without a sleep.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn plain_kexec(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        let (kernel, initrd) = self.scratch().primary(&self.scratch_device());
        let cmdline = self.cmdline(Role::Primary);
        self.depart(&Ask::Kexec { kernel, initrd, cmdline })?;
        self.arrive(Role::Primary, ReadyWhy::Boot)?;
        self.note(Role::Primary, "plain kexec, ready", begun);
        Ok(())
    }

    /// A panics; the machine resets.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn crash(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        self.depart(&Ask::Crash)?;
        self.wait_off()?;
        self.note(Role::Primary, "panic, reset", begun);
        Ok(())
    }

    /// A, after another boot: its file system and its swap are taken up again, with new workloads.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn take_up_disk(&mut self) -> Result<(), RunError> {
        let [ext4, swap] = [1, 2].map(|partition| self.device(partition));
        self.mount(ext4)?;
        self.ask(&Ask::SwapOn { device: swap, priority: None })?;
        self.start_workloads()?;
        self.check_workloads()
    }
}
