//! The workloads as the processes they are in a guest, here on the host: started, at work, checked, frozen, checked, ended.
#![allow(clippy::unwrap_used)] // a test throughout, its helpers too

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Workload {
    name: &'static str,
    child: Child,
    replies: BufReader<ChildStdout>,
}

impl Workload {
    fn start(name: &'static str, directory: &str) -> Workload {
        let mut child = Command::new(env!("CARGO_BIN_EXE_agent"))
            .args(["workload", name, directory, "1024", "18446744073709551615"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let replies = BufReader::new(child.stdout.take().unwrap());
        Workload { name, child, replies }
    }

    fn reply(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.replies.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn check(&mut self, number: u64) -> serde_json::Value {
        writeln!(self.child.stdin.as_mut().unwrap(), "{{\"check\":{number}}}").unwrap();
        let reply = self.reply();
        assert_eq!(reply["report"]["check"], number, "{}", self.name);
        reply["report"]["report"].clone()
    }
}

/// Stops the processes for longer than any of their patience while all clocks run on, as the kernel does to write an image.
fn freeze(workloads: &[Workload]) {
    for (signal, pause) in [(Signal::SIGSTOP, Duration::from_secs(5)), (Signal::SIGCONT, Duration::ZERO)] {
        for workload in workloads {
            kill(Pid::from_raw(workload.child.id().try_into().unwrap()), signal).unwrap();
        }
        std::thread::sleep(pause);
    }
}

#[test]
fn all_seven_work_and_are_clean() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let swap = std::fs::read_to_string("/proc/swaps").unwrap().lines().count() > 1;
    // A tmpfs of its own cannot be mounted by everybody.
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    let names = ["memory", "tmpfs", "ext4", "swap", "threads", "timers", "clocks"];
    let names = names.into_iter().filter(|name| root || *name != "tmpfs");
    let mut workloads: Vec<Workload> = names.map(|name| Workload::start(name, path)).collect();
    for workload in &mut workloads {
        assert_eq!(workload.reply(), "started", "{}", workload.name);
    }
    let mut progress = vec![0; workloads.len()];
    for number in [1, 2] {
        std::thread::sleep(Duration::from_secs(1));
        if number == 2 {
            freeze(&workloads);
        }
        for (workload, progress) in workloads.iter_mut().zip(&mut progress) {
            let report = workload.check(number);
            let differences = match workload.name {
                "swap" if !swap => serde_json::json!(["nothing was swapped out: is swap on?"]),
                _ => serde_json::json!([]),
            };
            assert_eq!(report["workload"], workload.name);
            assert_eq!(report["differences"], differences, "{}", workload.name);
            let now = report["progress"].as_u64().unwrap();
            assert!(now > *progress, "{}: {now} after {progress}", workload.name);
            *progress = now;
        }
    }
    for workload in &mut workloads {
        drop(workload.child.stdin.take());
        assert!(workload.child.wait().unwrap().success(), "{}", workload.name);
    }
}

#[test]
fn a_workload_that_cannot_work_says_why() {
    let mut workload = Workload::start("ext4", "/nowhere/at/all");
    let reply = workload.reply();
    assert_eq!(reply["refused"]["errno"], 2);
    assert!(reply["refused"]["text"].as_str().unwrap().contains("/nowhere/at/all/journal"));
    assert!(!workload.child.wait().unwrap().success());
}
