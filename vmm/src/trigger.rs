//! What a machine is to stop at, as a value.
//!
//! A [`Trigger`] names an event and which of its occurrences. [`Triggers`] watch the stream of events on its way to an observer, and stop the
//! machine inside the very event that matches; times and instructions become limits of the run. Whichever comes first ends it. What
//! was not watched for costs nothing: triggers are asked once per event, and events are rare.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::Range;

use devices::acpi_pm::SleepState;
use devices::disk::Extent;
use devices::{DiskAction, DiskEvent, DiskStep, Event, Moment, Observer, PowerEvent, Traffic, VirtualTime};
use serde::{Deserialize, Serialize};

use crate::engine::{Limit, Stop};
use crate::machine::Machine;

/// The nth time that something happens, from when it is watched for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// What.
    pub what: What,
    /// 1 is the first time. Of a time and of an instruction there is only one.
    pub nth: NonZeroU64,
}

/// What may happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A request to a disk goes a step further.
    Disk(DiskPattern),
    /// PM1_CNT is written with SLP_EN.
    SleepRegister {
        /// With this SLP_TYP. None: any.
        slp_typ: Option<u8>,
    },
    /// A serial port has sent this text.
    Text {
        /// 0 is the console (COM1), 1 the agent's line.
        port: u8,
        /// It. Empty: never.
        text: String,
    },
    /// A byte is written to the debug port.
    Debug {
        /// This one. None: any.
        byte: Option<u8>,
    },
    /// A processor is about to execute an instruction that [`Machine::watch_code`] watches.
    Executed {
        /// Which.
        point: u16,
    },
    /// The machine as a whole changes its state.
    Power(PowerEvent),
    /// Run time has come to here.
    Time(VirtualTime),
    /// So many instructions were retired since power came on, by all processors together.
    Instruction(u64),
}

/// Steps of requests to disks. What is not said matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskPattern {
    /// Which disk, by the id in its configuration.
    pub disk: Option<u8>,
    /// How far the request is.
    pub step: Option<DiskStep>,
    /// What it asks.
    pub kind: Option<RequestKind>,
    /// Touches one of these sectors. A flush touches none.
    pub sectors: Option<Range<u64>>,
}

/// What a request asks of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestKind {
    /// Contents.
    Read,
    /// New contents, with force unit access or without.
    Write,
    /// New contents with force unit access.
    Fua,
    /// Make durable what was completed.
    Flush,
    /// Contents are not needed any more.
    Discard,
    /// Zeros.
    WriteZeroes,
}

impl Trigger {
    /// The first time that this happens.
    pub fn first(what: What) -> Self {
        Self { what, nth: NonZeroU64::MIN }
    }

    /// The nth time that this happens. 0 is as 1.
    pub fn nth(what: What, nth: u64) -> Self {
        Self { what, nth: NonZeroU64::new(nth).unwrap_or(NonZeroU64::MIN) }
    }
}

impl What {
    /// A request to enter this state.
    pub fn sleep(state: SleepState) -> Self {
        Self::SleepRegister { slp_typ: Some(state.slp_typ()) }
    }

    /// The console has said this.
    pub fn console(text: &str) -> Self {
        Self::Text { port: 0, text: text.to_owned() }
    }

    /// The agent has said this.
    pub fn agent(text: &str) -> Self {
        Self::Text { port: 1, text: text.to_owned() }
    }
}

impl RequestKind {
    fn matches(self, action: DiskAction) -> bool {
        match (self, action) {
            (Self::Read, DiskAction::Read(_))
            | (Self::Write, DiskAction::Write { .. })
            | (Self::Flush, DiskAction::Flush)
            | (Self::Discard, DiskAction::Discard(_))
            | (Self::WriteZeroes, DiskAction::WriteZeroes(_)) => true,
            (Self::Fua, DiskAction::Write { fua, .. }) => fua,
            _ => false,
        }
    }
}

/// Sectors of a request.
fn extent(action: DiskAction) -> Option<Extent> {
    match action {
        DiskAction::Read(extent)
        | DiskAction::Write { extent, .. }
        | DiskAction::Discard(extent)
        | DiskAction::WriteZeroes(extent) => Some(extent),
        DiskAction::Flush => None,
    }
}

impl DiskPattern {
    fn matches(&self, event: &DiskEvent) -> bool {
        let touches = |sectors: &Range<u64>| {
            extent(event.action).is_some_and(|Extent { sector, sectors: count }| {
                sector < sectors.end && sectors.start < sector.saturating_add(count)
            })
        };
        self.disk.is_none_or(|disk| disk == event.disk)
            && self.step.is_none_or(|step| step == event.step)
            && self.kind.is_none_or(|kind| kind.matches(event.action))
            && self.sectors.as_ref().is_none_or(touches)
    }
}

/// A trigger that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// Which, in the order they were given.
    pub trigger: usize,
    /// When.
    pub at: Moment,
}

/// Triggers, and how far each is. One that matched is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triggers {
    watched: Vec<Watched>,
    matched: Vec<Match>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Watched {
    trigger: Trigger,
    /// How often it happened; it is done when that is `nth`.
    seen: u64,
    /// The last bytes of the serial port, of a text.
    said: Vec<u8>,
}

impl Watched {
    fn is_done(&self) -> bool {
        self.seen >= self.trigger.nth.get()
    }

    /// Whether this is the occurrence that is waited for.
    fn sees(&mut self, event: &Event) -> bool {
        if self.is_done() || !self.happens(event) {
            return false;
        }
        self.seen += 1;
        self.is_done()
    }

    fn happens(&mut self, event: &Event) -> bool {
        match (&self.trigger.what, event) {
            (What::Disk(pattern), Event::Disk(event)) => pattern.matches(event),
            (What::SleepRegister { slp_typ: wanted }, Event::SleepRegister { slp_typ }) => {
                wanted.is_none_or(|wanted| wanted == *slp_typ)
            }
            (What::Text { text, .. }, Event::Serial { .. }) if text.is_empty() => false,
            (What::Text { port: wanted, text }, Event::Serial { port, byte }) if wanted == port => {
                if self.said.len() >= text.len() {
                    self.said.drain(..=self.said.len() - text.len());
                }
                self.said.push(*byte);
                self.said == text.as_bytes()
            }
            (What::Text { .. }, Event::Power(_)) => {
                // A text does not go on where another kernel begins.
                self.said.clear();
                false
            }
            (What::Debug { byte: wanted }, Event::Debug { byte }) => {
                wanted.is_none_or(|wanted| wanted == *byte)
            }
            (What::Executed { point: wanted }, Event::Executed { point }) => wanted == point,
            (What::Power(wanted), Event::Power(event)) => wanted == event,
            _ => false,
        }
    }

    /// Whether a run that ended here has come to what is waited for.
    fn reached(&mut self, at: Moment) -> bool {
        let reached = match self.trigger.what {
            What::Time(time) => at.time >= time,
            What::Instruction(number) => at.instructions >= number,
            _ => false,
        };
        let new = reached && !self.is_done();
        if new {
            self.seen = self.trigger.nth.get();
        }
        new
    }
}

impl Triggers {
    /// All of them are watched for at once.
    pub fn new(triggers: impl IntoIterator<Item = Trigger>) -> Self {
        let mut all = Self::default();
        for trigger in triggers {
            all.watch(trigger);
        }
        all
    }

    /// Watches for another one from now on. Returns its number, which [`Match::trigger`] tells.
    pub fn watch(&mut self, trigger: Trigger) -> usize {
        self.watched.push(Watched { trigger, seen: 0, said: Vec::new() });
        self.watched.len() - 1
    }

    /// What matched so far, in order.
    pub fn matched(&self) -> &[Match] {
        &self.matched
    }

    /// The trigger of this number.
    pub fn trigger(&self, number: usize) -> Option<&Trigger> {
        self.watched.get(number).map(|watched| &watched.trigger)
    }

    /// This limit, or what comes before it.
    fn limit(&self, limit: Limit) -> Limit {
        let open = || self.watched.iter().filter(|watched| !watched.is_done());
        let time = open().filter_map(|watched| match watched.trigger.what {
            What::Time(time) => Some(time),
            _ => None,
        });
        let instructions = open().filter_map(|watched| match watched.trigger.what {
            What::Instruction(number) => Some(number),
            _ => None,
        });
        Limit {
            time: limit.time.into_iter().chain(time).min(),
            instructions: limit.instructions.into_iter().chain(instructions).min(),
        }
    }

    fn note(&mut self, at: Moment, mut matches: impl FnMut(&mut Watched) -> bool) -> bool {
        let mut any = false;
        for (trigger, watched) in self.watched.iter_mut().enumerate() {
            if matches(watched) {
                self.matched.push(Match { trigger, at });
                any = true;
            }
        }
        any
    }
}

/// Triggers in front of another observer: both see every event, and each can stop the machine.
pub struct Watch<'a> {
    /// They stop the machine when one matches.
    pub triggers: &'a mut Triggers,
    /// Sees everything.
    pub observer: &'a mut dyn Observer,
}

impl Observer for Watch<'_> {
    fn event(&mut self, at: Moment, event: Event) -> bool {
        let matched = self.triggers.note(at, |watched| watched.sees(&event));
        self.observer.event(at, event) || matched
    }

    fn wants_traffic(&self) -> bool {
        self.observer.wants_traffic()
    }

    fn traffic(&mut self, at: Moment, traffic: Traffic) {
        self.observer.traffic(at, traffic);
    }
}

impl Machine {
    /// As [`Machine::run`], and stops at what is watched for: [`Stop::Triggered`], and [`Triggers::matched`] is longer than before. A
    /// trigger that matches as the machine falls asleep or goes off does not hide why it stopped.
    pub fn run_to(&mut self, triggers: &mut Triggers, limit: Limit, observer: &mut dyn Observer) -> Stop {
        let until = triggers.limit(limit);
        let stop = self.run(until, &mut Watch { triggers, observer });
        if !matches!(stop, Stop::Time | Stop::Instructions) {
            return stop;
        }
        let at = Moment { time: self.now(), instructions: self.instructions(), processor: None };
        if triggers.note(at, |watched| watched.reached(at)) { Stop::Triggered } else { stop }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nth.get() {
            1 => write!(f, "{}", self.what),
            nth => write!(f, "{}, number {nth}", self.what),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(pattern) => write!(f, "{pattern}"),
            Self::SleepRegister { slp_typ: None } => write!(f, "SLP_EN written"),
            Self::SleepRegister { slp_typ: Some(slp_typ) } => match SleepState::of_slp_typ(*slp_typ) {
                Some(state) => write!(f, "SLP_EN written for {state:?}"),
                None => write!(f, "SLP_EN written with SLP_TYP {slp_typ}"),
            },
            Self::Text { port: 0, text } => write!(f, "the console says {text:?}"),
            Self::Text { port: 1, text } => write!(f, "the agent says {text:?}"),
            Self::Text { port, text } => write!(f, "serial port {port} says {text:?}"),
            Self::Debug { byte: None } => write!(f, "a byte at the debug port"),
            Self::Debug { byte: Some(byte) } => write!(f, "{byte:#04x} at the debug port"),
            Self::Executed { point } => write!(f, "code point {point}"),
            Self::Power(event) => f.write_str(match event {
                PowerEvent::On => "power on",
                PowerEvent::Asleep => "asleep in S3",
                PowerEvent::Awake => "awake from S3",
                PowerEvent::Off => "off",
                PowerEvent::Cut => "power cut",
                PowerEvent::Reset => "reset",
            }),
            Self::Time(VirtualTime(time)) => write!(f, "run time {time} ns"),
            Self::Instruction(number) => write!(f, "instruction {number}"),
        }
    }
}

impl fmt::Display for DiskPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.disk {
            Some(disk) => write!(f, "disk {disk}: ")?,
            None => write!(f, "any disk: ")?,
        }
        f.write_str(match self.kind {
            None => "request",
            Some(RequestKind::Read) => "read",
            Some(RequestKind::Write) => "write",
            Some(RequestKind::Fua) => "write with FUA",
            Some(RequestKind::Flush) => "flush",
            Some(RequestKind::Discard) => "discard",
            Some(RequestKind::WriteZeroes) => "write zeroes",
        })?;
        if let Some(Range { start, end }) = &self.sectors {
            write!(f, " of sectors {start}..{end}")?;
        }
        f.write_str(match self.step {
            None => " goes a step further",
            Some(DiskStep::Accepted) => " accepted",
            Some(DiskStep::Completed) => " completed",
            Some(DiskStep::Failed) => " failed",
            Some(DiskStep::Durable) => " durable",
        })
    }
}

#[cfg(test)]
mod freeze;
#[cfg(test)]
mod tests;
