//! Ports: values, time, permission, and strings that stop in the middle.

use iced_x86::code_asm::*;

use crate::exec::PORT_NS;
use crate::flags::RFlags;
use crate::testing::{DATA, Guest, Recorder};
use crate::{Leave, NS_PER_INSTRUCTION};

#[test]
fn values_go_in_and_out() {
    let mut guest = Guest::long(|a| {
        a.mov(rax, u64::MAX)?;
        a.mov(edx, 0x3f8)?;
        a.in_(al, dx)?;
        a.out(0x80, ax)?;
        a.in_(eax, 0x70)?;
        a.out(dx, eax)
    });
    let mut bus = Recorder { input: 0x1122_3344, ..Recorder::default() };
    let mut now = 1000;
    let mut run = |guest: &mut Guest, instructions| {
        let exit = guest.run_on(&mut bus, now, 99);
        assert_eq!((exit.leave, exit.retired, exit.spent), (Leave::Bus, instructions, PORT_NS));
        now += NS_PER_INSTRUCTION * exit.retired + exit.spent;
        guest.reg(0)
    };
    assert_eq!(run(&mut guest, 3), 0xffff_ffff_ffff_ff44);
    run(&mut guest, 1);
    assert_eq!(run(&mut guest, 1), 0x1122_3344);
    run(&mut guest, 1);
    assert_eq!(
        bus.ports,
        [
            (1000 + 12 + 700, 0x3f8, 1, None),
            (1000 + 16 + 1400, 0x80, 2, Some(0xff44)),
            (1000 + 20 + 2100, 0x70, 4, None),
            (1000 + 24 + 2800, 0x3f8, 4, Some(0x1122_3344)),
        ]
    );
}

/// Level 3 with a task state segment at [`DATA`] whose map starts at 0x68 and denies what `denied` says, and a user page.
fn user(port: u16, bytes: u64, denied: u64, limit: u32) -> Leave {
    let mut guest = Guest::long(|a| match bytes {
        1 => a.in_(al, dx),
        2 => a.in_(ax, dx),
        _ => a.in_(eax, dx),
    });
    guest.ram.write(DATA + 102, &0x68u16.to_le_bytes()).unwrap();
    guest.ram.write(DATA + 0x68 + 0x40, &denied.to_le_bytes()).unwrap();
    let state = &mut guest.cpu.state;
    (state.tr.base, state.tr.limit) = (DATA, limit);
    state.segments[2].attributes = state.segments[2].attributes.with_dpl(3);
    state.gpr[2] = u64::from(port);
    guest.run_on(&mut Recorder::default(), 0, 1).leave
}

#[test]
fn the_map_grants_ports_one_by_one() {
    // Denied: 0x203 and 0x207.
    let denied = 1 << 3 | 1 << 7;
    for (port, bytes, granted) in [
        (0x202, 1, true),
        (0x203, 1, false),
        (0x202, 2, false),
        (0x204, 2, true),
        (0x205, 4, false),
        (0x208, 4, true),
        (0x200, 4, false),
    ] {
        let leave = if granted { Leave::Bus } else { Leave::Shutdown };
        assert_eq!(user(port, bytes, denied, 0x200), leave, "{port:#x}, {bytes}");
    }
    assert_eq!(user(0x202, 1, 0, 0x68 + 0x40), Leave::Shutdown, "the second byte lies beyond the segment");
    assert_eq!(user(0x202, 1, 0, 0x68 + 0x41), Leave::Bus);
    assert_eq!(user(0x202, 1, 0, 0x66), Leave::Shutdown, "no map at all");
}

#[test]
fn the_privilege_level_grants_all_ports() {
    let mut guest = Guest::long(|a| a.in_(al, dx));
    guest.cpu.state.segments[2].attributes = guest.cpu.state.segments[2].attributes.with_dpl(3);
    guest.cpu.state.rflags |= RFlags::IOPL.bits();
    assert_eq!(guest.run_on(&mut Recorder::default(), 0, 1).leave, Leave::Bus);
}

#[test]
fn strings_go_one_element_at_a_time() {
    let mut guest = Guest::long(|a| {
        a.mov(edx, 0x1f0)?;
        a.mov(ecx, 3)?;
        a.mov(rdi, DATA + 0xffe)?;
        a.rep().insw()?;
        a.mov(rsi, DATA)?;
        a.mov(ecx, 2)?;
        a.std()?;
        a.rep().outsb()
    });
    guest.ram.write(DATA - 1, &[0x77, 0x66]).unwrap();
    let mut bus = Recorder { input: 0xabcd, ..Recorder::default() };
    let retired: Vec<u64> = (0..3).map(|_| guest.run_on(&mut bus, 0, 99).retired).collect();
    assert_eq!(retired, [4, 1, 1]);
    assert_eq!((guest.reg(1), guest.reg(7)), (0, DATA + 0x1004));
    assert_eq!(guest.bytes::<8>(DATA + 0xffe), [0xcd, 0xab, 0xcd, 0xab, 0xcd, 0xab, 0, 0]);
    assert_eq!(guest.run_on(&mut bus, 0, 99).retired, 4);
    assert_eq!((guest.reg(1), guest.reg(6)), (1, DATA - 1), "one is left");
    guest.run_on(&mut bus, 0, 99);
    assert_eq!(guest.cpu.state.rip, crate::testing::CODE + guest.code_bytes);
    let written: Vec<_> = bus.ports.iter().filter_map(|port| port.3).collect();
    assert_eq!(written, [0x66, 0x77]);
}

#[test]
fn no_repetition_is_no_access() {
    let mut guest = Guest::long(|a| a.rep().outsd());
    let mut bus = Recorder::default();
    let exit = guest.run_on(&mut bus, 0, 1);
    assert_eq!((exit.leave, exit.retired, bus.ports.len()), (Leave::Budget, 1, 0));
}

#[test]
fn a_store_that_faults_reads_nothing() {
    let mut guest = Guest::long(|a| a.insb());
    guest.cpu.state.gpr[7] = 1 << 46;
    let mut bus = Recorder::default();
    assert_eq!((guest.run_on(&mut bus, 0, 1).leave, bus.ports.len()), (Leave::Shutdown, 0));
}
