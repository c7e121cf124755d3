//! System instructions on tables that somebody filled with whatever there was.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::mode::CodeWidth;
use crate::state::{Cr4, SegmentName};
use crate::test_kernel::*;
use crate::{CpuState, Leave};

/// Encodings to choose from; those of another mode are something else there, or nothing.
const INSTRUCTIONS: [&[u8]; 38] = [
    &[0xff, 0x28],
    &[0xff, 0x18],
    &[0x48, 0xff, 0x28],
    &[0x48, 0xff, 0x18],
    &[0xcb],
    &[0xca, 0x08, 0x00],
    &[0x66, 0xcb],
    &[0x48, 0xcb],
    &[0xcf],
    &[0x66, 0xcf],
    &[0x48, 0xcf],
    &[0xcc],
    &[0xcd, 0x0d],
    &[0xcd, 0x80],
    &[0xf1],
    &[0xce],
    &[0x8e, 0xd8],
    &[0x8e, 0xd0],
    &[0x8e, 0xe0],
    &[0x0f, 0xa9],
    &[0x0f, 0xb2, 0x20],
    &[0x0f, 0xb4, 0x18],
    &[0x0f, 0x01, 0x10],
    &[0x0f, 0x01, 0x18],
    &[0x0f, 0x01, 0x00],
    &[0x0f, 0x00, 0xd8],
    &[0x0f, 0x00, 0xd0],
    &[0x0f, 0x02, 0xd8],
    &[0x0f, 0x03, 0xd8],
    &[0x0f, 0x00, 0xe0],
    &[0x0f, 0x05],
    &[0x48, 0x0f, 0x07],
    &[0x0f, 0x34],
    &[0x0f, 0x35],
    &[0x0f, 0x23, 0xf8],
    &[0x0f, 0x23, 0xc0],
    &[0xfb],
    &[0x0f, 0x01, 0xf8],
];

/// A machine to be frightened of.
#[derive(Debug, Clone)]
struct Hostile {
    mode: u8,
    instructions: Vec<usize>,
    registers: Vec<u64>,
    rflags: u64,
    descriptors: Vec<u64>,
    gates: Vec<(u16, u16, bool)>,
    stack: Vec<u64>,
    task: (Vec<u16>, u32),
    events: (bool, bool),
}

/// A selector that has some chance of leading somewhere.
fn selector() -> impl Strategy<Value = u16> {
    prop_oneof![4 => 0u16..0x80, 1 => any::<u16>()]
}

fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => selector().prop_map(u64::from),
        2 => 0u64..0x8_0000,
        1 => any::<u64>(),
        1 => (selector(), any::<u16>()).prop_map(|(high, low)| u64::from(high) << 32 | u64::from(low)),
    ]
}

/// A descriptor: any, or one of the usual ones with another type, level or flag.
fn descriptor() -> impl Strategy<Value = u64> {
    let usual = (0usize..DESCRIPTORS.len(), any::<u8>())
        .prop_map(|(index, bits)| DESCRIPTORS[index] ^ u64::from(bits) << 40);
    prop_oneof![3 => usual, 1 => any::<u64>(), 2 => (0usize..DESCRIPTORS.len()).prop_map(|index| DESCRIPTORS[index])]
}

fn hostile() -> impl Strategy<Value = Hostile> {
    let code = vec(0..INSTRUCTIONS.len(), 1..6);
    let machine = (0u8..5, code, vec(word(), 16), any::<u64>());
    let tables = (
        vec(descriptor(), 12),
        vec((selector(), any::<u16>(), any::<bool>()), 4),
        vec(word(), 6),
        (vec(selector(), 12), 0u32..0x80),
    );
    (machine, tables, any::<(bool, bool)>()).prop_map(
        |((mode, instructions, registers, rflags), (descriptors, gates, stack, task), events)| Hostile {
            mode,
            instructions,
            registers,
            rflags,
            descriptors,
            gates,
            stack,
            task,
            events,
        },
    )
}

impl Hostile {
    fn machine(&self) -> Kernel {
        let nothing: Code<'_> = &|a| a.nop();
        let mut kernel = match self.mode {
            0 => Kernel::long(nothing),
            1 => Kernel::user(nothing),
            2 => Kernel::protected(nothing),
            3 => Kernel::protected_user(nothing),
            _ => Kernel::real(nothing),
        };
        let code: Vec<u8> =
            self.instructions.iter().flat_map(|index| INSTRUCTIONS[*index]).copied().collect();
        kernel.ram.write(CODE, &code).unwrap();
        // The usual segments stay, so that not everything fails at once.
        for (index, descriptor) in self.descriptors.iter().enumerate() {
            kernel.write(GDT + 8 * (3 + index as u64), *descriptor);
        }
        for (vector, (selector, attributes, usual)) in [11u8, 13, 0x80, 1].into_iter().zip(&self.gates) {
            if !usual && self.mode < 4 {
                kernel.gate(vector, *selector, HANDLERS, *attributes);
            }
        }
        for (slot, value) in self.task.0.iter().enumerate() {
            kernel.ram.write(TSS + 2 + 4 * slot as u64, &value.to_le_bytes()).unwrap();
        }
        for (slot, value) in self.stack.iter().enumerate() {
            kernel.write(STACK + 8 * slot as u64, *value);
        }
        let state = kernel.state();
        state.gpr.copy_from_slice(&self.registers);
        state.gpr[0] &= 0x7f;
        state.gpr[4] = STACK;
        state.rflags = self.rflags & 0x3c_7fd7 | 2;
        state.tr.limit = self.task.1;
        state.cr4 |= Cr4::DE;
        state.msrs.star = self.stack[0];
        state.msrs.lstar = HANDLERS;
        state.msrs.sysenter_cs = self.stack[1];
        state.msrs.sysenter_eip = HANDLERS;
        state.nmi_pending = self.events.0;
        if self.events.1 {
            state.apic.set_virtual_wire();
            state.set_intr(true);
        }
        kernel
    }
}

/// Runs up to 8 instructions, by so many at a time; how it ended.
fn run(kernel: &mut Kernel, slice: u64) -> (Option<Leave>, u64) {
    let mut retired = 0;
    while retired < 8 {
        let exit = kernel.run(slice.min(8 - retired));
        retired += exit.retired;
        match exit.leave {
            Leave::Budget | Leave::Bus => {}
            other => return (Some(other), retired),
        }
    }
    (None, retired)
}

/// What can never be otherwise.
fn check(state: &CpuState) {
    let code = state.segment(SegmentName::Cs);
    if state.is_protected() {
        assert_eq!(code.selector as u8 & 3, state.cpl());
        assert!(code.attributes.is_code() && code.attributes.present());
    }
    let width = state.mode().width();
    if width == CodeWidth::Bits64 {
        assert!(!code.attributes.big());
        assert_eq!((state.rip << 16) as i64 >> 16, state.rip as i64);
    } else {
        assert!(state.rip <= u64::from(u32::MAX));
    }
    if state.cpl() == 3 {
        assert!(!state.segment(SegmentName::Ss).attributes.unusable());
    }
    assert_eq!(state.rflags & 0xffff_ffff_ffc0_802a, 2);
}

proptest! {
    #[test]
    fn hostile_tables_never_break_the_processor(machine in hostile()) {
        let mut whole = machine.machine();
        let ended = run(&mut whole, 8);
        check(whole.state());
        let mut chopped = machine.machine();
        prop_assert_eq!(run(&mut chopped, 1), ended);
        prop_assert_eq!(chopped.state(), whole.state());
    }
}
