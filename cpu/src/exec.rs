//! A processor while it runs: its state taken apart for speed, and everything it can reach.

use iced_x86::Code;
use ram::GuestRam;

use crate::NS_PER_INSTRUCTION;
use crate::bus::Bus;
use crate::fault::{Fault, Stop};
use crate::flags::{LazyFlags, RFlags};
use crate::memory::Tlb;
use crate::memory::tlb::Set;
use crate::mode::Mode;
use crate::op::Op;
use crate::registers::{Int, SLOTS, Slots, gpr};
use crate::run::Leave;
use crate::state::{CpuState, Cr0, Cr4, InterruptShadow, SegmentName};

/// Virtual nanoseconds of a port access.
pub const PORT_NS: u64 = 700;
/// Of an access to a device by address.
pub const MMIO_NS: u64 = 200;
/// Of PAUSE.
pub const PAUSE_NS: u64 = 40;

/// What this processor does not do, for the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// An instruction it says it has, but has not.
    Instruction(Code),
    /// Code at a physical address that is no memory.
    CodeOutsideMemory(u64),
    /// A feature, named.
    Feature(&'static str),
}

/// A processor while it runs.
pub struct Exec<'a> {
    /// General registers, and two slots of the interpreter's own.
    pub regs: Slots,
    /// Offset in CS of the next instruction: while a block runs, of the one after the block unless a branch is taken.
    pub rip: u64,
    /// RFLAGS.
    pub flags: LazyFlags,
    /// Instructions left to run.
    pub budget: i64,
    /// All other state. Its general registers, RIP and RFLAGS are stale.
    pub state: &'a mut CpuState,
    /// Pages known.
    pub tlb: &'a mut Tlb,
    /// Memory.
    pub ram: &'a GuestRam,
    /// Ports and devices.
    pub bus: &'a mut dyn Bus,
    /// Whose entries loads and stores use.
    pub data_set: Set,
    /// The running block has one instruction, which may touch devices and code.
    pub alone: bool,
    /// Something may have to be done before the next block: an interrupt, a change of activity, code that was rewritten.
    pub attention: bool,
    /// Set to leave the loop before the next block.
    pub leave: Option<Leave>,
    /// Of [`Stop::Fault`].
    pub fault: Fault,
    /// The fault came from an address that is not canonical: #SS instead of #GP for a stack reference.
    pub noncanonical: bool,
    /// Bits for DR6 that the running instruction has earned: a debug trap follows it.
    pub(crate) earned: u64,
    /// Of [`Stop::Unimplemented`].
    pub missing: Option<Missing>,
    /// Of the block that runs.
    pub mode: Mode,
    /// Somebody watches code.
    pub(crate) watching: bool,
    /// The watched address that was told of, and whose instruction is still to be executed.
    pub(crate) announced: Option<u64>,
    start_budget: i64,
    start_ns: u64,
    spent_ns: u64,
}

impl<'a> Exec<'a> {
    /// Takes a processor's state apart.
    pub(crate) fn new(
        state: &'a mut CpuState,
        tlb: &'a mut Tlb,
        ram: &'a GuestRam,
        bus: &'a mut dyn Bus,
        now: u64,
        budget: i64,
    ) -> Self {
        let mut regs = [0; SLOTS];
        regs[..16].copy_from_slice(&state.gpr);
        let watching = bus.watches_code();
        let mut exec = Self {
            watching,
            announced: None,
            regs,
            rip: state.rip,
            flags: LazyFlags::new(state.rflags),
            budget,
            mode: state.mode(),
            state,
            tlb,
            ram,
            bus,
            data_set: Set::Supervisor,
            alone: false,
            attention: true,
            leave: None,
            fault: Fault::UD,
            noncanonical: false,
            earned: 0,
            missing: None,
            start_budget: budget,
            start_ns: now,
            spent_ns: 0,
        };
        exec.rights_changed();
        exec
    }

    /// Puts the state together again.
    pub(crate) fn put_together(&mut self) {
        self.state.gpr.copy_from_slice(&self.regs[..16]);
        self.state.rip = self.rip;
        self.state.rflags = self.flags.rflags();
    }

    /// Instructions retired so far. Exact in a block of its own.
    pub fn retired(&self) -> u64 {
        (self.start_budget - self.budget).unsigned_abs()
    }

    /// Virtual nanoseconds spent beyond those of instructions.
    pub fn spent(&self) -> u64 {
        self.spent_ns
    }

    /// Virtual run time in nanoseconds. Exact in a block of its own.
    pub fn now(&self) -> u64 {
        self.start_ns.wrapping_add(self.retired() * NS_PER_INSTRUCTION).wrapping_add(self.spent_ns)
    }

    /// Something takes longer than an instruction; the caller looks at its deadlines afterwards.
    pub fn spend(&mut self, ns: u64) {
        self.spent_ns += ns;
        self.request_leave(Leave::Bus);
    }

    /// Leaves the loop after this instruction, which must be the last of its block.
    pub fn request_leave(&mut self, leave: Leave) {
        self.leave = Some(leave);
        self.attention = true;
    }

    /// Records that this processor lacks a feature the guest asked for. To be returned as an error.
    #[cold]
    pub fn lacks(&mut self, feature: &'static str) -> Stop {
        self.missing = Some(Missing::Feature(feature));
        Stop::Unimplemented
    }

    /// Records a fault. To be returned as an error.
    #[cold]
    pub fn raise(&mut self, fault: Fault) -> Stop {
        self.fault = fault;
        Stop::Fault
    }

    /// A fault of an access through the stack segment is #SS where another segment's is #GP.
    pub fn as_stack_fault(&mut self, stop: Stop) -> Stop {
        if stop == Stop::Fault && std::mem::take(&mut self.noncanonical) {
            return self.raise(Fault::SS0);
        }
        stop
    }

    /// To be called when CPL, CR4.SMAP, CR0.AM or RFLAGS.AC changed: whose pages may be touched, and how, depends on them.
    pub fn rights_changed(&mut self) {
        self.mode = self.state.mode();
        self.data_set = self.set_of_level(self.state.cpl());
    }

    /// Whose pages an access at this privilege level may touch.
    pub(crate) fn set_of_level(&self, level: u8) -> Set {
        let ac = self.flags.system().contains(RFlags::AC);
        if level == 3 {
            if ac && self.state.cr0.contains(Cr0::AM) { Set::UserAligned } else { Set::User }
        } else if ac && self.state.cr4.contains(Cr4::SMAP) {
            Set::SupervisorAc
        } else {
            Set::Supervisor
        }
    }

    /// Whether CPL is 3.
    #[inline]
    pub fn is_user(&self) -> bool {
        self.mode.is_user()
    }

    /// Reads a register.
    #[inline(always)]
    pub fn reg<T: Int>(&self, register: u8) -> T {
        T::get(&self.regs, register)
    }

    /// Writes a register.
    #[inline(always)]
    pub fn set_reg<T: Int>(&mut self, register: u8, value: T) {
        T::set(&mut self.regs, register, value);
    }

    /// EDX:EAX, as instructions of 64-bit values have it in every mode.
    pub(crate) fn edx_eax(&self) -> u64 {
        u64::from(self.reg::<u32>(gpr::RDX)) << 32 | u64::from(self.reg::<u32>(gpr::RAX))
    }

    /// Sets EDX and EAX; in 64-bit mode the upper halves of both registers become 0.
    pub(crate) fn set_edx_eax(&mut self, value: u64) {
        self.set_reg(gpr::RDX, (value >> 32) as u32);
        self.set_reg(gpr::RAX, value as u32);
    }

    /// The memory operand's offset, before the address size and the segment are applied.
    #[inline(always)]
    pub fn offset(&self, op: &Op) -> u64 {
        self.regs[op.base as usize % SLOTS]
            .wrapping_add(self.regs[op.index as usize % SLOTS] << (op.scale & 3))
            .wrapping_add(op.disp as i64 as u64)
    }

    /// Linear address of the memory operand, of which `bytes` will be accessed.
    ///
    /// # Errors
    /// A violation of the segment's limit or type.
    #[inline(always)]
    pub fn address(&mut self, op: &Op, bytes: u8) -> Result<u64, Stop> {
        let offset = self.offset(op);
        if op.segment.is_flat() { Ok(offset) } else { self.segmented(op, offset, bytes, false) }
    }

    /// The same for an access that writes.
    ///
    /// # Errors
    /// A violation of the segment's limit or type.
    #[inline(always)]
    pub fn address_for_write(&mut self, op: &Op, bytes: u8) -> Result<u64, Stop> {
        let offset = self.offset(op);
        if op.segment.is_flat() { Ok(offset) } else { self.segmented(op, offset, bytes, true) }
    }

    /// Linear address of another offset than that of the memory operand, in its segment and of its address size.
    ///
    /// # Errors
    /// A violation of the segment's limit or type.
    #[inline(always)]
    pub fn address_at(&mut self, op: &Op, offset: u64, bytes: u8, write: bool) -> Result<u64, Stop> {
        if op.segment.is_flat() { Ok(offset) } else { self.segmented(op, offset, bytes, write) }
    }

    #[cold]
    #[inline(never)]
    fn segmented(&mut self, op: &Op, offset: u64, bytes: u8, write: bool) -> Result<u64, Stop> {
        self.linear(op.segment.segment(), offset & op.segment.address_mask(), u32::from(bytes), write)
    }

    /// Linear address of an offset in a segment (SDM 3A 5.3, 5.5).
    ///
    /// # Errors
    /// #SS or #GP.
    #[inline(never)]
    pub fn linear(&mut self, name: SegmentName, offset: u64, bytes: u32, write: bool) -> Result<u64, Stop> {
        let segment = *self.state.segment(name);
        if self.mode.is_64() {
            let base = if matches!(name, SegmentName::Fs | SegmentName::Gs) { segment.base } else { 0 };
            return Ok(base.wrapping_add(offset));
        }
        let attributes = segment.attributes;
        // In real mode the type is not looked at: code is written through CS.
        let allowed = !self.state.is_protected()
            || !attributes.unusable()
                && if write { attributes.is_writable() } else { attributes.is_readable() };
        if segment.holds(offset, bytes) && allowed {
            return Ok(segment.base.wrapping_add(offset) & 0xffff_ffff);
        }
        let fault = if name == SegmentName::Ss { Fault::SS0 } else { Fault::GP0 };
        Err(self.raise(fault))
    }

    /// A linear address after addition: 32 bits outside 64-bit mode.
    #[inline]
    pub fn wrap_linear(&self, linear: u64) -> u64 {
        if self.state.is_long() { linear } else { linear & 0xffff_ffff }
    }

    /// Whether the upper bits are copies of bit 47. Every address outside long mode is canonical, having 32 bits.
    #[inline]
    pub fn is_canonical(&self, linear: u64) -> bool {
        (linear << 16) as i64 >> 16 == linear as i64
    }

    /// Whether the next instruction must run alone: it is stepped, watched, or in a shadow.
    pub(crate) fn is_stepped(&self) -> bool {
        self.state.shadow != InterruptShadow::None
            || self.flags.system().contains(RFlags::TF)
            || self.state.debug[5] & 0xff != 0
    }

    /// Whether some data breakpoint is enabled: no access may take the fast path then.
    pub(crate) fn watches_data(&self) -> bool {
        self.state.debug[5] & 0xff != 0
    }
}
