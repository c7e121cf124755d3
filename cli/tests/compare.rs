//! `kjvm compare` as a user calls it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::fs;

use common::{broken_kernel, halting_kernel, kjvm, last_line, stderr, stdout};

const BOOTS: &str = "version = 1\ncycles = 1\nsteps = []\nworkloads = [\"memory\"]\n\
    [kernel]\nprimary = \"primary-6.12\"\n";

#[test]
fn only_what_is_not_the_same_is_told_and_only_what_is_new_fails() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("boots.toml"), BOOTS).unwrap();
    let compare = |base: &str, head: &str, paths: &[&str]| {
        let arguments = ["compare", "--base", base, "--head", head, "--json", "c.json"];
        let output = kjvm(at, &[&arguments[..], paths].concat());
        let json: serde_json::Value = fs::read(at.join("c.json"))
            .map_or(serde_json::Value::Null, |text| serde_json::from_slice(&text).unwrap());
        let _ = fs::remove_file(at.join("c.json"));
        (output.status.code(), stdout(&output), stderr(&output), last_line(&output), json)
    };

    // Both fail in the same way: nothing is new.
    fs::write(at.join("one.elf"), halting_kernel()).unwrap();
    fs::write(at.join("two.elf"), halting_kernel()).unwrap();
    let (code, said, _, last, json) = compare("./one.elf", "./two.elf", &["boots.toml", "boots.toml"]);
    assert_eq!(code, Some(0), "{said}");
    let summary = "2 of 2 scenarios compared, base ./one.elf, head ./two.elf: 0 new, 0 fixed, 0 changed";
    assert_eq!(last, summary, "{said}");
    assert_eq!(json["scenarios"][0]["base"]["verdict"], "fail");

    // What the head cannot do is another kind of run, and no failure.
    let (code, said, _, _, _) = compare("primary-6.12", "saver-6.12", &["boots.toml"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("CHANGED  boots") && said.contains("head: skipped") && said.contains("CONFIG_"),
        "{said}"
    );

    // A kernel that cannot be run is not compared; one that we cannot run is our fault.
    let (code, _, errors, _, _) = compare("primary-6.12", "primary-6.13", &["boots.toml"]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("primary-6.13"), "{errors}");
    fs::write(at.join("broken.elf"), broken_kernel()).unwrap();
    let (code, said, errors, _, json) = compare("primary-6.12", "./broken.elf", &["boots.toml"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("CHANGED  boots") && errors.contains("kjvm's own fault"), "{said}{errors}");
    assert_eq!(json["scenarios"][0]["changes"][0]["kind"], "changed");
}

/// A kernel that stands still where another boots, in both directions.
#[test]
fn what_fails_on_one_kernel_alone_is_new_or_fixed() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("boots.toml"), BOOTS).unwrap();
    fs::write(at.join("halts.elf"), halting_kernel()).unwrap();
    let (good, bad) = ("primary-6.12", "./halts.elf");
    let output = kjvm(at, &["compare", "--base", good, "--head", bad, "boots.toml"]);
    let said = stdout(&output) + &stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("NEW      boots   O9.C2") && said.contains("head: idle with nothing pending"),
        "{said}"
    );
    assert!(
        said.contains("kjvm replay kjvm-out/boots.repro") && at.join("kjvm-out/boots.repro").is_file(),
        "{said}"
    );
    let output = kjvm(at, &["compare", "--base", bad, "--head", good, "boots.toml"]);
    let said = stdout(&output) + &stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("boots   O9.C2"), "{said}");
    assert!(last_line(&output).contains("0 new"), "{said}");
}
