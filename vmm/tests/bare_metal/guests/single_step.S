// Single steps, breakpoints, and what the debug registers say about them (SDM 3B 17).

#include "lib/start.inc"

.set DR6_ONES, 0xffff0ff0

.macro show_dr6
    mov rax, dr6
    mov rcx, DR6_ONES
    xor rax, rcx
    show "dr6", rax
    mov rax, DR6_ONES
    mov dr6, rax
.endm

// Runs code with TF and prints where each trap found it.
.macro trace name
    on 1, step
    mov qword ptr [ends], offset 97f
    about "\name"
    mov qword ptr [started], offset 98f
    pushfq
    or qword ptr [rsp], FLAG_TF
    popfq
98:
.endm

.macro traced
97: nop
    off 1
.endm

// Breakpoint 0 of this kind (0 execution, 1 write, 2 port, 3 access) and length (0, 1, 3, 2 for 1, 2, 4, 8 bytes).
.macro watch kind, length, address:vararg
    mov rax, \address
    mov dr0, rax
    mov rax, DR6_ONES
    mov dr6, rax
    mov eax, 0x401 | (\kind) << 16 | (\length) << 18
    mov dr7, rax
.endm

.macro unwatch
    mov eax, 0x400
    mov dr7, rax
.endm

main:
    // Single steps.
    mov ecx, 3
    xor ebx, ebx
    trace "plain"
    inc ebx
    add rbx, 0x12345678
    jmp 1f
    nop
1:  nop
    traced
    trace "loop"
1:  loop 1b
    traced
    mov ecx, 3
    mov edi, FREE
    trace "each iteration of a repeated string"
    rep stosb
    traced
    xor ecx, ecx
    trace "no iteration"
    rep stosb
    traced
    mov ecx, KERNEL_DATA
    trace "MOV SS holds the trap back"
    mov ss, ecx
    nop
    nop
    traced
    trace "STI does not"
    sti
    cli
    traced
    trace "PUSHF shows TF"
    pushfq
    pop rbx
    traced
    show "flags", rbx
    trace "POPF that clears TF is the last one"
    push 2
    popfq
    nop
    nop
    traced
    on 0x40, look_at_flags
    trace "INT n is not stepped into"
    int 0x40
    nop
    traced
    show "handler", [seen_flags]
    on 6, skip_ud2
    trace "a fault is not stepped over"
    ud2
    nop
    traced
    off 6
    trace "IRET that keeps TF"
    mov rbx, rsp
    push KERNEL_DATA
    push rbx
    push 2 + FLAG_TF
    push KERNEL_CODE
    push offset 1f
    iretq
    nop
1:  nop
    traced
    mov ecx, MSR_LSTAR
    mov eax, offset system_call
    xor edx, edx
    wrmsr
    mov ecx, MSR_STAR
    mov edx, KERNEL_CODE
    wrmsr
    mov ecx, MSR_FMASK
    mov eax, FLAG_TF
    xor edx, edx
    wrmsr
    trace "SYSCALL that masks TF"
    syscall
    traced
    trace "INT3"
    on 3, look_at_flags
    int3
    nop
    traced
    off 3
    trace "CPUID, RDTSC, IN"
    mov eax, 0
    cpuid
    rdtsc
    in al, 0x80
    nop
    traced
    try "DR6 after steps"
    caught
    show_dr6
    mov qword ptr [user_flags], 2 + FLAG_TF
    try_user "the first instruction at level 3"
    nop
    nop
    caught
    show_dr6
    mov qword ptr [user_flags], 2

    // Breakpoints on instructions: a fault, unless RF is set.
    watch 0, 0, offset 1f
    try "breakpoint"
    nop
1:  nop
    caught
    show_dr6
    mov rax, [frame + FRAME_FLAGS]
    and eax, FLAG_RF
    show "rf", rax
    on 1, go_on
    mov qword ptr [hits], 0
    watch 0, 0, offset 1f
    about "RF lets it pass, once"
    mov ecx, 3
1:  loop 1b
    show "hits", [hits]
    on 1, go_on_without_rf
    mov qword ptr [hits], 0
    watch 0, 0, offset 1f
    about "without RF it would come again"
    nop
1:  nop
    show "hits", [hits]
    off 1
    watch 0, 0, offset 1f
    mov ecx, KERNEL_DATA
    try "breakpoint behind MOV SS"
    mov ss, ecx
1:  nop
    nop
    caught
    show_dr6
    watch 0, 0, offset 1f + 1
    try "breakpoint within an instruction"
1:  mov eax, 0x12345678
    caught
    watch 0, 0, offset 1f
    mov eax, 0x400
    mov dr7, rax
    try "breakpoint that is off"
1:  nop
    caught
    watch 0, 0, offset 1f + ALIAS
    try_user "breakpoint at level 3"
    nop
1:  nop
    caught
    show_dr6

    // Breakpoints on data: a trap.
    watch 1, 3, FREE
    try "4 bytes, write"
    mov byte ptr [FREE + 3], 1
    nop
    caught
    show_dr6
    try "4 bytes, write just below"
    mov byte ptr [FREE - 1], 1
    nop
    caught
    show_dr6
    try "4 bytes, write just above"
    mov byte ptr [FREE + 4], 1
    nop
    caught
    show_dr6
    try "4 bytes, write across"
    mov qword ptr [FREE - 7], 1
    nop
    caught
    show_dr6
    try "4 bytes, read"
    mov eax, [FREE]
    nop
    caught
    show_dr6
    watch 3, 1, FREE
    try "2 bytes, read"
    mov al, [FREE + 1]
    nop
    caught
    show_dr6
    try "2 bytes, read of the third"
    mov al, [FREE + 2]
    nop
    caught
    show_dr6
    watch 3, 2, FREE
    try "8 bytes, read"
    mov al, [FREE + 7]
    nop
    caught
    show_dr6
    watch 1, 0, FREE
    try "1 byte, add"
    add dword ptr [FREE - 3], 1
    nop
    caught
    show_dr6
    mov edi, FREE - 2
    mov ecx, 8
    try "1 byte, in the middle of a repeated string"
    rep stosb
    nop
    caught
    show "ecx", rcx
    show_dr6
    watch 1, 3, FREE
    try "push"
    mov rsp, FREE + 4
    push rax
    nop
    caught
    show_dr6
    mov eax, 0x400 | 0xd << 16 | 0xd << 20 | 5
    mov dr7, rax
    mov eax, FREE
    mov dr1, rax
    mov dr2, rax
    try "two at once, and one that is off"
    mov dword ptr [FREE], 0
    nop
    caught
    show_dr6
    xor eax, eax
    mov dr1, rax

    // Ports, with CR4.DE.
    mov rax, cr4
    or eax, CR4_DE
    mov cr4, rax
    watch 2, 1, 0x80
    try "port"
    out 0x80, al
    nop
    caught
    show_dr6
    try "another port"
    out 0x82, al
    nop
    caught
    show_dr6
    unwatch
    try "DR4 with CR4.DE"
    mov rax, dr4
    caught
    mov rax, cr4
    and eax, ~CR4_DE
    mov cr4, rax
    try "DR4 without"
    mov rax, dr4
    caught
    mov rcx, dr6
    sub rax, rcx
    show "difference to DR6", rax

    // The registers.
    try_user "DR at level 3"
    mov rax, dr6
    caught
    mov eax, 0x2400
    mov dr7, rax
    try "general detect"
    mov rax, dr0
    caught
    mov rax, dr6
    xor eax, DR6_ONES
    show "dr6", rax
    mov rax, dr7
    show "dr7", rax
    mov rax, DR6_ONES
    mov dr6, rax
    try "DR7, bits that are always as they are"
    xor eax, eax
    mov dr7, rax
    mov rax, dr7
    caught
    show "rax", rax
    mov rax, 0xffff2bff & ~0x2000
    mov dr7, rax
    mov rcx, dr7
    unwatch
    show "all", rcx
    try "DR6, bits that are always as they are"
    xor eax, eax
    mov dr6, rax
    mov rax, dr6
    caught
    show "rax", rax
    mov rax, 1 << 32
    try "DR7, upper half"
    mov dr7, rax
    caught
    try "DR6, upper half"
    mov dr6, rax
    caught
    try "DR0, upper half"
    mov dr0, rax
    mov rcx, dr0
    caught
    show "rcx", rcx
    ret

// Prints where the trap was taken; ends with the test.
step:
    mov rax, [rdi + FRAME_RIP]
    cmp rax, [ends]
    jb 1f
    and qword ptr [rdi + FRAME_FLAGS], ~FLAG_TF
1:  sub rax, [started]
    mov rcx, rax
    show "", rcx
    ret

look_at_flags:
    mov rax, [handler_flags]
    and eax, FLAG_TF
    mov [seen_flags], rax
    ret

skip_ud2:
    add qword ptr [rdi + FRAME_RIP], 2
    ret

go_on:
    or qword ptr [rdi + FRAME_FLAGS], FLAG_RF
    inc qword ptr [hits]
    ret

go_on_without_rf:
    and qword ptr [rdi + FRAME_FLAGS], ~FLAG_RF
    inc qword ptr [hits]
    cmp qword ptr [hits], 5
    jb 1f
    unwatch
1:  ret

system_call:
    nop
    or r11, FLAG_TF
    push KERNEL_DATA
    lea rbx, [rsp + 8]
    push rbx
    push r11
    push KERNEL_CODE
    push rcx
    iretq

.bss
.balign 8
ends: .skip 8
hits: .skip 8
seen_flags: .skip 8
