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
        Mnemonic::Addsubps => handler::<Alternating<Addps, Subps, ODD32>>(form),
        Mnemonic::Addsubpd => handler::<Alternating<Addpd, Subpd, ODD64>>(form),
        _ => return dot::lower(form),
    })
}

/// The even lanes of both operands against the odd ones.
struct Neighbours32<A>(A);

impl<A: Arithmetic> Arithmetic for Neighbours32<A> {
    const LANES: usize = A::LANES;

    fn run(a: u128, b: u128, mxcsr: u32) -> Raised<u128> {
        let (even, odd) = neighbours32(a, b);
        A::run(even, odd, mxcsr)
    }

    fn raised(lane: usize, a: u128, b: u128, mxcsr: u32) -> u32 {
        let (even, odd) = neighbours32(a, b);
        A::raised(lane, even, odd, mxcsr)
    }
}

fn neighbours32(a: u128, b: u128) -> (u128, u128) {
    let (a, b) = (<[u32; 4]>::split(a), <[u32; 4]>::split(b));
    ([a[0], a[2], b[0], b[2]].join(), [a[1], a[3], b[1], b[3]].join())
}

struct Neighbours64<A>(A);

impl<A: Arithmetic> Arithmetic for Neighbours64<A> {
    const LANES: usize = A::LANES;

    fn run(a: u128, b: u128, mxcsr: u32) -> Raised<u128> {
        let (even, odd) = neighbours64(a, b);
        A::run(even, odd, mxcsr)
    }

    fn raised(lane: usize, a: u128, b: u128, mxcsr: u32) -> u32 {
        let (even, odd) = neighbours64(a, b);
        A::raised(lane, even, odd, mxcsr)
    }
}

fn neighbours64(a: u128, b: u128) -> (u128, u128) {
    let (a, b) = (<[u64; 2]>::split(a), <[u64; 2]>::split(b));
    ([a[0], b[0]].join(), [a[1], b[1]].join())
}

/// Adds in the odd lanes and subtracts in the others. `ODD` has all bits of the odd lanes.
struct Alternating<Add, Sub, const ODD: u128>(Add, Sub);

/// Odd lanes of singles.
const ODD32: u128 = 0xffff_ffff_0000_0000_ffff_ffff_0000_0000;
/// The odd lane of doubles.
const ODD64: u128 = 0xffff_ffff_ffff_ffff_0000_0000_0000_0000;

impl<Add: Arithmetic, Sub: Arithmetic, const ODD: u128> Arithmetic for Alternating<Add, Sub, ODD> {
    const LANES: usize = Add::LANES;

    /// Lanes that do not count compute with zeros, which raises nothing.
    fn run(a: u128, b: u128, mxcsr: u32) -> Raised<u128> {
        let (sum, raised_by_sum) = Add::run(a & ODD, b & ODD, mxcsr);
        let (difference, raised) = Sub::run(a & !ODD, b & !ODD, mxcsr);
        (sum & ODD | difference & !ODD, raised | raised_by_sum)
    }

    fn raised(lane: usize, a: u128, b: u128, mxcsr: u32) -> u32 {
        if lane % 2 == 1 { Add::raised(lane, a, b, mxcsr) } else { Sub::raised(lane, a, b, mxcsr) }
    }
}

/// DPPS and DPPD: bits 7:4 of the immediate say which products count, bits 3:0 where the sum goes.
mod dot {
    use super::*;
    use crate::exec::Exec;
    use crate::fault::{Done, Stop};
    use crate::op::Op;
    use crate::ops::sse::source::{Source, by_source};

    pub(super) fn lower(form: &Form<'_>) -> Option<Lowered> {
        within(match form.instruction.mnemonic() {
            Mnemonic::Dpps => by_source!(form, apply, Dpps),
            Mnemonic::Dppd => by_source!(form, apply, Dppd),
            _ => return None,
        })
    }

    trait Dot {
        /// The sum of the products of those lanes that `imm` selects, in the low lane.
        fn sum(exec: &mut Exec<'_>, a: u128, b: u128, imm: u8) -> Result<u128, Stop>;
        /// Copies of the low lane where `imm` says so.
        fn spread(sum: u128, imm: u8) -> u128;
    }

    fn apply<D: Dot, S: Source>(exec: &mut Exec<'_>, op: &Op) -> Done {
        exec.sse_ready()?;
        let b = S::read(exec, op)?;
        let (a, imm) = (exec.xmm(op.dst), op.imm as u8);
        let sum = D::sum(exec, a, b, imm)?;
        exec.set_xmm(op.dst, D::spread(sum, imm));
        Ok(())
    }

    // Each step ends like an instruction of its own: an exception that is not masked keeps the next from being computed (SDM 2,
    // DPPS).

    struct Dpps;

    impl Dot for Dpps {
        fn sum(exec: &mut Exec<'_>, a: u128, b: u128, imm: u8) -> Result<u128, Stop> {
            let counts = build::<u32, 4>(|i| if imm >> (4 + i) & 1 != 0 { u32::MAX } else { 0 });
            let products = exec.arithmetic::<Mulps>(a & counts, b & counts)?;
            let pairs = exec.arithmetic::<Neighbours32<Addps>>(products, products)?;
            exec.arithmetic::<Neighbours32<Addps>>(pairs, pairs)
        }
        fn spread(sum: u128, imm: u8) -> u128 {
            build::<u32, 4>(|i| if imm >> i & 1 != 0 { sum as u32 } else { 0 })
        }
    }

    struct Dppd;

    impl Dot for Dppd {
        fn sum(exec: &mut Exec<'_>, a: u128, b: u128, imm: u8) -> Result<u128, Stop> {
            let counts = build::<u64, 2>(|i| if imm >> (4 + i) & 1 != 0 { u64::MAX } else { 0 });
            let products = exec.arithmetic::<Mulpd>(a & counts, b & counts)?;
            exec.arithmetic::<Neighbours64<Addpd>>(products, products)
        }
        fn spread(sum: u128, imm: u8) -> u128 {
            build::<u64, 2>(|i| if imm >> i & 1 != 0 { sum as u64 } else { 0 })
        }
    }
}
