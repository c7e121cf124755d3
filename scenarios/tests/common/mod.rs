//! Guests for tests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
#![allow(dead_code, reason = "not every test uses all of it")]

use agent_protocol::message::{Answer, Ask, Partition, PartitionKind, ReadyWhy, Workload};
use devices::PowerRequest;
use devices::acpi_pm::SleepState;
use devices::disk::{Disk, DiskConfig, Media};
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
    let serial = Some(format!("kjvm-{id}"));
    let disk = Disk::new(DiskConfig { id, serial, ..DiskConfig::default() }, media);
    Drive { front_end: FrontEnd::Virtio, disk }
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
    let provided = provision::kernel(name, &|text| eprintln!("{text}")).unwrap();
    let kernel = Kernel::read(&provided.bzimage, entry).unwrap();
    let payload = Payload { kernel: &kernel.bytes, initrd: Some(&provided.initrd), command_line };
    machine.boot(kernel.entry, &payload).unwrap();
}

fn guest_of(name: &str, config: Config, entry: Entry) -> Guest {
    let memory = if name.starts_with("stock-") { 512 << 20 } else { 256 << 20 };
    let config = Config { memory, ..config };
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

/// The same, with these partitions behind ext4 and swap.
pub fn start_workloads_beside(guest: &mut Guest, others: &[Partition]) {
    let partition = |mib, kind| Partition { mib, kind };
    let mut partitions = vec![partition(64, PartitionKind::Linux), partition(192, PartitionKind::Swap)];
    partitions.extend_from_slice(others);
    ask(guest, &Ask::Partition { disk: "/dev/vda".into(), partitions });
    ask(guest, &Ask::MakeExt4 { device: "/dev/vda1".into(), arguments: Vec::new() });
    let (device, at, fstype) = ("/dev/vda1".into(), "/data".into(), "ext4".into());
    ask(guest, &Ask::Mount { device, at, fstype, options: String::new() });
    ask(guest, &Ask::MakeSwap { device: "/dev/vda2".into() });
    ask(guest, &Ask::SwapOn { device: "/dev/vda2".into(), priority: None });
    let (workloads, directory) = (Workload::ALL.to_vec(), "/data".into());
    ask(guest, &Ask::StartWorkloads { workloads, directory, kib: 1024, seed: 7 });
}

/// Every workload made progress since the last look, and none found a difference.
pub fn workloads_are_clean(guest: &mut Guest) {
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
            return;
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
