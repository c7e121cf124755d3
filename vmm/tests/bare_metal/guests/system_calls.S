// SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS (SDM 3A 5.8.7, 5.8.8).

#include "lib/start.inc"
#include "lib/msr.inc"

.macro show_segments
    show "cs", [frame + FRAME_CS]
    show "ss", [frame + FRAME_SS]
.endm

.macro show_flags
    show "flags", [frame + FRAME_FLAGS]
.endm

main:
    write_msr MSR_STAR, (USER_CODE32 - 3) << 48 | KERNEL_CODE << 32
    write_msr MSR_LSTAR, offset landing
    write_msr MSR_CSTAR, offset landing
    write_msr MSR_FMASK, FLAG_IF | FLAG_DF | FLAG_NT
    write_msr MSR_SYSENTER_CS, KERNEL_CODE
    write_msr MSR_SYSENTER_ESP, offset interrupt_stack_1_top
    write_msr MSR_SYSENTER_EIP, offset landing

    // SYSCALL.
    mov qword ptr [user_flags], 2 + FLAG_IF + FLAG_DF + FLAG_NT + FLAG_AC
    try_user "SYSCALL"
    syscall
1:  nop
    caught
    show_segments
    show_flags
    sub rcx, [started]
    sub rcx, ALIAS
    show "rcx", rcx
    show "r11", r11
    mov rax, [frame + FRAME_RSP]
    sub rax, offset user_stack_top + ALIAS
    show "rsp", rax
    mov qword ptr [user_flags], 2
    try "SYSCALL at level 0"
    syscall
    caught
    show_segments
    try_user32 "SYSCALL in compatibility mode"
    syscall
    caught

    // SYSRET.
    mov rcx, 0xffffffff00000000
    or rcx, offset user_landing + ALIAS
    mov r11, -1
    and r11, ~(FLAG_TF | FLAG_IF)
    try "SYSRET to 32-bit code"
    sysretd
    caught
    show_segments
    show_flags
    mov ecx, offset user_landing + ALIAS
    mov r11, 2 + FLAG_RF
    try "SYSRET to 64-bit code"
    mov rsp, 0x123456789a
    sysretq
    caught
    show_segments
    show_flags
    show "rsp", [frame + FRAME_RSP]
    xor r11, r11
    mov ecx, offset user_landing + ALIAS
    try "SYSRET, flags that are always as they are"
    sysretq
    caught
    show_flags
    mov rcx, 0x0000800000000000
    mov r11, 2
    try "SYSRET to an address that is not canonical"
    sysretq
    caught
    show_segments
    try_user "SYSRET at level 3"
    sysretq
    caught
    write_msr MSR_EFER, EFER_LME | EFER_LMA | EFER_NXE
    try_user "SYSCALL without EFER.SCE"
    syscall
    caught
    try "SYSRET without EFER.SCE"
    sysretq
    caught
    write_msr MSR_EFER, EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE
    write_msr MSR_STAR, (USER_CODE32 - 3) << 48 | (KERNEL_CODE + 3) << 32
    try_user "SYSCALL, RPL in the register"
    syscall
    caught
    show_segments

    // SYSENTER.
    mov qword ptr [user_flags], 2 + FLAG_IF + FLAG_DF + FLAG_NT
    try_user "SYSENTER"
    sysenter
    caught
    show_segments
    show_flags
    mov rax, [frame + FRAME_RSP]
    sub rax, offset interrupt_stack_1_top
    show "rsp", rax
    try_user32 "SYSENTER in compatibility mode"
    sysenter
    caught
    show_segments
    mov qword ptr [user_flags], 2

    // SYSEXIT.
    mov rdx, 0xffffffff00000000
    or rdx, offset user_landing + ALIAS
    mov rcx, 0x8888888877777777
    try "SYSEXIT to 32-bit code"
    sysexitd
    caught
    show_segments
    show "rsp", [frame + FRAME_RSP]
    mov edx, offset user_landing + ALIAS
    mov rcx, 0x0000111122223333
    try "SYSEXIT to 64-bit code"
    sysexitq
    caught
    show_segments
    show "rsp", [frame + FRAME_RSP]
    mov rdx, 0x0000800000000000
    try "SYSEXIT to an address that is not canonical"
    sysexitq
    caught
    try_user "SYSEXIT at level 3"
    sysexitd
    caught
    write_msr MSR_SYSENTER_CS, 3
    try_user "SYSENTER without selector"
    sysenter
    caught
    try "SYSEXIT without selector"
    sysexitd
    caught

    // Where system calls lead is looked at when it is set.
    .macro refuse name, register
        try "\name"
        write_msr \register, 0x0000800000000000
        caught
    .endm
    refuse "LSTAR, not canonical", MSR_LSTAR
    refuse "CSTAR, not canonical", MSR_CSTAR
    refuse "SYSENTER_EIP, not canonical", MSR_SYSENTER_EIP
    refuse "SYSENTER_ESP, not canonical", MSR_SYSENTER_ESP
    refuse "FMASK of more than 32 bits", MSR_FMASK

    // SWAPGS.
    write_msr MSR_GS_BASE, 0x1111222233
    write_msr MSR_KERNEL_GS_BASE, 0x4444555566
    try "SWAPGS"
    swapgs
    caught
    mov ecx, MSR_GS_BASE
    rdmsr
    shl rdx, 32
    or rax, rdx
    show "gs", rax
    mov ecx, MSR_KERNEL_GS_BASE
    rdmsr
    shl rdx, 32
    or rax, rdx
    show "kernel gs", rax
    try_user "SWAPGS at level 3"
    swapgs
    caught
    try_32 "SWAPGS in compatibility mode"
    .byte 0x0f, 0x01, 0xf8
    caught
    xor ecx, ecx
    try "a null selector in GS clears its base"
    mov gs, ecx
    caught
    mov ecx, MSR_GS_BASE
    rdmsr
    show "gs", rax
    ret

landing:
    int WENT_THROUGH
// Both for 32 and 64 bits.
user_landing:
    int WENT_THROUGH
