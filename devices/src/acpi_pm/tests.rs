use proptest::prelude::*;

use super::*;
use crate::bench::{Bench, abuses};

fn pm() -> (Bench, AcpiPm) {
    (Bench::new(), AcpiPm::new(Config::default()))
}

fn inw(bench: &mut Bench, pm: &mut AcpiPm, port: u16) -> u16 {
    pm.read(port.into(), 2, &mut bench.cx()) as u16
}

fn outw(bench: &mut Bench, pm: &mut AcpiPm, port: u16, value: u16) {
    pm.write(port.into(), 2, value.into(), &mut bench.cx());
}

#[test]
fn it_is_always_in_acpi_mode() {
    let (mut bench, mut pm) = pm();
    assert_eq!(inw(&mut bench, &mut pm, 0x604), 1);
    outw(&mut bench, &mut pm, 0x604, 0);
    assert_eq!(inw(&mut bench, &mut pm, 0x604), 1);
}

#[test]
fn the_power_button_interrupts_until_its_status_is_cleared() {
    let (mut bench, mut pm) = pm();
    pm.press_power_button(&mut bench.cx());
    assert!(!bench.lines.is_active(SCI));
    outw(&mut bench, &mut pm, 0x602, 0x0100);
    assert!(bench.lines.is_active(SCI));
    outw(&mut bench, &mut pm, 0x600, 0x0400);
    assert!(bench.lines.is_active(SCI), "another bit");
    // One byte of the register: the other is not touched.
    pm.write(0x601, 1, 0x01, &mut bench.cx());
    assert!(!bench.lines.is_active(SCI));
    assert_eq!(inw(&mut bench, &mut pm, 0x600), 0);
}

#[test]
fn status_and_enable_are_one_double_word() {
    let (mut bench, mut pm) = pm();
    pm.write(0x600, 4, 0x0521_0000, &mut bench.cx());
    pm.rtc_alarm(&mut bench.cx());
    assert_eq!(pm.read(0x600, 4, &mut bench.cx()), 0x0521_0400);
    // What cannot be enabled is not stored.
    outw(&mut bench, &mut pm, 0x602, 0xFFFF);
    assert_eq!(inw(&mut bench, &mut pm, 0x602), 0x0721);
}

#[test]
fn the_timer_counts_run_time() {
    let (mut bench, mut pm) = pm();
    bench.now = VirtualTime(1_000_000_000);
    assert_eq!(pm.read(0x608, 4, &mut bench.cx()), 3_579_545);
    assert_eq!(pm.read(0x60A, 1, &mut bench.cx()), 3_579_545 >> 16 & 0xFF);
    pm.write(0x608, 4, 0, &mut bench.cx());
    assert_eq!(pm.read(0x608, 4, &mut bench.cx()), 3_579_545, "it cannot be written");
}

#[test]
fn the_highest_bit_of_the_timer_interrupts_when_it_changes() {
    for (width, half) in [(TimerWidth::Bits24, 1u64 << 23), (TimerWidth::Bits32, 1 << 31)] {
        let (mut bench, mut pm) = (Bench::new(), AcpiPm::new(Config { timer: width, ..Config::default() }));
        assert_eq!(pm.deadline(), None);
        outw(&mut bench, &mut pm, 0x602, 1);
        for change in 1..4 {
            let due = VirtualTime(Frequency::PM_TIMER.nanoseconds(change * half));
            assert_eq!(pm.deadline(), Some(due));
            bench.now = VirtualTime(due.0 - 1);
            pm.tick(&mut bench.cx());
            assert!(!bench.lines.is_active(SCI));
            bench.now = due;
            pm.tick(&mut bench.cx());
            assert!(bench.lines.is_active(SCI));
            assert_eq!(pm.deadline(), None, "nothing more until it is cleared");
            assert_eq!(pm.read(0x608, 4, &mut bench.cx()), change * half % (2 * half));
            outw(&mut bench, &mut pm, 0x600, 1);
            assert!(!bench.lines.is_active(SCI));
        }
    }
}

/// Linux writes the type first, then type and enable (hwsleep.c).
#[test]
fn a_sleep_is_asked_for_with_the_second_write() {
    let (mut bench, mut pm) = pm();
    outw(&mut bench, &mut pm, 0x604, 0x0401);
    assert_eq!(bench.power, None);
    outw(&mut bench, &mut pm, 0x604, 0x2401);
    assert_eq!(bench.power, Some(PowerRequest::Sleep { slp_typ: 1 }));
    assert_eq!(bench.events.seen, [Event::SleepRegister { slp_typ: 1 }]);
    assert_eq!(inw(&mut bench, &mut pm, 0x604), 0x0401, "SLP_EN reads 0");
}

#[test]
fn a_state_that_is_not_there_is_not_entered() {
    let (mut bench, mut pm) = (Bench::new(), AcpiPm::new(Config { s3: false, ..Config::default() }));
    for slp_typ in 0..8 {
        bench.power = None;
        outw(&mut bench, &mut pm, 0x604, u16::from(slp_typ) << 10 | 0x2000);
        let there = matches!(slp_typ, 0 | 2);
        assert_eq!(bench.power, there.then_some(PowerRequest::Sleep { slp_typ }));
    }
    assert_eq!(bench.events.seen.len(), 8, "every try is an event");
}

#[test]
fn only_an_enabled_source_that_has_power_wakes() {
    let (mut bench, mut pm) = pm();
    pm.rtc_alarm(&mut bench.cx());
    assert!(!pm.wants_wake());
    outw(&mut bench, &mut pm, 0x602, 0x0400);
    assert!(pm.wants_wake(), "an alarm that went off before the machine slept counts");
    outw(&mut bench, &mut pm, 0x600, 0x0400);
    assert!(!pm.wants_wake());
    pm.general_purpose_event(Gpe::from_bits_retain(1 << 3), &mut bench.cx());
    outw(&mut bench, &mut pm, 0x622, 1 << 3);
    assert!(pm.wants_wake() && bench.lines.is_active(SCI));
    outw(&mut bench, &mut pm, 0x620, 1 << 3);
    assert!(!pm.wants_wake() && !bench.lines.is_active(SCI));
    // The timer stands still in a sleep.
    outw(&mut bench, &mut pm, 0x602, 1);
    bench.now = VirtualTime(1 << 50);
    inw(&mut bench, &mut pm, 0x600);
    assert!(bench.lines.is_active(SCI) && !pm.wants_wake());
}

#[test]
fn a_wake_leaves_what_woke() {
    let (mut bench, mut pm) = pm();
    outw(&mut bench, &mut pm, 0x602, 0x0501);
    outw(&mut bench, &mut pm, 0x604, 0x0401);
    pm.rtc_alarm(&mut bench.cx());
    pm.reset(Reset::Wake, &mut bench.cx());
    pm.woke(&mut bench.cx());
    assert_eq!(inw(&mut bench, &mut pm, 0x600), 0x8400);
    assert_eq!(inw(&mut bench, &mut pm, 0x602), 0x0500);
    assert_eq!(inw(&mut bench, &mut pm, 0x604), 0x0001);
    assert!(bench.lines.is_active(SCI));
    outw(&mut bench, &mut pm, 0x600, 0x8000);
    assert_eq!(inw(&mut bench, &mut pm, 0x600), 0x0400);
    pm.reset(Reset::PowerOn, &mut bench.cx());
    assert_eq!(pm, AcpiPm::new(Config::default()));
    assert!(!bench.lines.is_active(SCI));
}

proptest! {
    /// Whatever a guest writes, in whatever pieces: the SCI is status and enable.
    #[test]
    fn the_sci_follows_from_the_registers(abuses in abuses(), buttons: [bool; 4]) {
        let (mut bench, mut pm) = pm();
        let ports: Vec<u64> = (0x600..0x60C).chain(0x620..0x624).collect();
        for (abuses, button) in abuses.chunks(16).zip(buttons) {
            bench.abuse(&mut pm, &ports, abuses);
            if button {
                pm.press_power_button(&mut bench.cx());
                pm.general_purpose_event(Gpe::from_bits_retain(0x8001), &mut bench.cx());
            }
            let status = inw(&mut bench, &mut pm, 0x600);
            let enable = inw(&mut bench, &mut pm, 0x602);
            let gpe = inw(&mut bench, &mut pm, 0x620) & inw(&mut bench, &mut pm, 0x622);
            prop_assert_eq!(bench.lines.is_active(SCI), status & enable != 0 || gpe != 0);
        }
    }
}
