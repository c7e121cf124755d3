// The local APIC's timer counting down (SDM 3A 10.5.4). Only order is looked at, no time.

#include "lib/start.inc"
#include "lib/apic.inc"

.set TICK, 0x41

.macro start count, mode
    mov qword ptr [ticks], 0
    mov dword ptr [r15 + APIC_LVT_TIMER], TICK | \mode
    mov dword ptr [r15 + APIC_TIMER_INITIAL], \count
.endm

.macro wait_ticks count
95: pause
    cmp qword ptr [ticks], \count
    jb 95b
.endm

// Waits until the timer has run down.
.macro wait_zero
95: pause
    cmp dword ptr [r15 + APIC_TIMER_CURRENT], 0
    jne 95b
.endm

.macro show_register name, register:vararg
    mov eax, [r15 + \register]
    show "\name", rax
.endm

// Waits for a while.
.macro idle
    mov ecx, 20000
95: pause
    loop 95b
.endm

main:
    apic_on
    on TICK, tick
    on 0x42, tick
    about "after reset"
    mov dword ptr [r15 + APIC_LVT_TIMER], MASKED
    show_register "lvt", APIC_LVT_TIMER
    mov dword ptr [r15 + APIC_TIMER_INITIAL], 0
    show_register "initial", APIC_TIMER_INITIAL
    show_register "current", APIC_TIMER_CURRENT
    mov dword ptr [r15 + APIC_TIMER_DIVIDE], 0xffffffff
    show_register "divide", APIC_TIMER_DIVIDE
    mov dword ptr [r15 + APIC_TIMER_DIVIDE], 0xb

    sti
    start 10000, 0
    wait_ticks 1
    idle
    about "one shot"
    show "ticks", [ticks]
    show_register "current", APIC_TIMER_CURRENT
    show_register "initial", APIC_TIMER_INITIAL
    start 10000, PERIODIC
    wait_ticks 5
    cli
    about "periodic"
    mov rax, [ticks]
    cmp rax, 5
    setae al
    movzx eax, al
    show "5 or more", rax
    mov eax, [r15 + APIC_TIMER_CURRENT]
    dec eax
    cmp eax, 10000
    setb al
    movzx eax, al
    show "counts", rax
    mov dword ptr [r15 + APIC_TIMER_INITIAL], 0
    sti
    nop
    nop
    mov qword ptr [ticks], 0
    idle
    cli
    about "0 stops it"
    show "ticks", [ticks]
    show_register "current", APIC_TIMER_CURRENT

    start 5000, PERIODIC
    idle
    idle
    mov dword ptr [r15 + APIC_TIMER_INITIAL], 0
    about "with interrupts off one of many waits"
    show_register "irr", APIC_IRR + TICK / 32 * 16
    sti
    nop
    nop
    idle
    cli
    show "ticks", [ticks]

    start 5000, MASKED
    wait_zero
    about "masked it runs down"
    show_register "irr", APIC_IRR + TICK / 32 * 16
    mov dword ptr [r15 + APIC_LVT_TIMER], TICK
    sti
    idle
    cli
    show "ticks", [ticks]
    start 50000000, 0
    mov dword ptr [r15 + APIC_LVT_TIMER], 0x42
    mov dword ptr [r15 + APIC_TIMER_INITIAL], 5000
    sti
    wait_ticks 1
    cli
    about "vector and count as they were set last"
    show "vector", [last]
    start 5000, 0
    mov dword ptr [r15 + APIC_TIMER_DIVIDE], 0
    mov dword ptr [r15 + APIC_TIMER_INITIAL], 5000
    mov eax, [r15 + APIC_TIMER_CURRENT]
    wait_zero
    about "divided by 2"
    sti
    nop
    nop
    cli
    show "ticks", [ticks]
    mov dword ptr [r15 + APIC_TIMER_DIVIDE], 0xb
    start 50000, 0
    sti
    hlt
    cli
    about "it ends HLT"
    show "ticks", [ticks]

    // Priorities.
    mov dword ptr [r15 + APIC_TPR], 0x40
    start 5000, 0
    wait_zero
    sti
    idle
    cli
    about "task priority holds it back"
    show "ticks", [ticks]
    mov dword ptr [r15 + APIC_TPR], 0x30
    sti
    nop
    nop
    cli
    show "ticks", [ticks]
    mov dword ptr [r15 + APIC_TPR], 0

    // Errors and switches.
    mov dword ptr [r15 + APIC_ESR], 0
    start 5000, 0
    mov dword ptr [r15 + APIC_LVT_ERROR], MASKED
    mov dword ptr [r15 + APIC_LVT_TIMER], 5
    wait_zero
    idle
    mov dword ptr [r15 + APIC_ESR], 0
    about "a vector below 16"
    show_register "esr", APIC_ESR
    mov dword ptr [r15 + APIC_ESR], 0
    show_register "then", APIC_ESR
    mov dword ptr [r15 + APIC_ICR], ICR_OTHERS | ICR_ASSERT | 3
    mov dword ptr [r15 + APIC_ESR], 0
    about "sending a vector below 16"
    show_register "esr", APIC_ESR
    mov dword ptr [r15 + APIC_LVT_TIMER], TICK
    mov dword ptr [r15 + APIC_SVR], SPURIOUS
    about "switched off by software"
    show_register "lvt", APIC_LVT_TIMER
    mov dword ptr [r15 + APIC_LVT_TIMER], TICK
    show_register "still", APIC_LVT_TIMER
    mov dword ptr [r15 + APIC_SVR], 0x100 | SPURIOUS
    show_register "on again", APIC_LVT_TIMER
    ret

tick:
    inc qword ptr [ticks]
    mov rax, [rdi + FRAME_VECTOR]
    mov [last], rax
    end_of_interrupt
    ret

.bss
.balign 8
ticks: .skip 8
last: .skip 8
