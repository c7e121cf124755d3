//! Unmodified 6.12 sleeps on the software engine, in the ways Linux has by itself, and wakes with everything it had.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use agent_protocol::message::{Ask, HibernateMode, SuspendState};
use common::{
    COMMAND_LINE, PATIENCE, SECOND, ask, boot, depart, falls_asleep, give_up, guest, returns,
    start_workloads, wait_ready, wakes, workloads_are_clean,
};
use devices::PowerRequest;
use devices::acpi_pm::SleepState;
use scenarios::Guest;
use vmm::Entry;

const KERNEL: &str = "primary-6.12";

fn started(processors: u32) -> Guest {
    let mut guest = guest(KERNEL, processors, Entry::Pvh);
    wait_ready(&mut guest);
    start_workloads(&mut guest);
    workloads_are_clean(&mut guest);
    guest
}

/// Power goes, and comes back after a minute: a kernel boots cold, finds the image in swap, and becomes the one that slept.
fn resumes_after_a_cold_boot(guest: &mut Guest) {
    guest.machine.power_cycle(60 * SECOND, &mut guest.tape).unwrap();
    guest.power_lost();
    boot(&mut guest.machine, KERNEL, Entry::Pvh, &COMMAND_LINE.replace("epoch=1000", "epoch=2000"));
    returns(guest);
}

fn s3_by_alarm(processors: u32) {
    let mut guest = started(processors);
    for _ in 0..2 {
        ask(&mut guest, &Ask::SetAlarm { seconds: 30 });
        depart(&mut guest, &Ask::Suspend { state: SuspendState::Mem, pm_test: None });
        falls_asleep(&mut guest, SleepState::S3);
        wakes(&mut guest);
        returns(&mut guest);
        workloads_are_clean(&mut guest);
    }
}

#[test]
fn s3_by_alarm_cpus_1() {
    s3_by_alarm(1);
}

#[test]
fn s3_by_alarm_cpus_2() {
    s3_by_alarm(2);
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
fn s2idle_by_alarm() {
    let mut guest = started(2);
    ask(&mut guest, &Ask::SetAlarm { seconds: 5 });
    depart(&mut guest, &Ask::Suspend { state: SuspendState::Freeze, pm_test: None });
    returns(&mut guest);
    workloads_are_clean(&mut guest);
}

fn hibernates(mode: HibernateMode, state: SleepState, processors: u32) {
    let mut guest = started(processors);
    for _ in 0..2 {
        depart(&mut guest, &Ask::Hibernate { mode, pm_test: None });
        falls_asleep(&mut guest, state);
        resumes_after_a_cold_boot(&mut guest);
        workloads_are_clean(&mut guest);
    }
}

#[test]
fn swsusp_shutdown() {
    hibernates(HibernateMode::Shutdown, SleepState::S5, 1);
}

#[test]
fn swsusp_platform() {
    hibernates(HibernateMode::Platform, SleepState::S4, 2);
}

#[test]
fn swsusp_suspend_wakes_from_ram_and_from_disk() {
    let mut guest = started(1);
    for power_fails in [false, true] {
        ask(&mut guest, &Ask::SetAlarm { seconds: 30 });
        depart(&mut guest, &Ask::Hibernate { mode: HibernateMode::Suspend, pm_test: None });
        falls_asleep(&mut guest, SleepState::S3);
        if power_fails {
            resumes_after_a_cold_boot(&mut guest);
        } else {
            wakes(&mut guest);
            returns(&mut guest);
        }
        workloads_are_clean(&mut guest);
    }
}

#[test]
fn swsusp_test_resume() {
    let mut guest = started(1);
    depart(&mut guest, &Ask::Hibernate { mode: HibernateMode::TestResume, pm_test: None });
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
    guest.machine.reset_line(&mut guest.tape);
    guest.power_lost();
    boot(&mut guest.machine, KERNEL, Entry::Pvh, &COMMAND_LINE.replace("epoch=1000", "epoch=2000"));
    returns(&mut guest);
    workloads_are_clean(&mut guest);
}
