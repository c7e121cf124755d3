//! How many sleeps a minute: S3 by alarm, and hibernation with a cold boot that resumes.
//!
//! `cargo bench -p benches --bench sleep -- [KERNEL] [--cpus N] [--cycles N] [--nvme] [--idle] [ARGUMENT=OF-THE-KERNEL]...`. A cycle is everything from the request to
//! the agent's word that it is back. `--idle`: without workloads. Time on the processor counts, so that a busy host is not measured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark may panic")]

use std::time::Duration;

use agent_protocol::message::{
    Ask, HibernateMode, Partition, PartitionKind, ReadyWhy, SuspendState, Workload,
};
use devices::PowerRequest;
use devices::disk::{Disk, DiskConfig, Media};
use firmware::boot::Payload;
use guest_kernels::provision;
use scenarios::{Guest, Kernel};
use vmm::{Config, Drive, Entry, FrontEnd, Machine};

const SECOND: u64 = 1_000_000_000;
/// Of the guest's time.
const PATIENCE: u64 = 120 * SECOND;

struct Bench {
    guest: Guest,
    kernel: Kernel,
    initrd: Vec<u8>,
    /// Of the first disk's partitions, without their number.
    partition: &'static str,
    /// More of the command line.
    arguments: String,
    boots: u32,
    /// Instructions of the machine's earlier lives.
    before: u64,
}

impl Bench {
    fn new(name: &str, processors: u32, front_end: FrontEnd, arguments: String) -> Self {
        let provided = provision::kernel(name, &|text| eprintln!("{text}")).unwrap();
        let kernel = Kernel::read(&provided.bzimage, Entry::Pvh).unwrap();
        let disk = Disk::new(DiskConfig::default(), Media::blank(320 << 20).unwrap()).unwrap();
        let config = Config { processors, ..Config::default() };
        let machine = Machine::new(config, vec![Drive { front_end, disk }]).unwrap();
        let partition = match front_end {
            FrontEnd::Virtio => "/dev/vda",
            FrontEnd::Nvme => "/dev/nvme0n1p",
        };
        let initrd = provided.initrd;
        let mut bench =
            Self { guest: Guest::new(machine), kernel, initrd, partition, arguments, boots: 0, before: 0 };
        bench.boot();
        bench.guest.wait_ready(PATIENCE).unwrap();
        bench
    }

    fn boot(&mut self) {
        self.boots += 1;
        let command_line = format!(
            "console=ttyS0 panic=-1 oops=panic random.trust_cpu=on kjvm.role=A resume={}2 kjvm.epoch={} {}",
            self.partition,
            self.boots * 1000,
            self.arguments
        );
        let payload =
            Payload { kernel: &self.kernel.bytes, initrd: Some(&self.initrd), command_line: &command_line };
        self.guest.machine.boot(self.kernel.entry, &payload).unwrap();
    }

    fn ask(&mut self, ask: &Ask) {
        self.guest.ask(ask, PATIENCE).unwrap();
    }

    /// ext4, swap, and all workloads or none.
    fn start(&mut self, workloads: Vec<Workload>) {
        let [ext4, swap] = [1, 2].map(|number| format!("{}{number}", self.partition));
        let disk = self.partition.trim_end_matches('p').to_owned();
        let kind = |mib, kind| Partition { mib, kind };
        let partitions = vec![kind(64, PartitionKind::Linux), kind(192, PartitionKind::Swap)];
        self.ask(&Ask::Partition { disk, partitions });
        self.ask(&Ask::MakeExt4 { device: ext4.clone(), arguments: Vec::new() });
        let (at, fstype, options) = ("/data".into(), "ext4".into(), String::new());
        self.ask(&Ask::Mount { device: ext4, at, fstype, options });
        self.ask(&Ask::MakeSwap { device: swap.clone() });
        self.ask(&Ask::SwapOn { device: swap, priority: None });
        self.ask(&Ask::StartWorkloads { workloads, directory: "/data".into(), kib: 1024, seed: 7 });
    }

    fn sleeps(&mut self, ask: &Ask) {
        self.guest.depart(ask, PATIENCE).unwrap();
        match self.guest.run_to_power_request(PATIENCE).unwrap() {
            PowerRequest::Sleep { .. } => {}
            other => panic!("expected sleep, found {other:?}\n{}", self.guest.tape.console()),
        }
    }

    fn returns(&mut self) {
        let ready = self.guest.wait_ready(PATIENCE).unwrap();
        assert_eq!(ready.why, ReadyWhy::Return);
        assert!(ready.outcome.is_some_and(|outcome| outcome.result.is_ok()));
    }

    fn s3(&mut self) {
        self.ask(&Ask::SetAlarm { seconds: 30 });
        self.sleeps(&Ask::Suspend { state: SuspendState::Mem, pm_test: None });
        self.guest.machine.sleep_until_wake(&mut self.guest.tape).unwrap();
        self.returns();
    }

    fn hibernate(&mut self) {
        self.sleeps(&Ask::Hibernate { mode: HibernateMode::Shutdown, pm_test: None });
        self.before += self.guest.machine.instructions();
        self.guest.machine.power_cycle(60 * SECOND, &mut self.guest.tape).unwrap();
        self.guest.power_lost();
        self.boot();
        self.returns();
    }

    /// What each cycle cost.
    fn measure(&mut self, cycles: usize, mut cycle: impl FnMut(&mut Self)) -> Vec<Cost> {
        let mut one = || {
            let (begun, retired) = (on_processor(), self.instructions());
            cycle(self);
            Cost { time: on_processor() - begun, instructions: self.instructions() - retired }
        };
        // The first one goes through code nobody has translated yet.
        one();
        (0..cycles).map(|_| one()).collect()
    }

    /// Over all lives of the machine.
    fn instructions(&self) -> u64 {
        self.before + self.guest.machine.instructions()
    }
}

struct Cost {
    time: Duration,
    instructions: u64,
}

/// Time that this thread was on a processor.
fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn report(what: &str, mut costs: Vec<Cost>) {
    costs.sort_unstable_by_key(|cost| cost.time);
    let (median, worst) = (&costs[costs.len() / 2], &costs[costs.len() - 1]);
    let seconds = median.time.as_secs_f64();
    println!(
        "{what:<18} median {:7.1} ms, worst {:7.1} ms of {}: {:5.0} a minute; {:6.1} M instructions, {:4.0} MIPS",
        seconds * 1e3,
        worst.time.as_secs_f64() * 1e3,
        costs.len(),
        60.0 / seconds,
        median.instructions as f64 / 1e6,
        median.instructions as f64 / 1e6 / seconds
    );
}

fn main() {
    let (mut name, mut processors, mut cycles) = ("primary-6.12".to_owned(), 1, 50);
    let (mut front_end, mut workloads) = (FrontEnd::Virtio, Workload::ALL.to_vec());
    let mut more = Vec::new();
    // Cargo adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|value| value.parse().ok()).expect("a number");
        match argument.as_str() {
            "--cpus" => processors = number(),
            "--cycles" => cycles = number() as usize,
            "--nvme" => front_end = FrontEnd::Nvme,
            "--idle" => workloads.clear(),
            _ if argument.contains('=') => more.push(argument),
            _ => name = argument,
        }
    }
    let what = if workloads.is_empty() { "no workloads" } else { "all workloads" };
    println!("{name}, {processors} CPU, {front_end:?}, {what} {}", more.join(" "));
    let mut bench = Bench::new(&name, processors, front_end, more.join(" "));
    bench.start(workloads);
    let costs = bench.measure(cycles, Bench::s3);
    report("S3 by alarm", costs);
    let costs = bench.measure(cycles.div_ceil(5), Bench::hibernate);
    report("swsusp, cold boot", costs);
}
