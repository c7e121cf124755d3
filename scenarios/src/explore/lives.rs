//! The images of a recorded run: from where each could be entered, until where, and what was on the disks then.

use std::collections::BTreeSet;

use devices::disk::{BLOCK, BaseError, Media, SECTOR};
use devices::{DiskAction, DiskEvent, DiskStep};

use super::commit::{Commit, Format, Life};
use super::cuts::Cut;
use super::pieces::{Piece, Pieces};
use super::replay::{DiskThen, Replay};
use crate::checks::Record;
use crate::history::Happening;

const SECTORS: u64 = BLOCK / SECTOR;

/// An image, from the write that made it valid on.
pub(super) struct Image {
    /// Entry of the history at which the commit record was accepted.
    pub(super) valid: usize,
    /// Entry at which another was accepted that says that there is none. None: it is there at the end.
    pub(super) end: Option<usize>,
    /// The boot that wrote it is the one that took it back: after a wake, or because sleep failed.
    pub(super) is_unmarked: bool,
    /// The disks with all that was accepted while it was valid.
    whole: Vec<Media>,
    pieces: Pieces,
    /// Blocks of each disk that were written before it ended.
    before: Vec<BTreeSet<u64>>,
    /// Blocks of each disk that were written afterwards, but for those of nobody but whoever keeps the image.
    after: Vec<BTreeSet<u64>>,
}

/// What is to be said of disks that hold the commit record of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// Pieces that are not as they were when it was whole.
    pub(super) missing: BTreeSet<Piece>,
    /// Something is there that was written after it had been consumed.
    pub(super) moved_on: bool,
}

impl Image {
    /// Compares disks with the image as it was. Of those of a cut after it had been consumed, what differs where somebody wrote since is newer.
    pub(super) fn evidence(&self, disks: &[Media], is_consumed: bool) -> Evidence {
        let mut evidence = Evidence::default();
        for (number, (now, whole)) in disks.iter().zip(&self.whole).enumerate() {
            let differs = |block: &u64| now.block_hash(*block) != whole.block_hash(*block);
            let after = self.after.get(number).filter(|_| is_consumed);
            let is_newer = |block: &u64| after.is_some_and(|after| after.contains(block));
            let before = self.before.get(number).into_iter().flatten();
            for block in before.filter(|block| differs(block) && !is_newer(block)) {
                let sectors = (block * SECTORS..(block + 1) * SECTORS)
                    .filter(|at| sector(now, *at) != sector(whole, *at));
                evidence.missing.extend(sectors.map(|sector| self.pieces.kind_of(number, sector)));
            }
            evidence.moved_on |= after.into_iter().flatten().any(differs);
        }
        evidence.missing.remove(&Piece::Header);
        evidence
    }
}

/// Contents; None where the host cannot read them.
fn sector(media: &Media, number: u64) -> Option<[u8; SECTOR as usize]> {
    let mut bytes = [0; SECTOR as usize];
    media.read(number * SECTOR, &mut bytes).ok().map(|()| bytes)
}

/// What is known at a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    /// What the commit record may say.
    pub(super) life: Life,
    /// Number of the last image that was valid before.
    pub(super) image: Option<usize>,
    /// It was consumed before.
    pub(super) is_consumed: bool,
}

/// All of a run.
pub(super) struct Lives {
    pub(super) images: Vec<Image>,
    /// By the number of the cut.
    pub(super) cuts: Vec<At>,
}

impl Lives {
    /// Those with this commit record.
    pub(super) fn of(record: &Record<'_>, cuts: &[Cut], commit: &Commit) -> Result<Self, BaseError> {
        let broken =
            |error: devices::disk::MediaError| BaseError::Host { offset: 0, reason: error.to_string() };
        let mut replay = Replay::new(record).map_err(broken)?;
        let mut walk = Walk {
            record,
            commit,
            lives: Self { images: Vec::new(), cuts: Vec::new() },
            is_valid: false,
            life: Life { valid: false, invalid: true },
            written: vec![BTreeSet::new(); record.scenario.disks.len()],
        };
        let mut next = cuts.iter().peekable();
        for (at, entry) in record.entries().iter().enumerate() {
            let happening = walk.happening(&entry.what);
            if happening == Doing::Commits && walk.is_valid {
                walk.keep(replay.disks())?;
            }
            replay.step()?;
            if let Happening::Disk(event) = &entry.what {
                walk.note(event, replay.disks());
            }
            match happening {
                Doing::Commits => {
                    let before = walk.is_valid;
                    walk.is_valid = commit.is_valid(&current(replay.disks())?)?;
                    walk.turn(before, at, entry.boot);
                    walk.life = commit.life(replay.disks())?;
                }
                Doing::Settles => walk.life = commit.life(replay.disks())?,
                Doing::Nothing => {}
            }
            while next.next_if(|cut| cut.entry == at).is_some() {
                let image = walk.lives.images.len().checked_sub(1);
                let is_consumed = !walk.is_valid && image.is_some();
                walk.lives.cuts.push(At { life: walk.life, image, is_consumed });
            }
        }
        if walk.is_valid {
            walk.keep(replay.disks())?;
        }
        Ok(walk.lives)
    }
}

fn current(disks: &[DiskThen]) -> Result<Vec<Media>, BaseError> {
    disks.iter().map(DiskThen::current).collect()
}

/// What an entry of the history can do to the commit record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Nothing,
    /// What was accepted becomes durable, or is lost.
    Settles,
    /// It may be overwritten.
    Commits,
}

struct Walk<'a> {
    record: &'a Record<'a>,
    commit: &'a Commit,
    lives: Lives,
    is_valid: bool,
    life: Life,
    written: Vec<BTreeSet<u64>>,
}

impl Walk<'_> {
    fn happening(&self, what: &Happening) -> Doing {
        match what {
            Happening::Power(_) => Doing::Commits,
            Happening::Disk(event) if usize::from(event.disk) == self.commit.disk => {
                let sectors = self.commit.sectors();
                match (event.step, event.action) {
                    (_, DiskAction::Read(_)) => Doing::Nothing,
                    (DiskStep::Accepted, DiskAction::Write { extent, .. }) => {
                        let touches = extent.sector < sectors.end && sectors.start < extent.end();
                        if touches { Doing::Commits } else { Doing::Nothing }
                    }
                    // Of several ranges the event names only the first.
                    (DiskStep::Accepted, DiskAction::Discard(_) | DiskAction::WriteZeroes(_)) => {
                        Doing::Commits
                    }
                    (DiskStep::Accepted, DiskAction::Flush) => Doing::Nothing,
                    _ => Doing::Settles,
                }
            }
            _ => Doing::Nothing,
        }
    }

    /// The disks are as they are when the last image is whole.
    fn keep(&mut self, disks: &[DiskThen]) -> Result<(), BaseError> {
        let Some(image) = self.lives.images.last_mut() else { return Ok(()) };
        image.whole = current(disks)?;
        image.pieces = Pieces::of(self.record.scenario, self.commit, &image.whole)?;
        image.before.clone_from(&self.written);
        Ok(())
    }

    /// The commit record says something else than before, perhaps.
    fn turn(&mut self, before: bool, at: usize, boot: u32) {
        let boot_of = |entry: usize| self.record.entries().get(entry).map(|entry| entry.boot);
        match (before, self.is_valid, self.lives.images.last_mut()) {
            (false, true, _) => self.lives.images.push(Image {
                valid: at,
                end: None,
                is_unmarked: false,
                whole: Vec::new(),
                pieces: Pieces::default(),
                before: Vec::new(),
                after: vec![BTreeSet::new(); self.written.len()],
            }),
            (true, false, Some(image)) => {
                image.end = Some(at);
                image.is_unmarked = boot_of(image.valid) == Some(boot);
            }
            _ => {}
        }
    }

    /// Notes the blocks that a request that was accepted writes.
    fn note(&mut self, event: &DiskEvent, disks: &[DiskThen]) {
        let disk = usize::from(event.disk);
        if event.step != DiskStep::Accepted || matches!(event.action, DiskAction::Read(_) | DiskAction::Flush)
        {
            return;
        }
        let (Some(then), Some(written)) = (disks.get(disk), self.written.get_mut(disk)) else { return };
        let Some(write) = then.pending.iter().rev().find(|write| write.request == event.request) else {
            return;
        };
        let header = self.commit.at / BLOCK..(self.commit.at / BLOCK) + 1;
        let keeper = match self.commit.format {
            Format::Swsusp => header,
            Format::Snapshot | Format::Jump => self.commit.part.start / BLOCK..self.commit.part.end / BLOCK,
        };
        let ended = self.lives.images.last_mut().filter(|image| image.end.is_some());
        let mut after = ended.and_then(|image| image.after.get_mut(disk));
        for change in &write.changes {
            for block in change.extent.sector / SECTORS..change.extent.end().div_ceil(SECTORS) {
                written.insert(block);
                if let Some(after) = &mut after
                    && !(disk == self.commit.disk && keeper.contains(&block))
                {
                    after.insert(block);
                }
            }
        }
    }
}
