//! A driver that does not behave.

use proptest::prelude::*;

use super::driver::*;
use crate::bench::abuses;
use crate::pci::slot_memory;

const NEEDS_RESET: u64 = 0x40;
const FEATURES: u64 = 1 << 9 | 1 << 13 | 1 << 14 | 1 << 28;

fn broken(break_it: impl FnOnce(&mut Driver)) {
    let mut driver = Driver::blank(FEATURES);
    break_it(&mut driver);
    driver.notify();
    driver.finish();
    assert_eq!(driver.status(), NEEDS_RESET | 0xf);
    assert_eq!(driver.messages(), [0x40], "the change of the configuration is told once");
    assert_eq!(driver.used(), []);
    // A reset helps.
    driver.common_write(0x14, 1, 0);
    assert_eq!(driver.status(), 0);
}

#[test]
fn a_chain_that_loops() {
    broken(|driver| {
        let (header, _) = driver.header(0, IN, 0);
        driver.describe(DESCRIPTORS, 0, Descriptor { address: header, length: 16, flags: NEXT, next: 1 });
        driver.describe(
            DESCRIPTORS,
            1,
            Descriptor { address: DATA, length: 512, flags: NEXT | WRITE, next: 1 },
        );
        driver.offer(0);
    });
}

#[test]
fn a_chain_that_leaves_its_table() {
    broken(|driver| {
        driver.describe(DESCRIPTORS, 0, Descriptor { address: HEADERS, length: 16, flags: NEXT, next: 128 });
        driver.offer(0);
    });
    broken(|driver| driver.offer(128));
}

#[test]
fn a_chain_without_room_for_header_or_status() {
    broken(|driver| {
        driver.chain(DESCRIPTORS, 0, &[(HEADERS, 15, false), (STATUSES, 1, true)]);
        driver.offer(0);
    });
    broken(|driver| {
        driver.chain(DESCRIPTORS, 0, &[(HEADERS, 16, false), (STATUSES, 0, true)]);
        driver.offer(0);
    });
    broken(|driver| {
        driver.chain(DESCRIPTORS, 0, &[(STATUSES, 1, true), (HEADERS, 16, false)]);
        driver.offer(0);
    });
}

#[test]
fn a_status_that_is_no_memory() {
    broken(|driver| {
        let (header, _) = driver.header(0, FLUSH, 0);
        driver.chain(DESCRIPTORS, 0, &[(header, 16, false), (1 << 50, 1, true)]);
        driver.offer(0);
    });
}

#[test]
fn indirect_tables_that_are_nested_torn_huge_or_nowhere() {
    for (length, flags, address) in
        [(16, INDIRECT, DATA), (17, INDIRECT, DATA), (!15, INDIRECT, DATA), (160, INDIRECT, u64::MAX - 7)]
    {
        broken(|driver| {
            driver.describe(DATA, 0, Descriptor { address: DATA, length: 16, flags: INDIRECT, next: 0 });
            driver.describe(DESCRIPTORS, 0, Descriptor { address, length, flags, next: 0 });
            driver.offer(0);
        });
    }
    // A table of 60,000 descriptors of one byte each, in order.
    broken(|driver| {
        for index in 0..60_000 {
            let next = Descriptor { address: HEADERS, length: 1, flags: NEXT, next: index + 1 };
            driver.describe(0x10_0000, index, next);
        }
        let table = Descriptor { address: 0x10_0000, length: 60_000 * 16, flags: INDIRECT, next: 0 };
        driver.describe(DESCRIPTORS, 0, table);
        driver.offer(0);
    });
}

#[test]
fn more_requests_than_the_queue_has_entries() {
    broken(|driver| driver.put(AVAILABLE + 2, &129u16.to_le_bytes()));
    // One at a time, without ever waiting for the first.
    let mut driver = Driver::blank(FEATURES);
    let head = driver.prepare(FLUSH, 0, &[]);
    for _ in 0..129 {
        driver.offer(head);
        driver.notify();
    }
    assert_eq!(driver.status(), NEEDS_RESET | 0xf);
    assert_eq!(driver.disk().counters().flushes, 128);
}

#[test]
fn queues_that_cannot_be() {
    let set = |driver: &mut Driver, offset: u64, size: u8, value: u64| {
        driver.common_write(0x16, 2, 1);
        for (offset, value) in [(0x20, DESCRIPTORS), (0x28, AVAILABLE), (0x30, USED)] {
            driver.common_write(offset, 4, value);
        }
        driver.common_write(offset, size, value);
        driver.common_write(0x1c, 2, 1);
    };
    for (offset, size, value) in [
        (0x18, 2, 0),
        (0x18, 2, 3),
        (0x18, 2, 256),
        (0x20, 4, DESCRIPTORS + 8),
        (0x28, 4, AVAILABLE + 1),
        (0x30, 4, USED + 2),
        (0x20, 4, 0xc000_0000),
        (0x2c, 4, 0xffff_ffff),
        (0x30, 4, (4 << 20) - 8),
    ] {
        let mut driver = Driver::blank(FEATURES);
        set(&mut driver, offset, size, value);
        assert_eq!(driver.status(), NEEDS_RESET | 0xf, "{offset:x} = {value:x}");
    }
    let mut driver = Driver::blank(FEATURES);
    set(&mut driver, 0x18, 2, 64);
    assert_eq!(driver.status(), 0xf);
    // An enabled queue does not move.
    driver.common_write(0x20, 4, 0);
    assert_eq!(driver.common_read(0x20, 4), DESCRIPTORS);
}

fn descriptor() -> impl Strategy<Value = Descriptor> {
    let address = prop_oneof![
        4 => (0u64..16).prop_map(|number| DATA + number * 512),
        4 => (0u64..4).prop_map(|number| HEADERS + number * 16),
        1 => Just(DESCRIPTORS),
        1 => Just(USED),
        1 => any::<u64>(),
    ];
    let length = prop_oneof![Just(16u32), Just(1), Just(512), Just(48), 0u32..2000, any::<u32>()];
    let flags = prop_oneof![4 => Just(NEXT), 3 => Just(NEXT | WRITE), 2 => Just(WRITE), 1 => 0u16..8, 1 => any::<u16>()];
    (address, length, flags, prop_oneof![0u16..16, any::<u16>()])
        .prop_map(|(address, length, flags, next)| Descriptor { address, length, flags, next })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 256 } else { 4096 }))]

    /// Whatever the rings contain, the device comes to rest: every request is answered, or the device needs a reset.
    #[test]
    fn rings_of_garbage(
        table in prop::collection::vec(descriptor(), 16),
        headers in prop::collection::vec((prop_oneof![0u32..16, any::<u32>()], prop_oneof![0u64..SECTORS, any::<u64>()]), 4),
        heads in prop::collection::vec(prop_oneof![0u16..16, any::<u16>()], 1..24),
        event_index: bool,
    ) {
        let mut driver = Driver::blank(FEATURES | if event_index { 1 << 29 } else { 0 });
        for (index, descriptor) in (0..).zip(&table) {
            driver.describe(DESCRIPTORS, index, *descriptor);
            driver.describe(DATA, index, *descriptor);
        }
        for (number, (kind, sector)) in (0..).zip(&headers) {
            driver.header(number, *kind, *sector);
        }
        for head in &heads {
            driver.offer(*head);
        }
        driver.notify();
        driver.finish();
        let broken = driver.status() & NEEDS_RESET != 0;
        // The device may have been made to write over its own rings: then nothing more can be said.
        if !broken && !table.iter().any(|descriptor| descriptor.flags & WRITE != 0) {
            prop_assert_eq!(driver.used().len(), heads.len());
        }
    }

    /// Anything to any register of a device in use.
    #[test]
    fn registers_of_garbage(first in abuses(), second in abuses()) {
        let mut driver = Driver::blank(FEATURES);
        for sector in 0..4 {
            driver.send(IN, sector, &[(DATA, 512, true)]);
        }
        // Seldom the status: it stops all.
        let registers = (0..0x3c).filter(|offset| *offset != 0x14).chain([0x1000, 0x2020, 0x3000, 0x3004, 0x4000, 0x400c]);
        let addresses: Vec<u64> = registers.map(|offset| slot_memory(SLOT) + offset).collect();
        driver.bench.abuse(&mut driver.bus, &addresses, &[first, second].concat());
    }
}
