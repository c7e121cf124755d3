//! `steps`: what the kernels are asked to do.

use std::ops::Range;

use agent_protocol::message::{AfterSnapshot, HibernateMode, PmTest, SuspendState};

use super::reader::{Table, Value};
use super::{Mistake, Use};

/// A step and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSpec {
    /// What to do.
    pub step: Step,
    /// In bytes of the scenario's text.
    pub place: Range<usize>,
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
    /// Cold boot of C, which loads B's image and becomes A.
    Restore,
    /// Cold boot of A, which finds its own image and becomes what it was.
    Resume,
    /// Cold boot of A, which loads the image of /dev/snapshot.
    SnapshotRestore,
    /// Cold boot of A, which must find no session: everything synced before is there.
    ColdBoot,
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
}

/// What follows the image of a step.
pub type AfterImage = AfterSnapshot;

const SECONDS: u32 = 30;

impl Step {
    const PLAIN: [(&'static str, Self); 14] = [
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
        ("restore", Self::Restore),
        ("resume", Self::Resume),
        ("snapshot-restore", Self::SnapshotRestore),
        ("cold-boot", Self::ColdBoot),
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
        matches!(self, Self::Restore | Self::Resume | Self::SnapshotRestore | Self::ColdBoot)
    }

    pub(super) fn needs_saver(&self) -> bool {
        matches!(
            self,
            Self::Preload | Self::Jump | Self::Save | Self::JumpBack | Self::EnterS4 | Self::Restore
        )
    }

    pub(super) fn needs_partition(&self) -> Option<Use> {
        match self {
            Self::Save | Self::Restore | Self::Snapshot { .. } | Self::SnapshotRestore => Some(Use::Image),
            Self::Hibernate { .. } | Self::Resume => Some(Use::Swap),
            _ => None,
        }
    }
}

impl StepSpec {
    pub(super) fn read(value: Value<'_>) -> Result<Self, Mistake> {
        let place = value.place();
        if value.is_string() {
            return Ok(Self { step: Step::named(value)?, place });
        }
        if !value.is_table() {
            return Err(value.wrong("the name of a step, or a table with `do`"));
        }
        let mut table = value.table("a step")?;
        let mut step = Step::named(table.required("do")?)?;
        match &mut step {
            Step::Suspend { state, wake, pm_test } => {
                let states = [("mem", SuspendState::Mem), ("freeze", SuspendState::Freeze)];
                if let Some(value) = table.optional("state") {
                    *state = value.word("suspend state", &states)?;
                }
                *wake = wakes(&mut table)?.unwrap_or(*wake);
                *pm_test = level(&mut table)?;
            }
            Step::Hibernate { mode, pm_test } => {
                let modes = HibernateMode::ALL.map(|mode| (mode.name(), mode));
                if let Some(value) = table.optional("mode") {
                    *mode = value.word("hibernation mode", &modes)?;
                }
                *pm_test = level(&mut table)?;
            }
            Step::Snapshot { then } => {
                let words = [("off", AfterSnapshot::PowerOff), ("ram", AfterSnapshot::SuspendToRam)];
                if let Some(value) = table.optional("then") {
                    *then = value.word("end of a snapshot", &words)?;
                }
            }
            _ => {}
        }
        table.end()?;
        Ok(Self { step, place })
    }
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
    let wake = value.word("wake source", &[("alarm", alarm), ("button", Wake::Button)])?;
    if wake == Wake::Button && seconds.is_some() {
        return Err(value.mistake("a machine that the button wakes needs no `alarm`"));
    }
    Ok(Some(wake))
}

fn level(table: &mut Table<'_>) -> Result<Option<PmTest>, Mistake> {
    let levels = PmTest::ALL.map(|level| (level.name(), level));
    table.optional("pm-test").map(|value| value.word("level of pm_test", &levels)).transpose()
}
