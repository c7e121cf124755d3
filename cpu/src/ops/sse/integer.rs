//! Packed integers, lane by lane: arithmetic, logic, comparisons, shifts.

use crate::fp::lanes::{each8, each16, each32, each64, truth};
use crate::fp::sse2;
use crate::ops::sse::vectors;

vectors! {
    // Logic. The same bits whatever they stand for.
    Pand(a, b) => a & b;
    Andps(a, b) => a & b;
    Andpd(a, b) => a & b;
    Pandn(a, b) => !a & b;
    Andnps(a, b) => !a & b;
    Andnpd(a, b) => !a & b;
    Por(a, b) => a | b;
    Orps(a, b) => a | b;
    Orpd(a, b) => a | b;
    Pxor(a, b) => a ^ b;
    Xorps(a, b) => a ^ b;
    Xorpd(a, b) => a ^ b;

    // Sums and differences: wrapping, saturating, averaged.
    Paddb(a, b) => sse2::add_epi8(a, b);
    Paddw(a, b) => sse2::add_epi16(a, b);
    Paddd(a, b) => sse2::add_epi32(a, b);
    Paddq(a, b) => sse2::add_epi64(a, b);
    Psubb(a, b) => sse2::sub_epi8(a, b);
    Psubw(a, b) => sse2::sub_epi16(a, b);
    Psubd(a, b) => sse2::sub_epi32(a, b);
    Psubq(a, b) => sse2::sub_epi64(a, b);
    Paddsb(a, b) => sse2::adds_epi8(a, b);
    Paddsw(a, b) => sse2::adds_epi16(a, b);
    Paddusb(a, b) => sse2::adds_epu8(a, b);
    Paddusw(a, b) => sse2::adds_epu16(a, b);
    Psubsb(a, b) => sse2::subs_epi8(a, b);
    Psubsw(a, b) => sse2::subs_epi16(a, b);
    Psubusb(a, b) => sse2::subs_epu8(a, b);
    Psubusw(a, b) => sse2::subs_epu16(a, b);
    Pavgb(a, b) => sse2::avg_epu8(a, b);
    Pavgw(a, b) => sse2::avg_epu16(a, b);

    // Products.
    Pmullw(a, b) => sse2::mullo_epi16(a, b);
    Pmulld(a, b) => each32(a, b, u32::wrapping_mul);
    Pmulhw(a, b) => sse2::mulhi_epi16(a, b);
    Pmulhuw(a, b) => sse2::mulhi_epu16(a, b);
    Pmulhrsw(a, b) => each16(a, b, |a: i16, b: i16| ((((i32::from(a) * i32::from(b)) >> 14) + 1) >> 1) as u16);
    Pmuludq(a, b) => sse2::mul_epu32(a, b);
    Pmuldq(a, b) => each64(a, b, |a: i64, b: i64| i64::from(a as i32) * i64::from(b as i32));
    Pmaddwd(a, b) => sse2::madd_epi16(a, b);
    Pmaddubsw(a, b) => each16(a, b, |a: u16, b: u16| {
        let low = i32::from(a as u8) * i32::from(b as i8);
        let sum = low + i32::from(a >> 8) * i32::from((b >> 8) as i8);
        sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
    });
    Psadbw(a, b) => sse2::sad_epu8(a, b);

    // Signs.
    Pabsb(_, b) => each8(b, b, |b: i8, _| b.unsigned_abs());
    Pabsw(_, b) => each16(b, b, |b: i16, _| b.unsigned_abs());
    Pabsd(_, b) => each32(b, b, |b: i32, _| b.unsigned_abs());
    Psignb(a, b) => each8(a, b, |a: i8, b: i8| a.wrapping_mul(b.signum()));
    Psignw(a, b) => each16(a, b, |a: i16, b: i16| a.wrapping_mul(b.signum()));
    Psignd(a, b) => each32(a, b, |a: i32, b: i32| a.wrapping_mul(b.signum()));

    // Extremes.
    Pminub(a, b) => sse2::min_epu8(a, b);
    Pminuw(a, b) => each16(a, b, u16::min);
    Pminud(a, b) => each32(a, b, u32::min);
    Pminsb(a, b) => each8(a, b, i8::min);
    Pminsw(a, b) => sse2::min_epi16(a, b);
    Pminsd(a, b) => each32(a, b, i32::min);
    Pmaxub(a, b) => sse2::max_epu8(a, b);
    Pmaxuw(a, b) => each16(a, b, u16::max);
    Pmaxud(a, b) => each32(a, b, u32::max);
    Pmaxsb(a, b) => each8(a, b, i8::max);
    Pmaxsw(a, b) => sse2::max_epi16(a, b);
    Pmaxsd(a, b) => each32(a, b, i32::max);

    // Comparisons.
    Pcmpeqb(a, b) => sse2::cmpeq_epi8(a, b);
    Pcmpeqw(a, b) => sse2::cmpeq_epi16(a, b);
    Pcmpeqd(a, b) => sse2::cmpeq_epi32(a, b);
    Pcmpeqq(a, b) => each64(a, b, |a: u64, b: u64| truth::<u64>(a == b));
    Pcmpgtb(a, b) => sse2::cmpgt_epi8(a, b);
    Pcmpgtw(a, b) => sse2::cmpgt_epi16(a, b);
    Pcmpgtd(a, b) => sse2::cmpgt_epi32(a, b);
    Pcmpgtq(a, b) => each64(a, b, |a: i64, b: i64| truth::<u64>(a > b));

    // Shifts, all lanes by the same count: the low 64 bits of the second operand.
    Psllw(a, b) => sse2::sll_epi16(a, b);
    Pslld(a, b) => sse2::sll_epi32(a, b);
    Psllq(a, b) => sse2::sll_epi64(a, b);
    Psrlw(a, b) => sse2::srl_epi16(a, b);
    Psrld(a, b) => sse2::srl_epi32(a, b);
    Psrlq(a, b) => sse2::srl_epi64(a, b);
    Psraw(a, b) => sse2::sra_epi16(a, b);
    Psrad(a, b) => sse2::sra_epi32(a, b);
    Pslldq(a, b) => a.unbounded_shl(8 * count(b));
    Psrldq(a, b) => a.unbounded_shr(8 * count(b));
}

/// A shift count; no lane has as many bits as the largest.
fn count(operand: u128) -> u32 {
    (operand as u64).min(0xff) as u32
}
