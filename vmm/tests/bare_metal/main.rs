//! One guest, every engine: what a kernel does to a processor, in assembly, on our machine and, as reference, under QEMU.
//!
//! A guest (`guests/*.S`) prints what it observes; `guests/*.snap` is what has to come out, line by line, wherever it runs. Where QEMU is
//! known to differ from the manuals, its lines are named here with the reason.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod assemble;
mod golden;
mod qemu;
mod repack;
mod snapshot_bytes;
mod snapshots;
mod software;

use std::fmt;

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// By itself, with a status.
    Exit(u8),
    /// By a triple fault or another reset.
    Reset,
    /// Something else, which is an error.
    Other(String),
}

/// What a guest printed, and how it ended.
struct Run {
    text: String,
    end: End,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.trim();
        match &self.end {
            End::Exit(status) => write!(f, "{text}\n[exit {status}]"),
            End::Reset => write!(f, "{text}\n[reset]"),
            End::Other(what) => write!(f, "{text}\n[{what}]"),
        }
    }
}

/// Lines that QEMU prints otherwise, by how they begin, and why.
type Differences = &'static [(&'static str, &'static str)];

const MEMORY: u64 = 64 << 20;

/// `name(processors)`, and what QEMU does otherwise; or `name(processors) without qemu: reason`.
macro_rules! guests {
    ($($name:ident($processors:literal) $(differs $differences:expr)? $(; without qemu $reason:literal)?),* $(,)?) => {$(
        mod $name {
            const NAME: &str = stringify!($name);

            #[test]
            fn software() {
                let mut guest = crate::software::Guest::new(NAME, $processors);
                crate::golden::assert(NAME, &guest.run());
            }

            #[test]
            fn software_in_pieces() {
                crate::compare_pieces(NAME, $processors);
            }

            #[test]
            fn software_from_snapshots() {
                crate::snapshots::compare(NAME, $processors);
            }

            guests!(@qemu $processors, [$($differences)?] $($reason)?);
        }
    )*};
    (@qemu $processors:literal, [$($differences:expr)?]) => {
        #[test]
        fn qemu() {
            const DIFFERENCES: &[crate::Differences] = &[$($differences)?];
            crate::golden::assert_but_for(NAME, &crate::qemu::run(NAME, $processors), &DIFFERENCES.concat());
        }
    };
    (@qemu $processors:literal, [] $reason:literal) => {
        /// No reference.
        #[allow(dead_code)]
        const WITHOUT_QEMU: &str = $reason;
    };
}

/// Where a run is cut does not change it: every instruction, exception and interrupt of a guest comes out the same, to the bit.
fn compare_pieces(name: &str, processors: u32) {
    let [mut whole, mut cut] = [(); 2].map(|()| software::Guest::new(name, processors));
    // At first a few instructions at a time, then many: some guests wait for long.
    let mut random = 1u32;
    let mut piece = move |most: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u64::from(1 + (random >> 8) % most)
    };
    let pieces = (0u32..).map(|number| piece(if number < 40_000 { 5 } else { 10_000 }));
    assert_eq!(cut.run_in_pieces(pieces).to_string(), whole.run().to_string());
    assert_eq!(cut.digest(), whole.digest(), "{name}");
}

/// Whose turn it is when is nothing that a guest can see the end of.
#[test]
fn processors_may_take_turns_of_any_length() {
    for name in ["processors", "x2apic"] {
        for (quantum, seed) in [(1, 1), (2, 7), (30, 3), (1_000, 9), (100_000, 1)] {
            let config = vmm::Config { processors: 2, quantum, seed, ..vmm::Config::default() };
            golden::assert_but_for(name, &software::Guest::with(name, config).run(), &[]);
        }
    }
}

guests! {
    delivery(1) differs &[
        ("stack of the interrupt stack table", "SS becomes null without a change of privilege"),
        ("no right", "error codes have the entry of 8 bytes, not the vector"),
        ("no gate", "error codes have the entry of 8 bytes, not the vector"),
        ("UD without gate", "error codes have the entry of 8 bytes, not the vector"),
        ("INT1 at level 3", "not known"),
        ("handler at an address that is not canonical", "found out on arrival"),
        ("UD, SS for want of a canonical stack", "it is #GP"),
        ("SS for want of a canonical stack", "the error code lacks EXT"),
        ("code segment is marked", "it is not"),
        ("RF of a fault", "not set"),
    ],
    segment_loads(1) differs &[
        ("DS, LDT without LDT", "accepted"),
        ("SS, null with RPL 1", "accepted"),
        ("LLDT, upper half with a type", "accepted"),
        ("LLDT, address that is not canonical", "accepted"),
        ("LTR, 16 bits", "accepted"),
    ],
    fatal_to_qemu(1); without qemu "it runs away",
    far_transfers(1) differs &[
        ("jump, both L and D", "accepted"),
        ("jump: ", "the descriptor is not marked as accessed"),
        ("return to level 3, stack not present", "#NP"),
        ("return to an address that is not canonical", "found out on arrival"),
        ("gate to an address that is not canonical", "found out on arrival"),
    ],
    system_calls(1) differs &[
        ("SYSCALL in compatibility mode", "as AMD has it"),
        ("SYSRET to 32-bit code", "not all flags are as they always are"),
        ("SYSRET to 64-bit code", "RF is loaded"),
        ("SYSRET to an address that is not canonical", "found out on arrival"),
        ("SYSEXIT to 32-bit code", "RSP keeps 64 bits"),
        ("SYSEXIT to an address that is not canonical", "found out on arrival"),
        ("SYSENTER without selector", "accepted"),
        ("SYSEXIT without selector", "accepted"),
        ("LSTAR, ", "accepted"),
        ("CSTAR, ", "accepted"),
        ("SYSENTER_E", "accepted"),
        ("FMASK", "accepted"),
    ],
    interrupt_returns(1) differs &[
        ("flags: ", "VIF and VIP are not loaded"),
        ("level 3, flags", "VIF and VIP are not loaded"),
        ("32-bit code of level 0, null stack", "accepted"),
        ("stack not present", "#NP"),
        ("both L and D", "accepted"),
        ("beyond the limit of the segment", "accepted"),
        ("address that is not canonical", "found out on arrival"),
    ],
    held_back(1),
    single_step(1) differs &[
        ("STI does not", "it does"),
        ("each iteration", "one more, which finds that there is none left"),
    ],
    breakpoints(1) differs &[
        ("breakpoint: ", "RF is not set"),
        ("breakpoint behind MOV SS", "hit"),
        ("two at once", "only one is told of"),
        ("general detect", "not known"),
        ("DR7, bits", "bit 11 can be set"),
    ],
    self_modified(1),
    repeats(1),
    processors(2),
    apic_timer(1) differs &[
        ("a vector below 16", "no error is told of"),
        ("sending a vector below 16", "no error is told of"),
        ("switched off by software", "the local vector table is not masked"),
    ],
    legacy_interrupts(1),
    ioapic(1) differs &[("registers", "reserved bits can be set")],
    tsc_deadline(1); without qemu "TCG has no TSC deadline before QEMU 9",
    x2apic(2); without qemu "TCG has no x2APIC before QEMU 9",
    protected(1) differs &[
        ("UD2", "RF is not set"),
        ("level 1, stack not present", "#TS"),
        ("level 1, stack too small", "found out too late"),
        ("SYSCALL", "as AMD has it"),
    ],
    legacy_paging(1) differs &[
        ("two levels, reserved bit", "the error code lacks bit 0"),
        ("three levels, reserved bit", "the error code lacks bit 0, and of a pointer it is not looked at"),
        ("three levels, write", "pointers are marked as accessed"),
    ],
    modes(1) differs &[("limit", "not looked at"), ("LOCK MOV", "LOCK is ignored")],
    extended_state(1) differs &[
        ("FXSAVE64", "reserved bytes are written as ones"),
        ("FXRSTOR, reserved bit", "accepted"),
        ("LDMXCSR, reserved bit", "accepted"),
        ("XRSTOR, reserved bit", "accepted"),
        ("FNSAVE", "reserved halves are written as zeros"),
        ("CR0.TS, XSAVE", "not looked at"),
        ("CR0.EM, FXSAVE", "#NM"),
        ("x87, divide by zero", "the stack is popped, though the exception is not masked"),
        ("comes with the next instruction", "FWAIT alone looks for exceptions"),
        ("MMX", "FWAIT alone looks for exceptions"),
        ("SSE, divide by zero", "never raises #XM"),
    ],
    control_registers(1); without qemu "TCG accepts values that contradict themselves, and falls over them",
    ports(1),
    instructions(1) differs &[
        ("8F /1", "accepted"),
        ("C6 /1", "accepted"),
        ("LOCK MOV", "LOCK is ignored"),
        ("LOCK BT:", "LOCK is ignored"),
        ("LOCK TEST", "LOCK is ignored"),
        ("CMPXCHG16B, no page", "reported as a read"),
    ],
    model_specific(1); without qemu "TCG refuses no register and no value",
    alignment(1); without qemu "TCG checks no alignment",
    no_descriptors(1),
    hostile(1); without qemu "what is nowhere is other than on our board",
    segment_limits(1); without qemu "TCG looks neither at limits nor at the types of data segments",
    triple_fault(1),
    translations(1),
    page_faults(1) differs &[
        ("no page, read and write", "reported as a read"),
        ("reserved bit", "the error code lacks bit 0"),
        ("no-execute bit reserved", "the error code lacks bit 0"),
        ("SMAP, LDT", "accesses of the system's own obey AC"),
        ("not canonical", "looked at only when an address is translated, and then always #GP"),
    ],
}
