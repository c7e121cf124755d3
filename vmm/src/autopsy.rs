//! Where a machine stands, for a person: each processor, its instruction pointer and its stack by the kernel's own symbols.

use std::fmt;

use cpu::CpuState;
use cpu::state::Activity;

use crate::kallsyms::{Place, Symbols};
use crate::machine::Machine;

/// What is known of a machine that went no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Autopsy {
    processors: Vec<Processor>,
    /// How many kernels' symbols were found.
    kernels: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Processor {
    activity: Activity,
    rip: u64,
    place: Option<Place>,
    registers: String,
    /// Return addresses on the stack, as far as they are text of the kernel: a guess, newest first.
    stack: Vec<Place>,
}

/// Words of the stack that are looked at, and frames shown.
const WORDS: u64 = 512;
const FRAMES: usize = 12;

impl Autopsy {
    /// Of a machine as it stands.
    pub fn of(machine: &Machine) -> Self {
        let kernels = Symbols::find(machine.ram());
        let processors = machine.processors().map(|state| Processor::of(state, machine, &kernels)).collect();
        Self { processors, kernels: kernels.len() }
    }
}

impl Processor {
    fn of(state: &CpuState, machine: &Machine, kernels: &[Symbols]) -> Self {
        let place = |address: u64| kernels.iter().find_map(|symbols| symbols.place(address));
        let rip = state.segments[1].base.wrapping_add(state.rip);
        let [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15] = state.gpr;
        let registers = format!(
            "rax {rax:#x} rbx {rbx:#x} rcx {rcx:#x} rdx {rdx:#x} rsi {rsi:#x} rdi {rdi:#x} rbp {rbp:#x} rsp {rsp:#x} \
             r8 {r8:#x} r9 {r9:#x} r10 {r10:#x} r11 {r11:#x} r12 {r12:#x} r13 {r13:#x} r14 {r14:#x} r15 {r15:#x} \
             rflags {:#x} cs {:#x} cr0 {:#x} cr2 {:#x} cr3 {:#x} cr4 {:#x} efer {:#x}",
            state.rflags,
            state.segments[1].selector,
            state.cr0.bits(),
            state.cr2,
            state.cr3,
            state.cr4.bits(),
            state.msrs.efer.bits(),
        );
        let text =
            kernels.iter().find_map(|symbols| Some((symbols.address("_stext")?, symbols.address("_etext")?)));
        let is_text = |address: &u64| text.is_some_and(|(start, end)| (start..end).contains(address));
        let stack = (0..WORDS)
            .map_while(|word| cpu::memory::peek(state, machine.ram(), rsp.wrapping_add(8 * word)))
            .filter(is_text)
            .filter_map(place)
            .take(FRAMES)
            .collect();
        Self { activity: state.activity, rip, place: place(rip), registers, stack }
    }
}

impl fmt::Display for Autopsy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, processor) in self.processors.iter().enumerate() {
            let Processor { activity, rip, place, registers, stack } = processor;
            let place = place.as_ref().map(|place| format!("  {place}")).unwrap_or_default();
            writeln!(f, "processor {number}  {activity:?} at {rip:#x}{place}")?;
            writeln!(f, "  {registers}")?;
            for frame in stack {
                writeln!(f, "  ? {frame}")?;
            }
        }
        if self.kernels == 0 {
            writeln!(f, "no kernel's symbols in memory (CONFIG_KALLSYMS): addresses only")?;
        }
        Ok(())
    }
}
