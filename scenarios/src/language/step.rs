//! `steps`: what the kernels are asked to do.

use std::ops::Range;

use agent_protocol::message::{AfterSnapshot, HibernateMode, PmTest, SuspendState};

use super::reader::{Table, Value};
use super::{BootSpec, DiskSpec, MachineSpec, Mistake, Use, region};

/// A step, what has to come of it, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSpec {
    /// What to do.
    pub step: Step,
    /// How it has to end.
    pub expect: Expect,
    /// What has to be said meanwhile: by the kernel on its console, or in the agent's answer or refusal.
    pub says: Option<String>,
    /// Of a step that boots: what boots, where it differs from the scenario's.
    pub boot: BootSpec,
    /// In bytes of the scenario's text.
    pub place: Range<usize>,
}

/// How a step has to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expect {
    /// Well.
    #[default]
    Well,
    /// It is refused, with words, and whoever was asked goes on.
    Refused,
    /// Of a sleep: the machine does not go away, and whoever was asked goes on as if it had.
    Stays,
    /// Of a step that should bring a session back: there is none, or it is refused, and the boot is a cold one. No image is left.
    Cold,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Every workload made progress, and none found a difference.
    Check,
    /// A loads B beside itself.
    Preload,
    /// A quiesces its devices and jumps to B.
    Jump,
    /// B saves A's memory to the image partition.
    Save,
    /// B jumps back to A.
    JumpBack,
    /// Whoever runs suspends.
    Suspend {
        /// To RAM, or to idle.
        state: SuspendState,
        /// What wakes the machine.
        wake: Wake,
        /// Turn back at this level.
        pm_test: Option<PmTest>,
    },
    /// A hibernates by its own means.
    Hibernate {
        /// What follows the image.
        mode: HibernateMode,
        /// Turn back at this level.
        pm_test: Option<PmTest>,
    },
    /// A hibernates through /dev/snapshot.
    Snapshot {
        /// What follows the image.
        then: AfterImage,
    },
    /// Whoever runs powers off.
    PowerOff,
    /// B enters ACPI S4.
    EnterS4,
    /// Whoever runs reboots: a reset.
    Reboot,
    /// Whoever runs panics, which ends in a reset.
    Crash,
    /// A executes a fresh A, which takes up the disks with new workloads.
    Kexec,
    /// Cold boot of C, which loads B's image and becomes A.
    Restore,
    /// Cold boot of A, which finds its own image and becomes what it was.
    Resume,
    /// Cold boot of A, which loads the image of /dev/snapshot.
    SnapshotRestore,
    /// Cold boot of A, which must find no session: everything synced before is there. Its workloads begin anew.
    ColdBoot,
    /// If the power is gone: a boot that resumes if there is an image, and is cold if there is none. If A runs: nothing.
    Recover {
        /// The kind of boot that would resume.
        by: Back,
    },
    /// The guest runs by itself.
    Wait {
        /// For so many nanoseconds of its time.
        nanoseconds: u64,
    },
    /// Whoever runs runs a program of its initramfs, which has to end with 0.
    Run {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// Reads a small file as text.
    Read {
        /// Where.
        path: String,
    },
    /// Writes a file: one write(2) in /sys, /proc and /dev, a durable file elsewhere.
    Write {
        /// Where.
        path: String,
        /// What.
        text: String,
    },
    /// Reads a sysctl, or sets it.
    Sysctl {
        /// As `vm.swappiness`.
        name: String,
        /// To be set.
        value: Option<String>,
    },
    /// Mounts.
    Mount {
        /// What.
        device: Device,
        /// On which directory, made if missing.
        at: String,
        /// `ext4`, if nothing is said.
        fstype: String,
        /// As after `mount -o`.
        options: String,
    },
    /// Unmounts.
    Unmount {
        /// What is mounted there.
        at: String,
    },
    /// Starts swapping.
    SwapOn {
        /// To where.
        device: Device,
    },
    /// Stops swapping.
    SwapOff {
        /// To where.
        device: Device,
    },
    /// Everything is written back, and every disk flushed.
    Sync,
    /// Takes memory and keeps it.
    FillMemory {
        /// Bytes that stay available.
        left: u64,
    },
    /// From now on a wake event stops a sleep that has not come to its end: /sys/power/wakeup_count.
    HeedWakeups,
}

/// A way for A to come back after a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// As the last step before says that saves a session.
    Derived,
    /// C loads B's image.
    Restore,
    /// A finds its image in swap.
    Resume,
    /// A loads the image of /dev/snapshot.
    SnapshotRestore,
}

/// A block device or a file, as a scenario names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// A partition of a disk of the scenario: number of the disk from 0, of the partition from 1.
    Partition(usize, u32),
    /// A path in the guest, or the name of what is no device.
    Path(String),
}

/// What wakes a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The real-time clock, after this many seconds.
    Alarm {
        /// From when the step begins.
        seconds: u32,
    },
    /// The power button.
    Button,
    /// Whoever runs the machine, without a trace for the guest.
    Host,
}

/// What follows the image of a step.
pub type AfterImage = AfterSnapshot;

const SECONDS: u32 = 30;

impl Step {
    const PLAIN: [(&'static str, Self); 30] = [
        ("check", Self::Check),
        ("preload", Self::Preload),
        ("jump", Self::Jump),
        ("save", Self::Save),
        ("jump-back", Self::JumpBack),
        (
            "suspend",
            Self::Suspend { state: SuspendState::Mem, wake: Wake::Alarm { seconds: SECONDS }, pm_test: None },
        ),
        ("hibernate", Self::Hibernate { mode: HibernateMode::Platform, pm_test: None }),
        ("snapshot", Self::Snapshot { then: AfterSnapshot::PowerOff }),
        ("power-off", Self::PowerOff),
        ("enter-s4", Self::EnterS4),
        ("reboot", Self::Reboot),
        ("crash", Self::Crash),
        ("kexec", Self::Kexec),
        ("restore", Self::Restore),
        ("resume", Self::Resume),
        ("snapshot-restore", Self::SnapshotRestore),
        ("cold-boot", Self::ColdBoot),
        ("recover", Self::Recover { by: Back::Derived }),
        ("wait", Self::Wait { nanoseconds: 1_000_000_000 }),
        ("run", Self::Run { command: Vec::new() }),
        ("read", Self::Read { path: String::new() }),
        ("write", Self::Write { path: String::new(), text: String::new() }),
        ("sysctl", Self::Sysctl { name: String::new(), value: None }),
        (
            "mount",
            Self::Mount {
                device: Device::Path(String::new()),
                at: String::new(),
                fstype: String::new(),
                options: String::new(),
            },
        ),
        ("unmount", Self::Unmount { at: String::new() }),
        ("swap-on", Self::SwapOn { device: Device::Path(String::new()) }),
        ("swap-off", Self::SwapOff { device: Device::Path(String::new()) }),
        ("sync", Self::Sync),
        ("fill-memory", Self::FillMemory { left: 0 }),
        ("heed-wakeups", Self::HeedWakeups),
    ];

    /// As in a scenario.
    pub fn name(&self) -> &'static str {
        let same = |other: &Self| std::mem::discriminant(self) == std::mem::discriminant(other);
        Self::PLAIN.iter().find(|(_, step)| same(step)).map_or("", |(name, _)| name)
    }

    /// Every step there is.
    pub fn names() -> Vec<&'static str> {
        Self::PLAIN.iter().map(|(name, _)| *name).collect()
    }

    pub(super) fn named(value: Value<'_>) -> Result<Self, Mistake> {
        let word = value.string()?;
        Self::PLAIN
            .into_iter()
            .find(|(name, _)| *name == word)
            .map(|(_, step)| step)
            .ok_or_else(|| Mistake::unknown(value.place(), "step", word, &Self::names()))
    }

    /// Whether it begins with a machine that is off, or whose power failed.
    pub fn begins_off(&self) -> bool {
        matches!(
            self,
            Self::Restore | Self::Resume | Self::SnapshotRestore | Self::ColdBoot | Self::Recover { .. }
        )
    }

    /// How A comes back from what this step saves, if it saves a session.
    pub fn back(&self) -> Option<Back> {
        match self {
            Self::Save => Some(Back::Restore),
            Self::Hibernate { pm_test: None, .. } => Some(Back::Resume),
            Self::Snapshot { .. } => Some(Back::SnapshotRestore),
            _ => None,
        }
    }

    /// Whether it needs more than its name.
    fn needs_fields(&self) -> bool {
        matches!(
            self,
            Self::Run { .. }
                | Self::Read { .. }
                | Self::Write { .. }
                | Self::Sysctl { .. }
                | Self::Mount { .. }
                | Self::Unmount { .. }
                | Self::SwapOn { .. }
                | Self::SwapOff { .. }
                | Self::FillMemory { .. }
        )
    }

    pub(super) fn needs_saver(&self) -> bool {
        matches!(
            self,
            Self::Preload
                | Self::Jump
                | Self::Save
                | Self::JumpBack
                | Self::EnterS4
                | Self::Restore
                | Self::Recover { by: Back::Restore }
        )
    }

    pub(super) fn needs_partition(&self) -> Option<Use> {
        match self {
            Self::Save | Self::Restore | Self::Snapshot { .. } | Self::SnapshotRestore => Some(Use::Image),
            Self::Recover { by: Back::Restore | Back::SnapshotRestore } => Some(Use::Image),
            Self::Hibernate { .. } | Self::Resume | Self::Recover { by: Back::Resume } => Some(Use::Swap),
            _ => None,
        }
    }
}

impl StepSpec {
    /// A step that has to end well, and of which nothing else is said.
    pub fn plain(step: Step) -> Self {
        Self { step, expect: Expect::Well, says: None, boot: BootSpec::default(), place: 0..0 }
    }

    pub(super) fn read(value: Value<'_>, machine: &MachineSpec, disks: &[DiskSpec]) -> Result<Self, Mistake> {
        let place = value.place();
        if value.is_string() {
            let step = Step::named(value)?;
            if step.needs_fields() {
                let name = step.name();
                return Err(value
                    .mistake(format!("`{name}` needs to know more"))
                    .help(format!("as a table: `{{ do = \"{name}\", ... }}`")));
            }
            return Ok(Self { place, ..Self::plain(step) });
        }
        if !value.is_table() {
            return Err(value.wrong("the name of a step, or a table with `do`"));
        }
        let mut table = value.table("a step")?;
        let mut step = Step::named(table.required("do")?)?;
        step.fields(&mut table, disks)?;
        let boot = match step.begins_off() || step == Step::Kexec {
            true => BootSpec::read(&mut table, machine)?,
            false => BootSpec::default(),
        };
        let expect = expectation(&step, &mut table)?;
        let says = table.optional("says").map(|value| value.text().map(str::to_owned)).transpose()?;
        table.end()?;
        Ok(Self { step, expect, says, boot, place })
    }
}

fn expectation(step: &Step, table: &mut Table<'_>) -> Result<Expect, Mistake> {
    let Some(value) = table.optional("expect") else { return Ok(Expect::Well) };
    let resumes = matches!(step, Step::Restore | Step::Resume | Step::SnapshotRestore);
    let is_ours = matches!(
        step,
        Step::Check | Step::Wait { .. } | Step::ColdBoot | Step::Recover { .. } | Step::Reboot | Step::Crash
    );
    let sleeps = matches!(step, Step::Suspend { .. } | Step::Hibernate { .. } | Step::Snapshot { .. });
    let words: &[(&str, Expect)] = match (resumes, is_ours) {
        _ if sleeps => &[("well", Expect::Well), ("refused", Expect::Refused), ("stays", Expect::Stays)],
        (true, _) => &[("well", Expect::Well), ("refused", Expect::Refused), ("cold", Expect::Cold)],
        (false, true) => &[("well", Expect::Well)],
        (false, false) => &[("well", Expect::Well), ("refused", Expect::Refused)],
    };
    let expect = value.word("end of this step", words)?;
    if expect == Expect::Refused && *step == Step::Resume {
        return Err(value
            .mistake("a kernel that refuses its image boots on")
            .help("say `expect = \"cold\"`"));
    }
    Ok(expect)
}

impl Step {
    /// Reads what is said of this step besides its name.
    fn fields(&mut self, table: &mut Table<'_>, disks: &[DiskSpec]) -> Result<(), Mistake> {
        match self {
            Self::Suspend { state, wake, pm_test } => {
                let states = [("mem", SuspendState::Mem), ("freeze", SuspendState::Freeze)];
                if let Some(value) = table.optional("state") {
                    *state = value.word("suspend state", &states)?;
                }
                *wake = wakes(table)?.unwrap_or(*wake);
                *pm_test = level(table)?;
            }
            Self::Hibernate { mode, pm_test } => {
                let modes = HibernateMode::ALL.map(|mode| (mode.name(), mode));
                if let Some(value) = table.optional("mode") {
                    *mode = value.word("hibernation mode", &modes)?;
                }
                *pm_test = level(table)?;
            }
            Self::Snapshot { then } => {
                let words = [("off", AfterSnapshot::PowerOff), ("ram", AfterSnapshot::SuspendToRam)];
                if let Some(value) = table.optional("then") {
                    *then = value.word("end of a snapshot", &words)?;
                }
            }
            Self::Recover { by } => {
                let words = [
                    ("restore", Back::Restore),
                    ("resume", Back::Resume),
                    ("snapshot-restore", Back::SnapshotRestore),
                ];
                if let Some(value) = table.optional("by") {
                    *by = value.word("way back", &words)?;
                }
            }
            Self::Wait { nanoseconds } => *nanoseconds = table.required("for")?.duration()?,
            Self::Run { command } => {
                let list = table.required("command")?;
                *command =
                    list.list()?.map(|word| word.string().map(str::to_owned)).collect::<Result<_, _>>()?;
                if command.is_empty() {
                    return Err(list.mistake("`command` is empty: give a program and its arguments"));
                }
            }
            Self::Read { path } => *path = table.required("path")?.text()?.to_owned(),
            Self::Write { path, text } => {
                *path = table.required("path")?.text()?.to_owned();
                *text = table.required("text")?.string()?.to_owned();
            }
            Self::Sysctl { name, value } => {
                *name = table.required("name")?.text()?.to_owned();
                *value = table.optional("value").map(|value| value.text().map(str::to_owned)).transpose()?;
            }
            Self::Mount { device: what, at, fstype, options } => {
                *what = device(table.required("device")?, disks)?;
                *at = table.required("at")?.text()?.to_owned();
                *fstype = table.optional("type").map_or(Ok("ext4"), |value| value.text())?.to_owned();
                *options = table.optional("options").map_or(Ok(""), |value| value.string())?.to_owned();
            }
            Self::Unmount { at } => *at = table.required("at")?.text()?.to_owned(),
            Self::SwapOn { device: what } | Self::SwapOff { device: what } => {
                *what = device(table.required("device")?, disks)?;
            }
            Self::FillMemory { left } => *left = table.required("left")?.size()?,
            _ => {}
        }
        Ok(())
    }
}

/// A partition of the scenario, a path, or `none`.
fn device(value: Value<'_>, disks: &[DiskSpec]) -> Result<Device, Mistake> {
    let word = value.text()?;
    if word.starts_with('/') || word == "none" {
        return Ok(Device::Path(word.to_owned()));
    }
    region::partition(value, disks).map(|(disk, partition)| Device::Partition(disk, partition))
}

fn wakes(table: &mut Table<'_>) -> Result<Option<Wake>, Mistake> {
    let seconds = match table.optional("alarm") {
        // The real-time clock counts seconds.
        Some(value) => Some(value.duration()?.div_ceil(1_000_000_000).clamp(1, 86_000) as u32),
        None => None,
    };
    let Some(value) = table.optional("wake") else {
        return Ok(seconds.map(|seconds| Wake::Alarm { seconds }));
    };
    let alarm = Wake::Alarm { seconds: seconds.unwrap_or(SECONDS) };
    let words = [("alarm", alarm), ("button", Wake::Button), ("host", Wake::Host)];
    let wake = value.word("wake source", &words)?;
    if wake != alarm && seconds.is_some() {
        return Err(value.mistake("a machine that something else wakes needs no `alarm`"));
    }
    Ok(Some(wake))
}

fn level(table: &mut Table<'_>) -> Result<Option<PmTest>, Mistake> {
    let levels = PmTest::ALL.map(|level| (level.name(), level));
    table.optional("pm-test").map(|value| value.word("level of pm_test", &levels)).transpose()
}
