// What control registers and EFER accept, and what their bits switch on (SDM 3A 2.5, 2.2.1).

#include "lib/start.inc"
#include "lib/paging.inc"

.macro write name, register, value:vararg
    mov rax, \value
    try "\name"
    mov \register, rax
    caught
.endm

// The register as it is, with bits set or cleared.
.macro with name, register, bits:vararg
    mov rbx, \register
    mov rax, \bits
    or rax, rbx
    try "\name"
    mov \register, rax
    caught
    mov \register, rbx
.endm

.macro without name, register, bits:vararg
    mov rbx, \register
    mov rax, ~(\bits)
    and rax, rbx
    try "\name"
    mov \register, rax
    caught
.endm

.macro write_efer name, value:vararg
    mov ecx, MSR_EFER
    mov rax, \value
    mov rdx, rax
    shr rdx, 32
    try "\name"
    wrmsr
    caught
.endm

main:
    // CR0.
    mov rax, cr0
    about "CR0"
    show "value", rax
    without "CR0 without PE", cr0, CR0_PE
    without "CR0 without PG in 64-bit mode", cr0, CR0_PG
    with "CR0, NW without CD", cr0, CR0_NW
    with "CR0, NW and CD", cr0, CR0_NW + CR0_CD
    with "CR0, bit 32", cr0, 1 << 32
    with "CR0, bits without a meaning", cr0, 0x1000ffc0
    mov rax, cr0
    show "value", rax
    try "ET cannot be cleared"
    mov rax, cr0
    and eax, ~0x10
    mov cr0, rax
    mov rax, cr0
    and eax, 0x10
    caught
    show "et", rax
    try_user "CR0 at level 3"
    mov rax, cr0
    caught
    try_user "LMSW at level 3"
    lmsw ax
    caught
    try_user "CLTS at level 3"
    clts
    caught
    try_user "SMSW at level 3"
    smsw eax
    caught
    mov rcx, cr0
    xor eax, ecx
    show "difference", rax
    try "CR1"
    .byte 0x0f, 0x20, 0xc8
    caught
    try "CR5"
    .byte 0x0f, 0x22, 0xe8
    caught
    try "CR9"
    .byte 0x44, 0x0f, 0x20, 0xc8
    caught
    try "mod bits of MOV CR do not count"
    xor eax, eax
    .byte 0x0f, 0x20, 0x00                  // mov rax, cr0
    caught
    mov rcx, cr0
    xor rax, rcx
    show "difference", rax

    // CR2, CR3.
    mov rax, 0x123456789abcdef0
    try "CR2 takes everything"
    mov cr2, rax
    mov rcx, cr2
    caught
    show "cr2", rcx
    mov r12, cr3
    mov rax, 1 << 62
    or rax, r12
    try "CR3, bit 62"
    mov cr3, rax
    caught
    mov rax, 1 << 51
    or rax, r12
    try "CR3, bit 51"
    mov cr3, rax
    caught
    lea rax, [r12 + 0x18]
    try "CR3, PWT and PCD"
    mov cr3, rax
    mov rcx, cr3
    caught
    sub rcx, r12
    show "kept", rcx
    mov cr3, r12

    // CR4.
    without "CR4 without PAE in long mode", cr4, CR4_PAE
    with "CR4, VMXE", cr4, 1 << 13
    with "CR4, bit 15", cr4, 1 << 15
    with "CR4, bit 31", cr4, 1 << 31
    with "CR4, bit 32", cr4, 1 << 32
    with "CR4, DE, TSD, PGE, MCE, PCE", cr4, 0x1cc
    with "CR4, FSGSBASE", cr4, CR4_FSGSBASE
    with "CR4, OSXSAVE", cr4, CR4_OSXSAVE
    with "CR4, SMEP and SMAP", cr4, CR4_SMEP + CR4_SMAP
    with "CR4, UMIP", cr4, CR4_UMIP

    // CR8.
    write "CR8, 15", cr8, 15
    mov rax, cr8
    show "cr8", rax
    write "CR8, 16", cr8, 16
    write "CR8, 0", cr8, 0
    try_user "CR8 at level 3"
    mov rax, cr8
    caught

    // EFER.
    mov ecx, MSR_EFER
    rdmsr
    about "EFER"
    show "value", rax
    write_efer "EFER, without LME while paging", EFER_LMA + EFER_NXE + EFER_SCE
    write_efer "EFER, LMA is not for software", EFER_LME + EFER_NXE + EFER_SCE
    mov ecx, MSR_EFER
    rdmsr
    show "value", rax
    write_efer "EFER, bit 1", EFER_LME + EFER_LMA + EFER_NXE + 2
    write_efer "EFER, bit 12", EFER_LME + EFER_LMA + EFER_NXE + (1 << 12)
    write_efer "EFER, bit 32", EFER_LME + EFER_LMA + EFER_NXE + (1 << 32)
    try_user "RDMSR at level 3"
    mov ecx, MSR_EFER
    rdmsr
    caught
    try_user "WRMSR at level 3"
    wrmsr
    caught

    // PCID.
    mov r12, cr3
    with "CR4, PCIDE", cr4, CR4_PCIDE
    mov rax, r12
    or rax, 5
    mov cr3, rax
    with "CR4, PCIDE while CR3 has a PCID", cr4, CR4_PCIDE
    mov cr3, r12
    set_bits cr4, CR4_PCIDE
    lea rax, [r12 + 0x123]
    try "PCID, one of 12 bits"
    mov cr3, rax
    mov rcx, cr3
    caught
    sub rcx, r12
    show "kept", rcx
    mov rax, 1 << 63
    lea rcx, [r12 + 1]
    or rax, rcx
    try "PCID, bit 63 is not kept"
    mov cr3, rax
    mov rcx, cr3
    caught
    sub rcx, r12
    show "kept", rcx
    mov cr3, r12
    without "PCID, CR0 without PG", cr0, CR0_PG
    map 0, FREE + PRESENT + WRITABLE
    mov eax, 0x11
    mov [FREE], rax
    mov eax, 0x22
    mov [FREE + 0x1000], rax
    mov rax, [WINDOW]
    mov qword ptr [window_table], FREE + 0x1000 + (PRESENT | WRITABLE)
    .macro invalidate name, kind
        mov eax, \kind
        try "\name"
        invpcid rax, [descriptor_of_all]
        mov rcx, [WINDOW]
        caught
        show "rcx", rcx
        xor qword ptr [window_table], 0x1000
    .endm
    invalidate "PCID, INVPCID of an address", 0
    invalidate "PCID, INVPCID of a context", 1
    invalidate "PCID, INVPCID of all with global", 2
    invalidate "PCID, INVPCID of all", 3
    invalidate "PCID, INVPCID of another kind", 4
    mov qword ptr [descriptor_of_all], 1 << 12
    invalidate "PCID, INVPCID, reserved bits", 0
    mov qword ptr [descriptor_of_all], 0
    mov rax, 0x0000800000000000
    mov [descriptor_of_all + 8], rax
    invalidate "PCID, INVPCID, address that is not canonical", 0
    try_user "PCID, INVPCID at level 3"
    invpcid rax, [descriptor_of_all]
    caught
    clear_bits cr4, CR4_PCIDE

    // FS and GS bases.
    try "RDFSBASE without CR4.FSGSBASE"
    rdfsbase rax
    caught
    set_bits cr4, CR4_FSGSBASE
    mov rax, 0x123456789a
    mov rcx, 0xffff800000000000
    try_user "FS and GS bases at level 3"
    wrfsbase rax
    wrgsbase rcx
    rdfsbase rdx
    rdgsbase rbx
    caught
    show "fs", rdx
    show "gs", rbx
    mov rax, 0x0000800000000000
    try "WRFSBASE, not canonical"
    wrfsbase rax
    caught
    mov rax, -1
    try "32-bit operands"
    wrgsbase eax
    rdgsbase rdx
    caught
    show "gs", rdx
    clear_bits cr4, CR4_FSGSBASE
    ret

.data
.balign 16
descriptor_of_all: .quad 0, WINDOW
