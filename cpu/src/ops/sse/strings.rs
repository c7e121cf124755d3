//! PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM 2, "Intel SSE4.2 string instructions").

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::flags::RFlags;
use crate::fp::lanes::Lanes;
use crate::op::{Handler, Lowered, Op, within};
use crate::ops::Form;
use crate::ops::sse::source::{Memory, Register, Source};
use crate::registers::Int;
use crate::registers::gpr::{RAX, RCX, RDX};

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Pcmpestri => handler::<Explicit<u32>, Index>(form),
        Mnemonic::Pcmpestri64 => handler::<Explicit<u64>, Index>(form),
        Mnemonic::Pcmpestrm => handler::<Explicit<u32>, Mask>(form),
        Mnemonic::Pcmpestrm64 => handler::<Explicit<u64>, Mask>(form),
        Mnemonic::Pcmpistri => handler::<Implicit, Index>(form),
        Mnemonic::Pcmpistrm => handler::<Implicit, Mask>(form),
        _ => return None,
    })
}

/// The operand in memory need not be aligned.
fn handler<L: Lengths, R: Answer>(form: &Form<'_>) -> Handler {
    if form.is_memory(1) { apply::<L, R, Memory<u128>> } else { apply::<L, R, Register> }
}

fn apply<L: Lengths, R: Answer, S: Source>(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.sse_ready()?;
    let b = S::read(exec, op)?;
    let control = Control(op.imm as u8);
    let all = control.count();
    let (a, b) = (control.elements(exec.xmm(op.dst)), control.elements(b));
    let (a, b) = (&a[..all], &b[..all]);
    let lengths = L::get(exec, a, b);
    let found = control.compare(a, b, lengths);
    let mut flags = RFlags::empty();
    flags.set(RFlags::CF, found != 0);
    flags.set(RFlags::ZF, lengths.1 < all);
    flags.set(RFlags::SF, lengths.0 < all);
    flags.set(RFlags::OF, found & 1 != 0);
    exec.flags.replace(RFlags::STATUS, flags);
    R::put(exec, control, found);
    Ok(())
}

/// How long both strings are, in elements.
trait Lengths {
    fn get(exec: &Exec<'_>, a: &[i32], b: &[i32]) -> (usize, usize);
}

/// In RAX and RDX, as absolute values.
struct Explicit<T>(T);

impl<T: Int> Lengths for Explicit<T> {
    fn get(exec: &Exec<'_>, a: &[i32], b: &[i32]) -> (usize, usize) {
        let length = |register, most: usize| {
            let signed = exec.reg::<T>(register).sext() as i64;
            usize::try_from(signed.unsigned_abs()).map_or(most, |length| length.min(most))
        };
        (length(RAX, a.len()), length(RDX, b.len()))
    }
}

/// Up to the first zero.
struct Implicit;

impl Lengths for Implicit {
    fn get(_: &Exec<'_>, a: &[i32], b: &[i32]) -> (usize, usize) {
        let length =
            |elements: &[i32]| elements.iter().position(|element| *element == 0).unwrap_or(elements.len());
        (length(a), length(b))
    }
}

/// Where the answer goes.
trait Answer {
    fn put(exec: &mut Exec<'_>, control: Control, found: u16);
}

/// To ECX: the number of the first or last element found.
struct Index;

impl Answer for Index {
    fn put(exec: &mut Exec<'_>, control: Control, found: u16) {
        let index = match found {
            0 => control.count() as u32,
            _ if control.0 & 0x40 != 0 => 15 - found.leading_zeros(),
            _ => found.trailing_zeros(),
        };
        exec.set_reg::<u32>(RCX, index);
    }
}

/// To XMM0: a bit or a whole element for each element.
struct Mask;

impl Answer for Mask {
    fn put(exec: &mut Exec<'_>, control: Control, found: u16) {
        let whole = |width: u32| {
            (0..128 / width)
                .filter(|i| found >> i & 1 != 0)
                .fold(0, |mask, i| mask | ((1 << width) - 1) << (i * width))
        };
        let mask = match (control.0 & 0x40 != 0, control.has_words()) {
            (false, _) => u128::from(found),
            (true, false) => whole(8),
            (true, true) => whole(16),
        };
        exec.set_xmm(0, mask);
    }
}

/// The immediate byte.
#[derive(Clone, Copy)]
struct Control(u8);

impl Control {
    fn has_words(self) -> bool {
        self.0 & 1 != 0
    }

    fn is_signed(self) -> bool {
        self.0 & 2 != 0
    }

    fn count(self) -> usize {
        if self.has_words() { 8 } else { 16 }
    }

    /// Elements with the sign they are compared with; 8 or 16 of them count.
    fn elements(self, register: u128) -> [i32; 16] {
        let mut elements = [0; 16];
        if self.has_words() {
            let words = <[u16; 8]>::split(register);
            let signed = |word| if self.is_signed() { i32::from(word as i16) } else { i32::from(word) };
            elements.iter_mut().zip(words).for_each(|(element, word)| *element = signed(word));
        } else {
            let signed = |byte| if self.is_signed() { i32::from(byte as i8) } else { i32::from(byte) };
            elements = register.to_le_bytes().map(signed);
        }
        elements
    }

    /// A bit for each element of `b`, after the polarity was applied (IntRes2).
    fn compare(self, a: &[i32], b: &[i32], lengths: (usize, usize)) -> u16 {
        let (set, string) = (a.get(..lengths.0).unwrap_or(a), b.get(..lengths.1).unwrap_or(b));
        let holds = |at: usize| match self.0 >> 2 & 3 {
            // Equal any.
            0 => string.get(at).is_some_and(|element| set.contains(element)),
            // Ranges: pairs of a lower and an upper bound.
            1 => string
                .get(at)
                .is_some_and(|element| set.chunks_exact(2).any(|pair| (pair[0]..=pair[1]).contains(element))),
            // Equal each; what follows both ends is equal.
            2 => set.get(at) == string.get(at),
            // Equal ordered: `set` begins here. What follows the end of the register is not looked at.
            _ => set.iter().zip(at..b.len()).all(|(element, at)| string.get(at) == Some(element)),
        };
        let found = (0..b.len()).filter(|at| holds(*at)).fold(0u16, |found, at| found | 1 << at);
        let valid = (0..lengths.1).fold(0u16, |valid, at| valid | 1 << at);
        match self.0 >> 4 & 3 {
            1 => found ^ (u16::MAX >> (16 - b.len())),
            3 => found ^ valid,
            _ => found,
        }
    }
}
