//! What scenarios can ask of a kernel, and what builds on what.

use serde::{Deserialize, Serialize};

use super::kconfig::{KernelConfig, Setting};
use super::needs;

/// How a setting must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Built in.
    Yes(&'static str),
    /// Built in, or as a module of this name, which the agent loads.
    Loadable(&'static str, &'static str),
    /// Not set.
    Off(&'static str),
    /// A number, at least this.
    AtLeast(&'static str, u64),
}

/// A setting, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// How it must be.
    pub want: Want,
    /// What for.
    pub why: &'static str,
}

/// What a scenario can ask of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ability {
    /// Our agent runs as its PID 1.
    Agent,
    /// It drives virtio-blk on PCI.
    VirtioBlk,
    /// It drives NVMe.
    Nvme,
    /// It drives SATA disks through AHCI.
    Ahci,
    /// It mounts ext4.
    Ext4,
    /// Every workload runs.
    Workloads,
    /// An RTC alarm can wake it.
    Alarm,
    /// Suspend to idle.
    S2idle,
    /// Suspend to RAM.
    S3,
    /// swsusp, ending in power-off.
    HibernateShutdown,
    /// swsusp, ending in a reboot.
    HibernateReboot,
    /// swsusp, ending in ACPI S4.
    HibernatePlatform,
    /// swsusp and then S3: hybrid sleep.
    HibernateSuspend,
    /// swsusp that loads its image at once.
    HibernateTestResume,
    /// Hibernation by user space, through /dev/snapshot.
    Uswsusp,
    /// The pm_test levels.
    PmTest,
    /// Plain kexec.
    Kexec,
    /// The kexec jump as A: preload a saver, jump, come back.
    KexecJumpPrimary,
    /// The kexec jump as B: save A's memory, sleep, jump back.
    KexecJumpSaver,
    /// The kexec jump as C: load the image after a cold boot, jump to A.
    KexecJumpRestorer,
}

use Ability as A;

const DISKS: &[Ability] = &[A::VirtioBlk, A::Nvme, A::Ahci];

impl Ability {
    /// All, each after those it builds on.
    pub const ALL: [Ability; 20] = [
        A::Agent,
        A::VirtioBlk,
        A::Nvme,
        A::Ahci,
        A::Ext4,
        A::Workloads,
        A::Alarm,
        A::S2idle,
        A::S3,
        A::HibernateShutdown,
        A::HibernateReboot,
        A::HibernatePlatform,
        A::HibernateSuspend,
        A::HibernateTestResume,
        A::Uswsusp,
        A::PmTest,
        A::Kexec,
        A::KexecJumpPrimary,
        A::KexecJumpSaver,
        A::KexecJumpRestorer,
    ];

    /// Its name in scenarios, reports and JSON.
    pub fn name(self) -> &'static str {
        match self {
            A::Agent => "agent",
            A::VirtioBlk => "virtio-blk",
            A::Nvme => "nvme",
            A::Ahci => "ahci",
            A::Ext4 => "ext4",
            A::Workloads => "workloads",
            A::Alarm => "alarm",
            A::S2idle => "s2idle",
            A::S3 => "s3",
            A::HibernateShutdown => "hibernate-shutdown",
            A::HibernateReboot => "hibernate-reboot",
            A::HibernatePlatform => "hibernate-platform",
            A::HibernateSuspend => "hibernate-suspend",
            A::HibernateTestResume => "hibernate-test-resume",
            A::Uswsusp => "uswsusp",
            A::PmTest => "pm-test",
            A::Kexec => "kexec",
            A::KexecJumpPrimary => "kexec-jump-primary",
            A::KexecJumpSaver => "kexec-jump-saver",
            A::KexecJumpRestorer => "kexec-jump-restorer",
        }
    }

    /// What it needs of the configuration itself.
    pub fn needs(self) -> &'static [Need] {
        match self {
            A::Agent => needs::AGENT,
            A::VirtioBlk => needs::VIRTIO_BLK,
            A::Nvme => needs::NVME,
            A::Ahci => needs::AHCI,
            A::Ext4 => needs::EXT4,
            A::Workloads => needs::WORKLOADS,
            A::Alarm => needs::ALARM,
            A::S2idle => needs::S2IDLE,
            A::S3 => needs::S3,
            A::HibernateShutdown | A::HibernateReboot | A::HibernateTestResume => needs::HIBERNATION,
            A::HibernatePlatform | A::HibernateSuspend => needs::WITH_ACPI,
            A::Uswsusp => needs::USWSUSP,
            A::PmTest => needs::PM_TEST,
            A::Kexec => needs::KEXEC,
            A::KexecJumpPrimary => needs::KEXEC_JUMP_PRIMARY,
            A::KexecJumpSaver => needs::KEXEC_JUMP_SAVER,
            A::KexecJumpRestorer => needs::KEXEC_JUMP_RESTORER,
        }
    }

    /// The abilities it builds on; they stand before it in [`Ability::ALL`].
    pub fn builds_on(self) -> &'static [Ability] {
        match self {
            A::Agent => &[],
            A::VirtioBlk | A::Nvme | A::Ahci | A::Ext4 | A::Alarm | A::PmTest | A::Kexec | A::Uswsusp => {
                &[A::Agent]
            }
            A::Workloads => &[A::Agent, A::Ext4],
            A::S2idle | A::S3 => &[A::Agent, A::Alarm],
            A::HibernateShutdown | A::HibernateReboot | A::HibernatePlatform | A::HibernateTestResume => {
                &[A::Agent]
            }
            A::HibernateSuspend => &[A::Agent, A::S3],
            A::KexecJumpPrimary | A::KexecJumpSaver | A::KexecJumpRestorer => &[A::Agent, A::Kexec],
        }
    }

    /// Abilities of which it needs one, whichever the machine has.
    pub fn one_of(self) -> &'static [Ability] {
        match self {
            A::Workloads
            | A::HibernateShutdown
            | A::HibernateReboot
            | A::HibernatePlatform
            | A::HibernateSuspend
            | A::HibernateTestResume
            | A::Uswsusp
            | A::KexecJumpSaver
            | A::KexecJumpRestorer => DISKS,
            _ => &[],
        }
    }
}

impl Want {
    /// Whether it holds, with the module it takes. Otherwise what is wanted and what was found.
    pub(super) fn hold(self, config: &KernelConfig) -> Result<Option<&'static str>, (String, String)> {
        let wrong = |wanted: String, symbol: &str| Err((wanted, config.get(symbol).shown()));
        match self {
            Self::Yes(symbol) => match config.get(symbol) {
                Setting::Yes => Ok(None),
                _ => wrong(format!("CONFIG_{symbol}=y"), symbol),
            },
            Self::Loadable(symbol, module) => match config.get(symbol) {
                Setting::Yes => Ok(None),
                Setting::Module => Ok(Some(module)),
                _ => wrong(format!("CONFIG_{symbol}=y or =m"), symbol),
            },
            Self::Off(symbol) => match config.get(symbol) {
                Setting::No => Ok(None),
                _ => wrong(format!("CONFIG_{symbol} off"), symbol),
            },
            Self::AtLeast(symbol, least) => match config.get(symbol) {
                Setting::Value(value) if value.parse::<u64>().is_ok_and(|value| value >= least) => Ok(None),
                _ => wrong(format!("CONFIG_{symbol}={least} or more"), symbol),
            },
        }
    }
}
