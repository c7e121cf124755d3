//! The loop itself: budgets, and what depends on them.

use super::*;
use crate::bus::Here;
use crate::testing::Recorder;

/// Real mode at 0x1000 with this code.
fn machine(code: &[u8]) -> (Cpu, BlockCache, GuestRam) {
    let ram = GuestRam::new(1 << 20).unwrap();
    ram.write(0x1000, code).unwrap();
    // Handler of #GP: 0:0x1313.
    ram.write(4 * 13, &[0x13, 0x13]).unwrap();
    let mut state = CpuState::reset();
    state.segments[1].base = 0;
    state.segments[1].selector = 0;
    state.rip = 0x1000;
    (Cpu::new(state), BlockCache::new(), ram)
}

fn run(machine: &mut (Cpu, BlockCache, GuestRam), instructions: u64) -> Exit {
    let (cpu, cache, ram) = machine;
    cpu.run(cache, ram, &mut Recorder::default(), Slice { now: 0, instructions })
}

/// add ax, 3 (six times), each 3 bytes.
const ADDS: [u8; 18] =
    [0x83, 0xc0, 3, 0x83, 0xc0, 3, 0x83, 0xc0, 3, 0x83, 0xc0, 3, 0x83, 0xc0, 3, 0x83, 0xc0, 3];

#[test]
fn a_budget_is_exact() {
    for budget in 0..6 {
        let mut machine = machine(&ADDS);
        let exit = run(&mut machine, budget);
        assert_eq!((exit.leave, exit.retired), (Leave::Budget, budget));
        assert_eq!((machine.0.state.gpr[0], machine.0.state.rip), (3 * budget, 0x1000 + 3 * budget));
    }
}

#[test]
fn code_that_changes_itself_runs_as_changed() {
    // add byte [0x1007], 1 ; add ax, 3
    let code = [0x80, 0x06, 0x07, 0x10, 1, 0x83, 0xc0, 3];
    let mut machine = machine(&code);
    assert_eq!(run(&mut machine, 2).retired, 2);
    assert_eq!(machine.0.state.gpr[0], 4);
}

#[test]
fn code_ends_where_its_segment_does() {
    for (limit, done) in [(0x1011, 6), (0x1010, 5), (0x1004, 1), (0xfff, 0)] {
        let mut machine = machine(&ADDS);
        machine.0.state.segments[1].limit = limit;
        // What comes next is #GP, which pushes three words.
        run(&mut machine, done + 1);
        assert_eq!((machine.0.state.gpr[0], machine.0.state.gpr[4]), (3 * done, 0xfffa), "{limit:x}");
    }
}

#[test]
fn stepping_takes_no_room() {
    // jmp $, with TF set by nobody but a breakpoint armed elsewhere.
    let mut machine = machine(&[0xeb, 0xfe]);
    machine.0.state.debug[5] = 0x401;
    let exit = run(&mut machine, 100_000);
    assert_eq!((exit.leave, exit.retired), (Leave::Budget, 100_000));
}

#[test]
fn an_instruction_has_15_bytes_at_most() {
    for (prefixes, ax, sp) in [(14, 1, 0), (15, 0, 0xfffa)] {
        // inc ax
        let code = [&[0x2e; 16][..prefixes], &[0x40]].concat();
        let mut machine = machine(&code);
        run(&mut machine, 1);
        assert_eq!((machine.0.state.gpr[0], machine.0.state.gpr[4]), (ax, sp), "{prefixes}");
        // #UD would go to the handler of another vector.
        assert_eq!(machine.0.state.rip, if ax == 1 { 0x100f } else { 0x1313 });
    }
}

/// Counts how often the code at 0x1006 begins to run.
#[derive(Default)]
struct Watcher {
    inner: Recorder,
    watched: u64,
    stops: bool,
    /// Instructions before this slice.
    before: u64,
    /// RAX, and instructions retired.
    seen: Vec<(u64, u64)>,
}

impl Watcher {
    /// Runs so many instructions in pieces, watching this address; what was seen, and how often it stopped.
    fn watch(code: &[u8], watched: u64, pieces: (u64, u64), stops: bool) -> (Vec<(u64, u64)>, CpuState) {
        let (mut cpu, mut cache, ram) = machine(code);
        let mut bus = Self { watched, stops, ..Self::default() };
        while bus.before < pieces.0 {
            let slice = Slice { now: 0, instructions: pieces.1.min(pieces.0 - bus.before) };
            let told = bus.seen.len();
            let exit = cpu.run(&mut cache, &ram, &mut bus, slice);
            bus.before += exit.retired;
            if stops && bus.seen.len() > told {
                assert_eq!((exit.leave, bus.seen.len(), cpu.state.rip), (Leave::Bus, told + 1, watched));
            }
        }
        (bus.seen, cpu.state)
    }
}

impl crate::Bus for Watcher {
    fn port_read(&mut self, now: u64, port: u16, size: u8) -> u32 {
        self.inner.port_read(now, port, size)
    }
    fn port_write(&mut self, now: u64, port: u16, size: u8, value: u32) {
        self.inner.port_write(now, port, size, value);
    }
    fn mmio_read(&mut self, _: u64, _: u64, _: u8) -> u64 {
        0
    }
    fn mmio_write(&mut self, _: u64, _: u64, _: u8, _: u64) {}
    fn acknowledge_interrupt(&mut self, _: u64) -> u8 {
        0
    }
    fn send_interrupt(&mut self, _: crate::apic::Message) {}
    fn end_of_interrupt(&mut self, _: u8) {}
    fn watches_code(&self) -> bool {
        true
    }
    fn next_watched(&self, linear: u64, bytes: u64) -> Option<u64> {
        (linear..linear + bytes).contains(&self.watched).then_some(self.watched)
    }
    fn about_to_execute(&mut self, here: &Here<'_>) -> bool {
        assert_eq!((here.linear, here.physical), (self.watched, self.watched), "flat");
        self.seen.push((here.registers[0], self.before + here.retired));
        self.stops
    }
}

#[test]
fn watched_code_is_seen_each_time_and_runs_as_ever_in_pieces_of_any_length() {
    // 0x1000: add ax, 3 ; jmp 0x1006 ; (0x1005 nop) ; 0x1006: add ax, 5 ; jmp 0x1000
    let code = [0x83, 0xc0, 3, 0xeb, 1, 0x90, 0x83, 0xc0, 5, 0xeb, 0xf5];
    let unwatched = Watcher::watch(&code, 0, (120, 120), false).1;
    for piece in [1, 2, 3, 7, 40, 120] {
        for stops in [false, true] {
            // Each turn is four instructions; the watched one is the third.
            let (seen, state) = Watcher::watch(&code, 0x1006, (120, piece), stops);
            let expected: Vec<(u64, u64)> = (0..30).map(|turn| (8 * turn + 3, 4 * turn + 2)).collect();
            assert_eq!(seen, expected, "pieces of {piece}");
            assert_eq!(state, unwatched);
        }
    }
}

#[test]
fn code_is_seen_in_the_middle_of_a_block_and_an_address_in_the_middle_of_an_instruction_is_none() {
    // 0x1000: add ax, 3 ; 0x1003: add ax, 5 ; 0x1006: nop ; 0x1007: jmp 0x1000
    let code = [0x83, 0xc0, 3, 0x83, 0xc0, 5, 0x90, 0xeb, 0xf7];
    for piece in [1, 3, 40] {
        for stops in [false, true] {
            let seen = |watched| Watcher::watch(&code, watched, (40, piece), stops).0;
            for (number, watched, ax) in [(0, 0x1000, 0), (1, 0x1003, 3), (2, 0x1006, 8), (3, 0x1007, 8)] {
                let expected: Vec<(u64, u64)> =
                    (0..10).map(|turn| (8 * turn + ax, 4 * turn + number)).collect();
                assert_eq!(seen(watched), expected, "{watched:#x} in pieces of {piece}");
            }
            assert_eq!(seen(0x1001), []);
        }
    }
}

#[test]
fn code_is_seen_in_a_shadow_and_a_repeated_instruction_once() {
    // 0x1000: mov cx, 9 ; 0x1003: sti ; 0x1004: rep lodsb ; 0x1006: jmp 0x1000
    let code = [0xb9, 9, 0, 0xfb, 0xf3, 0xac, 0xeb, 0xf8];
    for piece in [1, 2, 5, 40] {
        for stops in [false, true] {
            let seen = Watcher::watch(&code, 0x1004, (48, piece), stops).0;
            let instructions: Vec<u64> = seen.iter().map(|(_, instructions)| *instructions).collect();
            assert_eq!(instructions, [2, 14, 26, 38], "pieces of {piece}");
        }
    }
}
