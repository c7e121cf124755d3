//! Reproductions and their replay, as a user meets them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use common::{kjvm, last_line, stderr, stdout};

/// A boots and sleeps once.
const SLEEPS: &str = "version = 1\nabout = \"sleeps\"\ncycles = 1\nsteps = [\"suspend\"]\nworkloads = [\"memory\"]\n\
    [machine]\nseed = 5\n[kernel]\nprimary = \"primary-6.12\"\n";
const PANICS: &str = "version = 1\ncycles = 1\nsteps = []\nworkloads = [\"memory\"]\n\
    [kernel]\nprimary = \"primary-6.12\"\narguments = \"init=/nowhere rdinit=/nowhere\"\n";

fn said(output: &Output) -> String {
    stdout(output) + &stderr(output)
}

fn json(file: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn a_run_that_passed_and_one_that_failed_go_the_same_way_again() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("sleeps.toml"), SLEEPS).unwrap();
    fs::write(at.join("panics.toml"), PANICS).unwrap();
    // What was changed on the command line is in the file.
    let output = kjvm(at, &["run", "sleeps.toml", "--repro", "s.repro", "--set", "machine.processors=2"]);
    assert!(output.status.success(), "{}", said(&output));
    let digest = last_line(&output).rsplit(' ').next().unwrap().to_owned();
    fs::remove_file(at.join("sleeps.toml")).unwrap();
    let output = kjvm(at, &["replay", "s.repro"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(last_line(&output).starts_with("SAME   sleeps"), "{}", said(&output));
    assert!(last_line(&output).contains(&format!("digest {digest}, verdict pass")), "{}", said(&output));

    // A failure leaves one without being asked, and says so.
    let output = kjvm(at, &["run", "panics.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("kjvm replay kjvm-out/panics.repro"), "{}", said(&output));
    let output = kjvm(at, &["replay", "-q", "kjvm-out/panics.repro"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(stdout(&output).starts_with("SAME   panics") && stdout(&output).contains("verdict fail"));
    // And one that is known to fail passes again, without its table.
    let known =
        |clause| format!("[[expected]]\nclause = \"{clause}\"\nkernel = \"*\"\nreason = \"no init\"\n");
    fs::write(at.join("expected.toml"), format!("version = 1\n{}{}", known("O9.C2"), known("O10.C1")))
        .unwrap();
    let output = kjvm(at, &["run", "panics.toml", "--repro", "known.repro"]);
    assert!(output.status.success(), "{}", said(&output));
    fs::remove_file(at.join("expected.toml")).unwrap();
    let output = kjvm(at, &["replay", "-q", "known.repro"]);
    assert!(output.status.success() && stdout(&output).starts_with("SAME"), "{}", said(&output));
}

#[test]
fn whoever_goes_another_way_is_told_why_and_where() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::write(at.join("s.toml"), SLEEPS).unwrap();
    fs::write(at.join("halts.elf"), common::halting_kernel()).unwrap();
    let run = |seed: &str, file: &str| {
        let output =
            kjvm(at, &["run", "-q", "s.toml", "--set", &format!("machine.seed={seed}"), "--repro", file]);
        assert!(output.status.success(), "{}", said(&output));
    };
    run("1", "1.repro");
    run("2", "2.repro");

    let other = |arguments: &[&str], code: i32, parts: &[&str]| {
        let output = kjvm(at, &[&["replay", "-q"], arguments].concat());
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(stdout(&output).starts_with("OTHER  s\n"), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
        said
    };
    let place = [
        "leaves the path  cycle 0, step boot",
        "recorded         instruction ",
        "now              instruction ",
    ];
    let text = other(&["1.repro", "--set", "machine.seed=2"], 1, &["seed", "digest"]);
    assert!(place.iter().all(|part| text.contains(part)), "{text}");
    let text = other(&["1.repro", "--set", "kernel.primary=./halts.elf"], 1, &place);
    let first = text.lines().nth(1).unwrap();
    assert!(first.contains("kernel A") && first.contains("primary-6.12"), "{text}");

    // Files in which something was changed. Whose seed is not his scenario's is told; else nothing is known to be different, which
    // would be our fault.
    let [one, two] = ["1.repro", "2.repro"].map(|file| json(&at.join(file)));
    let changed = |key: &str, value: serde_json::Value| {
        let mut changed = one.clone();
        changed[key] = value;
        fs::write(at.join("changed.repro"), changed.to_string()).unwrap();
    };
    changed("scenario", two["scenario"].clone());
    other(&["changed.repro"], 1, &["seed", place[0], place[1], place[2]]);
    changed("digest", two["digest"].clone());
    other(&["changed.repro"], 4, &["every event is the same", "digest", "kjvm's own fault"]);
    changed("path", two["path"].clone());
    other(&["changed.repro"], 4, &[place[0], place[1], place[2], "not deterministic"]);

    for (text, part) in [
        ("", "no reproduction"),
        ("version = 1", "no reproduction"),
        ("{\"version\": 9}", "version 9"),
        (&*one.to_string().replacen("\"path\":\"", "\"path\":\"!", 1), "no reproduction"),
    ] {
        fs::write(at.join("wrong.repro"), text).unwrap();
        let output = kjvm(at, &["replay", "wrong.repro"]);
        assert_eq!(output.status.code(), Some(2), "{text}: {}", said(&output));
        assert!(stderr(&output).contains(part), "{}", said(&output));
    }
    assert_eq!(kjvm(at, &["replay", "nowhere.repro"]).status.code(), Some(2));
}
