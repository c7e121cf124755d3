//! Snapshots of real kernels: at any instant of a boot, in the middle of disk requests, in S3, and many thousands of times.
//!
//! `KJVM_RESTORES=100000` and `KJVM_FUZZ=100000` make the last tests as long as that.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use agent_protocol::message::{Ask, SuspendState};
use common::{
    ask, depart, disk_behind, falls_asleep, guest, start_workloads, wait_ready, workloads_are_clean,
};
use devices::acpi_pm::SleepState;
use devices::disk::Media;
use devices::{DiskStep, Event, Moment, Observer};
use scenarios::{Guest, Tape};
use vmm::{Config, Digest, Entry, FrontEnd, Limit, Limits, Machine, MachineState, Snapshot, Stop};

const KERNEL: &str = "primary-6.12";

/// xorshift: the same walk every time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn number(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(or)
}

fn to_bytes(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot.write_to(&mut bytes).unwrap();
    bytes
}

fn from_bytes(bytes: &[u8]) -> Arc<Snapshot> {
    Snapshot::read_from(bytes, Limits::default(), |_, _| None).unwrap()
}

fn run_for(machine: &mut Machine, instructions: u64) -> Stop {
    let instructions = Some(machine.instructions() + instructions);
    machine.run(Limit { instructions, time: None }, &mut Tape::default())
}

/// From this instant on, a machine that went back to it and one made of its bytes go on as the one that was not interrupted.
fn goes_on_equally(what: &str, machine: &mut Machine, mut go_on: impl FnMut(&mut Machine)) {
    let snapshot = machine.snapshot();
    let bytes = to_bytes(&snapshot);
    go_on(machine);
    let expected = machine.digest();
    machine.restore(&snapshot).unwrap();
    assert!(to_bytes(&machine.snapshot()) == bytes, "{what}");
    go_on(machine);
    assert_eq!(machine.digest(), expected, "{what}: restored");
    let mut fresh = Machine::from_snapshot(&from_bytes(&bytes)).unwrap();
    assert!(to_bytes(&fresh.snapshot()) == bytes, "{what}");
    go_on(&mut fresh);
    assert_eq!(fresh.digest(), expected, "{what}: from bytes");
}

fn ready(processors: u32) -> Guest {
    let mut guest = guest(KERNEL, processors, Entry::Pvh);
    wait_ready(&mut guest);
    guest
}

/// With a file system that is written to.
fn at_work(processors: u32) -> Guest {
    let mut guest = ready(processors);
    start_workloads(&mut guest);
    workloads_are_clean(&mut guest);
    guest
}

#[test]
fn at_any_instant_of_a_boot() {
    const INSTANTS: u64 = 220;
    let (end, expected) = {
        let mut machine = ready(2).machine;
        // The agent's word stopped it in the middle of an instruction.
        run_for(&mut machine, 1_000);
        (machine.instructions(), machine.digest())
    };
    let mut machine = guest(KERNEL, 2, Entry::Pvh).machine;
    let mut random = Random(7);
    let mut instants: Vec<u64> = (0..INSTANTS).map(|_| random.below(end)).collect();
    instants.sort_unstable();
    let mut old = machine.snapshot();
    for (number, instant) in instants.into_iter().enumerate() {
        let limit = Limit { instructions: Some(instant.max(machine.instructions())), time: None };
        assert_eq!(machine.run(limit, &mut Tape::default()), Stop::Instructions);
        let now = machine.snapshot();
        run_for(&mut machine, random.below(20_000));
        if random.below(3) == 0 {
            machine.restore(&old).unwrap();
            run_for(&mut machine, random.below(20_000));
        }
        if random.below(8) == 0 {
            old = now.clone();
        }
        machine.restore(&now).unwrap();
        assert!(*machine.snapshot() == *now);
        if number % 20 == 19 {
            let bytes = to_bytes(&now);
            machine = Machine::from_snapshot(&from_bytes(&bytes)).unwrap();
            assert!(to_bytes(&machine.snapshot()) == bytes);
        }
    }
    let limit = Limit { instructions: Some(end), time: None };
    assert_eq!(machine.run(limit, &mut Tape::default()), Stop::Instructions);
    assert_eq!(machine.digest(), expected);
}

/// Stops the machine inside the call in which so many requests are in flight and one more goes a step further.
struct Busy {
    in_flight: u64,
    wanted: u64,
    step: DiskStep,
}

impl Observer for Busy {
    fn event(&mut self, _: Moment, event: Event) -> bool {
        let Event::Disk(event) = event else { return false };
        match event.step {
            DiskStep::Accepted => self.in_flight += 1,
            DiskStep::Completed | DiskStep::Failed => self.in_flight = self.in_flight.saturating_sub(1),
            DiskStep::Durable => {}
        }
        event.step == self.step && self.in_flight >= self.wanted
    }
}

fn in_the_middle_of_requests(guest: &mut Guest) {
    for (wanted, step) in [(1, DiskStep::Accepted), (3, DiskStep::Accepted), (2, DiskStep::Completed)] {
        let mut busy = Busy { in_flight: 0, wanted, step };
        let limit = Limit { time: Some(guest.machine.now().after(60_000_000_000)), instructions: None };
        assert_eq!(guest.machine.run(limit, &mut busy), Stop::Triggered, "{wanted} {step:?}");
        assert!(busy.in_flight >= wanted);
        goes_on_equally(&format!("{wanted} {step:?}"), &mut guest.machine, |machine| {
            run_for(machine, 3_000_000);
        });
    }
}

#[test]
fn in_the_middle_of_disk_requests() {
    in_the_middle_of_requests(&mut at_work(2));
}

#[test]
fn asleep_in_s3_and_with_bytes_on_the_line() {
    let mut guest = at_work(2);
    guest.machine.receive(1, &[b'x'; 200], 0, &mut guest.tape);
    assert!(guest.machine.board().com2.waiting() > 0);
    goes_on_equally("bytes for the agent", &mut guest.machine, |machine| {
        run_for(machine, 1_000_000);
    });
    workloads_are_clean(&mut guest);
    ask(&mut guest, &Ask::SetAlarm { seconds: 30 });
    depart(&mut guest, &Ask::Suspend { state: SuspendState::Mem, pm_test: None });
    falls_asleep(&mut guest, SleepState::S3);
    goes_on_equally("asleep in S3", &mut guest.machine, |machine| {
        machine.sleep_until_wake(&mut Tape::default()).unwrap();
        run_for(machine, 20_000_000);
    });
    // Half awake: the second processor waits for its start-up, or is on its way.
    for _ in 0..10 {
        goes_on_equally("half awake", &mut guest.machine, |machine| {
            run_for(machine, 500_000);
        });
    }
    let before = guest.machine.snapshot();
    guest.machine.power_cycle(1_000, &mut guest.tape).unwrap();
    goes_on_equally("off", &mut guest.machine, |machine| {
        run_for(machine, 1_000);
    });
    guest.machine.restore(&before).unwrap();
    common::returns(&mut guest);
    workloads_are_clean(&mut guest);
}

/// A node of the tree: the machine, and what it becomes after so many instructions.
struct Node {
    snapshot: Arc<Snapshot>,
    digest: Digest,
    later: Vec<(u64, Digest)>,
}

impl Node {
    fn of(machine: &mut Machine, random: &mut Random) -> Self {
        let snapshot = machine.snapshot();
        let digest = machine.digest();
        let later = (0..3)
            .map(|_| {
                let instructions = 500 + random.below(8_000);
                machine.restore(&snapshot).unwrap();
                run_for(machine, instructions);
                (instructions, machine.digest())
            })
            .collect();
        Self { snapshot, digest, later }
    }
}

#[test]
fn thousands_of_restores() {
    let restores = number("KJVM_RESTORES", 2_000);
    let mut guest = at_work(2);
    let machine = &mut guest.machine;
    let mut random = Random(number("KJVM_SEED", 0x6b6a_766d));
    let mut tree = vec![Node::of(machine, &mut random)];
    for _ in 0..15 {
        let from = random.below(tree.len() as u64) as usize;
        machine.restore(&tree[from].snapshot).unwrap();
        let far = random.below(3_000_000);
        run_for(machine, far);
        tree.push(Node::of(machine, &mut random));
    }
    let mut mismatches = 0;
    for _ in 0..restores {
        let node = &tree[random.below(tree.len() as u64) as usize];
        machine.restore(&node.snapshot).unwrap();
        if random.below(2) == 0 {
            mismatches += u64::from(machine.digest() != node.digest);
        }
        let (instructions, digest) = node.later[random.below(3) as usize];
        run_for(machine, instructions);
        mismatches += u64::from(machine.digest() != digest);
    }
    assert_eq!(mismatches, 0, "of {restores} restores");
}

/// Whatever the state in a file says, there is an error or a machine that runs; never a panic.
fn changed_states(snapshot: &Arc<Snapshot>, plays: u64) {
    let state = postcard::to_stdvec(snapshot.state()).unwrap();
    let mut machine = Machine::from_snapshot(snapshot).unwrap();
    let seeds = match number("KJVM_FUZZ_SEED", 0) {
        0 => 1..plays + 1,
        seed => seed..seed + 1,
    };
    for seed in seeds {
        if number("KJVM_FUZZ_SHOW", 0) == 1 {
            eprintln!("KJVM_FUZZ_SEED={seed}");
        }
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            random.below(1);
            let mut state = state.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(state.len() as u64) as usize;
                state[at] = match random.below(4) {
                    0 => 0xff,
                    1 => 0,
                    2 => state[at] ^ 1 << random.below(8),
                    _ => random.below(256) as u8,
                };
            }
            let Ok(state) = postcard::from_bytes::<MachineState>(&state) else { return };
            let Ok(changed) = snapshot.with_state(state) else { return };
            machine.restore(&changed).unwrap();
            let instructions = Some(machine.instructions() + 100_000);
            let time = Some(machine.now().after(1_000_000_000));
            for _ in 0..5 {
                machine.run(Limit { instructions, time }, &mut Tape::default());
            }
            machine.digest();
            machine.restore(snapshot).unwrap();
        }));
        assert!(played.is_ok(), "KJVM_FUZZ_SEED={seed}");
    }
}

/// A machine whose disks are in the middle of requests; blank disks, so that most of the state is not their contents.
fn reading(front_end: FrontEnd) -> Arc<Snapshot> {
    let config = Config { processors: 2, ..Config::default() };
    let mut machine =
        Machine::new(config, vec![disk_behind(front_end, 0, Media::blank(64 << 20).unwrap())]).unwrap();
    common::boot(&mut machine, KERNEL, Entry::Pvh, &common::command_line(front_end, 1000));
    // The kernel looks for partitions.
    let mut busy = Busy { in_flight: 0, wanted: 1, step: DiskStep::Accepted };
    assert_eq!(machine.run(Limit::default(), &mut busy), Stop::Triggered);
    machine.snapshot()
}

#[test]
fn changed_states_virtio() {
    changed_states(&reading(FrontEnd::Virtio), number("KJVM_FUZZ", 400));
}

#[test]
fn changed_states_nvme() {
    changed_states(&reading(FrontEnd::Nvme), number("KJVM_FUZZ", 400));
}
