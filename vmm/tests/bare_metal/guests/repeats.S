// Repeated string instructions that fault, or are interrupted, in the middle: RCX, RSI and RDI say how far they got, and they go on
// (SDM 2B, REP). WINDOW has two pages, then a hole.

#include "lib/start.inc"
#include "lib/paging.inc"
#include "lib/apic.inc"

.set SOURCE, WINDOW
.set HOLE, WINDOW + 0x2000
.set TARGET, FREE + 0x10000
.set MUCH, 8 << 20

.macro show_progress
    show "rcx", rcx
    show "rsi", rsi
    show "rdi", rdi
.endm

.macro strings source, target, count:vararg
    mov esi, \source
    mov edi, \target
    mov ecx, \count
.endm

main:
    map 0, FREE + PRESENT + WRITABLE + USER
    map 1, FREE + 0x1000 + PRESENT + WRITABLE + USER
    mov edi, WINDOW
    mov ecx, 0x400
    mov rax, 0x0706050403020100
1:  mov [rdi], rax
    mov rdx, 0x0808080808080808
    add rax, rdx
    add rdi, 8
    loop 1b
    mov eax, 0x5a

    // Faults.
    strings HOLE-3, TARGET, 16
    try "MOVSB from a hole"
    rep movsb
    caught
    show_progress
    strings HOLE-12, TARGET, 16
    try "MOVSQ from a hole, across"
    rep movsq
    caught
    show_progress
    strings SOURCE, HOLE-24, 16
    try "MOVSQ into a hole"
    rep movsq
    caught
    show_progress
    show "last", [HOLE - 8]
    strings SOURCE, HOLE-6, 16
    try "STOSD into a hole, across"
    rep stosd
    caught
    show_progress
    strings HOLE-5, 0, 16
    try "LODSW from a hole"
    rep lodsw
    caught
    show_progress
    show "rax", rax
    strings HOLE-4, TARGET, 16
    mov edx, [HOLE - 4]
    mov [TARGET], edx
    try "CMPSB, equal, into a hole"
    repe cmpsb
    caught
    show_progress
    mov eax, 0xff
    strings 0, HOLE-5, 16
    mov dword ptr [HOLE - 8], 0
    mov dword ptr [HOLE - 4], 0
    try "SCASB into a hole"
    repne scasb
    caught
    show_progress
    map 3, FREE + 0x3000 + PRESENT + WRITABLE
    strings SOURCE+8, WINDOW+0x3002, 16
    try "MOVSB backwards into a hole"
    std
    rep movsb
    caught
    show_progress
    mov eax, [frame + FRAME_FLAGS]
    and eax, FLAG_DF
    show "df", rax
    strings HOLE, HOLE, 0
    try "no repetition touches nothing"
    rep movsb
    repne scasd
    caught
    mov rcx, 1 << 32
    mov esi, HOLE
    mov edi, HOLE
    try "count of 32 bits"
    rep movsb [edi], [esi]
    caught
    show_progress
    mov rcx, (1 << 32) + 2
    mov rsi, SOURCE + (1 << 32)
    mov edi, TARGET
    try "addresses of 32 bits"
    rep movsb [edi], [esi]
    caught
    show_progress
    mov rcx, 5
    mov rsi, 0x00007ffffffffffe
    mov edi, TARGET
    try "over the end of canonical addresses"
    rep movsb
    caught
    show_progress
    strings SOURCE, TARGET, 1 << 20
    try_user "at level 3 into the kernel's memory"
    rep movsb
    caught
    show_progress

    // Overlaps, as one element after the other does them.
    strings WINDOW+0x100, WINDOW+0x101, 7
    rep movsb
    about "overlap, forwards"
    show "", [WINDOW + 0x100]
    mov rax, 0x1716151413121110
    mov [WINDOW + 0x100], rax
    strings WINDOW+0x101, WINDOW+0x100, 7
    rep movsb
    about "overlap, closing up"
    show "", [WINDOW + 0x100]
    mov [WINDOW + 0x100], rax
    strings WINDOW+0x106, WINDOW+0x107, 7
    std
    rep movsb
    cld
    about "overlap, backwards"
    show "", [WINDOW + 0x100]
    strings WINDOW+0x103, WINDOW+0x100, 4
    rep movsd
    about "overlap of parts"
    show "", [WINDOW + 0x100]

    // Ports.
    about "OUTSB"
    mov esi, offset text
    mov ecx, 5
    mov edx, DEBUG_PORT
    rep outsb
    strings 0, TARGET, 3
    rep insb
    mov dword ptr [TARGET + 3], 0
    show "INSB", [TARGET]
    strings 0, HOLE-2, 4
    mov edx, DEBUG_PORT
    try "INSB into a hole"
    rep insb
    caught
    show_progress
    strings HOLE-2, 0, 4
    mov edx, 0x80
    try "OUTSB from a hole"
    rep outsb
    caught
    show_progress

    // An interrupt.
    apic_on
    on 0x41, look
    mov dword ptr [r15 + APIC_TIMER_DIVIDE], 0xb
    mov dword ptr [r15 + APIC_LVT_TIMER], 0x41
    mov al, 0x33
    strings 0, FREE+0x100000, MUCH
    mov qword ptr [started], offset 1f
    sti
    mov dword ptr [r15 + APIC_TIMER_INITIAL], 10000000
1:  rep stosb
    cli
    about "STOSB goes on after an interrupt"
    call judge
    show "rcx", rcx
    show "rdi", rdi
    mov al, 0x33
    mov edi, FREE + 0x100000
    mov ecx, MUCH
    repe scasb
    setz al
    movzx eax, al
    show "all", rax
    strings FREE+0x100000, FREE+0x100000+MUCH, MUCH
    mov qword ptr [started], offset 1f
    sti
    mov dword ptr [r15 + APIC_TIMER_INITIAL], 10000000
1:  rep movsb
    cli
    about "MOVSB goes on after an interrupt"
    call judge
    show "rcx", rcx
    mov al, 0x33
    mov edi, FREE + 0x100000 + MUCH
    mov ecx, MUCH
    repe scasb
    setz al
    movzx eax, al
    show "all", rax
    ret

// Notes where the interrupt came, and whether RCX and RDI belong together.
look:
    mov rax, [rdi + FRAME_RIP]
    sub rax, [started]
    mov [place], rax
    mov rax, [rdi + FRAME_RCX]
    mov [left], rax
    add rax, [rdi + FRAME_RDI]
    mov [sum], rax
    end_of_interrupt
    ret

// Keeps RCX, RSI, RDI.
judge:
    show "at", [place]
    mov rax, [left]
    dec rax
    cmp rax, MUCH - 1
    setb al
    movzx eax, al
    show "in the middle", rax
    mov rax, [sum]
    sub rax, rdi
    show "difference", rax
    ret

.data
text: .ascii " text"
.balign 8
place: .quad 0
left: .quad 0
sum: .quad 0
