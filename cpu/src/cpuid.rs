//! Who this processor says it is: CPUID as a documented identity.
//!
//! By default an Intel processor of family 6 with an invariant time-stamp counter of 2 GHz, whose crystal, and so the APIC timer, runs
//! at 1 GHz; one package of N cores with one thread each; under a hypervisor with KVM's signature and none of its features. Kernels
//! believe such a processor about its frequencies and calibrate nothing. As AMD processors have no leaf 0x15, kernels calibrate the
//! same clocks there by timers of the board; see `amd.rs` for what else differs.

mod amd;
mod features;

use serde::{Deserialize, Serialize};

pub use features::has_instruction;
use features::{Word, word};

use crate::memory::PHYSICAL_BITS;
use crate::msr::{DISABLE_NX, LIMIT_CPUID};
use crate::state::{CpuState, Cr4};

/// Whose processor it is, which decides what kernels believe and how a few instructions work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vendor {
    /// GenuineIntel.
    #[default]
    Intel,
    /// AuthenticAMD.
    Amd,
}

/// Which hypervisor the guest sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hypervisor {
    /// KVM, with no paravirtual feature.
    #[default]
    Kvm,
    /// None: the hypervisor bit is clear.
    None,
}

/// Whether kernels work around flaws of real processors, which cost time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mitigations {
    /// The model is one that does not speculate, or says of each flaw it can that it has been corrected: with an Intel processor there
    /// is nothing to mitigate, with an AMD one Spectre is left.
    #[default]
    None,
    /// The model is one that needs page-table isolation, retpolines and the rest.
    Real,
}

/// What CPUID's answers depend on, besides the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Processors of the machine.
    pub processors: u32,
    /// APIC id of this one.
    pub apic_id: u32,
    /// Whose it is.
    pub vendor: Vendor,
    /// What leaf 0x40000000 says.
    pub hypervisor: Hypervisor,
    /// Which model it is.
    pub mitigations: Mitigations,
}

impl Default for Identity {
    /// The only processor.
    fn default() -> Self {
        Self {
            processors: 1,
            apic_id: 0,
            vendor: Vendor::default(),
            hypervisor: Hypervisor::default(),
            mitigations: Mitigations::default(),
        }
    }
}

impl Identity {
    /// Family, model and stepping as in EAX of leaf 1: Cedar View, or Ivy Bridge-EP; Vermeer (Zen 3), or Rome (Zen 2).
    pub fn signature(self) -> u32 {
        match (self.vendor, self.mitigations) {
            (Vendor::Intel, Mitigations::None) => 0x0003_0661,
            (Vendor::Intel, Mitigations::Real) => 0x0003_06e4,
            (Vendor::Amd, Mitigations::None) => 0x00a2_0f12,
            (Vendor::Amd, Mitigations::Real) => 0x0083_0f10,
        }
    }

    /// Whether it is one of AMD's.
    pub fn is_amd(self) -> bool {
        self.vendor == Vendor::Amd
    }
}

/// What CPUID returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leaf {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// Highest basic leaf of an Intel processor.
const BASIC: u32 = 0x1f;
/// Highest leaf of the hypervisor.
const HYPERVISOR: u32 = 0x4000_0001;
/// Highest extended leaf of an Intel processor.
const EXTENDED: u32 = 0x8000_0008;
/// 48 bytes.
const BRAND: &[u8; 48] = b"kjvm x86-64 processor\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// Leaf 0x80000001, EDX: pages can be protected from execution.
const NX: u32 = 1 << 20;
/// Bytes of a cache line.
const LINE: u32 = 64;

impl CpuState {
    /// CPUID (SDM 2A, APM 3 appendix E). A leaf beyond the highest one is answered as the highest basic leaf by Intel's processors, and
    /// with zeros by AMD's.
    pub fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf {
        if self.identity.is_amd() {
            return self.cpuid_of_amd(leaf, subleaf);
        }
        let kvm = self.identity.hypervisor == Hypervisor::Kvm;
        let highest = if self.msrs.misc_enable & LIMIT_CPUID != 0 { 2 } else { BASIC };
        match leaf {
            0 => Leaf { eax: highest, ..self.basic(0, 0) },
            1.. if leaf <= highest => self.basic(leaf, subleaf),
            0x4000_0000..=0x4fff_ffff if kvm => hypervisor(leaf),
            0x8000_0000..=EXTENDED => self.extended(leaf),
            _ => self.basic(highest, subleaf),
        }
    }

    fn basic(&self, leaf: u32, subleaf: u32) -> Leaf {
        match (leaf, subleaf) {
            (0, _) => text(b"GenuntelineI"),
            (1, _) => self.features(),
            // Leaf 4 describes the caches.
            (2, _) => Leaf { eax: 0xff01, ..Leaf::default() },
            (4, _) => self.cache(subleaf),
            // ARAT: the APIC timer never stops.
            (6, _) => Leaf { eax: 1 << 2, ..Leaf::default() },
            (7, 0) => Leaf {
                eax: 0,
                ebx: word(Word::StructuredB),
                ecx: word(Word::StructuredC),
                edx: word(Word::StructuredD),
            },
            (0xd, _) => state_components(subleaf),
            // Counter / crystal = 2 / 1; crystal in Hz.
            (0x15, _) => Leaf { eax: 1, ebx: 2, ecx: 1_000_000_000, edx: 0 },
            // MHz: base, maximum, bus.
            (0x16, _) => Leaf { eax: 2000, ebx: 2000, ecx: 100, edx: 0 },
            (0xb | 0x1f, _) => self.topology(subleaf),
            _ => Leaf::default(),
        }
    }

    fn features(&self) -> Leaf {
        let identity = self.identity;
        let flag = |set: bool, bit: u32| if set { 1 << bit } else { 0 };
        let siblings = identity.processors.clamp(1, 128).next_power_of_two();
        let apic = self.apic.mode() != crate::apic::ApicMode::Disabled;
        Leaf {
            eax: identity.signature(),
            ebx: (identity.apic_id & 0xff) << 24 | siblings << 16 | (LINE / 8) << 8,
            ecx: word(Word::BasicC) & if identity.is_amd() { !amd::lacks(Word::BasicC) } else { u32::MAX }
                | flag(self.cr4.contains(Cr4::OSXSAVE), 27)
                | flag(identity.hypervisor != Hypervisor::None, 31),
            edx: word(Word::BasicD) | flag(apic, 9) | flag(identity.processors > 1, 28),
        }
    }

    /// Leaf 4: 32 KiB each for data and instructions, 1 MiB for both, 16 MiB for all cores.
    fn cache(&self, subleaf: u32) -> Leaf {
        let cores = self.identity.processors.clamp(1, 64).next_power_of_two();
        let (kind, level, ways, sets, sharing) = match subleaf {
            0 => (1, 1, 8, 64, 1),
            1 => (2, 1, 8, 64, 1),
            2 => (3, 2, 16, 1024, 1),
            3 => (3, 3, 16, 16384, cores),
            _ => return Leaf::default(),
        };
        const SELF_INITIALIZING: u32 = 1 << 8;
        Leaf {
            eax: kind | level << 5 | SELF_INITIALIZING | (sharing - 1) << 14 | (cores - 1) << 26,
            ebx: (LINE - 1) | (ways - 1) << 22,
            ecx: sets - 1,
            edx: 0,
        }
    }

    /// Leaves 0xB and 0x1F: one thread a core, all cores in one package.
    fn topology(&self, subleaf: u32) -> Leaf {
        let processors = self.identity.processors.max(1);
        let (shift, count, kind) = match subleaf {
            0 => (0, 1, 1),
            1 => (processors.next_power_of_two().trailing_zeros(), processors, 2),
            _ => (0, 0, 0),
        };
        Leaf { eax: shift, ebx: count, ecx: subleaf & 0xff | kind << 8, edx: self.identity.apic_id }
    }

    fn extended(&self, leaf: u32) -> Leaf {
        match leaf {
            0x8000_0000 => Leaf { eax: EXTENDED, ..Leaf::default() },
            0x8000_0001 => {
                let hidden = if self.msrs.misc_enable & DISABLE_NX != 0 { NX } else { 0 };
                Leaf { ecx: word(Word::ExtendedC), edx: word(Word::ExtendedD) & !hidden, ..Leaf::default() }
            }
            0x8000_0002..=0x8000_0004 => brand(leaf - 0x8000_0002),
            // 1 MiB of second-level cache, 16 ways.
            0x8000_0006 => Leaf { ecx: 1024 << 16 | 8 << 12 | LINE, ..Leaf::default() },
            // The time-stamp counter is invariant.
            0x8000_0007 => Leaf { edx: 1 << 8, ..Leaf::default() },
            0x8000_0008 => Leaf { eax: 48 << 8 | PHYSICAL_BITS, ..Leaf::default() },
            _ => Leaf::default(),
        }
    }
}

/// Bits of XCR0 that exist: x87 and SSE.
pub const XCR0_MASK: u64 = 3;

/// Leaf 0xD. x87 and SSE: the legacy area and the header, whatever is enabled.
fn state_components(subleaf: u32) -> Leaf {
    match subleaf {
        0 => Leaf { eax: XCR0_MASK as u32, ebx: 576, ecx: 576, edx: 0 },
        1 => Leaf { eax: word(Word::StateA), ..Leaf::default() },
        _ => Leaf::default(),
    }
}

fn hypervisor(leaf: u32) -> Leaf {
    match leaf {
        0x4000_0000 => Leaf { eax: HYPERVISOR, ..text(b"KVMKVMKVM\0\0\0") },
        // 0x40000001 is KVM's features: none.
        _ => Leaf::default(),
    }
}

/// The characters of EBX, ECX and EDX, in this order.
fn text(characters: &[u8; 12]) -> Leaf {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *characters;
    Leaf {
        eax: 0,
        ebx: u32::from_le_bytes([a, b, c, d]),
        ecx: u32::from_le_bytes([e, f, g, h]),
        edx: u32::from_le_bytes([i, j, k, l]),
    }
}

fn brand(part: u32) -> Leaf {
    let word = |index: u32| {
        let at = 16 * part as usize + 4 * index as usize;
        BRAND.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
    };
    Leaf { eax: word(0), ebx: word(1), ecx: word(2), edx: word(3) }
}

#[cfg(test)]
mod tests;
