//! Snapshots that are cut off, changed, foreign, or made by an enemy: an error that says what is wrong, or a machine that runs.

use std::sync::Arc;

use devices::disk::{Base, BaseIdentity, Disk, DiskConfig, Media, MemoryBase};
use vmm::{Config, Drive, FrontEnd, Limit, Limits, Machine, Snapshot, SnapshotError};

use crate::repack::{BODY, MEMORY, PAGES, Parts, STATE};
use crate::snapshots::to_bytes;
use crate::software::{Guest, LIMIT};

fn base(byte: u8) -> Arc<dyn Base> {
    Arc::new(MemoryBase(vec![byte; 1 << 20]))
}

fn drives() -> Vec<Drive> {
    let drive = |id, front_end, media| Drive {
        front_end,
        disk: Disk::new(DiskConfig { id, ..DiskConfig::default() }, media).unwrap(),
    };
    let mut changed = Media::over(base(7)).unwrap();
    changed.write(8192, &[1; 512]).unwrap();
    vec![drive(3, FrontEnd::Virtio, changed), drive(4, FrontEnd::Nvme, Media::blank(1 << 20).unwrap())]
}

/// Two processors at work, and disks at rest.
fn guest() -> Guest {
    let config = Config { processors: 2, ..Config::default() };
    let mut guest = Guest::with_drives("processors", config, drives());
    let instructions = Some(guest.machine.instructions() + 4_000);
    guest.machine.run(Limit { instructions, ..LIMIT }, &mut guest.log);
    guest
}

fn read(bytes: &[u8]) -> Result<Arc<Snapshot>, SnapshotError> {
    Snapshot::read_from(bytes, Limits::default(), |_, _| Some(base(7)))
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

#[test]
fn a_snapshot_comes_back_with_its_disks() {
    let mut guest = guest();
    let snapshot = guest.machine.snapshot();
    let bytes = to_bytes(&snapshot);
    let mut asked = Vec::new();
    let found = Snapshot::read_from(&bytes[..], Limits::default(), |disk, identity| {
        asked.push((disk, identity.bytes));
        Some(base(7))
    })
    .unwrap();
    assert_eq!(asked, [(3, 1 << 20)]);
    assert!(*found == *snapshot);
    assert!(to_bytes(&found) == bytes);
    let machine = Machine::from_snapshot(&found).unwrap();
    let mut contents = [0; 2];
    machine.board().pci.disks().next().unwrap().media().read(8192 + 511, &mut contents).unwrap();
    assert_eq!(contents, [1, 7]);
    let missing = Snapshot::read_from(&bytes[..], Limits::default(), |_, _| None).unwrap_err();
    let other = Snapshot::read_from(&bytes[..], Limits::default(), |_, _| Some(base(8))).unwrap_err();
    insta::assert_snapshot!(format!("{missing}\n{other}"));
}

#[test]
fn what_is_no_snapshot_is_refused_with_the_reason() {
    let bytes = to_bytes(&guest().machine.snapshot());
    let parts = Parts::of(&bytes);
    let changed = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    let with = |field, value| {
        let mut parts = parts.clone();
        parts.set(field, value);
        parts.lying()
    };
    let page = |number: u32, byte: u8| [&number.to_le_bytes()[..], &[byte; 4096]].concat();
    let pages = |pages: &[Vec<u8>]| Parts { pages: pages.concat(), ..parts.clone() }.to_bytes();
    // 256 MiB of zeros in a few KiB.
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(0), 1 << 28), 1).unwrap();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("a text", b"kjvm scenario".to_vec()),
        ("its first bytes", bytes[..100].to_vec()),
        ("half of it", bytes[..bytes.len() / 2].to_vec()),
        ("all but a byte", bytes[..bytes.len() - 1].to_vec()),
        ("a byte more", [&bytes[..], &[0]].concat()),
        ("another format", changed(8)),
        ("another layout", changed(40)),
        ("a changed checksum", changed(119)),
        ("a changed body", changed(bytes.len() - 9)),
        ("no memory", with(MEMORY, 0)),
        ("odd memory", with(MEMORY, 4097)),
        ("absurd memory", with(MEMORY, u64::MAX)),
        ("other memory", with(MEMORY, 32 << 20)),
        ("absurd state", with(STATE, u64::MAX)),
        ("less state", with(STATE, 100)),
        ("more state", with(STATE, parts.state.len() as u64 + 1)),
        ("absurd pages", with(PAGES, u64::MAX)),
        ("fewer pages", with(PAGES, 1)),
        ("absurd body", {
            let mut bytes = bytes.clone();
            bytes[BODY..BODY + 8].copy_from_slice(&u64::MAX.to_le_bytes());
            bytes
        }),
        ("no zstd", parts.around(b"what is this")),
        ("a bomb", parts.around(&bomb)),
        ("two frames", {
            let frame = &bytes[120..];
            parts.around(&[frame, frame].concat())
        }),
        ("a page beyond the end", pages(&[page(16 << 10, 1)])),
        ("the same page twice", pages(&[page(5, 1), page(5, 1)])),
        ("pages that go back", pages(&[page(5, 1), page(4, 1)])),
        ("a page of zeros", pages(&[page(5, 0)])),
        ("state and more", {
            let mut parts = parts.clone();
            parts.state.push(0);
            parts.to_bytes()
        }),
        ("another number of processors", {
            let mut parts = parts.clone();
            assert_eq!(parts.state[0], 2);
            parts.state[0] = 3;
            parts.to_bytes()
        }),
    ];
    let refusals: Vec<String> =
        cases.iter().map(|(what, bytes)| format!("{what}: {}", masked(&refusal(bytes)))).collect();
    insta::assert_snapshot!(refusals.join("\n"));
    // And the helper can make one that is right.
    assert!(*read(&parts.to_bytes()).unwrap() == *read(&bytes).unwrap());
}

/// Without what changes with the guest and with the layout.
fn masked(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let mask = |word: &str| {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        if digits >= 4 && word.len() < 20 || word.len() == 8 && digits > 0 {
            "...".to_owned()
        } else {
            word.to_owned()
        }
    };
    let mut masked = String::new();
    for piece in text.split_inclusive(|c| !is_word(c)) {
        let word = piece.trim_end_matches(|c| !is_word(c));
        masked += &mask(word);
        masked += &piece[word.len()..];
    }
    masked
}

#[test]
fn it_may_be_cut_off_anywhere() {
    let bytes = to_bytes(&guest().machine.snapshot());
    for length in (0..200).chain((200..bytes.len()).step_by(997)) {
        assert!(
            matches!(
                read(&bytes[..length]),
                Err(SnapshotError::Truncated { .. } | SnapshotError::NotASnapshot)
            ),
            "{length} bytes"
        );
    }
}

#[test]
fn limits_hold() {
    let bytes = to_bytes(&guest().machine.snapshot());
    let refused = |limits| {
        let none = |_: u8, _: BaseIdentity| -> Option<Arc<dyn Base>> { None };
        Snapshot::read_from(&bytes[..], limits, none).unwrap_err().to_string()
    };
    let (memory, state) = (Limits::default().memory, Limits::default().state);
    assert!(refused(Limits { memory: 1 << 20, state }).contains("bytes of memory, and at most 1048576"));
    assert!(refused(Limits { memory, state: 100 }).contains("bytes of state, and at most 100"));
}

/// A base that the host cannot read any more has no identity, and the snapshot no bytes.
#[test]
fn a_base_that_cannot_be_read_is_named() {
    #[derive(Debug)]
    struct Gone;
    impl Base for Gone {
        fn bytes(&self) -> u64 {
            1 << 20
        }
        fn read(&self, offset: u64, _: &mut [u8]) -> Result<(), devices::disk::BaseError> {
            Err(devices::disk::BaseError::Host { offset, reason: "gone".into() })
        }
    }
    let disk = Disk::new(DiskConfig { id: 9, ..DiskConfig::default() }, Media::over(Arc::new(Gone)).unwrap())
        .unwrap();
    let drive = Drive { front_end: FrontEnd::Virtio, disk };
    let mut machine = Machine::new(Config { memory: 16 << 20, ..Config::default() }, vec![drive]).unwrap();
    let error = machine.snapshot().write_to(Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "disk 9: the base cannot be read at byte 0: gone");
}

/// `KJVM_FUZZ=200000` plays as many; `KJVM_FUZZ_SEED` plays that one alone.
#[test]
fn changed_states_are_refused_or_run() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let parts = Parts::of(&to_bytes(&guest().machine.snapshot()));
    let seeds = match number("KJVM_FUZZ_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("KJVM_FUZZ").unwrap_or(600) + 1,
    };
    let mut ran = 0;
    for seed in seeds {
        let played = std::panic::catch_unwind(|| play(&parts, seed));
        assert!(played.is_ok(), "KJVM_FUZZ_SEED={seed}");
        ran += u64::from(matches!(played, Ok(true)));
    }
    eprintln!("{ran} of the changed machines ran");
}

/// Whether it was a machine.
fn play(parts: &Parts, seed: u64) -> bool {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut below = |end: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % end as u64) as usize
    };
    let mut changed = parts.clone();
    for _ in 0..=below(3) {
        let at = below(changed.state.len());
        changed.state[at] = match below(4) {
            0 => 0xff,
            1 => 0,
            2 => changed.state[at] ^ 1 << below(8),
            _ => below(256) as u8,
        };
    }
    let Ok(snapshot) = read(&changed.to_bytes()) else { return false };
    let mut machine = Machine::from_snapshot(&snapshot).unwrap();
    assert!(*machine.snapshot() == *snapshot);
    let instructions = Some(machine.instructions().saturating_add(100_000));
    let time = Some(machine.now().after(1_000_000_000));
    for _ in 0..5 {
        machine.run(Limit { instructions, time }, &mut crate::software::Log::default());
    }
    machine.digest();
    to_bytes(&machine.snapshot());
    true
}
