// The IOAPIC: an edge, a level, a mask, and the end of an interrupt (82093AA; SDM 3A 10.8.5).

#include "lib/start.inc"
#include "lib/apic.inc"
#include "lib/isa.inc"

.set IOAPIC, 0xfec00000
.set TIMER_PIN, 2
.set SERIAL_PIN, 4
.set EDGE, 0x51
.set LEVEL, 0x61
.set LEVEL_TRIGGERED, 1 << 15
.set REMOTE_IRR, 1 << 14

.macro select register
    mov dword ptr [r14], \register
.endm

.macro redirect pin, entry:vararg
    select 0x11+2*\pin
    mov dword ptr [r14 + 0x10], 0
    select 0x10+2*\pin
    mov dword ptr [r14 + 0x10], \entry
.endm

.macro show_entry name, pin
    select 0x10+2*\pin
    mov eax, [r14 + 0x10]
    show "\name", rax
.endm

main:
    apic_on
    mov r14d, IOAPIC
    on EDGE, take
    on LEVEL, take
    about "registers"
    select 1
    mov eax, [r14 + 0x10]
    shr eax, 16
    and eax, 0xff
    show "last pin", rax
    select 0x10
    mov eax, [r14]
    show "selected", rax
    redirect 23, 0xffffffff
    show_entry "entry", 23
    select 0x3f
    mov dword ptr [r14 + 0x10], 0xffffffff
    mov eax, [r14 + 0x10]
    and eax, 0xff000000
    show "destination", rax
    redirect 23, MASKED

    // An edge.
    redirect TIMER_PIN, EDGE
    timer 0, 100
    idle
    let_in
    about "edge"
    show_taken
    show_entry "entry", TIMER_PIN
    let_in
    show_taken
    redirect TIMER_PIN, EDGE | MASKED
    timer 0, 100
    idle
    let_in
    about "edge, masked"
    show_taken
    redirect TIMER_PIN, EDGE
    timer 0, 100
    idle
    let_in
    about "edge, again"
    show_taken

    // A level.
    serial_out 4, 0xb
    redirect SERIAL_PIN, LEVEL | LEVEL_TRIGGERED
    serial_out 1, 2
    on LEVEL, take_without_end
    let_in
    about "level"
    show_taken
    show_entry "entry", SERIAL_PIN
    mov eax, [r15 + APIC_ISR + 0x30]
    show "isr", rax
    mov eax, [r15 + APIC_TMR + 0x30]
    show "tmr", rax
    end_of_interrupt
    about "its end brings it again"
    let_in
    show_taken
    show_entry "entry", SERIAL_PIN
    mov edx, COM1 + 2
    in al, dx
    about "not once the device is served"
    show_entry "entry", SERIAL_PIN
    end_of_interrupt
    show_entry "entry", SERIAL_PIN
    let_in
    show_taken
    serial_out 1, 0
    serial_out 1, 2
    let_in
    about "level again"
    show_taken
    redirect SERIAL_PIN, LEVEL | LEVEL_TRIGGERED | MASKED
    end_of_interrupt
    let_in
    about "level, masked"
    show_taken
    show_entry "entry", SERIAL_PIN
    redirect SERIAL_PIN, LEVEL | LEVEL_TRIGGERED
    let_in
    about "level, unmasked while it is active"
    show_taken
    mov edx, COM1 + 2
    in al, dx
    end_of_interrupt
    let_in
    show_taken
    serial_out 1, 0

    // Another vector and mode.
    on 2, take
    redirect TIMER_PIN, 4 << 8
    timer 0, 100
    idle
    about "NMI"
    show_taken
    redirect TIMER_PIN, MASKED
    ret

take:
    end_of_interrupt
take_without_end:
    inc qword ptr [taken]
    ret

