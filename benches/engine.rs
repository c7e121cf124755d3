//! The software processor: instructions per second on code of several kinds, bytes per second of repeated string instructions.

use std::hint::black_box;

use benches::{Guest, programs};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iced_x86::IcedError;
use iced_x86::code_asm::CodeAssembler;

/// Instructions of one measurement: about what a machine runs between two looks at its devices.
const SLICE: u64 = 1 << 20;

type Program = fn(&mut CodeAssembler) -> Result<(), IcedError>;

/// Instructions per second (element = instruction).
fn instructions(criterion: &mut Criterion) {
    let programs: [(&str, Program); 5] = [
        ("integer loop", programs::integer_loop),
        ("memory loop", programs::memory_loop),
        ("calls", programs::calls),
        ("sort", programs::sort),
        ("sieve", programs::sieve),
    ];
    let mut group = criterion.benchmark_group("instructions");
    group.throughput(Throughput::Elements(SLICE));
    for (name, program) in programs {
        match Guest::new(program) {
            Ok(mut guest) => {
                group.bench_function(name, |bencher| bencher.iter(|| black_box(guest.run(SLICE))))
            }
            Err(error) => panic!("{name}: {error:?}"),
        };
    }
    group.finish();
}

/// Bytes per second of REP MOVSB and REP STOSQ; each iteration counts as an instruction.
fn strings(criterion: &mut Criterion) {
    let block = u64::from(programs::BLOCK);
    let programs: [(&str, Program, u64); 2] =
        [("rep movsb", programs::copy, block + 4), ("rep stosq", programs::fill, block / 8 + 3)];
    let mut group = criterion.benchmark_group("strings");
    group.throughput(Throughput::Bytes(block));
    for (name, program, instructions) in programs {
        match Guest::new(program) {
            Ok(mut guest) => {
                group.bench_function(name, |bencher| bencher.iter(|| black_box(guest.run(instructions))))
            }
            Err(error) => panic!("{name}: {error:?}"),
        };
    }
    group.finish();
}

criterion_group!(engine, instructions, strings);
criterion_main!(engine);
