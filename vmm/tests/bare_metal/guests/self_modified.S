// Code that is written to: the next time it is executed it is the new code (SDM 3A 11.6), however it was written.
// Each test prints what the code leaves in EAX.

#include "lib/start.inc"
#include "lib/paging.inc"

// Somewhere to write code: two pages of physical memory, which WINDOW shows too, from page 16 on.
.set PLACE, FREE + 0x20000
.set MIRROR, WINDOW + 0x10000

// Puts `mov eax, value; ret` at an address.
.macro put address, value
    mov byte ptr [\address], 0xb8
    mov dword ptr [\address + 1], \value
    mov byte ptr [\address + 5], 0xc3
.endm

.macro call_at address
    mov eax, \address
    call rax
.endm

.macro result name
    about "\name"
    show "eax", rax
.endm

main:
    map 16, PLACE + PRESENT + WRITABLE
    map 17, PLACE + 0x1000 + PRESENT + WRITABLE
    mov edi, PLACE
    mov ecx, 0x2000
    mov al, 0x90
    rep stosb

    put PLACE, 1
    call_at PLACE
    result "as it is"
    mov byte ptr [PLACE + 1], 2
    call_at PLACE
    result "its operand"
    put PLACE, 3
    call_at PLACE
    result "all of it"
    mov byte ptr [MIRROR + 1], 4
    call_at PLACE
    result "through another address"
    mov byte ptr [PLACE + 1], 5
    call_at MIRROR
    result "executed at another address"

    // The instruction that follows the write.
    xor eax, eax
    mov byte ptr [1f + 1], 6
1:  mov al, 0
    result "the next instruction"
    xor eax, eax
    mov byte ptr [2f + 1], 7
    nop
    nop
    nop
    jmp 1f
1:  nop
2:  mov al, 0
    result "a later instruction of the same page"
    mov ecx, 3
    xor eax, eax
1:  add eax, 1
    inc byte ptr [1b + 2]
    loop 1b
    mov byte ptr [1b + 2], 1
    result "a loop that writes to itself"
    xor eax, eax
    mov edi, offset 1f
    mov esi, offset 2f
    mov ecx, 3
    rep movsb
1:  mov al, 1
    nop
    result "overwritten by a string"
    mov edi, offset 1f
    mov ecx, 2
    mov al, 0x90
    xor edx, edx
    rep stosb
1:  mov dl, 1
    mov eax, edx
    result "an instruction that is taken away"
    xor eax, eax
    mov dword ptr [1f], 0x08b09090          // nop; nop; mov al, 8
1:  mov al, 1
    mov al, 1
    result "other boundaries"
    mov ebx, offset 1f
    mov ecx, 0x09b0
    mov edx, 0x9090
    xor eax, eax
    xchg [rbx], cx
1:  mov al, 1
    result "by XCHG"
    mov eax, 0x01b0
    mov ecx, 0x0ab0
    mov ebx, offset 1f
    lock cmpxchg [rbx], cx
1:  mov al, 1
    movzx eax, al
    result "by CMPXCHG"
    xor eax, eax
    mov rbx, rsp
    mov rsp, offset 1f + 8
    push 0x10eb0bb0                         // mov al, 11; jmp 1f + 20
1:  .fill 20, 1, 0x90
    mov rsp, rbx
    result "by PUSH"
    movdqu xmm0, [3f]
    xor eax, eax
    movdqu [1f], xmm0
1:  .fill 16, 1, 0x90
    result "by SSE"

    // Over a page boundary.
    mov byte ptr [PLACE + 0xffd], 0xb8
    mov dword ptr [PLACE + 0xffe], 0x0d
    mov byte ptr [PLACE + 0x1002], 0xc3
    call_at PLACE + 0xffd
    result "across two pages"
    mov byte ptr [PLACE + 0x1001], 0x0e
    call_at PLACE + 0xffd
    result "its second page changed"
    mov byte ptr [PLACE + 0xffe], 0x0f
    call_at PLACE + 0xffd
    result "its first page changed"
    mov word ptr [PLACE + 0xfff], 0x1010
    call_at PLACE + 0xffd
    result "a write across both"
    call_at MIRROR + 0xffd
    result "at another address"
    map 17, PLACE + 0x3000 + PRESENT + WRITABLE
    mov word ptr [PLACE + 0x3000], 0x1100
    mov byte ptr [PLACE + 0x3002], 0xc3
    call_at MIRROR + 0xffd
    result "its second page mapped elsewhere"
    map 16, PLACE + 0x4000 + PRESENT + WRITABLE
    put PLACE + 0x4000, 0x12
    call_at MIRROR
    result "mapped elsewhere"

    // Bytes that are data in the same page as code.
    mov ecx, 1000
    xor eax, eax
1:  inc dword ptr [counter_among_code]
    add eax, [counter_among_code]
    loop 1b
    result "data among code"
    jmp 1f
counter_among_code: .long 0
1:

    // Written by the processor itself: what an exception pushes.
    mov edi, PLACE
    mov ecx, 48
    mov al, 0x90
    rep stosb
    put PLACE + 48, 0x13
    call_at PLACE
    result "before the exception"
    on 3, call_own_frame
    mov rbx, rsp
    mov rsp, PLACE + 48
    int3
    mov rsp, rbx
    result "a frame that is code"
    ret

// RIP begins the frame; its low byte becomes the opcode of a return.
call_own_frame:
    mov ecx, PLACE + 8
    mov dl, [rcx]
    mov byte ptr [rcx], 0xc3
    mov eax, 0x14
    call rcx
    mov [rcx], dl
    mov [rdi + FRAME_RAX], rax
    ret

.data
2:  mov al, 0xc
    nop
3:  mov eax, 0x0c0c0c0c
    .fill 11, 1, 0x90
