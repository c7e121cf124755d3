//! Breakpoints, single steps and what they leave in the debug registers (SDM 3B chapter 17).

use crate::exec::Exec;
use crate::fault::{Done, Fault};
use crate::flags::RFlags;
use crate::state::{Cr4, InterruptShadow, SegmentName};

/// DR6: the breakpoints that were hit.
pub(crate) const BREAKPOINTS: u64 = 15;
/// DR6.BD: a debug register was about to be accessed.
pub(crate) const ACCESS_DETECTED: u64 = 1 << 13;
/// DR6.BS: single step.
const SINGLE_STEP: u64 = 1 << 14;
/// IA32_DEBUGCTL.BTF: single steps are from branch to branch.
const BRANCH_TRAP: u64 = 1 << 1;
/// DR7: enable bits of the four breakpoints, local and global.
const ENABLED: u64 = 0xff;
/// DR7.GD: accesses to debug registers are detected.
pub(crate) const GENERAL_DETECT: u64 = 1 << 13;

/// For what a breakpoint waits (R/W of DR7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    Execution,
    Write,
    Port,
    Access,
}

/// An enabled breakpoint.
#[derive(Debug, Clone, Copy)]
struct Breakpoint {
    /// Its bit in DR6.
    bit: u64,
    waits: Waits,
    address: u64,
    bytes: u64,
}

impl Breakpoint {
    /// Whether some byte of an access is watched. A breakpoint's address is aligned, whatever its register says.
    fn touches(&self, address: u64, bytes: u64) -> bool {
        let start = self.address & !(self.bytes - 1);
        address.wrapping_sub(start) < self.bytes || start.wrapping_sub(address) < bytes
    }
}

impl Exec<'_> {
    /// Whether something has to be looked at after each instruction.
    pub(super) fn is_debugged(&self) -> bool {
        self.flags.system().contains(RFlags::TF) || self.watches_data()
    }

    /// Before an instruction that runs alone.
    ///
    /// # Errors
    /// A breakpoint at its address.
    pub(crate) fn begin_step(&mut self) -> Done {
        let flags = self.flags.system();
        self.earned = 0;
        let shadow = std::mem::replace(&mut self.state.shadow, InterruptShadow::None);
        // An instruction after MOV SS is not broken at (SDM 3A 6.8.3).
        if self.watches_data() && !flags.contains(RFlags::RF) && shadow != InterruptShadow::MovSs {
            let cs = self.state.segment(SegmentName::Cs).base;
            let linear = if self.mode.is_64() { self.rip } else { cs.wrapping_add(self.rip) & 0xffff_ffff };
            let hit = self.hit(linear, 1, |waits| waits == Waits::Execution);
            if hit != 0 {
                return Err(self.raise(Fault::debug(hit)));
            }
        }
        if flags.contains(RFlags::RF) {
            self.flags.replace(RFlags::RF, RFlags::empty());
        }
        if flags.contains(RFlags::TF) {
            self.earned = SINGLE_STEP;
        }
        Ok(())
    }

    /// After an instruction that ran alone and did not fault. With BTF, single steps are from branch to branch (SDM 3B 18.4.3).
    pub(crate) fn end_step(&mut self, branched: bool) {
        let mut earned = std::mem::take(&mut self.earned);
        let by_branches = self.state.msrs.debug_control & BRANCH_TRAP != 0;
        if self.state.shadow == InterruptShadow::MovSs || by_branches && !branched {
            earned &= !SINGLE_STEP;
        }
        self.state.pending_debug |= earned;
        self.attention |= self.state.pending_debug != 0;
    }

    /// The running instruction cleared TF in a way that takes back its own single step: a system call.
    pub(crate) fn forget_single_step(&mut self) {
        self.earned &= !SINGLE_STEP;
    }

    /// Whether RF means anything. While it does not it stays clear in RFLAGS, so that nothing has to be stepped for its sake.
    pub(crate) fn is_rf_tracked(&self) -> bool {
        self.watches_data()
    }

    /// A data access of a running instruction.
    #[inline]
    pub(crate) fn watch(&mut self, linear: u64, bytes: usize, write: bool) {
        if self.watches_data() {
            let hit = self
                .hit(linear, bytes as u64, |waits| waits == Waits::Access || write && waits == Waits::Write);
            self.earned |= hit;
        }
    }

    /// An access to a port by the running instruction.
    pub(crate) fn watch_port(&mut self, port: u16, bytes: u8) {
        if self.watches_data() && self.state.cr4.contains(Cr4::DE) {
            self.earned |= self.hit(u64::from(port), u64::from(bytes), |waits| waits == Waits::Port);
        }
    }

    /// DR6 and DR7 when a debug exception is delivered. Bits of breakpoints are set anew, all others are left to software.
    pub(crate) fn note_debug_exception(&mut self, dr6: u64) {
        self.state.debug[4] = self.state.debug[4] & !BREAKPOINTS | dr6;
        self.state.debug[5] &= !GENERAL_DETECT;
        self.state.msrs.debug_control &= !BRANCH_TRAP;
    }

    fn hit(&self, address: u64, bytes: u64, waits: impl Fn(Waits) -> bool) -> u64 {
        let dr7 = self.state.debug[5];
        (0..4)
            .filter(|number| dr7 & ENABLED & 3 << (2 * number) != 0)
            .map(|number| self.breakpoint(number))
            .filter(|breakpoint| waits(breakpoint.waits) && breakpoint.touches(address, bytes))
            .fold(0, |hit, breakpoint| hit | breakpoint.bit)
    }

    fn breakpoint(&self, number: usize) -> Breakpoint {
        let dr7 = self.state.debug[5];
        let waits = match dr7 >> (16 + 4 * number) & 3 {
            0 => Waits::Execution,
            1 => Waits::Write,
            2 => Waits::Port,
            _ => Waits::Access,
        };
        let bytes = match dr7 >> (18 + 4 * number) & 3 {
            _ if waits == Waits::Execution => 1,
            0 => 1,
            1 => 2,
            2 => 8,
            _ => 4,
        };
        Breakpoint { bit: 1 << number, waits, address: self.state.debug[number % 4], bytes }
    }
}

#[cfg(test)]
mod tests;
