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
    let verdict = format!("PASS   {name} ");
    let well = output.status.success() && said.lines().last().is_some_and(|last| last.starts_with(&verdict));
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
    hibernate_platform: "hibernate-platform";
    hibernate_reboot: "hibernate-reboot";
    hibernate_shutdown: "hibernate-shutdown";
    hibernate_test_resume: "hibernate-test-resume";
    hybrid_sleep: "hybrid-sleep";
    hybrid_sleep_power_lost: "hybrid-sleep-power-lost";
    jump_and_back: "jump-and-back";
    power_lost_in_s3: "power-lost-in-s3";
    s2idle: "s2idle";
    s3: "s3";
    save_and_back: "save-and-back";
    save_off_restore: "save-off-restore";
    save_s3_back: "save-s3-back";
    save_s4_restore: "save-s4-restore";
    uswsusp_off: "uswsusp-off";
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
