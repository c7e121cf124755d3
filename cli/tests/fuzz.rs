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
