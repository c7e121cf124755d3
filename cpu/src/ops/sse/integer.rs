//! Packed integers, lane by lane: arithmetic, logic, comparisons, shifts.

use crate::fp::lanes::{each8, each16, each32, each64, truth};
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
    Paddb(a, b) => each8(a, b, u8::wrapping_add);
    Paddw(a, b) => each16(a, b, u16::wrapping_add);
    Paddd(a, b) => each32(a, b, u32::wrapping_add);
    Paddq(a, b) => each64(a, b, u64::wrapping_add);
    Psubb(a, b) => each8(a, b, u8::wrapping_sub);
    Psubw(a, b) => each16(a, b, u16::wrapping_sub);
    Psubd(a, b) => each32(a, b, u32::wrapping_sub);
    Psubq(a, b) => each64(a, b, u64::wrapping_sub);
    Paddsb(a, b) => each8(a, b, i8::saturating_add);
    Paddsw(a, b) => each16(a, b, i16::saturating_add);
    Paddusb(a, b) => each8(a, b, u8::saturating_add);
    Paddusw(a, b) => each16(a, b, u16::saturating_add);
    Psubsb(a, b) => each8(a, b, i8::saturating_sub);
    Psubsw(a, b) => each16(a, b, i16::saturating_sub);
    Psubusb(a, b) => each8(a, b, u8::saturating_sub);
    Psubusw(a, b) => each16(a, b, u16::saturating_sub);
    Pavgb(a, b) => each8(a, b, |a: u8, b: u8| ((u16::from(a) + u16::from(b) + 1) >> 1) as u8);
    Pavgw(a, b) => each16(a, b, |a: u16, b: u16| ((u32::from(a) + u32::from(b) + 1) >> 1) as u16);

    // Products.
    Pmullw(a, b) => each16(a, b, u16::wrapping_mul);
    Pmulld(a, b) => each32(a, b, u32::wrapping_mul);
    Pmulhw(a, b) => each16(a, b, |a: i16, b: i16| ((i32::from(a) * i32::from(b)) >> 16) as u16);
    Pmulhuw(a, b) => each16(a, b, |a: u16, b: u16| ((u32::from(a) * u32::from(b)) >> 16) as u16);
    Pmulhrsw(a, b) => each16(a, b, |a: i16, b: i16| ((((i32::from(a) * i32::from(b)) >> 14) + 1) >> 1) as u16);
    Pmuludq(a, b) => each64(a, b, |a: u64, b: u64| (a & 0xffff_ffff) * (b & 0xffff_ffff));
    Pmuldq(a, b) => each64(a, b, |a: i64, b: i64| i64::from(a as i32) * i64::from(b as i32));
    Pmaddwd(a, b) => each32(a, b, |a: i32, b: i32| {
        let low = i32::from(a as i16) * i32::from(b as i16);
        low.wrapping_add((a >> 16) * (b >> 16))
    });
    Pmaddubsw(a, b) => each16(a, b, |a: u16, b: u16| {
        let low = i32::from(a as u8) * i32::from(b as i8);
        let sum = low + i32::from(a >> 8) * i32::from((b >> 8) as i8);
        sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
    });
    Psadbw(a, b) => each64(a, b, |a: u64, b: u64| {
        let distance = |(a, b): (u8, u8)| u64::from(a.abs_diff(b));
        a.to_le_bytes().into_iter().zip(b.to_le_bytes()).map(distance).sum::<u64>()
    });

    // Signs.
    Pabsb(_, b) => each8(b, b, |b: i8, _| b.unsigned_abs());
    Pabsw(_, b) => each16(b, b, |b: i16, _| b.unsigned_abs());
    Pabsd(_, b) => each32(b, b, |b: i32, _| b.unsigned_abs());
    Psignb(a, b) => each8(a, b, |a: i8, b: i8| a.wrapping_mul(b.signum()));
    Psignw(a, b) => each16(a, b, |a: i16, b: i16| a.wrapping_mul(b.signum()));
    Psignd(a, b) => each32(a, b, |a: i32, b: i32| a.wrapping_mul(b.signum()));

    // Extremes.
    Pminub(a, b) => each8(a, b, u8::min);
    Pminuw(a, b) => each16(a, b, u16::min);
    Pminud(a, b) => each32(a, b, u32::min);
    Pminsb(a, b) => each8(a, b, i8::min);
    Pminsw(a, b) => each16(a, b, i16::min);
    Pminsd(a, b) => each32(a, b, i32::min);
    Pmaxub(a, b) => each8(a, b, u8::max);
    Pmaxuw(a, b) => each16(a, b, u16::max);
    Pmaxud(a, b) => each32(a, b, u32::max);
    Pmaxsb(a, b) => each8(a, b, i8::max);
    Pmaxsw(a, b) => each16(a, b, i16::max);
    Pmaxsd(a, b) => each32(a, b, i32::max);

    // Comparisons.
    Pcmpeqb(a, b) => each8(a, b, |a: u8, b: u8| truth::<u8>(a == b));
    Pcmpeqw(a, b) => each16(a, b, |a: u16, b: u16| truth::<u16>(a == b));
    Pcmpeqd(a, b) => each32(a, b, |a: u32, b: u32| truth::<u32>(a == b));
    Pcmpeqq(a, b) => each64(a, b, |a: u64, b: u64| truth::<u64>(a == b));
    Pcmpgtb(a, b) => each8(a, b, |a: i8, b: i8| truth::<u8>(a > b));
    Pcmpgtw(a, b) => each16(a, b, |a: i16, b: i16| truth::<u16>(a > b));
    Pcmpgtd(a, b) => each32(a, b, |a: i32, b: i32| truth::<u32>(a > b));
    Pcmpgtq(a, b) => each64(a, b, |a: i64, b: i64| truth::<u64>(a > b));

    // Shifts, all lanes by the same count: the low 64 bits of the second operand.
    Psllw(a, b) => each16(a, a, |a: u16, _| a.unbounded_shl(count(b)));
    Pslld(a, b) => each32(a, a, |a: u32, _| a.unbounded_shl(count(b)));
    Psllq(a, b) => each64(a, a, |a: u64, _| a.unbounded_shl(count(b)));
    Psrlw(a, b) => each16(a, a, |a: u16, _| a.unbounded_shr(count(b)));
    Psrld(a, b) => each32(a, a, |a: u32, _| a.unbounded_shr(count(b)));
    Psrlq(a, b) => each64(a, a, |a: u64, _| a.unbounded_shr(count(b)));
    Psraw(a, b) => each16(a, a, |a: i16, _| a.unbounded_shr(count(b)));
    Psrad(a, b) => each32(a, a, |a: i32, _| a.unbounded_shr(count(b)));
    Pslldq(a, b) => a.unbounded_shl(8 * count(b));
    Psrldq(a, b) => a.unbounded_shr(8 * count(b));
}

/// A shift count; no lane has as many bits as the largest.
fn count(operand: u128) -> u32 {
    (operand as u64).min(0xff) as u32
}
