// The interrupt controllers of the ISA bus and what is wired to them: timer, clock, serial port (8259A, 8254, MC146818).

#include "lib/start.inc"
#include "lib/apic.inc"
#include "lib/isa.inc"

.set TIMER, 0x20
.set SERIAL, 0x24
.set SPURIOUS_FIRST, 0x27
.set CLOCK, 0x28

// Programs both controllers; AUTO is 2 for automatic end of interrupt. All lines stay masked.
.macro controllers auto
    port_out 0x20, 0x11
    port_out 0xa0, 0x11
    port_out 0x21, TIMER
    port_out 0xa1, CLOCK
    port_out 0x21, 4
    port_out 0xa1, 2
    port_out 0x21, 1 | \auto
    port_out 0xa1, 1
    port_out 0x21, 0xff
    port_out 0xa1, 0xff
.endm

// Requests (0xa) or what is in service (0xb) of a controller (0x20 or 0xa0).
.macro show_controller name, port, which
    port_out \port, \which
    in al, \port
    movzx eax, al
    show "\name", rax
.endm

.macro wait_taken count
    sti
95: pause
    cmp qword ptr [taken], \count
    jb 95b
    cli
.endm

main:
    apic_on
    mov dword ptr [r15 + APIC_LVT_LINT0], 7 << 8
    .irp vector, TIMER, SERIAL, SPURIOUS_FIRST, CLOCK
        on \vector, take
    .endr

    // The timer.
    controllers 0
    timer 0, 100
    idle
    let_in
    about "masked, it requests"
    show_controller "irr", 0x20, 0xa
    show_taken
    port_out 0x21, 0xfe
    let_in
    about "then it is taken"
    show_taken
    show_controller "irr", 0x20, 0xa
    show_controller "isr", 0x20, 0xb
    show "vector", [last]
    timer 0, 100
    idle
    let_in
    about "nothing more before its end"
    show_taken
    show_controller "irr", 0x20, 0xa
    port_out 0x20, 0x20
    show_controller "isr", 0x20, 0xb
    let_in
    about "after it"
    show_taken
    port_out 0x20, 0x60
    show_controller "isr", 0x20, 0xb
    on TIMER, take_and_end
    timer 2, 1000
    wait_taken 3
    about "rate generator"
    mov qword ptr [taken], 3
    show_taken
    timer 0, 100
    wait_taken 1
    idle
    let_in
    about "once"
    show_taken
    port_out 0x43, 0xe2
    in al, 0x40
    and eax, 0xbf
    show "status", rax
    port_out 0x21, 0xff

    // Automatic end of interrupt.
    controllers 2
    on TIMER, take
    port_out 0x21, 0xfe
    timer 0, 100
    wait_taken 1
    about "automatic end of interrupt"
    show_controller "isr", 0x20, 0xb
    timer 0, 100
    wait_taken 1
    show_taken
    port_out 0x21, 0xff

    // The second controller.
    controllers 0
    port_out 0x70, 0xa
    port_out 0x71, 0x26
    port_out 0x70, 0xc
    in al, 0x71
    port_out 0x70, 0xb
    port_out 0x71, 0x42
    port_out 0x21, 0xfb
    port_out 0xa1, 0xfe
    mov qword ptr [taken], 0
    wait_taken 1
    about "clock"
    show "vector", [last]
    show_controller "isr", 0x20, 0xb
    show_controller "second", 0xa0, 0xb
    port_out 0x70, 0xc
    in al, 0x71
    movzx eax, al
    and eax, 0xc0
    show "c", rax
    port_out 0xa0, 0x20
    port_out 0x20, 0x20
    mov qword ptr [taken], 0
    wait_taken 1
    about "clock again"
    show_controller "second", 0xa0, 0xb
    port_out 0x70, 0xb
    port_out 0x71, 2
    port_out 0x70, 0xc
    in al, 0x71
    port_out 0xa0, 0x20
    port_out 0x20, 0x20
    mov qword ptr [taken], 0
    port_out 0xa1, 0xff

    // The serial port.
    serial_out 4, 0xb
    serial_out 1, 2
    port_out 0x21, 0xef
    let_in
    about "serial port, transmitter empty"
    show_taken
    show "vector", [last]
    mov edx, COM1 + 2
    in al, dx
    movzx eax, al
    and eax, 0xf
    show "iir", rax
    in al, dx
    movzx eax, al
    and eax, 0xf
    show "then", rax
    port_out 0x20, 0x20
    let_in
    show_taken

    // Priorities.
    timer 0, 100
    idle
    serial_out 1, 0
    serial_out 1, 2
    port_out 0x21, 0xee
    about "the timer comes before the serial port"
    let_in
    show "vector", [last]
    let_in
    show_taken
    port_out 0x20, 0x20
    let_in
    show "vector", [last]
    show_taken
    timer 0, 100
    idle
    let_in
    about "and interrupts it"
    show "vector", [last]
    show_taken
    show_controller "isr", 0x20, 0xb
    port_out 0x20, 0x20
    show_controller "isr", 0x20, 0xb
    port_out 0x20, 0x20
    show_controller "isr", 0x20, 0xb
    serial_out 1, 0
    mov edx, COM1 + 2
    in al, dx

    // A request that is gone when it is acknowledged: line 7.
    port_out 0x21, 0xff
    serial_out 1, 2
    port_out 0x21, 0xef
    about "polled"
    port_out 0x20, 0xc
    in al, 0x20
    movzx eax, al
    show "poll", rax
    show_controller "isr", 0x20, 0xb
    port_out 0x20, 0x20
    port_out 0x20, 0xc
    in al, 0x20
    movzx eax, al
    and eax, 0x80
    show "then", rax
    let_in
    show_taken
    mov dword ptr [r15 + APIC_LVT_LINT0], 7 << 8 | MASKED
    serial_out 1, 0
    serial_out 1, 2
    let_in
    about "LINT0 masked"
    show_taken
    mov dword ptr [r15 + APIC_LVT_LINT0], 7 << 8
    let_in
    show_taken
    ret

take:
    inc qword ptr [taken]
    mov rax, [rdi + FRAME_VECTOR]
    mov [last], rax
    ret

take_and_end:
    port_out 0x20, 0x20
    jmp take

.bss
.balign 8
last: .skip 8
