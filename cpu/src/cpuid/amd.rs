//! What AMD's processors answer otherwise (APM 3, appendix E).
//!
//! They have no leaf that says how fast anything is, no deadline mode of the APIC timer and no IA32_TSC_ADJUST: kernels calibrate the
//! time-stamp counter and the APIC timer, and compare the counters of all processors when they start one.

use super::features::{Word, word};
use super::{CpuState, Hypervisor, LINE, Leaf, Mitigations, PHYSICAL_BITS};
use super::{brand, hypervisor, state_components, text};

const BASIC: u32 = 0x10;
const EXTENDED: u32 = 0x8000_0021;
/// What leaf 0x80000001 repeats of leaf 1, EDX.
const REPEATED: u32 = 0x0183_f3ff;

/// Features that only Intel's processors have: TSC deadline; IA32_TSC_ADJUST, and how the x87 unit keeps its pointers.
pub(super) fn lacks(word: Word) -> u32 {
    match word {
        Word::BasicC => 1 << 24,
        Word::StructuredB => 1 << 1 | 1 << 6 | 1 << 13,
        _ => 0,
    }
}

impl CpuState {
    pub(super) fn cpuid_of_amd(&self, leaf: u32, subleaf: u32) -> Leaf {
        let kvm = self.identity.hypervisor == Hypervisor::Kvm;
        match leaf {
            0 => Leaf { eax: BASIC, ..vendor() },
            1 => self.features(),
            // ARAT: the APIC timer never stops.
            6 => Leaf { eax: 1 << 2, ..Leaf::default() },
            7 if subleaf == 0 => Leaf {
                eax: 0,
                ebx: word(Word::StructuredB) & !lacks(Word::StructuredB),
                ecx: word(Word::StructuredC),
                edx: word(Word::StructuredD),
            },
            0xb => self.topology(subleaf),
            0xd => state_components(subleaf),
            0x4000_0000..=0x4fff_ffff if kvm => hypervisor(leaf),
            0x8000_0000 => Leaf { eax: EXTENDED, ..vendor() },
            0x8000_0001..=EXTENDED => self.extended_of_amd(leaf),
            _ => Leaf::default(),
        }
    }

    fn extended_of_amd(&self, leaf: u32) -> Leaf {
        let corrected = self.identity.mitigations == Mitigations::None;
        let flaws = |bits: u32| if corrected { bits } else { 0 };
        let processors = self.identity.processors.clamp(1, 256);
        match leaf {
            0x8000_0001 => {
                /// More than one core, each without threads.
                const LEGACY_CORES: u32 = 1 << 1;
                let repeated = self.features().edx & REPEATED;
                let cores = if processors > 1 { LEGACY_CORES } else { 0 };
                let (ecx, edx) = (word(Word::ExtendedC) | cores, word(Word::ExtendedD) | repeated);
                Leaf { ecx, edx, ..Leaf::default() }
            }
            0x8000_0002..=0x8000_0004 => brand(leaf - 0x8000_0002),
            // 64 entries in each TLB; 32 KiB each for data and instructions, 8 ways.
            0x8000_0005 => {
                let cache = 32 << 24 | 8 << 16 | 1 << 8 | LINE;
                Leaf { eax: 0xff40_ff40, ebx: 0xff40_ff40, ecx: cache, edx: cache }
            }
            // 1 MiB of second-level cache, and 16 MiB, counted in 512 KiB, of third-level cache; 16 ways.
            0x8000_0006 => Leaf {
                ecx: 1024 << 16 | 8 << 12 | 1 << 8 | LINE,
                edx: 32 << 18 | 8 << 12 | 1 << 8 | LINE,
                ..Leaf::default()
            },
            // The time-stamp counter is invariant.
            0x8000_0007 => Leaf { edx: 1 << 8, ..Leaf::default() },
            0x8000_0008 => {
                /// FXSAVE and XSAVE always save the pointers of the x87 unit.
                const ERROR_POINTERS: u32 = 1 << 2;
                /// Not vulnerable to speculative store bypass, and to branch type confusion.
                const FLAWS: u32 = 1 << 26 | 1 << 29;
                let id_bits = processors.next_power_of_two().trailing_zeros();
                Leaf {
                    eax: 48 << 8 | PHYSICAL_BITS,
                    ebx: ERROR_POINTERS | flaws(FLAWS),
                    ecx: id_bits << 12 | (processors - 1),
                    edx: 0,
                }
            }
            0x8000_0021 => {
                /// LFENCE serializes; a null selector clears the base.
                const BEHAVIOUR: u32 = 1 << 2 | 1 << 6;
                /// Not vulnerable to speculative return stack overflow, and to transient scheduler attacks.
                const OVERFLOW: u32 = 1 << 29;
                const SCHEDULER: u32 = 1 << 1 | 1 << 2 | 1 << 7;
                Leaf { eax: BEHAVIOUR | flaws(OVERFLOW), ecx: flaws(SCHEDULER), ..Leaf::default() }
            }
            _ => Leaf::default(),
        }
    }
}

fn vendor() -> Leaf {
    text(b"AuthcAMDenti")
}
