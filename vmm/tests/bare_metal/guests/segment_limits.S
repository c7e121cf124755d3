// Limits and types of segments, in compatibility mode (SDM 3A 5.3, 5.5).

#include "lib/start.inc"

.set SMALL, SPARE
.set DOWN32, SPARE + 8
.set DOWN16, SPARE + 16
.set CONSTANT, SPARE + 24
.set TEXT, SPARE + 32
.set SHORT_TEXT, SPARE + 40
.set SECRET_TEXT, SPARE + 48

// Where the guest is loaded: the base of SHORT_TEXT.
.set IMAGE, 0x100000

main:
    segment SMALL, FREE, 0xfff, DATA, BITS32
    segment DOWN32, FREE, 0xfff, EXPAND_DOWN, BITS32
    segment DOWN16, FREE, 0xfff, EXPAND_DOWN
    segment CONSTANT, FREE, 0xfff, READ_ONLY, BITS32
    segment TEXT, FREE, 0xfff, CODE, BITS32
    segment SHORT_TEXT, IMAGE, 0, CODE, BITS32
    mov eax, offset short_text_end - IMAGE - 1
    mov [gdt + SHORT_TEXT], ax
    segment SECRET_TEXT, 0, 0xfffff, EXECUTE_ONLY, BITS32 + BIG_LIMIT
    gate_stack 12, 2
    mov dword ptr [FREE + 0x1000], 0x33221100
    mov dword ptr [FREE], 0x77665544

    mov ecx, SMALL
    mov fs, ecx
    try_32 "the last byte"
    mov al, fs:[0xfff]
    caught
    try_32 "one byte beyond"
    mov al, fs:[0x1000]
    caught
    try_32 "the last 4 bytes"
    mov eax, fs:[0xffc]
    caught
    try_32 "4 bytes, the last one beyond"
    mov eax, fs:[0xffd]
    caught
    try_32 "a write beyond"
    mov fs:[0xffd], eax
    caught
    try_32 "at the end of 4 GiB"
    mov eax, fs:[0xffffffff]
    caught
    try_32 "16 bytes, the last one beyond"
    movups xmm0, fs:[0xff1]
    caught
    try_32 "a string beyond"
    mov esi, 0xff8
    mov ecx, 4
    rep lodsd fs:[esi]
    caught
    show "ecx", rcx
    show "esi", rsi

    mov ecx, SMALL
    try_32 "push at the limit"
    mov ss, ecx
    mov esp, 0x1000
    push eax
    caught
    show "rsp", [frame + FRAME_RSP]
    try_32 "pop beyond"
    mov ss, ecx
    mov esp, 0x1000
    pop eax
    caught
    try_32 "push below 0"
    mov ss, ecx
    mov esp, 0
    push eax
    caught
    try_32 "through EBP"
    mov ss, ecx
    mov ebp, 0xffe
    mov eax, [ebp]
    caught
    try_32 "call on a stack without room"
    mov ss, ecx
    mov esp, 2
    call main
    caught

    mov ecx, DOWN32
    mov fs, ecx
    try_32 "expand-down, above the limit"
    mov eax, fs:[0x1000]
    caught
    show "eax", rax
    try_32 "expand-down, at the limit"
    mov al, fs:[0xfff]
    caught
    try_32 "expand-down, partly at the limit"
    mov eax, fs:[0xffd]
    caught
    try_32 "expand-down, 0"
    mov eax, fs:[0]
    caught
    try_32 "expand-down, beyond 4 GiB"
    mov ax, fs:[0xffffffff]
    caught
    mov ecx, DOWN16
    mov fs, ecx
    try_32 "expand-down of 16 bits, last byte"
    mov al, fs:[0xffff]
    caught
    try_32 "expand-down of 16 bits, above"
    mov al, fs:[0x10000]
    caught

    mov ecx, CONSTANT
    mov fs, ecx
    try_32 "read-only, read"
    mov eax, fs:[0]
    caught
    show "eax", rax
    try_32 "read-only, write"
    mov fs:[0], eax
    caught
    try_32 "read-only, read and write"
    inc dword ptr fs:[0]
    caught
    try_32 "read-only, compare"
    cmp dword ptr fs:[0], 5
    caught
    mov ecx, TEXT
    mov fs, ecx
    try_32 "code, read"
    mov eax, fs:[0]
    caught
    try_32 "code, write"
    mov fs:[0], eax
    caught
    try_32 "CS, read"
    mov eax, cs:[FREE]
    caught
    try_32 "CS, write"
    mov cs:[FREE], eax
    caught
    try_32 "CS that cannot be read"
    ljmp SECRET_TEXT:1f
1:  mov eax, cs:[FREE]
    caught
    xor ecx, ecx
    mov fs, ecx
    try_32 "null"
    mov eax, fs:[0]
    caught
    try_32 "null, write"
    mov fs:[0], eax
    caught

    try_32 "code runs up to its limit"
    mov dword ptr [started], offset short_text_end - IMAGE
    ljmp SHORT_TEXT:short_text - IMAGE
    caught
    try_32 "far jump beyond the limit"
    ljmp SHORT_TEXT:short_text_end - IMAGE
    caught
    try_32 "near jump beyond the limit"
    mov dword ptr [started], offset short_text_jumps - IMAGE
    ljmp SHORT_TEXT:short_text_jumps - IMAGE
    caught
    dec word ptr [gdt + SHORT_TEXT]
    mov byte ptr [short_text], 0xb0         // mov al, 0x90
    try_32 "instruction across the limit"
    mov dword ptr [started], offset short_text - IMAGE
    ljmp SHORT_TEXT:short_text - IMAGE
    caught

    // 64-bit mode has neither limits nor types.
    mov ecx, CONSTANT
    mov fs, ecx
    try "64-bit mode"
    mov eax, fs:[0x1000]
    mov fs:[0x1000], eax
    caught
    show "eax", rax
    xor ecx, ecx
    mov fs, ecx
    ret

.code32
short_text_jumps:
    jmp short_text_end
short_text:
    nop
    nop
short_text_end:
    nop
