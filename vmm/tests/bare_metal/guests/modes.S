// From 64-bit mode down to real mode and up again: 64 bits, compatibility, protected mode of 16 bits, real mode, protected mode of 16
// and of 32 bits, compatibility, 64 bits (SDM 3A 9.8, 9.9; 3B 20.1). What is observed on the way is written down and printed at the end.

#include "lib/start.inc"
#include "lib/real_mode.inc"

main:
    mov esi, offset low_code
    mov edi, LOW
    mov ecx, offset low_code_end - low_code
    rep movsb
    mov word ptr [0x10000], 0x0b0f          // ud2, where nothing may be executed
    call down_and_up
    mov ebx, NOTES
1:  cmp ebx, [notes_end]
    jae 2f
    say "\n"
    mov esi, [rbx]
    call print_text
    mov eax, [rbx + 4]
    mov [shown], rax
    say ": "
    call print_shown
    add ebx, 8
    jmp 1b
2:  ret

down_and_up:
    mov [stack_64], rsp
    mov edi, NOTES
    mov ecx, MSR_EFER
    rdmsr
    note "64 bits: EFER", eax
    mov rax, rsp
    push rbx
    sub rax, rsp
    add rsp, 8
    note "64 bits: push", eax
    push KERNEL_CODE16
    push AT(low_code)
    .byte 0x48, 0xcb                        // retf, 64 bits

low_code:
    .code16
    // Compatibility mode of 16 bits.
    mov ax, KERNEL_DATA16
    mov ss, ax
    mov ds, ax
    mov es, ax
    mov esp, LOW_STACK
    mov eax, esp
    push bx
    sub eax, esp
    pop bx
    note "compatibility, 16 bits: push", eax
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    jmp 1f
1:  mov ecx, MSR_EFER
    rdmsr
    note "paging off: EFER", eax
    and eax, ~EFER_LME
    wrmsr
    mov eax, cr4
    and eax, ~CR4_PAE
    mov cr4, eax
    mov eax, cr0
    and eax, CR0_PE
    note "protected mode, 16 bits: PE", eax
    lidt [AT(real_idt)]
    mov eax, cr0
    and eax, ~CR0_PE
    mov cr0, eax
    .byte 0xea
    .word AT(1f), 0
1:  xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, LOW_STACK

    // Real mode. The vectors lead to stubs that note which one it was.
    xor ebx, ebx
1:  mov ax, bx
    imul ax, ax, 5
    add ax, offset AT(stubs_16)
    mov [VECTORS + 4 * ebx], ax
    mov word ptr [VECTORS + 4 * ebx + 2], 0
    inc bx
    cmp bx, 32
    jb 1b
    mov word ptr [VECTORS + 4 * 20], offset AT(interrupt_20)
    mov eax, cr0
    and eax, CR0_PE
    note "real mode: PE", eax
    xor eax, eax
    mov ax, cs
    note "CS", eax
    smsw eax
    and eax, 1
    note "SMSW, PE", eax
    mov eax, esp
    push bx
    sub eax, esp
    pop bx
    note "push", eax
    mov eax, esp
    push ebx
    sub eax, esp
    pop ebx
    note "push of 32 bits", eax
    mov ax, 0x1234
    mov es, ax
    mov dword ptr es:[0x10], 0x55667788
    mov ax, 0x1235
    mov fs, ax
    mov eax, fs:[0]
    note "a segment's base", eax
    mov ax, 0xffff
    mov es, ax
    mov eax, es:[0x10]
    note "FFFF:0010 is 1 MiB", eax
    xor ax, ax
    mov es, ax
    mov esi, 0xfffe
    mov cx, 4
    mov bx, si
1:  lodsb
    loop 1b
    movzx eax, si
    note "SI wraps", eax
    mov ecx, 0x10002
    xor eax, eax
1:  inc eax
    loop 1b
    note "LOOP counts CX", eax
    mov eax, ecx
    note "ECX then", eax
    sti
    int 20
    cli
    mov eax, ebx
    note "INT: handler's flags", eax
    mov eax, edx
    note "INT: pushed flags", eax
    mov eax, ecx
    note "INT: frame", eax
    try_16
    xor cx, cx
    div cx
    caught_16 "divide error"
    mov eax, [AT(at_16)]
    note "at", eax
    try_16
    ud2
    caught_16 "UD2"
    try_16
    int3
    caught_16 "INT3"
    mov eax, [AT(at_16)]
    note "at", eax
    try_16
    mov ax, [0xffff]
    caught_16 "limit: word at FFFF"
    try_16
    mov ebx, 0x10000
    mov al, [ebx]
    caught_16 "limit: byte at 10000"
    try_16
    mov bp, 0xffff
    mov ax, [bp]
    caught_16 "limit: stack"
    try_16
    xor sp, sp
    push ax
    movzx eax, sp
    mov sp, LOW_STACK
    note "push at 0 goes to", eax
    caught_16 "push at 0"
    try_16
    mov eax, 0x10000
    jmp eax
    caught_16 "limit: jump to 10000"
    try_16
    .byte 0x8e, 0xc8
    caught_16 "MOV CS"
    try_16
    sldt ax
    caught_16 "SLDT"
    try_16
    str ax
    caught_16 "STR"
    try_16
    lldt ax
    caught_16 "LLDT"
    try_16
    ltr ax
    caught_16 "LTR"
    try_16
    lar ax, bx
    caught_16 "LAR"
    try_16
    verr ax
    caught_16 "VERR"
    try_16
    arpl ax, bx
    caught_16 "ARPL"
    try_16
    sysenter
    caught_16 "SYSENTER"
    try_16
    lock
    mov ax, [bx]
    caught_16 "LOCK MOV"
    try_16
    mov ax, 5
    mov word ptr [AT(two_words)], 6
    mov word ptr [AT(two_words) + 2], 8
    bound ax, [AT(two_words)]
    caught_16 "BOUND"
    try_16
    mov al, 0x7f
    inc al
    into
    caught_16 "INTO"
    lidt [AT(short_idt)]
    try_16
    int 20
    caught_16 "INT beyond the limit of the vectors"
    lidt [AT(real_idt)]
    mov ax, 1
    lmsw ax
    mov eax, cr0
    and eax, 1
    mov ebx, eax
    xor ax, ax
    lmsw ax
    mov eax, cr0
    and eax, 1
    mov ecx, eax
    mov eax, cr0
    and eax, ~1
    mov cr0, eax
    mov eax, ebx
    note "LMSW sets PE", eax
    mov eax, ecx
    note "LMSW leaves PE", eax

    // A limit survives the return to real mode.
    lgdt [AT(low_gdt)]
    mov eax, cr0
    or al, CR0_PE
    mov cr0, eax
    mov bx, KERNEL_DATA
    mov fs, bx
    and al, ~CR0_PE
    mov cr0, eax
    mov bx, 0
    mov fs, bx
    mov ebx, 0x100000
    mov eax, fs:[ebx + 8]
    note "4 GiB in real mode", eax
    mov bx, 0x1000
    mov fs, bx
    mov ebx, 0xf0000
    mov eax, fs:[ebx + 8]
    note "with a base", eax

    // Up again.
    lidt [AT(no_idt)]
    mov eax, cr0
    or al, CR0_PE
    mov cr0, eax
    jmp 1f
1:  xor eax, eax
    mov ax, cs
    note "PE without a jump: CS", eax
    mov eax, esp
    push bx
    sub eax, esp
    pop bx
    note "push", eax
    ljmp KERNEL_CODE16, offset AT(1f)
1:  mov ax, KERNEL_DATA16
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov ax, cs
    note "protected mode, 16 bits: CS", eax
    .byte 0x66, 0xea
    .long AT(1f)
    .word KERNEL_CODE32

    .code32
1:  mov eax, KERNEL_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esp, LOW_STACK
    mov eax, esp
    push ebx
    sub eax, esp
    pop ebx
    note "protected mode, 32 bits: push", eax
    mov ecx, 0x10002
    xor eax, eax
1:  inc eax
    loop 1b
    note "LOOP counts ECX", eax
    mov eax, cr4
    or eax, CR4_PAE
    mov cr4, eax
    mov eax, offset pml4
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME
    wrmsr
    rdmsr
    note "before paging: EFER", eax
    mov eax, cr0
    or eax, CR0_PG
    mov cr0, eax
    mov ecx, MSR_EFER
    rdmsr
    note "compatibility mode: EFER", eax
    mov eax, esp
    push ebx
    sub eax, esp
    pop ebx
    note "push", eax
    ljmp KERNEL_CODE, offset up_64

    .code16
interrupt_20:
    pushfd
    pop ebx
    mov bp, sp
    movzx edx, word ptr [bp + 4]
    movzx ecx, sp
    neg ecx
    add ecx, LOW_STACK
    iret

    exceptions_16

.balign 8
real_idt: .word 32 * 4 - 1
    .long VECTORS
short_idt: .word 20 * 4 + 2
    .long VECTORS
no_idt: .word 0
    .long 0
low_gdt: .word gdt_end - gdt - 1
    .long gdt
resume_16: .word 0
stack_16: .word 0
start_16: .word 0
zero_16: .word 0
two_words: .word 0, 0
.balign 4
vector_16: .long 0
at_16: .long 0
low_code_end:

    .code64
up_64:
    mov rsp, [stack_64]
    mov [notes_end], edi
    lidt [idt_pointer]
    lgdt [gdt_pointer]
    ret

.bss
.balign 8
stack_64: .skip 8
notes_end: .skip 8
