//! Every scenario of the library passes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn passes(name: &str) {
    let file = directory().join(name).with_extension("toml");
    let output = Command::new(env!("CARGO_BIN_EXE_kjvm")).arg("run").arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // Of a file with a matrix each run has a verdict of its own.
    let verdicts = [format!("PASS   {name} "), format!("PASS   {name}[")];
    let passed = said.lines().any(|line| verdicts.iter().any(|verdict| line.starts_with(verdict)));
    let skipped = said.lines().any(|line| line.starts_with("SKIPPED "));
    let well = output.status.success() && passed && !skipped;
    assert!(well, "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

macro_rules! library {
    ($($test:ident: $name:literal;)*) => {
        $(#[test]
        fn $test() {
            passes($name);
        })*

        const TESTED: &[&str] = &[$($name,)*];
    };
}

library! {
    crash: "crash";
    freezer_refuses: "freezer-refuses";
    hibernate_crash_between: "hibernate-crash-between";
    hibernate_cut_after_resume: "hibernate-cut-after-resume";
    hibernate_cut_at_header: "hibernate-cut-at-header";
    hibernate_cut_in_resume: "hibernate-cut-in-resume";
    hibernate_header_error: "hibernate-header-error";
    hibernate_nocompress: "hibernate-nocompress";
    hibernate_noresume: "hibernate-noresume";
    hibernate_other_e820: "hibernate-other-e820";
    hibernate_other_hardware: "hibernate-other-hardware";
    hibernate_other_kernel: "hibernate-other-kernel";
    hibernate_other_memory: "hibernate-other-memory";
    hibernate_own_disk: "hibernate-own-disk";
    hibernate_platform: "hibernate-platform";
    hibernate_reboot: "hibernate-reboot";
    hibernate_shutdown: "hibernate-shutdown";
    hibernate_swap_file: "hibernate-swap-file";
    hibernate_swap_file_refused: "hibernate-swap-file-refused";
    hibernate_swap_too_small: "hibernate-swap-too-small";
    hibernate_test_resume: "hibernate-test-resume";
    hibernate_two_swaps: "hibernate-two-swaps";
    hibernate_wake_event: "hibernate-wake-event";
    hibernate_write_error: "hibernate-write-error";
    hybrid_sleep: "hybrid-sleep";
    hybrid_sleep_power_lost: "hybrid-sleep-power-lost";
    image_full: "image-full";
    image_on_own_disk: "image-on-own-disk";
    jump_and_back: "jump-and-back";
    jump_swapped: "jump-swapped";
    kexec: "kexec";
    pm_test: "pm-test";
    power_lost_in_s3: "power-lost-in-s3";
    preload_no_memory: "preload-no-memory";
    restore_cut: "restore-cut";
    restored_cut: "restored-cut";
    s2idle: "s2idle";
    s3: "s3";
    save_and_back: "save-and-back";
    save_cut_at_header: "save-cut-at-header";
    save_off_restore: "save-off-restore";
    save_s3_back: "save-s3-back";
    save_s4_restore: "save-s4-restore";
    saver_lacks_driver: "saver-lacks-driver";
    saver_mounts: "saver-mounts";
    stock_hibernate: "stock-hibernate";
    stock_s3: "stock-s3";
    swapoff_refused: "swapoff-refused";
    uswsusp_off: "uswsusp-off";
    uswsusp_ram: "uswsusp-ram";
    uswsusp_ram_power_lost: "uswsusp-ram-power-lost";
}

#[test]
fn every_scenario_is_a_test() {
    let mut there: Vec<String> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "Cargo" && name != "expected")
        .collect();
    there.sort();
    assert_eq!(there, TESTED);
}
