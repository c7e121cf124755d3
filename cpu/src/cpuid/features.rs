//! What this processor can do: the bits of CPUID, and the instructions they stand for. One table for both, so that nothing is
//! advertised that the decoder refuses, and nothing runs that is not advertised.

use iced_x86::CpuidFeature as Of;

/// A register of a leaf that is a set of features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Leaf 1, ECX.
    BasicC,
    /// Leaf 1, EDX.
    BasicD,
    /// Leaf 7.0, EBX.
    StructuredB,
    /// Leaf 7.0, ECX.
    StructuredC,
    /// Leaf 7.0, EDX.
    StructuredD,
    /// Leaf 0xD.1, EAX.
    StateA,
    /// Leaf 0x80000001, ECX.
    ExtendedC,
    /// Leaf 0x80000001, EDX.
    ExtendedD,
}

/// Bits that are always set, by the name that Linux gives them, with the instructions that need them. Bits that depend on state or
/// configuration (APIC, OSXSAVE, HTT, hypervisor) are not here.
const FEATURES: &[(Word, u32, &str, &[Of])] = &[
    (Word::BasicD, 0, "fpu", &[Of::FPU, Of::FPU287, Of::FPU387]),
    (Word::BasicD, 2, "de", &[]),
    (Word::BasicD, 3, "pse", &[]),
    (Word::BasicD, 4, "tsc", &[Of::TSC]),
    (Word::BasicD, 5, "msr", &[Of::MSR]),
    (Word::BasicD, 6, "pae", &[]),
    (Word::BasicD, 7, "mce", &[]),
    (Word::BasicD, 8, "cx8", &[Of::CX8]),
    (Word::BasicD, 11, "sep", &[Of::SEP]),
    (Word::BasicD, 12, "mtrr", &[]),
    (Word::BasicD, 13, "pge", &[]),
    (Word::BasicD, 14, "mca", &[]),
    (Word::BasicD, 15, "cmov", &[Of::CMOV]),
    (Word::BasicD, 16, "pat", &[]),
    (Word::BasicD, 17, "pse36", &[]),
    (Word::BasicD, 19, "clflush", &[Of::CLFSH]),
    (Word::BasicD, 23, "mmx", &[Of::MMX]),
    (Word::BasicD, 24, "fxsr", &[Of::FXSR]),
    (Word::BasicD, 25, "sse", &[Of::SSE]),
    (Word::BasicD, 26, "sse2", &[Of::SSE2]),
    (Word::BasicC, 0, "pni", &[Of::SSE3]),
    (Word::BasicC, 9, "ssse3", &[Of::SSSE3]),
    (Word::BasicC, 13, "cx16", &[Of::CMPXCHG16B]),
    (Word::BasicC, 17, "pcid", &[]),
    (Word::BasicC, 19, "sse4_1", &[Of::SSE4_1]),
    (Word::BasicC, 20, "sse4_2", &[Of::SSE4_2]),
    (Word::BasicC, 21, "x2apic", &[]),
    (Word::BasicC, 22, "movbe", &[Of::MOVBE]),
    (Word::BasicC, 23, "popcnt", &[Of::POPCNT]),
    (Word::BasicC, 24, "tsc_deadline_timer", &[]),
    (Word::BasicC, 26, "xsave", &[Of::XSAVE]),
    (Word::BasicC, 30, "rdrand", &[Of::RDRAND]),
    (Word::StructuredB, 0, "fsgsbase", &[Of::FSGSBASE]),
    (Word::StructuredB, 1, "tsc_adjust", &[]),
    (Word::StructuredB, 3, "bmi1", &[Of::BMI1]),
    // The x87 unit keeps the operand's address only with an exception that is not masked, and no selectors.
    (Word::StructuredB, 6, "fdp_excptn_only", &[]),
    (Word::StructuredB, 7, "smep", &[]),
    (Word::StructuredB, 8, "bmi2", &[Of::BMI2]),
    (Word::StructuredB, 9, "erms", &[]),
    (Word::StructuredB, 10, "invpcid", &[Of::INVPCID]),
    (Word::StructuredB, 13, "zero_fcs_fds", &[]),
    (Word::StructuredB, 18, "rdseed", &[Of::RDSEED]),
    (Word::StructuredB, 19, "adx", &[Of::ADX]),
    (Word::StructuredB, 20, "smap", &[Of::SMAP]),
    (Word::StructuredB, 23, "clflushopt", &[Of::CLFLUSHOPT]),
    (Word::StructuredC, 2, "umip", &[]),
    (Word::StructuredD, 4, "fsrm", &[]),
    (Word::StateA, 0, "xsaveopt", &[Of::XSAVEOPT]),
    (Word::ExtendedC, 0, "lahf_lm", &[]),
    (Word::ExtendedC, 5, "abm", &[Of::LZCNT]),
    (Word::ExtendedC, 8, "3dnowprefetch", &[Of::PREFETCHW]),
    (Word::ExtendedD, 11, "syscall", &[Of::SYSCALL]),
    (Word::ExtendedD, 20, "nx", &[]),
    (Word::ExtendedD, 26, "pdpe1gb", &[]),
    (Word::ExtendedD, 27, "rdtscp", &[Of::RDTSCP]),
    (Word::ExtendedD, 29, "lm", &[Of::X64]),
];

/// What every processor of this age has, without a bit of CPUID.
const ALWAYS: &[Of] = &[
    Of::INTEL8086,
    Of::INTEL8086_ONLY,
    Of::INTEL186,
    Of::INTEL286,
    Of::INTEL386,
    Of::INTEL486,
    Of::CPUID,
    Of::MULTIBYTENOP,
    Of::PAUSE,
    Of::RDPMC,
];

/// Hints in the space of long NOPs: an older processor executes them as such.
const HINTS: &[Of] = &[Of::MPX, Of::CET_IBT, Of::CLDEMOTE, Of::PREFETCHWT1, Of::PREFETCHITI];

/// All bits of a register.
pub(super) fn word(word: Word) -> u32 {
    FEATURES.iter().filter(|feature| feature.0 == word).fold(0, |bits, feature| bits | 1 << feature.1)
}

/// Whether an instruction that needs these features exists on this processor. Where one is missing it raises #UD.
pub fn has_instruction(code: iced_x86::Code) -> bool {
    use iced_x86::Code;
    // Shadow stacks read their pointer by what is a long NOP without them.
    if matches!(code, Code::Rdsspd_r32 | Code::Rdsspq_r64) {
        return true;
    }
    code.cpuid_features().iter().all(|needed| {
        ALWAYS.contains(needed)
            || HINTS.contains(needed)
            || FEATURES.iter().any(|feature| feature.3.contains(needed))
    })
}

/// Names of the features whose bits are set.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FEATURES.iter().map(|feature| feature.2)
}
