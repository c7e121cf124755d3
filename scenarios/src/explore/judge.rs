//! Which outcomes are legal after a cut, and what an illegal one is called.
//!
//! The signature in swap says whether there is an image. What may stand there after a cut follows from the disk alone: the durable version, and
//! any version that was accepted since. If each of them is valid the session has to go on; if none is it cannot; in between both is legal. A state
//! in which the signature is valid has to resume: what the kernel says it could not load is lost, whatever else the table allows (O5.C1).

use std::collections::BTreeMap;
use std::ops::Range;

use agent_protocol::image::{HEADER_LEN, Header, Kind as ImageKind};
use devices::disk::{BaseError, Media, SECTOR};
use serde::{Deserialize, Serialize};

use super::cuts::Cut;
use super::family::{Family, Origin, State};
use super::recovery::Outcome;
use super::replay::{DiskThen, Replay};
use crate::checks::{Clause, Record};

/// Whose image it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The kernel's, in swap.
    Swsusp,
    /// A program's, through /dev/snapshot.
    Snapshot,
    /// The saver's.
    Jump,
}

/// Where the commit record of an image stands: what says that there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Number of the disk.
    pub disk: usize,
    /// Byte of the disk at which its page begins.
    pub at: u64,
    /// Whose image it is.
    pub format: Format,
    /// Bytes of the partition that it lies in.
    pub part: Range<u64>,
}

const PAGE: u64 = 4096;
const VALID: &[u8; 9] = b"S1SUSPEND";

impl Commit {
    /// Whether these contents have an image that waits to be entered.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn is_valid(&self, disks: &[Media]) -> Result<bool, BaseError> {
        let Some(media) = disks.get(self.disk) else { return Ok(false) };
        let kind = match self.format {
            Format::Swsusp => {
                let mut found = [0; VALID.len()];
                media.read(self.at + PAGE - 10, &mut found)?;
                return Ok(found == *VALID);
            }
            Format::Snapshot => ImageKind::SnapshotStream,
            Format::Jump => ImageKind::JumpedMemory,
        };
        let mut sector = [0; HEADER_LEN];
        media.read(self.at, &mut sector)?;
        Ok(Header::decode(&sector).is_ok_and(|header| header.restorable(kind).is_ok()))
    }

    /// The sector that says so.
    pub fn sectors(&self) -> Range<u64> {
        let sector = match self.format {
            Format::Swsusp => (self.at + PAGE) / SECTOR - 1,
            Format::Snapshot | Format::Jump => self.at / SECTOR,
        };
        sector..sector + 1
    }

    /// What may stand there after a cut now.
    fn life(&self, disks: &[DiskThen]) -> Result<Life, BaseError> {
        let Some(disk) = disks.get(self.disk) else { return Ok(Life { valid: false, invalid: true }) };
        let mut media = vec![Media::clone(&disk.durable); self.disk + 1];
        let mut life = Life { valid: false, invalid: false };
        let mut see = |media: &[Media]| -> Result<(), BaseError> {
            let valid = self.is_valid(media)?;
            life.valid |= valid;
            life.invalid |= !valid;
            Ok(())
        };
        see(&media)?;
        let sectors = self.sectors();
        for change in disk.pending.iter().flat_map(|write| &write.changes) {
            if change.extent.sector < sectors.end && sectors.start < change.extent.end() {
                if let Some(media) = media.last_mut() {
                    media.apply(change)?;
                }
                see(&media)?;
            }
        }
        Ok(life)
    }
}

/// What the signature may be after a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// There may be an image.
    pub valid: bool,
    /// There may be none.
    pub invalid: bool,
}

impl Life {
    /// What may come of it.
    pub fn allowed(self) -> Vec<&'static str> {
        [(self.valid, "resume"), (self.invalid, "cold boot")]
            .into_iter()
            .filter_map(|(may, what)| may.then_some(what))
            .collect()
    }
}

/// The life of the image at each cut, and whether somebody wrote elsewhere since it was consumed.
pub struct Judge {
    commit: Commit,
    lives: Vec<Life>,
    /// At each cut: the image was consumed before it.
    consumed: Vec<bool>,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Class {
    /// `O5.C1`.
    pub clause: String,
    /// What happened, in few words.
    pub what: String,
    /// In which step of the scenario the power was cut.
    pub step: String,
}

impl Judge {
    /// For these cuts.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn new(record: &Record<'_>, cuts: &[Cut], commit: Commit) -> Result<Self, BaseError> {
        let broken =
            |error: devices::disk::MediaError| BaseError::Host { offset: 0, reason: error.to_string() };
        let mut replay = Replay::new(record).map_err(broken)?;
        let (mut lives, mut consumed) = (Vec::new(), Vec::new());
        let mut next = cuts.iter().peekable();
        let (mut was_valid, mut is_consumed) = (false, false);
        while let Some(entry) = replay.step()? {
            let accepted: Vec<Media> =
                replay.disks().iter().map(DiskThen::current).collect::<Result<_, _>>()?;
            let valid = commit.is_valid(&accepted)?;
            is_consumed = !valid && (is_consumed || was_valid);
            was_valid = valid;
            while next.next_if(|cut| cut.entry == entry).is_some() {
                lives.push(commit.life(replay.disks())?);
                consumed.push(is_consumed);
            }
            if next.peek().is_none() {
                break;
            }
        }
        Ok(Self { commit, lives, consumed })
    }

    /// What may come of a cut.
    pub fn life(&self, cut: usize) -> Option<Life> {
        self.lives.get(cut).copied()
    }

    /// What is wrong with an outcome of a state that comes from there, if anything is.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn class(
        &self,
        state: &State,
        origin: &Origin,
        cuts: &[Cut],
        outcome: &Outcome,
    ) -> Result<Option<Class>, BaseError> {
        let (Some(cut), Some(life)) = (cuts.get(origin.cut), self.life(origin.cut)) else { return Ok(None) };
        let class = |clause: Clause, what: String| {
            Some(Class { clause: clause.id().into(), what, step: cut.step.clone() })
        };
        Ok(match outcome {
            Outcome::Dead(how) => class(Clause::GoesOn, how.clone()),
            Outcome::Damaged(how) => class(Clause::WorkloadsClean, how.clone()),
            Outcome::FilesLost(how) => class(Clause::SyncedRecords, how.clone()),
            Outcome::Lost(how) => class(
                Clause::HeaderLast,
                format!(
                    "{}: {how}",
                    if origin.lost == 0 { "a header before its image" } else { "a header without its image" }
                ),
            ),
            Outcome::Cold if !life.invalid => {
                class(Clause::LegalOutcome, "the image is durable, and nobody resumes".into())
            }
            Outcome::Resumed if self.consumed.get(origin.cut) == Some(&true) => {
                class(Clause::ResetFirst, "a consumed image is resumed again".into())
            }
            Outcome::Resumed if !life.valid => {
                class(Clause::LegalOutcome, "a session goes on out of nothing".into())
            }
            Outcome::Cold if self.commit.is_valid(&state.disks)? => {
                class(Clause::LegalOutcome, "a valid image, and nobody resumes".into())
            }
            Outcome::Cold | Outcome::Resumed | Outcome::Broken(_) => None,
        })
    }
}

/// A finding: a class, and its smallest witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub class: Class,
    /// Number of the state with the fewest lost writes, and of these the one of the earliest cut.
    pub state: usize,
    /// Which of its origins.
    pub origin: Origin,
    /// What came of it.
    pub observed: Outcome,
    /// States of this class, by cut and choice.
    pub seen: u64,
}

/// Findings by class.
#[derive(Debug, Default)]
pub struct Findings {
    found: BTreeMap<Class, Finding>,
}

impl Findings {
    /// Takes an outcome of states in.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn add(
        &mut self,
        judge: &Judge,
        family: &Family,
        cuts: &[Cut],
        states: &[usize],
        outcome: &Outcome,
    ) -> Result<(), BaseError> {
        for number in states {
            let Some(state) = family.states.get(*number) else { continue };
            for origin in &state.origins {
                let Some(class) = judge.class(state, origin, cuts, outcome)? else { continue };
                let new = || Finding {
                    class: class.clone(),
                    state: *number,
                    origin: origin.clone(),
                    observed: outcome.clone(),
                    seen: 0,
                };
                let finding = self.found.entry(class.clone()).or_insert_with(new);
                finding.seen += 1;
                // The number settles it, so that it does not matter in which order states are decided.
                let size = |origin: &Origin, number| (origin.lost, origin.cut, number);
                if size(origin, *number) < size(&finding.origin, finding.state) {
                    (finding.state, finding.origin) = (*number, origin.clone());
                    finding.observed = outcome.clone();
                }
            }
        }
        Ok(())
    }

    /// They, by clause.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.found.values()
    }
}
