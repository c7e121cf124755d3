//! The boot after a cut, as a value that can be copied in the middle: what the host says, what it waits for, and what came of it.

use std::fmt;

use agent_link::{Conversation, Event};
use agent_protocol::message::{Answer, Ask, ReadyWhy, WorkloadReport};
use devices::{PowerRequest, VirtualTime};
use serde::{Deserialize, Serialize};
use vmm::{Machine, Stop};

use super::tree::Ears;
use crate::checks;

/// Nanoseconds from what the agent says to the first byte of the host's answer.
const REPLY_AFTER: u64 = 100_000;
const SECOND: u64 = 1_000_000_000;
/// The longest that a boot may take, and a resume.
const PATIENCE: u64 = 120 * SECOND;
/// Between two looks at the workloads, and how many there are before they are said to stand still.
const LOOK: u64 = SECOND / 5;
const LOOKS: u32 = 10;
/// Requests of the host count from here: after a cut nothing depends on how many there were before.
const FIRST_REQUEST: u64 = 1_000_000;

/// What the next boot made of a state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The session went on, and everything in it is as it was.
    Resumed,
    /// The session went on, and something in it is not as it was.
    Damaged(String),
    /// There was no session, and none was looked for.
    Cold,
    /// There was one, and it could not be loaded: a cold boot.
    Lost(String),
    /// The machine died, or stood still.
    Dead(String),
    /// kjvm could not go on.
    Broken(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resumed => f.write_str("the session goes on"),
            Self::Damaged(how) => write!(f, "the session goes on, damaged: {how}"),
            Self::Cold => f.write_str("cold boot"),
            Self::Lost(how) => write!(f, "cold boot, the image cannot be loaded: {how}"),
            Self::Dead(how) => write!(f, "the machine does not come up: {how}"),
            Self::Broken(how) => write!(f, "could not be followed: {how}"),
        }
    }
}

/// What the kernel that boots is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// It resumes when it is asked to, from this device; None: by itself, at boot.
    pub resume_from: Option<String>,
    /// A session that goes on has workloads.
    pub has_workloads: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    /// Until an agent is there.
    Boots,
    /// Asked to resume.
    Resumes,
    /// The session went on: looks at the workloads.
    Looks {
        first: Option<Vec<WorkloadReport>>,
        looks: u32,
        until: Option<VirtualTime>,
    },
    Over(Outcome),
}

/// A boot under way.
#[derive(Debug, Clone)]
pub struct Recovery {
    plan: Plan,
    conversation: Conversation,
    stage: Stage,
    deadline: VirtualTime,
}

impl Recovery {
    /// Before the first instruction.
    pub fn new(plan: Plan) -> Self {
        let mut conversation = Conversation::default();
        conversation.count_from(FIRST_REQUEST);
        Self { plan, conversation, stage: Stage::Boots, deadline: VirtualTime(PATIENCE) }
    }

    /// What came of it, when it is over.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.stage {
            Stage::Over(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// When it wants to be called again at the latest.
    pub fn until(&self) -> VirtualTime {
        match &self.stage {
            Stage::Looks { until: Some(until), .. } => (*until).min(self.deadline),
            _ => self.deadline,
        }
    }

    /// Says what is to be said.
    pub fn speak(&mut self, machine: &mut Machine, ears: &mut Ears) {
        let outgoing = self.conversation.take_outgoing();
        if !outgoing.is_empty() {
            machine.receive(1, &outgoing, REPLY_AFTER, ears);
        }
    }

    /// The machine stopped, or the agent said something.
    pub fn hear(&mut self, stop: Stop, now: VirtualTime, ears: &mut Ears) {
        let said = ears.take_agent();
        for event in self.conversation.receive(&said) {
            self.event(event, now, ears);
        }
        if self.outcome().is_some() {
            return;
        }
        match stop {
            Stop::Triggered => {}
            Stop::Time if now >= self.deadline => self.dies("no word within the time there is", ears),
            Stop::Time => self.look(now),
            Stop::TripleFault { .. } => self.dies("triple fault", ears),
            Stop::Idle => self.dies("idle with nothing pending", ears),
            Stop::Power(PowerRequest::Reset) => self.dies("reset", ears),
            Stop::Power(_) => self.dies("the machine went away", ears),
            Stop::Missing { what, .. } => self.over(Outcome::Broken(format!("not emulated: {what:?}"))),
            other => self.over(Outcome::Broken(format!("{other:?}"))),
        }
    }

    fn over(&mut self, outcome: Outcome) {
        self.stage = Stage::Over(outcome);
    }

    fn dies(&mut self, how: &str, ears: &Ears) {
        let class = class_of(&ears.console()).unwrap_or_else(|| how.to_owned());
        self.over(Outcome::Dead(class));
    }

    fn event(&mut self, event: Event, now: VirtualTime, ears: &Ears) {
        match (&self.stage, event) {
            (Stage::Boots | Stage::Resumes, Event::Ready(ready)) if ready.why == ReadyWhy::Return => {
                if self.plan.has_workloads {
                    self.deadline = now.after(PATIENCE);
                    self.stage = Stage::Looks { first: None, looks: 0, until: None };
                    self.ask(&Ask::CheckWorkloads);
                } else {
                    self.over(complained(ears).map_or(Outcome::Resumed, Outcome::Damaged));
                }
            }
            (Stage::Boots, Event::Ready(_)) => match self.plan.resume_from.clone() {
                Some(device) => {
                    self.stage = Stage::Resumes;
                    self.deadline = now.after(PATIENCE);
                    self.ask(&Ask::Resume { device, offset: 0 });
                }
                None => self.cold(ears),
            },
            (Stage::Resumes, Event::Reply { result: Err(_), .. }) => self.cold(ears),
            (Stage::Looks { .. }, Event::Reply { result: Ok(Answer::Workloads(reports)), .. }) => {
                self.workloads(reports, now, ears);
            }
            (Stage::Looks { .. }, Event::Reply { result: Err(failure), .. }) => {
                self.over(Outcome::Damaged(failure.to_string()));
            }
            _ => {}
        }
    }

    /// A kernel without a session. Whether there was one to load, its log says.
    fn cold(&mut self, ears: &Ears) {
        self.over(match failed_load(&ears.console()) {
            Some(why) => Outcome::Lost(why),
            None => Outcome::Cold,
        });
    }

    fn workloads(&mut self, reports: Vec<WorkloadReport>, now: VirtualTime, ears: &Ears) {
        let found: Vec<&WorkloadReport> =
            reports.iter().filter(|report| !report.differences.is_empty()).collect();
        if let Some(report) = found.first() {
            return self.over(Outcome::Damaged(format!(
                "the {} workload found a difference",
                report.workload.name()
            )));
        }
        let Stage::Looks { first, looks, .. } = &self.stage else { return };
        let goes_on = |before: &Vec<WorkloadReport>| {
            before.iter().zip(&reports).all(|(before, now)| before.progress < now.progress)
        };
        if first.as_ref().is_some_and(goes_on) {
            return self.over(complained(ears).map_or(Outcome::Resumed, Outcome::Damaged));
        }
        if *looks >= LOOKS {
            return self.over(Outcome::Damaged("workloads stand still".into()));
        }
        let (first, looks) = (first.clone().unwrap_or(reports), looks + 1);
        self.stage = Stage::Looks { first: Some(first), looks, until: Some(now.after(LOOK)) };
    }

    /// Time for another look.
    fn look(&mut self, now: VirtualTime) {
        if let Stage::Looks { until, .. } = &mut self.stage
            && until.is_some_and(|until| now >= until)
        {
            *until = None;
            self.ask(&Ask::CheckWorkloads);
        }
    }

    fn ask(&mut self, ask: &Ask) {
        if !matches!(self.conversation.ask(ask), Ok(Some(_))) {
            self.over(Outcome::Broken("nobody listens".into()));
        }
    }
}

/// The gravest complaint of a kernel, if it has one.
fn class_of(console: &str) -> Option<String> {
    checks::complaints(console, &[]).first().map(|complaint| complaint.class.to_owned())
}

fn complained(ears: &Ears) -> Option<String> {
    class_of(&ears.console())
}

/// What Linux says when an image is there and cannot be loaded.
fn failed_load(console: &str) -> Option<String> {
    console
        .lines()
        .map(str::trim_end)
        .find(|line| {
            line.contains("Failed to load")
                || line.contains("mage mismatch")
                || line.contains("resume failed")
        })
        .map(|line| line.split("] ").last().unwrap_or(line).to_owned())
}
