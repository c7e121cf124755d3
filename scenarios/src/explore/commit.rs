//! The commit record of an image: what says that there is one.

use std::ops::Range;

use agent_protocol::image::{HEADER_LEN, Header, Kind as ImageKind};
use devices::disk::{BaseError, Media, SECTOR};
use serde::{Deserialize, Serialize};

use super::replay::DiskThen;

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

    /// What may stand there after a cut now: the durable version, and any that was accepted since.
    ///
    /// # Errors
    /// [`BaseError`].
    pub(super) fn life(&self, disks: &[DiskThen]) -> Result<Life, BaseError> {
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

/// What a commit record may say after a cut.
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

#[cfg(test)]
mod tests {
    use agent_protocol::image::State;

    use super::*;

    #[test]
    fn only_a_valid_header_of_its_own_kind_is_an_image() {
        let mut media = Media::blank(1 << 20).unwrap();
        let part = 0..1 << 20;
        let of = |format| Commit { disk: 0, at: 4096, format, part: part.clone() };
        let valid = |media: &Media, format| of(format).is_valid(std::slice::from_ref(media)).unwrap();
        let all = [Format::Swsusp, Format::Snapshot, Format::Jump];
        assert_eq!(all.map(|format| valid(&media, format)), [false; 3]);
        for state in [State::Writing, State::Valid, State::Consumed, State::Failed(28)] {
            let header = Header { state, ..Header::writing(ImageKind::JumpedMemory) };
            media.write(4096, &header.encode()).unwrap();
            let is_valid = state == State::Valid;
            assert_eq!(all.map(|format| valid(&media, format)), [false, false, is_valid], "{state:?}");
        }
        media.write(8192 - 10, b"S1SUSPEND").unwrap();
        assert!(valid(&media, Format::Swsusp));
        media.write(8192 - 10, b"SWAPSPACE2").unwrap();
        assert!(!valid(&media, Format::Swsusp));
        assert!(!of(Format::Swsusp).is_valid(&[]).unwrap());
        assert_eq!((of(Format::Swsusp).sectors(), of(Format::Jump).sectors()), (15..16, 8..9));
    }

    #[test]
    fn what_is_allowed_follows_from_what_may_stand_there() {
        let allowed = |valid, invalid| Life { valid, invalid }.allowed();
        assert_eq!(allowed(true, false), ["resume"]);
        assert_eq!(allowed(false, true), ["cold boot"]);
        assert_eq!(allowed(true, true), ["resume", "cold boot"]);
    }
}
