//! Disks: what a copy costs, and how many requests a second pass through the cache. A copy shares everything: microseconds, however
//! much was written.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use devices::disk::{Command, Disk, DiskConfig, Media};
use devices::{Context, Event, Lines, Message, Moment, Observer, PowerRequest, VirtualTime, WorldTime};
use ram::GuestRam;

const BLOCKS: u64 = 10_000;
/// Writes of 4 KiB between two flushes.
const BATCH: u64 = 32;

struct Nobody;

impl Observer for Nobody {
    fn event(&mut self, _: Moment, _: Event) -> bool {
        false
    }
}

/// What a call of a device needs.
struct World {
    ram: GuestRam,
    lines: Lines,
    messages: Vec<Message>,
    power: Option<PowerRequest>,
    stop: bool,
}

impl World {
    fn new() -> Self {
        Self {
            ram: GuestRam::new(4096).unwrap(),
            lines: Lines::default(),
            messages: Vec::new(),
            power: None,
            stop: false,
        }
    }

    fn request(&mut self, disk: &mut Disk, command: Command) {
        let mut cx = Context {
            now: VirtualTime(0),
            world: WorldTime(0),
            ram: &self.ram,
            lines: &mut self.lines,
            messages: &mut self.messages,
            power: &mut self.power,
            instructions: 0,
            processor: None,
            observer: &mut Nobody,
            stop: &mut self.stop,
        };
        let ticket = disk.accept(command, &mut cx);
        disk.complete(ticket.request, &mut cx).result.unwrap();
    }
}

fn disk() -> Disk {
    Disk::new(DiskConfig::default(), Media::blank(1 << 30).unwrap()).unwrap()
}

fn write(block: u64, byte: u8) -> Command {
    Command::Write { sector: 8 * block, data: vec![byte; 4096].into(), fua: false }
}

/// A disk with so many blocks that are durable, and as many again that are not.
fn written(world: &mut World) -> Disk {
    let mut disk = disk();
    for block in 0..BLOCKS {
        world.request(&mut disk, write(7 * block % 100_003, 1));
    }
    world.request(&mut disk, Command::Flush);
    for block in 0..BLOCKS {
        world.request(&mut disk, write(11 * block % 100_003, 2));
    }
    disk
}

fn disks(criterion: &mut Criterion) {
    let mut world = World::new();
    let mut group = criterion.benchmark_group("disk");
    let full = written(&mut world);
    group.bench_function("copy of 10,000 durable blocks and 10,000 changes", |bencher| {
        bencher.iter(|| black_box(full.clone()));
    });
    group.bench_function("first write to such a copy", |bencher| {
        let write = write(5, 9);
        bencher.iter_batched_ref(
            || full.clone(),
            |disk| world.request(disk, write.clone()),
            BatchSize::SmallInput,
        );
    });
    group.throughput(Throughput::Elements(BATCH + 1));
    let mut disk = full.clone();
    let mut next = 0;
    group.bench_function("32 writes of 4 KiB and a flush", |bencher| {
        bencher.iter(|| {
            for _ in 0..BATCH {
                next = (next + 7) % 100_003;
                world.request(&mut disk, write(next, next as u8 | 1));
            }
            world.request(&mut disk, Command::Flush);
        });
    });
    group.finish();
}

criterion_group!(benches, disks);
criterion_main!(benches);
