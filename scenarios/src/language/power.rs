//! `[[power]]`: what happens to the power, and when.

use std::ops::Range;

use devices::DiskStep;
use vmm::trigger::RequestKind;

use super::reader::Value;
use super::{DiskSpec, Mistake};

/// A cut of the power, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// When.
    pub when: When,
    /// What becomes of writes that were not durable.
    pub survives: Survives,
    /// How long the power is gone, in nanoseconds.
    pub off: u64,
    /// In which cycle, from 1. None: in each.
    pub cycle: Option<u32>,
    /// Where `when` stands, in bytes of the scenario's text.
    pub place: Range<usize>,
}

/// Which of the writes that were not yet durable survive a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// None of them.
    Nothing,
    /// All of them.
    Everything,
    /// Some, chosen by this seed.
    Some {
        /// Of the choice.
        seed: u64,
    },
}

/// When something happens: at the first event that matches, inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// The machine is asleep in S3.
    S3Entered,
    /// The machine was switched off by order (S4, S5).
    OffEntered,
    /// PM1_CNT is written with SLP_EN: before anything else happens.
    SleepRegister,
    /// The console says this.
    Console(String),
    /// The nth request of a kind to a disk goes a step further, counted from the beginning of the step of the scenario that is named, or of
    /// the cycle.
    Disk {
        /// Number of the disk. None: any.
        disk: Option<usize>,
        /// Kind.
        request: RequestKind,
        /// How far.
        step: DiskStep,
        /// From 1.
        nth: u64,
        /// Only in this step of the scenario.
        during: Option<&'static str>,
    },
    /// This run time after the power came on, in nanoseconds.
    Time(u64),
    /// After this many instructions of all processors since the power came on.
    Instruction(u64),
}

const REQUESTS: [(&str, RequestKind); 6] = [
    ("read", RequestKind::Read),
    ("write", RequestKind::Write),
    ("flush", RequestKind::Flush),
    ("fua", RequestKind::Fua),
    ("discard", RequestKind::Discard),
    ("write-zeroes", RequestKind::WriteZeroes),
];
const STEPS: [(&str, DiskStep); 3] =
    [("accepted", DiskStep::Accepted), ("completed", DiskStep::Completed), ("durable", DiskStep::Durable)];
const MINUTE: u64 = 60_000_000_000;

impl When {
    const PLAIN: [(&'static str, Self); 3] = [
        ("s3-entered", Self::S3Entered),
        ("off-entered", Self::OffEntered),
        ("sleep-register", Self::SleepRegister),
    ];

    /// Every plain trigger there is.
    pub fn names() -> Vec<&'static str> {
        Self::PLAIN.iter().map(|(name, _)| *name).collect()
    }

    fn read(value: Value<'_>, disks: &[DiskSpec]) -> Result<Self, Mistake> {
        if value.is_string() {
            let word = value.string()?;
            return Self::PLAIN.into_iter().find(|(name, _)| *name == word).map(|(_, when)| when).ok_or_else(
                || {
                    Mistake::unknown(value.place(), "power trigger", word, &Self::names())
                        .help("triggers are listed by `kjvm explain triggers`")
                },
            );
        }
        let mut table = value.table("a trigger")?;
        let kinds: Vec<&'static str> =
            REQUESTS.iter().map(|(word, _)| *word).chain(["console", "time", "instruction"]).collect();
        let kind = table.one(&kinds)?;
        let when = match kind.key {
            "console" => Self::Console(kind.text()?.to_owned()),
            "time" => Self::Time(kind.duration()?),
            "instruction" => Self::Instruction(kind.number(1..=u64::MAX >> 1)?),
            word => {
                let (_, request) = REQUESTS
                    .into_iter()
                    .find(|(known, _)| *known == word)
                    .ok_or_else(|| Mistake::unknown(kind.place(), "trigger", word, &kinds))?;
                let nth = kind.number(1..=u64::MAX >> 1)?;
                let disk = table.optional("disk").map(|value| which(value, disks)).transpose()?;
                let step = table
                    .optional("is")
                    .map_or(Ok(DiskStep::Accepted), |value| value.word("step of a request", &STEPS))?;
                let during = table
                    .optional("during")
                    .map(|value| super::Step::named(value).map(|step| step.name()))
                    .transpose()?;
                Self::Disk { disk, request, step, nth, during }
            }
        };
        table.end()?;
        Ok(when)
    }
}

fn which(value: Value<'_>, disks: &[DiskSpec]) -> Result<usize, Mistake> {
    let name = value.string()?;
    disks.iter().position(|disk| disk.name == name).ok_or_else(|| {
        let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
        Mistake::unknown(value.place(), "disk", name, &names)
    })
}

impl Survives {
    fn read(value: Value<'_>) -> Result<Self, Mistake> {
        if value.is_string() {
            let words = [("nothing", Self::Nothing), ("everything", Self::Everything)];
            return value.word("crash state", &words);
        }
        let mut table = value.table("a crash state")?;
        let seed = table.required("seed")?.number(0..=u64::MAX >> 1)?;
        table.end()?;
        Ok(Self::Some { seed })
    }
}

impl Cut {
    pub(super) fn read(value: Value<'_>, disks: &[DiskSpec]) -> Result<Self, Mistake> {
        let mut table = value.table("a power event")?;
        let when = table.required("when")?;
        let place = when.place();
        let when = When::read(when, disks)?;
        table.required("do")?.word("power event", &[("cut", ())])?;
        let survives = table.optional("survives").map_or(Ok(Survives::Nothing), Survives::read)?;
        let off = table.optional("off").map_or(Ok(MINUTE), |value| value.duration())?;
        let cycle = table
            .optional("cycle")
            .map(|value| value.number(1..=1000).map(|cycle| cycle as u32))
            .transpose()?;
        table.end()?;
        Ok(Self { when, survives, off, cycle, place })
    }
}
