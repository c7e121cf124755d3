//! Wall time of the flagship, one cycle: jump, save, S3, power lost, cold boot, restore; here against the reference machine (QEMU's
//! translator), with the same kernels and the same workloads, in turns.
//!
//! `cargo bench -p benches --bench flagship -- [--rounds N]`. Both check what they did: the workloads, the file system, the image. The reference
//! machine makes its file systems in the guest as ours does; ours reads the oracles besides.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark may panic")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use reference_machine::provision::kernels;
use reference_machine::qemu::Front;
use reference_machine::runs::{self, Verdict as Theirs};
use scenarios::kernels::{Kernels, Loaded};
use scenarios::language::BuildSpec;
use scenarios::report::{Phase, PowerHappening};
use scenarios::run::{self, Listener};
use scenarios::{Scenario, Verdict};

const SCENARIO: &str = include_str!("../scenarios/power-lost-in-s3.toml");
const RUN: &str = "jump::save_s3_power_cut_restore";

struct Silent;

impl Listener for Silent {
    fn phase(&mut self, _: &Phase) {}
    fn power(&mut self, _: &PowerHappening) {}
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--rounds").skip(1);
    let rounds: usize = arguments.next().map_or(3, |number| number.parse().expect("--rounds takes a number"));
    let scenario = Scenario::read(SCENARIO, &["cycles=1".into()]).expect("the flagship is a scenario");
    let load = |name: &str, _: Option<&BuildSpec>, is_saver| {
        Loaded::new(name, is_saver, &|text| eprintln!("{text}")).map(Arc::new)
    };
    let ours = Kernels::gather(&scenario, load).unwrap();
    let theirs = kernels("6.12", &|text| eprintln!("{text}")).unwrap();
    let (mut us, mut them) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begun = Instant::now();
        let report = run::run("flagship", &scenario, &ours, &mut Silent).report;
        us.push(begun.elapsed());
        assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.checks);
        let begun = Instant::now();
        let run = runs::find(RUN).expect("the reference machine has the flagship");
        let report =
            run.execute(&theirs, scenario.machine.config.processors, Front::Virtio, Box::new(|_| {}));
        them.push(begun.elapsed());
        assert!(matches!(report.verdict, Theirs::Pass), "{:?}", report.verdict);
    }
    let (us, them) = (median(us), median(them));
    println!("flagship, one cycle   ours {us:.2} s   reference machine {them:.2} s   ratio {:.2}", us / them);
}
