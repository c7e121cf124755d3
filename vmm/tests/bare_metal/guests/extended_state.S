// FXSAVE, FXRSTOR, XSAVE and their formats; when floating point is switched off; its exceptions (SDM 1 10.5, 13; SDM 3A 2.5).

#include "lib/start.inc"
#include "lib/paging.inc"

.set AREA, FREE

.macro fill value
    mov edi, AREA
    mov ecx, 4096 / 8
    mov rax, \value
    rep stosq
.endm

.macro show_at name, offset
    mov rax, [AREA + \offset]
    show "\name", rax
.endm

.macro show_32 name, offset
    mov eax, [AREA + \offset]
    show "\name", rax
.endm

.macro show_16 name, offset
    movzx eax, word ptr [AREA + \offset]
    show "\name", rax
.endm

// Something in every register.
.macro fill_registers
    fninit
    fld1
    fldpi
    .set number, 0
    .irp register, xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12, xmm13, xmm14, xmm15
        mov eax, 0x1000 + number
        movq \register, rax
        pslldq \register, 4
        .set number, number + 1
    .endr
    mov dword ptr [control], 0x1fa0
    ldmxcsr [control]
.endm

main:
    // Images.
    fill -1
    fill_registers
    fxsave64 [AREA]
    about "FXSAVE64"
    show_16 "control", 0
    show_16 "status", 2
    movzx eax, byte ptr [AREA + 4]
    show "tags", rax
    movzx eax, byte ptr [AREA + 5]
    show "reserved", rax
    show_32 "mxcsr", 24
    show_32 "mask", 28
    show_at "st0", 32
    show_16 "exponent", 40
    movzx eax, word ptr [AREA + 42]
    show "reserved", rax
    show_at "st1", 48
    show_at "st2", 64
    show_at "xmm0", 160
    show_at "xmm15", 400
    show_at "then", 416
    show_at "for software", 464
    try_32 "FXSAVE in 32-bit code leaves XMM8 to XMM15"
    nop
    mov edi, AREA
    mov ecx, 4096 / 4
    mov eax, -1
    rep stosd
    fxsave [AREA]
    caught
    show_at "xmm7", 272
    show_at "xmm8", 288
    fill_registers
    fxsave64 [AREA]
    fninit
    pxor xmm0, xmm0
    pxor xmm15, xmm15
    mov dword ptr [control], 0x1f80
    ldmxcsr [control]
    fxrstor64 [AREA]
    fxsave64 [AREA + 512]
    mov esi, AREA
    mov edi, AREA + 512
    mov ecx, 464
    repe cmpsb
    setz al
    movzx eax, al
    about "FXRSTOR64 brings all of it back"
    show "same", rax
    mov eax, 0x10000
    mov [AREA + 24], eax
    try "FXRSTOR, reserved bit of MXCSR"
    fxrstor64 [AREA]
    caught
    try "LDMXCSR, reserved bit"
    ldmxcsr [AREA + 24]
    caught
    try "FXSAVE, not aligned"
    fxsave64 [AREA + 8]
    caught
    try "MOVAPS, not aligned"
    movaps xmm0, [AREA + 8]
    caught
    try "MOVUPS, not aligned"
    movups xmm0, [AREA + 8]
    caught
    try "ADDPS, not aligned"
    addps xmm0, [AREA + 8]
    caught
    fill_registers
    fnsave [AREA]
    about "FNSAVE"
    show_32 "control", 0
    show_32 "status", 4
    show_32 "tags", 8
    show_at "st0", 28
    fnstcw [AREA]
    fnstsw [AREA + 2]
    show_32 "words then", 0
    emms

    // XSAVE.
    try "XSAVE without CR4.OSXSAVE"
    xsave64 [AREA]
    caught
    try "XGETBV without CR4.OSXSAVE"
    xor ecx, ecx
    xgetbv
    caught
    set_bits cr4, CR4_OSXSAVE
    mov eax, 3
    xor edx, edx
    xor ecx, ecx
    xsetbv
    xor ecx, ecx
    xgetbv
    about "XGETBV"
    show "eax", rax
    show "edx", rdx
    .macro refused name, register, low, high
        mov ecx, \register
        mov eax, \low
        mov edx, \high
        try "\name"
        xsetbv
        caught
    .endm
    refused "XSETBV without x87", 0, 2, 0
    refused "XSETBV, bit 63", 0, 3, 0x80000000
    refused "XSETBV, bit 62", 0, 3, 0x40000000
    refused "XSETBV, another register", 1, 3, 0
    refused "XSETBV, x87 only", 0, 1, 0
    refused "XSETBV, both", 0, 3, 0
    mov eax, 3
    xor edx, edx
    xor ecx, ecx
    try_user "XSETBV at level 3"
    xsetbv
    caught
    try_user "XGETBV at level 3"
    xgetbv
    caught
    fill -1
    fill_registers
    mov qword ptr [AREA + 512], 0x10
    mov eax, -1
    mov edx, -1
    try "XSAVE"
    xsave64 [AREA]
    caught
    show_at "xstate_bv", 512
    show_at "xcomp_bv", 520
    show_at "reserved", 528
    show_16 "control", 0
    show_32 "mxcsr", 24
    show_at "xmm15", 400
    show_at "unused", 416
    fill 0
    mov eax, 1
    xor edx, edx
    xsave64 [AREA]
    about "XSAVE of x87 only"
    show_at "xstate_bv", 512
    show_32 "mxcsr", 24
    show_at "xmm1", 176
    fill 0
    mov eax, 2
    xsave64 [AREA]
    about "XSAVE of SSE only"
    show_at "xstate_bv", 512
    show_16 "control", 0
    show_32 "mxcsr", 24
    show_at "xmm1", 176
    fill_registers
    fill 0
    mov eax, 7
    xor edx, edx
    xsave64 [AREA]
    mov qword ptr [AREA + 512], 1
    xrstor64 [AREA]
    fill -1
    fxsave64 [AREA]
    about "XRSTOR of what the image has not: as after reset"
    show_16 "control", 0
    show_at "st0", 32
    show_at "xmm1", 176
    show_32 "mxcsr", 24
    .macro restore name
        mov eax, 3
        xor edx, edx
        try "\name"
        xrstor64 [AREA]
        caught
    .endm
    fill 0
    mov dword ptr [AREA + 24], 0x1f80
    restore "XRSTOR of nothing"
    mov qword ptr [AREA + 512], 8
    restore "XRSTOR, a component that is not enabled"
    mov qword ptr [AREA + 512], 3
    mov qword ptr [AREA + 528], 1
    restore "XRSTOR, reserved part of the header"
    mov qword ptr [AREA + 528], 0
    mov qword ptr [AREA + 520], 1
    restore "XRSTOR, XCOMP_BV without compaction"
    mov qword ptr [AREA + 520], 0
    mov dword ptr [AREA + 24], 0x10000
    restore "XRSTOR, reserved bit of MXCSR"
    mov qword ptr [AREA + 512], 1
    mov eax, 3
    try "XRSTOR, reserved bit of MXCSR, SSE not in the image"
    xrstor64 [AREA]
    caught
    try "XSAVE, aligned to 32 bytes only"
    xsave64 [AREA + 32]
    caught
    try "XRSTOR, aligned to 32 bytes only"
    xrstor64 [AREA + 32]
    caught

    // Switched off.
    .macro all when
        try "\when, x87"
        fnop
        caught
        try "\when, FWAIT"
        fwait
        caught
        try "\when, MMX"
        pxor mm0, mm0
        caught
        try "\when, SSE"
        pxor xmm0, xmm0
        caught
        try "\when, LDMXCSR"
        ldmxcsr [default_mxcsr]
        caught
        try "\when, FXSAVE"
        fxsave64 [AREA]
        caught
        try "\when, XSAVE"
        xsave64 [AREA]
        caught
        try "\when, CRC32"
        crc32 eax, eax
        caught
        try "\when, PREFETCH"
        prefetcht0 [AREA]
        caught
    .endm
    emms
    set_bits cr0, CR0_TS
    all "CR0.TS"
    try "CLTS"
    clts
    caught
    set_bits cr0, CR0_TS
    clear_bits cr0, CR0_MP
    try "CR0.TS without MP, FWAIT"
    fwait
    caught
    clts
    set_bits cr0, CR0_EM
    all "CR0.EM"
    clear_bits cr0, CR0_EM
    set_bits cr0, CR0_MP
    clear_bits cr4, CR4_OSFXSR
    all "no CR4.OSFXSR"
    set_bits cr4, CR4_OSFXSR

    // Exceptions.
    fninit
    mov word ptr [control], 0x37b           // divide by zero unmasked
    fldcw [control]
    try "x87, divide by zero"
    fld1
    fldz
    fdivp
    caught
    fnstsw ax
    movzx eax, ax
    show "status", rax
    try "comes with the next instruction"
    fld1
    caught
    try "but not with FNSTSW"
    fnstsw ax
    caught
    try "FWAIT"
    fwait
    caught
    try "MMX"
    pxor mm0, mm0
    caught
    try "FNCLEX ends it"
    fnclex
    fwait
    caught
    fninit
    mov dword ptr [control], 0x1f80 & ~(1 << 9)
    ldmxcsr [control]
    pxor xmm1, xmm1
    movss xmm0, [one]
    try "SSE, divide by zero"
    divss xmm0, xmm1
    caught
    stmxcsr [control]
    mov eax, [control]
    show "mxcsr", rax
    movd eax, xmm0
    show "xmm0", rax
    clear_bits cr4, CR4_OSXMMEXCPT
    try "SSE, divide by zero without CR4.OSXMMEXCPT"
    divss xmm0, xmm1
    caught
    set_bits cr4, CR4_OSXMMEXCPT
    ldmxcsr [default_mxcsr]
    ret

.data
.balign 4
control: .long 0
default_mxcsr: .long 0x1f80
one: .long 0x3f800000
