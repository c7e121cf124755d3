//! Places in a kernel's code that say where it is in a sleep.

use cpu::CpuState;
use cpu::memory::translate;
use ram::GuestRam;
use vmm::CodePoint;
use vmm::kallsyms::Symbols;

/// A place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Landmark {
    /// Devices are about to be told of a sleep: user space is frozen.
    Prepare,
    /// Devices are about to be taken down.
    SuspendEnd,
    /// They are down: where `dpm_suspend_end` returns to.
    Suspended,
    /// Devices are about to be woken.
    ResumeStart,
    /// The same, and in other kinds of sleep as well.
    ResumeNoirq,
    /// Devices work again.
    Complete,
    /// Clocks are about to stand still.
    TimeStops,
    /// Clocks are about to go on.
    TimeGoesOn,
    /// swsusp is about to copy memory.
    Snapshot,
    /// The restored kernel's first instruction.
    RestoreRegisters,
    /// A kexec is about to happen: the last instructions before it.
    RelocateKernel,
    /// The first instruction after a jump back.
    VirtualMapped,
    /// SYSRET.
    ToUserBySysret,
    /// IRET to user mode, some instructions before it.
    ToUserByIret,
}

use Landmark::{
    Complete, Prepare, RelocateKernel, RestoreRegisters, ResumeNoirq, ResumeStart, Snapshot, SuspendEnd,
    Suspended, TimeGoesOn, TimeStops, ToUserByIret, ToUserBySysret, VirtualMapped,
};

impl Landmark {
    const ALL: [Self; 14] = [
        Prepare,
        SuspendEnd,
        Suspended,
        ResumeStart,
        ResumeNoirq,
        Complete,
        TimeStops,
        TimeGoesOn,
        Snapshot,
        RestoreRegisters,
        RelocateKernel,
        VirtualMapped,
        ToUserBySysret,
        ToUserByIret,
    ];

    /// The symbol whose first instruction it is. None: it is found on the way.
    fn symbol(self) -> Option<&'static str> {
        Some(match self {
            Prepare => "dpm_prepare",
            SuspendEnd => "dpm_suspend_end",
            Suspended => return None,
            ResumeStart => "dpm_resume_start",
            ResumeNoirq => "dpm_resume_noirq",
            Complete => "dpm_complete",
            TimeStops => "timekeeping_suspend",
            TimeGoesOn => "timekeeping_resume",
            Snapshot => "swsusp_arch_suspend",
            RestoreRegisters => "restore_registers",
            RelocateKernel => "relocate_kernel",
            VirtualMapped => "virtual_mapped",
            ToUserBySysret => "entry_SYSRETQ_unsafe_stack",
            ToUserByIret => "swapgs_restore_regs_and_return_to_usermode",
        })
    }

    /// The one with this number as a code point.
    pub fn of_point(point: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|landmark| *landmark as u16 == point)
    }
}

/// Where the landmarks of a kernel are. Kernels of this machine are entered unpacked, so that they run where they were linked.
#[derive(Debug, Clone, Default)]
pub struct Landmarks(Vec<(Landmark, u64)>);

impl Landmarks {
    /// Where a kernel's text is mapped to, if it was not moved.
    const KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;

    /// Of an unpacked kernel. Empty, if it has no table of symbols in it (CONFIG_KALLSYMS).
    pub fn of_kernel(bytes: &[u8]) -> Self {
        let Some(symbols) = Symbols::find_in(bytes).into_iter().next() else { return Self::default() };
        let all = Landmark::ALL.into_iter();
        Self(all.filter_map(|landmark| Some((landmark, symbols.address(landmark.symbol()?)?))).collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The linear address of one.
    pub fn address(&self, landmark: Landmark) -> Option<u64> {
        self.0.iter().find(|(other, _)| *other == landmark).map(|(_, address)| *address)
    }

    /// As a machine watches them: where the kernel's own text is, so that another kernel at the same addresses is no matter.
    pub fn points(&self) -> impl Iterator<Item = CodePoint> + '_ {
        self.0.iter().map(|(landmark, linear)| CodePoint {
            linear: *linear,
            physical: linear.checked_sub(Self::KERNEL_MAP),
            id: *landmark as u16,
        })
    }
}

/// Where the function returns to whose first instruction this processor is about to execute.
pub fn return_address(state: &CpuState, ram: &GuestRam, landmark: Landmark) -> Option<CodePoint> {
    let linear = cpu::memory::peek(state, ram, state.gpr[4])?;
    Some(CodePoint { linear, physical: Some(translate(state, ram, linear)?), id: landmark as u16 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landmarks_are_found_by_number_and_a_kernel_without_symbols_has_none() {
        for landmark in Landmark::ALL {
            assert_eq!(Landmark::of_point(landmark as u16), Some(landmark));
        }
        assert_eq!(Landmark::of_point(99), None);
        assert!(Landmarks::of_kernel(&[0; 100]).is_empty());
    }
}
