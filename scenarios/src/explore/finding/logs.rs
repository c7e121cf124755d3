//! The disks after the cut, as logs in the format of dm-log-writes.

use std::path::Path;

use devices::disk::dm_log_writes::{Order, at_cut, export};
use devices::disk::{Media, SECTOR};

use super::FindingError;
use super::found::Facts;
use super::loss::{Then, is_same};
use crate::report::file::write_whole;

/// Logs that were written.
#[derive(Debug, Default)]
pub(super) struct Logs {
    /// Their names, by number of the disk.
    pub(super) names: Vec<(usize, String)>,
    /// What is wrong with them.
    pub(super) said: Vec<String>,
}

/// Writes a log of each disk that was ever written.
pub(super) fn write(
    facts: &Facts<'_>,
    then: &Then,
    media: &[Media],
    number: usize,
    directory: &Path,
) -> Result<Logs, FindingError> {
    let mut logs = Logs::default();
    for (disk, (log, wanted)) in facts.context.record.logs.iter().zip(media).enumerate() {
        let place = then.places.get(disk).copied().unwrap_or(0);
        let cut = at_cut(log, place, &facts.loss.parts(disk));
        if cut.is_empty() {
            continue;
        }
        let name = format!("finding-{number}-{}.log", facts.disk(disk));
        let path = directory.join(&name);
        let failed = |error| FindingError::Write { path: path.display().to_string(), error };
        let mut bytes = Vec::new();
        export(&cut, Order::Durability, &mut bytes).map_err(failed)?;
        if !rebuilt(&bytes, wanted.bytes()).is_some_and(|rebuilt| is_same(&rebuilt, wanted)) {
            logs.said.push(format!("{name} does not give the contents that were explored"));
        }
        write_whole(&path, &bytes).map_err(failed)?;
        logs.names.push((disk, name));
    }
    Ok(logs)
}

/// What a blank disk of this size is after a whole log. None: the log is not well-formed.
pub fn rebuilt(log: &[u8], size: u64) -> Option<Media> {
    const DISCARD: u64 = 4;
    const MARK: u64 = 8;
    let field = |at: usize| Some(u64::from_le_bytes(*log.get(at..)?.first_chunk::<8>()?));
    let mut media = Media::blank(size).ok()?;
    let mut at = SECTOR as usize;
    for _ in 0..field(16)? {
        let (sector, sectors, flags) = (field(at)?, field(at + 8)?, field(at + 16)?);
        let (start, length) = (sector.checked_mul(SECTOR)?, sectors.checked_mul(SECTOR)?);
        at += SECTOR as usize;
        if flags & MARK != 0 {
            continue;
        }
        if flags & DISCARD != 0 {
            media.zero(start, length).ok()?;
            continue;
        }
        let end = at.checked_add(usize::try_from(length).ok()?)?;
        media.write(start, log.get(at..end)?).ok()?;
        at = end;
    }
    Some(media)
}
