// Page sizes, Accessed and Dirty, and what makes the processor forget a translation (SDM 3A 4.5, 4.8, 4.10).

#include "lib/start.inc"
#include "lib/paging.inc"

.set PAGE, FREE
.set OTHER, FREE + 0x1000
.set RW, PRESENT | WRITABLE | USER
.set TABLE, FREE + 0x10000
.set SECOND_ROOT, FREE + 0x11000

// Prints Accessed and Dirty of the entries that translate WINDOW, from the root down, and clears those of all but the root.
.macro show_levels
    show_used "pdpt", [pdpt + 8]
    show_used "directory", [window_directory]
    show_used "table", [window_table]
    and byte ptr [pdpt + 8], ~(ACCESSED | DIRTY)
    and byte ptr [window_directory], ~(ACCESSED | DIRTY)
    and byte ptr [window_table], ~(ACCESSED | DIRTY)
    mov rax, cr3
    mov cr3, rax
.endm

main:
    mov byte ptr [PAGE], 0xc3               // ret
    mov eax, 0x11111111
    mov [PAGE + 8], rax
    mov eax, 0x22222222
    mov [OTHER + 8], rax

    // Accessed and Dirty.
    map 0, PAGE + RW
    try "untouched"
    caught
    show_levels
    try "read"
    mov rax, [WINDOW + 8]
    caught
    show_levels
    try "fetch"
    mov eax, WINDOW
    call rax
    caught
    show_levels
    try "write"
    mov byte ptr [WINDOW + 0x10], 1
    caught
    show_levels
    try "read, then write"
    mov rax, [WINDOW + 8]
    mov byte ptr [WINDOW + 0x10], 1
    caught
    show_levels
    try "compare and exchange that fails"
    mov eax, 1
    mov ecx, 2
    lock cmpxchg [WINDOW + 8], ecx
    caught
    show_levels
    try_user "read at level 3"
    mov rax, [WINDOW + 8]
    caught
    show_levels
    map 0, PAGE + PRESENT + USER
    try "write that faults"
    mov [WINDOW + 0x10], eax
    caught
    show_used "table", [window_table]
    map 0, PAGE + PRESENT + WRITABLE
    try_user "read that faults"
    mov rax, [WINDOW + 8]
    caught
    show_used "table", [window_table]
    map 0, PAGE + RW
    clear_bits cr0, CR0_WP
    and byte ptr [window_table], ~WRITABLE
    invlpg [WINDOW]
    try "write without WRITABLE and CR0.WP"
    mov byte ptr [WINDOW + 0x10], 1
    caught
    show_levels
    set_bits cr0, CR0_WP

    // Sizes.
    mov qword ptr [window_directory + 8], PAGE + RW + LARGE
    try "2 MiB, read"
    mov rax, [WINDOW + 0x200008]
    caught
    show "rax", [frame + FRAME_RAX]
    show_used "directory", [window_directory + 8]
    try "2 MiB, write"
    mov byte ptr [WINDOW + 0x200010], 1
    caught
    show_used "directory", [window_directory + 8]
    mov dword ptr [pdpt + 32], RW + LARGE
    try "1 GiB, read"
    mov rcx, 0x100000000 + PAGE
    mov rax, [rcx + 8]
    caught
    show "rax", [frame + FRAME_RAX]
    show_used "pdpt", [pdpt + 32]
    try "1 GiB, write"
    mov byte ptr [rcx + 0x10], 1
    caught
    show_used "pdpt", [pdpt + 32]
    try "1 GiB, last byte of it that is memory"
    mov rcx, 0x100000000 + 0x3ffffff
    mov byte ptr [rcx], 0x5a
    movzx eax, byte ptr [0x3ffffff]
    caught
    show "rax", [frame + FRAME_RAX]

    // INVLPG.
    map 0, PAGE + RW
    mov rax, [WINDOW + 8]
    mov qword ptr [window_table], OTHER + RW
    try "another page after INVLPG"
    invlpg [WINDOW + 0x123]
    mov rax, [WINDOW + 8]
    caught
    show "rax", [frame + FRAME_RAX]
    mov qword ptr [window_table], PAGE + RW
    try "another page after a load of CR3"
    mov rax, cr3
    mov cr3, rax
    mov rax, [WINDOW + 8]
    caught
    show "rax", [frame + FRAME_RAX]
    mov rax, [WINDOW + 0x200008]
    mov qword ptr [window_directory + 8], offset window_table + RW
    map 0, OTHER + RW
    try "INVLPG anywhere in a 2 MiB page"
    invlpg [WINDOW + 0x3ff000]
    mov rax, [WINDOW + 0x200008]
    caught
    show "rax", [frame + FRAME_RAX]
    try "a fetch after INVLPG"
    mov byte ptr [OTHER], 0x90              // nop
    mov byte ptr [OTHER + 1], 0xc3
    mov eax, WINDOW
    call rax
    map 0, 0
    mov eax, WINDOW
    call rax
    caught
    map 0, PAGE + RW
    try "what was not present needs no INVLPG"
    mov qword ptr [window_table + 8], OTHER + RW
    mov rax, [WINDOW + 0x1008]
    caught
    show "rax", [frame + FRAME_RAX]
    map 1, PAGE + PRESENT
    try "a right that was added is found by the fault"
    mov rax, [WINDOW + 0x1008]
    or byte ptr [window_table + 8], WRITABLE
    mov byte ptr [WINDOW + 0x1010], 2
    caught
    try_user "INVLPG at level 3"
    invlpg [WINDOW]
    caught
    try "INVLPG of an address that is not canonical"
    mov rax, 0x0000800000000000
    invlpg [rax]
    caught

    // Global pages.
    set_bits cr4, CR4_PGE
    map 2, PAGE + RW + GLOBAL
    mov rax, [WINDOW + 0x2008]
    mov qword ptr [window_table + 16], OTHER + RW + GLOBAL
    try "global page after INVLPG"
    invlpg [WINDOW + 0x2000]
    mov rax, [WINDOW + 0x2008]
    caught
    show "rax", [frame + FRAME_RAX]
    mov qword ptr [window_table + 16], PAGE + RW + GLOBAL
    try "global page after CR4.PGE was changed"
    clear_bits cr4, CR4_PGE
    set_bits cr4, CR4_PGE
    mov rax, [WINDOW + 0x2008]
    caught
    show "rax", [frame + FRAME_RAX]

    // Another root.
    mov rax, [pml4]
    mov [SECOND_ROOT], rax
    mov qword ptr [SECOND_ROOT + 8], TABLE + RW
    mov qword ptr [TABLE], RW + LARGE
    try "another root"
    mov eax, SECOND_ROOT
    mov cr3, rax
    mov rcx, 0x8000000000 + PAGE
    mov rax, [rcx + 8]
    caught
    show "rax", [frame + FRAME_RAX]
    mov eax, offset pml4
    mov cr3, rax
    try "the first root again"
    mov rcx, 0x8000000000 + PAGE
    mov rax, [rcx + 8]
    caught
    ret
