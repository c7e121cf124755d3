//! The high precision event timer on the board: whose interrupts it takes the place of, and what firmware says of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use devices::{Event, Moment, Observer, Reset, VirtualTime, WorldTime, acpi_pm, hpet, ioapic, pit, rtc};
use ram::GuestRam;
use vmm::board::World;
use vmm::config::HpetKind;
use vmm::{Board, Clock, Config};

struct Nobody;

impl Observer for Nobody {
    fn event(&mut self, _: Moment, _: Event) -> bool {
        false
    }
}

/// A board whose IOAPIC lets interrupts 0 and 8 pass, as vectors 0x30 and 0x38.
struct Bench {
    board: Board,
    ram: GuestRam,
    clock: Clock,
}

impl Bench {
    fn new(hpet: HpetKind) -> Self {
        let config = Config { hpet, ..Config::default() };
        let clock = Clock::new(WorldTime(config.power_on));
        let board = Board::of(&config, clock);
        let mut bench = Self { board, ram: GuestRam::new(1 << 20).unwrap(), clock };
        for (pin, vector) in [(2, 0x30), (8, 0x38)] {
            bench.write(ioapic::ADDRESS, 4, 0x10 + 2 * pin);
            bench.write(ioapic::ADDRESS + 0x10, 4, vector);
        }
        bench
    }

    fn with<R>(&mut self, call: impl FnOnce(&mut Board, VirtualTime, &mut World<'_>) -> R) -> R {
        let now = self.clock.now();
        let mut nobody = Nobody;
        let mut world = World::of_host(&self.ram, self.clock, 0, &mut nobody);
        call(&mut self.board, now, &mut world)
    }

    fn write(&mut self, address: u64, size: u8, value: u64) {
        self.with(|board, now, world| board.memory_write(now, address, size, value, world));
    }

    fn read(&mut self, address: u64, size: u8) -> u64 {
        self.with(|board, now, world| board.memory_read(now, address, size, world))
    }

    fn out(&mut self, port: u16, value: u32) {
        self.with(|board, now, world| board.port_write(now, port, 1, value, world));
    }

    /// Lets this many nanoseconds pass; vectors of the interrupts that came.
    fn pass(&mut self, nanoseconds: u64) -> Vec<u8> {
        let end = self.clock.now().after(nanoseconds);
        while let Some(deadline) = self.board.deadline().filter(|deadline| *deadline <= end) {
            self.clock.advance_to(deadline);
            self.with(|board, now, world| board.tick(now, world));
        }
        self.clock.advance_to(end);
        let messages = std::mem::take(&mut self.board.signals.messages);
        messages.iter().map(|message| message.delivery().unwrap().vector).collect()
    }

    /// The interval timer ends its count once, in a millisecond.
    fn start_pit(&mut self) {
        self.out(pit::PORT + 3, 0x30);
        self.out(pit::PORT, 0xa9);
        self.out(pit::PORT, 0x04);
    }

    /// The real-time clock interrupts each second, and its alarm goes off with the next.
    fn start_rtc(&mut self) {
        for (index, value) in [(0x01, 0xff), (0x03, 0xff), (0x05, 0xff), (0x0b, 0x32)] {
            self.out(rtc::PORT, index);
            self.out(rtc::PORT + 1, value);
        }
    }

    /// A timer of the HPET matches once, this many counts from now.
    fn start_timer(&mut self, number: u64, counts: u64) {
        let counter = self.read(hpet::ADDRESS + 0xf0, 8);
        let timer = hpet::ADDRESS + 0x100 + 0x20 * number;
        self.write(timer, 8, 1 << 2);
        self.write(timer + 8, 8, counter + counts);
    }
}

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLISECOND;
const GENERAL: u64 = hpet::ADDRESS + 0x10;

#[test]
fn while_it_replaces_them_interval_timer_and_real_time_clock_do_not_interrupt() {
    let mut bench = Bench::new(HpetKind::On);
    bench.start_pit();
    assert_eq!(bench.pass(2 * MILLISECOND), [0x30]);
    bench.start_rtc();
    assert_eq!(bench.pass(SECOND), [0x38]);
    bench.read_register_c();

    bench.write(GENERAL, 8, 3);
    bench.start_pit();
    assert_eq!(bench.pass(SECOND), [], "neither");
    assert!(bench.board.pm.status().contains(acpi_pm::Pm1::RTC), "ACPI hears of the alarm all the same");
    bench.start_timer(0, 100);
    assert_eq!(bench.pass(MILLISECOND), [0x30]);
    bench.start_timer(1, 100);
    assert_eq!(bench.pass(MILLISECOND), [0x38]);

    bench.write(GENERAL, 8, 1);
    bench.read_register_c();
    bench.pass(0);
    bench.start_pit();
    assert_eq!(bench.pass(2 * MILLISECOND), [0x30], "they are back");
    assert_eq!(bench.pass(SECOND), [0x38]);
    bench.start_timer(0, 100);
    assert_eq!(bench.pass(MILLISECOND), [], "and the HPET's timers lead nowhere");
}

#[test]
fn a_wake_gives_the_lines_back() {
    let mut bench = Bench::new(HpetKind::On);
    bench.write(GENERAL, 8, 3);
    bench.with(|board, now, world| board.reset(Reset::Wake, now, world));
    assert_eq!(bench.read(GENERAL, 8), 0);
    for (pin, vector) in [(2, 0x30), (8, 0x38)] {
        bench.write(ioapic::ADDRESS, 4, 0x10 + 2 * pin);
        bench.write(ioapic::ADDRESS + 0x10, 4, vector);
    }
    bench.start_pit();
    assert_eq!(bench.pass(2 * MILLISECOND), [0x30]);
}

#[test]
fn one_that_cannot_replace_does_not() {
    let mut bench = Bench::new(HpetKind::WithoutReplacement);
    bench.write(GENERAL, 8, 3);
    assert_eq!(bench.read(GENERAL, 8), 1);
    bench.start_pit();
    assert_eq!(bench.pass(2 * MILLISECOND), [0x30]);
}

#[test]
fn firmware_says_what_is_there() {
    for (hpet, id) in [
        (HpetKind::Off, None),
        (HpetKind::On, Some(0x8086_a201u32)),
        (HpetKind::WithoutReplacement, Some(0x8086_2201)),
    ] {
        let mut bench = Bench::new(hpet);
        let read = bench.read(hpet::ADDRESS, 4) as u32;
        assert_eq!(read, id.unwrap_or(u32::MAX));
        let described = Board::of(&Config { hpet, ..Config::default() }, bench.clock);
        let tables =
            firmware::tables(&described.describe(&Config { hpet, ..Config::default() }), &described.aml())
                .unwrap();
        let table = tables.blobs.iter().find(|blob| blob.what == "HPET");
        assert_eq!(table.map(|blob| blob.bytes[36..40].to_vec()), id.map(|id| id.to_le_bytes().to_vec()));
        let dsdt = tables.blobs.iter().find(|blob| blob.what == "DSDT").unwrap();
        // PNP0103 as an EISA id.
        let named = dsdt.bytes.windows(4).any(|bytes| bytes == [0x41, 0xd0, 0x01, 0x03]);
        assert_eq!(named, id.is_some());
    }
}

impl Bench {
    fn read_register_c(&mut self) {
        self.out(rtc::PORT, 0x0c);
        self.with(|board, now, world| board.port_read(now, rtc::PORT + 1, 1, world));
    }
}
