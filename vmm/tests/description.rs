//! What firmware tells a kernel about the board is what the board does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use devices::acpi_pm::{self, SleepState};
use devices::rtc::{self, Rtc};
use devices::{Moment, PowerRequest, VirtualTime, WorldTime};
use ram::GuestRam;
use vmm::board::{Board, World};
use vmm::clock::Clock;
use vmm::{Config, Stop};

struct Nobody;

impl devices::Observer for Nobody {
    fn event(&mut self, _: Moment, _: devices::Event) -> bool {
        false
    }
}

/// SLP_TYP of `\_Sx` in a DSDT: the first element of the package (ACPI 6.5 7.4.2).
fn sleep_type(dsdt: &[u8], state: &str) -> Option<u8> {
    let name = format!("_S{state}_");
    let at = dsdt.windows(4).position(|window| window == name.as_bytes())?;
    // PackageOp, PkgLength, NumElements, then the first integer: BytePrefix, ZeroOp or OneOp.
    let elements = dsdt.get(at + 4..at + 12)?;
    let first = elements.iter().position(|byte| *byte == 4)? + 1;
    match elements.get(first)? {
        0x0a => elements.get(first + 1).copied(),
        value => (*value <= 1).then_some(*value),
    }
}

#[test]
fn the_sleep_types_of_the_tables_are_those_of_the_registers() {
    let board = Board::new(acpi_pm::Config::default(), Rtc::new(rtc::Config::default(), WorldTime(0)));
    let tables = firmware::tables(&board.describe(&Config::default()), &board.aml()).unwrap();
    let dsdt: Vec<u8> = tables
        .blobs
        .iter()
        .find_map(|blob| {
            let at = blob.bytes.windows(4).position(|window| window == b"DSDT")?;
            blob.bytes.get(at..).map(<[u8]>::to_vec)
        })
        .unwrap();
    let ram = GuestRam::new(1 << 20).unwrap();
    for (name, state) in [("3", SleepState::S3), ("4", SleepState::S4), ("5", SleepState::S5)] {
        let slp_typ = sleep_type(&dsdt, name).unwrap_or_else(|| panic!("no \\_S{name}"));
        assert_eq!(slp_typ, state.slp_typ(), "\\_S{name}");
        let mut board = board.clone();
        let mut nobody = Nobody;
        let mut world = World::of_host(&ram, Clock::new(WorldTime(0)), 0, &mut nobody);
        let enable = 1 << 13 | u32::from(slp_typ) << 10;
        board.port_write(VirtualTime(0), acpi_pm::PM1_CONTROL, 2, enable, &mut world);
        assert_eq!(board.signals.power, Some(PowerRequest::Sleep { slp_typ }));
    }
}

#[test]
fn a_machine_without_a_kernel_says_so() {
    // Nothing was loaded: the first processor fetches from the reset vector, where there is no memory.
    let mut machine = vmm::Machine::new(Config::default(), Vec::new()).unwrap();
    let stop = machine.run(vmm::Limit { instructions: Some(1000), time: None }, &mut Nobody);
    assert!(matches!(stop, Stop::Missing { processor: 0, .. }), "{stop:?}");
    assert!(vmm::Autopsy::of(&machine).to_string().contains("no kernel's symbols"));
}
