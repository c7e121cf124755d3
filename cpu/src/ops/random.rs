//! RDRAND, RDSEED: from the seed, so that a run can be repeated.

use iced_x86::Mnemonic;

use crate::exec::Exec;
use crate::fault::Done;
use crate::flags::RFlags;
use crate::op::{Lowered, Op, within};
use crate::ops::Form;
use crate::registers::Int;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    if !matches!(form.instruction.mnemonic(), Mnemonic::Rdrand | Mnemonic::Rdseed) {
        return None;
    }
    within(match form.bytes() {
        2 => draw::<u16>,
        4 => draw::<u32>,
        _ => draw::<u64>,
    })
}

/// There is always a number: CF is set and the other status flags are cleared.
fn draw<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    let number = next(&mut exec.state.random);
    exec.set_reg(op.dst, T::of(number));
    exec.flags.replace(RFlags::STATUS, RFlags::CF);
    Ok(())
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): every state leads to another number, and
/// any seed will do.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Guest;
    use iced_x86::code_asm::*;

    #[test]
    fn numbers_are_those_of_the_published_generator() {
        let mut state = 1_234_567;
        let numbers: Vec<u64> = (0..3).map(|_| next(&mut state)).collect();
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn the_seed_decides_and_the_state_moves_on() {
        let draw = |seed| {
            let mut guest = Guest::long(|a| {
                a.rdrand(rax)?;
                a.rdseed(ecx)?;
                a.rdrand(dx)
            });
            guest.cpu.state.random = seed;
            guest.run_through().clone()
        };
        let state = draw(1_234_567);
        assert_eq!(state.gpr[0], 6_457_827_717_110_365_317);
        assert_eq!(state.gpr[1], 3_203_168_211_198_807_973 & 0xffff_ffff);
        assert_eq!(state.rflags & 0x8d5, 1);
        assert_eq!(state, draw(1_234_567));
        assert_ne!(state.gpr[0], draw(1_234_568).gpr[0]);
    }
}
