//! Firmware's register values, put into a processor.

use cpu::CpuState;
use cpu::state::{Attributes, Cr0, Cr4, Efer, Segment, TableRegister};
use firmware::registers::{DescriptorTable, Segment as Loaded};
use firmware::{Mtrrs, Registers};

/// Puts a processor where firmware leaves it.
pub fn enter(state: &mut CpuState, registers: &Registers) {
    let Registers {
        gprs,
        rip,
        rflags,
        cr0,
        cr3,
        cr4,
        efer,
        cs,
        ds,
        es,
        fs,
        gs,
        ss,
        ldtr,
        tr,
        gdtr,
        idtr,
        dr6,
        dr7,
    } = registers;
    state.gpr = *gprs;
    state.rip = *rip;
    state.rflags = *rflags;
    state.cr0 = Cr0::from_bits_truncate(*cr0);
    state.cr3 = *cr3;
    state.cr4 = Cr4::from_bits_truncate(*cr4);
    state.msrs.efer = Efer::from_bits_truncate(*efer);
    state.segments = [es, cs, ss, ds, fs, gs].map(segment);
    state.ldtr = segment(ldtr);
    state.tr = segment(tr);
    state.gdtr = table(gdtr);
    state.idtr = table(idtr);
    state.debug[4] = *dr6;
    state.debug[5] = *dr7;
}

/// Sets the types of memory, which firmware does on every processor alike: Linux complains of memory that is uncached, and of
/// processors that differ.
pub fn set_mtrrs(state: &mut CpuState, mtrrs: &Mtrrs) {
    let Mtrrs { default_type, fixed, variable } = mtrrs;
    state.msrs.mtrr_def_type = *default_type;
    state.msrs.mtrr_fixed = *fixed;
    state.msrs.mtrr_variable = *variable;
}

fn segment(loaded: &Loaded) -> Segment {
    let bit = |set: bool, bit: u32| if set { 1 << bit } else { 0 };
    Segment {
        selector: loaded.selector,
        base: loaded.base,
        limit: loaded.limit,
        attributes: Attributes(
            u32::from(loaded.access) | bit(loaded.long, 13) | bit(loaded.big, 14) | bit(loaded.granular, 15),
        ),
    }
}

fn table(loaded: &DescriptorTable) -> TableRegister {
    TableRegister { base: loaded.base, limit: loaded.limit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firmware::reset;

    #[test]
    fn power_on_is_what_the_processor_calls_reset() {
        let mut state = CpuState::reset();
        let mut expected = CpuState::reset();
        expected.gpr[2] = 0x3_0661;
        enter(&mut state, &reset::power_on(0x3_0661));
        assert_eq!(state, expected);
    }
}
