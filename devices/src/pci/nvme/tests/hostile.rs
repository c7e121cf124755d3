//! A driver that does not behave.

use proptest::prelude::*;

use super::driver::*;
use crate::bench::abuses;
use crate::pci::{Bus, slot_memory};

#[test]
fn queues_outside_of_memory_are_fatal() {
    // Commands that cannot be fetched.
    let mut driver = Driver::blank();
    driver.write(0x14, 4, 0);
    driver.write(0x28, 8, 1 << 40);
    driver.write(0x14, 4, 0x0046_0001);
    driver.write(0x1000, 4, 1);
    assert_eq!(driver.read(0x1c, 4), 3);
    // Answers that cannot be given.
    let mut driver = Driver::blank();
    driver.write(0x14, 4, 0);
    driver.write(0x30, 8, !0xfff);
    driver.write(0x14, 4, 0x0046_0001);
    driver.write(0x1000, 4, 1);
    driver.finish();
    assert_eq!(driver.read(0x1c, 4), 3);
    driver.write(0x14, 4, 0);
    assert_eq!(driver.read(0x1c, 4), 0);
}

#[test]
fn a_head_moves_over_answers_only() {
    let mut driver = Driver::blank();
    driver.io(2, 0, 1, [DATA, 0]);
    // Nothing new was written: any move is one too far.
    driver.write(0x1000 + 12, 4, 7);
    for _ in 0..ENTRIES - 1 {
        driver.prepare(1, transfer(2, 0, 1, [DATA, 0]));
    }
    driver.submit(1);
    driver.finish();
    assert_eq!(driver.answers(1).len(), ENTRIES as usize - 1);
}

fn request() -> impl Strategy<Value = Request> {
    let prp = || {
        prop_oneof![
            4 => (0u64..64).prop_map(|page| DATA + page * 4096),
            1 => (0u64..64).prop_map(|page| SUBMISSION + page * 512),
            1 => any::<u64>(),
        ]
    };
    let opcode = prop_oneof![4 => 0u8..16, 1 => any::<u8>()];
    let namespace = prop_oneof![4 => Just(1u32), 1 => Just(u32::MAX), 1 => any::<u32>()];
    let word =
        || prop_oneof![3 => 0u32..32, 2 => (0u32..32).prop_map(|value| value << 16 | 3), 1 => any::<u32>()];
    (
        opcode,
        prop_oneof![8 => Just(0u8), 1 => any::<u8>()],
        namespace,
        [prp(), prp()],
        [word(), word(), word(), word()],
    )
        .prop_map(|(opcode, form, namespace, prp, words)| Request {
            opcode,
            form,
            namespace,
            prp,
            words,
        })
}

proptest! {
    /// Whatever the queues contain, the controller comes to rest, and its state survives being written down.
    #[test]
    fn queues_of_garbage(commands in prop::collection::vec((0u64..3, request(), any::<bool>()), 1..40)) {
        let mut driver = Driver::blank();
        driver.create_queues(2);
        for (queue, request, finish) in commands {
            driver.send(queue, request);
            if finish {
                driver.finish();
            }
        }
        driver.finish();
        let text = serde_json::to_string(&driver.bus).unwrap();
        prop_assert!(serde_json::from_str::<Bus>(&text).unwrap() == driver.bus);
    }

    /// Anything to any register of a controller that was started.
    #[test]
    fn registers_of_garbage(first in abuses(), second in abuses()) {
        let mut driver = Driver::blank();
        let registers = (0..0x40).step_by(4).chain([0x15, 0x1000, 0x1004, 0x1008, 0x100c, 0x1010, 0x4000, 0x400c]);
        let addresses: Vec<u64> = registers.map(|offset| slot_memory(SLOT) + offset).collect();
        driver.bench.abuse(&mut driver.bus, &addresses, &[first, second].concat());
    }
}
