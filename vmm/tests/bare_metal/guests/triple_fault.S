// A double fault that cannot be delivered ends the machine's run (SDM 3A 6.15, #DF).

#include "lib/start.inc"

main:
    about "no IDT"
    lidt [nothing]
    ud2
    exit 2

.data
nothing: .word 0
    .quad 0
