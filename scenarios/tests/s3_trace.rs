//! What a kernel does to the registers of sleep from the moment it is asked for S3 until it is back: the order in which it clears,
//! arms, sleeps, and wakes its processors, as a golden file per kernel.
//!
//! Reads of the power management timer are left out, and so are times, addresses and counts, which move with each point release: a
//! row of equal accesses is one line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use agent_protocol::message::{Ask, SuspendState};
use common::{ask, depart, falls_asleep, guest, returns, wait_ready, wakes};
use devices::acpi_pm::{GPE0, PM_TIMER, PM1_CONTROL, PM1_EVENT, Pm1, SleepState};
use devices::{Ipi, Moment, Traffic, rtc};
use firmware::layout::FACS;
use scenarios::Guest;
use vmm::Entry;

/// The lines, and which register of the real-time clock is selected.
#[derive(Default)]
struct Trace {
    lines: Vec<String>,
    index: u8,
}

impl Trace {
    fn line(&mut self, line: String) {
        if self.lines.last() != Some(&line) {
            self.lines.push(line);
        }
    }

    fn see(&mut self, traffic: Traffic) {
        match traffic {
            Traffic::Access { port: true, address, write, value, size } => {
                self.port(address as u16, write, value, size);
            }
            Traffic::Access { .. } => {}
            Traffic::Interrupt { kind: Ipi::Init, .. } => self.line("IPI      INIT".into()),
            Traffic::Interrupt { kind: Ipi::StartUp, .. } => self.line("IPI      start-up".into()),
            Traffic::Interrupt { .. } => {}
        }
    }

    fn port(&mut self, port: u16, write: bool, value: u64, size: u8) {
        let direction = if write { "<-" } else { "->" };
        let named = match port {
            PM1_EVENT => format!("PM1_STS  {direction} {}", pm1(value)),
            0x602 => format!("PM1_EN   {direction} {}", pm1(value)),
            PM1_CONTROL => format!("PM1_CNT  {direction} {}", control(value)),
            _ if (PM_TIMER..PM_TIMER + 4).contains(&port) => return,
            _ if (GPE0..GPE0 + 4).contains(&port) => {
                let (register, byte) =
                    (["GPE0_STS", "GPE0_EN "][usize::from(port - GPE0) / 2], (port - GPE0) % 2);
                format!("{register} {direction} byte {byte}, {size} wide: {value:#04x}")
            }
            rtc::PORT if write => {
                self.index = value as u8 & 0x7f;
                return;
            }
            _ if port == rtc::PORT + 1 => match (self.index, write) {
                (1, true) => "RTC      <- seconds of the alarm".into(),
                (3, true) => "RTC      <- minutes of the alarm".into(),
                (5, true) => "RTC      <- hours of the alarm".into(),
                (rtc::DAY_ALARM, true) => "RTC      <- day of the alarm".into(),
                (rtc::MONTH_ALARM, true) => "RTC      <- month of the alarm".into(),
                (0xb, true) => format!("RTC B    <- {}", register_b(value)),
                (0xc, false) => "RTC C    -> causes".into(),
                _ => return,
            },
            _ => return,
        };
        self.line(named);
    }
}

fn pm1(value: u64) -> String {
    let flags = Pm1::from_bits_retain(value as u16);
    // All status bits at once is how ACPICA clears them: which of them exist is its own business.
    let names: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
    if names.is_empty() { "0".into() } else { names.join(" ") }
}

fn control(value: u64) -> String {
    let mut text = format!("SLP_TYP {}", value >> 10 & 7);
    for (bit, name) in [(0, "SCI_EN"), (1, "BM_RLD"), (13, "SLP_EN")] {
        if value >> bit & 1 == 1 {
            text = format!("{text} {name}");
        }
    }
    text
}

fn register_b(value: u64) -> String {
    let bits = [(7, "SET"), (6, "PIE"), (5, "AIE"), (4, "UIE"), (2, "binary"), (1, "24h")];
    bits.into_iter()
        .filter(|(bit, _)| value >> bit & 1 == 1)
        .map(|(_, name)| name)
        .collect::<Vec<_>>()
        .join(" ")
}

fn vector(guest: &Guest) -> String {
    let word = |at: u64| {
        let mut bytes = [0; 4];
        guest.machine.ram().read(FACS + at, &mut bytes).unwrap();
        u32::from_le_bytes(bytes)
    };
    let (vector, extended) = (word(12), (word(24), word(28)));
    let place = match vector {
        0 => "0",
        1..0xa_0000 if vector % 16 == 0 => "in memory below 640 KiB, aligned to 16",
        _ => "elsewhere",
    };
    format!("FACS: waking vector {place}, extended {}", if extended == (0, 0) { "0" } else { "set" })
}

fn trace(kernel: &str) -> String {
    let mut guest = guest(kernel, 2, Entry::Pvh);
    wait_ready(&mut guest);
    let trace = Rc::new(RefCell::new(Trace::default()));
    let seen = Rc::clone(&trace);
    guest.tape.trace_to(Some(Box::new(move |_: Moment, traffic| seen.borrow_mut().see(traffic))));
    ask(&mut guest, &Ask::SetAlarm { seconds: 30 });
    trace.borrow_mut().line("--- the alarm is set; suspend".into());
    depart(&mut guest, &Ask::Suspend { state: SuspendState::Mem, pm_test: None });
    falls_asleep(&mut guest, SleepState::S3);
    let armed = vector(&guest);
    trace.borrow_mut().line(armed);
    trace.borrow_mut().line("--- asleep; the alarm goes off".into());
    wakes(&mut guest);
    returns(&mut guest);
    let disarmed = vector(&guest);
    trace.borrow_mut().line(disarmed);
    guest.tape.trace_to(None);
    std::mem::take(&mut trace.borrow_mut().lines).join("\n")
}

fn is_golden(kernel: &str) {
    let trace = trace(kernel);
    // Whatever the kernel: asleep is the last thing it asks for, and it did arm its vector.
    let (before, after) = trace.split_once("--- asleep").unwrap();
    let mut last = before.lines().rev();
    assert_eq!(last.next(), Some("FACS: waking vector in memory below 640 KiB, aligned to 16, extended 0"));
    assert_eq!(last.next(), Some("PM1_CNT  <- SLP_TYP 1 SCI_EN SLP_EN"));
    assert_eq!((after.matches("INIT").count() > 0, after.matches("start-up").count() > 0), (true, true));
    insta::assert_snapshot!(kernel.replace(['-', '.'], "_"), trace);
}

#[test]
fn primary_6_12() {
    is_golden("primary-6.12");
}

macro_rules! in_full {
    ($($test:ident: $kernel:literal;)*) => {$(
        #[test]
        fn $test() {
            if std::env::var_os("KJVM_FULL").is_some_and(|value| !value.is_empty()) {
                is_golden($kernel);
            } else {
                eprintln!("SKIPPED the trace of S3 of {}: set KJVM_FULL=1", $kernel);
            }
        }
    )*};
}

in_full! {
    primary_6_1: "primary-6.1";
    stock_6_12: "stock-6.12";
    stock_6_1: "stock-6.1";
}
