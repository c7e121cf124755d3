// IRET in its sizes, where it may go, and what it leaves (SDM 2A, IRET; SDM 3A 6.12, 6.14).

#include "lib/start.inc"

.set TEXT, SPARE

.macro return name, ss, rsp, flags, cs, rip:vararg
    try "\name"
    push \ss
    push \rsp
    push \flags
    push \cs
    push \rip
    iretq
.endm

.macro show_all
    show "cs", [frame + FRAME_CS]
    show "ss", [frame + FRAME_SS]
    show "flags", [frame + FRAME_FLAGS]
.endm

.macro refused name, ss, rsp, flags, cs, rip:vararg
    return "\name", \ss, \rsp, \flags, \cs, \rip
    caught
    show "cs", [frame + FRAME_CS]
.endm

main:
    mov word ptr [0x7000], 0xcd | WENT_THROUGH << 8
    mov r12, offset interrupt_stack_1_top
    return "same level", KERNEL_DATA, r12, 2, KERNEL_CODE, offset landing
    caught
    show_all
    mov rax, [frame + FRAME_RSP]
    sub rax, r12
    show "rsp", rax
    return "same level, null stack", 0, r12, 2, KERNEL_CODE, offset landing
    caught
    show_all
    return "flags", KERNEL_DATA, r12, 0x3c7cd5&~FLAG_NT, KERNEL_CODE, offset landing
    caught
    show_all
    return "flags with NT", KERNEL_DATA, r12, FLAG_NT, KERNEL_CODE, offset landing
    caught
    show_all
    try "with NT set"
    push KERNEL_DATA
    push r12
    push 2
    push KERNEL_CODE
    push offset landing
    push FLAG_NT
    popfq
    iretq
    caught
    return "level 3", USER_DATA, 0x12345, 2, USER_CODE, offset landing+ALIAS
    caught
    show_all
    show "rsp", [frame + FRAME_RSP]
    return "level 3, 32 bits", USER_DATA, 0x12345, 2, USER_CODE32, offset landing+ALIAS
    caught
    show_all
    return "level 3, flags", USER_DATA, 0x12345, 0x3c7cd5&~FLAG_NT, USER_CODE, offset landing+ALIAS
    caught
    show_all
    return "32-bit code of level 0", KERNEL_DATA, r12, 2, KERNEL_CODE32, offset landing
    caught
    show_all
    return "16-bit code of level 0", KERNEL_DATA16, 0x8000, 2, KERNEL_CODE16, 0x7000
    caught
    show_all
    segment TEXT, ALIAS, 0xffff, 0xfb
    return "16-bit code of level 3", USER_DATA, 0x12345, 2, TEXT+3, 0x7000
    caught
    show_all

    // What data segments become on the way to level 3.
    mov ecx, USER_DATA
    mov ds, ecx
    mov ecx, KERNEL_DATA
    mov es, ecx
    segment TEXT, FREE, 0xfff, CONFORMING, BITS32
    mov ecx, TEXT
    mov fs, ecx
    mov ecx, 3
    mov gs, ecx
    try "data segments"
    push USER_DATA
    push 0x4000
    push 2
    push USER_CODE
    push offset 1f + ALIAS
    iretq
1:  mov r8d, ds
    mov r9d, es
    mov r10d, fs
    mov r11d, gs
    caught
    show "ds", r8
    show "es", r9
    show "fs", r10
    show "gs", r11
    xor ecx, ecx
    mov fs, ecx
    mov gs, ecx

    // What is refused; the fault is that of the instruction, at its level.
    refused "null", KERNEL_DATA, r12, 2, 0, offset landing
    refused "data", KERNEL_DATA, r12, 2, KERNEL_DATA, offset landing
    refused "beyond the limit", KERNEL_DATA, r12, 2, gdt_end-gdt, offset landing
    refused "level 3 without RPL", USER_DATA, r12, 2, USER_CODE-3, offset landing
    refused "RPL without level", USER_DATA, r12, 2, KERNEL_CODE+3, offset landing
    refused "level 3, null stack", 0, r12, 2, USER_CODE, offset landing
    refused "level 3, stack of level 0", KERNEL_DATA, r12, 2, USER_CODE, offset landing
    refused "level 3, stack of level 0 with RPL", KERNEL_DATA+3, r12, 2, USER_CODE, offset landing
    refused "level 0, stack of level 3", USER_DATA, r12, 2, KERNEL_CODE, offset landing
    refused "32-bit code of level 0, null stack", 0, r12, 2, KERNEL_CODE32, offset landing
    refused "code as stack", USER_CODE, r12, 2, USER_CODE, offset landing
    segment TEXT, 0, 0xfffff, 0x7b, BITS64 + BIG_LIMIT
    refused "code not present", USER_DATA, r12, 2, TEXT+3, offset landing
    segment TEXT, 0, 0xfffff, 0x73, BIG_LIMIT
    refused "stack not present", TEXT+3, r12, 2, USER_CODE, offset landing
    segment TEXT, 0, 0xfffff, 0xfb, BITS64 + BITS32 + BIG_LIMIT
    refused "both L and D", USER_DATA, r12, 2, TEXT+3, offset landing
    segment TEXT, 0, 0xfff, 0xfb, BITS32
    refused "beyond the limit of the segment", USER_DATA, r12, 2, TEXT+3, 0x1000
    mov r13, 0x0000800000000000
    refused "address that is not canonical", KERNEL_DATA, r12, 2, KERNEL_CODE, r13
    try "stack that is not canonical is no concern"
    push KERNEL_DATA
    push r13
    push 2
    push KERNEL_CODE
    push offset landing
    iretq
    caught
    mov rax, [frame + FRAME_RSP]
    show "rsp", rax
    try_user "from level 3 to level 0"
    push KERNEL_DATA
    push 0
    push 2
    push KERNEL_CODE
    push offset landing
    iretq
    caught
    gate_stack 14, 2
    try "frame that is not there"
    mov rsp, WINDOW
    iretq
    caught
    show "rsp", [frame + FRAME_RSP]
    try "frame that is not there completely"
    mov qword ptr [window_table], FREE + (PRESENT | WRITABLE)
    mov rsp, WINDOW + 0xff0
    iretq
    caught
    show "rsp", [frame + FRAME_RSP]

    // Flags at level 3: IOPL decides about IF, nothing changes IOPL.
    try_user "IRET at level 3, IOPL 0"
    mov rax, rsp
    push USER_DATA
    push rax
    push 0x3200
    push USER_CODE
    push offset landing + ALIAS
    iretq
    caught
    show_all
    mov qword ptr [user_flags], 2 + FLAG_IOPL3
    try_user "IRET at level 3, IOPL 3"
    mov rax, rsp
    push USER_DATA
    push rax
    push FLAG_IF
    push USER_CODE
    push offset landing + ALIAS
    iretq
    caught
    show_all

    // Sizes.
    try "32-bit operands"
    sub rsp, 20
    mov dword ptr [rsp], offset landing
    mov dword ptr [rsp + 4], KERNEL_CODE
    mov dword ptr [rsp + 8], 2
    mov dword ptr [rsp + 12], offset interrupt_stack_1_top
    mov dword ptr [rsp + 16], KERNEL_DATA
    iretd
    caught
    show_all
    mov rax, [frame + FRAME_RSP]
    sub rax, r12
    show "rsp", rax
    try "16-bit operands"
    sub rsp, 10
    mov word ptr [rsp], 0x7000
    mov word ptr [rsp + 2], KERNEL_CODE
    mov word ptr [rsp + 4], 2
    mov word ptr [rsp + 6], 0x5550
    mov word ptr [rsp + 8], KERNEL_DATA
    iretw
    caught
    show_all
    show "rsp", [frame + FRAME_RSP]
    try_32 "32-bit code, no stack is popped at the same level"
    mov eax, esp
    pushfd
    push KERNEL_CODE32
    push offset landing
    iretd
    caught
    mov rcx, [frame + FRAME_RSP]
    sub rax, rcx
    show "used", rax
    ret

landing:
    nop
    int WENT_THROUGH
