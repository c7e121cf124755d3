//! `kjvm boot` as a user types it: wrong arguments are named, and the same command gives the same digest.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::path::Path;
use std::process::{Command, Output};

fn kjvm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kjvm")).args(["-q", "boot"]).args(arguments).output().unwrap()
}

/// Exit code 2, and a message with these words.
fn is_refused(arguments: &[&str], words: &[&str]) {
    let output = kjvm(arguments);
    let text = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

fn file(directory: &Path, name: &str, bytes: &[u8]) -> String {
    let path = directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

/// The smallest ELF file for x86-64 that PVH can enter: its note, and a `hlt` in a loop that nothing wakes from.
fn idle_kernel() -> Vec<u8> {
    const ENTRY: u32 = 0x10_0000;
    // cli; hlt; jmp to the hlt
    let code = [0xfa, 0xf4, 0xeb, 0xfd];
    let mut note = Vec::new();
    for word in [4u32, 4, 18] {
        note.extend_from_slice(&word.to_le_bytes());
    }
    note.extend_from_slice(b"Xen\0");
    note.extend_from_slice(&ENTRY.to_le_bytes());
    let headers = 64 + 2 * 56;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend_from_slice(&[2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [u64::from(ENTRY), 64, 0] {
        elf.extend_from_slice(&word.to_le_bytes());
    }
    elf.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
    let mut segment = |kind: u32, offset: u64, address: u64, bytes: u64| {
        elf.extend_from_slice(&kind.to_le_bytes());
        elf.extend_from_slice(&7u32.to_le_bytes());
        for word in [offset, address, address, bytes, bytes, 4] {
            elf.extend_from_slice(&word.to_le_bytes());
        }
    };
    segment(1, headers, u64::from(ENTRY), code.len() as u64);
    segment(4, headers + 4, 0, note.len() as u64);
    elf.extend_from_slice(&code);
    elf.extend_from_slice(&note);
    elf
}

#[test]
fn what_is_no_kernel_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let text = file(
        directory.path(),
        "text",
        b"not a kernel, but long enough to be looked at".repeat(40).as_slice(),
    );
    is_refused(&[&text], &[&text, "not a Linux kernel"]);
    let mut elf = idle_kernel();
    elf[18] = 183;
    let arm = file(directory.path(), "arm", &elf);
    is_refused(&[&arm], &["x86-64"]);
    is_refused(&["primry-6.12"], &["primry-6.12", "primary-6.12"]);
    is_refused(&["./nowhere/bzImage"], &["./nowhere/bzImage", "No such file"]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = file(directory.path(), "kernel", &idle_kernel());
    let initrd = file(directory.path(), "initrd", &vec![0; 20 << 20]);
    is_refused(
        &[&kernel, "--initrd", &initrd, "--memory", "16M"],
        &["initrd has 20971520 bytes", "more RAM"],
    );
    is_refused(&[&kernel, "--memory", "0"], &["0 bytes"]);
    is_refused(&[&kernel, "--memory", "12Q"], &["no unit"]);
    is_refused(&[&kernel, "--cpus", "0"], &["--cpus"]);
    let long = "x".repeat(70_000);
    is_refused(&[&kernel, "--append", &long], &["command line"]);
}

#[test]
fn what_is_no_disk_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = file(directory.path(), "kernel", &idle_kernel());
    let odd = file(directory.path(), "odd", &[0; 1000]);
    is_refused(&[&kernel, "--disk", &odd], &[&odd, "512"]);
    is_refused(&[&kernel, "--disk", "/nowhere/disk"], &["/nowhere/disk", "No such file"]);
    let used = file(directory.path(), "used", &[0; 4096]);
    let writer = std::fs::File::options().write(true).open(&used).unwrap();
    writer.lock().unwrap();
    is_refused(&[&kernel, "--disk", &used], &[&used, "in use"]);
}

#[test]
fn a_guest_that_waits_for_ever_is_laid_open() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = file(directory.path(), "kernel", &idle_kernel());
    let output = kjvm(&[&kernel]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("processor 0  Halted at 0x100002"), "{text}");
}

#[test]
fn two_processes_give_one_digest() {
    let boot = || {
        let output = kjvm(&["saver-6.12", "--append", "kjvm.role=C", "--until", "kjvm agent", "--digest"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let first = boot();
    let digest = first.lines().find(|line| line.starts_with("digest ")).unwrap();
    assert_eq!(digest.len(), "digest ".len() + 64);
    assert_eq!(first, boot());
}

#[test]
fn a_run_stops_at_the_very_instruction() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = file(directory.path(), "kernel", &idle_kernel());
    let stopped = Command::new(env!("CARGO_BIN_EXE_kjvm"))
        .args(["boot", &kernel, "--stop-at", "1", "--digest"])
        .output()
        .unwrap();
    assert!(stopped.status.success());
    let text = String::from_utf8_lossy(&stopped.stderr);
    assert!(text.contains("stopped after 1 instructions"), "{text}");
}
