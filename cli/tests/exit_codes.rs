//! Exit codes, and several scenarios at once, as a user meets them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::fs;

use common::{broken_kernel, kjvm, kjvm_with, last_line, library, stderr, stdout};

/// A scenario that takes a second: A boots.
const SHORT: &str = "version = 1\nabout = \"boots\"\ncycles = 1\nsteps = []\nworkloads = [\"memory\"]\n\
    [kernel]\nprimary = \"primary-6.12\"\n";
/// The same, and the kernel does not find its init.
const PANICS: &str = "version = 1\nabout = \"panics\"\ncycles = 1\nsteps = []\nworkloads = [\"memory\"]\n\
    [kernel]\nprimary = \"primary-6.12\"\narguments = \"init=/nowhere rdinit=/nowhere\"\n";

struct Directory(tempfile::TempDir);

impl Directory {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        fs::write(directory.path().join("broken.elf"), broken_kernel()).unwrap();
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn every_code_and_what_a_bisection_makes_of_it() {
    let directory = Directory::new(&[("short.toml", SHORT), ("panics.toml", PANICS)]);
    let (short, panics) = (directory.path("short.toml"), directory.path("panics.toml"));
    let broken = format!("kernel.primary={}", directory.path("broken.elf"));
    let no_cache = [("KJVM_CACHE", "/dev/null/none")];
    for (arguments, environment, plain, bisect, said) in [
        (vec![&*short], &[][..], 0, 0, "PASS   short"),
        (vec![&panics], &[], 1, 1, "class: panic"),
        (vec![&short, "--set", "steps=7"], &[], 2, 125, "should be a list"),
        (vec![&short, "--frobnicate"], &[], 2, 125, "--frobnicate"),
        (vec![&short, "--set", "kernel.primary=primary-6.13"], &[], 2, 125, "primary-6.1"),
        (vec![&short], &no_cache, 3, 125, "/dev/null/none"),
        (vec![&short, "--set", &broken], &[], 4, 125, "does not emulate"),
    ] {
        let run = |more: &[&str]| {
            let arguments = [&["run"], &arguments[..], more].concat();
            kjvm_with(self::path(&directory), environment, &arguments)
        };
        let output = run(&[]);
        let text = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(plain), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
        assert_eq!(text.contains("kjvm's own fault"), plain == 4, "{text}");
        let output = run(&["--bisect"]);
        assert_eq!(output.status.code(), Some(bisect), "{arguments:?} --bisect");
    }
}

fn path(directory: &Directory) -> &std::path::Path {
    directory.0.path()
}

/// One that fails and one that cannot be run: the others run all the same, and the table says what came of each.
#[test]
fn all_are_run_and_the_worst_counts() {
    let unknown = SHORT.replace("primary-6.12", "primary-6.13");
    let directory = Directory::new(&[
        ("a.toml", PANICS),
        ("b.toml", &unknown),
        ("c.toml", SHORT),
        ("expected.toml", "version = 1\n"),
    ]);
    let output = kjvm(path(&directory), &["run", "."]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(2), "{text}{}", stderr(&output));
    let mut table = text.lines().rev().take_while(|line| !line.starts_with("VERDICT"));
    assert!(table.next().unwrap().starts_with("3 scenarios: 1 passed, 1 failed, 1 not run"), "{text}");
    for verdict in ["PASS     c", "NOT RUN  b", "FAIL     a"] {
        let line = table.find(|line| !line.is_empty()).unwrap();
        assert!(line.starts_with(verdict), "{line}");
    }
    assert!(stderr(&output).contains("primary-6.13"));
}

/// However many run at once: the same lines in the same order, host times aside, and the same digests.
#[test]
fn jobs_change_neither_order_nor_digests() {
    let other =
        SHORT.replace("boots", "boots two").replace("[kernel]", "[machine]\nprocessors = 2\n[kernel]");
    let directory = Directory::new(&[("a.toml", SHORT), ("b.toml", &other), ("c.toml", PANICS)]);
    let said = |jobs: &str| {
        let output = kjvm(path(&directory), &["run", ".", "--jobs", jobs]);
        assert_eq!(output.status.code(), Some(1));
        // Only the line of the verdict holds a time of the host.
        let without_time = |line: &str| match line.split_once(" digest ") {
            Some((verdict, digest)) => {
                format!("{} {digest}", verdict.split("   ").take(2).collect::<Vec<_>>().join(" "))
            }
            None => line.to_owned(),
        };
        stdout(&output)
            .lines()
            .take_while(|line| !line.starts_with("VERDICT"))
            .map(without_time)
            .collect::<Vec<_>>()
    };
    let one = said("1");
    let verdicts: Vec<&str> = one
        .iter()
        .filter_map(|line| line.get(..6))
        .filter(|word| ["PASS a", "PASS b", "FAIL c"].contains(word))
        .collect();
    assert_eq!(verdicts, ["PASS a", "PASS b", "FAIL c"], "{one:?}");
    assert_eq!(one, said("3"));
}

#[test]
fn a_list_names_them_and_runs_none() {
    let directory = Directory::new(&[("b.toml", SHORT), ("a.toml", PANICS)]);
    let output = kjvm(path(&directory), &["run", "--list", "."]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), "a  panics\nb  boots\n".to_owned()));
}

#[test]
fn a_scenario_may_come_from_standard_input() {
    let directory = Directory::new(&[]);
    let output = common::kjvm_fed(path(&directory), SHORT, &["run", "-"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(last_line(&output).starts_with("PASS   stdin"));
    let output = common::kjvm_fed(path(&directory), "version = 7", &["run", "-"]);
    assert_eq!(output.status.code(), Some(2));
    let output = kjvm(path(&directory), &["run", "-q", &library("s2idle.toml")]);
    assert_eq!(stdout(&output).lines().count(), 1, "{}", stdout(&output));
}
