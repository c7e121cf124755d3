//! RESET, INIT and the start-up IPI (SDM 3A 10.1, table 10-1).

use crate::apic::LocalApic;
use crate::cpuid::Identity;
use crate::flags::RFlags;
use crate::registers::gpr;
use crate::state::{
    Activity, Attributes, CpuState, Cr0, Cr4, Efer, Fpu, InterruptShadow, Msrs, Segment, SegmentName,
    TableRegister,
};

impl CpuState {
    /// The only processor of a machine after power-on, before any firmware ran.
    pub fn reset() -> Self {
        Self::power_on(Identity::default())
    }

    /// A processor of this identity after power-on or RESET, before any firmware ran. The one with APIC id 0 runs, the others wait
    /// for a start-up IPI.
    pub fn power_on(identity: Identity) -> Self {
        let is_boot_processor = identity.apic_id == 0;
        let mut state = Self {
            gpr: [0; 16],
            rip: 0,
            rflags: 0,
            segments: [Segment::real(0); 6],
            ldtr: Segment::system(Attributes::LDT),
            tr: Segment::system(Attributes::BUSY_TSS),
            gdtr: TableRegister::default(),
            idtr: TableRegister::default(),
            cr0: Cr0::CD | Cr0::NW,
            cr2: 0,
            cr3: 0,
            cr4: Cr4::empty(),
            xcr0: 1,
            debug: [0; 6],
            msrs: Msrs::default(),
            fpu: Fpu::default(),
            random: 0,
            apic: LocalApic::new(identity.apic_id, is_boot_processor),
            identity,
            activity: Activity::Running,
            start_ups_missed: 0,
            shadow: InterruptShadow::None,
            pending_debug: 0,
            nmi_pending: false,
            nmi_blocked: false,
        };
        state.init();
        state
    }

    /// INIT: what RESET does, except that floating point, MSRs (with the time-stamp counter and MTRRs), XCR0 and how caches are used
    /// stay. The boot processor then starts at the reset vector, any other waits for a start-up IPI.
    pub fn init(&mut self) {
        self.gpr = [0; 16];
        self.gpr[usize::from(gpr::RDX)] = u64::from(self.identity.signature());
        self.rip = 0xfff0;
        self.rflags = RFlags::FIXED;
        self.segments = [Segment::real(0); 6];
        self.segments[SegmentName::Cs as usize] = Segment { base: 0xffff_0000, ..Segment::real_code(0xf000) };
        self.ldtr = Segment::system(Attributes::LDT);
        self.tr = Segment::system(Attributes::BUSY_TSS);
        let table = TableRegister { base: 0, limit: 0xffff };
        (self.gdtr, self.idtr) = (table, table);
        self.cr0 = self.cr0.intersection(Cr0::CD | Cr0::NW) | Cr0::ET;
        (self.cr2, self.cr3, self.cr4) = (0, 0, Cr4::empty());
        self.debug = [0, 0, 0, 0, 0xffff_0ff0, 0x400];
        self.msrs.efer = Efer::empty();
        self.apic.init();
        self.shadow = InterruptShadow::None;
        self.pending_debug = 0;
        (self.nmi_pending, self.nmi_blocked) = (false, false);
        self.activity = if self.apic.is_boot_processor() { Activity::Running } else { Activity::WaitForSipi };
    }

    /// Start-up IPI to a processor that waits for it: real mode, from the page of this number (SDM 3A 9.4.3).
    pub fn start_up(&mut self, vector: u8) {
        self.segments[SegmentName::Cs as usize] = Segment::real_code(u16::from(vector) << 8);
        self.rip = 0;
        self.activity = Activity::Running;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_fetches_below_4_gib() {
        let state = CpuState::reset();
        assert_eq!(state.segment(SegmentName::Cs).base + state.rip, 0xffff_fff0);
        assert_eq!((state.cr0.bits(), state.gpr[2], state.debug[5]), (0x6000_0010, 0x30661, 0x400));
        assert_eq!(state.activity, Activity::Running);
    }

    #[test]
    fn init_keeps_what_the_manual_says() {
        let mut state = CpuState::power_on(Identity { processors: 2, apic_id: 1, ..Identity::default() });
        assert_eq!(state.activity, Activity::WaitForSipi);
        state.cr0 = Cr0::PE | Cr0::PG | Cr0::NE;
        state.msrs.efer = Efer::LME | Efer::LMA;
        (state.msrs.tsc_adjust, state.msrs.star, state.xcr0) = (5, 6, 3);
        state.fpu.xmm[3] = 7;
        state.debug[5] = 0x455;
        let fresh = CpuState::power_on(state.identity);
        state.init();
        assert_eq!(state.cr0, Cr0::ET);
        assert_eq!((state.msrs.tsc_adjust, state.msrs.star, state.xcr0, state.fpu.xmm[3]), (5, 6, 3, 7));
        state.cr0 = fresh.cr0;
        state.msrs = fresh.msrs.clone();
        (state.xcr0, state.fpu.xmm[3]) = (1, 0);
        assert_eq!(state, fresh);
    }

    #[test]
    fn a_start_up_ipi_names_a_page() {
        let mut state = CpuState::power_on(Identity { processors: 2, apic_id: 1, ..Identity::default() });
        state.start_up(0x9a);
        let cs = state.segment(SegmentName::Cs);
        assert_eq!((cs.selector, cs.base, state.rip), (0x9a00, 0x9a000, 0));
        assert_eq!(state.activity, Activity::Running);
    }
}
