// Protected mode of 32 bits, without long mode: gates of both sizes, stacks of other levels, call gates with parameters, SYSENTER
// (SDM 3A 5.8, 6.12).

#include "lib/start.inc"
#include "lib/protected.inc"

.set GATE, SPARE + 8
.set STACK_DATA, SPARE + 24
.set CODE_1, SPARE + 32
.set DATA_1, SPARE + 40

.macro descriptor_32 selector, low, high
    mov dword ptr [gdt + \selector], \low
    mov dword ptr [gdt + \selector + 4], \high
.endm

.macro note_frame
    note "cs", [frame_32 + 12]
    note "flags", [frame_32 + 16]
.endm

.code32
tests_32:
    // Gates at the same level.
    try_0 "interrupt gate"
    push 2 + FLAG_IF + FLAG_DF + FLAG_NT
    popfd
    int 0x40
    caught_32
    note_frame
    note "handler", [handler_flags_32]
    mov eax, offset kernel_stack_top
    sub eax, [handler_esp]
    note "used", eax
    gate_32 0x40, 0x8f, stub_40
    try_0 "trap gate"
    sti
    int 0x40
    caught_32
    cli
    note_frame
    note "handler", [handler_flags_32]
    try_0 "UD2"
    ud2
    caught_32
    note_frame
    try_0 "an error code"
    mov ecx, 0x7770
    mov fs, ecx
    caught_32
    mov eax, offset kernel_stack_top
    sub eax, [handler_esp]
    note "used", eax
    // A gate of 16 bits leads to the first 64 KiB.
    mov word ptr [0x7100], 0x25ff           // jmp [words_pointer]
    mov dword ptr [0x7102], offset words_pointer
    gate_32 0x41, 0x86, 0x7100
    try_0 "16-bit gate"
    sti
    int 0x41
    caught_32
    mov eax, [first_words]
    sub ax, [started]
    note "cs:ip", eax
    movzx eax, word ptr [next_words]
    note "flags", eax
    gate_32 13, 0x86, 0x7100
    try_0 "16-bit gate, error code"
    mov ecx, 0x7770
    mov fs, ecx
    caught_32
    movzx eax, word ptr [first_words]
    note "error", eax
    movzx eax, word ptr [first_words + 2]
    sub ax, [started]
    note "ip", eax
    movzx eax, word ptr [next_words]
    note "cs", eax
    movzx eax, word ptr [next_words + 2]
    note "flags", eax
    gate_32 13, 0x8e, stub_13
    gate_32 0x41, 0x0e, stub_40
    try_0 "gate not present"
    int 0x41
    caught_32
    gate_32 0x41, 0x8c, stub_40
    try_0 "call gate"
    int 0x41
    caught_32
    try_0 "beyond the limit"
    int 0x60
    caught_32

    // Other levels.
    gate_32 0x40, 0xee, stub_40
    mov ecx, USER_DATA
    mov fs, ecx
    try_3 "from level 3"
    int 0x40
    caught_32
    note_frame
    mov eax, [frame_32 + 20]
    sub eax, offset user_stack_top
    note "esp", eax
    note "ss", [frame_32 + 24]
    mov eax, offset interrupt_stack_1_top
    sub eax, [handler_esp]
    note "used", eax
    note "handler's ss", [handler_ss_32]
    try_3 "from level 3 without right"
    int 0x41
    caught_32
    try_3 "HLT at level 3"
    hlt
    caught_32
    mov eax, [frame_32 + 20]
    sub eax, offset user_stack_top
    note "esp", eax
    // A handler of level 1, so that what is wrong with its stack can be told at level 0.
    descriptor_32 CODE_1, 0x0000ffff, 0x00cfbb00
    descriptor_32 DATA_1, 0x0000ffff, 0x00cfb300
    gate_32 0x42, 0xee, stub_40
    mov word ptr [idt_32 + 8 * 0x42 + 2], CODE_1
    mov dword ptr [task_32 + 12], offset interrupt_stack_2_top
    .macro with_stack name, selector
        mov dword ptr [task_32 + 16], \selector
        try_3 "\name"
        int 0x42
        caught_32
    .endm
    with_stack "level 1, null stack", 0
    with_stack "level 1, stack without RPL", DATA_1
    with_stack "level 1, code as stack", CODE_1 + 1
    with_stack "level 1, stack of level 0", KERNEL_DATA + 1
    descriptor_32 STACK_DATA, 0x0000ffff, 0x00cf3300
    with_stack "level 1, stack not present", STACK_DATA + 1
    descriptor_32 STACK_DATA, 0x0000000f, 0x0040b300
    with_stack "level 1, stack too small", STACK_DATA + 1
    with_stack "level 1, stack beyond the table", 0x7771
    mov word ptr [gdt + TSS], 15
    and byte ptr [gdt + TSS + 5], ~2
    mov eax, TSS
    ltr ax
    with_stack "level 1, task state too short", DATA_1 + 1
    mov word ptr [gdt + TSS], 103
    and byte ptr [gdt + TSS + 5], ~2
    mov eax, TSS
    ltr ax

    // Call gates.
    descriptor_32 GATE, KERNEL_CODE32 << 16, 0x0000ec02
    mov eax, offset called
    mov [gdt + GATE], ax
    shr eax, 16
    mov [gdt + GATE + 6], ax
    try_3 "call gate with two parameters"
    push 0x11111111
    push 0x22222222
    lcall (GATE + 3):0
    nop
    caught_32
    mov esi, [called_esp]
    note "old cs", [esi + 8]
    note "last", [esi + 12]
    note "first", [esi + 16]
    mov eax, [esi + 20]
    sub eax, offset user_stack_top
    note "old esp", eax
    note "old ss", [esi + 24]
    note "ss", [called_ss]
    try_3 "and back with RET 8"
    push 0x11111111
    push 0x22222222
    mov dword ptr [return_from_gate], 1
    lcall (GATE + 3):0
    mov eax, esp
    caught_32
    sub eax, offset user_stack_top
    note "esp", eax
    note "cs", [frame_32 + 12]
    mov dword ptr [return_from_gate], 0
    mov byte ptr [gdt + GATE + 5], 0xe4
    mov byte ptr [gdt + GATE + 4], 0
    mov word ptr [gdt + GATE + 6], 0
    mov word ptr [gdt + GATE], 0x7000
    mov dword ptr [0x7000], 0x9090 | (0xcd | WENT_THROUGH << 8) << 16
    try_3 "16-bit call gate"
    lcall (GATE + 3):0
    caught_32
    mov eax, offset interrupt_stack_1_top
    sub eax, [handler_esp]
    note "used", eax

    // System calls.
    mov ecx, MSR_SYSENTER_CS
    mov eax, KERNEL_CODE32
    xor edx, edx
    wrmsr
    mov ecx, MSR_SYSENTER_EIP
    mov eax, offset went
    wrmsr
    mov ecx, MSR_SYSENTER_ESP
    mov eax, offset interrupt_stack_2_top
    wrmsr
    try_3 "SYSENTER"
    sysenter
    caught_32
    note_frame
    note "ss", [handler_ss_32]
    // Where AMD's leads to outside long mode.
    mov ecx, MSR_STAR
    mov eax, offset went
    mov edx, KERNEL_CODE32
    wrmsr
    try_3 "SYSCALL"
    syscall
    caught_32
    try_0 "64-bit registers are none: INC and DEC"
    mov eax, 5
    .byte 0x48, 0x48                        // dec eax; dec eax
    caught_32
    note "eax", eax
    jmp go_up

went:
    int WENT_THROUGH

called:
    cmp dword ptr [return_from_gate], 0
    jne 1f
    lea eax, [esp - 4]
    mov [called_esp], eax
    mov eax, ss
    mov [called_ss], eax
    // The frame stays where it is: what comes next uses another stack.
    mov esp, offset interrupt_stack_2_top
    int WENT_THROUGH
1:  retf 8

// The handler of 16-bit gates keeps what was pushed.
words:
    pop [first_words]
    pop [next_words]
    mov esp, offset kernel_stack_top - 256
    int WENT_THROUGH

stub_40 = stubs_32 + 16 * 0x40
stub_13 = stubs_32 + 16 * 13

.data
.balign 4
words_pointer: .long words
.bss
.balign 4
called_esp: .skip 4
called_ss: .skip 4
return_from_gate: .skip 4
first_words: .skip 4
next_words: .skip 4
