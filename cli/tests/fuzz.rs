//! `kjvm fuzz` as a user calls it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::path::Path;
use std::process::{Command, Output};

fn kjvm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kjvm")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn library(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(name).to_string_lossy().into_owned()
}

/// A hibernation of Linux as it is: the header is on the disk before the map is complete, and nothing but a cut is needed to lose the session.
#[test]
fn what_linux_does_not_order_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let scenario = directory.path().join("hibernates.toml");
    let text = r#"
        version = 1
        cycles = 1
        steps = [{ do = "hibernate", mode = "shutdown" }, "resume", "check"]
        workloads = ["memory", "ext4"]
        [kernel]
        primary = "primary-6.12"
        [[disk]]
        name = "system"
        size = "256M"
        partitions = [{ use = "ext4", size = "64M" }, { use = "swap", size = "128M" }]
    "#;
    std::fs::write(&scenario, text).unwrap();
    let json = directory.path().join("found.json");
    let campaign = directory.path().join("campaign");
    let arguments = [
        "fuzz",
        scenario.to_str().unwrap(),
        "--budget",
        "45s",
        "--pairs",
        "0",
        "--minimise",
        "0",
        "--out",
        campaign.to_str().unwrap(),
        "--json",
        json.to_str().unwrap(),
    ];
    let output = kjvm(&arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.lines().last().unwrap().starts_with("FOUND   hibernates"), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(report["skipped"], 0);
    // The budget ends it while states around the header are open; before it there is nothing to resume, and all is decided.
    let count = |what: &str| report[what].as_u64().unwrap();
    assert!(count("tested") > count("points") / 2 && count("tested") <= count("points"), "{report:#}");
    assert!(report["decided"].as_u64().unwrap() > 10 * report["executed"].as_u64().unwrap(), "{report:#}");
    let findings = report["findings"].as_array().unwrap();
    let smallest = findings.iter().find(|finding| finding["weakest_fault"] == "cut only").unwrap();
    assert_eq!((&smallest["clause"], &smallest["cut"]["step"]), (&"O5.C1".into(), &"hibernate".into()));
    assert_eq!(smallest["lost_writes"].as_array().unwrap().len(), 0);
}

/// An image of ours is committed by its header alone: every mix of what its page may hold, at any cut, leaves a session or a cold boot.
#[test]
fn every_mix_of_a_region_is_decided() {
    let directory = tempfile::tempdir().unwrap();
    let (json, campaign) = (directory.path().join("found.json"), directory.path().join("campaign"));
    let jump = library("save-off-restore.toml");
    let mut arguments = vec!["fuzz", &jump, "--set", "cycles=1", "--set", "workloads=[\"memory\"]"];
    arguments.extend(["--exhaustive", "header", "--instructions", "0", "--pairs", "0"]);
    arguments.extend(["--out", campaign.to_str().unwrap(), "--json", json.to_str().unwrap()]);
    let output = kjvm(&arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("header     exhausted: "), "{said}");
    assert!(said.lines().last().unwrap().starts_with("CLEAN   save-off-restore"), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let region = &report["regions"][0];
    let spaces = region["spaces"].as_u64().unwrap();
    assert!(spaces > 0 && region["executed"].as_u64().unwrap() >= spaces, "{region:#}");
    assert!(region["parts"].as_array().unwrap().iter().all(|part| *part == 1.0), "{region:#}");
    assert_eq!((&report["skipped"], &report["exhausted"]), (&0.into(), &true.into()));
}

#[test]
fn a_region_that_there_is_not_is_said_with_those_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let campaign = directory.path().join("campaign");
    let jump = library("save-off-restore.toml");
    let out = campaign.to_str().unwrap();
    let output = kjvm(&["fuzz", &jump, "--set", "cycles=1", "--exhaustive", "headr", "--out", out]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("no region and no step is called `headr`") && said.contains("journal"), "{said}");
}

#[test]
fn what_cannot_be_explored_is_said() {
    let s3 = library("s3.toml");
    for (arguments, part) in [
        (vec!["fuzz", &s3], "no step of it leaves a session on a disk"),
        (vec!["fuzz", &s3, "--budget", "0s"], "in no time nothing is explored"),
        (vec!["fuzz", &s3, "--budget", "soon"], "a number and a unit"),
        (vec!["fuzz", "nowhere.toml"], "nowhere.toml"),
    ] {
        let output = kjvm(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}
