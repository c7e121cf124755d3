//! The steps in which a kernel sleeps by its own means.

use std::time::{Duration, Instant};

use agent_protocol::message::{AfterSnapshot, Ask, HibernateMode, PmTest, ReadyWhy, Role, SuspendState};

use crate::error::RunError;
use crate::machine::Machine;

/// RTC alarms are in whole seconds; the machine has to be asleep by then, also on a busy host.
const ALARM_SECONDS: u32 = 4;
/// The longest until QEMU tells of a sleep or a wake; an image may have to be written first.
pub(crate) const SLEEP_EVENT: Duration = Duration::from_secs(60);

/// How a sleeping machine is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// By the RTC alarm the guest set.
    Alarm,
    /// By the host.
    Host,
}

impl Machine {
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
            self.depart(&Ask::Resume { device: self.device(2), offset: 0 })?;
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
}
