//! The host's processor: runs one instruction in this process and catches the exception that ends it.
//!
//! IRETQ enters with all registers loaded, also into 32-bit code. The way back is a signal on a stack of its own: its frame holds
//! every register, and returns to where [`enter`] left off.
//!
//! This module is unsafe throughout: it executes generated code and swaps the registers under Rust's feet. What makes it sound is
//! that every generated access was checked to stay within the arena or to fault ([`crate::arena::is_harmless`]).
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::mem::{offset_of, zeroed};
use std::ops::Range;
use std::ptr;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::arena::{CODE, DATA, INT3, Memory, PAGE, PARTS, READ_ONLY, RESERVED, STACK};
use crate::case::{Case, FpuImage, Outcome, Registers};
use crate::segments::{self, Local};

/// What [`enter`] and the handler share. In the order of instructions' register numbers.
#[repr(C, align(64))]
struct Context {
    fpu: FpuImage,
    gpr: [u64; 16],
    rip: u64,
    rflags: u64,
    /// ES, CS, SS, DS, FS, GS.
    selectors: [u64; 6],
    /// FS, GS.
    bases: [u64; 2],
    host_stack: u64,
    host_fs_base: u64,
    /// Where the handler returns to.
    leave: u64,
    /// The instruction under test is running.
    active: u64,
    vector: u64,
    error: u64,
    address: u64,
}

struct Shared(UnsafeCell<Context>);

// SAFETY: only the thread that holds `BUSY` touches it, and the handler of a signal that this very thread caused.
unsafe impl Sync for Shared {}

static CONTEXT: Shared = Shared(UnsafeCell::new(Context {
    fpu: FpuImage([0; 512]),
    gpr: [0; 16],
    rip: 0,
    rflags: 0,
    selectors: [0; 6],
    bases: [0; 2],
    host_stack: 0,
    host_fs_base: 0,
    leave: 0,
    active: 0,
    vector: 0,
    error: 0,
    address: 0,
}));

static BUSY: Mutex<()> = Mutex::new(());

const SIGNALS: [i32; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP];
/// RDFSBASE and its like may be used.
const HWCAP2_FSGSBASE: u64 = 1 << 1;
const SIGNAL_STACK_BYTES: usize = 64 << 10;

/// The right to use the arena and the handlers.
pub struct Native {
    _busy: MutexGuard<'static, ()>,
    old_actions: [libc::sigaction; SIGNALS.len()],
    old_stack: libc::stack_t,
    _stack: Box<[u8]>,
}

impl Native {
    /// Maps the arena and installs handlers. `None` if the kernel does not let user space set the bases of FS and GS (Linux does
    /// since 5.9).
    pub fn new() -> Option<Self> {
        // SAFETY: asks for a number.
        let features = unsafe { libc::getauxval(libc::AT_HWCAP2) };
        if features & HWCAP2_FSGSBASE == 0 {
            return None;
        }
        let busy = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
        map(&RESERVED, libc::PROT_NONE, libc::MAP_FIXED_NOREPLACE);
        let data = libc::PROT_READ | libc::PROT_WRITE;
        for (part, protection) in
            [(CODE, data | libc::PROT_EXEC), (DATA, data), (READ_ONLY, data), (STACK, data)]
        {
            map(&part, protection, libc::MAP_FIXED | libc::MAP_POPULATE);
        }
        bytes_of(&CODE).fill(INT3);
        bytes_of(&READ_ONLY).copy_from_slice(Memory::pristine().part(&READ_ONLY));
        // SAFETY: the pages were mapped above, and nobody refers to them.
        let done = unsafe { libc::mprotect(READ_ONLY.start as *mut _, PAGE as usize, libc::PROT_READ) };
        assert_eq!(done, 0, "mprotect: {}", std::io::Error::last_os_error());

        let mut stack = vec![0u8; SIGNAL_STACK_BYTES].into_boxed_slice();
        // SAFETY: plain data of the C library; zero is a valid value.
        let (mut old_stack, mut old_actions): (libc::stack_t, [libc::sigaction; 5]) = unsafe { zeroed() };
        let new_stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
        // SAFETY: the stack lives as long as `self`, which takes it away again; `trap` obeys the calling convention of handlers.
        unsafe {
            assert_eq!(libc::sigaltstack(&new_stack, &mut old_stack), 0);
            for (signal, old) in SIGNALS.iter().zip(&mut old_actions) {
                let mut action: libc::sigaction = zeroed();
                action.sa_sigaction = trap as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                assert_eq!(libc::sigaction(*signal, &action, old), 0);
            }
        }
        Some(Self { _busy: busy, old_actions, old_stack, _stack: stack })
    }

    /// Runs a case.
    pub fn run(&mut self, case: &Case) -> Outcome {
        for part in [DATA, STACK] {
            bytes_of(&part).copy_from_slice(case.memory.part(&part));
        }
        let registers = &case.registers;
        let first = case.linear_ip();
        let code = first..(first + case.bytes.len() as u64).min(CODE.end);
        bytes_of(&code).copy_from_slice(&case.bytes[..(code.end - code.start) as usize]);
        let context = CONTEXT.0.get();
        // SAFETY: this thread holds `BUSY`, so that nobody else refers to the context. What the case executes was checked.
        unsafe {
            (*context).fpu = registers.fpu;
            (*context).gpr = registers.gpr;
            (*context).rip = registers.rip;
            (*context).rflags = registers.rflags;
            (*context).selectors = registers.selectors.map(u64::from);
            (*context).bases = registers.bases;
            enter(context);
        }
        bytes_of(&code).fill(INT3);
        let mut memory = Memory::pristine();
        for part in PARTS {
            memory.part_mut(&part).copy_from_slice(bytes_of(&part));
        }
        // SAFETY: as above; the handler has run and will not again.
        let after = unsafe { &*context };
        Outcome {
            vector: after.vector as u8,
            error: after.error as u32,
            address: if after.vector == 14 { after.address } else { 0 },
            registers: Registers {
                gpr: after.gpr,
                rip: after.rip,
                rflags: after.rflags,
                selectors: after.selectors.map(|selector| selector as u16),
                bases: after.bases,
                fpu: after.fpu,
            },
            memory,
        }
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // SAFETY: puts back what was there; the arena is nobody else's.
        unsafe {
            for (signal, old) in SIGNALS.iter().zip(&self.old_actions) {
                libc::sigaction(*signal, old, ptr::null_mut());
            }
            libc::sigaltstack(&self.old_stack, ptr::null_mut());
            libc::munmap(RESERVED.start as *mut _, (RESERVED.end - RESERVED.start) as usize);
        }
    }
}

/// Gives this process the local descriptor table, once. False if the kernel refuses some of it.
pub fn has_local_table() -> bool {
    static MADE: LazyLock<bool> =
        LazyLock::new(|| (0..).zip(&segments::LOCAL).all(|(entry, local)| make_local(entry, local)));
    *MADE
}

/// modify_ldt(2): `struct user_desc` with its bit fields.
fn make_local(entry: u32, local: &Local) -> bool {
    const WRITE: libc::c_long = 0x11;
    let flags = u32::from(local.big)
        | (local.kind as u32) << 1
        | u32::from(!local.writable) << 3
        | u32::from(local.in_pages) << 4
        | u32::from(!local.present) << 5;
    let description = [entry, local.base as u32, local.limit, flags];
    // SAFETY: the kernel reads so many bytes. Nothing else in this process uses the table.
    let done = unsafe {
        libc::syscall(libc::SYS_modify_ldt, WRITE, description.as_ptr(), size_of_val(&description))
    };
    done as i32 == 0
}

fn map(part: &Range<u64>, protection: i32, flags: i32) {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: the whole of `RESERVED` is refused if anything is there; its parts replace nothing but it.
    let at = unsafe {
        libc::mmap(part.start as *mut _, (part.end - part.start) as usize, protection, flags, -1, 0)
    };
    assert_eq!(at as u64, part.start, "mmap: {}", std::io::Error::last_os_error());
}

/// Bytes of the arena. Of [`READ_ONLY`] they must not be written once it is protected.
fn bytes_of(part: &Range<u64>) -> &'static mut [u8] {
    // SAFETY: mapped by `Native::new`, whose holder alone calls this, and never keeps two slices of the same part.
    unsafe { std::slice::from_raw_parts_mut(part.start as *mut u8, (part.end - part.start) as usize) }
}

/// Loads all registers and jumps; returns when the handler has run.
///
/// # Safety
/// The code must end with an exception, and harm nothing before.
#[unsafe(naked)]
unsafe extern "C" fn enter(context: *mut Context) {
    std::arch::naked_asm!(
        "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
        "rdfsbase rax",
        "mov [rdi + {host_fs_base}], rax",
        "mov [rdi + {host_stack}], rsp",
        "lea rax, [rip + 2f]",
        "mov [rdi + {leave}], rax",
        "mov qword ptr [rdi + {active}], 1",
        "fxrstor64 [rdi + {fpu}]",
        // For IRETQ: SS, RSP, RFLAGS, CS, RIP.
        "push qword ptr [rdi + {selectors} + 16]",
        "push qword ptr [rdi + {gpr} + 32]",
        "push qword ptr [rdi + {rflags}]",
        "push qword ptr [rdi + {selectors} + 8]",
        "push qword ptr [rdi + {rip}]",
        "mov es, [rdi + {selectors}]",
        "mov ds, [rdi + {selectors} + 24]",
        "mov fs, [rdi + {selectors} + 32]",
        "mov gs, [rdi + {selectors} + 40]",
        "mov rax, [rdi + {bases}]",
        "wrfsbase rax",
        "mov rax, [rdi + {bases} + 8]",
        "wrgsbase rax",
        "mov rax, [rdi + {gpr}]",
        "mov rcx, [rdi + {gpr} + 8]",
        "mov rdx, [rdi + {gpr} + 16]",
        "mov rbx, [rdi + {gpr} + 24]",
        "mov rbp, [rdi + {gpr} + 40]",
        "mov rsi, [rdi + {gpr} + 48]",
        "mov r8, [rdi + {gpr} + 64]",
        "mov r9, [rdi + {gpr} + 72]",
        "mov r10, [rdi + {gpr} + 80]",
        "mov r11, [rdi + {gpr} + 88]",
        "mov r12, [rdi + {gpr} + 96]",
        "mov r13, [rdi + {gpr} + 104]",
        "mov r14, [rdi + {gpr} + 112]",
        "mov r15, [rdi + {gpr} + 120]",
        "mov rdi, [rdi + {gpr} + 56]",
        "iretq",
        "2:",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
        "ret",
        fpu = const offset_of!(Context, fpu),
        gpr = const offset_of!(Context, gpr),
        rip = const offset_of!(Context, rip),
        rflags = const offset_of!(Context, rflags),
        selectors = const offset_of!(Context, selectors),
        bases = const offset_of!(Context, bases),
        host_stack = const offset_of!(Context, host_stack),
        host_fs_base = const offset_of!(Context, host_fs_base),
        leave = const offset_of!(Context, leave),
        active = const offset_of!(Context, active),
    )
}

/// The handler: the signal's frame has neither data segments nor the bases of FS and GS, and Rust needs its own FS.
#[unsafe(naked)]
unsafe extern "C" fn trap(signal: i32, info: *mut libc::siginfo_t, frame: *mut libc::c_void) {
    std::arch::naked_asm!(
        "lea rcx, [rip + {context}]",
        "cmp qword ptr [rcx + {active}], 0",
        "je 2f",
        // Alignment is checked if the instruction set AC.
        "push 2",
        "popfq",
        "rdfsbase rax",
        "mov [rcx + {bases}], rax",
        "rdgsbase rax",
        "mov [rcx + {bases} + 8], rax",
        "mov eax, es",
        "mov [rcx + {selectors}], rax",
        "mov eax, ds",
        "mov [rcx + {selectors} + 24], rax",
        "mov eax, fs",
        "mov [rcx + {selectors} + 32], rax",
        "mov eax, gs",
        "mov [rcx + {selectors} + 40], rax",
        "xor eax, eax",
        "mov es, eax",
        "mov ds, eax",
        "mov fs, eax",
        "mov gs, eax",
        "mov rax, [rcx + {host_fs_base}]",
        "wrfsbase rax",
        "2:",
        "jmp {trapped}",
        context = sym CONTEXT,
        trapped = sym trapped,
        active = const offset_of!(Context, active),
        bases = const offset_of!(Context, bases),
        selectors = const offset_of!(Context, selectors),
        host_fs_base = const offset_of!(Context, host_fs_base),
    )
}

extern "C" fn trapped(signal: i32, _: *mut libc::siginfo_t, frame: *mut libc::c_void) {
    // SAFETY: the kernel passes a frame of its own to write to. If the context is active, this thread made it so in `enter`.
    unsafe {
        let frame = &mut *frame.cast::<libc::ucontext_t>();
        let context = &mut *CONTEXT.0.get();
        if context.active == 0 {
            // Not ours: it happens again without a handler.
            libc::signal(signal, libc::SIG_DFL);
            return;
        }
        context.active = 0;
        let registers = &mut frame.uc_mcontext.gregs;
        let general = [
            libc::REG_RAX,
            libc::REG_RCX,
            libc::REG_RDX,
            libc::REG_RBX,
            libc::REG_RSP,
            libc::REG_RBP,
            libc::REG_RSI,
            libc::REG_RDI,
            libc::REG_R8,
            libc::REG_R9,
            libc::REG_R10,
            libc::REG_R11,
            libc::REG_R12,
            libc::REG_R13,
            libc::REG_R14,
            libc::REG_R15,
        ];
        context.gpr = general.map(|register| registers[register as usize] as u64);
        context.rip = registers[libc::REG_RIP as usize] as u64;
        context.rflags = registers[libc::REG_EFL as usize] as u64;
        context.vector = registers[libc::REG_TRAPNO as usize] as u64;
        context.error = registers[libc::REG_ERR as usize] as u64;
        context.address = registers[libc::REG_CR2 as usize] as u64;
        // CS, GS, FS, SS.
        let selectors = registers[libc::REG_CSGSFS as usize] as u64;
        context.selectors[1] = selectors & 0xffff;
        context.selectors[2] = selectors >> 48;
        context.fpu = frame.uc_mcontext.fpregs.cast::<FpuImage>().read();
        // Floating point starts afresh.
        frame.uc_mcontext.fpregs = ptr::null_mut();
        registers[libc::REG_RIP as usize] = context.leave as i64;
        registers[libc::REG_RSP as usize] = context.host_stack as i64;
        registers[libc::REG_EFL as usize] = 0x202;
        registers[libc::REG_CSGSFS as usize] = 0x002b_0000_0000_0033;
    }
}
