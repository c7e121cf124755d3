// The local APIC in x2APIC mode, and the way there and back (SDM 3A 10.12).

#include "lib/start.inc"
#include "lib/msr.inc"
#include "lib/processors.inc"

.set ENABLED, 1 << 11
.set EXTENDED, 1 << 10

.macro x2 register
    read_msr MSR_X2APIC + (\register) / 16
.endm

.macro refused name, register, value:vararg
    try "\name"
    write_msr \register, \value
    caught
.endm

.macro unreadable name, register
    try "\name"
    read_msr \register
    caught
.endm

main:
    apic_on
    place_trampoline TRAMPOLINE
    on 0x41, count
    unreadable "its registers in xAPIC mode", MSR_X2APIC + 2
    refused "EXTD without EN", MSR_APIC_BASE, APIC | 0x100 | EXTENDED
    refused "reserved bit of the base", MSR_APIC_BASE, APIC | 0x100 | ENABLED | 1
    mov dword ptr [r15 + APIC_LDR], 0x55000000
    mov dword ptr [r15 + APIC_TPR], 0x10
    try "on"
    write_msr MSR_APIC_BASE, APIC | 0x100 | ENABLED | EXTENDED
    caught
    x2 APIC_ID
    show "id", rax
    x2 APIC_LDR
    show "ldr", rax
    x2 APIC_TPR
    show "tpr", rax
    x2 APIC_SVR
    show "svr", rax
    read_msr MSR_APIC_BASE
    show "base", rax
    // The page is nobody's: on our board, and on a PC, it reads all ones.
    mov eax, [r15 + APIC_VERSION]
    show "memory", rax
    refused "back to xAPIC mode", MSR_APIC_BASE, APIC | 0x100 | ENABLED

    write_msr MSR_X2APIC + APIC_TPR / 16, 0
    write_msr MSR_X2APIC + 0x3f, 0x41
    about "self IPI"
    x2 APIC_IRR + 0x20
    show "irr", rax
    sti
    nop
    nop
    cli
    show "count", [counts]
    write_msr MSR_X2APIC + APIC_ICR / 16, ICR_SELF | ICR_ASSERT | 0x41
    sti
    nop
    nop
    cli
    about "command to itself"
    show "count", [counts]

    refused "ID", MSR_X2APIC + APIC_ID / 16, 0
    refused "version", MSR_X2APIC + APIC_VERSION / 16, 0
    refused "LDR", MSR_X2APIC + APIC_LDR / 16, 0
    refused "end of interrupt, not 0", MSR_X2APIC + APIC_EOI / 16, 1
    refused "task priority, reserved bits", MSR_X2APIC + APIC_TPR / 16, 0x100
    refused "SVR, reserved bits", MSR_X2APIC + APIC_SVR / 16, 0x101ff
    refused "error status, not 0", MSR_X2APIC + APIC_ESR / 16, 1
    refused "command, reserved bits", MSR_X2APIC + APIC_ICR / 16, 1 << 20
    refused "timer, upper half", MSR_X2APIC + APIC_TIMER_INITIAL / 16, 1 << 32
    refused "self IPI, upper bits", MSR_X2APIC + 0x3f, 0x141
    refused "IRR", MSR_X2APIC + APIC_IRR / 16, 0
    refused "no register there", MSR_X2APIC + 0x3a, 0
    refused "upper half of the command", MSR_X2APIC + 0x31, 0
    refused "DFR", MSR_X2APIC + APIC_DFR / 16, 0
    unreadable "DFR, read", MSR_X2APIC + APIC_DFR / 16
    unreadable "self IPI, read", MSR_X2APIC + 0x3f
    unreadable "end of interrupt, read", MSR_X2APIC + APIC_EOI / 16
    unreadable "upper half of the command, read", MSR_X2APIC + 0x31
    unreadable "beyond", MSR_X2APIC + 0x40

    // Another processor in xAPIC mode, then both in x2APIC mode.
    write_msr MSR_X2APIC + APIC_ICR / 16, 1 << 32 | ICR_INIT | ICR_ASSERT
    write_msr MSR_X2APIC + APIC_ICR / 16, 1 << 32 | ICR_STARTUP | ICR_ASSERT | TRAMPOLINE >> 12
    wait_for starts, 1
    job switch
    about "the other"
    show "id", [id]
    show "ldr", [logical]
    .macro reach name, command:vararg
        mov qword ptr [counts], 0
        mov qword ptr [counts + 8], 0
        job_begins until_an_interrupt
        wait_for ready, 1
        write_msr MSR_X2APIC + APIC_ICR / 16, \command
        job_ends
        sti
        nop
        nop
        cli
        about "\name"
        show "first", [counts]
        show "other", [counts + 8]
    .endm
    reach "by id", 1 << 32 | ICR_ASSERT | 0x41
    reach "logical", 2 << 32 | ICR_LOGICAL | ICR_ASSERT | 0x41
    reach "logical, both", 3 << 32 | ICR_LOGICAL | ICR_ASSERT | 0x41
    reach "all by id", 0xffffffff << 32 | ICR_ASSERT | 0x41
    reach "to the others", ICR_OTHERS | ICR_ASSERT | 0x41
    about "no delivery status"
    x2 APIC_ICR
    show "command", rax

    refused "off", MSR_APIC_BASE, APIC | 0x100
    unreadable "its registers when it is off", MSR_X2APIC + 2
    refused "from off to x2APIC mode", MSR_APIC_BASE, APIC | 0x100 | ENABLED | EXTENDED
    refused "from off to xAPIC mode", MSR_APIC_BASE, APIC | 0x100 | ENABLED
    mov eax, [r15 + APIC_SVR]
    show "svr", rax
    mov eax, [r15 + APIC_LDR]
    show "ldr", rax
    ret

// In x2APIC mode the EOI is another.
count:
    mov ecx, 0x802
    rdmsr
    inc qword ptr [counts + 8 * rax]
    mov ecx, 0x80b
    xor eax, eax
    xor edx, edx
    wrmsr
    ret

switch:
    write_msr MSR_APIC_BASE, APIC | ENABLED | EXTENDED
    read_msr 0x802
    mov [id], rax
    read_msr 0x80d
    mov [logical], rax
    ret

.bss
.balign 8
id: .skip 8
logical: .skip 8
