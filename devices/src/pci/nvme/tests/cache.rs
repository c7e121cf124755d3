//! What survives the power, as the driver is told, and how commands fail.

use super::driver::*;
use crate::disk::{Applied, CacheMode, DiskConfig, Fault, FaultOutcome, Kind, Media, Standby};
use crate::pci::nvme::Transitions;
use crate::{Device, DiskStep, Reset};

const FORCE_UNIT_ACCESS: u32 = 1 << 30;
const VOLATILE_WRITE_CACHE: u32 = 6;
const FLUSH: Request = Request { opcode: 0, form: 0, namespace: 1, prp: [0; 2], words: [0; 4] };
const ZEROES: u8 = 8;

fn fua(request: Request) -> Request {
    let mut request = request;
    request.words[2] |= FORCE_UNIT_ACCESS;
    request
}

fn write(driver: &mut Driver, sector: u64) {
    driver.put(DATA, &[sector as u8 + 1; 512]);
    assert_eq!(driver.io(1, sector, 1, [DATA, 0]).status, 0);
}

/// Which of the first sectors are durable.
fn durable(driver: &Driver) -> Vec<u64> {
    let is_durable = |sector: &u64| {
        let mut byte = [0];
        driver.disk().durable().read(512 * sector, &mut byte).unwrap();
        byte[0] == *sector as u8 + 1
    };
    (0..8).filter(is_durable).collect()
}

fn pending(driver: &Driver) -> usize {
    driver.disk().changes().count()
}

/// VWC and ONCS of Identify Controller.
fn announced(driver: &mut Driver) -> (u8, u16) {
    assert_eq!(driver.identify(1, 0).status, 0);
    let page: [u8; 4096] = driver.get(DATA);
    (page[525], u16::from_le_bytes([page[520], page[521]]))
}

#[test]
fn a_flush_and_forced_unit_access_make_durable() {
    let mut driver = Driver::blank();
    write(&mut driver, 0);
    driver.put(DATA, &[2; 512]);
    assert_eq!(driver.request(1, fua(transfer(1, 1, 1, [DATA, 0]))).status, 0);
    assert_eq!(durable(&driver), [1]);
    write(&mut driver, 2);
    assert_eq!(driver.request(1, fua(transfer(2, 2, 1, [DATA, 0]))).status, 0, "a read of what is durable");
    assert_eq!(durable(&driver), [1, 2]);
    assert_eq!(driver.request(1, FLUSH).status, 0);
    assert_eq!(durable(&driver), [0, 1, 2]);
    assert_eq!(driver.io(ZEROES, 0, 1, [0, 0]).status, 0);
    assert_eq!(driver.request(1, fua(transfer(ZEROES, 1, 1, [0, 0]))).status, 0);
    assert_eq!((durable(&driver), pending(&driver)), (vec![0, 2], 1));
    // Deallocate sector 2.
    driver.put(DATA, &[&[0; 4][..], &1u32.to_le_bytes(), &2u64.to_le_bytes()].concat());
    let deallocate =
        Request { opcode: 9, namespace: 1, prp: [DATA, 0], words: [0, 4, 0, 0], ..Request::default() };
    assert_eq!(driver.request(1, deallocate).status, 0);
    assert_eq!((durable(&driver), pending(&driver)), (vec![0, 2], 2));
    assert_eq!(driver.request(1, FLUSH).status, 0);
    assert_eq!((durable(&driver), pending(&driver)), (vec![], 0));
}

#[test]
fn a_cache_that_is_switched_off_is_empty() {
    let mut driver = Driver::blank();
    write(&mut driver, 0);
    driver.put(DATA, &[2; 512]);
    // In flight while the cache is switched off.
    driver.send(1, transfer(1, 1, 1, [DATA, 0]));
    assert_eq!(driver.set_feature(VOLATILE_WRITE_CACHE, 0).status, 0);
    assert_eq!((durable(&driver), pending(&driver)), (vec![0, 1], 0));
    assert_eq!(driver.answers(1).len(), 1);
    write(&mut driver, 2);
    assert_eq!((durable(&driver), driver.disk().counters().flushes), (vec![0, 1, 2], 1));
    // Off already: there is nothing to flush.
    assert_eq!(driver.set_feature(VOLATILE_WRITE_CACHE, 0).status, 0);
    assert_eq!(driver.disk().counters().flushes, 1);
    assert_eq!(driver.set_feature(VOLATILE_WRITE_CACHE, 1).status, 0);
    write(&mut driver, 3);
    assert_eq!(pending(&driver), 1);
    // A reset of the controller switches it on again.
    driver.set_feature(VOLATILE_WRITE_CACHE, 0);
    driver.write(0x14, 4, 0);
    driver.enable();
    driver.create_queues(1);
    write(&mut driver, 4);
    assert_eq!(pending(&driver), 1);
}

#[test]
fn a_cache_is_announced_exactly_if_there_is_one() {
    let mut driver = Driver::blank();
    assert_eq!(announced(&mut driver), (0b111, 0b1_1100));
    let config = DiskConfig { cache: CacheMode::WriteThrough, discard: false, ..DiskConfig::default() };
    let mut driver = Driver::ready_with(config);
    assert_eq!(announced(&mut driver), (0b110, 0b1_1000));
    assert_eq!(driver.get_feature(VOLATILE_WRITE_CACHE).status, 2);
    assert_eq!(driver.set_feature(VOLATILE_WRITE_CACHE, 1).status, 2);
    write(&mut driver, 0);
    assert_eq!(durable(&driver), [0]);
    assert_eq!(driver.request(1, FLUSH).status, 0);
    let deallocate = Request { opcode: 9, namespace: 1, words: [0, 4, 0, 0], ..Request::default() };
    assert_eq!(driver.request(1, deallocate).status, 1);
    let mut driver = Driver::ready(Media::blank(1 << 20).unwrap(), true);
    assert_eq!(announced(&mut driver).0, 0b110);
}

#[test]
fn only_a_shutdown_with_notice_makes_durable() {
    for (notice, survives) in [(0x0046_4001, vec![0]), (0x0046_8001, vec![])] {
        let mut driver = Driver::blank();
        write(&mut driver, 0);
        driver.write(0x14, 4, notice);
        driver.finish();
        assert_eq!(driver.read(0x1c, 4), 0b1001);
        assert_eq!(durable(&driver), survives);
    }
}

#[test]
fn a_controller_reset_keeps_the_cache() {
    let mut driver = Driver::blank();
    write(&mut driver, 0);
    driver.put(DATA, &[2; 512]);
    driver.send(1, transfer(1, 1, 1, [DATA, 0]));
    driver.write(0x14, 4, 0);
    assert_eq!((durable(&driver), pending(&driver)), (vec![], 2));
    driver.enable();
    driver.create_queues(1);
    // A flush covers what had completed, not what the reset cut short.
    assert_eq!(driver.request(1, FLUSH).status, 0);
    assert_eq!((durable(&driver), pending(&driver)), (vec![0], 1));
}

#[test]
fn transitions_are_counted_as_long_as_the_drive_has_power() {
    let losing = || DiskConfig { s3: Standby::PowerLoss, ..DiskConfig::default() };
    for (config, kind, kept) in [
        (DiskConfig::default(), Reset::Line, true),
        (DiskConfig::default(), Reset::Wake, true),
        (losing(), Reset::Wake, false),
        (DiskConfig::default(), Reset::PowerOn, false),
    ] {
        let mut driver = Driver::ready_with(config);
        assert_eq!(driver.set_feature(2, 1).status, 0);
        let counted = Transitions { power_state: 1, ..Transitions::default() };
        assert_eq!(driver.bus.function(SLOT).unwrap().transitions(), Some(counted));
        driver.bus.reset(kind, &mut driver.bench.cx());
        let expected = if kept { counted } else { Transitions::default() };
        assert_eq!(driver.bus.function(SLOT).unwrap().transitions(), Some(expected), "{kind:?}");
    }
    assert_eq!(Driver::blank().bus.function(0).unwrap().transitions(), None);
}

fn fault(kind: Kind, outcome: FaultOutcome) -> Driver {
    let fault = Fault { kind: Some(kind), outcome, ..Fault::default() };
    Driver::ready_with(DiskConfig { faults: vec![fault], ..DiskConfig::default() })
}

#[test]
fn each_kind_of_command_fails_in_its_way_and_once() {
    let failing = FaultOutcome::Fails(Applied::Nothing);
    for (kind, request, status) in [
        (Kind::Read, transfer(2, 0, 1, [DATA, 0]), 0x281),
        (Kind::Write, transfer(1, 0, 1, [DATA, 0]), 0x280),
        (Kind::WriteZeroes, transfer(ZEROES, 0, 1, [0, 0]), 0x280),
        (Kind::Flush, FLUSH, 0x006),
    ] {
        let mut driver = fault(kind, failing);
        driver.bench.events.seen.clear();
        assert_eq!(driver.request(1, request).status, status, "{kind:?}");
        assert_eq!(driver.events(), [(0, DiskStep::Accepted), (0, DiskStep::Failed)]);
        assert_eq!((pending(&driver), driver.disk().media().changed_blocks().count()), (0, 0));
        assert_eq!(driver.request(1, request).status, 0);
    }
}

#[test]
fn a_failed_write_with_forced_unit_access_is_not_durable() {
    let mut driver = fault(Kind::Write, FaultOutcome::Fails(Applied::All));
    driver.put(DATA, &[1; 512]);
    assert_eq!(driver.request(1, fua(transfer(1, 0, 1, [DATA, 0]))).status, 0x280);
    assert_eq!((durable(&driver), pending(&driver)), (vec![], 1));
    assert_eq!(driver.request(1, FLUSH).status, 0);
    assert_eq!(durable(&driver), [0]);
}

#[test]
fn a_command_that_hangs_can_be_aborted() {
    let mut driver = fault(Kind::Write, FaultOutcome::Hangs(Applied::Nothing));
    let identifier = driver.send(1, transfer(1, 0, 1, [DATA, 0]));
    driver.finish();
    assert_eq!((driver.answers(1), driver.bus.deadline()), (vec![], None));
    let abort =
        Request { opcode: 8, words: [u32::from(identifier) << 16 | 1, 0, 0, 0], ..Request::default() };
    assert_eq!(driver.admin(abort).result, 0);
    assert_eq!(driver.answers(1), [Answer { result: 0, identifier, status: 7 }]);
}

#[test]
fn a_shutdown_whose_flush_hangs_does_not_end() {
    let mut driver = fault(Kind::Flush, FaultOutcome::Hangs(Applied::Nothing));
    write(&mut driver, 0);
    driver.write(0x14, 4, 0x0046_4001);
    driver.finish();
    assert_eq!((driver.read(0x1c, 4), driver.bus.deadline()), (0b0101, None));
    driver.write(0x14, 4, 0);
    assert_eq!((driver.read(0x1c, 4), durable(&driver)), (0, vec![]));
}

#[test]
fn a_stop_in_any_step_freezes_that_very_state() {
    // Request 0 is a write, 1 a write with FUA, 2 the flush of a shutdown.
    let scenes = [
        ((0, DiskStep::Completed), 1, vec![], 0b0001),
        ((1, DiskStep::Accepted), 2, vec![], 0b0001),
        ((1, DiskStep::Completed), 1, vec![1], 0b0001),
        ((1, DiskStep::Durable), 1, vec![1], 0b0001),
        ((2, DiskStep::Accepted), 1, vec![1], 0b0101),
        ((2, DiskStep::Completed), 0, vec![0, 1], 0b1001),
        ((0, DiskStep::Durable), 0, vec![0, 1], 0b1001),
    ];
    for (stop_at, changes, survives, status) in scenes {
        let mut driver = Driver::blank();
        driver.bench.events.stop_at = Some(stop_at);
        let mut frozen = None;
        let mut look = |driver: &mut Driver| {
            if driver.bench.events.last_disk_step() == Some(stop_at) {
                frozen.get_or_insert((pending(driver), durable(driver), driver.read(0x1c, 4)));
            }
        };
        for (sector, forced) in [(0, false), (1, true)] {
            driver.put(DATA, &[sector as u8 + 1; 512]);
            let request = transfer(1, sector, 1, [DATA, 0]);
            driver.send(1, if forced { fua(request) } else { request });
            look(&mut driver);
            while driver.answers(1).is_empty() {
                driver.step();
                look(&mut driver);
            }
        }
        driver.write(0x14, 4, 0x0046_4001);
        look(&mut driver);
        while driver.bus.deadline().is_some() {
            driver.step();
            look(&mut driver);
        }
        assert_eq!(frozen, Some((changes, survives, status)), "{stop_at:?}");
        assert_eq!((durable(&driver), pending(&driver), driver.read(0x1c, 4)), (vec![0, 1], 0, 0b1001));
    }
}
