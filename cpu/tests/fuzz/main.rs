//! A guest with nothing but bad intentions: random code, random tables, random registers, in every mode and at every privilege level.
//!
//! Whatever it does, the processor must come back from every slice within its budget, must not panic, must have an instruction for
//! everything it advertises, and must do exactly the same again when the run is cut into other slices.
//!
//! `KJVM_FUZZ=600 cargo test -p cpu --release --test fuzz` goes on for ten minutes, from seed `KJVM_FUZZ_SEED` or 0. With
//! `KJVM_FUZZ=0` it is that one seed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod bus;
mod machine;
mod program;
#[allow(dead_code, reason = "shared with the differential test, which needs numbers of more kinds")]
#[path = "../differential/random.rs"]
mod random;
mod tables;

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use machine::Machine;
use random::Random;

/// Machines in the suite.
const MACHINES: u64 = 2000;
/// Instructions of each.
const INSTRUCTIONS: u64 = 400;

/// Runs one machine twice; how it ended.
fn try_machine(seed: u64) -> &'static str {
    let mut whole = Machine::new(seed);
    whole.run(INSTRUCTIONS, || INSTRUCTIONS);
    let mut chopped = Machine::new(seed);
    let mut cuts = Random::new(!seed);
    chopped.run(INSTRUCTIONS, || 1 + cuts.below(1 << cuts.clone().below(6)));
    whole.assert_equal(&chopped);
    whole.ended()
}

#[test]
fn random_machines_never_break_the_processor() {
    let number = |name| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let first = number("KJVM_FUZZ_SEED").unwrap_or(0);
    let limit = number("KJVM_FUZZ").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut endings: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in first.. {
        match catch_unwind(AssertUnwindSafe(|| try_machine(seed))) {
            Ok(ending) => *endings.entry(ending).or_default() += 1,
            Err(_) => panic!("KJVM_FUZZ=0 KJVM_FUZZ_SEED={seed} cargo test -p cpu --test fuzz"),
        }
        let done = match limit {
            Some(limit) => Instant::now() >= limit,
            None => seed - first + 1 == MACHINES,
        };
        if done {
            break;
        }
    }
    println!("{} machines: {endings:?}", endings.values().sum::<u64>());
}
