//! Floating-point sums and differences of neighbours, alternating ones, and dot products (SSE3, SSE4.1): made of the vertical
//! instructions that every x86-64 has.

use iced_x86::Mnemonic;

use crate::fp::host_sse::{Addpd, Addps, Arithmetic, Mulpd, Mulps, Raised, Subpd, Subps};
use crate::fp::lanes::{Lanes, build};
use crate::op::{Lowered, within};
use crate::ops::Form;
use crate::ops::sse::arithmetic::handler;

/// The handler for an instruction of this family.
pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
    within(match form.instruction.mnemonic() {
        Mnemonic::Haddps => handler::<Neighbours32<Addps>>(form),
        Mnemonic::Hsubps => handler::<Neighbours32<Subps>>(form),
        Mnemonic::Haddpd => handler::<Neighbours64<Addpd>>(form),
        Mnemonic::Hsubpd => handler::<Neighbours64<Subpd>>(form),
        Mnemonic::Addsubps => handler::<Addsubps>(form),
        Mnemonic::Addsubpd => handler::<Addsubpd>(form),
        _ => return dot::lower(form),
    })
}

struct Neighbours32<A>(A);

impl<A: Arithmetic> Arithmetic for Neighbours32<A> {
    fn run(a: u128, b: u128, mxcsr: u32) -> Raised<u128> {
        let (a, b) = (<[u32; 4]>::split(a), <[u32; 4]>::split(b));
        A::run([a[0], a[2], b[0], b[2]].join(), [a[1], a[3], b[1], b[3]].join(), mxcsr)
    }
}

struct Neighbours64<A>(A);

impl<A: Arithmetic> Arithmetic for Neighbours64<A> {
    fn run(a: u128, b: u128, mxcsr: u32) -> Raised<u128> {
        let (a, b) = (<[u64; 2]>::split(a), <[u64; 2]>::split(b));
        A::run([a[0], b[0]].join(), [a[1], b[1]].join(), mxcsr)
    }
}

/// Odd lanes of singles.
const ODD32: u128 = 0xffff_ffff_0000_0000_ffff_ffff_0000_0000;
/// The odd lane of doubles.
const ODD64: u128 = 0xffff_ffff_ffff_ffff_0000_0000_0000_0000;

/// Adds in the odd lanes and subtracts in the others. Lanes that do not count compute with zeros, which raises nothing.
fn alternating<Add: Arithmetic, Sub: Arithmetic>(odd: u128, a: u128, b: u128, mxcsr: u32) -> Raised<u128> {
    let (sum, raised_by_sum) = Add::run(a & odd, b & odd, mxcsr);
    let (difference, raised) = Sub::run(a & !odd, b & !odd, mxcsr);
    (sum & odd | difference & !odd, raised | raised_by_sum)
}

struct Addsubps;

impl Arithmetic for Addsubps {
    fn run(a: u128, b: u128, mxcsr: u32) -> Raised<u128> {
        alternating::<Addps, Subps>(ODD32, a, b, mxcsr)
    }
}

struct Addsubpd;

impl Arithmetic for Addsubpd {
    fn run(a: u128, b: u128, mxcsr: u32) -> Raised<u128> {
        alternating::<Addpd, Subpd>(ODD64, a, b, mxcsr)
    }
}

/// DPPS and DPPD: bits 7:4 of the immediate say which products count, bits 3:0 where the sum goes.
mod dot {
    use super::*;
    use crate::exec::Exec;
    use crate::fault::Done;
    use crate::op::Op;

    pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
        within(match (form.instruction.mnemonic(), form.is_memory(1)) {
            (Mnemonic::Dpps, false) => register::<Dpps>,
            (Mnemonic::Dpps, true) => memory::<Dpps>,
            (Mnemonic::Dppd, false) => register::<Dppd>,
            (Mnemonic::Dppd, true) => memory::<Dppd>,
            _ => return None,
        })
    }

    trait Dot {
        fn product(a: u128, b: u128, imm: u8, mxcsr: u32) -> Raised<u128>;
        fn sum(products: u128, mxcsr: u32) -> Raised<u128>;
        fn spread(sum: u128, imm: u8) -> u128;
    }

    fn register<D: Dot>(exec: &mut Exec<'_>, op: &Op) -> Done {
        exec.sse_ready()?;
        let b = exec.xmm(op.src);
        apply::<D>(exec, op, b)
    }

    fn memory<D: Dot>(exec: &mut Exec<'_>, op: &Op) -> Done {
        exec.sse_ready()?;
        let b = exec.load_aligned(op)?;
        apply::<D>(exec, op, b)
    }

    /// Each step ends like an instruction of its own: an exception that is not masked keeps the next from being computed (SDM 2,
    /// DPPS).
    fn apply<D: Dot>(exec: &mut Exec<'_>, op: &Op, b: u128) -> Done {
        let (a, imm) = (exec.xmm(op.dst), op.imm as u8);
        let products = exec.compute(|mxcsr| D::product(a, b, imm, mxcsr))?;
        let sum = exec.compute(|mxcsr| D::sum(products, mxcsr))?;
        exec.set_xmm(op.dst, D::spread(sum, imm));
        Ok(())
    }

    struct Dpps;

    impl Dot for Dpps {
        fn product(a: u128, b: u128, imm: u8, mxcsr: u32) -> Raised<u128> {
            let counts = build::<u32, 4>(|i| if imm >> (4 + i) & 1 != 0 { u32::MAX } else { 0 });
            Mulps::run(a & counts, b & counts, mxcsr)
        }
        fn sum(products: u128, mxcsr: u32) -> Raised<u128> {
            let (pairs, raised) = Neighbours32::<Addps>::run(products, products, mxcsr);
            let (sum, also_raised) = Neighbours32::<Addps>::run(pairs, pairs, mxcsr);
            (sum, raised | also_raised)
        }
        fn spread(sum: u128, imm: u8) -> u128 {
            build::<u32, 4>(|i| if imm >> i & 1 != 0 { sum as u32 } else { 0 })
        }
    }

    struct Dppd;

    impl Dot for Dppd {
        fn product(a: u128, b: u128, imm: u8, mxcsr: u32) -> Raised<u128> {
            let counts = build::<u64, 2>(|i| if imm >> (4 + i) & 1 != 0 { u64::MAX } else { 0 });
            Mulpd::run(a & counts, b & counts, mxcsr)
        }
        fn sum(products: u128, mxcsr: u32) -> Raised<u128> {
            Neighbours64::<Addpd>::run(products, products, mxcsr)
        }
        fn spread(sum: u128, imm: u8) -> u128 {
            build::<u64, 2>(|i| if imm >> i & 1 != 0 { sum as u64 } else { 0 })
        }
    }
}
