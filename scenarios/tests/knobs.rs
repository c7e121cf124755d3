//! What firmware and hardware may do wrong, and what unmodified 6.12 makes of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use agent_protocol::message::{Answer, Ask, HibernateMode, Partition, PartitionKind, ReadyWhy, SuspendState};
use common::{
    COMMAND_LINE, PATIENCE, SECOND, ask, boot, depart, disk, falls_asleep, give_up, returns, start_workloads,
    wait_ready, wakes, workloads_are_clean,
};
use devices::acpi_pm::SleepState;
use devices::disk::Media;
use scenarios::Guest;
use vmm::config::{
    AlarmDelivery, ApStart, Date, FacsRegion, HpetKind, Hypervisor, Mitigations, RamAtPowerOn, TscOnS3,
    Vendor,
};
use vmm::{Config, Entry, Machine, WakeError};

const KERNEL: &str = "primary-6.12";

/// A machine with a blank disk whose kernel was told this as well, and whose agent is ready.
fn booted_with(config: Config, arguments: &str) -> Guest {
    let mut machine = Machine::new(config, vec![disk(0, Media::blank(320 << 20).unwrap())]).unwrap();
    boot(&mut machine, KERNEL, Entry::Pvh, format!("{COMMAND_LINE} {arguments}").trim());
    let mut guest = Guest::new(machine);
    wait_ready(&mut guest);
    guest
}

fn booted(config: Config) -> Guest {
    booted_with(config, "")
}

/// The same, with all workloads.
fn started(config: Config) -> Guest {
    let mut guest = booted(config);
    start_workloads(&mut guest);
    workloads_are_clean(&mut guest);
    guest
}

fn usual() -> Config {
    Config::default()
}

fn read(guest: &mut Guest, path: &str) -> String {
    match ask(guest, &Ask::ReadText { path: path.into() }) {
        Answer::Text(text) => text,
        other => give_up(guest, &format!("{path}: {other:?}")),
    }
}

/// The console said this, or did not.
fn says(guest: &Guest, text: &str, expected: bool) {
    if guest.tape.console().contains(text) != expected {
        give_up(guest, &format!("{text:?} on the console: expected {expected}"));
    }
}

fn suspend(guest: &mut Guest, state: SuspendState) {
    ask(guest, &Ask::SetAlarm { seconds: 5 });
    depart(guest, &Ask::Suspend { state, pm_test: None });
}

fn s3_by_alarm(guest: &mut Guest) {
    suspend(guest, SuspendState::Mem);
    falls_asleep(guest, SleepState::S3);
    wakes(guest);
    returns(guest);
}

/// A machine that hibernated, and that is about to be switched off. Nothing but swap was in use.
fn hibernated(config: Config) -> Machine {
    let mut guest = booted(config);
    let partition = |mib, kind| Partition { mib, kind };
    let partitions = vec![partition(64, PartitionKind::Linux), partition(192, PartitionKind::Swap)];
    ask(&mut guest, &Ask::Partition { disk: "/dev/vda".into(), partitions });
    ask(&mut guest, &Ask::MakeSwap { device: "/dev/vda2".into() });
    ask(&mut guest, &Ask::SwapOn { device: "/dev/vda2".into(), priority: None });
    depart(&mut guest, &Ask::Hibernate { mode: HibernateMode::Platform, pm_test: None });
    falls_asleep(&mut guest, SleepState::S4);
    guest.machine
}

/// What the kernel says that boots when a copy of this machine is switched on again as another, and whether the one that slept is back.
fn switched_on_as(machine: &mut Machine, config: Config) -> (String, ReadyWhy) {
    let mut guest = Guest::new(machine.fork().unwrap());
    guest.machine.power_cycle_as(config, 60 * SECOND, &mut guest.tape).unwrap();
    boot(&mut guest.machine, KERNEL, Entry::Pvh, &COMMAND_LINE.replace("epoch=1000", "epoch=2000"));
    match guest.wait_ready(PATIENCE) {
        Ok(ready) => (guest.tape.console(), ready.why),
        Err(error) => give_up(&guest, &error.to_string()),
    }
}

const INCONSISTENT: &str = "Hibernate inconsistent memory map detected!";
const SIGNATURE: &str = "Suspend image hardware signature mismatch (6b6a766d now 6b6a766e); aborting resume.";
const DOUBTFUL: &str = "Hardware changed while hibernated, success doubtful!";

#[test]
fn an_image_is_refused_by_firmware_that_describes_other_memory() {
    let before = Config { withheld: 0x1_0000, reserved_page: Some(0x0f00_0000), ..usual() };
    let mut machine = hibernated(before.clone());
    let (console, why) = switched_on_as(&mut machine, before.clone());
    assert!(why == ReadyWhy::Return && !console.contains(INCONSISTENT), "{console}");
    for changed in [
        Config { withheld: 0x1_1000, ..before.clone() },
        Config { reserved_page: Some(0x0f00_1000), ..before.clone() },
        Config { memory: 512 << 20, ..before.clone() },
        Config { memory: 248 << 20, reserved_page: None, ..before.clone() },
        Config { facs: FacsRegion::Nvs, ..before },
    ] {
        let (console, why) = switched_on_as(&mut machine, changed.clone());
        assert!(why == ReadyWhy::Boot && console.contains(INCONSISTENT), "{changed:?}\n{console}");
    }
}

#[test]
fn an_image_is_refused_by_other_hardware_where_a_hypervisor_is_seen() {
    let mut machine = hibernated(usual());
    let changed = Config { hardware_signature: 0x6b6a_766e, ..usual() };
    let (console, why) = switched_on_as(&mut machine, changed);
    assert!(why == ReadyWhy::Boot && console.contains(SIGNATURE), "{console}");
    let (console, why) = switched_on_as(&mut machine, usual());
    assert!(why == ReadyWhy::Return && !console.contains(SIGNATURE), "{console}");
}

#[test]
fn other_hardware_is_a_warning_where_no_hypervisor_is_seen() {
    let before = Config { hypervisor: Hypervisor::None, ..usual() };
    let mut machine = hibernated(before.clone());
    let changed = Config { hardware_signature: 0x6b6a_766e, ..before.clone() };
    for (config, doubtful) in [(changed, true), (before, false)] {
        let (console, why) = switched_on_as(&mut machine, config);
        assert!(why == ReadyWhy::Return && console.contains(DOUBTFUL) == doubtful, "{console}");
    }
}

#[test]
fn a_facs_in_nvs_is_saved_and_comes_back() {
    let config = Config { facs: FacsRegion::Nvs, ..usual() };
    let mut machine = hibernated(config.clone());
    let (console, why) = switched_on_as(&mut machine, config);
    assert!(why == ReadyWhy::Return, "{console}");
    assert!(
        console.contains("[mem 0x000ef000-0x000effff] (4096 bytes)"),
        "registered to be saved: {console}"
    );
    says(&booted(usual()), "0x000effff", false);
}

#[test]
fn the_bios_is_as_old_as_one_likes_or_unknown() {
    for (year, says_so) in [(1999, "BIOS 0.1.0 02/28/1999"), (0, "DMI not present or invalid.")] {
        let mut guest = booted(Config { bios_date: Date { year, month: 2, day: 28 }, ..usual() });
        says(&guest, says_so, true);
        s3_by_alarm(&mut guest);
    }
}

/// How Linux delivers alarms depends on the HPET and on the year of the BIOS (rtc-cmos.c, use_acpi_alarm_quirks), and on who calls
/// the processor his.
fn alarms_wake(hpet: HpetKind, year: u16, vendor: Vendor) {
    let mut guest = started(Config {
        hpet,
        vendor,
        bios_date: Date { year, month: 1, day: 1 },
        processors: 2,
        ..usual()
    });
    let recent = year >= if vendor == Vendor::Amd { 2021 } else { 2015 };
    says(&guest, "114 bytes nvram, hpet irqs", hpet == HpetKind::On && !recent);
    let clocks = read(&mut guest, "/sys/devices/system/clocksource/clocksource0/available_clocksource");
    assert_eq!(clocks.contains("hpet"), hpet != HpetKind::Off, "{clocks}");
    s3_by_alarm(&mut guest);
    workloads_are_clean(&mut guest);
    suspend(&mut guest, SuspendState::Freeze);
    returns(&mut guest);
    workloads_are_clean(&mut guest);
    says(&guest, "Clocksource", false);
}

#[test]
fn alarms_wake_without_hpet_and_an_old_bios() {
    alarms_wake(HpetKind::Off, 2010, Vendor::Intel);
}

#[test]
fn alarms_wake_without_hpet_and_a_new_bios() {
    alarms_wake(HpetKind::Off, 2024, Vendor::Intel);
}

#[test]
fn alarms_wake_with_hpet_and_an_old_bios() {
    alarms_wake(HpetKind::On, 2010, Vendor::Intel);
}

#[test]
fn alarms_wake_with_hpet_and_a_new_bios() {
    alarms_wake(HpetKind::On, 2024, Vendor::Intel);
}

#[test]
fn alarms_wake_with_an_hpet_that_replaces_nothing() {
    alarms_wake(HpetKind::WithoutReplacement, 2010, Vendor::Intel);
}

#[test]
fn alarms_wake_a_processor_of_amd_with_hpet_and_a_new_bios() {
    alarms_wake(HpetKind::On, 2021, Vendor::Amd);
}

#[test]
fn alarms_wake_a_processor_of_amd_with_hpet_and_an_old_bios() {
    alarms_wake(HpetKind::On, 2020, Vendor::Amd);
}

#[test]
fn the_hpet_is_the_only_clock() {
    let config = Config { hpet: HpetKind::On, ..usual() };
    let mut guest = booted_with(config, "nolapic_timer clocksource=hpet tsc=unstable");
    start_workloads(&mut guest);
    workloads_are_clean(&mut guest);
    let clock = read(&mut guest, "/sys/devices/system/clocksource/clocksource0/current_clocksource");
    assert_eq!(clock.trim_end(), "hpet");
    let event = read(&mut guest, "/sys/devices/system/clockevents/clockevent0/current_device");
    assert_eq!(event.trim_end(), "hpet");
    s3_by_alarm(&mut guest);
    workloads_are_clean(&mut guest);
}

/// Power is off for as long as the configuration says, and a kernel boots.
fn boots_again(guest: &mut Guest) {
    guest.machine.power_cycle_as_configured(&mut guest.tape).unwrap();
    guest.power_lost();
    boot(&mut guest.machine, KERNEL, Entry::Pvh, &COMMAND_LINE.replace("epoch=1000", "epoch=2000"));
}

/// Kilohertz in what the kernel says of its time-stamp counter.
fn tsc_khz(console: &str, before: &str) -> f64 {
    let (_, rest) = console.split_once(before).unwrap_or_else(|| panic!("no {before:?} in\n{console}"));
    rest.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1000.0
}

/// A processor of AMD has no leaf 0x15 and no deadline mode: the PIT, and then HPET or PM timer, say how fast its counter and its APIC
/// timer are.
fn calibrates(hpet: HpetKind, processors: u32) {
    let mut guest = started(Config { vendor: Vendor::Amd, hpet, processors, ..usual() });
    guest.rest(2 * SECOND);
    workloads_are_clean(&mut guest);
    let console = guest.tape.console();
    for (said, most) in [("tsc: Detected ", 500.0), ("tsc: Refined TSC clocksource calibration: ", 50.0)] {
        let khz = tsc_khz(&console, said);
        let ppm = (khz / 2_000_000.0 - 1.0).abs() * 1e6;
        eprintln!("{said}{khz} kHz, {ppm:.1} ppm off");
        assert!(ppm <= most, "{said}{khz} kHz");
    }
    says(&guest, "unchecked MSR access", false);
    says(&guest, "Marking TSC unstable", false);
    depart(&mut guest, &Ask::Hibernate { mode: HibernateMode::Platform, pm_test: None });
    falls_asleep(&mut guest, SleepState::S4);
    boots_again(&mut guest);
    returns(&mut guest);
    workloads_are_clean(&mut guest);
}

#[test]
fn a_processor_of_amd_is_calibrated() {
    calibrates(HpetKind::Off, 1);
}

#[test]
fn two_processors_of_amd_are_calibrated_with_hpet() {
    calibrates(HpetKind::On, 2);
}

#[test]
fn the_vendor_and_the_flaws_are_as_configured() {
    let cpuinfo = |config| {
        let mut guest = booted(config);
        let meltdown = read(&mut guest, "/sys/devices/system/cpu/vulnerabilities/meltdown");
        let console = guest.tape.console();
        (
            meltdown.trim_end().to_owned(),
            console.contains("Hypervisor detected: KVM"),
            console.contains("x2apic enabled"),
        )
    };
    assert_eq!(cpuinfo(usual()), ("Not affected".into(), true, true));
    let bare = Config { hypervisor: Hypervisor::None, mitigations: Mitigations::Real, ..usual() };
    // Without interrupt remapping, x2APIC mode needs a hypervisor.
    assert_eq!(cpuinfo(bare.clone()), ("Vulnerable".into(), false, false));
    assert_eq!(cpuinfo(Config { vendor: Vendor::Amd, ..bare }), ("Not affected".into(), false, false));
}

/// The console without its times.
fn without_times(console: &str) -> Vec<&str> {
    console.lines().map(|line| line.split_once("] ").map_or(line, |(_, text)| text)).collect()
}

#[test]
fn what_ram_contains_at_power_on_does_not_matter() {
    let mut consoles = Vec::new();
    for ram_at_power_on in [RamAtPowerOn::Zero, RamAtPowerOn::Seeded] {
        let config = Config { ram_at_power_on, ..usual() };
        let mut machine = hibernated(config.clone());
        let (console, why) = switched_on_as(&mut machine, config);
        assert!(why == ReadyWhy::Return, "{console}");
        let mut guest = booted(Config { ram_at_power_on, ..usual() });
        s3_by_alarm(&mut guest);
        consoles.push(guest.tape.console());
    }
    assert_eq!(without_times(&consoles[0]), without_times(&consoles[1]));
}

#[test]
fn time_goes_on_whatever_s3_does_to_counters() {
    for (vendor, tsc_on_s3) in [
        (Vendor::Intel, TscOnS3::Reset),
        (Vendor::Intel, TscOnS3::Jump(1 << 42)),
        (Vendor::Intel, TscOnS3::Jump(-1_000_000_000)),
        (Vendor::Amd, TscOnS3::Reset),
    ] {
        let mut guest = started(Config { vendor, tsc_on_s3, processors: 2, ..usual() });
        for _ in 0..2 {
            let before = guest.machine.processors().next().unwrap().tsc(guest.machine.now().0);
            s3_by_alarm(&mut guest);
            let after = guest.machine.processors().next().unwrap().tsc(guest.machine.now().0);
            // Two counts for a nanosecond: a wake takes well less than four seconds.
            let least = match tsc_on_s3 {
                TscOnS3::Reset => 0,
                TscOnS3::Keep => before,
                TscOnS3::Jump(ticks) => before.saturating_add_signed(ticks),
            };
            assert!(
                (least..least + 4 * 2 * SECOND).contains(&after),
                "{tsc_on_s3:?}: {before} and then {after}"
            );
            workloads_are_clean(&mut guest);
        }
        let console = guest.tape.console();
        let times =
            console.lines().filter_map(|line| line.strip_prefix('[')?.split_once(']')?.0.trim().parse().ok());
        let times: Vec<f64> = times.collect();
        assert!(times.len() > 100 && times.is_sorted(), "{console}");
        says(&guest, "Marking TSC unstable", false);
        let clock = read(&mut guest, "/sys/devices/system/clocksource/clocksource0/current_clocksource");
        assert_eq!(clock.trim_end(), "tsc");
    }
}

#[test]
fn the_reset_line_restarts_counters() {
    let mut guest = started(Config { processors: 2, ..usual() });
    let tsc = |guest: &Guest| -> Vec<u64> {
        let now = guest.machine.now().0;
        guest.machine.processors().map(|processor| processor.tsc(now)).collect()
    };
    assert!(tsc(&guest).iter().all(|tsc| *tsc > SECOND));
    guest.machine.reset_line(&mut guest.tape).unwrap();
    assert_eq!(tsc(&guest), [0, 0]);
    guest.power_lost();
    boot(&mut guest.machine, KERNEL, Entry::Pvh, &COMMAND_LINE.replace("epoch=1000", "epoch=2000"));
    wait_ready(&mut guest);
    assert!(tsc(&guest).iter().all(|tsc| *tsc < 2 * SECOND));
}

#[test]
fn a_processor_that_misses_the_first_start_up_takes_the_second() {
    let mut guest = started(Config { processors: 2, ap_start: ApStart::DropFirstSipi, ..usual() });
    for _ in 0..2 {
        assert_eq!(read(&mut guest, "/sys/devices/system/cpu/online").trim_end(), "0-1");
        s3_by_alarm(&mut guest);
        workloads_are_clean(&mut guest);
    }
    assert_eq!(read(&mut guest, "/sys/devices/system/cpu/online").trim_end(), "0-1");
}

#[test]
fn linux_goes_on_without_a_processor_that_never_starts() {
    let mut guest = booted(Config { processors: 2, ap_start: ApStart::DropAll, ..usual() });
    assert_eq!(read(&mut guest, "/sys/devices/system/cpu/online").trim_end(), "0");
    says(&guest, "CPU1 failed to report alive state", true);
    s3_by_alarm(&mut guest);
    assert_eq!(read(&mut guest, "/sys/devices/system/cpu/online").trim_end(), "0");
}

#[test]
fn an_alarm_that_acpi_does_not_hear_does_not_wake() {
    let mut guest = booted(Config { rtc_alarm: AlarmDelivery::Interrupt, ..usual() });
    suspend(&mut guest, SuspendState::Mem);
    falls_asleep(&mut guest, SleepState::S3);
    assert_eq!(guest.machine.sleep_until_wake(&mut guest.tape), Err(WakeError::NothingWakes));
    guest.machine.wake_by_button(SECOND, &mut guest.tape).unwrap();
    returns(&mut guest);

    let mut guest = booted(Config { rtc_alarm: AlarmDelivery::Acpi, ..usual() });
    s3_by_alarm(&mut guest);
}

#[test]
fn the_clock_shows_how_long_power_was_off() {
    let mut guest = booted(Config { off_for: 3600 * SECOND, ..usual() });
    let shown =
        |guest: &mut Guest| read(guest, "/sys/class/rtc/rtc0/since_epoch").trim_end().parse::<u64>().unwrap();
    let before = shown(&mut guest);
    boots_again(&mut guest);
    wait_ready(&mut guest);
    let after = shown(&mut guest);
    assert!((3600..3605).contains(&(after - before)), "{before} and then {after}");
}

/// All at once, and twice.
#[test]
fn a_machine_with_many_faults_is_the_same_each_time() {
    let config = Config {
        processors: 2,
        seed: 7,
        vendor: Vendor::Amd,
        hpet: HpetKind::On,
        bios_date: Date { year: 2022, month: 2, day: 3 },
        ap_start: ApStart::DropFirstSipi,
        tsc_on_s3: TscOnS3::Jump(12_345_678_901),
        ram_at_power_on: RamAtPowerOn::Seeded,
        facs: FacsRegion::Nvs,
        withheld: 0x2_0000,
        reserved_page: Some(0x0a00_0000),
        rtc_alarm: AlarmDelivery::Acpi,
        ..usual()
    };
    let life = || {
        let mut guest = started(config.clone());
        s3_by_alarm(&mut guest);
        workloads_are_clean(&mut guest);
        guest.machine.digest()
    };
    assert_eq!(life(), life());
}
