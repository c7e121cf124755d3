use proptest::prelude::*;

use super::counter::Counter;
use super::*;
use crate::bench::{Bench, abuses};

fn pit() -> (Bench, Pit) {
    (Bench::new(), Pit::new())
}

/// Linux measures the processor's clock with counter 2 in mode 0: the high byte goes down by one each 256 clocks.
#[test]
fn linux_calibrates_with_counter_2() {
    let (mut bench, mut pit) = pit();
    let b = &mut bench;
    let p = &mut pit;
    let port_b = b.inb(p, 0x61);
    b.outb(p, 0x61, port_b & !0x02 | 0x01);
    b.outb(p, 0x43, 0xB0);
    b.outb(p, 0x42, 0xFF);
    b.outb(p, 0x42, 0xFF);
    for expected in [0xFF, 0xFE, 0xFD] {
        let start = b.now;
        loop {
            b.inb(p, 0x42);
            if b.inb(p, 0x42) != expected {
                break;
            }
        }
        // 256 clocks are 214.6 microseconds; the first is shorter by what came before.
        let took = b.now.since(start);
        assert!((205_000..218_000).contains(&took), "{took} ns for {expected:x}");
        if expected == 0xFF {
            insta::assert_snapshot!(b.trace.lines().take(12).collect::<Vec<_>>().join("\n"));
        }
    }
}

/// The other way of Linux: how often can it read the output of counter 2 until it rises?
#[test]
fn counter_2_shows_its_end_at_port_b() {
    let (mut bench, mut pit) = pit();
    let latch = 1_193_182 / (1000 / 10);
    bench.outb(&mut pit, 0x61, 0x01);
    bench.outb(&mut pit, 0x43, 0xB0);
    bench.outb(&mut pit, 0x42, (latch & 0xFF) as u8);
    bench.outb(&mut pit, 0x42, (latch >> 8) as u8);
    let start = bench.now;
    while bench.inb(&mut pit, 0x61) & 0x20 == 0 {}
    let took = bench.now.since(start);
    assert!((9_990_000..10_002_000).contains(&took), "10 ms take {took} ns");
}

#[test]
fn port_b_shows_memory_being_refreshed() {
    let (mut bench, mut pit) = pit();
    let first = bench.inb(&mut pit, 0x61) & 0x10;
    bench.pass(&mut pit, 15_086);
    assert_ne!(bench.inb(&mut pit, 0x61) & 0x10, first);
    bench.outb(&mut pit, 0x61, 0xFF);
    assert_eq!(bench.inb(&mut pit, 0x61) & 0x0F, 0x0F);
    assert_eq!(bench.inb(&mut pit, 0x61) & 0xC0, 0, "no memory error");
}

/// Linux's tick: mode 2, 250 Hz.
#[test]
fn counter_0_interrupts_while_somebody_listens() {
    let (mut bench, mut pit) = pit();
    let divisor = 4773u64;
    bench.outb(&mut pit, 0x43, 0x34);
    bench.outb(&mut pit, 0x40, (divisor & 0xFF) as u8);
    bench.outb(&mut pit, 0x40, (divisor >> 8) as u8);
    let start = clock(VirtualTime(bench.now.0 - 700)) + 1;
    assert_eq!(pit.deadline(), None, "nobody listens");
    pit.watch(true, &mut bench.cx());
    bench.lines.take_risen();
    for period in 1..=3 {
        let due = VirtualTime(Frequency::INTERVAL_TIMER.nanoseconds(start + period * divisor));
        assert_eq!(pit.deadline(), Some(due));
        bench.now = due;
        pit.tick(&mut bench.cx());
        assert_eq!(bench.lines.take_risen(), 1);
    }
    pit.watch(false, &mut bench.cx());
    bench.pass(&mut pit, 1_000_000_000);
    assert_eq!(bench.lines.take_risen(), 0);
    pit.watch(true, &mut bench.cx());
    assert_eq!(bench.lines.take_risen(), 1, "what was missed counts as one");
}

/// Linux's one shot: mode 4.
#[test]
fn a_strobe_interrupts_once() {
    let (mut bench, mut pit) = pit();
    pit.watch(true, &mut bench.cx());
    bench.outb(&mut pit, 0x43, 0x38);
    bench.outb(&mut pit, 0x40, 100);
    bench.outb(&mut pit, 0x40, 0);
    bench.lines.take_risen();
    bench.pass(&mut pit, 99 * 838);
    assert_eq!(bench.lines.take_risen(), 0);
    bench.pass(&mut pit, 4 * 838);
    assert_eq!(bench.lines.take_risen(), 1);
    bench.pass(&mut pit, 1_000_000_000);
    assert_eq!((bench.lines.take_risen(), pit.deadline()), (0, None));
}

/// A counter whose gate is high, programmed at clock 0 with this control byte and count: loaded at clock 1.
fn counter(control: u8, count: u16) -> Counter {
    let mut counter = Counter::new(true);
    counter.control(control | 0x30, 0);
    for byte in count.to_le_bytes() {
        counter.write(byte, 0);
    }
    counter
}

fn count(counter: &mut Counter, clock: u64) -> u16 {
    u16::from_le_bytes([counter.read(clock), counter.read(clock)])
}

/// The output from one clock on, high as `-` and low as `_`, and the count in it.
fn wave(counter: &mut Counter, from: u64, clocks: u64) -> String {
    let outputs = (from..from + clocks).map(|clock| if counter.output(clock) { '-' } else { '_' });
    let outputs: String = outputs.collect();
    let counts: Vec<String> =
        (from..from + clocks).map(|clock| format!("{:x}", count(counter, clock))).collect();
    format!("{outputs} {}", counts.join(" "))
}

/// The diagrams of the data sheet.
#[test]
fn every_mode_has_its_wave() {
    let mut waves = String::new();
    let mut draw = |what: &str, wave: String| waves += &format!("{what:<34} {wave}\n");
    draw("0: interrupt on terminal count, 4", wave(&mut counter(0 << 1, 4), 0, 10));
    let mut held = counter(0 << 1, 4);
    held.set_gate(false, 3);
    draw("   gate low from 3", wave(&mut held, 3, 4));
    held.set_gate(true, 7);
    draw("   high from 7", wave(&mut held, 7, 6));
    let mut shot = counter(1 << 1, 4);
    draw("1: one-shot, 4, no trigger", wave(&mut shot, 0, 4));
    shot.set_gate(false, 4);
    shot.set_gate(true, 4);
    draw("   trigger at 4", wave(&mut shot, 5, 8));
    shot.set_gate(false, 13);
    shot.set_gate(true, 13);
    draw("   again at 13", wave(&mut shot, 14, 3));
    shot.set_gate(false, 16);
    shot.set_gate(true, 16);
    draw("   retriggered at 16", wave(&mut shot, 17, 8));
    draw("2: rate generator, 3", wave(&mut counter(2 << 1, 3), 0, 10));
    let mut rate = counter(2 << 1, 3);
    rate.write(2, 2);
    rate.write(0, 2);
    draw("   3, then 2 written at 2", wave(&mut rate, 0, 10));
    draw("3: square wave, 4", wave(&mut counter(3 << 1, 4), 0, 12));
    draw("   5", wave(&mut counter(3 << 1, 5), 0, 12));
    let mut square = counter(3 << 1, 8);
    square.write(4, 2);
    square.write(0, 2);
    draw("   8, then 4 written at 2", wave(&mut square, 0, 16));
    draw("4: software strobe, 3", wave(&mut counter(4 << 1, 3), 0, 8));
    let mut strobe = counter(5 << 1, 3);
    strobe.set_gate(false, 2);
    strobe.set_gate(true, 2);
    draw("5: hardware strobe, 3, trigger at 2", wave(&mut strobe, 3, 6));
    draw("2: decimal, 10", wave(&mut counter(2 << 1 | 1, 0x10), 1, 11));
    draw("0: decimal, 0", wave(&mut counter(1, 0), 1, 3));
    draw("0: binary, 0", wave(&mut counter(0, 0), 1, 3));
    insta::assert_snapshot!(waves);
}

#[test]
fn a_latch_keeps_the_count_and_read_back_the_status() {
    let (mut bench, mut pit) = pit();
    for (port, value) in [(0x43, 0x34), (0x40, 0x00), (0x40, 0x10)] {
        bench.outb(&mut pit, port, value);
    }
    bench.pass(&mut pit, 838 * 16);
    bench.outb(&mut pit, 0x43, 0x00);
    bench.pass(&mut pit, 838 * 1000);
    bench.outb(&mut pit, 0x43, 0x00);
    let latched = u16::from_le_bytes([bench.inb(&mut pit, 0x40), bench.inb(&mut pit, 0x40)]);
    assert!((0xFEC..=0xFF1).contains(&latched), "the first latch counts: {latched:x}");
    // Status and count of counter 0: the status comes first.
    bench.outb(&mut pit, 0x43, 0xC2);
    assert_eq!(bench.inb(&mut pit, 0x40), 0xB4, "output high, counting, both bytes, mode 2");
    let live = u16::from_le_bytes([bench.inb(&mut pit, 0x40), bench.inb(&mut pit, 0x40)]);
    assert!(live < latched);
    bench.outb(&mut pit, 0x43, 0x34);
    bench.outb(&mut pit, 0x43, 0xE2);
    assert_eq!(bench.inb(&mut pit, 0x40), 0xF4, "nothing loaded");
}

#[test]
fn a_reset_stops_everything() {
    let (mut bench, mut pit) = pit();
    pit.watch(true, &mut bench.cx());
    for (port, value) in [(0x43, 0x34), (0x40, 0x10), (0x40, 0x00), (0x61, 0x0F)] {
        bench.outb(&mut pit, port, value);
    }
    pit.reset(Reset::Line, &mut bench.cx());
    assert_eq!(pit.deadline(), None);
    assert_eq!(bench.inb(&mut pit, 0x61) & 0x0F, 0);
}

proptest! {
    #[test]
    fn no_guest_breaks_it(abuses in abuses()) {
        let (mut bench, mut pit) = pit();
        bench.abuse(&mut pit, &[0x40, 0x41, 0x42, 0x43, 0x61], &abuses);
    }

    /// A rise is where the output, looked at clock by clock, rises first.
    #[test]
    fn a_rise_is_where_the_output_rises(
        mode in 0u8..6, periods in 2u16..40, second in proptest::option::of((2u16..40, 0u64..100)), after in 100u64..200,
    ) {
        let mut counter = counter(mode << 1, periods);
        counter.set_gate(false, 0);
        counter.set_gate(true, 0);
        if let Some((periods, at)) = second {
            for byte in periods.to_le_bytes() {
                counter.write(byte, at);
            }
        }
        let seen = (after + 1..after + 400).find(|clock| counter.output(*clock) && !counter.output(clock - 1));
        prop_assert_eq!(counter.next_rise(after), seen);
    }
}
