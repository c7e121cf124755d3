use proptest::prelude::*;

use super::*;
use crate::bench::{Bench, abuses};

const PORT: u16 = 0x3F8;

fn com1() -> (Bench, Uart) {
    (Bench::new(), Uart::new(Config::COM1))
}

fn sent(bench: &Bench) -> Vec<u8> {
    let byte = |event: &Event| match event {
        Event::Serial { port: 0, byte } => Some(*byte),
        _ => None,
    };
    bench.events.seen.iter().filter_map(byte).collect()
}

/// What Linux does to find out what it has (8250 autoconfig): a 16550A with its FIFO on.
#[test]
fn linux_recognizes_it() {
    let (mut bench, mut uart) = com1();
    let b = &mut bench;
    let u = &mut uart;
    // The interrupt enable register has four bits.
    b.inb(u, PORT + 1);
    b.outb(u, PORT + 1, 0);
    let none = b.inb(u, PORT + 1);
    b.outb(u, PORT + 1, 0x0F);
    let all = b.inb(u, PORT + 1);
    b.outb(u, PORT + 1, 0);
    assert_eq!((none & 0x0F, all & 0x0F), (0, 0x0F));
    // Loopback: OUT2 and RTS come back as carrier and CTS.
    b.outb(u, PORT + 4, 0x1A);
    let modem = b.inb(u, PORT + 6) & 0xF0;
    assert_eq!(modem, 0x90);
    b.outb(u, PORT + 4, 0);
    // Enhanced registers of other chips are not there; the FIFO is.
    b.outb(u, PORT + 3, 0xBF);
    b.outb(u, PORT + 2, 0);
    b.outb(u, PORT + 3, 0);
    b.outb(u, PORT + 2, 0x01);
    let fifo = b.inb(u, PORT + 2) >> 6;
    assert_eq!(fifo, 3);
    b.outb(u, PORT + 3, 0x80);
    assert_ne!(b.inb(u, PORT + 2), 0, "an EFR of 0 would be that of a 16650");
    b.outb(u, PORT + 3, 0xBF);
    assert_ne!(b.inb(u, PORT + 2), 0);
    // A 64-byte FIFO would be that of a 16750.
    b.outb(u, PORT + 3, 0);
    b.outb(u, PORT + 2, 0x21);
    let wide = b.inb(u, PORT + 2) >> 5;
    b.outb(u, PORT + 3, 0x80);
    b.outb(u, PORT + 2, 0x21);
    let wide_with_divisor = b.inb(u, PORT + 2) >> 5;
    b.outb(u, PORT + 3, 0);
    assert_eq!((wide, wide_with_divisor), (6, 6));
    // An XScale would keep this bit.
    b.outb(u, PORT + 1, 0x40);
    assert_eq!(b.inb(u, PORT + 1) & 0x40, 0);
    insta::assert_snapshot!(bench.trace);
}

/// Start-up tests of Linux: the transmitter says that it is empty each time somebody wants to know.
#[test]
fn an_empty_transmitter_says_so_each_time_it_is_asked() {
    let (mut bench, mut uart) = com1();
    bench.outb(&mut uart, PORT + 4, 0x0B);
    for _ in 0..2 {
        bench.outb(&mut uart, PORT + 1, 0x02);
        assert_eq!(bench.inb(&mut uart, PORT + 2) & 0x0F, 0x02);
        bench.outb(&mut uart, PORT + 1, 0x00);
        assert_eq!(bench.inb(&mut uart, PORT + 2) & 0x0F, 0x01);
    }
    assert_eq!(bench.inb(&mut uart, PORT + 5), 0x60);
}

#[test]
fn a_byte_leaves_at_once_and_the_next_may_follow() {
    let (mut bench, mut uart) = com1();
    bench.outb(&mut uart, PORT + 4, 0x08);
    bench.outb(&mut uart, PORT + 1, 0x02);
    for byte in *b"hello" {
        assert!(bench.lines.is_active(Gsi(4)));
        assert_eq!(bench.inb(&mut uart, PORT + 2) & 0x0F, 0x02);
        assert!(!bench.lines.is_active(Gsi(4)), "seen is forgotten");
        bench.outb(&mut uart, PORT, byte);
    }
    assert_eq!(sent(&bench), b"hello");
    assert_eq!(uart.deadline(), None);
}

#[test]
fn the_other_end_is_held_back_and_nothing_is_lost() {
    let (mut bench, mut uart) = com1();
    bench.outb(&mut uart, PORT + 2, 0xC1);
    let line: Vec<u8> = (0..2000u32).map(|n| n as u8).collect();
    uart.receive(VirtualTime(50_000), &line, &mut bench.cx());
    assert_eq!(bench.inb(&mut uart, PORT + 5) & 1, 0, "not before its time");
    assert_eq!(uart.deadline(), None, "nobody wants to be interrupted");
    bench.outb(&mut uart, PORT + 4, 0x08);
    bench.outb(&mut uart, PORT + 1, 0x01);
    assert_eq!(uart.deadline(), Some(VirtualTime(50_000)));
    bench.pass(&mut uart, 60_000);
    assert!(bench.lines.is_active(Gsi(4)));
    assert_eq!(bench.inb(&mut uart, PORT + 2) & 0x0F, 0x04);
    let mut read = Vec::new();
    while bench.inb(&mut uart, PORT + 5) & 1 != 0 {
        read.push(bench.inb(&mut uart, PORT));
    }
    assert_eq!(read, line);
    assert_eq!(bench.inb(&mut uart, PORT + 5) & 0x02, 0, "no overrun");
    assert_eq!((uart.waiting(), bench.lines.active), (0, 0));
}

/// The last bytes of a line are fewer than the trigger level.
#[test]
fn what_stays_below_the_trigger_level_times_out() {
    let (mut bench, mut uart) = com1();
    for (port, value) in [(2, 0x81), (4, 0x08), (1, 0x01)] {
        bench.outb(&mut uart, PORT + port, value);
    }
    uart.receive(bench.now, b"abc", &mut bench.cx());
    bench.note("abc arrives");
    for _ in 0..3 {
        assert_eq!(bench.inb(&mut uart, PORT + 2), 0xCC);
        bench.inb(&mut uart, PORT);
    }
    assert_eq!(bench.inb(&mut uart, PORT + 2), 0xC1);
    insta::assert_snapshot!(bench.trace);
}

#[test]
fn at_the_programmed_speed_bytes_take_their_time() {
    let (mut bench, mut uart) =
        (Bench::new(), Uart::new(Config { speed: Speed::AsProgrammed, ..Config::COM1 }));
    // 8 bits, no parity, 115200 baud: ten bits, 86.8 microseconds.
    for (port, value) in [(3, 0x03), (2, 0x41), (4, 0x08), (1, 0x03)] {
        bench.outb(&mut uart, PORT + port, value);
    }
    let start = bench.now;
    bench.outb(&mut uart, PORT, b'x');
    bench.outb(&mut uart, PORT, b'y');
    assert_eq!(bench.inb(&mut uart, PORT + 5), 0x00, "one in the shift register, one waits");
    assert_eq!(uart.deadline(), Some(start.after(86_805)));
    bench.pass(&mut uart, 86_805);
    assert_eq!(bench.inb(&mut uart, PORT + 5), 0x20);
    bench.pass(&mut uart, 86_805);
    assert_eq!((bench.inb(&mut uart, PORT + 5), sent(&bench)), (0x60, b"xy".to_vec()));
    // The same towards us: four characters come one after the other, the timeout four characters later.
    bench.inb(&mut uart, PORT + 2);
    let start = bench.now;
    uart.receive(start, b"abc", &mut bench.cx());
    bench.pass(&mut uart, 3 * 86_805 + 4 * 86_805 - 1);
    assert!(!bench.lines.is_active(Gsi(4)));
    bench.pass(&mut uart, 1);
    assert!(bench.lines.is_active(Gsi(4)));
    assert_eq!(bench.inb(&mut uart, PORT + 2), 0xCC);
}

#[test]
fn loopback_reaches_the_receiver_and_nobody_else() {
    let (mut bench, mut uart) = com1();
    bench.outb(&mut uart, PORT + 4, 0x10);
    bench.outb(&mut uart, PORT, 0xAE);
    uart.receive(bench.now, b"z", &mut bench.cx());
    assert_eq!(bench.inb(&mut uart, PORT), 0xAE);
    assert_eq!(bench.inb(&mut uart, PORT + 5) & 1, 0);
    assert_eq!(bench.events.seen, []);
    bench.outb(&mut uart, PORT, 1);
    bench.outb(&mut uart, PORT, 2);
    assert_eq!(bench.inb(&mut uart, PORT + 5), 0x63, "overrun, said once");
    assert_eq!(bench.inb(&mut uart, PORT + 5), 0x61);
    assert_eq!(bench.inb(&mut uart, PORT), 1);
    bench.outb(&mut uart, PORT + 4, 0x00);
    assert_eq!(bench.inb(&mut uart, PORT), b'z');
}

#[test]
fn changes_of_the_modem_lines_are_told_once() {
    let (mut bench, mut uart) = com1();
    assert_eq!(bench.inb(&mut uart, PORT + 6), 0xB0);
    bench.outb(&mut uart, PORT + 4, 0x1F);
    assert_eq!(bench.inb(&mut uart, PORT + 6), 0xF0, "the three that were on are on; ring tells of its end");
    bench.outb(&mut uart, PORT + 4, 0x10);
    assert_eq!(bench.inb(&mut uart, PORT + 6), 0x0F);
    assert_eq!(bench.inb(&mut uart, PORT + 6), 0x00);
}

#[test]
fn a_reset_loses_what_was_on_its_way() {
    let (mut bench, mut uart) = com1();
    bench.outb(&mut uart, PORT + 4, 0x08);
    bench.outb(&mut uart, PORT + 1, 0x03);
    uart.receive(VirtualTime(0), b"lost", &mut bench.cx());
    uart.receive(VirtualTime(1 << 40), b"lost as well", &mut bench.cx());
    uart.reset(Reset::Wake, &mut bench.cx());
    assert_eq!((bench.lines.active, uart.waiting()), (0, 0));
    assert_eq!(bench.inb(&mut uart, PORT + 5), 0x60);
}

proptest! {
    #[test]
    fn no_guest_breaks_it(abuses in abuses(), instant: bool, sent: Vec<u8>) {
        let speed = if instant { Speed::Instant } else { Speed::AsProgrammed };
        let (mut bench, mut uart) = (Bench::new(), Uart::new(Config { speed, ..Config::COM1 }));
        uart.receive(VirtualTime(10_000), &sent, &mut bench.cx());
        let ports: Vec<u64> = (0..8).map(|n| u64::from(PORT) + n).collect();
        bench.abuse(&mut uart, &ports, &abuses);
        // The line is what the registers say: identification, and the gate.
        let settled = uart.clone();
        let pending = settled.cause(uart.settled).is_some();
        let gate = uart.modem_control & (ModemControl::OUT2 | ModemControl::LOOPBACK) == ModemControl::OUT2;
        prop_assert_eq!(bench.lines.is_active(Gsi(4)), pending && gate);
    }
}
