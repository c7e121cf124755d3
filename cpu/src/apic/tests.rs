//! What software sees of the APIC, and who gets a message.

use proptest::prelude::*;

use super::*;
use crate::cpuid::Identity;
use crate::state::{Activity, CpuState};

const EOI: u32 = 0x0b;
const LDR: u32 = 0x0d;
const DFR: u32 = 0x0e;
const SVR: u32 = 0x0f;
const ESR: u32 = 0x28;
const ICR: u32 = 0x30;
const ICR_HIGH: u32 = 0x31;
const TIMER: u32 = 0x32;
const LINT0: u32 = 0x35;
const ERROR: u32 = 0x37;
const INITIAL: u32 = 0x38;
const CURRENT: u32 = 0x39;
const DIVIDE: u32 = 0x3e;

fn at(ns: u64) -> Moment {
    Moment { ns, tsc: 2 * ns }
}

/// Enabled by software, in xAPIC mode.
fn enabled(id: u32) -> LocalApic {
    let mut apic = LocalApic::new(id, id == 0);
    apic.write(SVR, 0x1ff, at(0)).unwrap();
    apic
}

fn x2(id: u32) -> LocalApic {
    let mut apic = enabled(id);
    apic.set_base(apic.base() | 1 << 10).unwrap();
    apic
}

fn processors(count: u32) -> Vec<CpuState> {
    let mut all: Vec<CpuState> = (0..count)
        .map(|apic_id| CpuState::power_on(Identity { processors: count, apic_id, ..Identity::default() }))
        .collect();
    for cpu in &mut all {
        cpu.apic.write(SVR, 0x1ff, at(0)).unwrap();
    }
    all
}

fn fixed(destination: Destination, vector: u8) -> Message {
    Message { destination, mode: DeliveryMode::Fixed, vector, level_triggered: false }
}

#[test]
fn priorities_nest() {
    let mut apic = enabled(0);
    apic.accept(0x41, false);
    apic.accept(0x52, false);
    apic.accept(0x55, false);
    assert_eq!(apic.acknowledge(), Some(0x55));
    assert_eq!((apic.processor_priority(), apic.pending_vector()), (0x50, None), "0x52 is of the same class");
    apic.accept(0x61, false);
    assert_eq!(apic.acknowledge(), Some(0x61));
    apic.write(EOI, 0, at(0)).unwrap();
    assert_eq!(apic.pending_vector(), None);
    apic.write(EOI, 0, at(0)).unwrap();
    assert_eq!(apic.pending_vector(), Some(0x52));
    apic.set_task_priority(0x5f);
    assert_eq!((apic.pending_vector(), apic.processor_priority()), (None, 0x5f));
    apic.set_task_priority(0x4f);
    assert_eq!(apic.acknowledge(), Some(0x52));
}

#[test]
fn the_end_of_a_level_triggered_interrupt_is_told() {
    let mut apic = enabled(0);
    assert_eq!(apic.write(EOI, 0, at(0)), Ok(Request::Nothing), "nothing is in service");
    for (level, request) in [(true, Request::EndOfInterrupt(0x33)), (false, Request::Nothing)] {
        apic.accept(0x33, level);
        assert_eq!(apic.read(0x18 + 1, at(0)).unwrap() >> 0x13 & 1 == 1, level, "trigger mode");
        apic.acknowledge();
        assert_eq!(apic.write(EOI, 0, at(0)), Ok(request));
    }
}

#[test]
fn the_timer_requests_its_vector() {
    let mut apic = enabled(0);
    apic.write(DIVIDE, 0b1011, at(0)).unwrap();
    apic.write(TIMER, 0x2_0040, at(0)).unwrap();
    assert_eq!(apic.write(INITIAL, 1000, at(500)), Ok(Request::Deadline));
    assert_eq!((apic.deadline(at(500)), apic.read(CURRENT, at(1400))), (Some(1500), Ok(100)));
    apic.tick(at(1499));
    assert_eq!(apic.pending_vector(), None);
    apic.tick(at(1500));
    assert_eq!((apic.acknowledge(), apic.deadline(at(1500))), (Some(0x40), Some(2500)));
    apic.write(TIMER, 0x3_0040, at(1600)).unwrap();
    assert_eq!(apic.deadline(at(1600)), None, "masked");
    assert_eq!(apic.read(CURRENT, at(2600)), Ok(900), "but it counts");
    apic.write(EOI, 0, at(0)).unwrap();
    assert_eq!(apic.pending_vector(), None);
}

#[test]
fn a_change_to_deadline_mode_disarms() {
    let mut apic = enabled(0);
    apic.write(TIMER, 0x40, at(0)).unwrap();
    apic.write(INITIAL, 1000, at(0)).unwrap();
    apic.set_tsc_deadline(5000);
    assert_eq!(apic.tsc_deadline(), 0, "another mode");
    apic.write(TIMER, 0x4_0040, at(0)).unwrap();
    assert_eq!((apic.deadline(at(0)), apic.read(CURRENT, at(0))), (None, Ok(0)));
    apic.set_tsc_deadline(5000);
    assert_eq!((apic.tsc_deadline(), apic.deadline(at(0))), (5000, Some(2500)));
    apic.write(INITIAL, 1000, at(0)).unwrap();
    assert_eq!(apic.read(INITIAL, at(0)), Ok(0), "ignored in this mode");
    apic.tick(at(2500));
    assert_eq!((apic.tsc_deadline(), apic.pending_vector()), (0, Some(0x40)));
}

#[test]
fn disabled_by_software_it_masks_everything() {
    let mut apic = LocalApic::new(0, true);
    assert!(!apic.accept(0x40, false));
    apic.write(TIMER, 0x40, at(0)).unwrap();
    assert_eq!(apic.read(TIMER, at(0)), Ok(0x1_0040));
    apic.write(SVR, 0x1ff, at(0)).unwrap();
    apic.write(TIMER, 0x40, at(0)).unwrap();
    apic.accept(0x50, false);
    apic.write(SVR, 0xff, at(0)).unwrap();
    assert_eq!(apic.read(TIMER, at(0)), Ok(0x1_0040));
    assert_eq!(apic.pending_vector(), Some(0x50), "what was requested stays requested");
}

#[test]
fn errors_are_seen_after_a_write() {
    let mut apic = enabled(0);
    apic.write(ERROR, 0xfe, at(0)).unwrap();
    assert!(!apic.accept(3, false));
    assert_eq!(apic.read(0x3d, at(0)), Err(Rejected));
    apic.write(ICR, 0x5, at(0)).unwrap();
    assert_eq!(apic.read(ESR, at(0)), Ok(0));
    apic.write(ESR, 0, at(0)).unwrap();
    assert_eq!(apic.read(ESR, at(0)), Ok(0xe0));
    apic.write(ESR, 0, at(0)).unwrap();
    assert_eq!((apic.read(ESR, at(0)), apic.pending_vector()), (Ok(0), Some(0xfe)));
}

#[test]
fn commands_become_messages() {
    let mut apic = enabled(2);
    let mut sent = |high: u64, low: u64| {
        apic.write(ICR_HIGH, high, at(0)).unwrap();
        match apic.write(ICR, low, at(0)).unwrap() {
            Request::Send(message) => Some(message),
            _ => None,
        }
    };
    let message =
        |destination, mode, vector| Some(Message { destination, mode, vector, level_triggered: false });
    assert_eq!(sent(3 << 24, 0x4041), message(Destination::Physical(3), DeliveryMode::Fixed, 0x41));
    assert_eq!(sent(3 << 24, 0x4941), message(Destination::Logical(3), DeliveryMode::LowestPriority, 0x41));
    assert_eq!(sent(0xff << 24, 0x4400), message(Destination::Everyone, DeliveryMode::Nmi, 0));
    assert_eq!(sent(1 << 24, 0xc500), message(Destination::Physical(1), DeliveryMode::Init, 0));
    assert_eq!(sent(1 << 24, 0x8500), None, "end of INIT's level");
    assert_eq!(sent(1 << 24, 0x4699), message(Destination::Physical(1), DeliveryMode::StartUp, 0x99));
    assert_eq!(sent(0, 0x8_4050), message(Destination::Everyone, DeliveryMode::Fixed, 0x50));
    assert_eq!(sent(0, 0xc_4050), message(Destination::EveryoneBut(2), DeliveryMode::Fixed, 0x50));
    assert_eq!(sent(0, 0x4_4050), None);
    assert_eq!(apic.pending_vector(), Some(0x50), "to itself");
}

#[test]
fn x2apic_has_wide_ids_and_strict_registers() {
    let mut apic = x2(0x123);
    assert_eq!((apic.read(0x02, at(0)), apic.read(LDR, at(0))), (Ok(0x123), Ok(0x12_0008)));
    assert_eq!(
        apic.write(ICR, 0x1234_5678_0000_4041, at(0)),
        Ok(Request::Send(fixed(Destination::Physical(0x1234_5678), 0x41)))
    );
    assert_eq!(
        apic.write(ICR, 0xffff_ffff_0000_4841, at(0)),
        Ok(Request::Send(fixed(Destination::Everyone, 0x41)))
    );
    assert_eq!(apic.write(0x3f, 0x77, at(0)), Ok(Request::Nothing));
    assert_eq!(apic.pending_vector(), Some(0x77), "self IPI");
    for (index, value) in [
        (EOI, 1),
        (ESR, 1),
        (DFR, 0),
        (LDR, 0),
        (0x02, 0),
        (ICR, 1 << 13),
        (TIMER, 1 << 20),
        (SVR, 1 << 12),
        (0x08, 0x100),
        (ICR_HIGH, 0),
    ] {
        assert_eq!(apic.write(index, value, at(0)), Err(Rejected), "{index:#x}");
    }
    for index in [EOI, 0x3f, DFR, ICR_HIGH, 0x09, 0x0c, 0x2f, 0x40] {
        assert_eq!(apic.read(index, at(0)), Err(Rejected), "{index:#x}");
    }
}

#[test]
fn modes_change_along_their_arrows() {
    const X2: u64 = 1 << 10;
    const ENABLED: u64 = 1 << 11;
    let mut apic = enabled(0);
    assert_eq!(apic.set_base(DEFAULT_BASE | X2), Err(Rejected));
    assert_eq!(apic.set_base(1 << 39 | ENABLED), Err(Rejected), "no such address");
    assert_eq!(apic.set_base(0xd000_0000 | ENABLED), Ok(()));
    assert_eq!((apic.page(), apic.is_boot_processor()), (Some(0xd000_0000), true));
    apic.write(ICR_HIGH, 7 << 24, at(0)).unwrap();
    assert_eq!(apic.set_base(DEFAULT_BASE | ENABLED | X2), Ok(()));
    assert_eq!((apic.mode(), apic.page(), apic.read(ICR, at(0))), (ApicMode::X2Apic, None, Ok(0)));
    assert_eq!(apic.set_base(DEFAULT_BASE | ENABLED), Err(Rejected));
    assert_eq!(apic.set_base(DEFAULT_BASE), Ok(()));
    assert_eq!(apic.set_base(DEFAULT_BASE | ENABLED | X2), Err(Rejected));
    assert_eq!(apic.set_base(DEFAULT_BASE | ENABLED), Ok(()));
    assert!(!apic.takes_interrupts(), "as after reset");
}

#[test]
fn the_8259_pair_comes_through_lint0() {
    let mut cpu = CpuState::reset();
    cpu.set_intr(true);
    assert!(!cpu.apic.external_pending(), "masked after reset");
    cpu.apic.set_virtual_wire();
    assert!(cpu.apic.external_pending());
    cpu.apic.acknowledge_external();
    assert!(cpu.apic.external_pending(), "as long as it is driven");
    cpu.set_intr(false);
    assert!(!cpu.apic.external_pending());
    cpu.accept(Message { mode: DeliveryMode::ExtInt, ..fixed(Destination::Everyone, 0) });
    assert!(cpu.apic.external_pending());
    cpu.apic.acknowledge_external();
    assert!(!cpu.apic.external_pending(), "a message is there once");
    cpu.apic.set_base(DEFAULT_BASE).unwrap();
    cpu.set_intr(true);
    assert!(cpu.apic.external_pending(), "INTR without an APIC");
}

#[test]
fn a_pin_can_be_a_fixed_interrupt() {
    let mut cpu = CpuState::reset();
    cpu.apic.set_virtual_wire();
    cpu.apic.write(LINT0, 0x8061, at(0)).unwrap();
    cpu.set_intr(true);
    assert_eq!((cpu.apic.acknowledge(), cpu.apic.read(LINT0, at(0))), (Some(0x61), Ok(0xc061)));
    cpu.apic.write(EOI, 0, at(0)).unwrap();
    assert_eq!(cpu.apic.acknowledge(), Some(0x61), "still driven");
    cpu.set_intr(false);
    cpu.apic.write(EOI, 0, at(0)).unwrap();
    assert_eq!((cpu.apic.pending_vector(), cpu.apic.read(LINT0, at(0))), (None, Ok(0x8061)));
    cpu.apic.write(LINT0, 0x62, at(0)).unwrap();
    cpu.set_intr(true);
    cpu.set_intr(true);
    assert_eq!((cpu.apic.acknowledge(), cpu.apic.pending_vector()), (Some(0x62), None), "one edge");
    assert!(!cpu.nmi_pending);
    cpu.press_nmi();
    assert!(cpu.nmi_pending);
}

#[test]
fn messages_find_their_processors() {
    let took = |cpus: &mut [CpuState]| {
        cpus.iter_mut().map(|cpu| cpu.apic.acknowledge().is_some()).collect::<Vec<_>>()
    };
    let mut cpus = processors(4);
    assert_eq!(deliver(&mut cpus, fixed(Destination::Physical(2), 0x40)), 1);
    assert_eq!(took(&mut cpus), [false, false, true, false]);
    assert_eq!(deliver(&mut cpus, fixed(Destination::EveryoneBut(1), 0x50)), 3);
    assert_eq!(took(&mut cpus), [true, false, true, true]);
    assert_eq!(deliver(&mut cpus, fixed(Destination::Physical(9), 0x60)), 0);

    // Flat model: a bit each.
    for (cpu, id) in cpus.iter_mut().zip([1u64, 2, 4, 8]) {
        cpu.apic.write(LDR, id << 24, at(0)).unwrap();
    }
    assert_eq!(deliver(&mut cpus, fixed(Destination::of_8_bits(0b1010, true), 0x60)), 2);
    assert_eq!(took(&mut cpus), [false, true, false, true]);

    // Cluster model: two clusters of two.
    for (cpu, id) in cpus.iter_mut().zip([0x11u64, 0x12, 0x21, 0x22]) {
        cpu.apic.write(DFR, 0x0fff_ffff, at(0)).unwrap();
        cpu.apic.write(LDR, id << 24, at(0)).unwrap();
    }
    assert_eq!(deliver(&mut cpus, fixed(Destination::of_8_bits(0x23, true), 0x70)), 2);
    assert_eq!(took(&mut cpus), [false, false, true, true]);

    // x2APIC: the logical id follows from the id.
    for cpu in &mut cpus {
        cpu.apic.set_base(cpu.apic.base() | 1 << 10).unwrap();
    }
    assert_eq!(deliver(&mut cpus, fixed(Destination::of_32_bits(0b0101, true), 0x80)), 2);
    assert_eq!(took(&mut cpus), [true, false, true, false]);
    assert_eq!(deliver(&mut cpus, fixed(Destination::of_32_bits(0x1_0001, true), 0x80)), 0);
    assert_eq!(deliver(&mut cpus, fixed(Destination::of_8_bits(0xff, false), 0x90)), 4);
}

#[test]
fn the_least_busy_takes_it() {
    let mut cpus = processors(4);
    let message = Message { mode: DeliveryMode::LowestPriority, ..fixed(Destination::Everyone, 0x91) };
    for (cpu, priority) in cpus.iter_mut().zip([0x40, 0x20, 0x20, 0x30]) {
        cpu.apic.set_task_priority(priority);
    }
    assert_eq!(deliver(&mut cpus, message), 1);
    assert_eq!(cpus.iter().filter_map(|cpu| cpu.apic.pending_vector()).count(), 1);
    assert_eq!(cpus[1].apic.acknowledge(), Some(0x91), "the first of two");
    deliver(&mut cpus, message);
    assert_eq!(cpus[2].apic.acknowledge(), Some(0x91), "the other one serves an interrupt");
    for cpu in &mut cpus[2..] {
        cpu.apic.write(SVR, 0xff, at(0)).unwrap();
    }
    deliver(&mut cpus, message);
    assert_eq!(cpus[0].apic.pending_vector(), Some(0x91), "those that are disabled take nothing");
}

#[test]
fn a_processor_starts_by_init_and_start_up() {
    let mut cpus = processors(2);
    let start = Message { mode: DeliveryMode::StartUp, ..fixed(Destination::Physical(1), 0x9a) };
    assert_eq!((deliver(&mut cpus, start), cpus[1].activity), (1, Activity::Running));
    assert_eq!(deliver(&mut cpus, start), 0, "it runs already");
    cpus[1].rip = 0x55;
    let init = Message { mode: DeliveryMode::Init, ..start };
    assert_eq!((deliver(&mut cpus, init), cpus[1].activity), (1, Activity::WaitForSipi));
    assert_eq!(cpus[1].apic.read(SVR, at(0)), Ok(0xff));
    deliver(&mut cpus, start);
    assert_eq!((cpus[1].rip, cpus[1].segments[1].base), (0, 0x9a000));
}

#[test]
fn a_start_up_can_be_missed() {
    let mut cpus = processors(2);
    cpus[1].start_ups_missed = 1;
    let start = Message { mode: DeliveryMode::StartUp, ..fixed(Destination::Physical(1), 0x9a) };
    let init = Message { mode: DeliveryMode::Init, ..start };
    deliver(&mut cpus, init);
    assert_eq!((deliver(&mut cpus, start), cpus[1].activity), (0, Activity::WaitForSipi));
    assert_eq!((deliver(&mut cpus, start), cpus[1].activity), (1, Activity::Running));
    deliver(&mut cpus, init);
    assert_eq!(deliver(&mut cpus, start), 1, "only those right after power came on are missed");
}

#[test]
fn what_ends_a_halt() {
    let mut cpu = CpuState::reset();
    cpu.apic.set_virtual_wire();
    cpu.activity = Activity::Halted;
    cpu.apic.accept(0x40, false);
    assert!(!cpu.can_run(), "interrupts are disabled");
    cpu.rflags |= 1 << 9;
    assert!(cpu.can_run());
    cpu.apic.set_task_priority(0x40);
    assert!(!cpu.can_run());
    cpu.nmi_pending = true;
    assert!(cpu.can_run());
    cpu.nmi_blocked = true;
    assert!(!cpu.can_run());
}

proptest! {
    #[test]
    fn no_access_does_more_than_it_may(
        x2apic: bool, accesses in prop::collection::vec((0u32..0x100, any::<u64>(), 0u64..1000), 0..60),
    ) {
        let mut apic = if x2apic { x2(1) } else { enabled(1) };
        let mut now = 0;
        for (index, value, later) in accesses {
            now += later;
            let before = apic.read(index, at(now));
            let request = apic.write(index, if x2apic { value } else { value & 0xffff_ffff }, at(now));
            // There is a register or there is not; some cannot be read, others not written.
            if Register::at(index).is_none() {
                prop_assert_eq!((before, request), (Err(Rejected), Err(Rejected)));
            }
            if let Some(deadline) = apic.deadline(at(now)) {
                prop_assert!(deadline >= now);
                apic.tick(at(deadline));
                prop_assert!(apic.deadline(at(deadline)).is_none_or(|next| next > deadline));
                now = deadline.min(1 << 60);
            }
            prop_assert!(apic.pending_vector().is_none_or(|vector| vector >> 4 > apic.processor_priority() >> 4));
        }
    }
}
