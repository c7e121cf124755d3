// Two processors: INIT, start-up, interrupts to each other, and what one does to the other's memory and code (SDM 3A 8.4, 10.6).

#include "lib/start.inc"
#include "lib/paging.inc"
#include "lib/processors.inc"

.set PLACE, FREE

.macro show_counts
    show "first", [counts]
    show "other", [counts + 8]
    mov qword ptr [counts], 0
    mov qword ptr [counts + 8], 0
.endm

main:
    apic_on
    place_trampoline TRAMPOLINE
    place_trampoline TRAMPOLINE + 0x1000
    on 0x41, count
    on 2, count

    send 1, ICR_INIT | ICR_ASSERT
    send 1, ICR_STARTUP | ICR_ASSERT | TRAMPOLINE >> 12
    wait_for starts, 1
    about "start"
    .macro show_seen name, offset
        mov eax, [TRAMPOLINE + trampoline_seen - trampoline + \offset]
        show "\name", rax
    .endm
    show_seen "esp", 0
    show_seen "eax", 4
    mov eax, [TRAMPOLINE + trampoline_seen - trampoline + 8]
    and eax, ~(CR0_CD | CR0_NW)
    show "cr0", rax
    show_seen "cs", 12
    show_seen "ds", 16
    show_seen "cr4", 20
    send 1, ICR_STARTUP | ICR_ASSERT | (TRAMPOLINE >> 12) + 1
    job nothing
    about "another start-up is not listened to"
    show "starts", [starts]
    job who
    about "who"
    show "id", [number]
    show "bsp", [is_first]
    call who
    show "id", [number]
    show "bsp", [is_first]

    // Interrupts.
    job_begins until_two_interrupts
    wait_for ready, 1
    send 1, ICR_ASSERT | 0x41
    send 1, ICR_ASSERT | 0x41
1:  pause
    cmp qword ptr [counts + 8], 1
    jb 1b
    send 1, ICR_ASSERT | 0x41
    job_ends
    mov qword ptr [counts + 8], 2           // two of three may be one
    about "by id"
    show_counts
    job_begins until_an_interrupt
    wait_for ready, 1
    mov dword ptr [r15 + APIC_ICR], ICR_OTHERS | ICR_ASSERT | 0x41
    job_ends
    sti
    nop
    nop
    cli
    about "to the others"
    show_counts
    job_begins until_an_interrupt
    wait_for ready, 1
    mov dword ptr [r15 + APIC_ICR], ICR_ALL | ICR_ASSERT | 0x41
    job_ends
    sti
    wait_for counts, 1
    cli
    about "to all"
    show_counts
    job set_logical
    call set_logical
    job_begins until_an_interrupt
    wait_for ready, 1
    send 2, ICR_LOGICAL | ICR_ASSERT | 0x41
    job_ends
    sti
    nop
    nop
    cli
    about "logical, the other"
    show_counts
    job_begins until_an_interrupt
    wait_for ready, 1
    send 0xf3, ICR_LOGICAL | ICR_ASSERT | 0x41
    job_ends
    sti
    wait_for counts, 1
    cli
    about "logical, both"
    show_counts
    job_begins until_an_interrupt
    wait_for ready, 1
    send 0xff, ICR_ASSERT | 0x41
    job_ends
    sti
    wait_for counts, 1
    cli
    about "to id 255"
    show_counts
    job_begins halted_until_nmi
    wait_for ready, 1
    // Again, should the first one have come before HLT.
1:  send 1, ICR_NMI | ICR_ASSERT
    mov ecx, 100000
2:  pause
    cmp qword ptr [job_to_do], 0
    je 3f
    loop 2b
    jmp 1b
3:  mov qword ptr [counts + 8], 1
    about "NMI ends HLT without IF"
    show_counts
    job_begins halted
    wait_for ready, 1
    send 1, ICR_ASSERT | 0x41
    job_ends
    about "an interrupt ends HLT"
    show_counts

    // Memory.
    job_begins add
    call add
    job_ends
    about "atomic additions of both"
    show "sum", [sum]
    job_begins add_locked
    call add_locked
    job_ends
    about "additions of both under a lock"
    show "sum", [sum]
    mov rax, 0x1111111111111111
    mov [FREE + 0x1000], rax
    mov rax, 0x2222222222222222
    mov [FREE + 0x2000], rax
    map 0, FREE + 0x1000 + PRESENT + WRITABLE
    job read_window
    about "a page"
    show "value", [value]
    mov qword ptr [window_table], FREE + 0x2000 + (PRESENT | WRITABLE)
    job forget_window
    job read_window
    about "another page, after INVLPG there"
    show "value", [value]

    // Code.
    mov byte ptr [PLACE], 0xb8
    mov dword ptr [PLACE + 1], 1
    mov byte ptr [PLACE + 5], 0xc3
    mov qword ptr [ready], 0
    job_begins until_it_returns_2
    wait_for ready, 1
    mov byte ptr [PLACE + 1], 2
    job_ends
    about "code that the first writes and the other executes"
    show "value", [value]

    // INIT.
    job_begins set_registers_and_loop
    wait_for ready, 1
    send 1, ICR_INIT | ICR_ASSERT
    mov qword ptr [job_to_do], 0
    mov qword ptr [beat], 0
    mov ecx, 10000
1:  pause
    loop 1b
    about "INIT stops it"
    show "beat", [beat]
    send 1, ICR_STARTUP | ICR_ASSERT | (TRAMPOLINE >> 12) + 1
    wait_for starts, 2
    about "start somewhere else"
    mov eax, [TRAMPOLINE + 0x1000 + trampoline_seen - trampoline + 12]
    show "cs", rax
    job look_at_registers
    show "mxcsr", [mxcsr]
    show "dr7", [debug_control]
    show "star", [star]
    show "tpr", [task_priority]
    // The first processor goes on after INIT to all others, too.
    mov dword ptr [r15 + APIC_ICR], ICR_OTHERS | ICR_INIT | ICR_ASSERT
    mov dword ptr [r15 + APIC_ICR], ICR_OTHERS | ICR_STARTUP | ICR_ASSERT | TRAMPOLINE >> 12
    wait_for starts, 3
    about "INIT and start-up to the others"
    show "starts", [starts]
    ret

count:
    mov eax, [r15 + APIC_ID]
    shr eax, 24
    lock inc qword ptr [counts + 8 * rax]
    cmp qword ptr [rdi + FRAME_VECTOR], 2
    je 1f
    end_of_interrupt
1:  ret

nothing:
    ret

who:
    mov eax, [r15 + APIC_ID]
    shr eax, 24
    mov [number], rax
    mov ecx, MSR_APIC_BASE
    rdmsr
    shr eax, 8
    and eax, 1
    mov [is_first], rax
    ret

until_two_interrupts:
    mov qword ptr [ready], 1
    sti
1:  pause
    cmp qword ptr [counts + 8], 2
    jb 1b
    cli
    mov qword ptr [ready], 0
    ret

halted_until_nmi:
    cli
    mov qword ptr [ready], 1
    hlt
    mov qword ptr [ready], 0
    ret

halted:
    mov qword ptr [ready], 1
    sti
    hlt
    cli
    mov qword ptr [ready], 0
    ret

// Flat logical ids: bit 0 and bit 1.
set_logical:
    mov ecx, [r15 + APIC_ID]
    shr ecx, 24
    mov eax, 1 << 24
    shl eax, cl
    mov [r15 + APIC_LDR], eax
    mov dword ptr [r15 + APIC_DFR], -1
    ret

add:
    mov ecx, 20000
1:  lock inc qword ptr [sum]
    loop 1b
    ret

add_locked:
    mov ecx, 2000
1:  mov eax, 1
    xchg [lock_word], eax
    test eax, eax
    jz 2f
    pause
    jmp 1b
2:  mov rax, [sum]
    inc rax
    nop
    mov [sum], rax
    mov dword ptr [lock_word], 0
    loop 1b
    ret

read_window:
    mov rax, [WINDOW]
    mov [value], rax
    ret

forget_window:
    invlpg [WINDOW]
    ret

until_it_returns_2:
    mov ebx, PLACE
1:  call rbx
    mov [value], rax
    mov qword ptr [ready], 1
    cmp eax, 2
    jne 1b
    mov qword ptr [ready], 0
    ret

set_registers_and_loop:
    mov eax, 0x1f3f
    mov [mxcsr], rax
    ldmxcsr [mxcsr]
    mov eax, 0x455
    mov dr7, rax
    mov ecx, MSR_STAR
    mov eax, 0x12345678
    mov edx, eax
    wrmsr
    mov dword ptr [r15 + APIC_TPR], 0x30
    mov qword ptr [ready], 1
1:  inc qword ptr [beat]
    pause
    jmp 1b

look_at_registers:
    stmxcsr [mxcsr]
    mov rax, dr7
    mov [debug_control], rax
    mov ecx, MSR_STAR
    rdmsr
    mov [star], rax
    mov eax, [r15 + APIC_TPR]
    mov [task_priority], rax
    ret

.bss
.balign 8
number: .skip 8
is_first: .skip 8
sum: .skip 8
value: .skip 8
beat: .skip 8
mxcsr: .skip 8
debug_control: .skip 8
star: .skip 8
task_priority: .skip 8
lock_word: .skip 4
