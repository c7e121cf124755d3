//! Failures that are known, as a user meets them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::fs;

use common::{kjvm, last_line, stderr, stdout};

const PANICS: &str = "version = 1\ncycles = 1\nsteps = []\nworkloads = [\"memory\"]\n\
    [kernel]\nprimary = \"primary-6.12\"\narguments = \"init=/nowhere rdinit=/nowhere\"\n";

fn entry(clause: &str, more: &str) -> String {
    format!(
        "[[expected]]\nclause = \"{clause}\"\nkernel = \"primary-*\"\nreason = \"it has no init\"\n{more}\n"
    )
}

#[test]
fn what_is_known_is_shown_calmly_and_what_is_gone_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let report =
        || -> serde_json::Value { serde_json::from_slice(&fs::read(at.join("r.json")).unwrap()).unwrap() };
    fs::write(at.join("panics.toml"), PANICS).unwrap();
    let run = |more: &[&str]| {
        let output = kjvm(at, &[&["run", "panics.toml", "--json", "r.json"], more].concat());
        (output.status.code(), stdout(&output) + &stderr(&output), last_line(&output))
    };
    let (code, said, _) = run(&[]);
    assert_eq!(code, Some(1), "{said}");
    let hash = report()["kernels"][0]["blake3"].as_str().unwrap().to_owned();

    // Beside the scenario: both failures are known, and one more that is not there.
    let known = format!(
        "version = 1\n{}{}",
        entry("O9.C2", "class = \"panic\"\nscenarios = [\"pan*\"]"),
        entry("O10.C1", "")
    );
    fs::write(at.join("expected.toml"), &known).unwrap();
    let (code, said, last) = run(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(last.starts_with("PASS   panics"), "{said}");
    assert_eq!(report()["verdict"], "pass");
    let checks = report()["checks"].as_array().unwrap().clone();
    let status = |clause: &str| {
        checks.iter().find(|check| check["clause"] == clause).unwrap_or_else(|| panic!("{clause}"))["status"]
            .clone()
    };
    assert_eq!((status("O9.C2"), status("O10.C1")), ("expected-fail".into(), "expected-fail".into()));

    // Another table, by hand: what was known is not any more.
    fs::write(at.join("none.toml"), "").unwrap();
    assert_eq!(run(&["--expected", "none.toml"]).0, Some(1));

    // On a kernel that does not fail: fixed, unless it is the very image on which it was seen.
    let well = ["--set", "kernel.arguments=", "--expected", "known.toml"];
    fs::write(at.join("known.toml"), format!("version = 1\n{}", entry("O10.C1", ""))).unwrap();
    let (code, said, _) = run(&well);
    assert_eq!(code, Some(0), "{said}");
    assert!(report()["checks"].as_array().unwrap().iter().any(|check| check["status"] == "fixed"), "{said}");
    let pinned = entry("O10.C1", &format!("blake3 = [\"{hash}\"]"));
    fs::write(at.join("known.toml"), format!("version = 1\n{pinned}")).unwrap();
    let (code, said, _) = run(&well);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("expected to fail") && said.contains("it has no init"), "{said}");

    // A mistake in it is the user's, at its place, before anything runs.
    fs::write(at.join("known.toml"), "version = 1\n[[expected]]\nclause = \"O10.C9\"\n").unwrap();
    let (code, said, _) = run(&well);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("known.toml:3:10") && said.contains("did you mean"), "{said}");
}
