//! A journal of numbered records on ext4, each synced before the next is written, and files rewritten without hurry.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use agent_protocol::journal::{RECORD_LEN, record};
use agent_protocol::message::Failure;
use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::differences::Differences;
use super::pattern::{self, Pattern};
use super::work::{Pulse, Work};
use crate::failure::While;
use crate::mapping::Mapping;

const DATA_FILES: usize = 4;
const DATA_LEN: usize = 96 * 1024;
/// A data file is rewritten every so many records; one in two rewrites is left to the kernel's writeback.
const RECORDS_PER_REWRITE: u64 = 10;
/// Of a read that bypasses the page cache.
const DIRECT_LEN: usize = 64 * 1024;

/// Where a file is read from.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// As programs do: mostly pages that stayed in memory.
    Cache,
    /// Past the page cache.
    Disk,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Source::Cache => "",
            Source::Disk => " on disk",
        }
    }

    fn read(self, path: &Path) -> std::io::Result<Vec<u8>> {
        match self {
            Source::Cache => fs::read(path),
            Source::Disk => read_from_disk(path),
        }
    }
}

/// Writes back what is dirty and reads with O_DIRECT. Where that is not possible the cached pages are dropped first.
fn read_from_disk(path: &Path) -> std::io::Result<Vec<u8>> {
    let cached = File::open(path)?;
    cached.sync_data()?;
    let mut contents = Vec::new();
    let mut file = match OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path) {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
            posix_fadvise(&cached, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
            cached
        }
        Err(error) => return Err(error),
    };
    let mut buffer = Mapping::anonymous(DIRECT_LEN)?;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(contents),
            len => contents.extend_from_slice(&buffer[..len]),
        }
    }
}

/// The workload. It keeps no file open between two steps: an inode in use stays in memory when caches are dropped, and what is wrong with it
/// on the disk would not be seen.
pub struct Ext4 {
    directory: PathBuf,
    journal: PathBuf,
    seed: u64,
    /// Records known to be on disk.
    synced: u64,
    /// Generation of each data file; 0 for one that is not written yet.
    generations: [u64; DATA_FILES],
    rewritten: u64,
}

impl Ext4 {
    /// Starts an empty journal in a directory; files of an earlier run are replaced.
    ///
    /// # Errors
    /// If the files cannot be made.
    pub fn new(directory: &str, seed: u64) -> Result<Ext4, Failure> {
        let directory = PathBuf::from(directory);
        let journal = directory.join("journal");
        let making = || format!("making {}", journal.display());
        let made =
            OpenOptions::new().write(true).create(true).truncate(true).open(&journal).while_doing(making)?;
        // The name must be as durable as the records will be.
        made.sync_all().while_doing(making)?;
        File::open(&directory).and_then(|directory| directory.sync_all()).while_doing(making)?;
        let mut ext4 =
            Ext4 { directory, journal, seed, synced: 0, generations: [0; DATA_FILES], rewritten: 0 };
        for number in 0..DATA_FILES {
            let writing = || format!("writing {}", ext4.data_path(number).display());
            ext4.write_data(number, 1).while_doing(writing)?;
            ext4.generations[number] = 1;
        }
        Ok(ext4)
    }

    fn data_path(&self, number: usize) -> PathBuf {
        self.directory.join(format!("data-{number}"))
    }

    fn data(&self, number: usize, generation: u64) -> Vec<u8> {
        Pattern::new(self.seed, [number as u64, generation]).bytes(DATA_LEN)
    }

    fn write_data(&self, number: usize, generation: u64) -> std::io::Result<()> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(self.data_path(number))?;
        file.write_all_at(&self.data(number, generation), 0)?;
        if generation.is_multiple_of(2) { file.sync_data() } else { Ok(()) }
    }

    /// Appends a record and syncs it. One that fails is tried again, at the same place and with the same number.
    fn append(&mut self) -> Result<(), String> {
        let number = self.synced + 1;
        OpenOptions::new()
            .write(true)
            .open(&self.journal)
            .and_then(|journal| {
                journal.write_all_at(&record(self.seed, number), self.synced * RECORD_LEN as u64)?;
                journal.sync_data()
            })
            .map_err(|error| format!("journal record {number}: {error}"))?;
        self.synced = number;
        Ok(())
    }

    fn rewrite(&mut self) -> Result<(), String> {
        let number = (self.rewritten % DATA_FILES as u64) as usize;
        let generation = self.generations[number] + 1;
        self.rewritten = self.rewritten.wrapping_add(1);
        // Even if writing fails: the file is wrong then, and said to be so until the next rewrite succeeds.
        self.generations[number] = generation;
        let written = self.write_data(number, generation);
        written.map_err(|error| format!("data-{number} generation {generation}: {error}"))
    }

    fn verify_journal(&self, source: Source, found: &mut Differences) {
        let place = format!("journal{}", source.name());
        let bytes = match source.read(&self.journal) {
            Ok(bytes) => bytes,
            Err(error) => return found.add(format!("{place}: {error}")),
        };
        for (number, chunk) in (1..).zip(bytes.chunks(RECORD_LEN)) {
            if number > self.synced {
                // What a failed append left behind is overwritten by the next.
                break;
            }
            if let Some(difference) = pattern::difference(&record(self.seed, number), chunk) {
                found.add(format!("{place}: record {number}, {difference}"));
            }
        }
        let records = bytes.len() as u64 / RECORD_LEN as u64;
        if records < self.synced {
            found.add(format!("{place}: {records} records, {} were synced", self.synced));
        }
    }

    fn verify_data(&self, number: usize, source: Source) -> Result<(), String> {
        let place = format!("data-{number}{}", source.name());
        let found = source.read(&self.data_path(number)).map_err(|error| format!("{place}: {error}"))?;
        let generation = self.generations[number];
        match pattern::difference(&self.data(number, generation), &found) {
            Some(difference) => Err(format!("{place}: generation {generation}, {difference}")),
            None => Ok(()),
        }
    }
}

impl Work for Ext4 {
    fn step(&mut self, found: &mut Differences) {
        found.note(self.append());
        if self.synced.is_multiple_of(RECORDS_PER_REWRITE) {
            found.note(self.rewrite());
        }
    }

    fn check(&mut self, found: &mut Differences) {
        for source in [Source::Cache, Source::Disk] {
            self.verify_journal(source, found);
            for number in 0..DATA_FILES {
                found.note(self.verify_data(number, source));
            }
        }
    }

    fn pulses(&self) -> Vec<Pulse> {
        vec![Pulse::new("journal", self.synced)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::work::Worker;

    /// What a check says after the files of a directory were damaged.
    fn after(damage: impl FnOnce(&Path)) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let mut worker = Worker::new(Ext4::new(directory.path().to_str().unwrap(), 6).unwrap());
        (0..20).for_each(|_| worker.step());
        assert_eq!(worker.check(), Vec::<String>::new());
        assert_eq!(worker.work.progress(), 20);
        damage(directory.path());
        let mut found = Differences::default();
        worker.work.check(&mut found);
        found.take()
    }

    fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn the_journal_is_the_one_the_host_replays() {
        let directory = tempfile::tempdir().unwrap();
        let mut worker = Worker::new(Ext4::new(directory.path().to_str().unwrap(), 6).unwrap());
        (0..5).for_each(|_| worker.step());
        let bytes = fs::read(directory.path().join("journal")).unwrap();
        assert_eq!(agent_protocol::journal::replay(&bytes, 6, worker.work.progress()), Ok(5));
    }

    #[test]
    fn a_dropped_record_is_found() {
        let differences = after(|directory| {
            rewrite(&directory.join("journal"), |bytes| {
                bytes.drain(9 * RECORD_LEN..10 * RECORD_LEN);
            });
        });
        assert!(differences[0].starts_with("journal: record 10, offset "), "{differences:?}");
        let differences = after(|directory| {
            rewrite(&directory.join("journal"), |bytes| bytes.truncate(19 * RECORD_LEN));
        });
        assert_eq!(
            differences,
            ["journal: 19 records, 20 were synced", "journal on disk: 19 records, 20 were synced"]
        );
    }

    #[test]
    fn a_lost_data_block_is_found_in_cache_and_on_disk() {
        let differences = after(|directory| {
            rewrite(&directory.join("data-2"), |bytes| bytes[8192..12288].fill(0));
        });
        assert!(differences[0].starts_with("data-2: generation 1, offset 0x200"), "{differences:?}");
        assert!(differences[1].starts_with("data-2 on disk: generation 1, offset 0x200"), "{differences:?}");
        assert_eq!(differences.len(), 2);
    }

    #[test]
    fn a_failing_write_is_a_difference_and_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut worker = Worker::new(Ext4::new(directory.path().to_str().unwrap(), 6).unwrap());
        worker.step();
        let good = std::mem::replace(&mut worker.work.journal, "/dev/full".into());
        worker.step();
        worker.work.journal = good;
        worker.step();
        assert_eq!(worker.check(), ["journal record 2: No space left on device (os error 28)"]);
        assert_eq!(worker.work.progress(), 2);
    }

    #[test]
    fn a_directory_that_is_not_there_is_refused() {
        let failure = Ext4::new("/nowhere/at/all", 1).err().unwrap();
        assert_eq!(failure.errno, Some(Errno::ENOENT as i32));
        assert!(failure.text.starts_with("while making /nowhere/at/all/journal: "), "{failure}");
    }
}
