//! Finding and starting the device.

use super::driver::*;
use crate::Event;
use crate::disk::Media;

fn driver() -> Driver {
    Driver::new(Media::blank(SECTORS * 512).unwrap(), false)
}

/// What Linux's virtio_pci_modern and virtio_blk do, in their order.
#[test]
fn as_linux_starts_it() {
    let mut driver = driver();
    driver.trace = Some(Vec::new());
    driver.common_write(0x14, 1, 0);
    while driver.status() != 0 {}
    driver.common_write(0x14, 1, 1);
    let status = driver.status();
    driver.common_write(0x14, 1, status | 2);
    for select in [0, 1] {
        driver.common_write(0x00, 4, select);
        driver.common_read(0x04, 4);
    }
    for (select, features) in [(0, 0x3000_7646), (1, 1)] {
        driver.common_write(0x08, 4, select);
        driver.common_write(0x0c, 4, features);
    }
    let status = driver.status();
    driver.common_write(0x14, 1, status | 8);
    driver.status();
    driver.common_write(0x10, 2, 0);
    driver.common_read(0x10, 2);
    driver.common_read(0x12, 2);
    driver.common_write(0x16, 2, 0);
    driver.common_read(0x18, 2);
    driver.common_read(0x1c, 2);
    driver.common_write(0x18, 2, 128);
    driver.set_queue_up(0, 1);
    driver.common_read(0x1a, 2);
    driver.common_read(0x1e, 2);
    let status = driver.status();
    driver.common_write(0x14, 1, status | 4);
    driver.status();
    insta::assert_snapshot!(driver.trace.take().unwrap().join("\n"));
}

#[test]
fn the_configuration_of_the_device() {
    let mut driver = driver();
    let fields = [
        ("capacity", 0, 8),
        ("size_max", 8, 4),
        ("seg_max", 12, 4),
        ("geometry", 16, 4),
        ("blk_size", 20, 4),
        ("physical_block_exp", 24, 1),
        ("alignment_offset", 25, 1),
        ("min_io_size", 26, 2),
        ("opt_io_size", 28, 4),
        ("writeback", 32, 1),
        ("num_queues", 34, 2),
        ("max_discard_sectors", 36, 4),
        ("max_discard_seg", 40, 4),
        ("discard_sector_alignment", 44, 4),
        ("max_write_zeroes_sectors", 48, 4),
        ("max_write_zeroes_seg", 52, 4),
        ("write_zeroes_may_unmap", 56, 1),
        ("beyond", 60, 4),
    ];
    let values: Vec<String> = fields
        .iter()
        .map(|(name, offset, size)| format!("{name} {}", driver.device_read(*offset, *size)))
        .collect();
    insta::assert_snapshot!(values.join("\n"));
}

#[test]
fn the_capabilities() {
    let mut driver = driver();
    let all: Vec<u64> =
        [9, 0x11].into_iter().flat_map(|identifier| driver.capabilities(identifier)).collect();
    let mut lines = Vec::new();
    for at in all {
        let length = if driver.config_read(at, 1) == 9 { driver.config_read(at + 2, 1) } else { 12 };
        let bytes: Vec<String> =
            (at..at + length).map(|at| format!("{:02x}", driver.config_read(at, 1))).collect();
        lines.push(format!("{at:02x}: {}", bytes.join(" ")));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn features_that_are_not_offered_are_not_agreed_upon() {
    let mut driver = driver();
    for (low, high) in [(0, 0), (1 << 4, 1), (0, 3)] {
        driver.common_write(0x14, 1, 0);
        driver.common_write(0x14, 1, 3);
        for (select, half) in [(0, low), (1, high)] {
            driver.common_write(0x08, 4, select);
            driver.common_write(0x0c, 4, half);
        }
        driver.common_write(0x14, 1, 0xb);
        assert_eq!(driver.status(), 3);
        driver.common_write(0x14, 1, 0xf);
        assert_eq!(driver.status(), 3);
    }
}

#[test]
fn features_are_fixed_once_agreed_upon() {
    let mut driver = driver();
    driver.negotiate(1 << 9);
    driver.common_write(0x08, 4, 0);
    driver.common_write(0x0c, 4, 0);
    assert_eq!(driver.common_read(0x0c, 4), 1 << 9);
}

#[test]
fn a_vector_that_is_not_there_reads_back_as_none() {
    let mut driver = driver();
    driver.negotiate(0);
    for (offset, vector, reads) in [(0x10, 2, 2), (0x10, 3, 0xffff), (0x1a, 1, 1), (0x1a, 0xfffe, 0xffff)] {
        driver.common_write(offset, 2, vector);
        assert_eq!(driver.common_read(offset, 2), reads);
    }
}

#[test]
fn a_queue_that_is_not_there_has_size_0() {
    let mut driver = driver();
    driver.common_write(0x16, 2, 2);
    assert_eq!(driver.common_read(0x18, 2), 0);
    driver.common_write(0x18, 2, 8);
    driver.common_write(0x1c, 2, 1);
    assert_eq!((driver.common_read(0x1c, 2), driver.status()), (0, 0));
}

#[test]
fn registers_are_reached_through_configuration_space() {
    let mut driver = driver();
    let at = *driver.capabilities(9).last().unwrap();
    assert_eq!(driver.config_read(at + 3, 1), 5);
    let select = |driver: &mut Driver, bar, offset, length| {
        driver.config_write(at + 4, 1, bar);
        driver.config_write(at + 8, 4, offset);
        driver.config_write(at + 12, 4, length);
    };
    // Status of the common structure.
    select(&mut driver, 0, 0x14, 1);
    driver.config_write(at + 16, 1, 3);
    assert_eq!(driver.status(), 3);
    assert_eq!(driver.config_read(at + 16, 1), 3);
    // Number of queues.
    select(&mut driver, 0, 0x12, 2);
    assert_eq!(driver.config_read(at + 16, 2), 2);
    // Unaligned, too long, beyond the end, no BAR: nothing happens.
    for (bar, offset, length) in [(0, 0x15, 2), (0, 0x10, 8), (0, 0xffff_fff0, 4), (5, 0x14, 1)] {
        select(&mut driver, bar, offset, length);
        driver.config_write(at + 16, 4, 0);
        driver.config_read(at + 16, 4);
    }
    assert_eq!(driver.status(), 3);
}

#[test]
fn starting_and_resetting_are_events_and_only_then() {
    let mut driver = driver();
    let seen = |driver: &mut Driver| {
        let seen = std::mem::take(&mut driver.bench.events.seen);
        seen.into_iter().filter(|event| matches!(event, Event::FrontEnd { .. })).collect::<Vec<_>>()
    };
    let disk = driver.disk().config().id;
    // A reset of what was not started is none.
    driver.common_write(0x14, 1, 0);
    driver.negotiate(0);
    assert_eq!(seen(&mut driver), []);
    driver.common_write(0x14, 1, 0xf);
    driver.common_write(0x14, 1, 0xf);
    assert_eq!(seen(&mut driver), [Event::FrontEnd { disk, started: true }]);
    driver.common_write(0x14, 1, 0);
    driver.common_write(0x14, 1, 0);
    assert_eq!(seen(&mut driver), [Event::FrontEnd { disk, started: false }]);
}
