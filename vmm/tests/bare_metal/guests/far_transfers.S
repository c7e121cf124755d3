// Far jumps, calls and returns; call gates (SDM 3A 5.8).

#include "lib/start.inc"

.set TEXT, SPARE
.set GATE, SPARE + 8

.macro jump name, selector:vararg
    mov word ptr [pointer + 4], \selector
    try "\name"
    jmp fword ptr [pointer]
    caught
.endm

// A 64-bit call gate to a label.
.macro call_gate selector, access, target
    mov eax, offset \target
    mov [gdt + GATE], ax
    mov word ptr [gdt + GATE + 2], \selector
    mov word ptr [gdt + GATE + 4], (\access) << 8
    shr eax, 16
    mov [gdt + GATE + 6], ax
    mov qword ptr [gdt + GATE + 8], 0
.endm

main:
    mov dword ptr [pointer], offset landing
    jump "jump to 64-bit code", KERNEL_CODE
    show "cs", [frame + FRAME_CS]
    jump "jump, null", 0
    jump "jump, data", KERNEL_DATA
    jump "jump, level 3", USER_CODE
    jump "jump, RPL 3", KERNEL_CODE + 3
    jump "jump, beyond the limit", gdt_end - gdt
    jump "jump, a busy task state", TASK_STATE
    segment TEXT, 0, 0xfffff, 0x1a, BITS64 + BIG_LIMIT
    jump "jump, not present", TEXT
    segment TEXT, 0, 0xfffff, CODE, BITS64 + BITS32 + BIG_LIMIT
    jump "jump, both L and D", TEXT
    segment TEXT, 0, 0xfffff, 0x9a, BITS64 + BIG_LIMIT
    jump "jump", TEXT
    show "cs", [frame + FRAME_CS]
    movzx eax, byte ptr [gdt + TEXT + 5]
    show "access", rax
    segment TEXT, 0, 0xfffff, CONFORMING, BITS64 + BIG_LIMIT
    jump "jump to conforming code with RPL 3", TEXT + 3
    show "cs", [frame + FRAME_CS]
    try_user "jump at level 3 to conforming code of level 0"
    mov dword ptr [ALIAS + user_pointer], offset 1f + ALIAS
    mov word ptr [ALIAS + user_pointer + 4], TEXT
    jmp fword ptr [ALIAS + user_pointer]
1:  nop
    caught
    show "cs", [frame + FRAME_CS]
    try_user "jump at level 3 to level 0"
    mov word ptr [ALIAS + user_pointer + 4], KERNEL_CODE
    jmp fword ptr [ALIAS + user_pointer]
    caught
    try "jump, 64-bit offset"
    .byte 0x48, 0xff, 0x2c, 0x25           // jmp tbyte ptr [long_pointer]
    .long long_pointer
    caught
    try "direct far jump in 64-bit mode"
    .byte 0xea
    .long 0, 0
    caught
    try "far jump through a register"
    .byte 0xff, 0xe8
    caught

    // Calls and returns.
    mov word ptr [pointer + 4], KERNEL_CODE
    try "call"
    mov rsp, offset interrupt_stack_1_top
    call fword ptr [pointer]
    caught
    mov rcx, [frame + FRAME_RSP]
    mov eax, [rcx + 4]
    show "cs", rax
    mov rax, offset interrupt_stack_1_top
    sub rax, rcx
    show "used", rax
    try "call, 64-bit offset"
    mov rsp, offset interrupt_stack_1_top
    .byte 0x48, 0xff, 0x1c, 0x25           // call tbyte ptr [long_pointer]
    .long long_pointer
    caught
    mov rcx, [frame + FRAME_RSP]
    show "cs", [rcx + 8]
    mov rax, offset interrupt_stack_1_top
    sub rax, rcx
    show "used", rax
    mov word ptr [pointer + 4], KERNEL_CODE32
    try "call to 32-bit code"
    call fword ptr [pointer]
    caught
    show "cs", [frame + FRAME_CS]

    .macro return_to name, ss, rsp, cs:vararg
        try "\name"
        push \ss
        push \rsp
        push \cs
        push offset 1f
        .byte 0x48, 0xcb                    // retf, 64 bits
    1:  nop
        caught
        show "cs", [frame + FRAME_CS]
    .endm
    return_to "return to the same level", 0, 0, KERNEL_CODE
    return_to "return, null", 0, 0, 0
    return_to "return, data", 0, 0, KERNEL_DATA
    return_to "return to level 3 without RPL", USER_DATA, 0x1234, USER_CODE - 3
    return_to "return to level 3, null stack", 0, 0x1234, USER_CODE
    return_to "return to level 3, stack of level 0", KERNEL_DATA, 0x1234, USER_CODE
    return_to "return to level 3, a task state as stack", TASK_STATE + 3, 0x1234, USER_CODE
    segment TEXT, 0, 0xfffff, 0x72, BIG_LIMIT
    return_to "return to level 3, stack not present", TEXT + 3, 0x1234, USER_CODE
    segment TEXT, 0, 0xfffff, 0x7a, BITS64 + BIG_LIMIT
    return_to "return to level 3, code not present", USER_DATA, 0x1234, TEXT + 3
    mov ecx, KERNEL_DATA
    mov fs, ecx
    mov ecx, USER_DATA
    mov gs, ecx
    try "return to level 3 with 16 bytes of parameters"
    push USER_DATA
    push 0x12340
    push 0x5555
    push 0x6666
    push USER_CODE
    push offset 1f + ALIAS
    .byte 0x48, 0xca, 16, 0
1:  nop
    xor ecx, ecx
    xor edx, edx
    mov cx, fs
    mov dx, gs
    caught
    show "cs", [frame + FRAME_CS]
    show "ss", [frame + FRAME_SS]
    show "rsp", [frame + FRAME_RSP]
    show "fs", rcx
    show "gs", rdx
    xor ecx, ecx
    mov fs, ecx
    mov gs, ecx
    try "return with 16-bit operands"
    push 0x00101234
    .byte 0x66, 0xcb
    caught
    mov rax, offset stack_top - 16
    sub rax, [frame + FRAME_RSP]
    show "popped", rax
    try_user "return at level 3 to level 0"
    push KERNEL_CODE
    push offset landing
    .byte 0x48, 0xcb
    caught
    mov rcx, 0x0000800000000000
    try "return to an address that is not canonical"
    push KERNEL_CODE
    push rcx
    .byte 0x48, 0xcb
    caught

    // Call gates.
    mov word ptr [pointer + 4], GATE + 3
    mov dword ptr [pointer], 0x12345678
    call_gate KERNEL_CODE, 0xec, landing
    try "gate at level 0"
    mov rsp, offset interrupt_stack_1_top
    call fword ptr [pointer]
    caught
    mov rcx, [frame + FRAME_RSP]
    show "cs", [rcx + 8]
    mov rax, offset interrupt_stack_1_top
    sub rax, rcx
    show "used", rax
    mov rcx, [pointer]
    try_user "gate from level 3 to level 0"
    mov [ALIAS + user_pointer], rcx
    call fword ptr [ALIAS + user_pointer]
    caught
    show "cs", [frame + FRAME_CS]
    show "ss", [frame + FRAME_SS]
    mov rcx, [frame + FRAME_RSP]
    show "old cs", [rcx + 8]
    mov rax, [rcx + 16]
    sub rax, offset user_stack_top + ALIAS
    show "old rsp", rax
    show "old ss", [rcx + 24]
    mov rax, offset kernel_stack_top
    sub rax, rcx
    show "used", rax
    try_user "jump through a gate to another level"
    jmp fword ptr [ALIAS + user_pointer]
    caught
    try "jump through a gate"
    jmp fword ptr [pointer]
    caught
    try_user32 "gate from 32-bit code"
    lcall (GATE + 3):0x11111111
    caught
    .macro refused name
        try_user "\name"
        call fword ptr [ALIAS + user_pointer]
        caught
    .endm
    call_gate KERNEL_CODE, 0x8c, landing
    refused "gate of level 0"
    call_gate KERNEL_CODE, 0x6c, landing
    refused "gate not present"
    call_gate 0, 0xec, landing
    refused "gate to null"
    call_gate KERNEL_DATA, 0xec, landing
    refused "gate to data"
    call_gate KERNEL_CODE32, 0xec, landing
    refused "gate to 32-bit code"
    segment TEXT, 0, 0xfffff, 0x1a, BITS64 + BIG_LIMIT
    call_gate TEXT, 0xec, landing
    refused "gate to code not present"
    call_gate KERNEL_CODE, 0xec, landing
    mov byte ptr [gdt + GATE + 13], 1
    refused "gate with a type in its upper half"
    call_gate KERNEL_CODE, 0xe4, landing
    refused "16-bit gate"
    call_gate KERNEL_CODE, 0xec, landing
    mov dword ptr [gdt + GATE + 8], 0x8000
    refused "gate to an address that is not canonical"
    mov rax, 0x0000900000000000
    mov [task_state + 4], rax
    gate_stack 12, 2
    call_gate KERNEL_CODE, 0xec, landing
    refused "gate, stack not canonical"
    ret

landing:
    nop
    int WENT_THROUGH

.data
.balign 16
pointer: .quad 0
    .quad 0
user_pointer: .quad 0
    .quad 0
long_pointer: .quad landing
    .word KERNEL_CODE
