//! The machine's disk as the host sees it: a sparse raw file.
//!
//! QEMU writes to the file through the host's page cache, which outlives it: whatever the guest's write completed is
//! here, also after QEMU was killed. What a disk with a volatile cache would lose is not for this machine to show.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use agent_protocol::image::{HEADER_LEN, Header, ImageError};
use agent_protocol::layout::MIB;
use agent_protocol::message::{Partition, PartitionKind};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use thiserror::Error;

const CHUNK: u64 = 64 << 10;

/// The host cannot do something with a disk's file.
#[derive(Debug, Error)]
#[error("{}: {error}", .path.display())]
pub struct DiskError {
    /// The file.
    pub path: PathBuf,
    /// What went wrong.
    pub error: io::Error,
}

/// Sizes in MiB of the partitions of the main disk: ext4, swap, image. They follow each other from 1 MiB on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Partition 1.
    pub ext4: u32,
    /// Partition 2.
    pub swap: u32,
    /// Partition 3.
    pub image: u32,
}

impl Default for Layout {
    fn default() -> Layout {
        Layout { ext4: 64, swap: 192, image: 256 }
    }
}

impl Layout {
    /// As the agent is asked to make them.
    pub fn partitions(self) -> Vec<Partition> {
        let kinds = [PartitionKind::Linux, PartitionKind::Swap, PartitionKind::Image];
        let sizes = [self.ext4, self.swap, self.image];
        kinds.into_iter().zip(sizes).map(|(kind, mib)| Partition { mib, kind }).collect()
    }

    /// Bytes of partition 1, 2 or 3.
    pub fn range(self, partition: u32) -> Range<u64> {
        let sizes = [1, self.ext4, self.swap, self.image];
        let end: u64 = sizes.iter().take(partition as usize + 1).map(|mib| u64::from(*mib) * MIB).sum();
        let len = sizes.get(partition as usize).map_or(0, |mib| u64::from(*mib) * MIB);
        end - len..end
    }

    fn len(self) -> u64 {
        self.range(3).end + MIB
    }
}

/// A disk.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    file: File,
    layout: Layout,
}

impl Disk {
    /// A blank disk for these partitions.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn blank(path: &Path, layout: Layout) -> Result<Disk, DiskError> {
        let make = || {
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
            file.set_len(layout.len())?;
            Ok(file)
        };
        match make() {
            Ok(file) => Ok(Disk { path: path.to_owned(), file, layout }),
            Err(error) => Err(DiskError { path: path.to_owned(), error }),
        }
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its partitions.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// All that is not zero, except in partition 3.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn outside_image(&self) -> Result<Contents, DiskError> {
        let image = self.layout.range(3);
        let mut contents = self.read(0..image.start)?;
        contents.chunks.extend(self.read(image.end..self.layout.len())?.chunks);
        Ok(contents)
    }

    /// All that is not zero in a partition (from 1).
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn partition(&self, partition: u32) -> Result<Contents, DiskError> {
        self.read(self.layout.range(partition))
    }

    /// The header of the image, or which check refuses it.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn image_header(&self) -> Result<Result<Header, ImageError>, DiskError> {
        let mut sector = [0; HEADER_LEN];
        let read = self.file.read_exact_at(&mut sector, self.layout.range(3).start);
        self.named(read)?;
        Ok(Header::decode(&sector))
    }

    /// The last bytes of the first page of the swap partition: `SWAPSPACE2`, or what swsusp puts in its place while an image
    /// is there.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn swap_signature(&self) -> Result<[u8; 10], DiskError> {
        let mut signature = [0; 10];
        let read = self.file.read_exact_at(&mut signature, self.layout.range(2).start + 4096 - 10);
        self.named(read)?;
        Ok(signature)
    }

    /// Changes bytes of the image partition in place, from byte `offset` of it on.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn damage_image(
        &self,
        offset: u64,
        len: usize,
        damage: impl FnOnce(&mut [u8]),
    ) -> Result<(), DiskError> {
        let at = self.layout.range(3).start + offset;
        let mut bytes = vec![0; len];
        let read = self.file.read_exact_at(&mut bytes, at);
        self.named(read)?;
        damage(&mut bytes);
        self.named(self.file.write_all_at(&bytes, at))
    }

    fn read(&self, range: Range<u64>) -> Result<Contents, DiskError> {
        let mut chunks = BTreeMap::new();
        let mut at = range.start;
        while at < range.end {
            let data = match lseek(&self.file, at as i64, Whence::SeekData) {
                Ok(data) => data as u64,
                // Nothing but a hole up to the end of the file.
                Err(Errno::ENXIO) => break,
                Err(errno) => return self.named(Err(errno.into())),
            };
            if data >= range.end {
                break;
            }
            let place = (data / CHUNK * CHUNK).max(range.start);
            let end = (data / CHUNK * CHUNK + CHUNK).min(range.end);
            let mut bytes = vec![0; (end - place) as usize];
            self.named(self.file.read_exact_at(&mut bytes, place))?;
            if bytes.iter().any(|byte| *byte != 0) {
                chunks.insert(place, bytes);
            }
            at = end;
        }
        Ok(Contents { start: range.start, len: range.end - range.start, chunks })
    }

    fn named<T>(&self, result: io::Result<T>) -> Result<T, DiskError> {
        result.map_err(|error| DiskError { path: self.path.clone(), error })
    }
}

/// What stands on a stretch of a disk.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents {
    start: u64,
    len: u64,
    /// Pieces that are not all zero, by their place on the disk.
    chunks: BTreeMap<u64, Vec<u8>>,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} KiB at {:#x} of the disk", self.chunks.len() as u64 * CHUNK / 1024, self.start)
    }
}

impl Contents {
    /// Where on the disk the two differ first, and in how many pieces of 64 KiB; `None` if they are equal.
    pub fn difference(&self, other: &Contents) -> Option<(u64, usize)> {
        let zeros = vec![0; CHUNK as usize];
        let mut places: Vec<u64> = self.chunks.keys().chain(other.chunks.keys()).copied().collect();
        places.sort_unstable();
        places.dedup();
        let differing: Vec<u64> = places
            .into_iter()
            .filter_map(|place| {
                let of = |contents: &Contents| contents.chunks.get(&place).cloned();
                let (ours, theirs) = (of(self), of(other));
                let ours = ours.as_deref().unwrap_or(&zeros);
                let theirs = theirs.as_deref().unwrap_or(&zeros);
                let at = ours.iter().zip(theirs).position(|(a, b)| a != b)?;
                Some(place + at as u64)
            })
            .collect();
        Some((*differing.first()?, differing.len()))
    }

    /// Writes it into a file of its own, which then looks like the stretch of the disk.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn save(&self, path: &Path) -> Result<(), DiskError> {
        let save = || {
            let file = File::create(path)?;
            file.set_len(self.len)?;
            for (place, bytes) in &self.chunks {
                file.write_all_at(bytes, place - self.start)?;
            }
            Ok(())
        };
        save().map_err(|error| DiskError { path: path.to_owned(), error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_protocol::image::{Kind, State};

    fn blank(directory: &tempfile::TempDir) -> Disk {
        Disk::blank(&directory.path().join("disk"), Layout { ext4: 2, swap: 2, image: 2 }).unwrap()
    }

    #[test]
    fn partitions_follow_each_other() {
        let layout = Layout::default();
        assert_eq!(layout.range(1), MIB..65 * MIB);
        assert_eq!(layout.range(2), 65 * MIB..257 * MIB);
        assert_eq!(layout.range(3), 257 * MIB..513 * MIB);
    }

    #[test]
    fn a_foreign_write_is_found_and_one_to_the_image_is_not_foreign() {
        let directory = tempfile::tempdir().unwrap();
        let disk = blank(&directory);
        let before = disk.outside_image().unwrap();
        assert_eq!(format!("{before:?}"), "0 KiB at 0x0 of the disk");
        disk.damage_image(0, 2 << 20, |bytes| bytes.fill(7)).unwrap();
        assert_eq!(before.difference(&disk.outside_image().unwrap()), None);
        for place in [0, MIB - 1, 3 * MIB + 70_000, 5 * MIB - 1, 7 * MIB] {
            disk.file.write_all_at(&[1], place).unwrap();
            assert_eq!(before.difference(&disk.outside_image().unwrap()), Some((place, 1)), "{place:#x}");
            disk.file.write_all_at(&[0], place).unwrap();
            assert_eq!(before.difference(&disk.outside_image().unwrap()), None);
        }
    }

    #[test]
    fn a_partition_is_copied_with_its_holes() {
        let directory = tempfile::tempdir().unwrap();
        let disk = blank(&directory);
        disk.file.write_all_at(b"swap", 3 * MIB + 100_000).unwrap();
        let copy = directory.path().join("copy");
        disk.partition(2).unwrap().save(&copy).unwrap();
        let bytes = std::fs::read(copy).unwrap();
        assert_eq!(bytes.len() as u64, 2 * MIB);
        assert_eq!(&bytes[100_000..100_004], b"swap");
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 4);
    }

    #[test]
    fn the_header_is_read_where_the_image_begins() {
        let directory = tempfile::tempdir().unwrap();
        let disk = blank(&directory);
        assert_eq!(disk.image_header().unwrap(), Err(ImageError::Magic));
        let sector = Header::writing(Kind::JumpedMemory).encode();
        disk.damage_image(0, sector.len(), |bytes| bytes.copy_from_slice(&sector)).unwrap();
        assert_eq!(disk.image_header().unwrap().unwrap().state, State::Writing);
    }
}
