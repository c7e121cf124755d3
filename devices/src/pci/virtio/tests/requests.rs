//! Requests of a driver that behaves.

use std::sync::Arc;

use super::driver::*;
use crate::DiskStep;
use crate::disk::{Media, MemoryBase};

const FLUSH_FEATURE: u64 = 1 << 9;
const CONFIG_WCE: u64 = 1 << 11;
const DISCARD_FEATURES: u64 = 1 << 13 | 1 << 14;
const EVENT_INDEX: u64 = 1 << 29;
const INDIRECT_FEATURE: u64 = 1 << 28;
const OK: u8 = 0;
const ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;

#[test]
fn reads_what_was_written() {
    let contents: Vec<u8> = (0..SECTORS * 512).map(|at| (at / 512) as u8).collect();
    let mut driver =
        Driver::ready(Media::over(Arc::new(MemoryBase(contents))).unwrap(), false, FLUSH_FEATURE);
    driver.put(DATA, &[0x77; 1024]);
    // In pieces that are no sectors.
    assert_eq!(driver.request(OUT, 5, &[(DATA, 100, false), (DATA + 100, 924, false)]), (OK, 1));
    assert_eq!(driver.request(FLUSH, 0, &[]), (OK, 1));
    assert_eq!(driver.request(IN, 4, &[(DATA + 0x1000, 1, true), (DATA + 0x1001, 2047, true)]), (OK, 2049));
    let read: [u8; 2048] = driver.get(DATA + 0x1000);
    assert!(read[..512].iter().all(|byte| *byte == 4));
    assert!(read[512..1536].iter().all(|byte| *byte == 0x77));
    assert!(read[1536..].iter().all(|byte| *byte == 7));
    assert_eq!(driver.messages(), [0x41, 0x41, 0x41]);
    let event = |request| [(request, DiskStep::Accepted), (request, DiskStep::Completed)];
    let durable = [(0, DiskStep::Durable)];
    assert_eq!(driver.events(), [&event(0)[..], &event(1), &durable, &event(2)].concat());
    let counters = driver.disk().counters();
    assert_eq!((counters.reads, counters.writes, counters.flushes, counters.sectors_written), (1, 1, 1, 2));
}

#[test]
fn a_header_may_be_split_and_a_status_share_its_buffer() {
    let mut driver = Driver::blank(0);
    driver.put(DATA, &[0x5a; 512]);
    let (header, status) = driver.header(0, OUT, 9);
    let buffers = [
        (header, 3, false),
        (header + 3, 0, false),
        (header + 3, 13, false),
        (DATA, 512, false),
        (status, 1, true),
    ];
    driver.chain(DESCRIPTORS, 0, &buffers);
    driver.offer(0);
    // Data and status in one buffer.
    let (header, _) = driver.header(8, IN, 9);
    driver.chain(DESCRIPTORS, 8, &[(header, 16, false), (DATA + 0x1000, 513, true)]);
    driver.offer(8);
    driver.notify();
    driver.finish();
    assert_eq!(driver.outcome(0), OK);
    // The write takes its transfer and less access time than the read.
    assert_eq!(driver.used(), [(0, 1), (8, 513)]);
    let read: [u8; 513] = driver.get(DATA + 0x1000);
    assert!(read[..512].iter().all(|byte| *byte == 0x5a) && read[512] == OK);
}

#[test]
fn indirect_tables_are_followed() {
    let mut driver = Driver::blank(INDIRECT_FEATURE);
    driver.put(DATA, &[3; 512]);
    for (number, kind, data) in [(0, OUT, (DATA, 512, false)), (1, IN, (DATA + 0x1000, 512, true))] {
        let (header, status) = driver.header(number, kind, 0);
        let table = DATA + 0x8000 + 0x100 * u64::from(number);
        driver.chain(table, 0, &[(header, 16, false), data, (status, 1, true)]);
        driver.describe(
            DESCRIPTORS,
            number,
            Descriptor { address: table, length: 48, flags: INDIRECT, next: 0 },
        );
        driver.offer(number);
        driver.notify();
        driver.finish();
        assert_eq!(driver.outcome(number), OK);
    }
    assert_eq!(driver.get::<512>(DATA + 0x1000), [3; 512]);
}

#[test]
fn completions_come_in_the_order_of_their_times() {
    let mut driver = Driver::blank(FLUSH_FEATURE);
    let read = driver.prepare(IN, 0, &[(DATA, 512, true)]);
    let flush = driver.prepare(FLUSH, 0, &[]);
    let write = driver.prepare(OUT, 8, &[(DATA + 0x1000, 512, false)]);
    let same = driver.prepare(OUT, 8, &[(DATA + 0x1000, 512, false)]);
    for head in [read, flush, write, same] {
        driver.offer(head);
    }
    driver.notify();
    driver.finish();
    let order: Vec<u32> = driver.used().iter().map(|(head, _)| *head).collect();
    assert_eq!(order, [write, same, read, flush].map(u32::from));
}

#[test]
fn event_indices_suppress_interrupts_and_notifications() {
    let mut driver = Driver::blank(EVENT_INDEX);
    // Interrupt when the second is used, not the first.
    driver.put(AVAILABLE + 4 + 2 * 128, &1u16.to_le_bytes());
    driver.request(IN, 0, &[(DATA, 512, true)]);
    assert!(driver.messages().is_empty());
    driver.request(IN, 0, &[(DATA, 512, true)]);
    assert_eq!(driver.messages(), [0x41]);
    // The device wants to hear of the third: the index of what it looks at next.
    assert_eq!(driver.get::<2>(USED + 4 + 8 * 128), 2u16.to_le_bytes());
}

#[test]
fn without_event_indices_a_flag_suppresses_interrupts() {
    let mut driver = Driver::blank(0);
    driver.put(AVAILABLE, &1u16.to_le_bytes());
    driver.request(IN, 0, &[(DATA, 512, true)]);
    assert!(driver.messages().is_empty());
}

#[test]
fn what_cannot_be_done_is_answered_with_an_error() {
    let mut driver = Driver::blank(0);
    let whole = (DATA, 512, true);
    assert_eq!(driver.request(IN, SECTORS, &[whole]), (ERROR, 0));
    assert_eq!(driver.request(IN, u64::MAX, &[whole]), (ERROR, 0));
    assert_eq!(driver.request(IN, u64::MAX / 512, &[whole]), (ERROR, 0));
    assert_eq!(driver.request(IN, 0, &[(DATA, 511, true)]), (ERROR, 0));
    assert_eq!(driver.request(IN, 0, &[]), (ERROR, 1));
    assert_eq!(driver.request(OUT, SECTORS - 1, &[(DATA, 1024, false)]), (ERROR, 1));
    assert_eq!(driver.request(OUT, 0, &[(DATA, 0x1000_0000, false)]), (ERROR, 1));
    // Data that is no memory.
    assert_eq!(driver.request(IN, 0, &[(1 << 40, 512, true)]), (ERROR, 0));
    assert_eq!(driver.request(OUT, 0, &[(u64::MAX - 100, 512, false)]), (ERROR, 1));
    // Not negotiated, or not there at all.
    assert_eq!(driver.request(DISCARD, 0, &[(DATA, 16, false)]), (UNSUPPORTED, 1));
    assert_eq!(driver.request(2, 0, &[]), (UNSUPPORTED, 1));
    assert_eq!(driver.status(), 0xf);
    assert_eq!(driver.disk().media().changed_blocks().count(), 0);
}

#[test]
fn a_read_only_disk_says_so() {
    let mut driver = Driver::ready(Media::blank(1 << 20).unwrap(), true, 0);
    assert_eq!(driver.common_read(0x04, 4) & (1 << 5 | 1 << 13 | 1 << 14), 1 << 5);
    assert_eq!(driver.request(OUT, 0, &[(DATA, 512, false)]), (ERROR, 1));
    assert_eq!(driver.request(IN, 0, &[(DATA, 512, true)]), (OK, 513));
}

#[test]
fn the_serial_number_is_cut_to_20_characters() {
    let mut driver = Driver::blank(0);
    assert_eq!(driver.request(GET_ID, 0, &[(DATA, 20, true)]), (OK, 21));
    assert_eq!(&driver.get::<20>(DATA), b"kjvm-0123456789-abcd");
    assert_eq!(driver.request(GET_ID, 0, &[(DATA + 64, 4, true)]), (OK, 5));
    assert_eq!(&driver.get::<5>(DATA + 64), b"kjvm\0");
}

fn range(sector: u64, sectors: u32, flags: u32) -> Vec<u8> {
    [&sector.to_le_bytes()[..], &sectors.to_le_bytes(), &flags.to_le_bytes()].concat()
}

#[test]
fn ranges_become_zero() {
    let contents = vec![0xee; (SECTORS * 512) as usize];
    let media = Media::over(Arc::new(MemoryBase(contents))).unwrap();
    let mut driver = Driver::ready(media, false, DISCARD_FEATURES);
    driver.put(DATA, &[range(1, 2, 0), range(16, 8, 0)].concat());
    assert_eq!(driver.request(DISCARD, 0, &[(DATA, 32, false)]), (OK, 1));
    driver.put(DATA, &range(32, 1, 1));
    assert_eq!(driver.request(WRITE_ZEROES, 0, &[(DATA, 16, false)]), (OK, 1));
    let mut after = vec![0; (SECTORS * 512) as usize];
    driver.disk().media().read(0, &mut after).unwrap();
    let zero: Vec<usize> = (0..SECTORS as usize).filter(|sector| after[sector * 512] == 0).collect();
    assert_eq!(zero, [1, 2, 16, 17, 18, 19, 20, 21, 22, 23, 32]);

    // A flag that discarding does not have, a range beyond the end beside one that is not, too many, none.
    driver.put(DATA, &range(0, 1, 1));
    assert_eq!(driver.request(DISCARD, 0, &[(DATA, 16, false)]), (UNSUPPORTED, 1));
    driver.put(DATA, &[range(0, 1, 0), range(SECTORS, 1, 0)].concat());
    assert_eq!(driver.request(WRITE_ZEROES, 0, &[(DATA, 32, false)]), (ERROR, 1));
    assert_eq!(driver.request(WRITE_ZEROES, 0, &[(DATA, 17 * 16, false)]), (ERROR, 1));
    assert_eq!(driver.request(WRITE_ZEROES, 0, &[]), (ERROR, 1));
    let mut unchanged = vec![0; (SECTORS * 512) as usize];
    driver.disk().media().read(0, &mut unchanged).unwrap();
    assert!(unchanged == after);
}

#[test]
fn the_driver_chooses_the_cache_mode() {
    let mut driver = Driver::blank(FLUSH_FEATURE);
    driver.device_write(32, 1, 0);
    assert_eq!(driver.device_read(32, 1), 1, "not negotiated");
    let mut driver = Driver::blank(FLUSH_FEATURE | CONFIG_WCE);
    driver.device_write(32, 1, 0);
    assert_eq!(driver.device_read(32, 1), 0);
    driver.common_write(0x14, 1, 0);
    assert_eq!(driver.device_read(32, 1), 1);
}

#[test]
fn inta_is_driven_until_the_status_is_read() {
    let mut driver = Driver::new(Media::blank(1 << 20).unwrap(), false);
    driver.negotiate(0);
    driver.set_queue_up(0, 0xffff);
    driver.common_write(0x14, 1, 0xf);
    let line = crate::pci::slot_interrupt(SLOT);
    assert_eq!(driver.request(IN, 0, &[(DATA, 512, true)]).0, OK);
    assert!(driver.bench.lines.is_active(line));
    assert_eq!(driver.config_read(6, 2) & 8, 8);
    driver.config_write(4, 2, 0x406);
    assert!(!driver.bench.lines.is_active(line));
    driver.config_write(4, 2, 0x006);
    assert!(driver.bench.lines.is_active(line));
    assert_eq!((driver.isr(), driver.isr()), (1, 0));
    assert!(!driver.bench.lines.is_active(line));
    assert!(driver.messages().is_empty());
}

#[test]
fn without_bus_mastering_requests_wait() {
    let mut driver = Driver::blank(0);
    driver.config_write(4, 2, 0x002);
    let head = driver.send(IN, 0, &[(DATA, 512, true)]);
    driver.finish();
    assert_eq!((driver.outcome(head), driver.disk().counters().reads), (0xaa, 0));
    driver.config_write(4, 2, 0x006);
    driver.finish();
    assert_eq!(driver.outcome(head), OK);
    assert_eq!(driver.messages(), [0x41]);
}

#[test]
fn a_reset_forgets_requests_in_flight_but_not_what_they_wrote() {
    let mut driver = Driver::blank(0);
    driver.put(DATA, &[1; 512]);
    driver.send(OUT, 0, &[(DATA, 512, false)]);
    driver.common_write(0x14, 1, 0);
    driver.finish();
    assert_eq!(driver.used(), []);
    assert!(driver.messages().is_empty());
    let mut sector = [0; 512];
    driver.disk().media().read(0, &mut sector).unwrap();
    assert_eq!(sector, [1; 512]);
}

#[test]
fn nothing_happens_between_an_event_that_stops_and_the_stop() {
    let mut driver = Driver::blank(0);
    driver.bench.events.stop_at = Some((1, DiskStep::Accepted));
    let heads: Vec<u16> = (0..3).map(|sector| driver.prepare(OUT, sector, &[(DATA, 512, false)])).collect();
    for head in &heads {
        driver.offer(*head);
    }
    driver.notify();
    assert_eq!(driver.disk().counters().writes, 2);
    // The machine goes on: so does the disk.
    driver.bench.events.stop_at = Some((0, DiskStep::Completed));
    driver.step();
    assert_eq!(driver.disk().counters().writes, 3);
    driver.bench.now = driver.bench.now.after(1_000_000);
    driver.step();
    assert_eq!(driver.used(), [(heads[0].into(), 1)]);
    driver.finish();
    assert_eq!(driver.used().len(), 2);
}
