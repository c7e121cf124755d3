use super::*;

const FLAGSHIP: &str = include_str!("../../power-lost-in-s3.toml");

#[test]
fn the_flagship_is_read() {
    let scenario = Scenario::read(FLAGSHIP, &[]).unwrap();
    let names: Vec<&str> = scenario.steps.iter().map(|step| step.step.name()).collect();
    assert_eq!(names, ["preload", "jump", "save", "suspend", "restore", "check"]);
    assert_eq!(scenario.power[0].when, When::S3Entered);
    assert_eq!(scenario.cycles, 2);
    assert_eq!(scenario.partition(Use::Image), Some((0, 3)));
}

#[test]
fn overrides_need_no_quotes_and_may_be_new() {
    let overrides = ["kernel.primary=./bzImage", "machine.processors=2", "kernel.arguments=quiet x=y"];
    let scenario = Scenario::read(FLAGSHIP, &overrides.map(str::to_owned)).unwrap();
    assert_eq!(scenario.kernel.primary, "./bzImage");
    assert_eq!(scenario.machine.config.processors, 2);
    assert_eq!(scenario.kernel.arguments, "quiet x=y");
    for wrong in ["kernel", "=1", "version.x=1", "kernel.primary=7"] {
        assert!(Scenario::read(FLAGSHIP, &[wrong.to_owned()]).is_err(), "{wrong}");
    }
}

/// A scenario with something changed in it: (from, to), and what is said of it: line, column and words.
#[test]
fn mistakes_have_a_place_and_advice() {
    let mut said = String::new();
    for (from, to) in [
        ("when = \"s3-entered\"", "when = \"s3-entred\""),
        ("version = 1", "version = 2"),
        ("version = 1", ""),
        ("version = 1", "version = 1 1"),
        ("cycles = 2", "cycles = 0"),
        ("cycles = 2", "cycles = \"two\""),
        ("cycles = 2", "cicles = 2"),
        ("\"jump\"", "\"jmup\""),
        ("\"jump\"", "7"),
        ("\"jump\"", "{ to = \"B\" }"),
        ("\"jump\"", "{ do = \"jump\", far = true }"),
        ("\"suspend\"", "{ do = \"suspend\", state = \"disk\" }"),
        ("\"suspend\"", "{ do = \"suspend\", wake = \"nobody\" }"),
        ("\"suspend\"", "{ do = \"suspend\", wake = \"button\", alarm = \"5s\" }"),
        ("\"suspend\"", "{ do = \"suspend\", alarm = \"soon\" }"),
        ("\"suspend\"", "{ do = \"suspend\", pm-test = \"deep\" }"),
        ("\"suspend\"", "{ do = \"hibernate\", mode = \"fast\" }"),
        ("\"suspend\"", "{ do = \"snapshot\", then = \"sleep\" }"),
        ("saver = \"saver-6.12\"", ""),
        ("primary = \"primary-6.12\"", ""),
        ("primary = \"primary-6.12\"", "primary = \"\""),
        ("primary = \"primary-6.12\"", "primary = [\"primary-6.12\"]"),
        ("processors = 2", "processors = 65"),
        ("processors = 2", "processors = -1"),
        ("processors = 2", "memory = \"1.5.M\""),
        ("processors = 2", "memory = 4097"),
        ("processors = 2", "memory = \"much\""),
        ("processors = 2", "cpus = 2"),
        ("processors = 2", "vendor = \"via\""),
        ("processors = 2", "bios-date = \"yesterday\""),
        ("processors = 2", "bios-date = 2023-02-30"),
        ("processors = 2", "tsc-on-s3 = { jump = \"far\" }"),
        ("processors = 2", "reserved-page = 4095"),
        ("processors = 2", "quantum = 0"),
        ("processors = 2", "hpet = true"),
        ("size = \"520M\"", "size = \"100M\""),
        ("size = \"520M\"", "size = \"1000001\""),
        ("size = \"520M\"", ""),
        ("name = \"system\"", ""),
        ("name = \"system\"", "name = \"system\"\nfront-end = \"scsi\""),
        ("use = \"image\"", "use = \"images\""),
        ("use = \"image\"", "use = \"swap\""),
        ("use = \"image\"", "for = \"image\""),
        ("size = \"256M\"", "size = \"256.0001M\""),
        ("do = \"cut\"", "do = \"cute\""),
        ("do = \"cut\"", ""),
        ("do = \"cut\"", "do = \"button\""),
        ("survives = \"nothing\"", "survives = \"half\""),
        ("survives = \"nothing\"", "survives = { seed = \"x\" }"),
        ("survives = \"nothing\"", "survives = { sed = 1 }"),
        ("do = \"cut\"", "do = \"cut\"\ncycle = 0"),
        ("off = \"60s\"", "off = 60"),
        ("off = \"60s\"", "off = \"60 parsecs\""),
        ("when = \"s3-entered\"", "when = { write = 0 }"),
        ("when = \"s3-entered\"", "when = { write = 1, flush = 2 }"),
        ("when = \"s3-entered\"", "when = { disk = \"system\" }"),
        ("when = \"s3-entered\"", "when = { write = 1, disk = \"sytem\" }"),
        ("when = \"s3-entered\"", "when = { write = 1, is = \"done\" }"),
        ("when = \"s3-entered\"", "when = { write = 1, during = \"sleep\" }"),
        ("when = \"s3-entered\"", "when = { console = \"\" }"),
        ("when = \"s3-entered\"", "when = { instruction = 1.5 }"),
        ("[[power]]", "[power]"),
        ("[[disk]]", "[[disks]]"),
    ] {
        assert!(FLAGSHIP.contains(from), "{from}");
        let text = FLAGSHIP.replacen(from, to, 1);
        let Err((mistake, text)) = Scenario::read(&text, &[]) else { panic!("{from} -> {to}: accepted") };
        let (line, column) = mistake.line_and_column(&text);
        said += &format!("{} -> {}\n  {line}:{column} {mistake}\n", from, to.replace('\n', "; "));
        for advice in mistake.label.iter().chain(&mistake.help) {
            said += &format!("    {advice}\n");
        }
    }
    insta::assert_snapshot!(said);
}

#[test]
fn knobs_are_those_of_the_machine() {
    let knobs = "vendor = \"amd\"\nhpet = \"on\"\nbios-date = 2010-05-06\ntsc-on-s3 = { jump = -5 }\nap-start = \"drop-first-sipi\"\n\
                 reserved-page = 0x2000000\nwithheld = \"1M\"\nhardware-signature = 7\noff-for = \"5s\"\nmemory = \"300M\"";
    let text = FLAGSHIP.replacen("processors = 2", knobs, 1);
    let MachineSpec { config, sized } = Scenario::read(&text, &[]).unwrap().machine;
    assert_eq!((config.vendor, config.hpet), (vmm::config::Vendor::Amd, vmm::config::HpetKind::On));
    assert_eq!(config.tsc_on_s3, vmm::config::TscOnS3::Jump(-5));
    assert_eq!(
        (config.bios_date.year, config.reserved_page, config.withheld),
        (2010, Some(0x200_0000), 1 << 20)
    );
    assert_eq!(
        (config.hardware_signature, config.off_for, config.memory, sized),
        (7, 5_000_000_000, 300 << 20, true)
    );
}

proptest::proptest! {
    /// Whatever bytes are changed: a scenario or a mistake whose place lies in the text.
    #[test]
    fn no_text_breaks_it(at in 0usize..2000, length in 0usize..20, with in "[ -~\\n]{0,12}") {
        let start = at.min(FLAGSHIP.len());
        let end = (start + length).min(FLAGSHIP.len());
        if FLAGSHIP.is_char_boundary(start) && FLAGSHIP.is_char_boundary(end) {
            let text = [&FLAGSHIP[..start], &with, &FLAGSHIP[end..]].concat();
            if let Err((mistake, text)) = Scenario::read(&text, &[]) {
                proptest::prop_assert!(mistake.place.start <= text.len() && mistake.place.end <= text.len());
            }
        }
    }
}
