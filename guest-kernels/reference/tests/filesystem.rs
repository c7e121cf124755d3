//! The judge of file systems: silent on a clean one, whose journal may need a replay; loud on damage.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::FileExt;
use std::process::Command;

use agent_link::filesystem::FilesystemError;
use agent_protocol::journal;
use reference_machine::disk::{Disk, Layout};
use reference_machine::filesystem::{self, check};

/// A disk whose first partition holds an ext4 with a journal of `records` records.
fn disk(directory: &tempfile::TempDir, records: u64) -> Disk {
    let tree = directory.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let bytes: Vec<u8> = (1..=records).flat_map(|number| journal::record(7, number)).collect();
    std::fs::write(tree.join("journal"), bytes).unwrap();
    let made = directory.path().join("made");
    let layout = Layout { ext4: 8, swap: 1, image: 1 };
    let status = Command::new("/sbin/mke2fs")
        .args(["-q", "-t", "ext4", "-d"])
        .args([&tree, &made])
        .arg("8M")
        .status()
        .unwrap();
    assert!(status.success());
    let disk = Disk::blank(&directory.path().join("disk"), layout).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(disk.path()).unwrap();
    file.write_all_at(&std::fs::read(made).unwrap(), layout.range(1).start).unwrap();
    disk
}

#[test]
fn a_clean_file_system_is_clean() {
    let directory = tempfile::tempdir().unwrap();
    let disk = disk(&directory, 12);
    assert_eq!(check(&disk.partition(1).unwrap(), "/journal", 7, 10).unwrap(), 12);
}

#[test]
fn a_lost_record_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let disk = disk(&directory, 12);
    let error = check(&disk.partition(1).unwrap(), "/journal", 7, 13).unwrap_err();
    assert_eq!(error.to_string(), "journal of the ext4 workload: 12 records, 13 were synced");
}

#[test]
fn damage_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let disk = disk(&directory, 12);
    let file = std::fs::OpenOptions::new().write(true).open(disk.path()).unwrap();
    // The superblock's count of free inodes.
    file.write_all_at(&[0xff], disk.layout().range(1).start + 1024 + 0x10).unwrap();
    let error = check(&disk.partition(1).unwrap(), "/journal", 7, 1).unwrap_err();
    assert!(matches!(error, filesystem::FilesystemError::Judged(FilesystemError::Unclean { .. })), "{error}");
}
