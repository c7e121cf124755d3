//! Exploration: how many boots an hour one core executes after a power cut, for a distribution's hibernation with a small image and for the
//! restore of a kexec jump; how many states of the listed family that decides; what listing them takes; what a fork takes.
//!
//! `cargo bench -p benches --bench explore -- [--seconds N] [--only PART]`. Aim: 10,000 boots an hour and core. One worker, nothing else on the host.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark may panic")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use scenarios::Scenario;
use scenarios::explore::family::Depth;
use scenarios::explore::survey::{Recording, Survey};
use scenarios::kernels::{Kernels, Loaded};
use scenarios::language::BuildSpec;
use scenarios::report::{Phase, PowerHappening};
use scenarios::run::Listener;

const SCENARIOS: [(&str, &str, &[&str]); 3] = [
    ("stock-hibernate", include_str!("../scenarios/stock-hibernate.toml"), &[]),
    ("save-off-restore", include_str!("../scenarios/save-off-restore.toml"), &["cycles=1"]),
    ("hibernate-shutdown", include_str!("../scenarios/hibernate-shutdown.toml"), &["cycles=1"]),
];
const HOUR: f64 = 3600.0;

struct Silent;

impl Listener for Silent {
    fn phase(&mut self, _: &Phase) {}
    fn power(&mut self, _: &PowerHappening) {}
}

/// What follows an option on the command line.
fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn main() {
    let seconds: u64 =
        option("--seconds").map_or(60, |number| number.parse().expect("--seconds takes a number"));
    let only = option("--only");
    for (name, text, changes) in SCENARIOS {
        if only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            measure(name, text, changes, Duration::from_secs(seconds));
        }
    }
}

fn measure(name: &str, text: &str, changes: &[&str], budget: Duration) {
    let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
    let scenario = Scenario::read(text, &changes).unwrap_or_else(|(mistake, _)| panic!("{mistake:?}"));
    let load = |name: &str, _: Option<&BuildSpec>, is_saver| {
        Loaded::new(name, is_saver, &|text| eprintln!("{text}")).map(Arc::new)
    };
    let kernels = Kernels::gather(&scenario, load).unwrap();
    let begun = Instant::now();
    let recording = Recording::of(name, &scenario, &kernels, &mut Silent).unwrap();
    let recorded = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let survey = Survey::of(&recording, Depth::default()).unwrap();
    let listed = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let mut worker = survey.worker().unwrap();
    let trunk = begun.elapsed().as_secs_f64();
    let mut units = survey.units().into_iter();
    let begun = Instant::now();
    while begun.elapsed() < budget {
        if worker.next_leaf().unwrap().is_none() {
            let Some(unit) = units.next() else { break };
            worker.begin(unit.set);
        }
    }
    let time = begun.elapsed().as_secs_f64();
    let effort = worker.tree().effort();
    let an_hour = |count: u64| count as f64 / time * HOUR;
    println!("{name}");
    println!(
        "  recorded in {recorded:.1} s; the boot up to the first read that tells states apart {trunk:.1} s"
    );
    println!(
        "  listed {} states, {} different, in {listed:.1} s: {:.0} a second",
        survey.family.listed,
        survey.family.states.len(),
        survey.family.listed as f64 / listed
    );
    println!(
        "  executed {} boots in {time:.0} s: {:.0} an hour and core, {:.0} M instructions each, {} forks",
        effort.executed,
        an_hour(effort.executed),
        effort.instructions as f64 / effort.executed.max(1) as f64 / 1e6,
        effort.forks
    );
    println!("  decided {} states: {:.0} an hour and core", effort.decided, an_hour(effort.decided));
}
