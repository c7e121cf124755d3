// Single steps, and what the debug registers say about them (SDM 3B 17.3.1.4).

#include "lib/start.inc"
#include "lib/debug.inc"

// Runs code with TF and prints where each trap found it.
.macro trace name
    on 1, step
    mov qword ptr [ends], offset 97f
    about "\name"
    mov qword ptr [started], offset 98f
    pushfq
    or qword ptr [rsp], FLAG_TF
    popfq
98:
.endm

.macro traced
97: nop
    off 1
.endm

main:
    mov ecx, 3
    xor ebx, ebx
    trace "plain"
    inc ebx
    add rbx, 0x12345678
    jmp 1f
    nop
1:  nop
    traced
    trace "loop"
1:  loop 1b
    traced
    mov ecx, 3
    mov edi, FREE
    trace "each iteration of a repeated string"
    rep stosb
    traced
    xor ecx, ecx
    trace "no iteration"
    rep stosb
    traced
    mov ecx, KERNEL_DATA
    trace "MOV SS holds the trap back"
    mov ss, ecx
    nop
    nop
    traced
    trace "STI does not"
    sti
    cli
    traced
    trace "PUSHF shows TF"
    pushfq
    pop rbx
    traced
    show "flags", rbx
    trace "POPF that clears TF is the last one"
    push 2
    popfq
    nop
    nop
    traced
    on 0x40, look_at_flags
    trace "INT n is not stepped into"
    int 0x40
    nop
    traced
    show "handler", [seen_flags]
    on 6, skip_ud2
    trace "a fault is not stepped over"
    ud2
    nop
    traced
    off 6
    trace "IRET that keeps TF"
    mov rbx, rsp
    push KERNEL_DATA
    push rbx
    push 2 + FLAG_TF
    push KERNEL_CODE
    push offset 1f
    iretq
    nop
1:  nop
    traced
    mov ecx, MSR_LSTAR
    mov eax, offset system_call
    xor edx, edx
    wrmsr
    mov ecx, MSR_STAR
    mov edx, KERNEL_CODE
    wrmsr
    mov ecx, MSR_FMASK
    mov eax, FLAG_TF
    xor edx, edx
    wrmsr
    trace "SYSCALL that masks TF"
    syscall
    traced
    trace "INT3"
    on 3, look_at_flags
    int3
    nop
    traced
    off 3
    trace "CPUID, RDTSC, IN"
    mov eax, 0
    cpuid
    rdtsc
    in al, 0x80
    nop
    traced
    try "DR6 after steps"
    caught
    show_dr6
    mov qword ptr [user_flags], 2 + FLAG_TF
    try_user "the first instruction at level 3"
    nop
    nop
    caught
    show_dr6
    mov qword ptr [user_flags], 2
    ret

// Prints where the trap was taken; ends with the test.
step:
    mov rax, [rdi + FRAME_RIP]
    cmp rax, [ends]
    jb 1f
    and qword ptr [rdi + FRAME_FLAGS], ~FLAG_TF
1:  sub rax, [started]
    mov rcx, rax
    show "", rcx
    ret

look_at_flags:
    mov rax, [handler_flags]
    and eax, FLAG_TF
    mov [seen_flags], rax
    ret

skip_ud2:
    add qword ptr [rdi + FRAME_RIP], 2
    ret

system_call:
    nop
    or r11, FLAG_TF
    push KERNEL_DATA
    lea rbx, [rsp + 8]
    push rbx
    push r11
    push KERNEL_CODE
    push rcx
    iretq

.bss
.balign 8
ends: .skip 8
seen_flags: .skip 8
