//! The boot after a cut, as a value that can be copied in the middle: what the host says, what it waits for, and what came of it.

mod looks;

use std::fmt;
use std::sync::Arc;

use agent_link::{Conversation, Event};
use agent_protocol::journal::record;
use agent_protocol::message::{Answer, Ask, Failure, Ready, ReadyWhy, Role, WorkloadReport};
use devices::{PowerRequest, VirtualTime};
use firmware::boot::Payload;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vmm::{Machine, Stop};

use super::tree::Ears;
use crate::checks;
use crate::kernels::Loaded;
use crate::lab::{EPOCH_AFTER_CUT, WORKLOAD_SEED};
use looks::Looks;

/// Nanoseconds from what the agent says to the first byte of the host's answer.
const REPLY_AFTER: u64 = 100_000;
const SECOND: u64 = 1_000_000_000;
/// What a boot may take at least, and a resume, and an answer.
const PATIENCE: u64 = 15 * SECOND;
/// And so many times what the longest step of the recorded run took.
const SLOWER: u64 = 4;
/// Requests of the host count from here: after a cut nothing depends on how many there were before.
const FIRST_REQUEST: u64 = 1_000_000;
/// Where the file system of a cold boot is mounted.
const MOUNT: &str = "/data";

/// How a session comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// A finds its image in swap, by itself or when it is asked to look.
    Swap,
    /// A is asked to load the image of /dev/snapshot.
    Snapshot,
    /// C is asked for the saver's image. If it refuses it reboots into A.
    Jump,
}

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
    /// A cold boot, and what had been synced before is not in the file system.
    FilesLost(String),
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
            Self::FilesLost(how) => write!(f, "cold boot, and files are lost: {how}"),
            Self::Dead(how) => write!(f, "the machine does not come up: {how}"),
            Self::Broken(how) => write!(f, "could not be followed: {how}"),
        }
    }
}

/// What boots, and what it is asked to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How the session comes back.
    pub way: Way,
    /// Nanoseconds of the guest's time that a boot may take, and a resume, and an answer.
    pub patience: u64,
    /// Where it is asked for. None: the kernel looks by itself, at boot.
    pub device: Option<String>,
    /// Page of the device at which a swap file begins.
    pub offset: u64,
    /// What boots when whoever was asked cannot bring it back, and is not A.
    pub cold: Option<ColdBoot>,
    /// A session that goes on has workloads.
    pub has_workloads: bool,
    /// A cold boot mounts A's file system and looks for what was synced.
    pub files: bool,
    /// Where that is, if a workload writes to it.
    pub file_system: Option<String>,
    /// Records of its journal that have to be there.
    pub synced: u64,
}

/// How long somebody waits for a guest, of whose recorded run the longest step took so many nanoseconds. One that takes longer stands still.
pub fn patience(longest: u64) -> u64 {
    longest.saturating_mul(SLOWER).max(PATIENCE)
}

/// A, as it boots where nothing is to come back.
#[derive(Clone)]
pub struct ColdBoot {
    /// It.
    pub kernel: Arc<Loaded>,
    /// Its command line.
    pub line: String,
}

impl fmt::Debug for ColdBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kernel.name, self.line)
    }
}

/// How far it is.
#[derive(Debug, Clone, PartialEq)]
enum Stage {
    /// Until an agent is there.
    Boots,
    /// Asked for the session.
    Asked,
    /// Reboots, because there is no session, or none that can be loaded.
    Leaves,
    /// The reset line was pulled: A is to boot.
    Reset,
    /// Boots, and nothing is to come back.
    BootsCold,
    /// A cold boot mounts the file system.
    Mounts,
    /// And reads the journal.
    Reads,
    /// The session went on: looks at the workloads.
    Looks(Looks),
    /// Their pages are dropped from the caches, so that they are read from the disk once more.
    Drops(Vec<WorkloadReport>),
    /// Everything is written back.
    Syncs,
    Over(Outcome),
}

/// A boot under way.
#[derive(Debug, Clone)]
pub struct Recovery {
    plan: Arc<Plan>,
    conversation: Conversation,
    stage: Stage,
    /// Why the image that was there could not be loaded.
    refused: Option<String>,
    deadline: VirtualTime,
}

impl Recovery {
    /// Before the first instruction.
    pub fn new(plan: Plan) -> Self {
        let mut conversation = Conversation::default();
        conversation.count_from(FIRST_REQUEST);
        let deadline = VirtualTime(plan.patience);
        let plan = Arc::new(plan);
        Self { plan, conversation, stage: Stage::Boots, refused: None, deadline }
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
            Stage::Looks(looks) => looks.next().map_or(self.deadline, |next| next.min(self.deadline)),
            _ => self.deadline,
        }
    }

    /// Says what is to be said, and does what is to be done to the machine.
    pub fn speak(&mut self, machine: &mut Machine, ears: &mut Ears) {
        if self.stage == Stage::Reset {
            self.boot_cold(machine, ears);
        }
        let outgoing = self.conversation.take_outgoing();
        if !outgoing.is_empty() {
            machine.receive(1, &outgoing, REPLY_AFTER, ears);
        }
    }

    fn boot_cold(&mut self, machine: &mut Machine, ears: &mut Ears) {
        let Some(ColdBoot { kernel, line }) = &self.plan.cold else {
            return self.dies("reset", ears);
        };
        let payload =
            Payload { kernel: &kernel.kernel.bytes, initrd: Some(&kernel.initrd), command_line: line };
        let booted = machine.reset_line(ears).and_then(|()| machine.boot(kernel.kernel.entry, &payload));
        self.conversation.power_lost();
        self.stage = Stage::BootsCold;
        self.deadline = machine.now().after(self.plan.patience);
        if let Err(error) = booted {
            self.over(Outcome::Broken(error.to_string()));
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
            Stop::Power(PowerRequest::Reset) if self.stage == Stage::Leaves => self.stage = Stage::Reset,
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
            (Stage::Boots | Stage::Asked, Event::Ready(ready)) if ready.why == ReadyWhy::Return => {
                self.returns(ready, now, ears);
            }
            (Stage::Boots, Event::Ready(_)) => match self.request() {
                Some(ask) => self.ask_and(Stage::Asked, &ask, now),
                None => self.cold(now, ears),
            },
            (Stage::BootsCold, Event::Ready(_)) => self.cold(now, ears),
            (Stage::Asked, Event::Reply { result: Err(failure), .. }) => self.refuses(&failure, now, ears),
            (Stage::Mounts, Event::Reply { result: Ok(_), .. }) => self.read_journal(now),
            (Stage::Mounts, Event::Reply { result: Err(failure), .. }) => {
                let how = class_of(&ears.console()).unwrap_or_else(|| words(&failure.text));
                self.over(Outcome::FilesLost(format!("it cannot be mounted: {how}")));
            }
            (Stage::Reads, Event::Reply { result, .. }) => self.judge_journal(result, ears),
            (Stage::Looks(_), Event::Reply { result: Ok(Answer::Workloads(reports)), .. }) => {
                self.workloads(reports, now);
            }
            // Where caches cannot be dropped the second look is like the first.
            (Stage::Drops(first), Event::Reply { .. }) => {
                let looks = Looks::after(first.clone());
                self.ask_and(Stage::Looks(looks), &Ask::CheckWorkloads, now);
            }
            (Stage::Syncs, Event::Reply { result: Ok(_), .. }) => {
                self.over(complained(ears).map_or(Outcome::Resumed, Outcome::Damaged));
            }
            (Stage::Looks(_) | Stage::Syncs, Event::Reply { result: Err(failure), .. }) => {
                let how = complained(ears).unwrap_or_else(|| words(&failure.text));
                self.over(Outcome::Damaged(how));
            }
            _ => {}
        }
    }

    /// What the kernel that booted is asked.
    fn request(&self) -> Option<Ask> {
        let device = self.plan.device.clone()?;
        Some(match self.plan.way {
            Way::Swap => Ask::Resume { device, offset: self.plan.offset },
            Way::Snapshot => Ask::SnapshotRestore { device },
            Way::Jump => Ask::RestoreImage { device },
        })
    }

    /// A kernel whose request took the machine away has it again: the one that slept, or the one that should have brought it back.
    fn returns(&mut self, ready: Ready, now: VirtualTime, ears: &Ears) {
        let failure = ready.outcome.and_then(|outcome| outcome.result.err());
        let is_sleeper = ready.session.role == Role::Primary && ready.session.epoch < EPOCH_AFTER_CUT * 1000;
        match failure {
            Some(failure) if !is_sleeper => self.refuses(&failure, now, ears),
            Some(failure) => self.over(Outcome::Damaged(words(&failure.text))),
            None if self.plan.has_workloads => {
                self.ask_and(Stage::Looks(Looks::default()), &Ask::CheckWorkloads, now);
            }
            None => self.ask_and(Stage::Syncs, &Ask::Sync, now),
        }
    }

    /// Nobody comes back: because nobody is there, or because what is there is damaged.
    fn refuses(&mut self, failure: &Failure, now: VirtualTime, ears: &Ears) {
        self.refused = match self.plan.way {
            Way::Swap => None,
            Way::Snapshot | Way::Jump => damage(&failure.text),
        };
        match self.plan.cold {
            Some(_) => self.ask_and(Stage::Leaves, &Ask::Reboot, now),
            None => self.cold(now, ears),
        }
    }

    /// A kernel without a session.
    fn cold(&mut self, now: VirtualTime, ears: &Ears) {
        if self.plan.way == Way::Swap {
            // Whether there was one to load, its log says.
            self.refused = failed_load(&ears.console());
        }
        match self.plan.file_system.clone().filter(|_| self.plan.files) {
            Some(device) => {
                let (at, fstype, options) = (MOUNT.into(), "ext4".into(), String::new());
                self.ask_and(Stage::Mounts, &Ask::Mount { device, at, fstype, options }, now);
            }
            None => self.over(self.refused.clone().map_or(Outcome::Cold, Outcome::Lost)),
        }
    }

    fn read_journal(&mut self, now: VirtualTime) {
        let len = Some(self.plan.synced * agent_protocol::journal::RECORD_LEN as u64);
        self.ask_and(Stage::Reads, &Ask::HashFile { path: format!("{MOUNT}/journal"), len }, now);
    }

    fn judge_journal(&mut self, result: Result<Answer, Failure>, ears: &Ears) {
        let is_there = match result {
            Ok(Answer::Hash(found)) => found == journal_hash(self.plan.synced),
            // Before the first record there is no file.
            _ => self.plan.synced == 0,
        };
        self.over(match complained(ears) {
            Some(class) => Outcome::FilesLost(format!("the kernel complains: {class}")),
            None if !is_there => Outcome::FilesLost("records that were synced are not there".into()),
            None => self.refused.clone().map_or(Outcome::Cold, Outcome::Lost),
        });
    }

    fn workloads(&mut self, reports: Vec<WorkloadReport>, now: VirtualTime) {
        if let Some(report) = reports.iter().find(|report| !report.differences.is_empty()) {
            return self.over(Outcome::Damaged(format!(
                "the {} workload found a difference",
                report.workload.name()
            )));
        }
        let Stage::Looks(looks) = &self.stage else { return };
        match looks.see(reports, now) {
            looks::Seen::First(reports) => {
                let (path, text) = ("/proc/sys/vm/drop_caches".into(), "3".into());
                self.ask_and(Stage::Drops(reports), &Ask::WriteText { path, text }, now);
            }
            looks::Seen::Alive => self.ask_and(Stage::Syncs, &Ask::Sync, now),
            looks::Seen::Still => self.over(Outcome::Damaged("workloads stand still".into())),
            looks::Seen::Again(looks) => self.stage = Stage::Looks(looks),
        }
    }

    /// Time for another look.
    fn look(&mut self, now: VirtualTime) {
        if let Stage::Looks(looks) = &mut self.stage
            && looks.is_due(now)
        {
            self.ask(&Ask::CheckWorkloads);
        }
    }

    fn ask_and(&mut self, stage: Stage, ask: &Ask, now: VirtualTime) {
        self.stage = stage;
        self.deadline = now.after(self.plan.patience);
        self.ask(ask);
    }

    fn ask(&mut self, ask: &Ask) {
        if !matches!(self.conversation.ask(ask), Ok(Some(_))) {
            self.over(Outcome::Broken("nobody listens".into()));
        }
    }
}

/// Of the first records of the workload's journal, as the agent says it.
fn journal_hash(records: u64) -> String {
    let mut hash = Sha256::new();
    (1..=records).for_each(|number| hash.update(record(WORKLOAD_SEED, number)));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The gravest complaint of a kernel, if it has one.
fn class_of(console: &str) -> Option<String> {
    checks::complaints(console, &[]).first().map(|complaint| complaint.class.to_owned())
}

fn complained(ears: &Ears) -> Option<String> {
    class_of(&ears.console())
}

/// What Linux says when an image is there and cannot be loaded.
pub(crate) fn failed_load(console: &str) -> Option<String> {
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

/// What an agent says when an image of ours is there and cannot be loaded. None: there is none that waits to be.
pub(crate) fn damage(refusal: &str) -> Option<String> {
    let none = ["image header magic", "image state"];
    let checks =
        ["image header checksum", "image index checksum", "image index", "image page checksum", "image kind"];
    if none.iter().any(|text| refusal.contains(text)) {
        return None;
    }
    let check = checks.iter().find(|text| refusal.contains(*text));
    Some(check.map_or_else(|| words(refusal), |check| (*check).to_owned()))
}

/// A message without what differs from one time to the next: names a kind of failure.
pub(super) fn words(text: &str) -> String {
    let plain = text.split_whitespace().filter(|word| !word.contains(|letter: char| letter.is_ascii_digit()));
    plain.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_whether_an_image_was_there() {
        let on = |what: &str| format!("while reading the image on /dev/vda3: {what}");
        for none in ["image header magic: not an image", "image state: already consumed"] {
            assert_eq!(damage(&on(none)), None, "{none}");
        }
        let index = "image index checksum: 0x00000001 stored, 0x00000002 found";
        assert_eq!(damage(&on(index)).as_deref(), Some("image index checksum"));
        let page = "image page checksum: page frame 0x123, 0x00000001 stored, 0x00000002 found";
        assert_eq!(damage(&on(page)).as_deref(), Some("image page checksum"));
        assert_eq!(
            damage("entering the image (errno 5): EIO").as_deref(),
            Some("entering the image (errno EIO")
        );
    }

    #[test]
    fn what_linux_says_of_an_image_is_found() {
        let console = "[    0.5] PM: Image signature found, resuming\n[    0.6] PM: hibernation: Failed to load image, recovering.\n";
        assert_eq!(
            failed_load(console).as_deref(),
            Some("PM: hibernation: Failed to load image, recovering.")
        );
        assert_eq!(failed_load("[    0.5] PM: Image not found (code -22)\n"), None);
    }

    #[test]
    fn the_journal_is_known_by_its_hash() {
        let whole = [record(WORKLOAD_SEED, 1), record(WORKLOAD_SEED, 2)].concat();
        let hex: String = Sha256::digest(&whole).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(journal_hash(2), hex);
        assert_ne!(journal_hash(1), hex);
    }
}
