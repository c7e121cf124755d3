use proptest::prelude::*;

use super::*;
use crate::bench::{Bench, abuses};

fn rtc() -> (Bench, Rtc) {
    let bench = Bench::new();
    let world = WorldTime(bench.epoch);
    (bench, Rtc::new(Config::default(), world))
}

fn read(bench: &mut Bench, rtc: &mut Rtc, index: u8) -> u8 {
    bench.outb(rtc, 0x70, index);
    bench.inb(rtc, 0x71)
}

fn write(bench: &mut Bench, rtc: &mut Rtc, index: u8, value: u8) {
    bench.outb(rtc, 0x70, index);
    bench.outb(rtc, 0x71, value);
}

/// Year to second.
fn time(bench: &mut Bench, rtc: &mut Rtc) -> [u8; 7] {
    [CENTURY, 9, 8, 7, 4, 2, 0].map(|index| read(bench, rtc, index))
}

#[test]
fn it_shows_world_time() {
    let (mut bench, mut rtc) = rtc();
    assert_eq!(time(&mut bench, &mut rtc), [0x20, 0x26, 0x01, 0x02, 0x03, 0x04, 0x05]);
    assert_eq!(read(&mut bench, &mut rtc, 6), 6, "a Friday");
    bench.pass(&mut rtc, 60 * SECOND);
    assert_eq!(time(&mut bench, &mut rtc), [0x20, 0x26, 0x01, 0x02, 0x03, 0x05, 0x05]);
    assert_eq!(rtc.deadline(), None);
}

#[test]
fn it_goes_on_while_the_machine_sleeps() {
    let (mut bench, mut rtc) = rtc();
    bench.epoch += 3600 * SECOND;
    rtc.reset(Reset::Wake, &mut bench.cx());
    assert_eq!(time(&mut bench, &mut rtc), [0x20, 0x26, 0x01, 0x02, 0x04, 0x04, 0x05]);
}

#[test]
fn the_four_formats_of_an_hour() {
    let (mut bench, mut rtc) = rtc();
    bench.epoch += 9 * 3600 * SECOND + 30 * SECOND;
    for (format, afternoon, midnight) in
        [(0x02, 0x12, 0x00), (0x06, 12, 0), (0x00, 0x92, 0x12), (0x04, 0x8C, 12)]
    {
        write(&mut bench, &mut rtc, 0x0B, format);
        assert_eq!(read(&mut bench, &mut rtc, 4), afternoon);
        bench.epoch += 12 * 3600 * SECOND;
        assert_eq!(read(&mut bench, &mut rtc, 4), midnight);
        bench.epoch += 12 * 3600 * SECOND;
        // What is written is read in the same format, also in the running clock.
        write(&mut bench, &mut rtc, 4, afternoon);
        assert_eq!(read(&mut bench, &mut rtc, 4), afternoon);
    }
}

/// As Linux sets it (mc146818_set_time): hold the divider, set, and go on half a second before the next.
#[test]
fn linux_sets_the_time() {
    let (mut bench, mut rtc) = rtc();
    bench.pass(&mut rtc, 777_000_000);
    let (b, r) = (&mut bench, &mut rtc);
    let control = read(b, r, 0x0B);
    write(b, r, 0x0B, control | 0x80);
    let rate = read(b, r, 0x0A) & 0x7F;
    write(b, r, 0x0A, rate | 0x70);
    for (index, value) in [(9, 0x28), (8, 0x02), (7, 0x29), (4, 0x23), (2, 0x59), (0, 0x59), (CENTURY, 0x20)]
    {
        write(b, r, index, value);
    }
    write(b, r, 0x0B, control);
    write(b, r, 0x0A, rate);
    let set = bench.now;
    assert_eq!(time(&mut bench, &mut rtc), [0x20, 0x28, 0x02, 0x29, 0x23, 0x59, 0x59]);
    bench.now = set.after(499_990_000);
    assert_eq!(time(&mut bench, &mut rtc)[6], 0x59);
    bench.now = set.after(500_000_000);
    assert_eq!(time(&mut bench, &mut rtc), [0x20, 0x28, 0x03, 0x01, 0x00, 0x00, 0x00]);
    assert_eq!(read(&mut bench, &mut rtc, 6), 4, "the weekday follows from the date");
}

#[test]
fn a_held_clock_stands() {
    let (mut bench, mut rtc) = rtc();
    write(&mut bench, &mut rtc, 0x0B, 0x82);
    bench.pass(&mut rtc, 100 * SECOND);
    assert_eq!(read(&mut bench, &mut rtc, 0), 0x05);
    assert_eq!(read(&mut bench, &mut rtc, 0x0C), 0x40, "the period goes on, but no update and no alarm");
    write(&mut bench, &mut rtc, 0, 0x33);
    write(&mut bench, &mut rtc, 0x0B, 0x02);
    assert_eq!(read(&mut bench, &mut rtc, 0), 0x33);
}

#[test]
fn an_update_is_announced() {
    let (mut bench, mut rtc) = rtc();
    for (at, announced) in [(997_700_000, 0), (997_800_000, 0x80), (999_900_000, 0x80), (1_000_000_000, 0)] {
        bench.now = VirtualTime(at);
        assert_eq!(read(&mut bench, &mut rtc, 0x0A) & 0x80, announced, "at {at}");
    }
}

/// What rtc-cmos writes for an alarm in 90 seconds: times, date, then the enable; then it reads the reason.
#[test]
fn linux_sets_an_alarm() {
    let (mut bench, mut rtc) = rtc();
    let (b, r) = (&mut bench, &mut rtc);
    let control = read(b, r, 0x0B);
    write(b, r, 0x0B, control & !0x20);
    read(b, r, 0x0C);
    for (index, value) in [(5, 0x03), (3, 0x05), (1, 0x35), (DAY_ALARM, 0x02), (MONTH_ALARM, 0x01)] {
        write(b, r, index, value);
    }
    write(b, r, 0x0B, control | 0x20);
    read(b, r, 0x0C);
    let expected = WorldTime(b.epoch + 90 * SECOND);
    assert_eq!(r.next_alarm(), Some(expected));
    assert_eq!(r.deadline(), Some(VirtualTime(90 * SECOND)));
    b.pass(r, 90 * SECOND - b.now.0);
    b.note("90 seconds later");
    assert!(r.take_alarm() && !r.take_alarm(), "told once");
    read(b, r, 0x0C);
    insta::assert_snapshot!(bench.trace);
    // The date makes it a year until it goes off again.
    assert_eq!(rtc.next_alarm(), Some(WorldTime(expected.0 + 365 * 86_400 * SECOND)));
}

#[test]
fn an_alarm_goes_off_in_sleep() {
    let (mut bench, mut rtc) = rtc();
    for (index, value) in [(5, 0xFF), (3, 0xFF), (1, 0x00), (0x0B, 0x22)] {
        write(&mut bench, &mut rtc, index, value);
    }
    let alarm = rtc.next_alarm();
    assert_eq!(alarm, Some(WorldTime(bench.epoch + 55 * SECOND)), "the next full minute");
    // The machine sleeps: world time goes on, run time does not.
    bench.epoch += 55 * SECOND;
    rtc.tick(&mut bench.cx());
    assert!(rtc.take_alarm());
    assert!(bench.lines.is_active(INTERRUPT));
    assert_eq!(rtc.next_alarm(), Some(WorldTime(bench.epoch + 60 * SECOND)), "the minute after");
}

#[test]
fn an_alarm_is_moved_from_outside() {
    let (mut bench, mut rtc) = rtc();
    for (index, value) in [(5, 0xFF), (3, 0xFF), (1, 0x00), (0x0B, 0x22)] {
        write(&mut bench, &mut rtc, index, value);
    }
    rtc.move_alarm(WorldTime(bench.epoch), 2 * SECOND);
    assert_eq!(rtc.next_alarm(), Some(WorldTime(bench.epoch + 2 * SECOND)));
    assert_eq!(read(&mut bench, &mut rtc, 1), 0, "software sees what it set");
    bench.epoch += 2 * SECOND;
    rtc.tick(&mut bench.cx());
    assert!(rtc.take_alarm());
}

#[test]
fn an_alarm_may_show_in_one_place_only() {
    for (delivery, wakes, interrupts) in [
        (AlarmDelivery::Both, true, true),
        (AlarmDelivery::Acpi, true, false),
        (AlarmDelivery::Interrupt, false, true),
    ] {
        let mut bench = Bench::new();
        let mut rtc = Rtc::new(Config { alarm: delivery }, WorldTime(bench.epoch));
        for (index, value) in [(5, 0xFF), (3, 0xFF), (1, 0xFF), (0x0B, 0x22)] {
            write(&mut bench, &mut rtc, index, value);
        }
        assert_eq!(rtc.next_alarm().is_some(), wakes);
        bench.pass(&mut rtc, SECOND);
        assert_eq!((rtc.take_alarm(), bench.lines.is_active(INTERRUPT)), (wakes, interrupts));
    }
}

#[test]
fn periods_and_updates_interrupt_when_enabled() {
    let (mut bench, mut rtc) = rtc();
    // 64 Hz.
    write(&mut bench, &mut rtc, 0x0A, 0x2A);
    write(&mut bench, &mut rtc, 0x0B, 0x42);
    let mut interrupts = 0;
    while bench.now < VirtualTime(SECOND) {
        bench.pass(&mut rtc, 5_000_000);
        if bench.lines.is_active(INTERRUPT) {
            assert_eq!(read(&mut bench, &mut rtc, 0x0C) & 0xC0, 0xC0);
            interrupts += 1;
        }
        assert!(!bench.lines.is_active(INTERRUPT));
    }
    assert_eq!(interrupts, 64);
    write(&mut bench, &mut rtc, 0x0B, 0x12);
    assert_eq!(rtc.deadline(), Some(VirtualTime(2 * SECOND)));
    bench.pass(&mut rtc, SECOND);
    assert!(bench.lines.is_active(INTERRUPT));
    assert_eq!(rtc.deadline(), None, "nothing more until the reason is read");
    assert_eq!(read(&mut bench, &mut rtc, 0x0C), 0xD0, "the period passed as well");
    assert_eq!(read(&mut bench, &mut rtc, 0x0C), 0);
}

#[test]
fn every_cause_is_noted_without_interrupts() {
    let (mut bench, mut rtc) = rtc();
    write(&mut bench, &mut rtc, 1, 0xFF);
    write(&mut bench, &mut rtc, 3, 0xFF);
    write(&mut bench, &mut rtc, 5, 0xFF);
    bench.pass(&mut rtc, SECOND);
    assert_eq!(read(&mut bench, &mut rtc, 0x0C), 0x70);
    assert_eq!((bench.lines.active, rtc.take_alarm()), (0, false));
}

#[test]
fn memory_survives_every_loss_of_power() {
    let (mut bench, mut rtc) = rtc();
    for index in 0x0E..0x80 {
        write(&mut bench, &mut rtc, index, index ^ 0x5A);
    }
    write(&mut bench, &mut rtc, 0x0B, 0x72);
    for kind in [Reset::Line, Reset::Wake, Reset::PowerOn] {
        rtc.reset(kind, &mut bench.cx());
    }
    for index in (0x0E..0x80).filter(|index| *index != CENTURY) {
        assert_eq!(read(&mut bench, &mut rtc, index), index ^ 0x5A);
    }
    assert_eq!(read(&mut bench, &mut rtc, 0x0B), 0x22, "the alarm stays enabled");
    assert_eq!(read(&mut bench, &mut rtc, 0x0D), 0x80);
}

proptest! {
    #[test]
    fn no_guest_breaks_it(abuses in abuses()) {
        let (mut bench, mut rtc) = rtc();
        bench.abuse(&mut rtc, &[0x70, 0x71], &abuses);
        // The line is register C and B.
        let causes = read(&mut bench, &mut rtc, 0x0C);
        prop_assert_eq!(causes & 0x80 != 0, causes & rtc.control.bits() & 0x70 != 0);
        prop_assert!(!bench.lines.is_active(INTERRUPT));
    }

    /// What is set is what is shown, in each format.
    #[test]
    fn what_is_set_is_shown(format in 0u8..4, seconds in 0i64..253_000_000_000) {
        let (mut bench, mut rtc) = rtc();
        let control = format << 1;
        write(&mut bench, &mut rtc, 0x0B, control | 0x80);
        let format = Format::of(Control::from_bits_retain(control));
        let mut bytes = vec![0; MEMORY];
        format.store(Civil::of_seconds(seconds), &mut bytes);
        for index in (0u8..0x80).filter(|index| Format::holds_time(*index)) {
            write(&mut bench, &mut rtc, index, bytes[usize::from(index)]);
        }
        write(&mut bench, &mut rtc, 0x0B, control);
        for index in (0u8..0x80).filter(|index| Format::holds_time(*index)) {
            prop_assert_eq!(read(&mut bench, &mut rtc, index), bytes[usize::from(index)]);
        }
    }
}
