//! `kjvm run` as a user calls it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::path::Path;
use std::process::{Command, Output};

fn kjvm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kjvm")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn library(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(name);
    path.to_string_lossy().into_owned()
}

/// The main job: the verdict is the last line, and the report on disk says the same.
#[test]
fn the_flagship_passes() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("report.json");
    let output = kjvm(&["run", &library("power-lost-in-s3.toml"), "--json", json.to_str().unwrap()]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", text(&output.stderr));
    assert!(said.lines().last().unwrap().starts_with("PASS   power-lost-in-s3"), "{said}");
    assert_eq!(said.matches("power cut: asleep in S3").count(), 2, "{said}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(report["verdict"], "pass");
    assert_eq!(report["power_events"].as_array().unwrap().len(), 2);
    for oracle in ["O1", "O9", "O10", "O11", "O13"] {
        assert!(
            report["checks"].as_array().unwrap().iter().any(|check| check["oracle"] == oracle),
            "{oracle}"
        );
    }
}

/// A kernel that panics: O9 says so, with the panic, and the exit code is that of a failed check.
#[test]
fn a_kernel_that_panics_fails() {
    let directory = tempfile::tempdir().unwrap();
    let scenario = directory.path().join("panics.toml");
    let broken = std::fs::read_to_string(library("s3.toml")).unwrap().replace(
        "primary = \"primary-6.12\"",
        "primary = \"primary-6.12\"\narguments = \"init=/nowhere rdinit=/nowhere\"",
    );
    std::fs::write(&scenario, broken).unwrap();
    // What it leaves in kjvm-out/ is left there.
    let mut kjvm = Command::new(env!("CARGO_BIN_EXE_kjvm"));
    kjvm.args(["run", "panics.toml", "--junit", "results.xml"]).current_dir(&directory);
    let output = kjvm.output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}\n{}", text(&output.stderr));
    assert!(said.contains("class: panic") && !said.contains('\x1b'), "{said}");
    assert!(said.contains("  report  kjvm-out/panics.html\n"), "{said}");
    let page = std::fs::read_to_string(directory.path().join("kjvm-out/panics.html")).unwrap();
    assert!(page.contains("Kernel panic - not syncing") && page.contains("id=\"timeline\""));
    let results = std::fs::read_to_string(directory.path().join("results.xml")).unwrap();
    assert!(results.contains("type=\"panic\""), "{results}");
    assert!(said.lines().last().unwrap().starts_with("FAIL   panics"), "{said}");
}

#[test]
fn a_mistake_is_shown_at_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let scenario = directory.path().join("my.toml");
    let wrong =
        std::fs::read_to_string(library("power-lost-in-s3.toml")).unwrap().replace("s3-entered", "s3-entred");
    std::fs::write(&scenario, wrong).unwrap();
    let output = kjvm(&["run", scenario.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    for part in ["unknown power trigger `s3-entred`", "my.toml:24:8", "did you mean `s3-entered`?"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn what_cannot_be_run_is_said_before_anything_runs() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().to_str().unwrap().to_owned();
    let s3 = library("s3.toml");
    for (arguments, part) in [
        (vec!["run", "nowhere.toml"], "nowhere.toml"),
        (vec!["run", &empty], "no scenario"),
        (vec!["run", &s3, "--set", "kernel.primary=primary-6.13"], "primary-6.1"),
        (vec!["run", &s3, "--set", "kernel.primary=./nowhere"], "nowhere"),
        (vec!["run", &s3, "--set", "kernel"], "key=value"),
        (vec!["run", &s3, &s3, "--json", "x.json"], "2 scenarios need a directory"),
    ] {
        let output = kjvm(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(part), "{arguments:?}: {}", text(&output.stderr));
    }
}
