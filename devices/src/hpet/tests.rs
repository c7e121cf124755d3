use proptest::prelude::*;

use super::*;
use crate::Message;
use crate::bench::{Bench, abuses};

fn hpet(can_replace: bool) -> (Bench, Hpet) {
    (Bench::new(), Hpet::new(Config { can_replace }))
}

fn read(bench: &mut Bench, hpet: &mut Hpet, offset: u64) -> u64 {
    hpet.read(ADDRESS + offset, 4, &mut bench.cx())
}

fn write(bench: &mut Bench, hpet: &mut Hpet, offset: u64, value: u64) {
    hpet.write(ADDRESS + offset, 4, value, &mut bench.cx());
}

#[test]
fn linux_finds_a_counter() {
    let (mut bench, mut hpet) = hpet(false);
    assert_eq!(read(&mut bench, &mut hpet, 0x04), 10_000_000, "femtoseconds a count");
    assert_eq!(read(&mut bench, &mut hpet, 0x00), 0x8086_2201);
    write(&mut bench, &mut hpet, 0x10, 0);
    write(&mut bench, &mut hpet, 0xF0, 0);
    write(&mut bench, &mut hpet, 0xF4, 0);
    write(&mut bench, &mut hpet, 0x10, 1);
    let first = read(&mut bench, &mut hpet, 0xF0);
    bench.pass(&mut hpet, 1_000_000);
    assert_eq!(read(&mut bench, &mut hpet, 0xF0) - first, 100_000);
    assert_eq!(hpet.deadline(), None);
    // It stands while it is off, and goes on from there.
    write(&mut bench, &mut hpet, 0x10, 0);
    bench.pass(&mut hpet, 1_000_000);
    write(&mut bench, &mut hpet, 0x10, 1);
    assert_eq!(read(&mut bench, &mut hpet, 0xF0) - first, 100_000);
}

#[test]
fn legacy_devices_are_replaced_only_if_that_exists() {
    let (mut bench, mut without) = hpet(false);
    write(&mut bench, &mut without, 0x10, 3);
    assert!(!without.replaces());
    assert_eq!(read(&mut bench, &mut without, 0x10), 1);
    let (mut bench, mut with) = hpet(true);
    assert_eq!(read(&mut bench, &mut with, 0x00) & 0x8000, 0x8000);
    write(&mut bench, &mut with, 0x10, 3);
    assert!(with.replaces());
}

/// As Linux programs its periodic tick (hpet_clkevt_set_state_periodic): value by "set value", then the period.
#[test]
fn a_periodic_timer_replaces_the_interval_timer() {
    let (mut bench, mut hpet) = hpet(true);
    write(&mut bench, &mut hpet, 0x10, 3);
    let configuration = read(&mut bench, &mut hpet, 0x100);
    write(&mut bench, &mut hpet, 0x100, configuration | 0x14C);
    write(&mut bench, &mut hpet, 0x108, 400_000);
    write(&mut bench, &mut hpet, 0x108, 100_000);
    for due in [4_000_000, 5_000_000, 6_000_000] {
        assert_eq!(hpet.deadline(), Some(VirtualTime(due)));
        bench.now = VirtualTime(due);
        hpet.tick(&mut bench.cx());
        assert_eq!(bench.lines.take_risen(), 1 << 24);
    }
    bench.now = VirtualTime(20_500_000);
    hpet.tick(&mut bench.cx());
    assert_eq!(bench.lines.take_risen(), 1 << 24, "what was missed is one interrupt");
    assert_eq!(hpet.deadline(), Some(VirtualTime(21_000_000)));
}

#[test]
fn a_level_lasts_until_it_is_cleared() {
    let (mut bench, mut hpet) = hpet(false);
    write(&mut bench, &mut hpet, 0x140, 11 << 9 | 0x06);
    write(&mut bench, &mut hpet, 0x148, 100);
    write(&mut bench, &mut hpet, 0x14C, 0);
    write(&mut bench, &mut hpet, 0x10, 1);
    bench.pass(&mut hpet, 999);
    assert!(!bench.lines.is_active(Gsi(11)));
    bench.pass(&mut hpet, 1);
    assert!(bench.lines.is_active(Gsi(11)));
    assert_eq!(read(&mut bench, &mut hpet, 0x20), 4);
    assert_eq!(hpet.deadline(), None, "nothing more until it is cleared, and then not for 64 bits");
    write(&mut bench, &mut hpet, 0x20, 3);
    assert!(bench.lines.is_active(Gsi(11)), "other timers");
    write(&mut bench, &mut hpet, 0x20, 4);
    assert!(!bench.lines.is_active(Gsi(11)));
}

#[test]
fn a_message_goes_where_the_guest_says() {
    let (mut bench, mut hpet) = hpet(false);
    write(&mut bench, &mut hpet, 0x120, 0x4004);
    write(&mut bench, &mut hpet, 0x130, 0x41);
    write(&mut bench, &mut hpet, 0x134, 0xFEE0_1000);
    hpet.write(ADDRESS + 0x128, 8, 50, &mut bench.cx());
    write(&mut bench, &mut hpet, 0x10, 1);
    bench.pass(&mut hpet, 500);
    assert_eq!(bench.messages, [Message { address: 0xFEE0_1000, data: 0x41 }]);
    assert_eq!(bench.lines.active | bench.lines.risen, 0);
}

#[test]
fn only_a_route_that_exists_is_taken() {
    let (mut bench, mut hpet) = hpet(false);
    for route in 0..32u64 {
        write(&mut bench, &mut hpet, 0x100, route << 9);
        let taken = read(&mut bench, &mut hpet, 0x100) >> 9 & 0x1F == route;
        let offered = read(&mut bench, &mut hpet, 0x104) & 1 << route != 0;
        assert_eq!(taken, offered || route == 0, "{route}");
    }
}

#[test]
fn thirty_two_bits_come_round() {
    let (mut bench, mut hpet) = hpet(false);
    write(&mut bench, &mut hpet, 0x100, 11 << 9 | 0x104);
    write(&mut bench, &mut hpet, 0x108, 5);
    write(&mut bench, &mut hpet, 0xF0, 10);
    write(&mut bench, &mut hpet, 0x10, 1);
    let due = ((1u64 << 32) - 5) * 10;
    assert_eq!(hpet.deadline(), Some(VirtualTime(due)));
    bench.pass(&mut hpet, due);
    assert_eq!(bench.lines.take_risen(), 1 << 11);
    assert_eq!(hpet.deadline(), Some(VirtualTime(due + 10 * (1 << 32))), "once more each time round");
}

proptest! {
    #[test]
    fn no_guest_breaks_it(abuses in abuses(), can_replace: bool) {
        let (mut bench, mut hpet) = hpet(can_replace);
        let registers = [0x00, 0x10, 0x10, 0x20, 0xF0, 0x100, 0x108, 0x110, 0x120, 0x128, 0x140, 0x148, 0x3F9];
        bench.abuse(&mut hpet, &registers.map(|offset| ADDRESS + offset), &abuses);
        hpet.reset(Reset::Line, &mut bench.cx());
        prop_assert_eq!(&hpet, &Hpet::new(Config { can_replace }));
        prop_assert_eq!(bench.lines.active, 0);
    }

    /// However the time is cut into pieces, the same number of counts gives the same comparator.
    #[test]
    fn pieces_of_time_add_up(period in 1u64..1000, pieces in proptest::collection::vec(0u64..5000, 1..20)) {
        let periodic = |timer: &mut Timer| {
            timer.configure(Lanes { value: 0x48, mask: u64::MAX });
            timer.compare(Lanes { value: period, mask: u64::MAX });
        };
        let (mut whole, mut cut) = (Timer::new(), Timer::new());
        periodic(&mut whole);
        periodic(&mut cut);
        let mut counter = 0;
        for piece in &pieces {
            cut.pass(counter, *piece);
            counter += piece;
        }
        whole.pass(0, counter);
        prop_assert_eq!(whole, cut);
    }
}
