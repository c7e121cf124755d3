//! Crash spaces of a storm of writes: to build one, to make the media of a state, to find the next state.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use devices::VirtualTime;
use devices::disk::{AtomicUnit, Change, Contents, CrashSpace, Extent, Media, Tie};

/// As many as a disk has pending in the middle of a hibernation image.
const WRITES: u64 = 5_000;
/// Of 4 KiB.
const SECTORS: u64 = 8;

/// Writes one after another; each tenth goes where the one before it went.
fn changes() -> Vec<Change> {
    let change = |request: u64| {
        let place = if request % 10 == 9 { request - 1 } else { request };
        Change {
            request,
            extent: Extent { sector: place * SECTORS, sectors: SECTORS },
            contents: Contents::Data(vec![request as u8 | 1; 4096].into()),
            accepted: VirtualTime(request),
            completed: None,
        }
    };
    (0..WRITES).map(change).collect()
}

fn build(tie: Tie, changes: Vec<Change>) -> CrashSpace {
    let durable = match Media::blank(WRITES * 4096) {
        Ok(durable) => durable,
        Err(error) => panic!("{error}"),
    };
    match CrashSpace::new(durable, changes, AtomicUnit::Sector, tie) {
        Ok(space) => space,
        Err(error) => panic!("{error}"),
    }
}

fn spaces(criterion: &mut Criterion) {
    for (name, tie) in [("units", Tie::Unit), ("writes", Tie::Write)] {
        let mut group = criterion.benchmark_group(format!("crash space of 5000 writes, {name}"));
        let changes = changes();
        group.throughput(Throughput::Elements(WRITES));
        group.bench_function("build", |bencher| {
            bencher.iter_batched(|| changes.clone(), |changes| build(tie, changes), BatchSize::LargeInput)
        });
        let space = build(tie, changes);
        let states: Vec<_> = space.seeded(1).take(64).collect();
        group.throughput(Throughput::Elements(1));
        let mut next = states.iter().cycle();
        group.bench_function("media of a state", |bencher| {
            bencher.iter(|| next.next().map(|state| black_box(space.media(state))))
        });
        group.bench_function("key of a state", |bencher| {
            bencher.iter(|| next.next().map(|state| black_box(space.key(state))))
        });
        let mut seeded = space.seeded(2);
        group.bench_function("next seeded state", |bencher| bencher.iter(|| black_box(seeded.next())));
        let mut search = space.search(3);
        group.bench_function("next state of a search", |bencher| bencher.iter(|| black_box(search.next())));
        let mut exhaustive = space.exhaustive();
        group.bench_function("next of all states", |bencher| bencher.iter(|| black_box(exhaustive.next())));
        group.finish();
    }
}

criterion_group!(crash_space, spaces);
criterion_main!(crash_space);
