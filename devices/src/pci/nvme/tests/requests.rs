//! Commands of a driver that behaves.

use std::sync::Arc;

use super::driver::*;
use crate::DiskStep;
use crate::disk::{Media, MemoryBase};

const FORCE_UNIT_ACCESS: u32 = 1 << 30;

#[test]
fn reads_what_was_written() {
    let contents: Vec<u8> = (0..SECTORS * 512).map(|at| (at / 512) as u8).collect();
    let mut driver = Driver::ready(Media::over(Arc::new(MemoryBase(contents))).unwrap(), false);
    driver.put(DATA, &[0x66; 512]);
    assert_eq!(driver.io(1, 9, 1, [DATA, 0]).status, 0);
    let flush = Request { opcode: 0, namespace: 1, ..Request::default() };
    assert_eq!(driver.request(1, flush).status, 0);
    assert_eq!(driver.request(1, Request { namespace: 0xffff_ffff, ..flush }).status, 0);
    // 9 pages with an offset: 10 pages, by a list.
    let pages = [
        0x20_1000u64,
        0x20_9000,
        0x20_3000,
        0x20_5000,
        0x20_7000,
        0x21_0000,
        0x21_2000,
        0x21_4000,
        0x21_6000,
    ];
    for (index, page) in pages.iter().enumerate() {
        driver.put(LIST + 8 * index as u64, &page.to_le_bytes());
    }
    assert_eq!(driver.io(2, 8, 72, [DATA + 0xe00, LIST]).status, 0);
    assert_eq!(driver.get::<512>(DATA + 0xe00), [8; 512]);
    assert_eq!(driver.get::<512>(pages[0]), [0x66; 512]);
    assert_eq!(driver.get::<512>(pages[1] + 0xe00), [8 + 16; 512]);
    assert_eq!(driver.get::<512>(pages[8] + 0xc00), [8 + 71; 512]);
    assert_eq!(driver.get::<1>(pages[8] + 0xe00), [0]);
    assert_eq!(driver.messages(), [0x51; 4]);
    let event = |request| [(request, DiskStep::Accepted), (request, DiskStep::Completed)];
    let durable = [(0, DiskStep::Durable)];
    assert_eq!(driver.events(), [&event(0)[..], &event(1), &durable, &event(2), &event(3)].concat());
}

#[test]
fn many_rounds_invert_the_phase() {
    let mut driver = Driver::blank();
    for round in 0..40u64 {
        driver.put(DATA, &[round as u8 + 1; 512]);
        assert_eq!(driver.io(1, round, 1, [DATA, 0]).status, 0);
    }
    let mut sectors = vec![0; 40 * 512];
    driver.disk().media().read(0, &mut sectors).unwrap();
    assert!(sectors.iter().enumerate().all(|(at, byte)| *byte as usize == at / 512 + 1));
}

#[test]
fn forced_unit_access_and_a_cache_switched_off_are_accepted() {
    let mut driver = Driver::blank();
    let mut write = transfer(1, 0, 1, [DATA, 0]);
    write.words[2] |= FORCE_UNIT_ACCESS;
    assert_eq!(driver.request(1, write).status, 0);
    assert_eq!(driver.set_feature(6, 0).status, 0);
    assert_eq!(driver.io(1, 0, 1, [DATA, 0]).status, 0);
    assert_eq!(driver.disk().counters().writes, 2);
}

#[test]
fn blocks_become_zero() {
    let media = Media::over(Arc::new(MemoryBase(vec![0xee; (SECTORS * 512) as usize]))).unwrap();
    let mut driver = Driver::ready(media, false);
    assert_eq!(driver.io(8, 3, 2, [0, 0]).status, 0);
    let range =
        |sectors: u32, sector: u64| [&[0; 4][..], &sectors.to_le_bytes(), &sector.to_le_bytes()].concat();
    driver.put(DATA, &[range(8, 16), range(1, 40)].concat());
    let manage = |count: u32, flags: u32| Request {
        opcode: 9,
        namespace: 1,
        prp: [DATA, 0],
        words: [count - 1, flags, 0, 0],
        ..Request::default()
    };
    assert_eq!(driver.request(1, manage(2, 4)).status, 0);
    // A hint that is none of deallocation.
    assert_eq!(driver.request(1, manage(2, 1)).status, 0);
    let mut after = vec![0; (SECTORS * 512) as usize];
    driver.disk().media().read(0, &mut after).unwrap();
    let zero: Vec<usize> = (0..SECTORS as usize).filter(|sector| after[sector * 512] == 0).collect();
    assert_eq!(zero, [3, 4, 16, 17, 18, 19, 20, 21, 22, 23, 40]);
    assert_eq!(driver.request(1, manage(17, 4)).status, 0x183);
    driver.put(DATA, &range(65_537, 0));
    assert_eq!(driver.request(1, manage(1, 4)).status, 0x183);
    driver.put(DATA, &range(1, SECTORS));
    assert_eq!(driver.request(1, manage(1, 4)).status, 0x80);
}

#[test]
fn what_cannot_be_done_is_answered_with_its_reason() {
    let mut driver = Driver::blank();
    assert_eq!(driver.io(2, SECTORS, 1, [DATA, 0]).status, 0x80);
    assert_eq!(driver.io(2, u64::MAX, 2, [DATA, 0]).status, 0x80);
    assert_eq!(driver.io(1, SECTORS - 1, 2, [DATA, 0]).status, 0x80);
    assert_eq!(driver.io(2, 0, 4096, [DATA, LIST]).status, 2, "more than MDTS");
    assert_eq!(driver.io(2, 0, 1, [DATA + 1, 0]).status, 0x13);
    assert_eq!(driver.io(2, 0, 1, [1 << 40, 0]).status, 4);
    assert_eq!(driver.io(1, 0, 1, [u64::MAX - 3, 0]).status, 4);
    assert_eq!(driver.request(1, Request { namespace: 2, ..transfer(2, 0, 1, [DATA, 0]) }).status, 0xb);
    assert_eq!(driver.request(1, Request { form: 0x40, ..transfer(2, 0, 1, [DATA, 0]) }).status, 2);
    assert_eq!(driver.request(1, Request { opcode: 0x7f, namespace: 1, ..Request::default() }).status, 1);
    assert_eq!(driver.admin(Request { opcode: 0x80, ..Request::default() }).status, 1);
    assert_eq!(driver.admin(Request { opcode: 6, form: 1, ..Request::default() }).status, 2);
    let mut driver = Driver::ready(Media::blank(1 << 20).unwrap(), true);
    assert_eq!(driver.io(1, 0, 1, [DATA, 0]).status, 0x286);
}

#[test]
fn a_base_that_is_gone_is_an_unrecovered_read() {
    let media = Media::over(Arc::new(MemoryBase(vec![1; 1 << 20]))).unwrap();
    let detached: Media = serde_json::from_str(&serde_json::to_string(&media).unwrap()).unwrap();
    let mut driver = Driver::ready(detached, false);
    assert_eq!(driver.io(2, 0, 1, [DATA, 0]).status, 0x281);
    // Half a block needs the other half; a whole one needs nothing.
    assert_eq!(driver.io(1, 0, 1, [DATA, 0]).status, 0x280);
    assert_eq!(driver.io(1, 8, 8, [DATA, 0]).status, 0);
}

#[test]
fn queues_are_created_and_deleted_in_order() {
    let mut driver = Driver::blank();
    let delete = |opcode: u8, number: u32| Request { opcode, words: [number, 0, 0, 0], ..Request::default() };
    assert_eq!(driver.admin(delete(4, 1)).status, 0x10c);
    assert_eq!(driver.admin(delete(0, 0)).status, 0x101);
    assert_eq!(driver.admin(delete(0, 2)).status, 0x101);
    // A command in flight is answered before its queue goes.
    let identifier = driver.send(1, transfer(2, 0, 1, [DATA, 0]));
    assert_eq!(driver.admin(delete(0, 1)).status, 0);
    assert_eq!(driver.answers(1), [Answer { result: 0, identifier, status: 8 }]);
    assert_eq!(driver.admin(delete(4, 1)).status, 0);
    assert_eq!(driver.admin(delete(4, 1)).status, 0x101);
}

#[test]
fn queues_that_cannot_be() {
    let mut driver = Driver::blank();
    let create = |opcode: u8, size: u32, number: u32, flags: u32, base: u64| Request {
        opcode,
        prp: [base, 0],
        words: [(size - 1) << 16 | number, flags, 0, 0],
        ..Request::default()
    };
    for (request, status) in [
        (create(5, 16, 0, 3, 0x5000), 0x101),
        (create(5, 16, 1, 3, 0x5000), 0x101),
        (create(5, 16, 3, 3, 0x5000), 0x101),
        (create(5, 1, 2, 3, 0x5000), 0x102),
        (create(5, 1025, 2, 3, 0x5000), 0x102),
        (create(5, 16, 2, 2, 0x5000), 2),
        (create(5, 16, 2, 3 | 3 << 16, 0x5000), 0x108),
        (create(5, 16, 2, 3, 0x5004), 0x13),
        (create(1, 16, 2, 1 | 2 << 16, 0x5000), 0x100),
        (create(1, 16, 2, 1, 0x5000), 0x100),
        (create(1, 16, 1, 1 | 1 << 16, 0x5000), 0x101),
    ] {
        assert_eq!(driver.admin(request).status, status, "{request:x?}");
    }
    driver.create_queues(2);
    assert_eq!(driver.request(2, transfer(2, 0, 1, [DATA, 0])).status, 0);
}

#[test]
fn a_command_in_flight_is_aborted_and_a_finished_one_is_not() {
    let mut driver = Driver::blank();
    let identifier = driver.send(1, transfer(2, 0, 1, [DATA, 0]));
    let abort =
        Request { opcode: 8, words: [u32::from(identifier) << 16 | 1, 0, 0, 0], ..Request::default() };
    assert_eq!(driver.admin(abort).result, 0);
    assert_eq!(driver.answers(1), [Answer { result: 0, identifier, status: 7 }]);
    assert_eq!(driver.admin(abort).result, 1);
    assert_eq!(driver.events().len(), 1, "it was accepted and never completed");
}

#[test]
fn a_bad_doorbell_is_an_event_once() {
    let mut driver = Driver::blank();
    let request = Request { opcode: 12, ..Request::default() };
    let identifiers: Vec<u16> = (0..4).map(|_| driver.send(0, request)).collect();
    assert_eq!(driver.admin(request).status, 0x105, "more than the limit");
    driver.write(0x1000 + 8, 4, 16);
    assert_eq!(driver.answers(0), [Answer { result: 0x0001_0100, identifier: identifiers[0], status: 0 }]);
    driver.write(0x1000 + 8 * 9, 4, 0);
    assert_eq!(driver.answers(0), []);
    // Reading the log lets the next one through.
    let log = Request { opcode: 2, prp: [DATA, 0], words: [15 << 16 | 1, 0, 0, 0], ..Request::default() };
    assert_eq!(driver.admin(log).status, 0);
    driver.write(0x1000 + 8 * 9, 4, 0);
    assert_eq!(driver.answers(0), [Answer { result: 0x0001_0000, identifier: identifiers[1], status: 0 }]);
    // A request can be aborted.
    let abort =
        Request { opcode: 8, words: [u32::from(identifiers[2]) << 16, 0, 0, 0], ..Request::default() };
    let aborting = driver.send(0, abort);
    driver.finish();
    let answers = driver.answers(0);
    assert_eq!(
        answers.iter().map(|answer| (answer.identifier, answer.status)).collect::<Vec<_>>(),
        [(identifiers[2], 7), (aborting, 0)]
    );
}

#[test]
fn a_driver_that_takes_no_answers_gets_no_more() {
    let mut driver = Driver::blank();
    for _ in 0..3 {
        for _ in 0..ENTRIES - 1 {
            driver.prepare(1, transfer(2, 0, 1, [DATA, 0]));
        }
        driver.submit(1);
        driver.finish();
    }
    assert_eq!(driver.disk().counters().reads, u64::from(ENTRIES) - 1);
    assert_eq!(driver.answers(1).len(), ENTRIES as usize - 1);
    driver.finish();
    assert!(driver.disk().counters().reads > u64::from(ENTRIES));
}

#[test]
fn without_bus_mastering_commands_wait() {
    let mut driver = Driver::blank();
    driver.config_write(4, 2, 2);
    driver.send(1, transfer(2, 0, 1, [DATA, 0]));
    driver.finish();
    assert_eq!((driver.answers(1), driver.disk().counters().reads), (vec![], 0));
    driver.config_write(4, 2, 6);
    driver.finish();
    assert_eq!(driver.answers(1).len(), 1);
}

#[test]
fn nothing_happens_between_an_event_that_stops_and_the_stop() {
    let mut driver = Driver::blank();
    driver.bench.events.stop_at = Some((1, DiskStep::Accepted));
    for sector in 0..3 {
        driver.prepare(1, transfer(1, sector, 1, [DATA, 0]));
    }
    driver.submit(1);
    assert_eq!(driver.disk().counters().writes, 2);
    driver.step();
    assert_eq!(driver.disk().counters().writes, 3);
    driver.bench.events.stop_at = Some((0, DiskStep::Completed));
    driver.bench.now = driver.bench.now.after(10_000_000);
    driver.step();
    assert_eq!(driver.answers(1).len(), 1);
    driver.finish();
    assert_eq!(driver.answers(1).len(), 2);
}

#[test]
fn a_controller_reset_forgets_commands_but_not_what_they_wrote() {
    let mut driver = Driver::blank();
    driver.put(DATA, &[4; 512]);
    driver.send(1, transfer(1, 0, 1, [DATA, 0]));
    driver.write(0x14, 4, 0);
    driver.finish();
    assert_eq!(driver.messages(), Vec::<u32>::new());
    let mut sector = [0; 512];
    driver.disk().media().read(0, &mut sector).unwrap();
    assert_eq!(sector, [4; 512]);
    driver.enable();
    driver.create_queues(1);
    assert_eq!(driver.io(2, 0, 1, [DATA + 0x1000, 0]).status, 0);
    assert_eq!(driver.get::<512>(DATA + 0x1000), [4; 512]);
}
