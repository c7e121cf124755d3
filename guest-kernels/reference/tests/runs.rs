//! Every reference run as a test of its own: `jump::save_return::cpus_2`.
//!
//! With the kernels of CI (6.12) they run always. On other kernels (`on_6_1`, `on_stock_6_12`, ...) they run with
//! `KJVM_FULL=1` only, as `./test --full` sets it. What does not work there is known, with its reason.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use reference_machine::boot_cost::BootCost;
use reference_machine::provision;
use reference_machine::qemu::Front;
use reference_machine::report::{boot_cost, phase_line};
use reference_machine::runs::{self, RUNS, Verdict};

fn passes(name: &str, kernel: &str, cpus: u32, front: Front) {
    let run = runs::find(name).unwrap();
    if cpus > run.most_cpus {
        eprintln!("SKIPPED {name} on {cpus} CPU: {}", runs::AP_LOST_IN_S3);
        return;
    }
    let kernels = provision::kernels(kernel, &|text| eprintln!("{text}")).unwrap();
    let report =
        run.execute(&kernels, cpus, front, Box::new(|phase| eprintln!("{}", phase_line(phase, None))));
    match report.verdict {
        Verdict::Pass => {}
        Verdict::KnownFailure(reason) => eprintln!("KNOWN FAILURE {name} on {kernel}: {reason}"),
        Verdict::Skipped(reason) => eprintln!("SKIPPED {name} on {kernel}: {reason}"),
        Verdict::Fail(why) | Verdict::Host(why) => panic!("{name} on {kernel}, {cpus} CPU: {why}"),
    }
}

/// Part of the full command only.
fn passes_in_full(name: &str, kernel: &str) {
    if std::env::var_os("KJVM_FULL").is_some_and(|value| !value.is_empty()) {
        let most = runs::find(name).unwrap().most_cpus;
        passes(name, kernel, most.min(2), Front::Virtio);
    } else {
        eprintln!("SKIPPED {name} on {kernel}: set KJVM_FULL=1");
    }
}

macro_rules! reference_runs {
    ($($family:ident: $($run:ident)*;)*) => {
        $(mod $family { $(mod $run {
            const NAME: &str = concat!(stringify!($family), "::", stringify!($run));
            use reference_machine::qemu::Front::Virtio;

            #[test]
            fn cpus_1() {
                crate::passes(NAME, "6.12", 1, Virtio);
            }

            #[test]
            fn cpus_2() {
                crate::passes(NAME, "6.12", 2, Virtio);
            }

            #[test]
            fn on_6_1() {
                crate::passes_in_full(NAME, "6.1");
            }

            #[test]
            fn on_stock_6_12() {
                crate::passes_in_full(NAME, "stock-6.12");
            }

            #[test]
            fn on_stock_6_1() {
                crate::passes_in_full(NAME, "stock-6.1");
            }

            #[test]
            fn on_stock_6_12_cloud() {
                crate::passes_in_full(NAME, "stock-6.12-cloud");
            }

            #[test]
            fn on_stock_6_1_cloud() {
                crate::passes_in_full(NAME, "stock-6.1-cloud");
            }
        })* })*

        const TESTED: &[&str] = &[$($(concat!(stringify!($family), "::", stringify!($run)),)*)*];
    };
}

reference_runs! {
    jump: save_return save_s3_return save_off_restore save_s3_power_cut_restore save_s4_restore
        twice_resident twice_cold swapped_return swapped_restore;
    swsusp: platform shutdown reboot suspend suspend_power_cut test_resume;
    suspend: s3 s2idle pm_test_mem pm_test_disk;
    uswsusp: off_restore ram ram_power_cut;
    kexec: plain crash;
    bad_image: refused cold_boot;
    bad_input: image_full no_memory garbage;
}

#[test]
fn every_run_is_a_test() {
    let runs: Vec<&str> = RUNS.iter().map(|run| run.name).collect();
    assert_eq!(TESTED, runs);
}

mod nvme {
    use reference_machine::qemu::Front::Nvme;

    #[test]
    fn save_s3_power_cut_restore() {
        crate::passes("jump::save_s3_power_cut_restore", "6.12", 2, Nvme);
    }

    #[test]
    fn swsusp_suspend() {
        crate::passes("swsusp::suspend", "6.12", 2, Nvme);
    }
}

/// The saver is there to be quick: it needs a quarter less than the primary at least. Instructions, not seconds.
#[test]
fn the_saver_boots_faster_than_the_primary() {
    let kernels = provision::kernels("6.12", &|text| eprintln!("{text}")).unwrap();
    let cost = BootCost::measure(&kernels, 1).unwrap();
    eprintln!("{}", boot_cost(&cost));
    for count in [cost.restorer, cost.saver] {
        assert!(cost.below_primary(count) >= 25, "{cost:?}");
    }
}
