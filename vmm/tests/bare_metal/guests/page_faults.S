// Every reason for a page fault, with its error code and CR2 (SDM 3A 4.6, 4.7).
// Error code: 1 present, 2 write, 4 level 3, 8 reserved bit, 10 fetch.

#include "lib/start.inc"
#include "lib/paging.inc"

.set PAGE, FREE
.set KERNEL_RW, PRESENT | WRITABLE
.set USER_RW, PRESENT | WRITABLE | USER

main:
    mov byte ptr [PAGE], 0xc3               // ret
    mov byte ptr [PAGE + 1], 0xcd           // int WENT_THROUGH
    mov byte ptr [PAGE + 2], WENT_THROUGH

    // Not present, at every level.
    try "no page, read"
    mov rax, [WINDOW + 0x1008]
    caught
    try "no page, write"
    mov [WINDOW + 0x1010], rax
    caught
    try "no page, read and write"
    add [WINDOW + 0x1018], rax
    caught
    try "no page, fetch"
    mov eax, WINDOW + 0x1020
    jmp rax
    caught
    try "no page table, write"
    mov [WINDOW + 0x200000], rax
    caught
    try "no page directory, write"
    mov rax, 0x0000001234567890
    mov [rax], rax
    caught
    try "no page directory pointer table, write"
    mov rax, 0x00007ffffffffff0
    mov [rax], rax
    caught
    try "upper half, read"
    mov rax, 0xffff800000000000
    mov rax, [rax]
    caught
    try_user "no page, read at level 3"
    mov rax, [WINDOW + 0x1008]
    caught
    try_user "no page, write at level 3"
    mov [WINDOW + 0x1008], rax
    caught
    try_user "no page, fetch at level 3"
    mov eax, WINDOW + 0x1000
    jmp rax
    caught

    // Rights of a page.
    map 2, PAGE + KERNEL_RW
    try_user "kernel page, read at level 3"
    mov rax, [WINDOW + 0x2000]
    caught
    try_user "kernel page, write at level 3"
    mov [WINDOW + 0x2000], rax
    caught
    try_user "kernel page, fetch at level 3"
    mov eax, WINDOW + 0x2000
    jmp rax
    caught
    map 2, PAGE + PRESENT + USER
    try_user "read-only page, read at level 3"
    mov rax, [WINDOW + 0x2000]
    caught
    try_user "read-only page, write at level 3"
    mov [WINDOW + 0x2000], rax
    caught
    try_user "read-only page, fetch at level 3"
    mov eax, WINDOW + 0x2001
    jmp rax
    caught
    try "read-only page of level 3, write"
    mov [WINDOW + 0x2008], rax
    caught
    map 2, PAGE + PRESENT
    try "read-only kernel page, write"
    mov [WINDOW + 0x2008], rax
    caught
    clear_bits cr0, CR0_WP
    try "read-only kernel page, write without CR0.WP"
    mov [WINDOW + 0x2008], rax
    caught
    map 2, PAGE + PRESENT + USER
    try_user "read-only page, write at level 3 without CR0.WP"
    mov [WINDOW + 0x2008], rax
    caught
    set_bits cr0, CR0_WP
    try "read-only page, write with CR0.WP again"
    mov [WINDOW + 0x2008], rax
    caught

    // A right counts only if every level gives it.
    map 2, PAGE + USER_RW
    and byte ptr [window_directory], ~WRITABLE
    invlpg [WINDOW + 0x2000]
    try "page directory entry read-only, write"
    mov [WINDOW + 0x2008], rax
    caught
    or byte ptr [window_directory], WRITABLE
    and byte ptr [pdpt + 8], ~USER
    invlpg [WINDOW + 0x2000]
    try_user "page directory pointer table entry of the kernel, read at level 3"
    mov rax, [WINDOW + 0x2000]
    caught
    or byte ptr [pdpt + 8], USER
    mov rax, NO_EXECUTE
    or [pdpt + 8], rax
    invlpg [WINDOW + 0x2000]
    try "page directory pointer table entry without execution, fetch"
    mov eax, WINDOW + 0x2000
    call rax
    caught
    mov rax, ~NO_EXECUTE
    and [pdpt + 8], rax
    invlpg [WINDOW + 0x2000]
    try "and with"
    mov eax, WINDOW + 0x2000
    call rax
    caught

    // No-execute.
    map 3, PAGE + USER_RW + NO_EXECUTE
    try "no-execute page, fetch"
    mov eax, WINDOW + 0x3000
    call rax
    caught
    try "no-execute page, read"
    mov rax, [WINDOW + 0x3000]
    caught
    try_user "no-execute page, fetch at level 3"
    mov eax, WINDOW + 0x3001
    jmp rax
    caught
    mov ecx, MSR_EFER
    rdmsr
    and eax, ~EFER_NXE
    wrmsr
    invlpg [WINDOW + 0x3000]
    try "no-execute bit reserved without EFER.NXE, read"
    mov rax, [WINDOW + 0x3000]
    caught
    try_user "no-execute bit reserved without EFER.NXE, write at level 3"
    mov [WINDOW + 0x3000], rax
    caught
    map 3, PAGE + KERNEL_RW
    try_user "no error bit for a fetch without EFER.NXE and CR4.SMEP"
    mov eax, WINDOW + 0x3000
    jmp rax
    caught
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_NXE
    wrmsr

    // Reserved bits, at every level.
    map 4, PAGE + USER_RW + (1 << 51)
    try "reserved bit 51 of a page, read"
    mov rax, [WINDOW + 0x4000]
    caught
    try_user "reserved bit 51 of a page, write at level 3"
    mov [WINDOW + 0x4000], rax
    caught
    try "reserved bit 51 of a page, fetch"
    mov eax, WINDOW + 0x4000
    call rax
    caught
    map 4, PAGE + WRITABLE + USER + (1 << 51)
    try "no reserved bits where nothing is present"
    mov rax, [WINDOW + 0x4000]
    caught
    map 4, PAGE + PRESENT + (1 << 51)
    try "reserved bit before rights, write"
    mov [WINDOW + 0x4000], rax
    caught
    mov qword ptr [window_directory + 8], PAGE + USER_RW + LARGE + 0x2000
    try "reserved bit 13 of a 2 MiB page, read"
    mov rax, [WINDOW + 0x200000]
    caught
    mov qword ptr [window_directory + 8], PAGE + USER_RW + LARGE + 0x1000
    invlpg [WINDOW + 0x200000]
    try "bit 12 of a 2 MiB page is PAT"
    mov rax, [WINDOW + 0x200000]
    caught
    mov dword ptr [pdpt + 32], offset low_directory + USER_RW
    mov dword ptr [pdpt + 36], 1 << (50 - 32)
    try "reserved bit 50 of a page directory pointer table entry"
    mov rax, 0x100000000
    mov rax, [rax]
    caught
    mov eax, offset low_directory + USER_RW + LARGE
    mov [pdpt + 32], rax
    try "reserved bits of a 1 GiB page"
    mov rax, 0x100000000
    mov rax, [rax]
    caught
    mov eax, offset pdpt + USER_RW + LARGE
    mov [pml4 + 8], rax
    try "reserved bit 7 of a PML4 entry"
    mov rax, 0x8000000000
    mov rax, [rax]
    caught

    // SMEP and SMAP.
    map 5, PAGE + USER_RW
    map 6, PAGE + KERNEL_RW
    set_bits cr4, CR4_SMEP
    try "SMEP, fetch from a page of level 3"
    mov eax, WINDOW + 0x5000
    call rax
    caught
    try "SMEP, read of a page of level 3"
    mov rax, [WINDOW + 0x5000]
    caught
    try_user "SMEP, fetch at level 3"
    mov eax, WINDOW + 0x5001
    jmp rax
    caught
    try "SMEP, fetch from a kernel page"
    mov eax, WINDOW + 0x6000
    call rax
    caught
    clear_bits cr4, CR4_SMEP
    set_bits cr4, CR4_SMAP
    try "SMAP, read of a page of level 3"
    mov rax, [WINDOW + 0x5000]
    caught
    try "SMAP, write to a page of level 3"
    mov [WINDOW + 0x5010], rax
    caught
    try "SMAP, fetch from a page of level 3"
    mov eax, WINDOW + 0x5000
    call rax
    caught
    try "SMAP, read with AC"
    stac
    mov rax, [WINDOW + 0x5000]
    clac
    caught
    try "SMAP, read after CLAC"
    stac
    clac
    mov rax, [WINDOW + 0x5000]
    caught
    try_user "SMAP, read at level 3"
    mov rax, [WINDOW + 0x5000]
    caught
    // The LDT lies in a page of level 3: loading a segment from it is an access of the system's, whatever the privilege level.
    mov qword ptr [PAGE + 0x800], 0
    mov rax, 0x00cff3000000ffff
    mov [PAGE + 0x808], rax
    descriptor SPARE, 0x0000820000000fff | ((WINDOW + 0x5800) & 0xffffff) << 16 | ((WINDOW + 0x5800) & 0xff000000) << 32
    descriptor SPARE + 8, 0
    mov eax, SPARE
    try "SMAP, LDT in a page of level 3"
    lldt ax
    stac
    mov eax, 0x0c
    mov fs, eax
    caught
    clear_bits cr4, CR4_SMAP
    mov ecx, 0x0c
    try "and without SMAP"
    mov fs, ecx
    caught
    xor eax, eax
    lldt ax
    mov fs, eax

    // Accesses across a page boundary.
    map 8, PAGE + USER_RW
    map 9, 0
    map 10, PAGE + PRESENT + USER
    try "read across into nothing"
    mov rax, [WINDOW + 0x8ffc]
    caught
    try "write across into nothing"
    mov [WINDOW + 0x8ffd], rax
    caught
    try "16 bytes across into nothing"
    movups xmm0, [WINDOW + 0x8ff1]
    caught
    mov rax, [PAGE + 0xff8]
    show "unchanged", rax
    try "write across from nothing"
    mov [WINDOW + 0x7fff], rax
    caught
    map 9, PAGE + PRESENT + USER
    try "write across into read-only"
    mov [WINDOW + 0x8ffe], rax
    caught
    map 7, 0
    try "write across from nothing into a page"
    mov [WINDOW + 0x7ffe], rax
    caught
    map 11, 0
    mov byte ptr [PAGE + 0xffe], 0x48       // mov rax, imm64
    mov byte ptr [PAGE + 0xfff], 0xb8
    try "instruction that goes on in nothing"
    mov eax, WINDOW + 0xaffe
    jmp rax
    caught

    // Addresses that are none.
    mov rbx, 0x0000800000000000
    try "not canonical, read"
    mov rax, [rbx]
    caught
    try "not canonical, through the stack"
    mov rbp, rbx
    mov rax, [rbp]
    caught
    mov byte ptr [idt + 16 * 12 + 4], 2
    try "not canonical, push"
    lea rsp, [rbx + 16]
    push rax
    caught
    try "not canonical, jump"
    jmp rbx
    caught
    try "not canonical, call"
    call rbx
    caught
    try "not canonical, return"
    push rbx
    ret
    caught
    try "not canonical, FS base"
    mov ecx, MSR_FS_BASE
    xor eax, eax
    mov edx, 0x8000
    wrmsr
    caught
    ret
