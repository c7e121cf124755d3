//! `when`: what has to happen before something is done.

use std::fmt;
use std::ops::Range;

use devices::acpi_pm::SleepState;
use devices::{DiskStep, PowerEvent, VirtualTime};
use vmm::trigger::{DiskPattern, RequestKind, Trigger, What};

use super::fault::during;
use super::reader::{Table, Value};
use super::{DiskSpec, Mistake, Step, region};

/// The nth time that something happens, from when it is watched for: from the beginning of a cycle, or of a step of the scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occasion {
    /// What.
    pub when: When,
    /// From 1.
    pub nth: u64,
    /// Only in this step of the scenario.
    pub during: Option<&'static str>,
    /// In bytes of the scenario's text.
    pub place: Range<usize>,
}

/// Something that happens: what is to be done is done at that event, inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Something the machine sees by itself.
    Machine(What),
    /// A step of the scenario begins, or has come to its end.
    Step {
        /// Which.
        step: &'static str,
        /// At its end.
        is_over: bool,
    },
}

const REQUESTS: [(&str, RequestKind); 6] = [
    ("read", RequestKind::Read),
    ("write", RequestKind::Write),
    ("flush", RequestKind::Flush),
    ("fua", RequestKind::Fua),
    ("discard", RequestKind::Discard),
    ("write-zeroes", RequestKind::WriteZeroes),
];
const OTHERS: [&str; 6] = ["console", "time", "instruction", "sleep-register", "debug-port", "step"];
const STEPS: [(&str, DiskStep); 4] = [
    ("accepted", DiskStep::Accepted),
    ("completed", DiskStep::Completed),
    ("failed", DiskStep::Failed),
    ("durable", DiskStep::Durable),
];

impl When {
    const PLAIN: [(&'static str, What); 6] = [
        ("s3-entered", What::Power(PowerEvent::Asleep)),
        ("off-entered", What::Power(PowerEvent::Off)),
        ("sleep-register", What::SleepRegister { slp_typ: None }),
        ("woken", What::Power(PowerEvent::Awake)),
        ("powered-on", What::Power(PowerEvent::On)),
        ("reset", What::Power(PowerEvent::Reset)),
    ];

    /// Every plain trigger there is.
    pub fn names() -> Vec<&'static str> {
        Self::PLAIN.iter().map(|(name, _)| *name).collect()
    }

    /// Every kind of a trigger that is a table.
    pub fn kinds() -> Vec<&'static str> {
        REQUESTS.iter().map(|(word, _)| *word).chain(OTHERS).collect()
    }
}

/// Reads a trigger.
pub(super) fn when(value: Value<'_>, disks: &[DiskSpec]) -> Result<Occasion, Mistake> {
    let place = value.place();
    if value.is_string() {
        let word = value.string()?;
        let found = When::PLAIN.into_iter().find(|(name, _)| *name == word);
        let (_, what) = found.ok_or_else(|| {
            Mistake::unknown(value.place(), "power trigger", word, &When::names())
                .help("triggers are listed by `kjvm explain triggers`")
        })?;
        return Ok(Occasion { when: When::Machine(what), nth: 1, during: None, place });
    }
    let mut table = value.table("a trigger")?;
    let kind = table.one(&When::kinds())?;
    let request = REQUESTS.into_iter().find(|(known, _)| *known == kind.key);
    let (when, nth) = match (kind.key, request) {
        (_, Some((_, request))) => {
            let nth = kind.number(1..=u64::MAX >> 1)?;
            (When::Machine(disk_request(&mut table, request, disks)?), Some(nth))
        }
        ("console", _) => (When::Machine(What::console(kind.text()?)), None),
        ("time", _) => (When::Machine(What::Time(VirtualTime(kind.duration()?))), Some(1)),
        ("instruction", _) => (When::Machine(What::Instruction(kind.number(1..=u64::MAX >> 1)?)), Some(1)),
        ("sleep-register", _) => {
            let states = [("s3", SleepState::S3), ("s4", SleepState::S4), ("s5", SleepState::S5)];
            let state = kind.word("sleep state", &states)?;
            (When::Machine(What::SleepRegister { slp_typ: Some(state.slp_typ()) }), None)
        }
        ("debug-port", _) => (When::Machine(What::Debug { byte: Some(kind.number(0..=255)? as u8) }), None),
        _ => {
            let words = [("begins", false), ("ends", true)];
            let is_over =
                table.optional("is").map_or(Ok(false), |value| value.word("end of a step", &words))?;
            (When::Step { step: Step::named(kind)?.name(), is_over }, None)
        }
    };
    let nth = match nth {
        Some(nth) => nth,
        None => table.optional("nth").map_or(Ok(1), |value| value.number(1..=u64::MAX >> 1))?,
    };
    let during = match when {
        When::Machine(_) => table.optional("during").map(during).transpose()?,
        When::Step { .. } => None,
    };
    table.end()?;
    Ok(Occasion { when, nth, during, place })
}

fn disk_request(table: &mut Table<'_>, request: RequestKind, disks: &[DiskSpec]) -> Result<What, Mistake> {
    let named = table.optional("disk").map(|value| disk(value, disks)).transpose()?;
    let step = table
        .optional("is")
        .map_or(Ok(DiskStep::Accepted), |value| value.word("step of a request", &STEPS))?;
    let region = region::read(table, disks, named)?;
    if request == RequestKind::Flush
        && let Some(value) = table.optional("region").or_else(|| table.optional("sectors"))
    {
        return Err(value.mistake("a flush touches no sectors"));
    }
    let disk = region.as_ref().map(|region| region.disk).or(named).map(|number| number as u8);
    let sectors = region.map(|region| region.sectors);
    Ok(What::Disk(DiskPattern { disk, step: Some(step), kind: Some(request), sectors }))
}

/// A disk by its name.
pub(super) fn disk(value: Value<'_>, disks: &[DiskSpec]) -> Result<usize, Mistake> {
    let name = value.string()?;
    disks.iter().position(|disk| disk.name == name).ok_or_else(|| {
        let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
        Mistake::unknown(value.place(), "disk", name, &names)
    })
}

impl Occasion {
    /// As the machine watches for it. None: the machine does not see it.
    pub fn trigger(&self) -> Option<Trigger> {
        match &self.when {
            When::Machine(what) => Some(Trigger::nth(what.clone(), self.nth)),
            When::Step { .. } => None,
        }
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.when {
            When::Machine(what) => write!(f, "{}", Trigger::nth(what.clone(), self.nth)),
            When::Step { step, is_over } => {
                write!(f, "`{step}` {}", if *is_over { "has come to its end" } else { "begins" })
            }
        }
    }
}
