//! What a configuration changes in a machine, and when it may.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use devices::{Event, Moment, Observer};
use vmm::config::{Date, HpetKind, InvalidConfig, Vendor};
use vmm::{Config, Machine, MachineError};

struct Nobody;

impl Observer for Nobody {
    fn event(&mut self, _: Moment, _: Event) -> bool {
        false
    }
}

#[test]
fn an_impossible_machine_is_refused() {
    let quantum = Config { quantum: 0, ..Config::default() };
    let refused = Machine::new(quantum.clone(), Vec::new()).err();
    assert!(matches!(refused, Some(MachineError::Invalid(InvalidConfig::Quantum))), "{refused:?}");

    let mut machine = Machine::new(Config::default(), Vec::new()).unwrap();
    let before = machine.digest();
    let refused = machine.power_cycle_as(quantum, 5, &mut Nobody);
    assert!(matches!(refused, Err(MachineError::Invalid(InvalidConfig::Quantum))), "{refused:?}");
    assert_eq!(machine.digest(), before, "nothing happened");
    let refused = machine.reconfigure(Config::default()).unwrap_err().to_string();
    assert!(refused.contains("change the configuration of") && refused.contains("on (S0)"), "{refused}");
    assert_eq!(machine.digest(), before, "nothing happened");
}

#[test]
fn while_power_is_off_the_machine_becomes_another() {
    let mut machine = Machine::new(Config { hpet: HpetKind::On, ..Config::default() }, Vec::new()).unwrap();
    let changed = Config {
        processors: 3,
        memory: 16 << 20,
        vendor: Vendor::Amd,
        bios_date: Date { year: 0, month: 1, day: 1 },
        ..Config::default()
    };
    machine.power_cut(&mut vmm::power::nothing_unflushed, &mut Nobody).unwrap();
    machine.reconfigure(changed.clone()).unwrap();
    let off = machine.snapshot();
    assert_eq!(
        vmm::Machine::from_snapshot(&off).unwrap().config(),
        &changed,
        "a machine that is off is one, too"
    );
    machine.power_on(5_000_000_000, &mut Nobody).unwrap();
    assert_eq!(machine.config(), &changed);
    assert_eq!((machine.processors().count(), machine.ram().bytes()), (3, 16 << 20));
    assert!(machine.board().hpet.is_none());
    assert!(machine.processors().all(|processor| processor.identity.is_amd()));

    let later = changed.power_on + 5_000_000_000;
    let fresh = Machine::new(Config { power_on: later, ..changed }, Vec::new()).unwrap();
    assert_eq!(fresh.state().clock, machine.state().clock);
}
