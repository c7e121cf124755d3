//! One instruction on the host's own processor: what the interpreter has to agree with.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once};

use iced_x86::code_asm::*;

/// Everything an instruction of floating point or vectors may read or write, before and after.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Block {
    /// Image for FXRSTOR.
    pub before: [u8; 512],
    /// Image of FXSAVE.
    pub after: [u8; 512],
    /// RAX to RDI by number; RSP is left alone.
    pub registers: [u64; 8],
    /// Status flags, on both sides.
    pub flags: u64,
    /// Fills up to a multiple of 64.
    pub padding: [u64; 7],
    /// The memory operand is here.
    pub data: [u8; 256],
}

impl Block {
    /// Nothing in it but what FXRSTOR takes for a unit at rest.
    pub fn new() -> Self {
        let mut block = Self {
            before: [0; 512],
            after: [0; 512],
            registers: [0; 8],
            flags: 0,
            padding: [0; 7],
            data: [0; 256],
        };
        block.set_word(0, 0x37f);
        block.set_mxcsr(0x1f80);
        block
    }

    /// Sets 16 bits of the image.
    pub fn set_word(&mut self, offset: usize, value: u16) {
        self.before[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
    }

    /// Sets MXCSR in the image.
    pub fn set_mxcsr(&mut self, value: u32) {
        self.before[24..28].copy_from_slice(&value.to_le_bytes());
    }

    /// MXCSR of the image.
    pub fn mxcsr(&self) -> u32 {
        u32::from_le_bytes(self.before[24..28].try_into().unwrap())
    }

    /// Sets an XMM register in the image.
    pub fn set_xmm(&mut self, register: usize, value: u128) {
        self.before[160 + 16 * register..][..16].copy_from_slice(&value.to_le_bytes());
    }

    /// Sets ST(i) in the image.
    pub fn set_st(&mut self, register: usize, significand: u64, sign_exponent: u16) {
        let slot = u128::from(significand) | u128::from(sign_exponent) << 64;
        self.before[32 + 16 * register..][..16].copy_from_slice(&slot.to_le_bytes());
    }
}

/// Bytes of the code that runs an instruction.
const PAGE: usize = 4096;
/// Signal that ended the instruction, or 0.
static SIGNAL: AtomicI32 = AtomicI32::new(0);
/// Where to go on after a signal, and from where to where it is expected.
static AFTER: AtomicU64 = AtomicU64::new(0);
static START: AtomicU64 = AtomicU64::new(0);

/// An instruction ready to be run natively. Only one can be at a time: signal handlers belong to the process.
pub struct Native {
    page: *mut u8,
    _alone: MutexGuard<'static, ()>,
}

impl Native {
    /// Prepares these bytes. The instruction must not use RSP or R15, nor branch.
    pub fn new(instruction: &[u8]) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        static HANDLERS: Once = Once::new();
        let alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        HANDLERS.call_once(install_handlers);
        // SAFETY: a new private mapping; nothing else refers to it.
        let page = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
            libc::mmap(std::ptr::null_mut(), PAGE, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        assert_ne!(page, libc::MAP_FAILED, "no memory for code");
        let page = page.cast::<u8>();
        let before = assemble(prologue);
        let after = assemble(epilogue);
        let code = [before.as_slice(), instruction, &after].concat();
        assert!(code.len() <= PAGE);
        // SAFETY: the page has room for the code and is writable.
        unsafe { page.copy_from_nonoverlapping(code.as_ptr(), code.len()) };
        START.store(page as u64, Ordering::SeqCst);
        AFTER.store(page as u64 + (before.len() + instruction.len()) as u64, Ordering::SeqCst);
        Self { page, _alone: alone }
    }

    /// Runs it; the number of the signal it was ended by, or 0.
    pub fn run(&self, block: &mut Block) -> i32 {
        SIGNAL.store(0, Ordering::SeqCst);
        // SAFETY: the page holds a function of this type, which keeps to the calling convention: prologue and epilogue save and
        // restore what it preserves. The instruction in between touches registers and the block only.
        let function: extern "sysv64" fn(*mut Block) = unsafe { std::mem::transmute(self.page) };
        function(block);
        SIGNAL.load(Ordering::SeqCst)
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own and nothing runs in it any more.
        unsafe { libc::munmap(self.page.cast(), PAGE) };
    }
}

fn assemble(code: fn(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>) -> Vec<u8> {
    let mut assembler = CodeAssembler::new(64).unwrap();
    code(&mut assembler).unwrap();
    assembler.assemble(0).unwrap()
}

/// Registers that hold operands; RBX and RDI hold addresses.
fn operands() -> [(AsmRegister64, usize); 7] {
    [(rax, 0), (rcx, 1), (rdx, 2), (rbx, 3), (rbp, 5), (rsi, 6), (rdi, 7)]
}

fn prologue(a: &mut CodeAssembler) -> Result<(), iced_x86::IcedError> {
    for register in [rbx, rbp, r12, r13, r14, r15] {
        a.push(register)?;
    }
    a.mov(r15, rdi)?;
    a.fxrstor64(ptr(r15))?;
    for (register, number) in operands() {
        a.mov(register, qword_ptr(r15 + std::mem::offset_of!(Block, registers) + 8 * number))?;
    }
    a.push(qword_ptr(r15 + std::mem::offset_of!(Block, flags)))?;
    a.popfq()
}

fn epilogue(a: &mut CodeAssembler) -> Result<(), iced_x86::IcedError> {
    a.pushfq()?;
    a.pop(qword_ptr(r15 + std::mem::offset_of!(Block, flags)))?;
    for (register, number) in operands() {
        a.mov(qword_ptr(r15 + std::mem::offset_of!(Block, registers) + 8 * number), register)?;
    }
    a.fxsave64(ptr(r15 + 512))?;
    a.fninit()?;
    // What compiled code expects.
    a.push(0x1f80)?;
    a.ldmxcsr(dword_ptr(rsp))?;
    a.add(rsp, 8)?;
    a.cld()?;
    for register in [r15, r14, r13, r12, rbp, rbx] {
        a.pop(register)?;
    }
    a.ret()
}

fn install_handlers() {
    for signal in [libc::SIGFPE, libc::SIGSEGV, libc::SIGILL, libc::SIGBUS] {
        // SAFETY: `action` is completely initialized; the handler only touches atomics and the context it is given.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

extern "C" fn on_signal(signal: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the third argument is the interrupted context, and nobody else uses it meanwhile.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let rip = &mut context.uc_mcontext.gregs[libc::REG_RIP as usize];
    let start = START.load(Ordering::SeqCst);
    if (start..start + PAGE as u64).contains(&(*rip as u64)) {
        SIGNAL.store(signal, Ordering::SeqCst);
        *rip = AFTER.load(Ordering::SeqCst) as i64;
    } else {
        // Not ours: as if there were no handler.
        // SAFETY: restoring the default action has no preconditions.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}
