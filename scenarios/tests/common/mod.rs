//! Guests for tests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
#![allow(dead_code, reason = "not every test uses all of it")]

pub mod lab;
pub mod swsusp_writer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use agent_protocol::message::{Answer, Ask, Partition, PartitionKind, ReadyWhy, Workload};
use devices::PowerRequest;
use devices::acpi_pm::SleepState;
use devices::disk::{Disk, DiskConfig, Media};
use devices::pci::Function;
use firmware::boot::Payload;
use guest_kernels::provision;
use scenarios::{Guest, Kernel};
use vmm::{Autopsy, Config, Drive, Entry, FrontEnd, Machine};

/// A second of the guest's time.
pub const SECOND: u64 = 1_000_000_000;

/// What every guest is told on its command line.
pub const COMMAND_LINE: &str = "console=ttyS0 panic=-1 oops=panic random.trust_cpu=on resume=/dev/vda2 suspend.pm_test_delay=1 \
     kjvm.role=A kjvm.epoch=1000";

/// A disk with these contents.
pub fn disk(id: u8, media: Media) -> Drive {
    disk_behind(FrontEnd::Virtio, id, media)
}

/// The same behind another front end.
pub fn disk_behind(front_end: FrontEnd, id: u8, media: Media) -> Drive {
    let serial = Some(format!("kjvm-{id}"));
    let disk = Disk::new(DiskConfig { id, serial, ..DiskConfig::default() }, media).unwrap();
    Drive { front_end, disk }
}

/// What Linux calls a disk (from 0) of a machine whose disks are all attached in this way, or one of its partitions (from 1).
pub fn device_behind(front_end: FrontEnd, disk: u8, partition: Option<u8>) -> String {
    let partition =
        |separator: &str| partition.map(|number| format!("{separator}{number}")).unwrap_or_default();
    match front_end {
        FrontEnd::Virtio => format!("/dev/vd{}{}", char::from(b'a' + disk), partition("")),
        FrontEnd::Nvme => format!("/dev/nvme{disk}n1{}", partition("p")),
    }
}

/// A partition of this machine's first disk.
pub fn partition(machine: &Machine, number: u8) -> String {
    device_behind(front_end(machine), 0, Some(number))
}

/// How the first disk is attached.
pub fn front_end(machine: &Machine) -> FrontEnd {
    match machine.board().pci.function(1) {
        Some(Function::Nvme(_)) => FrontEnd::Nvme,
        _ => FrontEnd::Virtio,
    }
}

/// The command line of a kernel with a file system and swap on disks that are attached in this way.
pub fn command_line(front_end: FrontEnd, epoch: u32) -> String {
    COMMAND_LINE
        .replace("/dev/vda2", &device_behind(front_end, 0, Some(2)))
        .replace("epoch=1000", &format!("epoch={epoch}"))
}

/// A kernel of the catalogue in a machine with a blank disk, about to execute its first instruction.
pub fn guest(name: &str, processors: u32, entry: Entry) -> Guest {
    let config = Config { processors, ..Config::default() };
    guest_of(name, config, entry)
}

/// The same with another seed.
pub fn guest_with_seed(name: &str, processors: u32, seed: u64) -> Guest {
    guest_of(name, Config { processors, seed, ..Config::default() }, Entry::Pvh)
}

/// Boots a kernel of the catalogue in a machine whose power just came on, or that was reset.
pub fn boot(machine: &mut Machine, name: &str, entry: Entry, command_line: &str) {
    let loaded = loaded(name, entry);
    let payload = Payload { kernel: &loaded.kernel.bytes, initrd: Some(&loaded.initrd), command_line };
    machine.boot(loaded.kernel.entry, &payload).unwrap();
}

/// A kernel of the catalogue and its initramfs.
struct Loaded {
    kernel: Kernel,
    initrd: Vec<u8>,
}

/// A test boots the same kernel many times, and unpacks it once.
fn loaded(name: &str, entry: Entry) -> Arc<Loaded> {
    static LOADED: Mutex<BTreeMap<String, Arc<Loaded>>> = Mutex::new(BTreeMap::new());
    let mut known = LOADED.lock().unwrap();
    let load = || {
        let provided = provision::kernel(name, &|text| eprintln!("{text}")).unwrap();
        let kernel = Kernel::read(&provided.bzimage, entry).unwrap();
        Arc::new(Loaded { kernel, initrd: provided.initrd })
    };
    known.entry(format!("{name} by {entry:?}")).or_insert_with(load).clone()
}

/// Bytes of memory that a kernel is comfortable in.
pub fn memory(name: &str) -> u64 {
    // A distribution's kernel and its modules want more room.
    if name.starts_with("stock-") { 512 << 20 } else { 256 << 20 }
}

fn guest_of(name: &str, config: Config, entry: Entry) -> Guest {
    let config = Config { memory: memory(name), ..config };
    let mut machine = Machine::new(config, vec![disk(0, Media::blank(320 << 20).unwrap())]).unwrap();
    boot(&mut machine, name, entry, COMMAND_LINE);
    Guest::new(machine)
}

/// Panics with everything a person wants to see.
pub fn give_up(guest: &Guest, what: &str) -> ! {
    let console = guest.tape.console();
    let lines: Vec<&str> = console.lines().collect();
    let end = lines[lines.len().saturating_sub(60)..].join("\n");
    panic!("{what}\n{end}\n{}", Autopsy::of(&guest.machine));
}

/// Asks; the answer has to be a good one.
pub fn ask(guest: &mut Guest, ask: &Ask) -> Answer {
    match guest.ask(ask, 120 * SECOND) {
        Ok(answer) => answer,
        Err(error) => give_up(guest, &format!("{ask:?}: {error}")),
    }
}

/// Waits for the agent.
pub fn wait_ready(guest: &mut Guest) {
    if let Err(error) = guest.wait_ready(120 * SECOND) {
        give_up(guest, &error.to_string());
    }
}

/// ext4, swap and all workloads on the blank disk.
pub fn start_workloads(guest: &mut Guest) {
    start_workloads_beside(guest, &[]);
}

/// mke2fs leaves inode tables to be zeroed by a kernel thread of the mounted file system. A kexec jump freezes no kernel threads: what
/// this one writes after the disk was told to freeze stays in the stopped queue, and the kernel, taking that queue's processor
/// offline, waits for it for ever.
const NO_LAZY_INIT: [&str; 2] = ["-E", "lazy_itable_init=0"];

/// Of every pattern the workloads write.
pub const SEED: u64 = 7;

/// The same, with these partitions behind ext4 and swap.
pub fn start_workloads_beside(guest: &mut Guest, others: &[Partition]) {
    let kind = |mib, kind| Partition { mib, kind };
    let mut partitions = vec![kind(64, PartitionKind::Linux), kind(192, PartitionKind::Swap)];
    partitions.extend_from_slice(others);
    let [ext4, swap] = [1, 2].map(|number| partition(&guest.machine, number));
    ask(guest, &Ask::Partition { disk: device_behind(front_end(&guest.machine), 0, None), partitions });
    let arguments = NO_LAZY_INIT.map(str::to_owned).into();
    ask(guest, &Ask::MakeExt4 { device: ext4.clone(), arguments });
    ask(guest, &Ask::MakeSwap { device: swap.clone() });
    take_up_disk(guest, ext4, swap);
}

/// Mounts, turns swap on, and starts all workloads.
fn take_up_disk(guest: &mut Guest, ext4: String, swap: String) {
    let (device, at, fstype) = (ext4, "/data".into(), "ext4".into());
    ask(guest, &Ask::Mount { device, at, fstype, options: String::new() });
    ask(guest, &Ask::SwapOn { device: swap, priority: None });
    let (workloads, directory) = (Workload::ALL.to_vec(), "/data".into());
    ask(guest, &Ask::StartWorkloads { workloads, directory, kib: 1024, seed: SEED });
}

/// Every workload made progress since the last look, and none found a difference. Returns how many records the journal on ext4 held
/// when it was looked at: each was acknowledged by fsync.
pub fn workloads_are_clean(guest: &mut Guest) -> u64 {
    let mut before = None;
    for _ in 0..20 {
        let Answer::Workloads(reports) = ask(guest, &Ask::CheckWorkloads) else {
            give_up(guest, "no workload reports")
        };
        assert_eq!(reports.len(), Workload::ALL.len());
        for report in &reports {
            assert!(report.differences.is_empty(), "{}: {:?}", report.workload.name(), report.differences);
        }
        let progress: Vec<u64> = reports.iter().map(|report| report.progress).collect();
        if before.as_ref().is_some_and(|before: &Vec<u64>| before.iter().zip(&progress).all(|(a, b)| a < b)) {
            let ext4 = reports.iter().find(|report| report.workload == Workload::Ext4);
            return ext4.map_or(0, |report| report.progress);
        }
        before.get_or_insert(progress);
        guest.rest(SECOND / 5);
    }
    give_up(guest, "workloads stand still");
}

/// The longest a sleep or a jump may take, in the guest's time.
pub const PATIENCE: u64 = 60 * SECOND;

/// Asks for something that takes the machine away.
pub fn depart(guest: &mut Guest, ask: &Ask) {
    if let Err(error) = guest.depart(ask, PATIENCE) {
        give_up(guest, &format!("{ask:?}: {error}"));
    }
}

/// Waits for a request to sleep in this state.
pub fn falls_asleep(guest: &mut Guest, state: SleepState) {
    match guest.run_to_power_request(PATIENCE) {
        Ok(PowerRequest::Sleep { slp_typ }) if SleepState::of_slp_typ(slp_typ) == Some(state) => {}
        other => give_up(guest, &format!("expected {state:?}, found {other:?}")),
    }
}

/// Waits for the kernel that slept to say that it is back, and that all went well.
pub fn returns(guest: &mut Guest) {
    match guest.wait_ready(PATIENCE) {
        Ok(ready) if ready.why == ReadyWhy::Return => {
            let outcome = ready.outcome.map(|outcome| outcome.result);
            if !matches!(outcome, Some(Ok(_))) {
                give_up(guest, &format!("came back with {outcome:?}"));
            }
        }
        other => give_up(guest, &format!("expected a return, found {other:?}")),
    }
}

/// Sleeps until what the guest armed wakes the machine.
pub fn wakes(guest: &mut Guest) {
    if let Err(error) = guest.machine.sleep_until_wake(&mut guest.tape) {
        give_up(guest, &error.to_string());
    }
}
