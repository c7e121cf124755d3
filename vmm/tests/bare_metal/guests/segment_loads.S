// What may be loaded into which segment register, and what the checks of a selector say (SDM 3A 5.4 to 5.10).
// Error code: the selector without its RPL.

#include "lib/start.inc"

.set SEGMENT, SPARE
.set LOCAL, SPARE + 8
.set GATE, SPARE + 24
.set TSS, SPARE + 40

// Tries to load RCX into a segment register.
.macro load name, register, selector:vararg
    mov ecx, \selector
    try "\name"
    mov \register, ecx
    caught
.endm

.macro load_user name, register, selector:vararg
    mov ecx, \selector
    try_user "\name"
    mov \register, ecx
    caught
.endm

.macro show_accessed
    mov rax, [gdt + SEGMENT]
    shr rax, 40
    and eax, 0xff
    show "access", rax
.endm

main:
    segment SEGMENT, FREE, 0xfff, 0x92, BITS32
    load "DS, data", ds, SEGMENT
    show_accessed
    load "DS, RPL 3", ds, SEGMENT + 3
    load "DS, null", ds, 0
    load "DS, null with RPL 3", ds, 3
    load "DS, beyond the limit", ds, gdt_end - gdt
    load "DS, partly beyond the limit", ds, 0xfff8
    load "DS, a task state", ds, TASK_STATE
    load "DS, empty descriptor", ds, GATE
    load "DS, LDT without LDT", ds, 4
    segment SEGMENT, FREE, 0xfff, READ_ONLY, BITS32
    load "DS, read-only", ds, SEGMENT
    segment SEGMENT, FREE, 0xfff, CODE, BITS32
    load "DS, code", ds, SEGMENT
    segment SEGMENT, FREE, 0xfff, EXECUTE_ONLY, BITS32
    load "DS, code that cannot be read", ds, SEGMENT
    segment SEGMENT, FREE, 0xfff, 0x12, BITS32
    load "DS, not present", ds, SEGMENT
    show_accessed
    segment SEGMENT, FREE, 0xfff, 0x18, BITS32
    load "DS, type before presence", ds, SEGMENT
    load_user "DS at level 3, data of level 0", ds, KERNEL_DATA
    load_user "DS at level 3, data of level 0 with RPL 3", ds, KERNEL_DATA + 3
    load_user "DS at level 3, data of level 3", ds, USER_DATA
    load_user "DS at level 3, data of level 3 with RPL 0", ds, USER_DATA - 3
    segment SEGMENT, FREE, 0xfff, CONFORMING, BITS32
    load_user "DS at level 3, conforming code of level 0", ds, SEGMENT
    segment SEGMENT, FREE, 0xfff, CODE, BITS32
    load_user "DS at level 3, other code of level 0", ds, SEGMENT

    segment SEGMENT, FREE, 0xfff, 0x92, BITS32
    load "SS, data", ss, SEGMENT
    show_accessed
    load "SS, null", ss, 0
    load "SS, null with RPL 1", ss, 1
    load "SS, RPL 3", ss, SEGMENT + 3
    load "SS, data of level 3", ss, USER_DATA
    load "SS, beyond the limit", ss, gdt_end - gdt
    load "SS, LDT without LDT", ss, 0x14
    segment SEGMENT, FREE, 0xfff, READ_ONLY, BITS32
    load "SS, read-only", ss, SEGMENT
    segment SEGMENT, FREE, 0xfff, CODE, BITS32
    load "SS, code", ss, SEGMENT
    segment SEGMENT, FREE, 0xfff, 0x12, BITS32
    load "SS, not present", ss, SEGMENT
    load_user "SS at level 3, data of level 3", ss, USER_DATA
    load_user "SS at level 3, null", ss, 3
    load_user "SS at level 3, data of level 0", ss, KERNEL_DATA
    mov ecx, 0
    try_32 "SS, null in compatibility mode"
    mov ss, ecx
    caught
    try "CS"
    .byte 0x8e, 0xc8
    caught
    try "segment register 6"
    .byte 0x8e, 0xf0
    caught
    load "FS, not present", fs, SEGMENT
    load "GS, code that cannot be read", gs, KERNEL_CODE
    try "POP FS"
    push USER_DATA
    pop fs
    caught
    try "POP FS that faults"
    mov rsp, offset interrupt_stack_2_top - 8
    mov qword ptr [rsp], 0x7770
    pop fs
    caught
    mov rax, offset interrupt_stack_2_top - 8
    sub rax, [frame + FRAME_RSP]
    show "popped", rax
    xor eax, eax
    mov ax, fs
    show "fs", rax
    segment SEGMENT, 0x345678, 0xfff, DATA, BITS32
    try "LFS"
    lfs ecx, [far_pointer]
    mov eax, fs:[0]
    caught
    show "ecx", rcx
    try "LSS"
    lss ecx, [far_pointer]
    caught
    try "LGS of a null selector"
    lgs ecx, [far_pointer_null]
    caught
    try "LGS that faults"
    mov ecx, 0x55
    lgs ecx, [far_pointer_wrong]
    caught
    show "ecx", rcx
    xor ecx, ecx
    mov fs, ecx

    // The local table.
    descriptor LOCAL, 0x0000820000000000 | (FREE & 0xffffff) << 16 | 0xf
    descriptor LOCAL + 8, 0
    mov rax, 0x00cf93000000ffff
    mov qword ptr [FREE + 8], rax
    mov eax, LOCAL
    try "LLDT"
    lldt ax
    mov ecx, 0xc
    mov ds, ecx
    caught
    load "DS, beyond the limit of the LDT", ds, 0x14
    load "DS, first entry of the LDT is not null", ds, 4
    xor ecx, ecx
    try "SLDT"
    sldt rcx
    caught
    show "rcx", rcx
    mov eax, 0xc
    try "LLDT from an LDT"
    lldt ax
    caught
    mov eax, KERNEL_DATA
    try "LLDT, data"
    lldt ax
    caught
    mov eax, TASK_STATE
    try "LLDT, a task state"
    lldt ax
    caught
    and byte ptr [gdt + LOCAL + 5], 0x7f
    mov eax, LOCAL
    try "LLDT, not present"
    lldt ax
    caught
    or byte ptr [gdt + LOCAL + 5], 0x80
    mov byte ptr [gdt + LOCAL + 13], 1
    try "LLDT, upper half with a type"
    lldt ax
    caught
    mov byte ptr [gdt + LOCAL + 13], 0
    mov dword ptr [gdt + LOCAL + 8], 0x8000
    try "LLDT, address that is not canonical"
    lldt ax
    caught
    mov dword ptr [gdt + LOCAL + 8], 0
    mov eax, gdt_end - gdt - 8
    mov rcx, [gdt + LOCAL]
    mov [gdt_end - 8], rcx
    try "LLDT, upper half beyond the limit"
    lldt ax
    caught
    xor eax, eax
    try "LLDT, null"
    lldt ax
    caught
    try_user "LLDT at level 3"
    lldt ax
    caught
    load "DS, LDT that is null again", ds, 0xc

    // The task register.
    xor ecx, ecx
    try "STR"
    str rcx
    caught
    show "rcx", rcx
    mov eax, TASK_STATE
    try "LTR, busy"
    ltr ax
    caught
    mov eax, KERNEL_CODE
    try "LTR, code"
    ltr ax
    caught
    mov rcx, [task_descriptor]
    mov [gdt + TSS], rcx
    mov rcx, [task_descriptor + 8]
    mov [gdt + TSS + 8], rcx
    mov byte ptr [gdt + TSS + 5], 0x09
    mov eax, TSS
    try "LTR, not present"
    ltr ax
    caught
    mov byte ptr [gdt + TSS + 5], 0x81
    try "LTR, 16 bits"
    ltr ax
    caught
    mov byte ptr [gdt + TSS + 5], 0x89
    try "LTR"
    ltr ax
    caught
    mov rcx, [gdt + TSS + 4]
    mov cl, ch
    movzx ecx, cl
    show "access", rcx
    try_user "LTR at level 3"
    ltr ax
    caught
    try_32 "STR to memory writes 2 bytes"
    mov dword ptr [FREE], -1
    str word ptr [FREE]
    mov eax, [FREE]
    caught
    show "eax", rax

    // LAR, LSL, VERR, VERW, ARPL.
    .macro look selector:vararg
        mov ecx, \selector
        xor eax, eax
        lar eax, ecx
        setz dl
        and eax, 0xf0ff00                   // the others are undefined
        movzx edx, dl
        show "lar", rax
        show "zf", rdx
        xor eax, eax
        lsl eax, ecx
        setz dl
        movzx edx, dl
        show "lsl", rax
        show "zf", rdx
        verr cx
        setz al
        movzx eax, al
        show "verr", rax
        verw cx
        setz al
        movzx eax, al
        show "verw", rax
    .endm
    about "look at code"
    look KERNEL_CODE
    about "look at data"
    look KERNEL_DATA
    about "look at data with RPL 3"
    look KERNEL_DATA + 3
    about "look at data of level 3"
    look USER_DATA
    about "look at null"
    look 0
    about "look beyond the limit"
    look gdt_end - gdt
    about "look at a busy task state"
    look TSS
    about "look at an LDT"
    look LOCAL
    segment SEGMENT, FREE, 0x12345, 0x1f, BITS32 + BIG_LIMIT
    about "look at conforming code that is not present"
    look SEGMENT + 3
    segment SEGMENT, FREE, 0x12345, EXECUTE_ONLY
    about "look at code that cannot be read"
    look SEGMENT
    descriptor GATE, 0x00008c0000080000 + 0x1234
    descriptor GATE + 8, 0
    about "look at a call gate"
    look GATE
    mov byte ptr [gdt + GATE + 5], GATE_INTERRUPT
    about "look at an interrupt gate"
    look GATE
    mov eax, 0x5678
    try_user "LAR at level 3 changes nothing it must not see"
    mov ecx, KERNEL_DATA
    lar eax, ecx
    caught
    show "eax", rax
    try_32 "ARPL raises"
    mov eax, 0x1230
    mov ecx, 0x3
    arpl ax, cx
    setz dl
    caught
    show "eax", rax
    movzx edx, dl
    show "zf", rdx
    try_32 "ARPL leaves"
    mov eax, 0x1232
    mov ecx, 0x1
    arpl ax, cx
    setz dl
    caught
    show "eax", rax
    movzx edx, dl
    show "zf", rdx

    // Table registers.
    try_user "LGDT at level 3"
    lgdt [far_pointer]
    caught
    try_user "SGDT at level 3"
    sgdt [user_stack_top + ALIAS - 16]
    caught
    mov rax, cr4
    or eax, CR4_UMIP
    mov cr4, rax
    try_user "SGDT at level 3 with UMIP"
    sgdt [user_stack_top + ALIAS - 16]
    caught
    try_user "SIDT at level 3 with UMIP"
    sidt [user_stack_top + ALIAS - 16]
    caught
    try_user "SLDT at level 3 with UMIP"
    sldt eax
    caught
    try_user "STR at level 3 with UMIP"
    str eax
    caught
    try_user "SMSW at level 3 with UMIP"
    smsw eax
    caught
    try "SGDT with UMIP"
    sgdt [far_pointer]
    caught
    movzx eax, word ptr [far_pointer]
    sub eax, gdt_end - gdt - 1
    show "limit", rax
    mov rax, [far_pointer + 2]
    sub rax, offset gdt
    show "base", rax
    ret

.data
far_pointer: .long 0x89abcdef
    .word SPARE
    .skip 8
far_pointer_null: .long 0x89abcdef
    .word 3
far_pointer_wrong: .long 0x89abcdef
    .word 0x7770
