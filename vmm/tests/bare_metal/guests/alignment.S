// Alignment checks of level 3 (SDM 3A 6.15, #AC).

#include "lib/start.inc"
#include "lib/paging.inc"

main:
    set_bits cr0, CR0_AM
    mov qword ptr [user_flags], 2 + FLAG_AC
    .macro aligned name, instruction:vararg
        mov rbx, offset user_stack_top + ALIAS - 64
        try_user "\name"
        \instruction
        caught
    .endm
    aligned "4 bytes", mov eax, [rbx + 4]
    aligned "4 bytes at 1", mov eax, [rbx + 1]
    aligned "4 bytes at 2, write", mov [rbx + 2], eax
    aligned "2 bytes at 1", add word ptr [rbx + 1], 1
    aligned "8 bytes at 4", mov rax, [rbx + 4]
    aligned "1 byte", mov al, [rbx + 3]
    aligned "10 bytes at 8", fld tbyte ptr [rbx + 8]
    aligned "10 bytes at 4", fld tbyte ptr [rbx + 4]
    aligned "LGDT asks for a level first", lgdt [rbx + 1]
    mov qword ptr [user_flags], 2
    aligned "without AC", mov eax, [rbx + 1]
    mov qword ptr [user_flags], 2 + FLAG_AC
    clear_bits cr0, CR0_AM
    aligned "without CR0.AM", mov eax, [rbx + 1]
    set_bits cr0, CR0_AM
    try "at level 0"
    push FLAG_AC
    popfq
    mov eax, [FREE + 1]
    caught
    ret
