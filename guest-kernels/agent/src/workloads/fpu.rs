//! A thread whose values stay in processor registers: xmm0 to xmm15, MXCSR, the x87 stack and its control word.
//!
//! They are loaded once, then the thread spins and sleeps inside the same stretch of machine code, where no compiler can
//! save and reload them; afterwards every register is compared. A kernel that loses the state of the floating-point unit
//! over a sleep or a jump, or restores that of another thread, is caught.
#![allow(unsafe_code)] // machine code: registers cannot be held otherwise

use std::arch::asm;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use agent_protocol::message::Failure;

use super::differences::SharedDifferences;
use super::pattern::Pattern;
use crate::failure::While;

/// Sleeps in a stretch, and `pause` instructions before each.
const SLEEPS: u64 = 4;
const SPINS: u64 = 2000;
const SLEEP_NANOSECONDS: i64 = 60_000_000;

/// Round towards zero, all exceptions masked: not what a reset or a fresh thread has.
const MXCSR: u32 = 0x7f80;
/// The same for x87, with 53-bit precision.
const CONTROL: u16 = 0x0e7f;

/// Registers as FXSAVE stores them.
#[derive(Clone, PartialEq, Eq)]
#[repr(C, align(16))]
struct Registers([u8; 512]);

/// Where FXSAVE puts what must be preserved, by name: offset and length in bytes. The other bytes (last instruction, last
/// operand, tags of the format itself) legally differ.
fn fields() -> impl Iterator<Item = (String, usize, usize)> {
    let fixed = [("x87 control word", 0, 2), ("x87 status word", 2, 2), ("x87 tags", 4, 1), ("MXCSR", 24, 4)];
    fixed
        .into_iter()
        .map(|(name, offset, len)| (name.to_owned(), offset, len))
        .chain((0..8).map(|number| (format!("st{number}"), 32 + 16 * number, 10)))
        .chain((0..16).map(|number| (format!("xmm{number}"), 160 + 16 * number, 16)))
}

impl Registers {
    /// Values that follow from seed and round.
    fn new(seed: u64, round: u64) -> Registers {
        let (mut bytes, mut pattern) = ([0; 512], Pattern::new(seed, [u64::MAX, round]));
        bytes[..2].copy_from_slice(&CONTROL.to_le_bytes());
        bytes[4] = 0xff; // eight valid registers
        bytes[24..28].copy_from_slice(&MXCSR.to_le_bytes());
        for st in bytes[32..160].chunks_exact_mut(16) {
            // A normal number: integer bit set, exponent near that of 1.
            st[..8].copy_from_slice(&(pattern.word() | 1 << 63).to_le_bytes());
            st[8..10].copy_from_slice(&(0x3fff_u16 - (pattern.word() & 0xff) as u16).to_le_bytes());
        }
        pattern.fill(&mut bytes[160..416]);
        Registers(bytes)
    }

    /// The first register that differs.
    fn difference(&self, found: &Registers) -> Option<String> {
        let hex = |bytes: &[u8]| bytes.iter().rev().map(|byte| format!("{byte:02x}")).collect::<String>();
        fields().find_map(|(name, offset, len)| {
            let (expected, found) = (&self.0[offset..offset + len], &found.0[offset..offset + len]);
            (expected != found)
                .then(|| format!("fpu: {name}: expected 0x{}, found 0x{}", hex(expected), hex(found)))
        })
    }
}

/// All the memory a stretch of holding touches, so that one register is enough to address it.
#[repr(C, align(16))]
struct Stretch {
    held: Registers,
    before: Registers,
    after: Registers,
    sleep: libc::timespec,
}

impl Stretch {
    fn new(held: Registers) -> Stretch {
        let sleep = libc::timespec { tv_sec: 0, tv_nsec: SLEEP_NANOSECONDS };
        Stretch { held, before: Registers([0; 512]), after: Registers([0; 512]), sleep }
    }
}

/// Loads `held`, spins and sleeps, stores what is left of it. `$damage` is an instruction for the tests, executed after
/// each sleep; it is empty in production.
macro_rules! hold {
    ($held:expr, $damage:literal) => {{
        let mut stretch = Stretch::new($held);
        // SAFETY: `held` has MXCSR and control word with all exceptions masked and no reserved bit set, so FXRSTOR does not
        // fault and nothing traps later; FXSAVE writes 512 bytes to aligned memory of `stretch`, and nanosleep reads its
        // `sleep`. The operands are in registers that neither the system call nor the clobbered set changes;
        // `clobber_abi` covers all floating-point registers, and the caller's MXCSR and x87 state are put back at the end.
        unsafe {
            asm!(
                "fxsave64 [r12 + {before}]",
                "fxrstor64 [r12 + {held}]",
                "2:",
                "mov r14d, {spins}",
                "3:",
                "pause",
                "dec r14d",
                "jnz 3b",
                "mov eax, {nanosleep}",
                "lea rdi, [r12 + {sleep}]",
                "xor esi, esi",
                "syscall",
                $damage,
                "dec r13d",
                "jnz 2b",
                "fxsave64 [r12 + {after}]",
                "fxrstor64 [r12 + {before}]",
                before = const std::mem::offset_of!(Stretch, before),
                held = const std::mem::offset_of!(Stretch, held),
                after = const std::mem::offset_of!(Stretch, after),
                sleep = const std::mem::offset_of!(Stretch, sleep),
                spins = const SPINS,
                nanosleep = const libc::SYS_nanosleep,
                in("r12") &raw mut stretch,
                inout("r13") SLEEPS => _,
                out("r14") _,
                clobber_abi("sysv64"),
            );
        }
        stretch.held.difference(&stretch.after)
    }};
}

/// Holds registers for one stretch (about a quarter of a second) and says which one changed.
fn hold(held: Registers) -> Option<String> {
    hold!(held, "")
}

/// The thread.
#[derive(Debug)]
pub struct FpuThread {
    rounds: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FpuThread {
    /// Starts it; what it finds goes to `found`.
    ///
    /// # Errors
    /// If the thread does not start.
    pub fn start(seed: u64, found: SharedDifferences) -> Result<FpuThread, Failure> {
        FpuThread::start_with(seed, found, hold)
    }

    fn start_with(
        seed: u64,
        found: SharedDifferences,
        hold: fn(Registers) -> Option<String>,
    ) -> Result<FpuThread, Failure> {
        let (rounds, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, stopped) = (Arc::clone(&rounds), Arc::clone(&stop));
        let body = move || {
            while !stopped.load(Ordering::SeqCst) {
                if let Some(difference) = hold(Registers::new(seed, counter.load(Ordering::SeqCst))) {
                    found.add(difference);
                }
                counter.fetch_add(1, Ordering::SeqCst);
            }
        };
        let thread = std::thread::Builder::new().name("fpu".into()).spawn(body);
        let thread = thread.while_doing(|| "starting the thread that holds registers".into())?;
        Ok(FpuThread { rounds, stop, thread: Some(thread) })
    }

    /// Stretches held so far.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::SeqCst)
    }
}

impl Drop for FpuThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::differences::Differences;

    #[test]
    fn registers_are_held() {
        for round in 0..3 {
            assert_eq!(hold(Registers::new(3, round)), None);
        }
    }

    #[test]
    fn the_callers_rounding_is_put_back() {
        hold(Registers::new(3, 0));
        assert_eq!(std::hint::black_box(2.0_f64) / std::hint::black_box(3.0), 0.666_666_666_666_666_6);
        assert_eq!(std::hint::black_box(1.0_f64) / std::hint::black_box(-3.0), -0.333_333_333_333_333_3);
    }

    #[test]
    fn every_lost_register_is_named() {
        let held = || Registers::new(3, 0);
        let names = |text: Option<String>| text.unwrap().split(": ").nth(1).unwrap().to_owned();
        assert_eq!(names(hold!(held(), "pxor xmm0, xmm0")), "xmm0");
        assert_eq!(names(hold!(held(), "pxor xmm15, xmm15")), "xmm15");
        assert_eq!(names(hold!(held(), "fninit")), "x87 control word");
        assert_eq!(names(hold!(held(), "fincstp")), "x87 status word");
        assert_eq!(names(hold!(held(), "ffree st(7)")), "x87 tags");
        assert_eq!(names(hold!(held(), "fstp st(0)\nfld1")), "st0");
    }

    fn reset_mxcsr(held: Registers) -> Option<String> {
        hold!(held, "push 0x1f80\nldmxcsr [rsp]\nlea rsp, [rsp + 8]")
    }

    #[test]
    fn the_thread_reports_a_reset_mxcsr() {
        let (shared, mut found) = (SharedDifferences::default(), Differences::default());
        let thread = FpuThread::start_with(1, shared.clone(), reset_mxcsr).unwrap();
        while thread.rounds() == 0 {
            std::thread::yield_now();
        }
        drop(thread);
        shared.move_to(&mut found);
        assert_eq!(found.take()[0], "fpu: MXCSR: expected 0x00007f80, found 0x00001f80");
    }
}
