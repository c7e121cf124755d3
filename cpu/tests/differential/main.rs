//! Every instruction form of user space, executed by the host's processor and by ours, from the same state: registers, flags, memory
//! and exceptions must come out the same.
//!
//! `KJVM_DIFFERENTIAL=1000 cargo test -p cpu --release --test differential` runs a thousand times as many cases as the suite.
//! A mismatch prints a `KJVM_DIFFERENTIAL_CASE` that repeats it; those once found are kept in `seeds.txt`.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod addresses;
mod arena;
mod branches;
mod case;
mod compare;
mod contents;
mod draft;
mod excuses;
mod forms;
mod fpu;
mod generate;
mod habits;
mod interpreted;
mod loadable;
mod masks;
mod native;
mod operands;
mod random;
mod report;
mod segments;
mod transcendental;

use std::env;

use case::{Case, Form, Outcome};
use forms::Standing;
use interpreted::Interpreted;
use native::Native;
use report::Report;

/// Cases of each form in the suite.
const CASES: u64 = 50;
/// Mismatches of a form that are worth looking at.
const ENOUGH: usize = 3;

struct Bench {
    native: Native,
    interpreted: Interpreted,
    report: Report,
}

impl Bench {
    fn new() -> Option<Self> {
        let native = Native::new();
        if native.is_none() {
            println!("SKIPPED: this kernel does not let user space set the bases of FS and GS");
        }
        Some(Self { native: native?, interpreted: Interpreted::new(), report: Report::default() })
    }

    /// Runs one case on both. False if it is a mismatch.
    fn agrees(&mut self, form: Form, seed: u64) -> bool {
        let Some(case) = generate::case(form, seed) else {
            self.report.cannot_make(form);
            return false;
        };
        if !native::has_local_table()
            && case.registers.selectors.iter().any(|selector| segments::is_local(*selector))
        {
            return true;
        }
        // Chopping a run must not change it.
        let slice = if seed.is_multiple_of(4) { 1 } else { 1 << 20 };
        let ours = self.interpreted.run(&case, slice);
        let host = self.native.run(&case);
        self.report.compare(&case, &host, ours)
    }

    fn form(&mut self, form: Form, cases: u64, first_seed: u64) {
        let mut mismatches = 0;
        for seed in first_seed..first_seed + cases {
            mismatches += usize::from(!self.agrees(form, seed));
            if mismatches == ENOUGH {
                break;
            }
        }
    }
}

#[test]
fn every_form_agrees_with_the_host() {
    let Some(mut bench) = Bench::new() else { return };
    if let Ok(case) = env::var("KJVM_DIFFERENTIAL_CASE") {
        let (form, seed) = report::parse(&case).expect("a form and a seed, as a mismatch prints them");
        bench.agrees(form, seed);
        return bench.report.finish();
    }
    let factor: u64 = env::var("KJVM_DIFFERENTIAL").map_or(1, |factor| factor.parse().expect("a number"));
    let only = env::var("KJVM_DIFFERENTIAL_FORMS").unwrap_or_default();
    for form in forms::all().filter(|form| form.to_string().contains(&only)) {
        match forms::standing(form) {
            Standing::Compared => bench.form(form, CASES * factor, 0),
            Standing::Skipped(reason) => bench.report.skip(form, reason),
            Standing::Absent => {}
        }
    }
    bench.report.finish();
}

#[test]
fn what_once_differed_agrees() {
    let Some(mut bench) = Bench::new() else { return };
    for line in include_str!("seeds.txt").lines().filter(|line| !line.starts_with('#')) {
        let (form, seed) = report::parse(line).expect("a form and a seed");
        if forms::standing(form) == Standing::Compared {
            bench.agrees(form, seed);
        }
    }
    bench.report.finish();
}

#[test]
fn what_is_not_advertised_is_undefined() {
    let mut interpreted = Interpreted::new();
    let mut forms = 0;
    let mut left_out = Vec::new();
    let mut wrong = Vec::new();
    for form in forms::all().filter(|form| forms::standing(*form) == Standing::Absent) {
        let cases: Vec<_> = (0..3).filter_map(|seed| generate::case(form, seed)).collect();
        forms += 1;
        if cases.is_empty() {
            left_out.push(form.to_string());
        }
        for case in cases {
            let outcome = interpreted.run(&case, 1);
            let undefined = outcome.as_ref().is_ok_and(|outcome| is_undefined(&case, outcome));
            if !undefined {
                wrong.push(format!("{form} {:x?}: {:?}", case.bytes, outcome.map(|outcome| outcome.vector)));
            }
        }
    }
    println!("{} of {forms} forms raise #UD; not made: {}", forms - left_out.len(), left_out.join(" "));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(left_out.len() <= 15, "{} cannot be made", left_out.len());
}

/// #UD, or #PF because it ends beyond all code, and nothing else.
fn is_undefined(case: &Case, outcome: &Outcome) -> bool {
    let (before, after) = (&case.registers, &outcome.registers);
    let truncated = case.linear_ip() + case.bytes.len() as u64 > arena::CODE.end;
    (outcome.vector == 6 || truncated && outcome.vector == 14)
        && (after.gpr, after.rip) == (before.gpr, before.rip)
        && after.rflags == before.rflags | 1 << 16
        && outcome.memory == case.memory
}
