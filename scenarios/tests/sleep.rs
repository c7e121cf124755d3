//! Unmodified kernels sleep on the software engine, in the ways Linux has by itself, and wake with everything they had.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use agent_protocol::message::{Ask, HibernateMode, SuspendState};
use common::lab::{IMAGE, Lab, Mark, Setup, swap_signature, twice};
use common::{
    COMMAND_LINE, PATIENCE, SECOND, boot, depart, falls_asleep, give_up, guest, returns, start_workloads,
    wait_ready, workloads_are_clean,
};
use devices::PowerRequest;
use devices::acpi_pm::SleepState;
use devices::pci::nvme::Transitions;
use scenarios::Guest;
use vmm::{Entry, FrontEnd};

const KERNEL: &str = "primary-6.12";

/// A failure of a kernel that cannot do better.
struct Known {
    /// What it says: any other failure is a new one.
    error: &'static str,
    /// Why.
    #[allow(dead_code, reason = "for who reads")]
    reason: &'static str,
}

/// Of `test_resume`.
fn known(kernel: &str) -> Option<Known> {
    matches!(kernel, "primary-6.1" | "stock-6.1").then_some(Known {
        error: "Device or resource busy",
        reason: "6.1 opens the swap device exclusively for test_resume, which fails while it is in use (swsusp_check: EBUSY)",
    })
}

/// Everything that needs no cold boot.
fn stays_in_memory(setup: Setup) -> Vec<Mark> {
    let mut lab = Lab::started(setup);
    for _ in 0..2 {
        lab.s3_by_alarm();
    }
    for _ in 0..2 {
        lab.s2idle_by_alarm();
    }
    let known = known(setup.kernel);
    for _ in 0..if known.is_some() { 1 } else { 2 } {
        match (lab.swsusp_test_resume(), &known) {
            (Ok(()), None) => {}
            // Worse: it leaves the image in swap, and the next cold boot would resume from it.
            (Err(failure), Some(known)) if failure.contains(known.error) => {
                assert_eq!(swap_signature(lab.disk().media()), IMAGE);
            }
            (found, _) => give_up(&lab.guest, &format!("test_resume: {found:?}")),
        }
    }
    lab.finish()
}

/// Hibernation, which ends in a cold boot.
fn comes_back_from_disk(setup: Setup) -> Vec<Mark> {
    let mut lab = Lab::started(setup);
    for _ in 0..2 {
        lab.swsusp_platform();
    }
    for _ in 0..2 {
        lab.swsusp_shutdown();
    }
    lab.finish()
}

/// Hybrid sleep, which may.
fn comes_back_from_either(setup: Setup) -> Vec<Mark> {
    let mut lab = Lab::started(setup);
    for _ in 0..2 {
        lab.swsusp_suspend_wakes();
        lab.swsusp_suspend_loses_power();
    }
    lab.finish()
}

macro_rules! matrix {
    ($($name:ident: $kernel:literal, $processors:literal, $front_end:ident, $gate:path;)*) => {$(
        mod $name {
            const SETUP: super::Setup = super::Setup {
                kernel: $kernel,
                processors: $processors,
                front_end: super::FrontEnd::$front_end,
            };

            #[test]
            fn stays_in_memory() {
                if $gate(SETUP) {
                    super::twice(SETUP, super::stays_in_memory);
                }
            }

            #[test]
            fn comes_back_from_disk() {
                if $gate(SETUP) {
                    super::twice(SETUP, super::comes_back_from_disk);
                }
            }

            #[test]
            fn comes_back_from_either() {
                if $gate(SETUP) {
                    super::twice(SETUP, super::comes_back_from_either);
                }
            }
        }
    )*};
}

matrix! {
    primary_6_12_cpus_1_virtio: "primary-6.12", 1, Virtio, crate::common::lab::always;
    primary_6_12_cpus_2_virtio: "primary-6.12", 2, Virtio, crate::common::lab::always;
    primary_6_12_cpus_1_nvme: "primary-6.12", 1, Nvme, crate::common::lab::always;
    primary_6_12_cpus_2_nvme: "primary-6.12", 2, Nvme, crate::common::lab::always;
    stock_6_12_cpus_2_virtio: "stock-6.12", 2, Virtio, crate::common::lab::in_full;
    stock_6_12_cpus_2_nvme: "stock-6.12", 2, Nvme, crate::common::lab::in_full;
    stock_6_1_cpus_2_virtio: "stock-6.1", 2, Virtio, crate::common::lab::in_full;
    stock_6_1_cpus_2_nvme: "stock-6.1", 2, Nvme, crate::common::lab::in_full;
}

fn started(processors: u32) -> Guest {
    let mut guest = guest(KERNEL, processors, Entry::Pvh);
    wait_ready(&mut guest);
    start_workloads(&mut guest);
    workloads_are_clean(&mut guest);
    guest
}

#[test]
fn s3_by_power_button() {
    let mut guest = started(1);
    depart(&mut guest, &Ask::Suspend { state: SuspendState::Mem, pm_test: None });
    falls_asleep(&mut guest, SleepState::S3);
    assert_eq!(guest.machine.sleep_until_wake(&mut guest.tape), Err(vmm::WakeError::NothingWakes));
    guest.machine.wake_by_button(SECOND, &mut guest.tape).unwrap();
    returns(&mut guest);
    workloads_are_clean(&mut guest);
}

#[test]
fn swsusp_reboot() {
    let mut guest = started(1);
    depart(&mut guest, &Ask::Hibernate { mode: HibernateMode::Reboot, pm_test: None });
    match guest.run_to_power_request(PATIENCE) {
        Ok(PowerRequest::Reset) => {}
        other => give_up(&guest, &format!("expected a reset, found {other:?}")),
    }
    guest.machine.reset_line(&mut guest.tape).unwrap();
    guest.power_lost();
    boot(&mut guest.machine, KERNEL, Entry::Pvh, &COMMAND_LINE.replace("epoch=1000", "epoch=2000"));
    returns(&mut guest);
    workloads_are_clean(&mut guest);
}

/// Hibernation flushes no disk, whatever it says (`flush_swap_writer` writes the last page of the map). An NVMe drive is stopped before S3,
/// which empties its cache; virtio-blk has no such thing, and if the power fails then, the image is gone.
#[test]
fn the_image_of_hybrid_sleep_is_in_the_cache_of_virtio_blk() {
    for (front_end, survives) in [(FrontEnd::Virtio, false), (FrontEnd::Nvme, true)] {
        let mut lab = Lab::started(Setup { kernel: KERNEL, processors: 1, front_end });
        lab.falls_into_hybrid_sleep();
        assert_eq!(swap_signature(lab.disk().media()), IMAGE);
        assert_eq!(swap_signature(lab.disk().durable()) == IMAGE, survives, "{front_end:?}");
        if !survives {
            // The session is lost; what it had synced is not.
            lab.finish();
        }
    }
}

/// Linux stops an NVMe drive before S3, with notice, because the platform may cut its power there; it touches no power state of the
/// drive's own. One stop a cycle, and the one at the end of power.
#[test]
fn a_drive_is_stopped_once_in_each_s3() {
    let mut lab = Lab::started(Setup { kernel: KERNEL, processors: 1, front_end: FrontEnd::Nvme });
    let mut seen = vec![lab.transitions()];
    for _ in 0..2 {
        lab.s3_by_alarm();
        seen.push(lab.transitions());
    }
    let stops = |shutdowns| Transitions { shutdowns, ..Transitions::default() };
    assert_eq!(seen, [stops(0), stops(1), stops(2)]);
}
