use super::*;

const FLAGSHIP: &str = include_str!("../../power-lost-in-s3.toml");

#[test]
fn the_flagship_is_read() {
    let scenario = Scenario::read(FLAGSHIP, &[]).unwrap();
    let names: Vec<&str> = scenario.steps.iter().map(|step| step.step.name()).collect();
    assert_eq!(names, ["preload", "jump", "save", "suspend", "restore", "check"]);
    assert_eq!(scenario.power[0].on.to_string(), "asleep in S3");
    assert_eq!(scenario.power[0].act.name(), "power cut");
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
        ("do = \"cut\"", "do = \"alarm\"\nafter = 5"),
        ("survives = \"nothing\"", "survives = { requests = [1, -2] }"),
        ("survives = \"nothing\"", "survives = { lose = [1], disk = \"sytem\" }"),
        ("survives = \"nothing\"", "survives = { lose = [1], seed = 2 }"),
        ("survives = \"nothing\"", "survives = { lose = [{ request = 1, sectors = [8, 8] }] }"),
        ("survives = \"nothing\"", "survives = { requests = [{ request = 1, sectors = [8, 9] }] }"),
        ("survives = \"nothing\"", "survives = []"),
        ("survives = \"nothing\"", "survives = [\"nothing\"]"),
        ("survives = \"nothing\"", "survives = [{ lose = [1] }]"),
        ("when = \"s3-entered\"", "when = { write = 1, region = \"swap-heeder\" }"),
        ("when = \"s3-entered\"", "when = { write = 1, region = \"system.4\" }"),
        ("when = \"s3-entered\"", "when = { write = 1, sectors = [5, 5] }"),
        ("when = \"s3-entered\"", "when = { write = 1, sectors = [1, 2], region = \"swap\" }"),
        ("when = \"s3-entered\"", "when = { flush = 1, region = \"swap\" }"),
        ("when = \"s3-entered\"", "when = { step = \"sav\" }"),
        ("when = \"s3-entered\"", "when = { step = \"save\", is = \"half\" }"),
        ("when = \"s3-entered\"", "when = { sleep-register = \"s1\" }"),
        ("when = \"s3-entered\"", "when = { debug-port = 256 }"),
        ("cycles = 2", "must-fail = [\"O4.C55\"]"),
        ("cycles = 2", "allow = [{ says = \"x\" }]"),
        ("cycles = 2", "matrix = 7\nabuot = 1"),
        ("\"jump\"", "{ do = \"jump\", expect = \"cold\" }"),
        ("\"jump\"", "{ do = \"check\", expect = \"refused\" }"),
        ("\"jump\"", "{ do = \"jump\", says = \"\" }"),
        ("\"jump\"", "{ do = \"jump\", kernel = \"primary-6.1\" }"),
        ("\"restore\"", "{ do = \"restore\", machine = { memory = \"1K\" } }"),
        ("\"restore\"", "{ do = \"restore\", machine = { cpus = 1 } }"),
        ("\"restore\"", "{ do = \"resume\", expect = \"refused\" }"),
        ("\"restore\"", "{ do = \"recover\", by = \"magic\" }"),
        ("\"jump\"", "\"write\""),
        ("\"jump\"", "{ do = \"write\", path = \"/x\" }"),
        ("\"jump\"", "{ do = \"run\", command = [] }"),
        ("\"jump\"", "{ do = \"wait\" }"),
        ("\"jump\"", "{ do = \"mount\", device = \"system.9\", at = \"/mnt\" }"),
        ("\"jump\"", "{ do = \"fill-memory\", left = \"some\" }"),
        ("name = \"system\"", "name = \"sys.tem\""),
        ("name = \"system\"", "name = \"system\"\ncache = \"none\""),
        ("name = \"system\"", "name = \"system\"\ncache = \"write-through\"\ndestage-after = \"1s\""),
        ("name = \"system\"", "name = \"system\"\natomic-unit = 1024"),
        ("name = \"system\"", "name = \"system\"\ndiscard = \"yes\""),
        ("name = \"system\"", "name = \"system\"\nlatency = { seek = \"1ms\" }"),
        ("name = \"system\"", "name = \"system\"\nfaults = [{ fails = \"writes\" }]"),
        ("name = \"system\"", "name = \"system\"\nfaults = [{ nth = 1 }]"),
        ("name = \"system\"", "name = \"system\"\nfaults = [{ fails = \"any\", nth = 1 }]"),
        ("name = \"system\"", "name = \"system\"\nfaults = [{ lies = \"read\" }]"),
        ("name = \"system\"", "name = \"system\"\nfaults = [{ fails = \"write\", during = \"saving\" }]"),
        ("name = \"system\"", "name = \"system\"\nfaults = [{ fails = \"write\", after = \"never\" }]"),
        ("use = \"swap\",", "use = \"swap\", priority = 40000,"),
        ("use = \"ext4\",", "use = \"ext4\", swap-file = \"64M\","),
        ("use = \"image\",", "use = \"image\", priority = 1,"),
        ("saver = \"saver-6.12\"", "builds = [{ name = \"a\" }, { name = \"a\" }]"),
        ("saver = \"saver-6.12\"", "builds = [{ name = \"a/b\" }]"),
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

fn flagship(from: &str, to: &str) -> Scenario {
    assert!(FLAGSHIP.contains(from), "{from}");
    Scenario::read(&FLAGSHIP.replacen(from, to, 1), &[]).unwrap()
}

#[test]
fn disks_have_knobs_and_faults_that_come_and_go() {
    use devices::disk::{AtomicUnit, CacheMode, Counters, FaultOutcome, PowerOff, Tie};
    let knobs = "name = \"system\"\nlatency = { flush = \"2ms\" }\nreorder = 3\ndestage-after = \"5s\"\nlate-loss = \"5ms\"\npower-off = \"drop\"\n\
                 atomic-unit = 4096\ntie = \"write\"\ndiscard = false\n\
                 faults = [{ fails = \"write\", nth = 3, region = \"swap\", during = \"save\", cycle = 2, times = \"once\", done = \"all\" },\n\
                 { lies = \"flush\" }, { hangs = \"any\", after = { time = \"1s\" } }]";
    let scenario = flagship("name = \"system\"", knobs);
    let disk = &scenario.disks[0];
    assert_eq!((disk.config.latency.flush, disk.config.reorder), (2_000_000, Some(3)));
    assert_eq!((disk.config.cache, disk.config.power_off), (CacheMode::WriteBack, PowerOff::Drop));
    assert_eq!(
        (disk.config.atomic_unit, disk.config.tie, disk.config.discard),
        (AtomicUnit::Block, Tie::Write, false)
    );
    assert_eq!((disk.config.destage_after, disk.config.late_loss), (Some(5_000_000_000), Some(5_000_000)));
    let [fails, lies, hangs] = &disk.faults[..] else { panic!("three faults") };
    let fault = fails.fault(Counters { writes: 10, ..Counters::default() });
    assert_eq!((fault.nth, fails.during, fails.cycle), (Some(12), Some("save"), Some(2)));
    let extent = fault.extent.unwrap();
    assert_eq!((extent.sector, extent.sectors), (65 << 11, 192 << 11));
    assert_eq!(lies.fault(Counters::default()).outcome, FaultOutcome::Lies);
    assert_eq!([fails, lies, hangs].map(FaultSpec::counts_at_first), [false, true, false]);
}

#[test]
fn a_boot_may_be_of_another_machine_and_kernel() {
    let step = "{ do = \"restore\", kernel = \"saver-6.1\", arguments = \"quiet\", machine = { memory = \"384M\" }, expect = \"cold\", says = \"no\" }";
    let scenario = flagship("\"restore\"", step);
    let spec = scenario.steps.iter().find(|spec| spec.step == Step::Restore).unwrap();
    assert_eq!((spec.expect, spec.says.as_deref()), (Expect::Cold, Some("no")));
    let machine = spec.boot.machine.as_ref().unwrap();
    // What it does not say is as in all boots.
    assert_eq!((machine.config.memory, machine.config.processors, machine.sized), (384 << 20, 2, true));
    assert_eq!((spec.boot.kernel.as_deref(), spec.boot.arguments.as_str()), (Some("saver-6.1"), "quiet"));
}

#[test]
fn regions_are_those_of_the_partitions() {
    let of = |when: &str| flagship("when = \"s3-entered\"", when).power[0].on.to_string();
    let said = [
        of("when = { write = 2, region = \"image-header\" }"),
        of("when = { write = 1, region = \"swap-header\", is = \"durable\" }"),
        of("when = { fua = 1, region = \"system.1\" }"),
        of("when = { discard = 1, sectors = [8, 16], during = \"save\" }"),
        of("when = { console = \"Freezing\", nth = 2 }"),
        of("when = { step = \"save\", is = \"ends\" }"),
        of("when = { sleep-register = \"s4\" }"),
    ];
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_matrix_is_a_product_and_names_its_runs() {
    let matrix = "[matrix]\n\"machine.processors\" = [1, 2]\n\"disk.system.front-end\" = [\"virtio\", \"nvme\"]\n\"power.0.cycle\" = [2]\n";
    let text = format!("{FLAGSHIP}{matrix}");
    let variants = Scenario::variants(&text, &[]).unwrap();
    let names: Vec<&str> = variants.iter().map(|variant| variant.suffix.as_str()).collect();
    assert_eq!(
        names,
        [
            "[processors=1,front-end=virtio,cycle=2]",
            "[processors=1,front-end=nvme,cycle=2]",
            "[processors=2,front-end=virtio,cycle=2]",
            "[processors=2,front-end=nvme,cycle=2]"
        ]
    );
    let last = &variants[3].scenario;
    assert_eq!((last.machine.config.processors, last.disks[0].front_end), (2, vmm::FrontEnd::Nvme));
    assert_eq!(last.power[0].cycle, Some(2));
    // Who sets a value wants no other.
    let variants = Scenario::variants(&text, &["machine.processors=4".to_owned()]).unwrap();
    assert!(variants.iter().all(|variant| variant.scenario.machine.config.processors == 4));
    assert_eq!((variants.len(), Scenario::variants(FLAGSHIP, &[]).unwrap()[0].suffix.as_str()), (2, ""));
    let several = format!("{FLAGSHIP}[[matrix]]\n\"cycles\" = [1]\n[[matrix]]\n\"machine.seed\" = [5, 6]\n");
    let variants = Scenario::variants(&several, &[]).unwrap();
    let names: Vec<&str> = variants.iter().map(|variant| variant.suffix.as_str()).collect();
    assert_eq!(names, ["[cycles=1]", "[seed=5]", "[seed=6]"]);
    for wrong in [
        "[matrix]\ncycles = 1\n",
        "[matrix]\ncycles = []\n",
        "[matrix]\nmachine.processors = [1]\n",
        "[matrix]\n\"disk.sytem.size\" = [\"1G\"]\n",
        "[matrix]\n\"machine.cpus\" = [1]\n",
        "[matrix]\n\"disk.system\" = [1]\n",
    ] {
        assert!(Scenario::variants(&format!("{FLAGSHIP}{wrong}"), &[]).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_asked_of_kernels_follows_from_the_steps() {
    use guest_kernels::check::Ability;
    let scenario = Scenario::read(FLAGSHIP, &[]).unwrap();
    let (primary, saver) = (scenario.asks_of_primary(), scenario.asks_of_saver());
    assert!(primary.contains(&Ability::KexecJumpPrimary) && !primary.contains(&Ability::S3));
    assert!(saver.contains(&Ability::S3) && saver.contains(&Ability::KexecJumpRestorer));
    assert!(!saver.contains(&Ability::KexecJumpPrimary));
}
