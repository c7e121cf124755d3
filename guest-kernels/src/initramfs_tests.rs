use super::*;
use proptest::prelude::*;
use std::io::Write;
use std::process::{Command, Stdio};

#[derive(Debug, PartialEq, Eq)]
struct Read {
    inode: u32,
    mode: u32,
    device: (u32, u32),
    contents: Vec<u8>,
}

/// A reader as small as can be, which insists on what the kernel relies on.
fn read(archive: &[u8]) -> Vec<(String, Read)> {
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        let header = std::str::from_utf8(&archive[at..at + 110]).unwrap();
        assert_eq!(&header[..6], "070701");
        let field = |n: usize| u32::from_str_radix(&header[6 + 8 * n..14 + 8 * n], 16).unwrap();
        let (len, name_len) = (field(6) as usize, field(11) as usize);
        let name = &archive[at + 110..at + 110 + name_len];
        assert_eq!(name.last(), Some(&0));
        let name = String::from_utf8(name[..name_len - 1].to_vec()).unwrap();
        let start = (at + 110 + name_len).next_multiple_of(4);
        if name == "TRAILER!!!" {
            assert_eq!(archive.len(), start.next_multiple_of(512));
            return entries;
        }
        assert_eq!((field(2), field(3), field(5)), (0, 0, 0), "owner, group, time of {name}");
        let contents = archive[start..start + len].to_vec();
        entries
            .push((name, Read { inode: field(0), mode: field(1), device: (field(9), field(10)), contents }));
        at = (start + len).next_multiple_of(4);
    }
}

#[test]
fn an_archive_has_what_was_put_in() {
    let archive = Initramfs::new()
        .file("/init", *b"#!", 0o755)
        .file("sbin/x/y", *b"", 0o600)
        .symlink("/lib", "usr/lib")
        .directory("/proc")
        .finish()
        .unwrap();
    let text: Vec<String> = read(&archive)
        .iter()
        .map(|(name, e)| format!("{} {:06o} {:?} {} {name}", e.inode, e.mode, e.device, e.contents.len()))
        .collect();
    insta::assert_snapshot!(text.join("\n"), @r"
    1 040755 (0, 0) 0 dev
    2 020600 (5, 1) 0 dev/console
    3 100755 (0, 0) 2 init
    4 120777 (0, 0) 7 lib
    5 040755 (0, 0) 0 proc
    6 040755 (0, 0) 0 sbin
    7 040755 (0, 0) 0 sbin/x
    8 100600 (0, 0) 0 sbin/x/y
    ");
}

#[test]
fn paths_that_cannot_be_are_refused() {
    let refused = |path: &str| Initramfs::new().file(path, *b"", 0o644).finish().unwrap_err().to_string();
    insta::assert_snapshot!(refused("/a/../../etc"), @"`a/../../etc` cannot be a path in an initramfs: it must have a name, no `..` and no NUL");
    insta::assert_snapshot!(refused("/"), @"`` cannot be a path in an initramfs: it must have a name, no `..` and no NUL");
    insta::assert_snapshot!(refused("/dev/console/x"), @"/dev/console is both a file and a directory of the initramfs");
    refused("TRAILER!!!");
    refused("a\0b");
}

#[test]
fn cpio_reads_it_where_it_is() {
    let archive =
        Initramfs::new().file("/init", *b"#!/bin/sh\n", 0o755).symlink("/a/b", "c").finish().unwrap();
    let child = Command::new("cpio")
        .arg("-t")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: no cpio here");
        return;
    };
    child.stdin.take().unwrap().write_all(&archive).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "a\na/b\ndev\ndev/console\ninit\n");
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        files in prop::collection::btree_map(
            "[a-z]{1,3}(/f[a-z]{0,4}){1,2}", (prop::collection::vec(any::<u8>(), 0..40), 0_u32..0o7777), 0..12),
    ) {
        let build = |order: Vec<(&String, &(Vec<u8>, u32))>| {
            order.into_iter().fold(Initramfs::new(), |all, (path, (bytes, mode))| all.file(path, bytes.clone(), *mode)).finish()
        };
        let Ok(archive) = build(files.iter().collect()) else {
            // A name is both: the writer said so.
            return Ok(());
        };
        prop_assert_eq!(&archive, &build(files.iter().rev().collect()).unwrap());
        let read = read(&archive);
        for (number, (_, entry)) in read.iter().enumerate() {
            prop_assert_eq!(entry.inode as usize, number + 1);
        }
        let mut seen = BTreeSet::new();
        for (name, entry) in &read {
            if let Some((parent, _)) = name.rsplit_once('/') {
                prop_assert!(seen.contains(parent), "{} comes before its directory", name);
            }
            seen.insert(name.clone());
            if let Some((bytes, mode)) = files.get(name) {
                prop_assert_eq!((&entry.contents, entry.mode), (bytes, REGULAR | mode));
            }
        }
        prop_assert!(files.keys().all(|path| seen.contains(path)));
    }
}
