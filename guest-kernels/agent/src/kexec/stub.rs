//! The first instructions after a jump: they write the address to jump back to into the next kernel's command line, then enter
//! that kernel by its 64-bit entry (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol").
#![allow(unsafe_code)] // machine code, and symbols that mark it

use std::arch::global_asm;

// On arrival: 64-bit mode, interrupts off, an identity map of everything loaded; the word at RSP is the address behind the CALL
// in the jumping kernel's control page. Position independent; all registers are ours, the jumping kernel saved its own.
global_asm!(
    ".pushsection .rodata.kjvm_stub, \"a\"",
    ".balign 16",
    "kjvm_stub:",
    "mov rax, [rsp]",
    "lea rbx, [rip + kjvm_stub_fields]",
    // A GDT of our own: CS 0x10 and data segments 0x18, as the boot protocol wants them.
    "lea rcx, [rip + kjvm_stub_gdt]",
    "mov [rip + kjvm_stub_gdtr + 2], rcx",
    "lgdt [rip + kjvm_stub_gdtr]",
    "mov ecx, 0x18",
    "mov ds, ecx",
    "mov es, ecx",
    "mov ss, ecx",
    "mov fs, ecx",
    "mov gs, ecx",
    "lea rsp, [rip + kjvm_stub_end]",
    // Sixteen hexadecimal digits, highest first.
    "mov rdi, [rbx]",
    "mov ecx, 16",
    "20:",
    "rol rax, 4",
    "mov edx, eax",
    "and edx, 15",
    "lea esi, [rdx + 0x30]",
    "add edx, 0x57",
    "cmp esi, 0x3a",
    "cmovb edx, esi",
    "mov [rdi], dl",
    "inc rdi",
    "dec ecx",
    "jnz 20b",
    "mov rsi, [rbx + 8]",
    "push 0x10",
    "push qword ptr [rbx + 16]",
    "retfq",
    ".balign 8",
    "kjvm_stub_gdtr:",
    ".word 31, 0, 0, 0, 0",
    ".balign 8",
    "kjvm_stub_gdt:",
    ".quad 0, 0, 0x00af9a000000ffff, 0x00cf92000000ffff",
    "kjvm_stub_fields:",
    ".quad 0, 0, 0",
    // Stack: two words are pushed.
    ".skip 64",
    "kjvm_stub_end:",
    ".popsection",
);

unsafe extern "C" {
    static kjvm_stub: u8;
    static kjvm_stub_fields: u8;
    static kjvm_stub_end: u8;
}

/// What the stub needs to know; all addresses are physical.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// Sixteen characters of the command line, to be overwritten with the address to jump back to.
    pub placeholder: u64,
    /// `struct boot_params`.
    pub boot_params: u64,
    /// The kernel's 64-bit entry.
    pub entry: u64,
}

/// The stub with its fields filled in. It is entered at its first byte.
pub fn code(fields: Fields) -> Vec<u8> {
    let (start, values, end) = (&raw const kjvm_stub, &raw const kjvm_stub_fields, &raw const kjvm_stub_end);
    let len = end as usize - start as usize;
    let at = values as usize - start as usize;
    // SAFETY: the symbols mark the beginning and the end of one read-only section.
    let mut code = unsafe { std::slice::from_raw_parts(start, len) }.to_vec();
    for (slot, value) in
        code[at..].chunks_exact_mut(8).zip([fields.placeholder, fields.boot_params, fields.entry])
    {
        slot.copy_from_slice(&value.to_le_bytes());
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_before_the_stack_and_the_stub_fits_its_page() {
        let code = code(Fields { placeholder: 1, boot_params: 2, entry: 3 });
        assert!(code.len() < 512, "{} bytes", code.len());
        let fields = &code[code.len() - 64 - 24..code.len() - 64];
        assert_eq!(fields, [1u64, 2, 3].map(u64::to_le_bytes).concat());
        assert_eq!(code[0], 0x48, "begins with the load of the return address");
    }
}
