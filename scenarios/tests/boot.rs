//! Unmodified kernels boot on the software engine until their agent answers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use common::{guest, start_workloads, wait_ready, workloads_are_clean};
use vmm::Entry;

/// What a kernel says when something is wrong with the machine. Taken from the messages of Linux 6.1 and 6.12 about ACPI, the memory
/// map, PCI, timers and processors.
const COMPLAINTS: &[&str] = &[
    "ACPI BIOS Error",
    "ACPI Error",
    "ACPI BIOS Warning",
    "ACPI Warning",
    "ACPI Exception",
    "[Firmware Bug]",
    "[Firmware Warn]",
    "Call Trace",
    "WARNING:",
    "BUG:",
    "unchecked MSR",
    "can't claim BAR",
    "no compatible bridge window",
    "failed to assign",
    "Marking TSC unstable",
    "lockup",
    "hung task",
    "disagree",
    "do_IRQ",
    "No irq handler",
    "spurious",
    "not responding",
    "failed to boot",
    "mtrr: your CPUs had inconsistent",
];

/// What it does not complain of.
fn is_quiet(console: &str) {
    let complaints: Vec<&str> =
        console.lines().filter(|line| COMPLAINTS.iter().any(|complaint| line.contains(complaint))).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

fn boots(name: &str, processors: u32, entry: Entry) {
    let mut guest = guest(name, processors, entry);
    wait_ready(&mut guest);
    eprintln!(
        "{name}, {processors} CPU: {} M instructions, {:.2} s of its own",
        guest.machine.instructions() / 1_000_000,
        guest.machine.now().0 as f64 / 1e9
    );
    let console = guest.tape.console();
    is_quiet(&console);
    // The saver takes one processor and leaves the others where they are.
    if processors > 1 && !name.starts_with("saver-") {
        assert!(console.contains(&format!("Brought up 1 node, {processors} CPUs")), "{console}");
    }
    if name.starts_with("primary-") {
        start_workloads(&mut guest);
        workloads_are_clean(&mut guest);
        is_quiet(&guest.tape.console());
    }
}

macro_rules! boots {
    ($($test:ident: $name:literal, $processors:literal, $entry:ident;)*) => {$(
        #[test]
        fn $test() {
            boots($name, $processors, Entry::$entry);
        }
    )*};
}

boots! {
    primary_6_12_cpus_1: "primary-6.12", 1, Pvh;
    primary_6_12_cpus_2: "primary-6.12", 2, Pvh;
    primary_6_12_cpus_4: "primary-6.12", 4, Pvh;
    saver_6_12_cpus_1: "saver-6.12", 1, Pvh;
    saver_6_12_cpus_2: "saver-6.12", 2, Pvh;
    saver_6_12_cpus_4: "saver-6.12", 4, Pvh;
    saver_6_12_by_bzimage: "saver-6.12", 1, BzImage;
}

macro_rules! boots_in_full {
    ($($test:ident: $name:literal, $processors:literal;)*) => {$(
        #[test]
        fn $test() {
            if std::env::var_os("KJVM_FULL").is_some_and(|value| !value.is_empty()) {
                boots($name, $processors, Entry::Pvh);
            } else {
                eprintln!("SKIPPED {} on {} CPU: set KJVM_FULL=1", $name, $processors);
            }
        }
    )*};
}

boots_in_full! {
    primary_6_1_cpus_2: "primary-6.1", 2;
    saver_6_1_cpus_1: "saver-6.1", 1;
    stock_6_12_cpus_2: "stock-6.12", 2;
    stock_6_1_cpus_2: "stock-6.1", 2;
    stock_6_12_cloud_cpus_1: "stock-6.12-cloud", 1;
    stock_6_1_cloud_cpus_1: "stock-6.1-cloud", 1;
}

#[test]
fn what_is_wrong_is_heard() {
    let heard = |line: &str| std::panic::catch_unwind(|| is_quiet(line)).is_err();
    assert!(heard("[    0.1] ACPI BIOS Error (bug): Could not resolve symbol"));
    assert!(heard("[    0.1] pci 0000:00:01.0: can't claim BAR 4"));
    assert!(!heard("[    0.1] ACPI: Interpreter enabled"));
}
