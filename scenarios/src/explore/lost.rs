//! What a state lacks of what the disks had accepted.

use devices::disk::{BaseError, Extent, SECTOR};
use serde::{Deserialize, Serialize};

use super::family::{Choice, Needs};
use super::replay::DiskThen;
use super::space::{SECTORS, Space};

/// Sectors of a write that do not survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lost {
    /// Number of the disk.
    pub disk: usize,
    /// Number of the request, since the power of the disk came on.
    pub request: u64,
    /// The first sector.
    pub sector: u64,
    /// How many sectors.
    pub sectors: u64,
    /// The disk had said that they are durable.
    pub is_promised: bool,
}

impl Lost {
    /// They.
    pub fn extent(&self) -> Extent {
        Extent { sector: self.sector, sectors: self.sectors }
    }
}

/// The sectors whose newest accepted contents are not there after these choices, by the write that brought these contents: in the order
/// of disks, requests and sectors. A sector that is as it should be all the same is not lost.
///
/// # Errors
/// [`BaseError`].
pub fn lost(disks: &[DiskThen], choices: &[Choice]) -> Result<Vec<Lost>, BaseError> {
    let mut all = Vec::new();
    for (disk, (then, choice)) in disks.iter().zip(choices).enumerate() {
        let mut space = Space::new(disk, then)?;
        let contents = space.contents_of(then, choice)?;
        let whole = space.all();
        let mut of_disk: Vec<Lost> = Vec::new();
        for block in space.blocks() {
            let media = contents.media(block);
            if media.block_hash(block) == whole.block_hash(block) {
                continue;
            }
            for sector in block * SECTORS..(block + 1) * SECTORS {
                let (mut now, mut wanted) = ([0; SECTOR as usize], [0; SECTOR as usize]);
                media.read(sector * SECTOR, &mut now)?;
                whole.read(sector * SECTOR, &mut wanted)?;
                let touches = |extent: Extent| extent.sector <= sector && sector < extent.end();
                let mut writes = then.pending.iter().rev();
                let write = writes.find(|write| write.changes.iter().any(|change| touches(change.extent)));
                let Some(write) = write.filter(|_| now != wanted) else { continue };
                let (request, is_promised) = (write.request, write.is_promised);
                of_disk.push(Lost { disk, request, sector, sectors: 1, is_promised });
            }
        }
        of_disk.sort_unstable();
        for lost in of_disk {
            match all.last_mut() {
                Some(Lost { disk, request, sector, sectors, .. })
                    if (*disk, *request, *sector + *sectors) == (lost.disk, lost.request, lost.sector) =>
                {
                    *sectors += 1;
                }
                _ => all.push(lost),
            }
        }
    }
    Ok(all)
}

/// What the disks have to be to lose that.
pub fn weakest_fault(lost: &[Lost]) -> Needs {
    Needs::of(lost.len(), lost.iter().any(|lost| lost.is_promised))
}
