//! What survives the power, as the driver is told.

use std::sync::Arc;

use super::driver::*;
use crate::disk::{
    Applied, BaseError, CacheMode, DiskConfig, Extent, Fault, FaultOutcome, Kind, Media, MemoryBase, Times,
};
use crate::{Device, DiskStep, Reset};

const FLUSH_FEATURE: u64 = 1 << 9;
const CONFIG_WCE: u64 = 1 << 11;
const DISCARD_FEATURE: u64 = 1 << 13;
const WRITE_ZEROES_FEATURE: u64 = 1 << 14;
/// Offset of the writeback field.
const WRITE_BACK: u64 = 32;
const OK: u8 = 0;
const ERROR: u8 = 1;

fn write(driver: &mut Driver, sector: u64) {
    driver.put(DATA, &[sector as u8 + 1; 512]);
    assert_eq!(driver.request(OUT, sector, &[(DATA, 512, false)]), (OK, 1));
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

fn offered(driver: &mut Driver) -> u64 {
    driver.common_read(0x04, 4)
}

#[test]
fn a_driver_that_can_flush_has_to() {
    let mut driver = Driver::blank(FLUSH_FEATURE);
    write(&mut driver, 0);
    write(&mut driver, 1);
    assert_eq!((durable(&driver), driver.disk().changes().count()), (vec![], 2));
    assert_eq!(driver.request(FLUSH, 0, &[]), (OK, 1));
    assert_eq!((durable(&driver), driver.disk().changes().count()), (vec![0, 1], 0));
}

#[test]
fn a_driver_that_can_neither_flush_nor_choose_need_not() {
    let mut driver = Driver::blank(0);
    write(&mut driver, 0);
    assert_eq!(durable(&driver), [0]);
}

#[test]
fn a_driver_that_chooses_write_through_has_what_it_writes_from_then_on() {
    let mut driver = Driver::blank(FLUSH_FEATURE | CONFIG_WCE);
    write(&mut driver, 0);
    driver.device_write(WRITE_BACK, 1, 0);
    write(&mut driver, 1);
    assert_eq!(durable(&driver), [1], "what was written before needs a flush");
    driver.device_write(WRITE_BACK, 1, 1);
    write(&mut driver, 2);
    assert_eq!(durable(&driver), [1]);
    // It has to be off from the submission of a write to its completion.
    driver.device_write(WRITE_BACK, 1, 0);
    driver.put(DATA, &[4; 512]);
    driver.send(OUT, 3, &[(DATA, 512, false)]);
    driver.device_write(WRITE_BACK, 1, 1);
    driver.device_write(WRITE_BACK, 1, 0);
    driver.finish();
    assert_eq!(durable(&driver), [1]);
    driver.used();
    driver.request(FLUSH, 0, &[]);
    assert_eq!(durable(&driver), [0, 1, 2, 3]);
}

#[test]
fn a_driver_that_can_choose_and_not_flush_finds_write_through() {
    let mut driver = Driver::blank(CONFIG_WCE);
    assert_eq!(driver.device_read(WRITE_BACK, 1), 0);
    write(&mut driver, 0);
    assert_eq!(durable(&driver), [0]);
    driver.device_write(WRITE_BACK, 1, 1);
    write(&mut driver, 1);
    assert_eq!((driver.device_read(WRITE_BACK, 1), durable(&driver)), (1, vec![0]));
}

#[test]
fn what_is_announced_is_what_there_is() {
    let all = FLUSH_FEATURE | CONFIG_WCE | DISCARD_FEATURE | WRITE_ZEROES_FEATURE;
    let mut driver = Driver::ready_with(DiskConfig::default(), 0);
    assert_eq!((offered(&mut driver) & all, driver.device_read(WRITE_BACK, 1)), (all, 1));
    let config = DiskConfig { cache: CacheMode::WriteThrough, discard: false, ..DiskConfig::default() };
    let mut driver = Driver::ready_with(config, WRITE_ZEROES_FEATURE);
    assert_eq!(offered(&mut driver) & all, WRITE_ZEROES_FEATURE);
    assert_eq!((driver.device_read(WRITE_BACK, 1), driver.device_read(56, 1)), (0, 0));
    write(&mut driver, 0);
    assert_eq!(durable(&driver), [0]);
    assert_eq!(driver.request(FLUSH, 0, &[]), (OK, 1));
    let mut driver = Driver::new(Media::blank(1 << 20).unwrap(), true);
    assert_eq!(offered(&mut driver) & all, 0);
}

#[test]
fn discards_and_zeros_are_changes() {
    let mut driver = Driver::blank(FLUSH_FEATURE | DISCARD_FEATURE | WRITE_ZEROES_FEATURE);
    for sector in 0..3 {
        write(&mut driver, sector);
    }
    driver.request(FLUSH, 0, &[]);
    let range = |sector: u64| [&sector.to_le_bytes()[..], &1u32.to_le_bytes(), &[0; 4]].concat();
    for (kind, sector) in [(DISCARD, 0), (WRITE_ZEROES, 1)] {
        driver.put(DATA, &range(sector));
        assert_eq!(driver.request(kind, 0, &[(DATA, 16, false)]), (OK, 1));
    }
    assert_eq!((durable(&driver), driver.disk().changes().count()), (vec![0, 1, 2], 2));
    driver.request(FLUSH, 0, &[]);
    assert_eq!(durable(&driver), [2]);
}

#[test]
fn what_was_written_destages_though_its_driver_is_gone() {
    let config = DiskConfig { destage_after: Some(1_000_000), ..DiskConfig::default() };
    let mut driver = Driver::ready_with(config, FLUSH_FEATURE);
    for (sector, completes) in [(0, true), (1, false)] {
        driver.put(DATA, &[sector as u8 + 1; 512]);
        driver.send(OUT, sector, &[(DATA, 512, false)]);
        if completes {
            driver.step();
        }
    }
    driver.common_write(0x14, 1, 0);
    assert_eq!((durable(&driver), driver.disk().changes().count()), (vec![], 2));
    driver.finish();
    assert_eq!(durable(&driver), [0, 1]);
    assert_eq!(driver.bus.deadline(), None);
}

/// A fault of the first request of a kind.
fn fault(kind: Kind, outcome: FaultOutcome) -> DiskConfig {
    let fault = Fault { kind: Some(kind), outcome, ..Fault::default() };
    DiskConfig { faults: vec![fault], ..DiskConfig::default() }
}

#[test]
fn requests_fail_as_asked_for_and_once() {
    let failing = FaultOutcome::Fails(Applied::Nothing);
    let mut driver = Driver::ready_with(fault(Kind::Read, failing), FLUSH_FEATURE);
    assert_eq!(driver.request(IN, 0, &[(DATA, 512, true)]), (ERROR, 0));
    assert_eq!(driver.request(IN, 0, &[(DATA, 512, true)]), (OK, 513));
    let steps: Vec<DiskStep> = driver.events().into_iter().map(|(_, step)| step).collect();
    assert_eq!(steps, [DiskStep::Accepted, DiskStep::Failed, DiskStep::Accepted, DiskStep::Completed]);

    let mut driver = Driver::ready_with(fault(Kind::Write, failing), FLUSH_FEATURE);
    driver.put(DATA, &[1; 512]);
    assert_eq!(driver.request(OUT, 0, &[(DATA, 512, false)]), (ERROR, 1));
    assert_eq!((driver.disk().changes().count(), driver.disk().media().changed_blocks().count()), (0, 0));

    let mut driver = Driver::ready_with(fault(Kind::Flush, failing), FLUSH_FEATURE);
    write(&mut driver, 0);
    assert_eq!(driver.request(FLUSH, 0, &[]), (ERROR, 1));
    assert!(durable(&driver).is_empty());
    assert_eq!(driver.request(FLUSH, 0, &[]), (OK, 1));
    assert_eq!(
        (durable(&driver), driver.disk().counters().failed, driver.disk().host_errors()),
        (vec![0], 1, 0)
    );
}

#[test]
fn a_sector_that_always_fails_stays_so_and_others_do_not() {
    let bad = Fault {
        kind: Some(Kind::Read),
        extent: Some(Extent { sector: 5, sectors: 1 }),
        times: Times::Always,
        ..Fault::default()
    };
    let config = DiskConfig { faults: vec![bad], ..DiskConfig::default() };
    let mut driver = Driver::ready_with(config, FLUSH_FEATURE);
    for _ in 0..3 {
        assert_eq!(driver.request(IN, 4, &[(DATA, 1024, true)]), (ERROR, 0));
        assert_eq!(driver.request(IN, 4, &[(DATA, 512, true)]), (OK, 513));
    }
    driver.bus.reset(Reset::PowerOn, &mut driver.bench.cx());
    assert_eq!(driver.disk().counters().failed, 0);
}

#[test]
fn what_a_failing_write_did_is_there_and_a_flush_covers_it() {
    let mut driver =
        Driver::ready_with(fault(Kind::Write, FaultOutcome::Fails(Applied::Units(2))), FLUSH_FEATURE);
    driver.put(DATA, &[[1; 512], [2; 512], [3; 512]].concat());
    assert_eq!(driver.request(OUT, 0, &[(DATA, 1536, false)]), (ERROR, 1));
    let extents: Vec<Extent> = driver.disk().changes().map(|change| change.extent).collect();
    assert_eq!(extents, [Extent { sector: 0, sectors: 2 }]);
    driver.request(FLUSH, 0, &[]);
    assert_eq!(durable(&driver), [0, 1]);
}

#[test]
fn a_request_that_hangs_ends_with_a_reset() {
    let mut driver = Driver::ready_with(fault(Kind::Write, FaultOutcome::Hangs(Applied::All)), FLUSH_FEATURE);
    driver.put(DATA, &[1; 512]);
    let hangs = driver.send(OUT, 0, &[(DATA, 512, false)]);
    driver.finish();
    assert_eq!((driver.outcome(hangs), driver.bus.deadline()), (0xaa, None));
    assert_eq!(driver.request(FLUSH, 0, &[]), (OK, 1));
    assert_eq!((durable(&driver), driver.disk().changes().count()), (vec![], 1));
    driver.common_write(0x14, 1, 0);
    driver.finish();
    assert_eq!(driver.outcome(hangs), 0xaa);
    assert!(driver.disk().changes().all(|change| change.completed.is_none()));
}

/// A base that is there when it is looked at first.
#[derive(Debug)]
struct Truncated(MemoryBase);

impl crate::disk::Base for Truncated {
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), BaseError> {
        if offset < 4096 {
            self.0.read(offset, into)
        } else {
            Err(BaseError::Host { offset, reason: "gone".into() })
        }
    }
}

#[test]
fn a_base_that_goes_away_is_an_error_and_counted() {
    let base = Truncated(MemoryBase(vec![7; 1 << 20]));
    let mut driver = Driver::ready(Media::over(Arc::new(base)).unwrap(), false, FLUSH_FEATURE);
    assert_eq!(driver.request(IN, 0, &[(DATA, 512, true)]), (OK, 513));
    assert_eq!(driver.request(IN, 8, &[(DATA, 512, true)]), (ERROR, 0));
    // A part of a block needs the rest of it, a whole one does not.
    assert_eq!(driver.request(OUT, 8, &[(DATA, 512, false)]), (ERROR, 1));
    assert_eq!(driver.request(OUT, 8, &[(DATA, 4096, false)]), (OK, 1));
    assert_eq!((driver.disk().host_errors(), driver.disk().counters().failed), (2, 2));
    driver.bus.reset(Reset::PowerOn, &mut driver.bench.cx());
    assert_eq!((driver.disk().host_errors(), driver.disk().counters().failed), (2, 0));
}

/// Stops at a step of a request and looks at what the disk and the guest know then; later it goes on as if nothing had been.
#[test]
fn a_stop_in_any_step_freezes_that_very_state() {
    let config = || DiskConfig { destage_after: Some(10_000_000), ..DiskConfig::default() };
    let scenes = [
        // Request 0 is a write, 1 a flush, 2 a write that destages.
        ((0, DiskStep::Accepted), 1, 0, vec![]),
        ((0, DiskStep::Completed), 1, 1, vec![]),
        ((1, DiskStep::Accepted), 1, 1, vec![]),
        ((1, DiskStep::Completed), 0, 2, vec![0]),
        ((0, DiskStep::Durable), 0, 2, vec![0]),
        ((2, DiskStep::Durable), 0, 3, vec![0, 2]),
    ];
    for (stop_at, changes, answered, survives) in scenes {
        let mut driver = Driver::ready_with(config(), FLUSH_FEATURE);
        driver.bench.events.stop_at = Some(stop_at);
        let (mut answers, mut frozen) = (0, None);
        let mut look = |driver: &mut Driver| {
            answers += driver.used().len();
            if driver.bench.events.last_disk_step() == Some(stop_at) {
                frozen.get_or_insert((driver.disk().changes().count(), answers, durable(driver)));
            }
        };
        for (kind, sector) in [(OUT, 0), (FLUSH, 0), (OUT, 2)] {
            driver.put(DATA, &[sector as u8 + 1; 512]);
            let data = [(DATA, 512, false)];
            let head = driver.send(kind, sector, if kind == OUT { &data } else { &[] });
            look(&mut driver);
            while driver.outcome(head) == 0xaa {
                driver.step();
                look(&mut driver);
            }
        }
        while driver.bus.deadline().is_some() {
            driver.step();
            look(&mut driver);
        }
        assert_eq!(frozen, Some((changes, answered, survives)), "{stop_at:?}");
        assert_eq!((durable(&driver), driver.disk().changes().count()), (vec![0, 2], 0));
    }
}
