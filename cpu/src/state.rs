//! Everything a processor holds, as plain data.

mod control;
mod fpu;
mod msrs;
mod reset;
mod segment;
mod time;
mod wait;

use serde::{Deserialize, Serialize};

pub use control::{Cr0, Cr4, Efer};
pub use fpu::Fpu;
pub(crate) use fpu::status;
pub use msrs::Msrs;
pub use segment::{Attributes, Segment, SegmentName, TableRegister};

use crate::apic::LocalApic;
use crate::cpuid::Identity;
use crate::mode::{CodeWidth, Mode};

/// Whether and how a processor goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activity {
    /// It executes instructions.
    Running,
    /// HLT: until an interrupt.
    Halted,
    /// After INIT: until a start-up IPI.
    WaitForSipi,
    /// Triple fault: until a reset.
    Shutdown,
}

/// Interrupts that the last instruction holds back for one more instruction (SDM 3A 6.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InterruptShadow {
    /// None.
    None,
    /// STI set IF: no maskable interrupt.
    Sti,
    /// MOV SS or POP SS: no interrupt and no debug trap.
    MovSs,
}

/// A processor. Both engines use it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CpuState {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// Offset in CS.
    pub rip: u64,
    /// As software sees it.
    pub rflags: u64,
    /// ES, CS, SS, DS, FS, GS, in the order instructions encode them.
    pub segments: [Segment; 6],
    /// Local descriptor table.
    pub ldtr: Segment,
    /// Task register.
    pub tr: Segment,
    /// Global descriptor table.
    pub gdtr: TableRegister,
    /// Interrupt descriptor table.
    pub idtr: TableRegister,
    /// Control registers.
    pub cr0: Cr0,
    /// Address of the last page fault.
    pub cr2: u64,
    /// Root of the page tables, with PCID.
    pub cr3: u64,
    /// More control.
    pub cr4: Cr4,
    /// XCR0: state that XSAVE handles.
    pub xcr0: u64,
    /// DR0 to DR3, DR6, DR7.
    pub debug: [u64; 6],
    /// Model-specific registers.
    pub msrs: Msrs,
    /// x87, SSE.
    pub fpu: Fpu,
    /// Where RDRAND and RDSEED have got to. Whoever makes the machine sets it from the seed, for each processor another.
    pub random: u64,
    /// Local APIC.
    pub apic: LocalApic,
    /// What CPUID says.
    pub identity: Identity,
    /// Goes on, waits, or is dead.
    pub activity: Activity,
    /// Start-up IPIs that it will miss while it waits for one: a fault. Whoever makes the machine sets it.
    pub start_ups_missed: u32,
    /// What the last instruction holds back.
    pub shadow: InterruptShadow,
    /// Bits for DR6 of a debug trap that waits.
    pub pending_debug: u64,
    /// An NMI waits.
    pub nmi_pending: bool,
    /// No NMI until IRET.
    pub nmi_blocked: bool,
}

impl AsMut<Self> for CpuState {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

impl CpuState {
    /// A segment register.
    #[inline]
    pub fn segment(&self, name: SegmentName) -> &Segment {
        &self.segments[name as usize]
    }

    /// Current privilege level: that of SS, or 0 in real mode.
    #[inline]
    pub fn cpl(&self) -> u8 {
        if self.is_protected() { self.segments[SegmentName::Ss as usize].attributes.dpl() } else { 0 }
    }

    /// Whether protected mode is on (also in long mode).
    #[inline]
    pub fn is_protected(&self) -> bool {
        self.cr0.contains(Cr0::PE)
    }

    /// Whether long mode is active, 64-bit or compatibility.
    #[inline]
    pub fn is_long(&self) -> bool {
        self.msrs.efer.contains(Efer::LMA)
    }

    /// What the decoder needs to know.
    pub fn mode(&self) -> Mode {
        let cs = self.segment(SegmentName::Cs);
        let width = if self.is_long() && cs.attributes.long() {
            CodeWidth::Bits64
        } else if cs.attributes.big() {
            CodeWidth::Bits32
        } else {
            CodeWidth::Bits16
        };
        // 64-bit mode does not look at SS, which is null or not depending on how the kernel was entered.
        let big_stack = width != CodeWidth::Bits64 && self.segment(SegmentName::Ss).attributes.big();
        Mode::new(width, big_stack, self.cpl() == 3)
    }
}
