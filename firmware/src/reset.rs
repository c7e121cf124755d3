//! Register values where a processor begins: power-on, INIT, start-up IPI, and the wake from S3. Both engines take them from here.

use crate::registers::{
    CR0_CD, CR0_ET, CR0_NW, DescriptorTable, RFLAGS_FIXED, Registers, Segment, access, gpr,
};

/// A processor after power-on or RESET, before its first instruction at 0xFFFFFFF0 (SDM 3A table 10-1).
///
/// `signature`: what CPUID leaf 1 gives in EAX; it is in EDX.
pub const fn power_on(signature: u32) -> Registers {
    let mut registers = Registers {
        gprs: [0; 16],
        rip: 0xfff0,
        rflags: RFLAGS_FIXED,
        cr0: CR0_CD | CR0_NW | CR0_ET,
        cr3: 0,
        cr4: 0,
        efer: 0,
        cs: Segment { base: 0xffff_0000, ..Segment::real(0xf000, access::CODE) },
        ds: Segment::real(0, access::DATA),
        es: Segment::real(0, access::DATA),
        fs: Segment::real(0, access::DATA),
        gs: Segment::real(0, access::DATA),
        ss: Segment::real(0, access::DATA),
        ldtr: Segment::real(0, access::LDT),
        tr: Segment::real(0, access::TSS),
        gdtr: DescriptorTable { base: 0, limit: 0xffff },
        idtr: DescriptorTable { base: 0, limit: 0xffff },
        dr6: 0xffff_0ff0,
        dr7: 0x400,
    };
    registers.gprs[gpr::RDX] = signature as u64;
    registers
}

/// A processor after INIT: as after power-on, but CR0 keeps how caches are used.
///
/// `cr0`: as it was before.
pub const fn init(signature: u32, cr0: u64) -> Registers {
    let mut registers = power_on(signature);
    registers.cr0 = cr0 & (CR0_CD | CR0_NW) | CR0_ET;
    registers
}

/// A processor that takes a start-up IPI after INIT: real mode, at the page that `vector` numbers (SDM 3A 9.4.3).
///
/// `waiting`: as it was left by [`init`] or [`power_on`].
pub const fn start_up(waiting: Registers, vector: u8) -> Registers {
    Registers { rip: 0, cs: Segment::real((vector as u16) << 8, access::CODE), ..waiting }
}

/// The boot processor as firmware hands it to the waking vector of the FACS after S3: real mode, at `vector >> 4 : vector & 0xf`, A20
/// open (ACPI 6.5, table 5.12). As firmware ran before, caches are on and the interrupt vector table is where real mode has it.
///
/// `None` if the vector is not armed: it is 0, or real mode cannot reach it. The machine then boots as if power had come on.
pub const fn wake(signature: u32, vector: u32) -> Option<Registers> {
    const REAL_MODE_END: u32 = 0x10_0000;
    if vector == 0 || vector >= REAL_MODE_END {
        return None;
    }
    let mut registers = power_on(signature);
    registers.gprs = [0; 16];
    registers.cr0 = CR0_ET;
    registers.cs = Segment::real((vector >> 4) as u16, access::CODE);
    registers.rip = (vector & 0xf) as u64;
    registers.idtr.limit = 0x3ff;
    Some(registers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registers::Mode;

    const SIGNATURE: u32 = 0x0003_0661;

    #[test]
    fn power_on_fetches_below_4_gib() {
        let registers = power_on(SIGNATURE);
        assert_eq!(registers.cs.base + registers.rip, 0xffff_fff0);
        assert_eq!(registers.cr0, 0x6000_0010);
        assert_eq!(registers.gprs[gpr::RDX], u64::from(SIGNATURE));
        assert_eq!(registers.mode(), Mode::Real);
    }

    #[test]
    fn init_keeps_the_cache_bits_only() {
        assert_eq!(init(SIGNATURE, 0x8005_0033).cr0, CR0_ET);
        assert_eq!(init(SIGNATURE, 0xe005_0033).cr0, 0x6000_0010);
        assert_eq!(Registers { cr0: 0, ..init(SIGNATURE, 0) }, Registers { cr0: 0, ..power_on(SIGNATURE) });
    }

    #[test]
    fn a_start_up_ipi_names_a_page() {
        let registers = start_up(init(SIGNATURE, 0), 0x9a);
        assert_eq!((registers.cs.selector, registers.cs.base, registers.rip), (0x9a00, 0x9a000, 0));
        assert_eq!(registers.mode(), Mode::Real);
    }

    #[test]
    fn a_wake_enters_the_vector_in_real_mode() {
        let registers = wake(SIGNATURE, 0x12345).unwrap();
        assert_eq!((registers.cs.selector, registers.rip), (0x1234, 5));
        assert_eq!(registers.cs.base + registers.rip, 0x12345);
        assert_eq!((registers.cs.limit, registers.rflags, registers.mode()), (0xffff, 2, Mode::Real));
        assert_eq!(wake(SIGNATURE, 0xf_ffff).map(|r| r.cs.base + r.rip), Some(0xf_ffff));
    }

    #[test]
    fn a_vector_that_is_not_armed_wakes_nobody() {
        assert_eq!(wake(SIGNATURE, 0), None);
        assert_eq!(wake(SIGNATURE, 0x10_0000), None);
        assert_eq!(wake(SIGNATURE, u32::MAX), None);
    }
}
