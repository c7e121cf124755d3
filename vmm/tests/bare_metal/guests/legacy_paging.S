// Paging without long mode: two levels with entries of 4 bytes, three levels with entries of 8 (SDM 3A 4.3, 4.4).

#include "lib/start.inc"
#include "lib/protected.inc"

.set DIRECTORY, FREE
.set TABLE, FREE + 0x1000
.set POINTERS, FREE + 0x2000
.set PAGE, FREE + 0x10000
.set LINEAR, 0x40000000

.code32
tests_32:
    // Two levels. Memory where it is by pages of 4 MiB.
    mov eax, cr4
    or eax, 1 << 4                          // PSE
    mov cr4, eax
    mov edi, DIRECTORY
    xor eax, eax
    mov ecx, 1024 * 3
    rep stosd
    mov dword ptr [DIRECTORY], PRESENT | WRITABLE | USER | LARGE
    mov dword ptr [DIRECTORY + 4], 0x400000 + (PRESENT | WRITABLE | USER | LARGE)
    mov dword ptr [DIRECTORY + (LINEAR >> 20)], TABLE + (PRESENT | WRITABLE | USER)
    mov dword ptr [TABLE], PAGE + (PRESENT | WRITABLE)
    mov dword ptr [PAGE], 0x1234
    mov eax, DIRECTORY
    mov cr3, eax
    mov eax, cr0
    or eax, CR0_PG | CR0_WP
    mov cr0, eax
    try_0 "two levels, read"
    mov eax, [LINEAR]
    caught_32
    note "eax", eax
    note "table", [TABLE]
    try_0 "two levels, write"
    mov dword ptr [LINEAR], 0x5678
    caught_32
    note "table", [TABLE]
    note "directory", [DIRECTORY + (LINEAR >> 20)]
    try_3 "two levels, read at level 3"
    mov eax, [LINEAR]
    caught_32
    note "cr2", [cr2_32]
    try_0 "two levels, nothing there"
    mov eax, [LINEAR + 0x1ffc]
    caught_32
    note "cr2", [cr2_32]
    try_0 "two levels, write to read-only"
    mov dword ptr [TABLE], PAGE + PRESENT
    invlpg [LINEAR]
    mov [LINEAR], eax
    caught_32
    try_0 "two levels, reserved bit of a page of 4 MiB"
    mov dword ptr [DIRECTORY + (LINEAR >> 20) + 4], 0x200000 + (PRESENT | WRITABLE | LARGE)
    mov eax, [LINEAR + 0x400000]
    caught_32
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax

    // Three levels: entries of 8 bytes.
    mov edi, DIRECTORY
    xor eax, eax
    mov ecx, 1024 * 3
    rep stosd
    mov dword ptr [POINTERS], DIRECTORY + PRESENT
    mov dword ptr [POINTERS + 8], TABLE + PRESENT
    mov dword ptr [DIRECTORY], PRESENT | WRITABLE | USER | LARGE
    mov dword ptr [DIRECTORY + 8], 0x200000 + (PRESENT | WRITABLE | USER | LARGE)
    mov dword ptr [DIRECTORY + 16], 0x400000 + (PRESENT | WRITABLE | USER | LARGE)
    mov dword ptr [TABLE], 0x400000 + (PRESENT | WRITABLE | LARGE)
    mov eax, cr4
    or eax, CR4_PAE
    mov cr4, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_NXE
    wrmsr
    mov eax, POINTERS
    mov cr3, eax
    mov eax, cr0
    or eax, CR0_PG
    mov cr0, eax
    try_0 "three levels, read"
    mov eax, [LINEAR + 0x10000]
    caught_32
    note "eax", eax
    note "directory", [TABLE]
    try_0 "three levels, write"
    mov dword ptr [LINEAR + 0x10000], 0x9abc
    caught_32
    note "directory", [TABLE]
    note "pointer", [POINTERS + 8]
    try_0 "three levels, no-execute"
    mov dword ptr [TABLE + 4], 1 << 31
    mov eax, cr3
    mov cr3, eax
    mov eax, LINEAR + 0x10000
    call eax
    caught_32
    try_0 "three levels, reserved bit"
    mov dword ptr [TABLE + 4], 1 << 19
    mov eax, cr3
    mov cr3, eax
    mov eax, [LINEAR + 0x10000]
    caught_32
    try_0 "three levels, no pointer"
    mov eax, [0x80000000]
    caught_32
    try_0 "three levels, pointers are loaded with CR3"
    mov dword ptr [POINTERS + 16], DIRECTORY + PRESENT
    mov eax, cr3
    mov cr3, eax
    mov eax, [0x80000000 + PAGE]
    caught_32
    try_0 "three levels, reserved bit of a pointer"
    mov dword ptr [POINTERS + 16], DIRECTORY + (PRESENT | WRITABLE)
    mov eax, cr3
    mov cr3, eax
    caught_32
    mov dword ptr [POINTERS + 16], 0
    jmp go_up
