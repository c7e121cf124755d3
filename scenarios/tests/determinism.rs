//! The same scenario and seed give the same run, to the bit, however it is cut into pieces.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use common::{guest, wait_ready};
use vmm::{Digest, Entry, Limit, Machine, Stop};

/// A boot of two processors passes through everything: decompressed code that is patched, page tables, timers, IPIs, DMA.
fn machine() -> Machine {
    guest("saver-6.12", 2, Entry::Pvh).machine
}

fn run_to(machine: &mut Machine, instructions: u64) {
    let limit = Limit { instructions: Some(instructions), time: None };
    let mut tape = scenarios::Tape::default();
    let stop = machine.run(limit, &mut tape);
    assert_eq!((stop, machine.instructions()), (Stop::Instructions, instructions));
}

/// Digests at equal instruction counts, reached in pieces of seeded, uneven lengths.
fn digests(seed: u64, points: u64, apart: u64) -> Vec<Digest> {
    let mut machine = machine();
    let mut random = seed;
    let mut found = Vec::new();
    for point in 1..=points {
        let end = point * apart;
        while machine.instructions() < end {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Mostly long pieces, and now and then one instruction at a time.
            let piece =
                if seed == 0 { u64::MAX } else { (random >> 33) % if random >> 62 == 0 { 3 } else { apart } };
            let next = machine.instructions().saturating_add(piece.max(1)).min(end);
            run_to(&mut machine, next);
        }
        found.push(machine.digest());
    }
    found
}

#[test]
fn a_thousand_points_agree_however_the_run_is_cut() {
    const POINTS: u64 = 1_000;
    const APART: u64 = 60_000;
    let whole = digests(0, POINTS, APART);
    let cut = digests(0x6b6a_766d, POINTS, APART);
    let first = whole.iter().zip(&cut).position(|(a, b)| a != b);
    assert_eq!(first, None, "the first of {POINTS} points that differs");
    assert!(
        whole.windows(2).all(|pair| pair[0] != pair[1]),
        "a digest that does not change measures nothing"
    );
}

#[test]
fn two_boots_are_one_and_another_seed_is_another() {
    let boot = |seed: u64| {
        let mut guest = common::guest_with_seed("saver-6.12", 2, seed);
        wait_ready(&mut guest);
        (guest.machine.instructions(), guest.machine.digest(), guest.tape.console())
    };
    let (one, other) = (boot(1), boot(1));
    assert_eq!(one.0, other.0);
    assert_eq!(one.1, other.1);
    assert_eq!(one.2, other.2);
    assert_ne!(one.1, boot(2).1);
}
