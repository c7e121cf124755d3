//! `kjvm image` as a user calls it, on disks of machines that sleep.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};

use agent_protocol::image::{Header, Kind, State};
use agent_protocol::message::{AfterSnapshot, Ask, HibernateMode, Partition, PartitionKind};
use devices::disk::{BLOCK, Disk, DiskConfig, Media};
use firmware::boot::Payload;
use guest_kernels::provision;
use scenarios::image::find::{Contents, find};
use scenarios::{Guest, Kernel};
use vmm::{Config, Drive, Entry, FrontEnd, Machine};

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;
const BYTES: u64 = 420 * MIB;
/// The second partition, in bytes.
const SWAP: u64 = 33 * MIB;

fn kjvm(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_kjvm")).args(arguments).env("NO_COLOR", "1").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code(), text(&stdout), text(&stderr))
}

/// The disk of a machine with ext4, swap and an image partition, after a kernel of ours hibernated.
fn hibernated(sleep: &Ask, file: &Path) {
    let disk = Disk::new(DiskConfig::default(), Media::blank(BYTES).unwrap()).unwrap();
    let drives = vec![Drive { front_end: FrontEnd::Virtio, disk }];
    let mut machine = Machine::new(Config::default(), drives).unwrap();
    let provided = provision::kernel("primary-6.12", &|text| eprintln!("{text}")).unwrap();
    let kernel = Kernel::read(&provided.bzimage, Entry::Pvh).unwrap();
    let command_line = "console=ttyS0 random.trust_cpu=on resume=/dev/vda2 kjvm.role=A kjvm.epoch=1";
    let payload = Payload { kernel: &kernel.bytes, initrd: Some(&provided.initrd), command_line };
    machine.boot(kernel.entry, &payload).unwrap();
    let mut guest = Guest::new(machine);
    guest.wait_ready(60 * SECOND).unwrap();
    let part = |mib, kind| Partition { mib, kind };
    let partitions =
        vec![part(32, PartitionKind::Linux), part(128, PartitionKind::Swap), part(256, PartitionKind::Image)];
    for ask in [
        Ask::Partition { disk: "/dev/vda".into(), partitions },
        Ask::MakeExt4 { device: "/dev/vda1".into(), arguments: vec![] },
        Ask::MakeSwap { device: "/dev/vda2".into() },
        Ask::SwapOn { device: "/dev/vda2".into(), priority: None },
    ] {
        guest.ask(&ask, 60 * SECOND).unwrap();
    }
    guest.depart(sleep, 60 * SECOND).unwrap();
    guest.run_to_power_request(60 * SECOND).unwrap();
    let media = guest.machine.board().pci.disks().next().unwrap().media();
    let out = File::create(file).unwrap();
    out.set_len(BYTES).unwrap();
    let mut block = [0; BLOCK as usize];
    for number in media.changed_blocks() {
        media.read(number * BLOCK, &mut block).unwrap();
        out.write_all_at(&block, number * BLOCK).unwrap();
    }
}

/// The life of an image in swap: valid, damaged, consumed; by partition and by offset.
#[test]
fn an_image_in_swap() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.raw");
    hibernated(&Ask::Hibernate { mode: HibernateMode::Shutdown, pm_test: None }, &path);
    let disk = path.to_str().unwrap();

    let (code, said, error) = kjvm(&["image", disk]);
    assert_eq!(code, Some(0), "{said}{error}");
    for part in [
        "420 MiB, MBR",
        "  1    32.0 MiB at byte 1048576      ext4",
        "partition 2   swap, hibernation image\n",
        "valid: signature S1SUSPEND, and SWAPSPACE2 once it is consumed",
        "compressed with lzo; flags 0xc",
        "kernel       Linux version 6.12.",
        "as found",
        "verdict      whole: a kernel resumes from it",
        "  3     256 MiB at byte 168820736    no image",
    ] {
        assert!(said.contains(part), "{part:?} in\n{said}");
    }

    // What the report for programs says, and where the pages lie that it names.
    let json = directory.path().join("image.json");
    let (code, ..) =
        kjvm(&["image", disk, "--partition", "2", "--pages", "--json", json.to_str().unwrap(), "-q"]);
    assert_eq!(code, Some(0));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let image = &report["partitions"][0]["image"];
    assert_eq!((&image["state"], &image["flaw"]), (&"valid".into(), &serde_json::Value::Null));
    let frames = image["frames"].as_array().unwrap();
    let listed: u64 = frames.iter().map(|run| run[1].as_u64().unwrap()).sum();
    let counted = ["stored", "zero"].map(|kind| image["pages"][kind].as_u64().unwrap());
    assert_eq!(listed, counted.iter().sum::<u64>());

    // The page that is jumped to has code in it; no image has page 0.
    let jump = image["info"]["jump_address_phys"].as_u64().unwrap() / 4096;
    let (_, said, _) = kjvm(&["image", disk, "--partition", "2", "--page", &format!("{jump:#x}")]);
    assert!(said.contains("in a unit of") && said.contains(&format!("    {:08x}  ", jump * 4096)), "{said}");
    assert!(kjvm(&["image", disk, "--page", "0"]).1.contains("page 0x0   not in the image"));

    // By its offset in the whole, as for a swap file: slots are counted from another place then, and lead nowhere.
    let (code, said, _) = kjvm(&["image", disk, "--partition", "2", "--offset", "0"]);
    assert_eq!((code, said.contains("verdict      whole")), (Some(0), true), "{said}");
    assert_eq!(kjvm(&["image", disk, "--partition", "2", "--offset", "4096"]).0, Some(2));
    assert!(kjvm(&["image", disk, "--offset", "0"]).2.contains("--partition"));

    let flip = |at: u64| {
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    };
    let data = image["pieces"].as_array().unwrap().iter().rfind(|piece| piece["role"] == "data").unwrap();
    let last = data["end"].as_u64().unwrap() - 4096 + 8;
    flip(last);
    let (code, said, _) = kjvm(&["image", disk]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("hibernation image, broken") && said.contains("a kernel refuses it"), "{said}");

    // A damaged image that nobody would enter is no failure.
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"SWAPSPACE2", SWAP + 4086).unwrap();
    let (code, said, _) = kjvm(&["image", disk]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("consumed: signature SWAPSPACE2") && said.contains("no kernel looks at it"),
        "{said}"
    );
}

/// The same of an image of ours.
#[test]
fn an_image_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.raw");
    let device = "/dev/vda3".to_owned();
    hibernated(&Ask::SnapshotSave { device, then: AfterSnapshot::PowerOff }, &path);
    let disk = path.to_str().unwrap();
    let (code, said, error) = kjvm(&["image", disk]);
    assert_eq!(code, Some(0), "{said}{error}");
    for part in [
        "swap, no image",
        "partition 3   kjvm image from /dev/snapshot\n",
        "kernel       Linux 6.12.",
        "whole: it can be entered, once",
    ] {
        assert!(said.contains(part), "{part:?} in\n{said}");
    }

    let media = Media::over(std::sync::Arc::new(vmm::DiskFile::open(&path).unwrap())).unwrap();
    let found = find(&media).unwrap();
    let Contents::Ours(image) = &found[2].contents else { panic!("{:?}", found[2].partition) };
    let header = image.header.clone().unwrap();
    let [at, _, data] = image.pieces().unwrap();
    drop(media);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xaa; 16], data.end - 20).unwrap();
    let (code, said, _) = kjvm(&["image", disk, "--partition", "3"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("image page checksum") && said.contains("it is refused"), "{said}");
    for (state, words) in [
        (State::Consumed, "consumed"),
        (State::Writing, "saving was not finished"),
        (State::Failed(28), "errno 28"),
    ] {
        file.write_all_at(&Header { state, ..header.clone() }.encode(), at.start).unwrap();
        let (code, said, _) = kjvm(&["image", disk]);
        assert_eq!((code, said.contains(words)), (Some(0), true), "{said}");
    }
    // A torn header.
    file.write_all_at(&Header::writing(Kind::JumpedMemory).encode()[..200], at.start).unwrap();
    let (code, said, _) = kjvm(&["image", disk]);
    assert_eq!((code, said.contains("image header checksum")), (Some(1), true), "{said}");
}

#[test]
fn mistakes_are_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("empty.raw");
    std::fs::write(&path, [0; 1 << 16]).unwrap();
    let disk = path.to_str().unwrap();
    let odd = directory.path().join("odd.raw");
    std::fs::write(&odd, [0; 1000]).unwrap();
    let (code, said, _) = kjvm(&["image", disk]);
    assert_eq!(
        (code, said.contains("no partition table") && said.contains("no image")),
        (Some(0), true),
        "{said}"
    );
    for (arguments, part) in [
        (vec!["image", "nowhere.raw"], "nowhere.raw"),
        (vec!["image", odd.to_str().unwrap()], "multiple of 512"),
        (vec!["image", directory.path().to_str().unwrap()], "neither a file nor a block device"),
        (vec!["image", disk, "--partition", "2"], "no partition table"),
        (vec!["image", disk, "--offset", "100"], "multiple of 4096"),
        (vec!["image", disk, "--offset", "4096"], "no header of swap"),
        (vec!["image", disk, "--offset", "18446744073709547520"], "no header of swap"),
        (vec!["image", disk, "--page", "x"], "no number"),
    ] {
        let (code, _, error) = kjvm(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
}
