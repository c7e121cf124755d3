//! A campaign that is killed, interrupted, disturbed and refused, as a user has it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::{Connection, OpenFlags};

/// A disk without a cache that forgets has few states: the campaign is over after a few boots.
const SCENARIO: &str = r#"
    version = 1
    cycles = 1
    steps = [{ do = "hibernate", mode = "shutdown" }, "resume", "check"]
    workloads = ["memory"]
    [kernel]
    primary = "primary-6.12"
    [[disk]]
    name = "system"
    size = "192M"
    cache = "write-through"
    partitions = [{ use = "swap", size = "160M" }]
"#;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("once.toml"), SCENARIO).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kjvm"));
        command.current_dir(self.directory.path()).env("NO_COLOR", "1").stdin(Stdio::null());
        command.args(["fuzz", "once.toml", "--pairs", "0", "--instructions", "0", "--minimise", "0"]);
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn refused(&self, arguments: &[&str], code: i32, part: &str) {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}

fn connection(campaign: &Path) -> Option<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(campaign.join("campaign.sqlite"), flags).ok()
}

/// Boots that are kept; 0 if nothing is there yet.
fn leaves(campaign: &Path) -> i64 {
    let count = |connection: Connection| {
        connection.query_row("SELECT count(*) FROM leaves", [], |row| row.get(0)).ok()
    };
    connection(campaign).and_then(count).unwrap_or_default()
}

/// States by their sums, with their outcomes; and what was found, how often, with which witness.
type Kept = (BTreeMap<Vec<u8>, String>, Vec<(String, String, i64, Vec<u8>)>);

fn kept(campaign: &Path) -> Kept {
    let connection = connection(campaign).unwrap();
    let states = "SELECT sum, outcomes.outcome FROM states JOIN leaves ON leaves.number = leaf
        JOIN outcomes ON outcomes.number = leaves.outcome";
    let mut states = connection.prepare(states).unwrap();
    let states =
        states.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    let found = "SELECT clause, class, seen, witness FROM findings ORDER BY clause, class";
    let mut found = connection.prepare(found).unwrap();
    let found = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
    (states, found.unwrap().map(Result::unwrap).collect())
}

/// Waits until so many boots are kept, or it is over.
fn wait(child: &mut Child, campaign: &Path, boots: i64) {
    let begun = Instant::now();
    while leaves(campaign) < boots && child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(300), "no boot within five minutes");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until everything is decided, and kills it then: it has nothing to tell.
fn decide(mut child: Child, campaign: &Path) {
    let left = |connection: Connection| {
        let left = "SELECT count(*) > 0 AND sum(done) = count(*) FROM units";
        connection.query_row(left, [], |row| row.get(0)).ok()
    };
    let begun = Instant::now();
    while !connection(campaign).and_then(left).unwrap_or(false) {
        assert!(child.try_wait().unwrap().is_none(), "it is over, and not everything is decided");
        assert!(begun.elapsed() < Duration::from_secs(300), "not decided within five minutes");
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Killed while it prepares, between boots and in them, with one worker or two: in the end it is as if nothing had been.
#[test]
fn killed_at_any_moment_it_goes_on_with_nothing_lost_or_doubled() {
    let place = Place::new();
    decide(place.start(&["--out", "whole", "--jobs", "2"]), &place.path("whole"));
    let expected = kept(&place.path("whole"));
    assert!(expected.0.len() > 1000 && !expected.1.is_empty(), "{:?}", expected.1);

    let campaign = place.path("killed");
    let mut how = ["--out", "killed"];
    // So many milliseconds after the beginning, or after one more boot was kept.
    let early = [5, 60, 700, 2500].map(|pause| (false, pause));
    let late = [0, 3, 40, 150, 400, 90].map(|pause| (true, pause));
    for (number, (after_boot, pause)) in early.into_iter().chain(late).enumerate() {
        let before = leaves(&campaign);
        let mut child = place.start(&[how[0], how[1], "--jobs", if number % 2 == 0 { "1" } else { "2" }]);
        if after_boot {
            wait(&mut child, &campaign, before + 1);
        }
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(leaves(&campaign) >= before, "boot {before} is gone");
        if campaign.exists() {
            how = ["--resume", "killed"];
        }
    }
    decide(place.start(&[how[0], how[1]]), &campaign);
    let now = kept(&campaign);
    assert_eq!(now.0, expected.0, "states");
    assert_eq!(now.1, expected.1, "findings");
}

/// A campaign that comes to its end: its reports; what is known of it; and who may not go on with it.
#[test]
fn what_is_over_is_told_again_and_taken_for_nothing_else() {
    let place = Place::new();
    let campaign = place.path("once");
    // No room: it says so, and can be gone on with.
    let binary = env!("CARGO_BIN_EXE_kjvm");
    let full = format!(
        "trap '' XFSZ; ulimit -f 8; exec {binary} fuzz once.toml --pairs 0 --instructions 0 --out once"
    );
    let output = Command::new("sh").current_dir(place.directory.path()).args(["-c", &full]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("campaign.sqlite"), "{said}");

    let reports = ["--json", "found.json", "--html", "found.html", "--junit", "found.xml"];
    let whole = place.run(&[&["--resume", "once"], &reports[..]].concat());
    let said = String::from_utf8_lossy(&whole.stdout);
    assert_eq!(whole.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&whole.stderr));
    assert!(said.contains("exhausted") && said.contains("finding-1.repro"), "{said}");
    assert!(said.lines().last().unwrap().starts_with("FOUND   once"), "{said}");
    let page = std::fs::read_to_string(place.path("found.html")).unwrap();
    assert!(
        page.contains("FOUND")
            && page.contains("Along the run")
            && !page.contains("http:")
            && !page.contains("https:")
    );
    assert!(std::fs::read_to_string(place.path("found.xml")).unwrap().contains("<failure"));

    // What is known does not fail it, and of a campaign that is over nothing is booted.
    let begun = Instant::now();
    let known = place.run(&["--resume", "once", "--baseline", "found.json"]);
    let said = String::from_utf8_lossy(&known.stdout);
    assert_eq!(known.status.code(), Some(0), "{said}");
    assert!(
        said.contains("everything is decided already") && said.contains("0 new, 1 in the baseline"),
        "{said}"
    );
    assert!(said.lines().last().unwrap().starts_with("CLEAN   once"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(60));
    std::fs::write(place.path("other.toml"), "classes = [\"something else\"]").unwrap();
    let other = place.run(&["--resume", "once", "--baseline", "other.toml"]);
    let said = String::from_utf8_lossy(&other.stdout);
    assert_eq!(other.status.code(), Some(1), "{said}");
    assert!(said.contains("not seen: something else") && said.contains("new"), "{said}");
    place.refused(&["--resume", "once", "--baseline", "once.toml"], 2, "list of classes");

    // Of something else it is not taken for.
    place.refused(&["--resume", "once", "--set", "machine.seed=2"], 2, "seed: 1 there, 2 here");
    let file = campaign.join("campaign.sqlite");
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 77).unwrap();
    place.refused(&["--resume", "once"], 2, "version 77 of the format");
    std::fs::write(&file, "this is no database".repeat(1000)).unwrap();
    place.refused(&["--resume", "once"], 2, "not the results of a campaign");
}

#[test]
fn interrupted_it_says_what_is_known_and_how_to_go_on() {
    let place = Place::new();
    let campaign = place.path("kjvm-out/once.fuzz");
    let mut child = place.start(&["--jobs", "1"]);
    wait(&mut child, &campaign, 1);
    // Nobody else comes in meanwhile.
    let who = format!("process {}", child.id());
    place.refused(&["--resume", "kjvm-out/once.fuzz"], 2, &who);
    place.refused(&[], 2, &who);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}");
    assert!(said.contains("to go on: kjvm fuzz once.toml --resume kjvm-out/once.fuzz"), "{said}");
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with("FOUND   once") || last.starts_with("CLEAN of what was decided   once"),
        "{said}"
    );
    let before = leaves(&campaign);
    // A new one makes room for itself; one whose time is over before anything is booted has decided nothing.
    let output = place.run(&["--budget", "1s"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("is now in kjvm-out/once.fuzz.1"), "{said}");
    assert!(
        said.lines().last().unwrap().starts_with("CLEAN of what was decided   once   0 findings"),
        "{said}"
    );
    assert_eq!(leaves(&place.path("kjvm-out/once.fuzz.1")), before);
}

#[test]
fn places_that_will_not_do_are_named_before_anything_runs() {
    let place = Place::new();
    place.refused(&["--resume", "nowhere"], 2, "no campaign is here");
    place.refused(&["--out", "once.toml/inside"], 3, "once.toml/inside");
    std::fs::create_dir(place.path("there")).unwrap();
    std::fs::write(place.path("there/campaign.sqlite"), "").unwrap();
    place.refused(&["--out", "there"], 2, "a campaign is here");
    place.refused(&["--baseline", "nowhere.json"], 2, "nowhere.json");
    std::fs::write(
        place.path("once.toml"),
        "version = 1\nsteps = [\"check\"]\nkernel = { primary = \"primary-6.12\" }\n",
    )
    .unwrap();
    place.refused(&[], 2, "it has no disk");
}
