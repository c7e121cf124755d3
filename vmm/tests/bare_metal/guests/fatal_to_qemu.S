// What has to be refused, and what QEMU 7.2 accepts and falls over.

#include "lib/start.inc"

main:
    try "LGDT, base not canonical"
    lgdt [bad_table]
    caught
    try "LIDT, base not canonical"
    lidt [bad_table]
    caught
    xor eax, eax
    try "LTR, null"
    ltr ax
    caught
    ret

.data
bad_table: .word 0xfff
    .quad 0x0000800000000000
