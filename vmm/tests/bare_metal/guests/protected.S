// Protected mode of 32 bits, without long mode: gates of both sizes, stacks of other levels, call gates with parameters, SYSENTER, and
// paging of two levels and of three (SDM 3A 4.3, 4.4, 5.8, 6.12).

#include "lib/start.inc"
#include "lib/notes.inc"

.set TSS, SPARE
.set GATE, SPARE + 8
.set SEGMENT, SPARE + 16
.set STACK_DATA, SPARE + 24
.set CODE_1, SPARE + 32
.set DATA_1, SPARE + 40
.set DIRECTORY, FREE
.set TABLE, FREE + 0x1000
.set POINTERS, FREE + 0x2000
.set PAGE, FREE + 0x10000
.set LINEAR, 0x40000000

// A gate of the IDT: 0x8e 32-bit interrupt, 0x8f trap, 0x86 and 0x87 the same of 16 bits.
.macro gate_32 vector, access, target
    mov eax, offset \target
    mov word ptr [idt_32 + 8 * (\vector)], ax
    mov word ptr [idt_32 + 8 * (\vector) + 2], KERNEL_CODE32
    mov word ptr [idt_32 + 8 * (\vector) + 4], (\access) << 8
    shr eax, 16
    mov word ptr [idt_32 + 8 * (\vector) + 6], ax
.endm

.macro descriptor_32 selector, low, high
    mov dword ptr [gdt + \selector], \low
    mov dword ptr [gdt + \selector + 4], \high
.endm

.macro arm_32
    push 2
    popfd
    mov [resume_esp], esp
    mov dword ptr [resume], offset 99f
    mov dword ptr [started], offset 98f
.endm

.macro try_0 name
    begin "\name"
    arm_32
98:
.endm

.macro try_3 name
    begin "\name"
    arm_32
    mov eax, USER_DATA
    mov ds, eax
    mov es, eax
    push USER_DATA
    push offset user_stack_top
    push [user_flags]
    push USER_CODE32
    push offset 98f
    iretd
98:
.endm

.macro caught_32
    int WENT_THROUGH
99: call note_caught
.endm

// What lies on the stack of the handler: return address (as a distance), CS, flags, and so on.
.macro note_frame
    note "cs", [frame_32 + 12]
    note "flags", [frame_32 + 16]
.endm

main:
    mov [stack_64], rsp
    push KERNEL_CODE32
    push offset down
    .byte 0x48, 0xcb                        // retf, 64 bits

    .code32
down:
    mov eax, KERNEL_DATA
    mov ss, eax
    mov esp, offset kernel_stack_top
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    mov ecx, MSR_EFER
    rdmsr
    and eax, ~EFER_LME
    wrmsr
    mov eax, cr4
    and eax, ~CR4_PAE
    mov cr4, eax
    // Vectors.
    mov edi, offset idt_32
    mov eax, offset stubs_32
    xor ecx, ecx
1:  mov edx, eax
    mov [edi], ax
    mov word ptr [edi + 2], KERNEL_CODE32
    mov word ptr [edi + 4], 0x8e00
    shr edx, 16
    mov [edi + 6], dx
    add edi, 8
    add eax, 16
    inc ecx
    cmp ecx, 0x60
    jne 1b
    mov byte ptr [idt_32 + 8 * WENT_THROUGH + 5], 0xee
    lidt [idt_32_pointer]
    // A task state of 32 bits.
    mov eax, offset task_32
    mov word ptr [gdt + TSS], 103
    mov [gdt + TSS + 2], ax
    shr eax, 16
    mov [gdt + TSS + 4], al
    mov word ptr [gdt + TSS + 5], 0x89
    mov byte ptr [gdt + TSS + 7], ah
    mov dword ptr [task_32 + 4], offset interrupt_stack_1_top
    mov dword ptr [task_32 + 8], KERNEL_DATA
    mov dword ptr [task_32 + 100], 104 << 16
    mov eax, TSS
    ltr ax

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

    // Paging of two levels. Memory where it is by pages of 4 MiB.
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

    // Up again.
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    mov eax, offset pml4
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME
    wrmsr
    mov eax, cr0
    or eax, CR0_PG
    mov cr0, eax
    ljmp KERNEL_CODE:up

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

note_caught:
    cmp dword ptr [frame_32], WENT_THROUGH
    jne 1f
    note "ok", 1
    ret
1:  note "vector", [frame_32]
    note "error", [frame_32 + 4]
    push eax
    mov eax, [frame_32 + 8]
    sub eax, [started]
    cmp eax, 0x1000
    jae 2f
    note "at", eax
    pop eax
    ret
2:  note "eip", [frame_32 + 8]
    pop eax
    ret

stub_40 = stubs_32 + 16 * 0x40
stub_13 = stubs_32 + 16 * 13

.balign 16
stubs_32:
.set vector, 0
.rept 0x60
    .balign 16
    .if vector == 8 || vector >= 10 && vector <= 14 || vector == 17
    .else
    push 0
    .endif
    .byte 0x68
    .long vector
    jmp common_32
    .set vector, vector + 1
.endr

common_32:
    push eax
    mov eax, KERNEL_DATA
    mov ds, eax
    mov es, eax
    pop eax
    mov [saved_eax], eax
    pushfd
    pop [handler_flags_32]
    lea eax, [esp + 8]
    mov [handler_esp], eax
    xor eax, eax
    mov ax, ss
    mov [handler_ss_32], eax
    .irp slot, 0, 4, 8, 12, 16, 20, 24
        mov eax, [esp + \slot]
        mov [frame_32 + \slot], eax
    .endr
    mov eax, cr2
    mov [cr2_32], eax
    mov eax, KERNEL_DATA
    mov ss, eax
    mov esp, [resume_esp]
    mov eax, [saved_eax]
    cld
    push 2
    popfd
    jmp [resume]

    .code64
up:
    mov rsp, [stack_64]
    mov eax, KERNEL_DATA
    mov ss, eax
    lidt [idt_pointer]
    call fill_task_descriptor
    call print_notes
    ret

.data
idt_32_pointer:
    .word 0x60 * 8 - 1
    .long idt_32
words_pointer: .long words
.bss
.balign 8
idt_32: .skip 0x60 * 8
stack_64: .skip 8
task_32: .skip 108
frame_32: .skip 28
handler_flags_32: .skip 4
handler_esp: .skip 4
handler_ss_32: .skip 4
resume_esp: .skip 4
saved_eax: .skip 4
called_esp: .skip 4
called_ss: .skip 4
return_from_gate: .skip 4
first_words: .skip 4
next_words: .skip 4
cr2_32: .skip 4
