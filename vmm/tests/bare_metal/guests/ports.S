// Who may use which port: IOPL and the bitmap of the task state; flags that depend on IOPL (SDM 1 18.5, SDM 2A).

#include "lib/start.inc"

.macro at_level_3 name, instruction:vararg
    try_user "\name"
    \instruction
    caught
.endm

.macro allow port
    and byte ptr [port_bitmap + (\port) / 8], ~(1 << ((\port) % 8)) & 0xff
.endm

main:
    mov edx, 0x80
    at_level_3 "a port that is not allowed", in al, 0x80
    allow 0x80
    at_level_3 "a port that is allowed", in al, 0x80
    at_level_3 "the port above", in al, 0x81
    at_level_3 "OUT", out 0x80, al
    at_level_3 "by DX", in al, dx
    at_level_3 "2 bytes, one is not allowed", in ax, 0x80
    allow 0x81
    at_level_3 "2 bytes", in ax, 0x80
    at_level_3 "4 bytes, two are not allowed", in eax, dx
    allow 0x82
    allow 0x83
    at_level_3 "4 bytes", in eax, dx
    allow 0x87
    allow 0x88
    at_level_3 "2 bytes over a byte of the bitmap", in ax, 0x87
    mov edi, offset user_stack_top + ALIAS - 64
    mov esi, offset user_stack_top + ALIAS - 64
    at_level_3 "INSB", insb
    at_level_3 "OUTSD", outsd
    mov edx, 0x90
    at_level_3 "INSB, not allowed", insb
    mov ecx, 0
    at_level_3 "OUTSB of nothing, not allowed", rep outsb
    mov edx, 0x3ff
    at_level_3 "the last port in the bitmap", in al, dx
    allow 0x3ff
    at_level_3 "the last port in the bitmap, allowed", in al, dx
    at_level_3 "beyond the bitmap", in ax, dx
    mov edx, 0xffff
    at_level_3 "port FFFF", in al, dx
    try_user32 "in 32-bit code"
    in al, 0x80
    caught
    try_user32 "in 32-bit code, not allowed"
    in al, 0x90
    caught
    mov qword ptr [user_flags], 2 + FLAG_IOPL3
    at_level_3 "IOPL 3", in al, 0x90
    at_level_3 "IOPL 3, CLI", cli
    at_level_3 "IOPL 3, STI", sti
    mov qword ptr [user_flags], 2 + (2 << 12)
    at_level_3 "IOPL 2", in al, 0x90
    at_level_3 "IOPL 2, CLI", cli
    at_level_3 "IOPL 2, STI", sti
    mov qword ptr [user_flags], 2
    try_user "POPF at level 3 changes neither IF nor IOPL"
    push 0x3200
    popfq
    caught
    mov rax, [frame + FRAME_FLAGS]
    show "flags", rax
    mov qword ptr [user_flags], 2 + FLAG_IOPL3
    try_user "POPF at level 3 with IOPL 3 changes IF"
    push 0x200
    popfq
    caught
    mov rax, [frame + FRAME_FLAGS]
    show "flags", rax
    mov qword ptr [user_flags], 2
    mov word ptr [task_state + 0x66], offset TASK_LIMIT + 1
    at_level_3 "no bitmap", in al, 0x80
    mov word ptr [task_state + 0x66], offset TASK_LIMIT
    at_level_3 "one byte of a bitmap", in al, 0
    mov word ptr [task_state + 0x66], 0xffff
    at_level_3 "bitmap at FFFF", in al, 0x80
    at_level_3 "HLT", hlt
    at_level_3 "INVD", invd
    at_level_3 "WBINVD", wbinvd
    try "WBINVD at level 0"
    wbinvd
    caught

    // At level 0 nothing is asked for.
    try "level 0"
    in al, 0x90
    caught
    about "a port that is nobody's"
    mov edx, 0xe000
    in al, dx
    movzx ecx, al
    show "al", rcx
    in ax, dx
    movzx ecx, ax
    show "ax", rcx
    mov rax, -1
    in eax, dx
    show "rax", rax
    mov dx, DEBUG_PORT
    in al, dx
    movzx eax, al
    show "debug port", rax
    ret
