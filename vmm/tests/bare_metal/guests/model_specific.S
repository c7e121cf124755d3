// Model-specific registers: those that there are not, and values that they refuse (SDM 4).

#include "lib/start.inc"
#include "lib/msr.inc"

.macro read name, register
    mov ecx, \register
    try "\name"
    rdmsr
    caught
.endm

.macro write name, register, value:vararg
    try "\name"
    write_msr \register, \value
    caught
.endm

.macro show_msr register
    read_msr \register
    show "value", rax
.endm

main:
    read "no such register", 0x12345678
    write "no such register, write", 0x12345678, 0
    read "register 0x4000", 0x4000
    read "EFER", MSR_EFER
    mov rcx, 0xffffffff00000000 + (MSR_STAR & 0x7fffffff)
    bts rcx, 31
    try "upper half of RCX does not count"
    rdmsr
    caught
    about "RDMSR clears upper halves"
    mov rax, -1
    mov rdx, -1
    mov ecx, MSR_APIC_BASE
    rdmsr
    shr rax, 32
    shr rdx, 32
    or rax, rdx
    show "upper", rax
    write "FS base", MSR_FS_BASE, 0x00007fffffffffff
    show_msr MSR_FS_BASE
    write "GS base", MSR_GS_BASE, -1
    show_msr MSR_GS_BASE
    write "kernel GS base, not canonical", MSR_KERNEL_GS_BASE, 1 << 47
    write "PAT", 0x277, 0x0007040600070406
    write "PAT, type 2", 0x277, 0x0007040600070402
    write "PAT, type 8", 0x277, 0x0007040600070408
    show_msr 0x277
    write "MTRR default type", 0x2ff, 0xc06
    show_msr 0x2ff
    write "MTRR default type 2", 0x2ff, 0xc02
    write "MTRR default type, reserved bit", 0x2ff, 0x1c06
    write "MTRR, fixed, type 2", 0x250, 2
    write "MTRR, fixed", 0x250, 0x0606060606060606
    show_msr 0x250
    write "MTRR capabilities are read-only", 0xfe, 0
    write "APIC base, address beyond the processor's", MSR_APIC_BASE, (1 << 51) | 0xfee00900
    write "TSC_AUX", 0xc0000103, 0x12345678
    show_msr 0xc0000103
    write "TSC_AUX, upper half", 0xc0000103, 1 << 32
    write "SYSENTER_CS", MSR_SYSENTER_CS, 0x1234
    show_msr MSR_SYSENTER_CS
    write "STAR", MSR_STAR, 0x123456789abcdef0
    show_msr MSR_STAR
    write "machine check status", 0x17a, 0
    show_msr 0x17a
    ret
