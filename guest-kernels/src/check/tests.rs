use super::*;
use crate::bzimage::tests::bzimage;
use crate::compression::Compression;
use std::fs;
use std::path::Path;

/// Everything the table asks for, built in.
fn full() -> String {
    let mut text = "# Linux/x86 9.9.1 Kernel Configuration\nCONFIG_X86=y\n".to_owned();
    for need in Ability::ALL.iter().flat_map(|ability| ability.needs()) {
        text += &match need.want {
            Want::Yes(symbol) | Want::Loadable(symbol, _) => format!("CONFIG_{symbol}=y\n"),
            Want::Off(symbol) => format!("# CONFIG_{symbol} is not set\n"),
            Want::AtLeast(symbol, least) => format!("CONFIG_{symbol}={least}\n"),
        };
    }
    text
}

/// As distributions have it.
fn stock() -> String {
    let mut text = full();
    for symbol in ["KEXEC_JUMP", "PM_DEBUG"] {
        text = text.replace(&format!("CONFIG_{symbol}=y"), &format!("# CONFIG_{symbol} is not set"));
    }
    for symbol in ["VIRTIO_BLK", "BLK_DEV_NVME", "EXT4_FS", "BLK_DEV_SD"] {
        text = text.replace(&format!("CONFIG_{symbol}=y"), &format!("CONFIG_{symbol}=m"));
    }
    text = text.replace("CONFIG_SATA_AHCI=y\n", "");
    text + "CONFIG_STRICT_DEVMEM=y\n"
}

fn report(text: &str) -> Report {
    Report::new(None, ConfigSource::Kernel, &KernelConfig::parse(text).unwrap())
}

#[test]
fn abilities_build_on_earlier_ones_and_their_names_are_those_of_json() {
    for (number, ability) in Ability::ALL.iter().enumerate() {
        for below in ability.builds_on().iter().chain(ability.one_of()) {
            assert!(Ability::ALL[..number].contains(below), "{ability:?} on {below:?}");
        }
        assert_eq!(serde_json::to_string(ability).unwrap(), format!("\"{}\"", ability.name()));
        assert!(!ability.needs().is_empty());
    }
}

#[test]
fn a_kernel_with_everything_can_do_everything() {
    let report = report(&full());
    assert!(report.verdicts.iter().all(|verdict| verdict.able && verdict.modules.is_empty()), "{report}");
    assert_eq!(report.reason(Ability::S3), None);
}

#[test]
fn what_a_stock_kernel_lacks_is_said() {
    let report = report(&stock());
    insta::assert_snapshot!(report);
    insta::assert_snapshot!(
        report.reason(Ability::KexecJumpPrimary).unwrap(),
        @"kexec-jump-primary needs CONFIG_KEXEC_JUMP=y, CONFIG_STRICT_DEVMEM off"
    );
}

#[test]
fn what_is_missing_below_is_in_the_reason() {
    let text = full().replace("CONFIG_RTC_CLASS=y", "").replace("CONFIG_TTY=y", "");
    let report = report(&text);
    insta::assert_snapshot!(
        report.reason(Ability::HibernateSuspend).unwrap(),
        @"hibernate-suspend needs CONFIG_RTC_CLASS=y, CONFIG_TTY=y"
    );
}

#[test]
fn without_any_disk_nothing_can_be_kept() {
    let mut text = full();
    for symbol in ["VIRTIO_BLK", "BLK_DEV_NVME", "SATA_AHCI"] {
        text = text.replace(&format!("CONFIG_{symbol}=y"), "");
    }
    let report = report(&text);
    assert!(!report.is_able(Ability::Uswsusp));
    assert!(report.is_able(Ability::S3));
    assert!(report.to_string().contains("needs a disk: virtio-blk or nvme or ahci"), "{report}");
}

#[test]
fn a_report_survives_json() {
    let report = report(&stock());
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

struct Boot(tempfile::TempDir);

impl Boot {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn put(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
    fn shown(&self, result: Result<Report, CheckError>) -> String {
        let text = result.map_or_else(|error| error.to_string(), |report| report.to_string());
        let text = text.replace(&self.0.path().display().to_string(), "/boot");
        text.lines().take(2).collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn the_configuration_is_found_wherever_it_is() {
    let boot = Boot::new();
    let mute = boot.put("vmlinuz", &bzimage(Compression::Zstd, None));
    let telling = boot.put("telling", &bzimage(Compression::Lz4, Some(&full())));
    let other = boot.put("other", full().replace("9.9.1", "8.0.1").as_bytes());
    let mut results = vec![boot.shown(check(&mute, None))];
    let config = boot.put("config-9.9.9-test", full().as_bytes());
    results.push(boot.shown(check(&mute, None)));
    results.push(boot.shown(check(&mute, Some(&config))));
    results.push(boot.shown(check(&telling, None)));
    results.push(boot.shown(check(&config, None)));
    results.push(boot.shown(check(&mute, Some(&other))));
    results.push(boot.shown(check(&mute, Some(&mute))));
    results.push(boot.shown(check(&boot.put("text", b"hello\n"), None)));
    results.push(boot.shown(check(Path::new("/nowhere"), None)));
    insta::assert_snapshot!(results.join("\n\n"));
}
