//! Which outcomes are legal after a cut, and what an illegal one is called.
//!
//! The commit record of an image says whether there is one. What may stand there after a cut follows from the disk alone: the durable version, and
//! any version that was accepted since. If each of them is valid the session has to go on; if none is it cannot; in between both is legal. That is
//! the same for swsusp, whose record is the signature in swap, and for images of ours, whose record is their header:
//!
//! | until | legal |
//! |---|---|
//! | the record is accepted | cold boot |
//! | it is durable | resume, cold boot |
//! | its reset is accepted | resume |
//! | that is durable | resume, cold boot; resume only while nothing was written since |
//! | for ever | cold boot |
//!
//! A state in which the record is valid has to resume with everything in it: what cannot be loaded, or is found damaged, is a finding whatever
//! else the table allows. A kind of finding is a clause, what is missing on the disks, and the step in which the power failed.

use std::collections::BTreeMap;

use devices::disk::{BaseError, Media};
use serde::{Deserialize, Serialize};

pub use super::commit::{Commit, Format, Life};
use super::cuts::Cut;
use super::family::{Family, Origin, State};
use super::lives::{At, Evidence, Lives};
use super::pieces::Piece;
use super::recovery::{Outcome, words};
use crate::checks::{Clause, Record};

/// The lives of all images, and what is legal at each cut.
pub struct Judge {
    commit: Commit,
    lives: Lives,
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

const RESUMED_AGAIN: &str = "a consumed image is resumed again";

impl Judge {
    /// For these cuts.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn new(record: &Record<'_>, cuts: &[Cut], commit: Commit) -> Result<Self, BaseError> {
        let lives = Lives::of(record, cuts, &commit)?;
        Ok(Self { commit, lives })
    }

    /// Where the commit record stands.
    pub fn commit(&self) -> &Commit {
        &self.commit
    }

    /// What may come of a cut.
    pub fn life(&self, cut: usize) -> Option<Life> {
        self.lives.cuts.get(cut).map(|at| at.life)
    }

    /// The cuts of an origin, those together that are judged alike.
    fn alike(&self, origin: &Origin, cuts: &[Cut]) -> Vec<Origin> {
        let situation = |cut: usize| (self.lives.cuts.get(cut), cuts.get(cut).map(|cut| &cut.step));
        let mut alike: Vec<Origin> = Vec::new();
        for cut in origin.cuts() {
            match alike.last_mut() {
                Some(before) if situation(before.last) == situation(cut) => before.last = cut,
                _ => alike.push(Origin { cut, last: cut, ..origin.clone() }),
            }
        }
        alike
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
        self.class_of(&state.disks(), origin.cut, cuts, outcome)
    }

    /// The same of disks that are in no list.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn class_of(
        &self,
        disks: &[Media],
        cut: usize,
        cuts: &[Cut],
        outcome: &Outcome,
    ) -> Result<Option<Class>, BaseError> {
        Ok(self.witnessed(&mut Witnessed::of(self, disks)?, cut, cuts, outcome))
    }

    fn witnessed(
        &self,
        disks: &mut Witnessed<'_>,
        cut: usize,
        cuts: &[Cut],
        outcome: &Outcome,
    ) -> Option<Class> {
        let (at, step) = (self.lives.cuts.get(cut)?, &cuts.get(cut)?.step);
        // Without a record nothing needs to be compared.
        let evidence = match at.image.filter(|_| disks.is_valid) {
            Some(image) => disks.evidence(image, at.is_consumed),
            None => Evidence::default(),
        };
        let unmarked = at.image.and_then(|image| self.lives.images.get(image));
        let unmarked = unmarked.is_some_and(|image| image.is_unmarked);
        let (clause, what) = wrong(*at, disks.is_valid, unmarked, &evidence, outcome)?;
        Some(Class { clause: clause.id().into(), what, step: step.clone() })
    }
}

/// The contents of disks, compared at most once with each image.
struct Witnessed<'a> {
    judge: &'a Judge,
    disks: &'a [Media],
    is_valid: bool,
    known: BTreeMap<(usize, bool), Evidence>,
}

impl<'a> Witnessed<'a> {
    fn of(judge: &'a Judge, disks: &'a [Media]) -> Result<Self, BaseError> {
        let is_valid = judge.commit.is_valid(disks)?;
        Ok(Self { judge, disks, is_valid, known: BTreeMap::new() })
    }

    fn evidence(&mut self, image: usize, is_consumed: bool) -> Evidence {
        let of = self.judge.lives.images.get(image);
        let compare = || of.map(|image| image.evidence(self.disks, is_consumed));
        self.known.entry((image, is_consumed)).or_insert_with(|| compare().unwrap_or_default()).clone()
    }
}

/// What is wrong with an outcome. `is_valid`: the commit record on the disks says that there is an image. `is_unmarked`: the kernel that wrote the
/// last one has taken it back itself.
fn wrong(
    at: At,
    is_valid: bool,
    is_unmarked: bool,
    evidence: &Evidence,
    outcome: &Outcome,
) -> Option<(Clause, String)> {
    let is_again = is_valid && at.is_consumed && evidence.moved_on;
    let again = || {
        let clause = if is_unmarked { Clause::UnmarkFirst } else { Clause::ResetFirst };
        Some((clause, RESUMED_AGAIN.to_owned()))
    };
    let with = |missing: Option<&str>, how: &str| match missing {
        Some(missing) => format!("{missing}: {how}"),
        None => how.to_owned(),
    };
    let missing = || missing(evidence, &IMAGE_FIRST).filter(|_| is_valid);
    match outcome {
        Outcome::Resumed | Outcome::Damaged(_) | Outcome::Dead(_) if is_again => again(),
        // How a kernel dies of it depends on which page it is.
        Outcome::Dead(how) => Some((
            Clause::GoesOn,
            missing().map_or_else(|| how.clone(), |missing| format!("{missing}: the machine dies")),
        )),
        Outcome::Damaged(how) => Some((Clause::WorkloadsClean, with(damaged(evidence, how), how))),
        Outcome::FilesLost(how) if how.starts_with("records") => Some((Clause::SyncedRecords, how.clone())),
        Outcome::FilesLost(how) => Some((Clause::FileSystemWhole, how.clone())),
        // Whoever has been resumed has had his session.
        Outcome::Lost(_) if at.is_consumed => None,
        Outcome::Lost(how) if is_valid => {
            let what = missing()
                .map_or_else(|| format!("an image that cannot be loaded: {}", words(how)), str::to_owned);
            Some((Clause::HeaderLast, what))
        }
        Outcome::Cold | Outcome::Lost(_) if !at.life.invalid => {
            Some((Clause::LegalOutcome, "the image is durable, and nobody resumes".into()))
        }
        Outcome::Cold if is_valid && !at.is_consumed => {
            Some((Clause::LegalOutcome, "a valid image, and nobody resumes".into()))
        }
        Outcome::Resumed if !at.life.valid || !is_valid => {
            Some((Clause::LegalOutcome, "a session goes on out of nothing".into()))
        }
        Outcome::Cold | Outcome::Lost(_) | Outcome::Resumed | Outcome::Broken(_) => None,
    }
}

/// Names of what is missing, by kinds of pieces, in the order in which they explain what came of it.
type Order = [fn(&Piece) -> Option<&'static str>; 6];

const IMAGE_FIRST: Order = [map, info, index, data, swap, files];
const SWAP_FIRST: Order = [swap, map, info, index, data, files];
const FILES_FIRST: Order = [files, swap, map, info, index, data];

fn map(piece: &Piece) -> Option<&'static str> {
    matches!(piece, Piece::Map { .. }).then_some("a header before its map")
}

fn info(piece: &Piece) -> Option<&'static str> {
    (*piece == Piece::Info).then_some("a header without its first page")
}

fn index(piece: &Piece) -> Option<&'static str> {
    (*piece == Piece::Index).then_some("a header without its index")
}

fn data(piece: &Piece) -> Option<&'static str> {
    (*piece == Piece::Data).then_some("a header without image data")
}

fn swap(piece: &Piece) -> Option<&'static str> {
    (*piece == Piece::Swap).then_some("a session without what it had swapped out")
}

fn files(piece: &Piece) -> Option<&'static str> {
    match piece {
        Piece::Files => Some("a session without data of its files"),
        Piece::Metadata => Some("a session without metadata of its file system"),
        _ => None,
    }
}

fn missing(evidence: &Evidence, order: &Order) -> Option<&'static str> {
    order.iter().find_map(|name| evidence.missing.iter().find_map(name))
}

/// What is missing where a session goes on and finds damage.
fn damaged(evidence: &Evidence, how: &str) -> Option<&'static str> {
    let is_of = |words: &[&str]| words.iter().any(|word| how.contains(word));
    let order = if is_of(&["ext4", "file system"]) {
        &FILES_FIRST
    } else if is_of(&["swap workload"]) {
        &SWAP_FIRST
    } else {
        &IMAGE_FIRST
    };
    missing(evidence, order)
}

/// A finding: a class, and its smallest witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub class: Class,
    /// Number of the state with the fewest lost writes, and of these the one of the earliest cut. Of one that is in no list the highest.
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
    unfollowed: u64,
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
        if matches!(outcome, Outcome::Broken(_)) {
            self.unfollowed += states.len() as u64;
        }
        for number in states {
            let Some(state) = family.states.get(*number) else { continue };
            let disks = state.disks();
            let mut witnessed = Witnessed::of(judge, &disks)?;
            for origin in state.origins.iter().flat_map(|origin| judge.alike(origin, cuts)) {
                let Some(class) = judge.witnessed(&mut witnessed, origin.cut, cuts, outcome) else {
                    continue;
                };
                let new = || Finding {
                    class: class.clone(),
                    state: *number,
                    origin: origin.clone(),
                    observed: outcome.clone(),
                    seen: 0,
                };
                let finding = self.found.entry(class.clone()).or_insert_with(new);
                finding.seen += origin.cuts().count() as u64;
                // The number settles it, so that it does not matter in which order states are decided.
                let size = |origin: &Origin, number| (origin.lost, origin.cut, number);
                if size(&origin, *number) < size(&finding.origin, finding.state) {
                    (finding.state, finding.origin) = (*number, origin.clone());
                    finding.observed = outcome.clone();
                }
            }
        }
        Ok(())
    }

    /// Takes the outcome of a state in that is in no list, at its cut.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn add_mixed(
        &mut self,
        judge: &Judge,
        cuts: &[Cut],
        disks: &[Media],
        origin: Origin,
        outcome: &Outcome,
    ) -> Result<(), BaseError> {
        if matches!(outcome, Outcome::Broken(_)) {
            self.unfollowed += 1;
        }
        let Some(class) = judge.class_of(disks, origin.cut, cuts, outcome)? else { return Ok(()) };
        let observed = outcome.clone();
        let state = usize::MAX;
        let (lost, cut) = (origin.lost, origin.cut);
        let new = Finding { class: class.clone(), state, origin, observed, seen: 0 };
        let finding = self.found.entry(class).or_insert_with(|| new.clone());
        finding.seen += 1;
        if (lost, cut, state) < (finding.origin.lost, finding.origin.cut, finding.state) {
            *finding = Finding { seen: finding.seen, ..new };
        }
        Ok(())
    }

    /// They, by clause.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.found.values()
    }

    /// States that could not be followed to an outcome: nothing is known of them, and nothing is claimed.
    pub fn unfollowed(&self) -> u64 {
        self.unfollowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: At = At { life: Life { valid: false, invalid: true }, image: None, is_consumed: false };
    /// The record is accepted, and not durable.
    const COMING: At = At { life: Life { valid: true, invalid: true }, image: Some(0), is_consumed: false };
    const THERE: At = At { life: Life { valid: true, invalid: false }, image: Some(0), is_consumed: false };
    /// The reset is accepted, and not durable.
    const GOING: At = At { life: Life { valid: true, invalid: true }, image: Some(0), is_consumed: true };
    const GONE: At = At { life: Life { valid: false, invalid: true }, image: Some(0), is_consumed: true };

    fn without(missing: &[Piece]) -> Evidence {
        Evidence { missing: missing.iter().copied().collect(), moved_on: false }
    }

    fn verdict(
        at: At,
        is_valid: bool,
        evidence: &Evidence,
        outcome: &Outcome,
    ) -> Option<(&'static str, String)> {
        wrong(at, is_valid, false, evidence, outcome).map(|(clause, what)| (clause.id(), what))
    }

    fn lost() -> Outcome {
        Outcome::Lost("PM: hibernation: Failed to load image, recovering.".into())
    }

    #[test]
    fn each_row_of_the_table_allows_what_it_says_and_nothing_else() {
        let whole = Evidence::default();
        let legal = |at, is_valid, outcome: &Outcome| verdict(at, is_valid, &whole, outcome).is_none();
        // By row: what the record says on the disks, and whether resuming and a cold boot are legal then.
        let rows = [
            (NEVER, false, false, true),
            (COMING, false, false, true),
            (COMING, true, true, false),
            (THERE, true, true, false),
            (GOING, true, true, true),
            (GOING, false, false, true),
            (GONE, false, false, true),
        ];
        for (row, (at, is_valid, resume, cold)) in rows.into_iter().enumerate() {
            assert_eq!(legal(at, is_valid, &Outcome::Resumed), resume, "row {row}");
            assert_eq!(legal(at, is_valid, &Outcome::Cold), cold, "row {row}");
            for never in [Outcome::Damaged("x".into()), Outcome::Dead("x".into())] {
                assert!(!legal(at, is_valid, &never), "row {row}");
            }
            assert!(legal(at, is_valid, &Outcome::Broken("x".into())), "row {row}");
            // What is lost is lost wherever there had to be a session.
            assert_eq!(legal(at, is_valid, &lost()), cold, "row {row}");
        }
        let nobody = |at, is_valid| verdict(at, is_valid, &whole, &Outcome::Cold).unwrap().1;
        assert_eq!(nobody(THERE, true), "the image is durable, and nobody resumes");
        assert_eq!(nobody(COMING, true), "a valid image, and nobody resumes");
    }

    #[test]
    fn what_is_missing_names_the_class() {
        let class =
            |missing: &[Piece], outcome: &Outcome| verdict(COMING, true, &without(missing), outcome).unwrap();
        let map = Piece::Map { number: 23, of: 23 };
        let of = |text: &str| ("O5.C1", text.to_owned());
        assert_eq!(class(&[map], &lost()), of("a header before its map"));
        assert_eq!(class(&[map, Piece::Data], &lost()), of("a header before its map"));
        assert_eq!(class(&[Piece::Data, Piece::Files], &lost()), of("a header without image data"));
        assert_eq!(class(&[Piece::Info], &lost()), of("a header without its first page"));
        assert_eq!(class(&[Piece::Index], &lost()), of("a header without its index"));
        let unknown = "an image that cannot be loaded: PM: hibernation: Failed to load image, recovering.";
        assert_eq!(class(&[], &lost()), of(unknown));
        let dead = Outcome::Dead("panic".into());
        assert_eq!(
            class(&[Piece::Data], &dead),
            ("O9.C2", "a header without image data: the machine dies".into())
        );
        assert_eq!(class(&[], &dead), ("O9.C2", "panic".into()));
    }

    #[test]
    fn damage_is_explained_by_what_the_workload_lives_on() {
        let all = without(&[Piece::Data, Piece::Swap, Piece::Files]);
        let of = |who: &str| {
            let how = format!("the {who} workload found a difference");
            verdict(THERE, true, &all, &Outcome::Damaged(how)).unwrap()
        };
        let ext4 = "a session without data of its files: the ext4 workload found a difference";
        assert_eq!(of("ext4"), ("O13.C1", ext4.into()));
        assert!(of("swap").1.starts_with("a session without what it had swapped out: "));
        assert!(of("memory").1.starts_with("a header without image data: "));
        let plain = verdict(THERE, true, &without(&[]), &Outcome::Damaged("disk error".into())).unwrap();
        assert_eq!(plain.1, "disk error");
    }

    #[test]
    fn a_consumed_image_may_be_resumed_until_something_was_written_since() {
        let moved_on = Evidence { moved_on: true, ..Evidence::default() };
        let again = |outcome: &Outcome| verdict(GOING, true, &moved_on, outcome);
        let class = Some(("O5.C3", RESUMED_AGAIN.to_owned()));
        for outcome in [Outcome::Resumed, Outcome::Damaged("x".into()), Outcome::Dead("x".into())] {
            assert_eq!(again(&outcome), class);
        }
        for outcome in [Outcome::Cold, lost()] {
            assert_eq!(again(&outcome), None);
        }
        assert_eq!(verdict(GOING, true, &Evidence::default(), &Outcome::Resumed), None);
        let unmarked = wrong(GOING, true, true, &moved_on, &Outcome::Resumed).unwrap();
        assert_eq!(unmarked.0, Clause::UnmarkFirst);
    }

    #[test]
    fn a_cold_boot_that_lost_files_is_wrong_anywhere() {
        let lost = |how: &str| {
            verdict(NEVER, false, &Evidence::default(), &Outcome::FilesLost(how.into())).unwrap().0
        };
        assert_eq!(lost("records that were synced are not there"), "O11.C2");
        assert_eq!(lost("the kernel complains: file system"), "O11.C1");
    }

    #[test]
    fn nothing_comes_out_of_nothing() {
        let of = |at| verdict(at, false, &Evidence::default(), &Outcome::Resumed).unwrap();
        assert_eq!(of(NEVER), ("O14.C1", "a session goes on out of nothing".into()));
        assert_eq!(of(GONE), of(NEVER));
    }
}
