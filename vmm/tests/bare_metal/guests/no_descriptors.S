// A GDT where there is no memory: the handler's code segment is none, nor that of a double fault (SDM 3A 6.15, #DF).

#include "lib/start.inc"
#include "lib/paging.inc"

main:
    map 0, 0x6000000000 + PRESENT + WRITABLE
    about "GDT of nothing"
    lgdt [gdt_of_nothing]
    ud2
    exit 2

.data
gdt_of_nothing: .word 0xffff
    .quad WINDOW
