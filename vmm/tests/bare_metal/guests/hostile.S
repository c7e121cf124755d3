// Tables, stacks and strings where there is no memory, or where devices are: an exception, all ones, or nothing; never the end.

#include "lib/start.inc"
#include "lib/paging.inc"
#include "lib/apic.inc"

// Nobody is there; beyond the end of RAM of any test machine.
.set NOWHERE, 0x6000000000
.set RW, PRESENT | WRITABLE | USER

.macro directory number, entry:vararg
    mov rax, \entry
    mov [window_directory + 8 * \number], rax
    mov rax, cr3
    mov cr3, rax
.endm

main:
    apic_on
    // Data.
    map 0, NOWHERE + RW
    try "read of nothing"
    mov rax, [WINDOW]
    caught
    show "rax", rax
    try "write to nothing"
    mov [WINDOW], rax
    caught
    try "add to nothing"
    lock add dword ptr [WINDOW + 8], 1
    caught
    try "16 bytes of nothing"
    movups xmm0, [WINDOW]
    caught
    movq rax, xmm0
    show "xmm0", rax
    try "across from memory into nothing"
    map 1, FREE + RW
    map 2, NOWHERE + RW
    mov qword ptr [FREE + 0xff8], 0
    mov rax, [WINDOW + 0x1ffc]
    caught
    show "rax", rax
    mov edi, WINDOW
    mov ecx, 0x200
    try "a string into nothing"
    rep stosq
    caught
    show "rcx", rcx
    mov esi, WINDOW
    mov edi, FREE
    mov ecx, 0x200
    try "a string from nothing"
    rep movsq
    caught
    show "last", [FREE + 0xff8]
    try "FXSAVE and FXRSTOR of nothing"
    fxsave64 [WINDOW]
    fxrstor64 [WINDOW]
    caught
    map 3, APIC + RW
    try "odd accesses to the APIC"
    mov al, [WINDOW + 0x3021]
    mov rax, [WINDOW + 0x3030]
    movups xmm0, [WINDOW + 0x3020]
    mov [WINDOW + 0x3083], ax
    mov rax, [WINDOW + 0x3ff8]
    caught
    mov edi, WINDOW + 0x3400
    mov ecx, 0xc00
    xor eax, eax
    try "zeros over the rest of the APIC"
    rep stosb
    caught
    map 4, 0xfec00000 + RW
    mov edi, WINDOW + 0x4000
    mov ecx, 0x1000
    mov al, 0x5a
    try "a string over the IOAPIC"
    rep stosb
    caught
    map 5, 0xb0000000 + RW
    mov esi, WINDOW + 0x5000
    mov edi, FREE
    mov ecx, 0x1000
    try "a string from configuration space"
    rep movsb
    caught

    // Page tables.
    directory 1, NOWHERE + RW
    try "page table of nothing: all bits set, some of them reserved"
    mov rax, [WINDOW + 0x200000]
    caught
    directory 1, APIC + RW
    try "page table in the APIC"
    mov rax, [WINDOW + 0x200000]
    caught
    directory 1, offset window_directory + RW
    try "page directory that is its own page table"
    mov rax, [WINDOW + 0x200000]
    caught
    show "rax", rax
    directory 1, 0
    mov dword ptr [pdpt + 32], NOWHERE & 0xffffffff | RW
    mov dword ptr [pdpt + 36], NOWHERE >> 32
    mov rcx, 0x100000000
    try "page directory of nothing"
    mov rax, [rcx]
    caught

    // Stacks.
    try "stack of nothing"
    mov rsp, WINDOW + 0x800
    push rax
    pop rcx
    pushfq
    popfq
    caught
    show "popped", rcx

    // Descriptor tables.
    try "LDT of nothing"
    descriptor SPARE, 0x0000820000000fff | (WINDOW & 0xffffff) << 16 | (WINDOW & 0xff000000) << 32
    mov ecx, SPARE
    lldt cx
    mov ecx, 0x0c
    mov fs, ecx
    caught
    xor ecx, ecx
    lldt cx
    mov dword ptr [task_descriptor + 2], WINDOW & 0xffffff | 0x89000000
    mov byte ptr [task_descriptor + 7], WINDOW >> 24
    mov word ptr [task_descriptor], 0x1000
    mov ecx, TASK_STATE
    try "task state of nothing: the bitmap allows no port, the stack is not canonical"
    ltr cx
    caught
    call fill_task_descriptor
    mov ecx, TASK_STATE
    ltr cx

    // Strings over everything.
    mov rdi, 0xffff800000000000
    mov rcx, -1
    try "a string over the upper half"
    rep stosb
    caught
    show "rcx", rcx
    mov rsi, 0x00007fffffffffff
    mov rcx, -1
    try "a string over the lower half, backwards"
    std
    rep lodsb
    caught
    show "rcx", rcx
    ret
