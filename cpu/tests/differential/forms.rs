//! Which forms there are, and which of them both processors can be asked about.
#![allow(unsafe_code)]

use cpu::cpuid::has_instruction;
use iced_x86::{Code, CpuidFeature, DecoderOptions, Mnemonic};

use crate::case::Form;
use crate::native::has_local_table;
use crate::segments::{CODE_16, CODE_32};

/// Whether a form is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Compared,
    /// Not here, for this reason.
    Skipped(&'static str),
    /// Our processor does not have it: it raises #UD.
    Absent,
}

/// Every instruction of user space, and those that only a kernel may execute.
pub fn all() -> impl Iterator<Item = Form> {
    [64, 32, 16].into_iter().flat_map(|bits| Code::values().map(move |code| Form { code, bits })).filter(
        |form| {
            let op_code = form.code.op_code();
            op_code.is_instruction() && op_code.is_available_in_mode(form.bits)
        },
    )
}

/// Whether and why not.
pub fn standing(form: Form) -> Standing {
    let code = form.code;
    if !is_decoded(form) {
        return Standing::Skipped("decoders of Intel's make something else of its bytes");
    }
    if !has_instruction(code) {
        return Standing::Absent;
    }
    if let Some(reason) = not_comparable(form) {
        return Standing::Skipped(reason);
    }
    if form.bits == 64 && !code.op_code().long_mode()
        || form.bits != 64 && !code.op_code().compatibility_mode()
    {
        return Standing::Skipped("does not exist in long mode");
    }
    if is_different_on_amd(form) && is_amd() {
        return Standing::Skipped("AMD does it differently");
    }
    if form.bits == 32 && !has_code_segment(CODE_32) {
        return Standing::Skipped("the host's kernel has no code segment of 32 bits");
    }
    if form.bits == 16 && !(has_local_table() && has_code_segment(CODE_16)) {
        return Standing::Skipped("the host's kernel has no code segment of 16 bits");
    }
    if let Some(feature) = code.cpuid_features().iter().find(|feature| !host_has(**feature)) {
        return Standing::Skipped(missing_on_host(*feature));
    }
    Standing::Compared
}

fn not_comparable(form: Form) -> Option<&'static str> {
    let op_code = form.code.op_code();
    Some(match form.code.mnemonic() {
        Mnemonic::Syscall | Mnemonic::Sysenter => "calls the host's kernel",
        Mnemonic::Sgdt | Mnemonic::Sidt | Mnemonic::Sldt | Mnemonic::Str | Mnemonic::Smsw => {
            "the host's kernel emulates what UMIP traps"
        }
        Mnemonic::Cpuid => "says what processor it is",
        Mnemonic::Rdpmc => "performance counters are the host's business",
        Mnemonic::Int1 => "debug exceptions are the host's business",
        _ if op_code.fwait() => "two instructions: FWAIT and another form",
        _ => return None,
    })
}

fn is_decoded(form: Form) -> bool {
    let op_code = form.code.op_code();
    let by_intel = match form.bits {
        64 => op_code.intel_decoder64(),
        32 => op_code.intel_decoder32(),
        _ => op_code.intel_decoder16(),
    };
    by_intel && op_code.decoder_option() == DecoderOptions::NONE && form.code != Code::Popw_CS
}

/// AMD has no far pointers with offsets of 64 bits (REX.W changes nothing), no prefetch of registers (#UD), MOVSXD that reads 32
/// bits whatever it writes, and SYSRET in all modes.
fn is_different_on_amd(form: Form) -> bool {
    matches!(
        form.code,
        Code::Call_m1664
            | Code::Jmp_m1664
            | Code::Lss_r64_m1664
            | Code::Lfs_r64_m1664
            | Code::Lgs_r64_m1664
            | Code::Reservednop_rm16_r16_0F0D
            | Code::Reservednop_rm32_r32_0F0D
            | Code::Reservednop_rm64_r64_0F0D
            | Code::Movsxd_r16_rm16
    ) || form.code == Code::Sysretd && form.bits != 64
}

fn is_amd() -> bool {
    let leaf = std::arch::x86_64::__cpuid(0);
    let name = [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).concat();
    name == b"AuthenticAMD" || name == b"HygonGenuine"
}

fn missing_on_host(feature: CpuidFeature) -> &'static str {
    match feature {
        CpuidFeature::BMI1 | CpuidFeature::BMI2 => "the host has no BMI",
        CpuidFeature::ADX => "the host has no ADX",
        CpuidFeature::MOVBE => "the host has no MOVBE",
        CpuidFeature::LZCNT => "the host has no LZCNT",
        CpuidFeature::RDRAND | CpuidFeature::RDSEED => "the host has no random numbers",
        CpuidFeature::INVPCID => "the host has no INVPCID",
        CpuidFeature::CLFLUSHOPT => "the host has no CLFLUSHOPT",
        _ => "the host is too old",
    }
}

/// Of what not every x86-64 processor has, and cannot be told from outside.
fn host_has(feature: CpuidFeature) -> bool {
    match feature {
        CpuidFeature::SSE3 => is_x86_feature_detected!("sse3"),
        CpuidFeature::SSSE3 => is_x86_feature_detected!("ssse3"),
        CpuidFeature::SSE4_1 => is_x86_feature_detected!("sse4.1"),
        CpuidFeature::SSE4_2 => is_x86_feature_detected!("sse4.2"),
        CpuidFeature::CMPXCHG16B => is_x86_feature_detected!("cmpxchg16b"),
        CpuidFeature::POPCNT => is_x86_feature_detected!("popcnt"),
        CpuidFeature::LZCNT => is_x86_feature_detected!("lzcnt"),
        CpuidFeature::MOVBE => is_x86_feature_detected!("movbe"),
        CpuidFeature::BMI1 => is_x86_feature_detected!("bmi1"),
        CpuidFeature::BMI2 => is_x86_feature_detected!("bmi2"),
        CpuidFeature::ADX => is_x86_feature_detected!("adx"),
        CpuidFeature::RDRAND => is_x86_feature_detected!("rdrand"),
        CpuidFeature::RDSEED => is_x86_feature_detected!("rdseed"),
        CpuidFeature::XSAVE => is_x86_feature_detected!("xsave"),
        CpuidFeature::CLFLUSHOPT => leaf_7_ebx() & 1 << 23 != 0,
        CpuidFeature::INVPCID => leaf_7_ebx() & 1 << 10 != 0,
        _ => true,
    }
}

/// Linux has one of 32 bits if it was built with IA32_EMULATION, and takes one of 16 bits into the local table if it was built with
/// MODIFY_LDT_SYSCALL and X86_16BIT.
fn has_code_segment(selector: u16) -> bool {
    let visible: u8;
    // SAFETY: LAR only looks at the descriptor, and sets ZF if there is one.
    unsafe {
        std::arch::asm!(
            "lar {scratch:e}, {selector:e}",
            "setz {visible}",
            selector = in(reg) u32::from(selector),
            scratch = out(reg) _,
            visible = out(reg_byte) visible,
            options(nomem, nostack),
        );
    }
    visible != 0
}

fn leaf_7_ebx() -> u32 {
    std::arch::x86_64::__cpuid_count(7, 0).ebx
}
