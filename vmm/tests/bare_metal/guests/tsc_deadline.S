// The local APIC's timer in TSC-deadline mode, and the counter it looks at (SDM 3A 10.5.4.1, SDM 3B 17.17).

#include "lib/start.inc"
#include "lib/msr.inc"
#include "lib/apic.inc"

.set TICK, 0x41

// RBX becomes the counter so many ticks from now.
.macro from_now ticks:vararg
    rdtsc
    shl rdx, 32
    lea rbx, [rax + rdx]
    add rbx, \ticks
.endm

.macro let_in
    sti
    nop
    nop
    cli
.endm

.macro show_deadline
    read_msr MSR_TSC_DEADLINE
    show "deadline", rax
.endm

.macro show_ticks
    show "ticks", [ticks]
    mov qword ptr [ticks], 0
.endm

main:
    apic_on
    on TICK, tick
    about "in another mode the register is 0"
    mov dword ptr [r15 + APIC_LVT_TIMER], TICK
    write_msr MSR_TSC_DEADLINE, 1
    show_deadline
    let_in
    show_ticks
    mov dword ptr [r15 + APIC_LVT_TIMER], TICK | TSC_DEADLINE
    mfence
    about "in the past"
    write_msr MSR_TSC_DEADLINE, 1
    let_in
    show_ticks
    show_deadline
    about "in the future"
    from_now 20000
    write_msr MSR_TSC_DEADLINE, rbx
    let_in
    show_ticks
    read_msr MSR_TSC_DEADLINE
    sub rax, rbx
    show "difference", rax
    sti
1:  pause
    cmp qword ptr [ticks], 0
    je 1b
    cli
    rdtsc
    shl rdx, 32
    or rax, rdx
    cmp rax, rbx
    setae al
    movzx eax, al
    show "over", rax
    show_ticks
    show_deadline
    about "taken back"
    from_now 20000
    write_msr MSR_TSC_DEADLINE, rbx
    write_msr MSR_TSC_DEADLINE, 0
    mov ecx, 20000
1:  pause
    loop 1b
    let_in
    show_ticks
    show_deadline
    about "it ends HLT"
    from_now 20000
    write_msr MSR_TSC_DEADLINE, rbx
    sti
    hlt
    cli
    show_ticks
    about "no count in this mode"
    mov dword ptr [r15 + APIC_TIMER_INITIAL], 1000
    mov eax, [r15 + APIC_TIMER_CURRENT]
    show "current", rax
    mov ecx, 20000
1:  pause
    loop 1b
    let_in
    show_ticks
    about "another mode takes it back"
    from_now 20000
    write_msr MSR_TSC_DEADLINE, rbx
    mov dword ptr [r15 + APIC_LVT_TIMER], TICK
    mov ecx, 20000
1:  pause
    loop 1b
    let_in
    show_ticks
    mov dword ptr [r15 + APIC_LVT_TIMER], TICK | TSC_DEADLINE
    show_deadline
    about "masked"
    mov dword ptr [r15 + APIC_LVT_TIMER], TICK | TSC_DEADLINE | MASKED
    write_msr MSR_TSC_DEADLINE, 1
    let_in
    show_ticks
    show_deadline

    // The counter.
    about "it never goes back"
    rdtsc
    shl rdx, 32
    lea rbx, [rax + rdx]
    rdtsc
    shl rdx, 32
    or rax, rdx
    cmp rbx, rax
    setb al
    movzx eax, al
    show "later", rax
    about "it can be set"
    write_msr MSR_TSC, 0x100000000000
    rdtsc
    shr edx, 12
    mov eax, edx
    show "upper", rax
    write_msr 0x3b, 0
    from_now 20000
    mov dword ptr [r15 + APIC_LVT_TIMER], TICK | TSC_DEADLINE
    write_msr MSR_TSC_DEADLINE, rbx
    sti
    hlt
    cli
    show_ticks
    about "IA32_TSC_ADJUST follows"
    write_msr 0x3b, 0
    write_msr MSR_TSC, 0x200000000000
    read_msr 0x3b
    shr rax, 40
    show "adjust", rax
    write_msr 0xc0000103, 0x77
    rdtscp
    about "RDTSCP"
    show "ecx", rcx
    mov rax, cr4
    or eax, CR4_TSD
    mov cr4, rax
    try "RDTSC with CR4.TSD"
    rdtsc
    caught
    try_user "RDTSC at level 3 with CR4.TSD"
    rdtsc
    caught
    try_user "RDTSCP at level 3 with CR4.TSD"
    rdtscp
    caught
    ret

tick:
    inc qword ptr [ticks]
    end_of_interrupt
    ret

.bss
.balign 8
ticks: .skip 8
