//! Starting, stopping, and what the controller says of itself.

use super::driver::*;
use crate::Event;
use crate::disk::Media;
use crate::pci::nvme::Transitions;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches([' ', '\0']).to_owned()
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

#[test]
fn registers_at_reset() {
    let mut driver = Driver::new(Media::blank(1 << 20).unwrap(), false);
    let registers: Vec<String> =
        (0..0x40).step_by(4).map(|offset| format!("{offset:02x}: {:08x}", driver.read(offset, 4))).collect();
    insta::assert_snapshot!(registers.join("\n"));
    assert_eq!(driver.read(0, 8), 0x0000_0020_0401_03ff);
}

#[test]
fn what_the_controller_says_of_itself() {
    let mut driver = Driver::blank();
    assert_eq!(driver.identify(1, 0).status, 0);
    let page: [u8; 4096] = driver.get(DATA);
    let fields = [
        ("vid", 0, 2),
        ("mdts", 77, 1),
        ("cntlid", 78, 2),
        ("ver", 80, 4),
        ("cntrltype", 111, 1),
        ("oacs", 256, 2),
        ("acl", 258, 1),
        ("aerl", 259, 1),
        ("frmw", 260, 1),
        ("lpa", 261, 1),
        ("npss", 263, 1),
        ("wctemp", 266, 2),
        ("cctemp", 268, 2),
        ("sqes", 512, 1),
        ("cqes", 513, 1),
        ("nn", 516, 4),
        ("oncs", 520, 2),
        ("vwc", 525, 1),
        ("sgls", 536, 4),
        ("ps0 mp", 2048, 2),
        ("ps1 mp", 2080, 2),
        ("ps1 flags", 2083, 1),
    ];
    let mut lines: Vec<String> = fields
        .iter()
        .map(|(name, at, size)| format!("{name} {:#x}", number(&page[*at..at + size])))
        .collect();
    lines.push(format!("sn {}", text(&page[4..24])));
    lines.push(format!("mn {}", text(&page[24..64])));
    lines.push(format!("subnqn {}", text(&page[768..1024])));
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_there_is_of_namespaces() {
    let mut driver = Driver::ready(Media::blank(SECTORS * 512).unwrap(), true);
    assert_eq!(driver.identify(0, 1).status, 0);
    let page: [u8; 4096] = driver.get(DATA);
    assert_eq!(
        (number(&page[..8]), number(&page[8..16]), page[33], page[99], page[130]),
        (SECTORS, SECTORS, 9, 1, 9)
    );
    let unique = page[104..120].to_vec();
    assert_eq!(driver.identify(2, 0).status, 0);
    assert_eq!(driver.get::<8>(DATA), [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(driver.identify(2, 1).status, 0);
    assert_eq!(driver.get::<4>(DATA), [0; 4]);
    assert_eq!(driver.identify(3, 1).status, 0);
    assert_eq!(driver.get::<20>(DATA).to_vec(), [&[2, 16, 0, 0], &unique[..]].concat());
    assert_eq!(driver.identify(6, 0).status, 0);
    assert_eq!(driver.get::<8>(DATA), [0, 0, 0, 16, 0, 0, 1, 0]);
    for (cns, namespace, status) in
        [(0, 2, 0xb), (0, 0xffff_ffff, 0xb), (3, 2, 0xb), (2, 0xffff_ffff, 0xb), (0x1c, 0, 2)]
    {
        assert_eq!(driver.identify(cns, namespace).status, status, "CNS {cns}");
    }
}

#[test]
fn features_hold_what_can_be_changed() {
    let mut driver = Driver::blank();
    assert_eq!(driver.set_feature(7, 0x001f_001f).result, 0x0001_0001);
    assert_eq!(driver.set_feature(7, 0xffff_0000).status, 2);
    assert_eq!(driver.get_feature(6).result, 1);
    assert_eq!(driver.set_feature(6, 0).status, 0);
    assert_eq!(driver.get_feature(6).result, 0);
    // The default, and that it can be changed.
    assert_eq!(driver.get_feature(0x106).result, 1);
    assert_eq!(driver.get_feature(0x306).result, 4);
    assert_eq!(driver.set_feature(0x8000_0006, 1).status, 0x10d);
    assert_eq!(driver.set_feature(2, 1).status, 0);
    assert_eq!(driver.set_feature(2, 1).status, 0);
    assert_eq!(driver.set_feature(2, 2).status, 2);
    assert_eq!(driver.get_feature(2).result, 1);
    assert_eq!(driver.transitions(), Transitions { power_state: 1, ..Transitions::default() });
    assert_eq!(driver.set_feature(9, 0).status, 0x10e);
    for unknown in [0, 0x0c, 0x7f, 0xd0] {
        assert_eq!(driver.set_feature(unknown, 0).status, 2);
        assert_eq!(driver.get_feature(unknown).status, 2);
    }
    // A reset of the controller brings the defaults back.
    driver.write(0x14, 4, 0);
    driver.enable();
    assert_eq!(driver.get_feature(6).result, 1);
}

#[test]
fn a_shutdown_with_notice_flushes_first() {
    let mut driver = Driver::blank();
    driver.write(0x14, 4, 0x0046_4001);
    assert_eq!(driver.read(0x1c, 4), 0b0101);
    driver.finish();
    assert_eq!(driver.read(0x1c, 4), 0b1001);
    assert_eq!(driver.disk().counters().flushes, 1);
    // The same notice again is none.
    driver.write(0x14, 4, 0x0046_4001);
    driver.write(0x14, 4, 0);
    assert_eq!(driver.read(0x1c, 4), 0);
    driver.enable();
    driver.write(0x14, 4, 0x0046_8001);
    assert_eq!(driver.read(0x1c, 4), 0b1001);
    assert_eq!(driver.transitions(), Transitions { shutdowns: 1, abrupt_shutdowns: 1, power_state: 0 });
    assert_eq!(driver.disk().counters().flushes, 1);
}

#[test]
fn a_configuration_that_is_not_offered_is_fatal() {
    for configuration in [0x0046_0011, 0x0046_0081, 0x0046_0801] {
        let mut driver = Driver::new(Media::blank(1 << 20).unwrap(), false);
        driver.write(0x24, 4, 0x000f_000f);
        driver.write(0x14, 4, configuration);
        assert_eq!(driver.read(0x1c, 4), 2, "{configuration:x}");
        driver.write(0x14, 4, 0);
        assert_eq!(driver.read(0x1c, 4), 0);
    }
    // Queues of one entry.
    let mut driver = Driver::new(Media::blank(1 << 20).unwrap(), false);
    driver.write(0x14, 4, 0x0046_0001);
    assert_eq!(driver.read(0x1c, 4), 2);
}

#[test]
fn inta_is_driven_while_answers_wait() {
    let mut driver = Driver::new(Media::blank(1 << 20).unwrap(), false);
    let line = crate::pci::slot_interrupt(SLOT);
    driver.enable();
    driver.send(0, Request { opcode: 10, words: [6, 0, 0, 0], ..Request::default() });
    driver.finish();
    assert!(driver.bench.lines.is_active(line));
    driver.write(0x0c, 4, 1);
    assert!(!driver.bench.lines.is_active(line));
    assert_eq!(driver.read(0x0c, 4), 1);
    driver.write(0x10, 4, 1);
    assert!(driver.bench.lines.is_active(line));
    assert_eq!(driver.answers(0).len(), 1);
    assert!(!driver.bench.lines.is_active(line));
}

#[test]
fn logs() {
    let mut driver = Driver::blank();
    driver.io(2, 0, 8, [DATA, 0]);
    let log = |driver: &mut Driver, log: u32, bytes: u32| {
        let words = [(bytes / 4 - 1) << 16 | log, 0, 0, 0];
        driver
            .admin(Request { opcode: 2, namespace: 0xffff_ffff, prp: [DATA, 0], words, ..Request::default() })
            .status
    };
    assert_eq!(log(&mut driver, 2, 512), 0);
    let page: [u8; 512] = driver.get(DATA);
    assert_eq!(
        (page[0], number(&page[1..3]), page[3], number(&page[32..48]), number(&page[64..80])),
        (0, 303, 100, 1, 1)
    );
    assert_eq!(log(&mut driver, 3, 512), 0);
    assert_eq!(driver.get::<1>(DATA), [1]);
    assert_eq!(log(&mut driver, 1, 64), 0);
    assert_eq!(log(&mut driver, 0x80, 64), 0x109);
}

#[test]
fn enabling_and_disabling_are_events() {
    let mut driver = Driver::blank();
    let seen = |driver: &mut Driver| {
        let seen = std::mem::take(&mut driver.bench.events.seen);
        seen.into_iter().filter(|event| matches!(event, Event::FrontEnd { .. })).collect::<Vec<_>>()
    };
    let disk = driver.disk().config().id;
    assert_eq!(seen(&mut driver), [Event::FrontEnd { disk, started: true }]);
    driver.write(0x14, 4, 0);
    assert_eq!(seen(&mut driver), [Event::FrontEnd { disk, started: false }]);
    driver.enable();
    assert_eq!(seen(&mut driver), [Event::FrontEnd { disk, started: true }]);
}
