//! `[[power]]`: what happens to the power, and when.

use std::ops::Range;

use super::fault::cycle;
use super::reader::{Table, Value};
use super::when::{Occasion, disk, when};
use super::{DiskSpec, Mistake};

/// Something that happens to the power, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerRule {
    /// When.
    pub on: Occasion,
    /// What.
    pub act: Act,
    /// In which cycle, from 1. None: in each.
    pub cycle: Option<u32>,
}

/// What happens to the power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// It fails.
    Cut {
        /// What becomes of writes that were not durable.
        survives: Survives,
        /// How long it is gone, in nanoseconds.
        off: u64,
    },
    /// Whoever runs the machine wakes it, if it sleeps.
    Wake,
    /// The power button is pressed.
    Button,
    /// The alarm of the real-time clock goes off after this many nanoseconds, whatever it was set to.
    Alarm {
        /// From now.
        after: u64,
    },
}

/// Which of the writes that were not yet durable survive a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Those of these requests, by their numbers on the disk since its power came on; or all but those.
    Requests {
        /// They are those that are lost.
        lost: bool,
        /// Their numbers.
        requests: Vec<u64>,
        /// Requests of which only these sectors are lost. Only of those that are lost.
        torn: Vec<(u64, Range<u64>)>,
        /// Of this disk. None: of each. What is not durable on others survives as if no request were named.
        disk: Option<usize>,
    },
    /// On each disk something else, each named by one of these, which are all [`Survives::Requests`]. What is not durable on others
    /// survives as if no request of the first were named.
    Each(Vec<Self>),
}

const MINUTE: u64 = 60_000_000_000;

impl Survives {
    fn read(value: Value<'_>, disks: &[DiskSpec]) -> Result<Self, Mistake> {
        if value.is_string() {
            return match value.word("crash state", &[("nothing", false), ("everything", true)])? {
                false => Ok(Self::Nothing),
                true => Ok(Self::Everything),
            };
        }
        if !value.is_table()
            && let Ok(list) = value.list()
        {
            let each = list.map(|value| Self::of_one_disk(&value, disks)).collect::<Result<Vec<_>, _>>()?;
            return match each.is_empty() {
                true => {
                    Err(value.mistake("an empty list of crash states").help("`\"everything\"` loses nothing"))
                }
                false => Ok(Self::Each(each)),
            };
        }
        let mut table = value.table("a crash state")?;
        let kind = table.one(&["seed", "requests", "lose"])?;
        let survives = match kind.key {
            "seed" => Self::Some { seed: kind.number(0..=u64::MAX >> 1)? },
            word => {
                let (lost, mut requests, mut torn) = (word == "lose", Vec::new(), Vec::new());
                for request in kind.list()? {
                    if lost && request.is_table() {
                        torn.push(part_of_write(request)?);
                    } else {
                        requests.push(request.number(0..=u64::MAX >> 1)?);
                    }
                }
                let disk = table.optional("disk").map(|value| disk(value, disks)).transpose()?;
                Self::Requests { lost, requests, torn, disk }
            }
        };
        table.end()?;
        Ok(survives)
    }

    fn of_one_disk(value: &Value<'_>, disks: &[DiskSpec]) -> Result<Self, Mistake> {
        let wrong = || value.wrong("`requests` or `lose`, with `disk`");
        if !value.is_table() {
            return Err(wrong());
        }
        match Self::read(*value, disks)? {
            named @ Self::Requests { disk: Some(_), .. } => Ok(named),
            _ => Err(wrong()),
        }
    }

    /// For the report.
    pub fn shown(&self) -> String {
        match self {
            Self::Each(each) => each.iter().map(Self::shown).collect::<Vec<_>>().join("; "),
            Self::Nothing => "nothing".into(),
            Self::Everything => "everything".into(),
            Self::Some { seed } => format!("some, seed {seed}"),
            Self::Requests { lost, requests, torn, .. } => {
                let parts = torn
                    .iter()
                    .map(|(request, Range { start, end })| format!("sectors {start} to {end} of {request}"));
                let numbers = requests.iter().map(u64::to_string).chain(parts).collect::<Vec<_>>().join(", ");
                format!("{}requests {numbers}", if *lost { "all but " } else { "" })
            }
        }
    }
}

/// Sectors of a request: `{ request = 12, sectors = [2048, 2056] }`.
fn part_of_write(value: Value<'_>) -> Result<(u64, Range<u64>), Mistake> {
    let mut table = value.table("a part of a write")?;
    let request = table.required("request")?.number(0..=u64::MAX >> 1)?;
    let sectors = table.required("sectors")?;
    let ends = sectors.list()?.map(|end| end.number(0..=u64::MAX >> 10)).collect::<Result<Vec<_>, _>>()?;
    table.end()?;
    match ends[..] {
        [start, end] if start < end => Ok((request, start..end)),
        _ => Err(sectors.mistake("`sectors` are the first one and the one behind the last: `[2048, 4096]`")),
    }
}

impl Act {
    fn read(table: &mut Table<'_>, disks: &[DiskSpec]) -> Result<Self, Mistake> {
        let words = [("cut", 0), ("wake", 1), ("button", 2), ("alarm", 3)];
        Ok(match table.required("do")?.word("power event", &words)? {
            0 => Self::Cut {
                survives: table
                    .optional("survives")
                    .map_or(Ok(Survives::Nothing), |value| Survives::read(value, disks))?,
                off: table.optional("off").map_or(Ok(MINUTE), |value| value.duration())?,
            },
            1 => Self::Wake,
            2 => Self::Button,
            _ => Self::Alarm { after: table.optional("after").map_or(Ok(1), |value| value.duration())? },
        })
    }

    /// For the report.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cut { .. } => "power cut",
            Self::Wake => "wake",
            Self::Button => "power button",
            Self::Alarm { .. } => "alarm",
        }
    }
}

impl PowerRule {
    pub(super) fn read(value: Value<'_>, disks: &[DiskSpec]) -> Result<Self, Mistake> {
        let mut table = value.table("a power event")?;
        let on = when(table.required("when")?, disks)?;
        let act = Act::read(&mut table, disks)?;
        let cycle = table.optional("cycle").map(cycle).transpose()?;
        table.end()?;
        Ok(Self { on, act, cycle })
    }
}
