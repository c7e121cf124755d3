//! Snapshots of a booted kernel with a disk of 10,000 changed blocks: how long it takes to make one, to go back to one, to read one from
//! bytes, and to hash memory.
#![allow(clippy::expect_used, reason = "a bench may panic")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use devices::disk::{Disk, DiskConfig, Media};
use firmware::boot::Payload;
use guest_kernels::provision;
use scenarios::{Guest, Kernel, Tape};
use vmm::{Config, Drive, Entry, FrontEnd, Limit, Limits, Machine, Snapshot};

const COMMAND_LINE: &str =
    "console=ttyS0 panic=-1 oops=panic random.trust_cpu=on kjvm.role=A kjvm.epoch=1000";
const BLOCKS: u64 = 10_000;
/// Memory that the kernel does not use yet: where the pages are that are written to.
const FREE: u64 = 128 << 20;

/// The primary kernel, booted to its agent.
fn booted() -> Machine {
    let mut media = Media::blank(256 << 20).expect("a size");
    for block in 0..BLOCKS {
        media.write(block * 4096, &block.wrapping_mul(0x9e37_79b9).to_le_bytes()).expect("no base");
    }
    let disk = Disk::new(DiskConfig::default(), media).expect("a disk");
    let drive = Drive { front_end: FrontEnd::Virtio, disk };
    let mut machine = Machine::new(Config::default(), vec![drive]).expect("a machine");
    let provided = provision::kernel("primary-6.12", &|text| eprintln!("{text}")).expect("a kernel");
    let kernel = Kernel::read(&provided.bzimage, Entry::Pvh).expect("a kernel");
    let payload =
        Payload { kernel: &kernel.bytes, initrd: Some(&provided.initrd), command_line: COMMAND_LINE };
    machine.boot(kernel.entry, &payload).expect("room");
    let mut guest = Guest::new(machine);
    guest.wait_ready(120_000_000_000).expect("an agent");
    guest.machine
}

/// Writes to so many pages, in no order.
fn write(machine: &Machine, pages: u64, round: u64) {
    for page in 0..pages {
        let at = FREE + page.wrapping_mul(7_919) % 16_384 * 4096;
        machine.ram().write(at, &(round ^ page << 32).to_le_bytes()).expect("memory");
    }
}

fn run(machine: &mut Machine, instructions: u64) {
    let instructions = Some(machine.instructions() + instructions);
    machine.run(Limit { instructions, time: None }, &mut Tape::default());
}

fn snapshots(criterion: &mut Criterion) {
    let mut machine = booted();
    let root = machine.snapshot();
    let mut round = 0;
    for pages in [1, 64, 1024] {
        let mut timed = |what: &str, act: &mut dyn FnMut(&mut Machine)| {
            criterion.bench_function(&format!("{what}/{pages} pages"), |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..iterations {
                        machine.restore(&root).expect("memory");
                        round += 1;
                        write(&machine, pages, round);
                        let start = Instant::now();
                        act(&mut machine);
                        spent += start.elapsed();
                    }
                    spent
                });
            });
        };
        timed("snapshot", &mut |machine| drop(black_box(machine.snapshot())));
        timed("restore", &mut |machine| machine.restore(&root).expect("memory"));
    }
    // As exploration does it: the guest runs a little, and goes back. Caches of the host hold what the guest used.
    criterion.bench_function("restore/after 20000 instructions", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for _ in 0..iterations {
                run(&mut machine, 20_000);
                let start = Instant::now();
                machine.restore(&root).expect("memory");
                spent += start.elapsed();
            }
            spent
        });
    });
    // To and fro between two nodes of a tree.
    machine.restore(&root).expect("memory");
    write(&machine, 64, 1);
    let other = machine.snapshot();
    let mut at_root = false;
    criterion.bench_function("restore/another node, 64 pages", |bencher| {
        bencher.iter(|| {
            at_root = !at_root;
            machine.restore(if at_root { &root } else { &other }).expect("memory");
        });
    });
    criterion.bench_function("fork", |bencher| {
        bencher.iter_batched(
            || (),
            |()| Machine::from_snapshot(&root).expect("memory"),
            BatchSize::PerIteration,
        );
    });
}

fn bytes(criterion: &mut Criterion) {
    let root: Arc<Snapshot> = booted().snapshot();
    let mut bytes = Vec::new();
    root.write_to(&mut bytes).expect("bytes");
    println!("{} pages of memory, {} bytes", root.pages(), bytes.len());
    let mut group = criterion.benchmark_group("bytes");
    group.sample_size(10).throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            let mut bytes = Vec::new();
            root.write_to(&mut bytes).expect("bytes");
            bytes
        });
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| Snapshot::read_from(&bytes[..], Limits::default(), |_, _| None).expect("a snapshot"));
    });
    group.finish();
}

/// Of the whole machine, of which memory is the most: when all of 256 MiB is to be hashed, half of the guest's, and 64 pages.
fn digests(criterion: &mut Criterion) {
    let mut machine = booted();
    let mut round = 0;
    criterion.bench_function("digest/64 pages", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for _ in 0..iterations {
                round += 1;
                write(&machine, 64, round);
                let start = Instant::now();
                black_box(machine.digest());
                spent += start.elapsed();
            }
            spent
        });
    });
    let config = Config::default();
    let mut machine = Machine::new(config, Vec::new()).expect("a machine");
    let mut group = criterion.benchmark_group("digest");
    group.sample_size(10).throughput(Throughput::Bytes(256 << 20));
    group.bench_function("256 MiB", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for _ in 0..iterations {
                round += 1;
                for page in 0..65_536u64 {
                    machine.ram().write(page * 4096, &(round ^ page << 32).to_le_bytes()).expect("memory");
                }
                let start = Instant::now();
                black_box(machine.digest());
                spent += start.elapsed();
            }
            spent
        });
    });
    group.finish();
}

criterion_group!(snapshot, snapshots, bytes, digests);
criterion_main!(snapshot);
