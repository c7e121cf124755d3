// When an interrupt that waits is taken: the instruction after STI comes first (SDM 3A 6.8.3), NMIs wait for IRET (6.7.1), and the
// task priority decides (10.8.3). MOV SS is in single_step.S.
// "at" is where the interrupted code goes on.

#include "lib/start.inc"
#include "lib/apic.inc"

// What waits is ended without being taken: at the end of each test.
.macro taken
    caught
    end_of_interrupt
.endm

.macro not_taken
    caught
    try "  afterwards"
    sti
    nop
    nop
    taken
.endm

main:
    apic_on

    interrupt_self 0x41
    try "STI"
    sti
    inc eax
    inc eax
    taken
    interrupt_self 0x41
    try "STI twice"
    sti
    sti
    inc eax
    taken
    interrupt_self 0x41
    try "STI, CLI"
    sti
    cli
    nop
    not_taken
    interrupt_self 0x41
    try "POPF"
    push FLAG_IF
    popfq
    nop
    taken
    interrupt_self 0x41
    try "IRET"
    push KERNEL_DATA
    push rsp
    push 2 + FLAG_IF
    push KERNEL_CODE
    push offset 1f
    iretq
1:  nop
    taken
    interrupt_self 0x41
    mov qword ptr [user_flags], 2 + FLAG_IF
    try_user "IRET to level 3"
    nop
    nop
    taken
    interrupt_self 0x41
    try "STI, LSS holds nothing back"
    sti
    lss esp, [stack_pointer]
    inc eax
    inc eax
    taken
    interrupt_self 0x41
    try "STI, an exception in its shadow"
    sti
    ud2
    caught
    mov eax, [frame + FRAME_FLAGS]
    and eax, FLAG_IF
    show "if", rax
    try "  and afterwards"
    sti
    nop
    nop
    taken
    interrupt_self 0x41
    try "STI, HLT"
    sti
    hlt
    nop
    taken
    interrupt_self 0x41
    try "STI, a jump"
    sti
    jmp 1f
    ud2
1:  nop
    taken

    // Priorities.
    interrupt_self 0x41
    interrupt_self 0x52
    try "the higher vector first"
    sti
    nop
    nop
    caught
    mov eax, [r15 + APIC_PPR]
    show "ppr", rax
    try "  the lower one waits for its end"
    sti
    nop
    nop
    caught
    end_of_interrupt
    try "  and comes"
    sti
    nop
    nop
    taken
    interrupt_self 0x41
    interrupt_self 0x4f
    try "same class: the higher vector first"
    sti
    nop
    nop
    taken
    try "  then the other"
    sti
    nop
    nop
    taken
    mov eax, 4
    mov cr8, rax
    interrupt_self 0x41
    try "CR8 of the same class"
    sti
    nop
    nop
    caught
    mov eax, [r15 + APIC_TPR]
    show "tpr", rax
    mov ecx, 3
    try "CR8 below"
    sti
    nop
    mov cr8, rcx
    nop
    taken
    mov dword ptr [r15 + APIC_TPR], 0x57
    mov rax, cr8
    about "CR8 is the TPR's class"
    show "cr8", rax
    mov eax, [r15 + APIC_PPR]
    show "ppr", rax
    mov dword ptr [r15 + APIC_TPR], 0
    on 0x41, interrupted_by_a_higher_one
    on 0x61, count
    interrupt_self 0x41
    try "one interrupts the other"
    sti
    nop
    nop
    nop
    caught
    show "count", [counter]
    show "isr", [isr]
    show "ppr", [ppr]
    off 0x41
    off 0x61

    // NMI.
    on 2, count
    mov qword ptr [counter], 0
    mov eax, [r15 + APIC_ID]
    mov [r15 + APIC_ICR_HIGH], eax
    try "NMI with interrupts off"
    mov dword ptr [r15 + APIC_ICR], ICR_NMI | ICR_ASSERT
    nop
    nop
    nop
    caught
    show "count", [counter]
    on 2, send_nmi
    mov qword ptr [counter], 0
    try "NMI during NMI waits for IRET"
    mov dword ptr [r15 + APIC_ICR], ICR_NMI | ICR_ASSERT
    nop
    nop
    nop
    caught
    show "count", [counter]
    show "in the first", [nested]
    on 2, fault_in_nmi
    on 6, skip_ud2
    mov qword ptr [counter], 0
    try "IRET of an exception in an NMI lets the next one in"
    mov dword ptr [r15 + APIC_ICR], ICR_NMI | ICR_ASSERT
    nop
    nop
    nop
    caught
    show "count", [counter]
    show "in the first", [nested]
    ret

count:
    inc qword ptr [counter]
    cmp qword ptr [rdi + FRAME_VECTOR], 2
    je 1f
    end_of_interrupt
1:  ret

interrupted_by_a_higher_one:
    interrupt_self 0x61
    sti
    nop
    nop
    cli
    mov eax, [r15 + APIC_ISR + 0x20]
    mov [isr], rax
    mov eax, [r15 + APIC_PPR]
    mov [ppr], rax
    end_of_interrupt
    ret

// Sends another NMI, once, and notes whether it was taken here.
send_nmi:
    inc qword ptr [counter]
    cmp qword ptr [counter], 1
    jne 1f
    mov dword ptr [r15 + APIC_ICR], ICR_NMI | ICR_ASSERT
    nop
    nop
    mov rax, [counter]
    mov [nested], rax
1:  ret

fault_in_nmi:
    inc qword ptr [counter]
    cmp qword ptr [counter], 1
    jne 1f
    mov dword ptr [r15 + APIC_ICR], ICR_NMI | ICR_ASSERT
    nop
    ud2
    nop
    mov rax, [counter]
    mov [nested], rax
1:  ret

skip_ud2:
    add qword ptr [rdi + FRAME_RIP], 2
    ret

.data
stack_pointer: .long interrupt_stack_1_top
    .word KERNEL_DATA
.balign 8
counter: .quad 0
nested: .quad 0
isr: .quad 0
ppr: .quad 0
