// What is delivered through the IDT of long mode, and how (SDM 3A 6.12 to 6.15).
// Error code of a gate: its number times 8, 2 for the IDT, 1 if the event was external to the program.

#include "lib/start.inc"
#include "lib/paging.inc"

.set FLAGS, 2 + FLAG_IF + FLAG_DF + FLAG_NT + FLAG_IOPL3 + FLAG_AC

// Bytes from the top of a stack down to the frame the processor pushed.
.macro show_depth top
    mov rax, offset \top - FRAME_SIZE
    sub rax, [handler_rsp]
    show "depth", rax
.endm

.macro show_flags
    show "pushed", [frame + FRAME_FLAGS]
    show "handler", [handler_flags]
.endm

main:
    // Gates and flags.
    try "interrupt gate"
    push FLAGS
    popfq
    int 0x40
    caught
    show_flags
    gate 0x40, GATE_TRAP
    try "trap gate"
    push FLAGS
    popfq
    int 0x40
    caught
    show_flags
    show "cs", [frame + FRAME_CS]
    show "ss", [frame + FRAME_SS]

    // Stacks.
    mov qword ptr [user_flags], 2 + FLAG_IF
    gate 0x40, GATE_INTERRUPT | GATE_LEVEL_3
    try_user "from level 3"
    int 0x40
    caught
    show_flags
    show "cs", [frame + FRAME_CS]
    show "ss", [frame + FRAME_SS]
    mov rax, offset user_stack_top + ALIAS
    sub rax, [frame + FRAME_RSP]
    show "used", rax
    show "handler's ss", [handler_ss]
    show_depth kernel_stack_top
    try_user32 "from level 3, 32 bits"
    int 0x40
    caught
    show "cs", [frame + FRAME_CS]
    show_depth kernel_stack_top
    gate_stack 0x40, 1
    try "stack of the interrupt stack table"
    int 0x40
    caught
    show "ss", [handler_ss]
    show_depth interrupt_stack_1_top
    try_user "the same from level 3"
    int 0x40
    caught
    show "ss", [handler_ss]
    show_depth interrupt_stack_1_top
    gate_stack 0x40, 0
    try "a stack that is not aligned"
    mov rsp, offset interrupt_stack_2_top - 3
    int 0x40
    caught
    show_depth interrupt_stack_2_top
    try "the same with an error code"
    mov rsp, offset interrupt_stack_2_top - 3
    mov rax, [WINDOW]
    caught
    show_depth interrupt_stack_2_top
    add qword ptr [task_state + 4], 7
    try_user "a stack of the task state that is not aligned"
    int 0x40
    caught
    show_depth kernel_stack_top
    sub qword ptr [task_state + 4], 7

    // Privilege of software interrupts.
    gate 0x40, GATE_INTERRUPT
    try_user "no right, INT at level 3"
    int 0x40
    caught
    try_user "no right, INT3 at level 3"
    int3
    caught
    try_user "INT1 at level 3 needs none"
    .byte 0xf1
    caught
    try_user "divide error at level 3 needs none"
    xor ecx, ecx
    div ecx
    caught
    gate 3, GATE_INTERRUPT | GATE_LEVEL_3
    try_user "INT3 at level 3 with right"
    int3
    caught
    try_user "INT 3 in two bytes"
    .byte 0xcd, 3
    caught
    gate 4, GATE_INTERRUPT | GATE_LEVEL_3
    try_user32 "INTO"
    mov al, 0x7f
    inc al
    into
    caught
    try_user32 "INTO without overflow"
    xor eax, eax
    into
    caught
    gate 6, GATE_INTERRUPT | GATE_LEVEL_3
    try_user "INT with the number of an exception with an error code pushes none"
    mov eax, 0x5a
    int 6
    caught

    // Gates that are none.
    gate 0x41, 0x0e
    try "no gate: not present"
    int 0x41
    caught
    gate 0x41, 0x8c
    try "no gate: a call gate"
    int 0x41
    caught
    gate 0x41, 0x86
    try "no gate: 16 bits"
    int 0x41
    caught
    gate 0x41, 0x85
    try "no gate: a task gate"
    int 0x41
    caught
    gate 0x41, 0
    try_user "no gate: type before presence and before privilege"
    int 0x41
    caught
    gate 0x41, 0x0e
    try_user "no gate: privilege before presence"
    int 0x41
    caught
    gate 0x41, GATE_INTERRUPT
    mov word ptr [idt_pointer], 0x41 * 16 + 14
    lidt [idt_pointer]
    try "no gate: beyond the limit"
    int 0x41
    caught
    mov word ptr [idt_pointer], 256 * 16 - 1
    lidt [idt_pointer]

    // Code segments that are none.
    gate_selector 0x41, 0
    try "null selector"
    int 0x41
    caught
    gate_selector 0x41, KERNEL_DATA
    try "data segment"
    int 0x41
    caught
    gate_selector 0x41, KERNEL_CODE32
    try "32-bit code segment"
    int 0x41
    caught
    gate_selector 0x41, USER_CODE
    try "code segment of level 3 from level 0"
    int 0x41
    caught
    gate_selector 0x41, gdt_end - gdt
    try "selector beyond the limit"
    int 0x41
    caught
    gate_selector 0x41, 0xc
    try "selector in an LDT that is not there"
    int 0x41
    caught
    descriptor SPARE, 0x00af1b000000ffff
    gate_selector 0x41, SPARE
    try "code segment not present"
    int 0x41
    caught
    descriptor SPARE, 0x00af9f000000ffff
    gate 0x41, GATE_INTERRUPT | GATE_LEVEL_3
    mov word ptr [idt + 16 * 0x41], 0x3000
    mov word ptr [idt + 16 * 0x41 + 6], WINDOW >> 16
    try_user "conforming code segment keeps level 3"
    int 0x41
    caught
    mov rax, offset user_stack_top + ALIAS
    sub rax, [frame + FRAME_RSP]
    show "used", rax
    call fill_gates
    gate_selector 0x41, KERNEL_CODE + 3
    try "RPL of a gate's selector does not count"
    int 0x41
    caught
    mov qword ptr [idt + 16 * 0x41 + 8], 0x8000
    try "handler at an address that is not canonical"
    int 0x41
    caught
    call fill_gates

    // One exception after the other.
    gate 6, 0x0e
    try "UD without gate"
    ud2
    caught
    gate 0, 0x0e
    try "DE without gate"
    xor ecx, ecx
    div ecx
    caught
    gate 13, 0x0e
    try "GP without gate"
    mov ecx, 0xdead
    mov fs, ecx
    caught
    gate 0x41, 0
    try "INT to no gate, GP without gate"
    int 0x41
    caught
    gate 13, GATE_INTERRUPT
    gate 14, 0x0e
    try "PF without gate"
    mov rax, [WINDOW + 0x10]
    caught
    gate 14, GATE_INTERRUPT
    gate_selector 14, KERNEL_DATA
    try "PF with a data segment in the gate"
    mov rax, [WINDOW + 0x20]
    caught
    gate_selector 14, KERNEL_CODE
    try "UD, PF and PF again for want of a stack"
    mov rsp, WINDOW + 0x1000
    ud2
    caught
    gate_stack 14, 2
    try "UD, PF for want of a stack"
    mov rsp, WINDOW + 0x1000
    ud2
    caught
    try "GP, PF for want of a stack"
    mov rsp, WINDOW + 0x1000
    mov ecx, 0xdead
    mov fs, ecx
    caught
    gate 6, GATE_INTERRUPT
    try "UD, SS for want of a canonical stack"
    gate_stack 12, 2
    mov rsp, 0x0000900000000000
    ud2
    caught
    gate_stack 12, 0
    try "UD, SS, SS for want of a canonical stack"
    mov rsp, 0x0000900000000000
    ud2
    caught
    mov qword ptr [task_state + 4], WINDOW + 0x2000
    try_user "PF for want of a stack of level 0"
    nop
    int3
    ud2
    caught
    mov rax, 0x0000900000000000
    mov [task_state + 4], rax
    gate_stack 12, 2
    try_user "SS for want of a canonical stack of level 0"
    nop
    ud2
    caught
    mov rax, offset kernel_stack_top
    mov [task_state + 4], rax

    // Descriptors and task state.
    gate_stack 0x40, 3
    sub word ptr [task_descriptor], offset TASK_LIMIT - 0x3a
    and byte ptr [task_descriptor + 5], ~2
    mov eax, TASK_STATE
    ltr ax
    try "task state too short for its stack"
    int 0x40
    caught
    mov qword ptr [task_state + 0x34], 0
    call fill_task_descriptor
    mov eax, TASK_STATE
    ltr ax
    gate_stack 14, 2
    try "stack 3 of the table is null"
    int 0x40
    caught
    call fill_gates
    descriptor SPARE, 0x00af9a000000ffff
    gate_selector 0x40, SPARE
    try "code segment is marked as accessed"
    int 0x40
    caught
    show "descriptor", [gdt + SPARE]
    show "cs", [frame + FRAME_CS]
    call fill_gates

    // RF in the pushed flags: 1 for faults, so that an instruction breakpoint is not hit again.
    try "RF of a fault"
    ud2
    caught
    show_flags
    try "RF of a trap"
    int3
    caught
    show_flags
    ret
