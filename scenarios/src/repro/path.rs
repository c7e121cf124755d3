//! The way a run went: every event as a line, packed.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use devices::{DiskAction, DiskEvent};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::history::{Entry, Happening, History};

/// More than this a file does not unpack to, whoever wrote it.
const MOST: u64 = 1 << 30;
/// Higher ones take long and save little.
const LEVEL: i32 = 9;

/// Lines of events; in a file, compressed by Zstandard and in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// Of a run.
    pub fn of(history: &History) -> Self {
        Self(history.entries().iter().map(line).collect::<Vec<_>>().join("\n"))
    }

    /// Each event.
    pub fn lines(&self) -> Vec<&str> {
        self.0.lines().collect()
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let packed = zstd::encode_all(self.0.as_bytes(), LEVEL).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&STANDARD.encode(packed))
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let packed = STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        let mut text = String::new();
        let decoder = zstd::Decoder::new(packed.as_slice()).map_err(D::Error::custom)?;
        decoder.take(MOST).read_to_string(&mut text).map_err(D::Error::custom)?;
        Ok(Self(text))
    }
}

/// An event as a line: boot, instructions, nanoseconds, and what happened.
pub fn line(entry: &Entry) -> String {
    let what = match &entry.what {
        Happening::Disk(event) => disk(event),
        Happening::Console(text) => format!("console: {text}"),
        Happening::StepBegins { cycle, step } => format!("step {step} begins, cycle {cycle}"),
        Happening::StepEnds { step, well } => {
            format!("step {step} ends{}", if *well { "" } else { " badly" })
        }
        Happening::Kernel(role) => format!("kernel {role}"),
        Happening::Power(event) => format!("power: {event:?}"),
        other => format!("{other:?}"),
    };
    // Two runs that differ in a line's breaks would not be told apart.
    let what = what.replace('\n', "\\n");
    format!("{} {} {} {what}", entry.boot, entry.at.instructions, entry.at.time.0)
}

fn disk(event: &DiskEvent) -> String {
    let DiskEvent { disk, request, action, step } = event;
    let (what, extent) = match action {
        DiskAction::Read(extent) => ("read", Some(extent)),
        DiskAction::Write { extent, fua: false } => ("write", Some(extent)),
        DiskAction::Write { extent, fua: true } => ("write with FUA", Some(extent)),
        DiskAction::Discard(extent) => ("discard", Some(extent)),
        DiskAction::WriteZeroes(extent) => ("write zeroes", Some(extent)),
        DiskAction::Flush => ("flush", None),
    };
    let extent = extent.map_or(String::new(), |extent| format!(" {}+{}", extent.sector, extent.sectors));
    format!("disk {disk} #{request} {what}{extent} {}", format!("{step:?}").to_lowercase())
}
