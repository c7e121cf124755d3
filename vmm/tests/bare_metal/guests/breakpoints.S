// Breakpoints on instructions, data and ports; the debug registers (SDM 3B 17.2, 17.3).

#include "lib/start.inc"
#include "lib/debug.inc"

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

.bss
.balign 8
hits: .skip 8
