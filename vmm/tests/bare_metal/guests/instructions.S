// Instructions that are none, are too long, or must not be locked; 16 bytes at once; and what CPUID promises (SDM 2A 2, SDM 2B).

#include "lib/start.inc"

.macro bytes name, list:vararg
    try "\name"
    .byte \list
    caught
.endm

// Whether a bit of a register that CPUID left is set.
.macro show_bit name, register, bit
    bt \register, \bit
    setc al
    movzx eax, al
    show "\name", rax
.endm

.macro cpuid_of leaf, subleaf
    mov eax, \leaf
    mov ecx, \subleaf
    cpuid
.endm

main:
    // Undefined.
    mov ebx, FREE
    try "UD2"
    ud2
    caught
    bytes "UD1", 0x0f, 0xb9, 0xc0
    bytes "PUSH ES", 0x06
    bytes "DAA", 0x27
    bytes "PUSHA", 0x60
    bytes "BOUND or EVEX", 0x62, 0x03
    bytes "CALL far", 0x9a, 0, 0, 0, 0, 8, 0
    bytes "AAM", 0xd4, 10
    bytes "SALC", 0xd6
    bytes "INTO", 0xce
    bytes "LES or VEX", 0xc4, 0x03
    bytes "group 1 at 82", 0x82, 0xc0, 1
    bytes "0F 04", 0x0f, 0x04
    bytes "FE /7", 0xfe, 0xf8
    bytes "FF /7", 0xff, 0xf8
    bytes "LEA of a register", 0x8d, 0xc0
    bytes "8F /1", 0x8f, 0xc8
    bytes "C6 /1", 0xc6, 0xc8, 0
    bytes "0F C7 /0", 0x0f, 0xc7, 0xc0
    bytes "CMPXCHG8B of a register", 0x0f, 0xc7, 0xc8
    bytes "RSM", 0x0f, 0xaa
    bytes "VMCALL", 0x0f, 0x01, 0xc1
    bytes "MOV from TR", 0x0f, 0x24, 0xc0
    bytes "REX before another prefix is ignored", 0x48, 0x66, 0x90
    bytes "VADDPS without XCR0", 0xc5, 0xfc, 0x58, 0xc0
    bytes "ENDBR64", 0xf3, 0x0f, 0x1e, 0xfa
    bytes "NOP of many bytes", 0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0
    bytes "PREFETCHW", 0x0f, 0x0d, 0x0b
    bytes "PAUSE", 0xf3, 0x90

    // Too long: more than 15 bytes.
    bytes "15 bytes", 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90
    bytes "16 bytes", 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90

    // LOCK.
    bytes "LOCK ADD to memory", 0xf0, 0x01, 0x03
    bytes "LOCK ADD to a register", 0xf0, 0x01, 0xc0
    bytes "LOCK ADD from memory", 0xf0, 0x03, 0x03
    bytes "LOCK CMP", 0xf0, 0x39, 0x03
    bytes "LOCK MOV", 0xf0, 0x89, 0x03
    bytes "LOCK NOP", 0xf0, 0x90
    bytes "LOCK BT", 0xf0, 0x0f, 0xa3, 0x03
    bytes "LOCK BTS", 0xf0, 0x0f, 0xab, 0x03
    bytes "LOCK XADD", 0xf0, 0x0f, 0xc1, 0x03
    bytes "LOCK NOT", 0xf0, 0xf7, 0x13
    bytes "LOCK TEST", 0xf0, 0xf7, 0x03, 1, 0, 0, 0

    // CMPXCHG16B and CMPXCHG8B.
    .macro show_place
        show "low", [FREE]
        show "high", [FREE + 8]
        show "rax", rax
        show "rdx", rdx
        mov rax, [frame + FRAME_FLAGS]
        and eax, 0x8d5
        show "flags", rax
    .endm
    .macro exchange name, instruction, address, accumulator
        mov qword ptr [FREE], 1
        mov qword ptr [FREE + 8], 2
        mov esi, \address
        mov eax, \accumulator
        mov edx, 2
        mov ebx, 0x33
        mov ecx, 0x44
        try "\name"
        cmp eax, eax
        \instruction [rsi]
        caught
        show_place
    .endm
    exchange "CMPXCHG16B, equal", cmpxchg16b, FREE, 1
    exchange "CMPXCHG16B, different", cmpxchg16b, FREE, 7
    exchange "CMPXCHG16B, not aligned", cmpxchg16b, FREE+8, 1
    exchange "CMPXCHG8B, different", cmpxchg8b, FREE, 1
    exchange "LOCK CMPXCHG16B", "lock cmpxchg16b", FREE, 1
    mov rsi, 0x0000800000000000
    try "CMPXCHG16B, not canonical"
    cmpxchg16b [rsi]
    caught
    xor eax, eax
    xor edx, edx
    mov esi, WINDOW
    try "CMPXCHG16B, no page"
    cmpxchg16b [rsi]
    caught

    // CPUID.
    about "CPUID: its own right"
    pushfq
    pop rax
    mov rcx, rax
    xor eax, 1 << 21
    push rax
    popfq
    pushfq
    pop rax
    xor rax, rcx
    shr eax, 21
    show "id", rax
    about "CPUID 1"
    cpuid_of 1, 0
    mov esi, ecx
    mov edi, edx
    .irp feature, 0, 4, 5, 6, 8, 9, 11, 13, 15, 16, 17, 19, 23, 24, 25, 26
        show_bit "d\feature", edi, \feature
    .endr
    .irp feature, 0, 9, 13, 19, 20, 22, 23, 26, 27, 30
        show_bit "c\feature", esi, \feature
    .endr
    mov rax, cr4
    or eax, CR4_OSXSAVE
    mov cr4, rax
    cpuid_of 1, 0
    show_bit "OSXSAVE", ecx, 27
    mov rax, cr4
    and eax, ~CR4_OSXSAVE
    mov cr4, rax
    about "CPUID 7"
    cpuid_of 7, 0
    mov esi, ebx
    mov edi, ecx
    .irp feature, 0, 3, 7, 8, 9, 19, 20
        show_bit "b\feature", esi, \feature
    .endr
    show_bit "UMIP", edi, 2
    about "CPUID 0x80000001"
    cpuid_of 0x80000001, 0
    mov esi, ecx
    mov edi, edx
    .irp feature, 11, 20, 26, 27, 29
        show_bit "d\feature", edi, \feature
    .endr
    .irp feature, 0, 5
        show_bit "c\feature", esi, \feature
    .endr
    about "CPUID clears upper halves"
    mov rax, 0xffffffff00000000
    mov rbx, rax
    mov rcx, rax
    mov rdx, rax
    cpuid
    or rax, rbx
    or rax, rcx
    or rax, rdx
    shr rax, 32
    show "upper", rax
    about "CPUID 0xd"
    cpuid_of 0xd, 0
    and eax, 3
    show "components", rax
    cpuid_of 0xd, 1
    show_bit "XSAVEOPT", eax, 0
    ret
