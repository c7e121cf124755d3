//! What disks hold as a run goes on, from their write logs.

use std::iter::Peekable;

use devices::disk::write_log::{Entry, Operation, Record as Logged};
use devices::disk::{Contents, Extent, Media};

use super::Record;

const SECTOR: u64 = 512;

type Log<'a> = Peekable<Box<dyn Iterator<Item = &'a Entry> + 'a>>;

/// Contents of the disks of a scenario, blank at first: as a guest reads them, whether durable or not.
pub(super) struct Replay<'a> {
    disks: Vec<(Media, Log<'a>)>,
}

impl<'a> Replay<'a> {
    /// At the beginning. Disks without a log are left out.
    pub(super) fn of(record: &Record<'a>) -> Self {
        let disks = record.scenario.disks.iter().zip(record.logs);
        let disks = disks.map_while(|(spec, log)| {
            let entries: Box<dyn Iterator<Item = &'a Entry> + 'a> = Box::new(log.entries());
            Some((Media::blank(spec.size).ok()?, entries.peekable()))
        });
        Self { disks: disks.collect() }
    }

    /// The next request of this disk that is no read was accepted.
    pub(super) fn accept(&mut self, disk: usize) {
        let Some((media, log)) = self.disks.get_mut(disk) else { return };
        for entry in log.by_ref() {
            apply(media, &entry.record);
            if matches!(entry.record, Logged::Accepted { .. }) {
                return;
            }
        }
    }

    /// Something happened to the power: what was lost is no longer there. Returns where that is, by disk.
    pub(super) fn power(&mut self) -> Vec<(usize, Extent)> {
        let mut lost = Vec::new();
        for (disk, (media, log)) in self.disks.iter_mut().enumerate() {
            while let Some(entry) = log.next_if(|entry| !matches!(entry.record, Logged::Accepted { .. })) {
                apply(media, &entry.record);
                if let Logged::Lost { reverted } = &entry.record {
                    lost.extend(reverted.iter().map(|(extent, _)| (disk, *extent)));
                }
            }
        }
        lost
    }

    /// Contents now; a copy costs nothing.
    pub(super) fn media(&self, disk: usize) -> Option<&Media> {
        self.disks.get(disk).map(|(media, _)| media)
    }

    /// Bytes of a disk now, zeros where there are none.
    pub(super) fn read<const N: usize>(&self, disk: usize, offset: u64) -> [u8; N] {
        let mut bytes = [0; N];
        if let Some(media) = self.media(disk)
            && let Err(error) = media.read(offset, &mut bytes)
        {
            tracing::warn!(disk, %error, "contents are not known");
        }
        bytes
    }
}

fn apply(media: &mut Media, record: &Logged) {
    let changes = match record {
        Logged::Accepted { operation: Operation::Change { changes, .. }, .. } => changes,
        Logged::Lost { reverted } => reverted,
        _ => return,
    };
    for (Extent { sector, sectors }, contents) in changes {
        let offset = sector.saturating_mul(SECTOR);
        // Blank contents have no base that could fail to be read.
        let _ = match contents {
            Contents::Data(bytes) => media.write(offset, bytes),
            Contents::Zeros | Contents::Discarded => media.zero(offset, sectors.saturating_mul(SECTOR)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tale;
    use super::*;

    #[test]
    fn contents_come_with_writes_and_go_with_power() {
        let mut tale = Tale::new();
        tale.write(0, 8, &[1; 512]);
        tale.flush(0);
        tale.write(0, 8, &[2; 512]);
        tale.cut();
        tale.run(|record| {
            let mut replay = Replay::of(record);
            let byte = |replay: &Replay<'_>| replay.read::<1>(0, 8 * SECTOR)[0];
            assert_eq!(byte(&replay), 0);
            replay.accept(0);
            assert_eq!(byte(&replay), 1);
            // The flush, and the second write.
            replay.accept(0);
            replay.accept(0);
            assert_eq!(byte(&replay), 2);
            assert_eq!(replay.power(), [(0, Extent { sector: 8, sectors: 8 })]);
            assert_eq!(byte(&replay), 1);
        });
    }
}
