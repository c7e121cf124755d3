//! Lanes that change places: pack, unpack, shuffle, blend, widen, and sums of neighbours.

use crate::fp::lanes::{Lanes, build};
use crate::fp::sse2;
use crate::ops::sse::vectors;

vectors! {
    // Interleaving.
    Punpcklbw(a, b) => sse2::unpacklo_epi8(a, b);
    Punpcklwd(a, b) => sse2::unpacklo_epi16(a, b);
    Punpckldq(a, b) => sse2::unpacklo_epi32(a, b);
    Punpcklqdq(a, b) => sse2::unpacklo_epi64(a, b);
    Punpckhbw(a, b) => sse2::unpackhi_epi8(a, b),
        narrow(a, b, _) => upper(sse2::unpacklo_epi8(a.into(), b.into()));
    Punpckhwd(a, b) => sse2::unpackhi_epi16(a, b),
        narrow(a, b, _) => upper(sse2::unpacklo_epi16(a.into(), b.into()));
    Punpckhdq(a, b) => sse2::unpackhi_epi32(a, b),
        narrow(a, b, _) => upper(sse2::unpacklo_epi32(a.into(), b.into()));
    Punpckhqdq(a, b) => sse2::unpackhi_epi64(a, b);
    Unpcklps(a, b) => sse2::unpacklo_epi32(a, b);
    Unpcklpd(a, b) => sse2::unpacklo_epi64(a, b);
    Unpckhps(a, b) => sse2::unpackhi_epi32(a, b);
    Unpckhpd(a, b) => sse2::unpackhi_epi64(a, b);

    // Narrowing with saturation: the lanes of the first operand, then those of the second.
    Packsswb(a, b) => sse2::packs_epi16(a, b), narrow(a, b, _) => sse2::packs_epi16(pair(a, b), 0) as u64;
    Packuswb(a, b) => sse2::packus_epi16(a, b), narrow(a, b, _) => sse2::packus_epi16(pair(a, b), 0) as u64;
    Packssdw(a, b) => sse2::packs_epi32(a, b), narrow(a, b, _) => sse2::packs_epi32(pair(a, b), 0) as u64;
    Packusdw(a, b) => {
        let (a, b) = (<[i32; 4]>::split(a), <[i32; 4]>::split(b));
        build::<u16, 8>(|i| (if i < 4 { a[i] } else { b[i - 4] }).clamp(0, 0xffff) as u16)
    };

    // Widening.
    Pmovsxbw(_, b) => { let b = <[i8; 16]>::split(b); build::<i16, 8>(|i| i16::from(b[i])) };
    Pmovsxbd(_, b) => { let b = <[i8; 16]>::split(b); build::<i32, 4>(|i| i32::from(b[i])) };
    Pmovsxbq(_, b) => { let b = <[i8; 16]>::split(b); build::<i64, 2>(|i| i64::from(b[i])) };
    Pmovsxwd(_, b) => { let b = <[i16; 8]>::split(b); build::<i32, 4>(|i| i32::from(b[i])) };
    Pmovsxwq(_, b) => { let b = <[i16; 8]>::split(b); build::<i64, 2>(|i| i64::from(b[i])) };
    Pmovsxdq(_, b) => { let b = <[i32; 4]>::split(b); build::<i64, 2>(|i| i64::from(b[i])) };
    Pmovzxbw(_, b) => { let b = <[u8; 16]>::split(b); build::<u16, 8>(|i| u16::from(b[i])) };
    Pmovzxbd(_, b) => { let b = <[u8; 16]>::split(b); build::<u32, 4>(|i| u32::from(b[i])) };
    Pmovzxbq(_, b) => { let b = <[u8; 16]>::split(b); build::<u64, 2>(|i| u64::from(b[i])) };
    Pmovzxwd(_, b) => { let b = <[u16; 8]>::split(b); build::<u32, 4>(|i| u32::from(b[i])) };
    Pmovzxwq(_, b) => { let b = <[u16; 8]>::split(b); build::<u64, 2>(|i| u64::from(b[i])) };
    Pmovzxdq(_, b) => { let b = <[u32; 4]>::split(b); build::<u64, 2>(|i| u64::from(b[i])) };

    // Any order, by the immediate or by the second operand.
    Pshufd(_, b, imm) => { let b = <[u32; 4]>::split(b); build::<u32, 4>(|i| b[select(imm, i)]) };
    Pshuflw(_, b, imm) => b & !(u64::MAX as u128) | u128::from(shuffle_words(b as u64, imm));
    Pshufhw(_, b, imm) => b & u64::MAX as u128 | u128::from(shuffle_words((b >> 64) as u64, imm)) << 64;
    Pshufw(_, b, imm) => u128::from(shuffle_words(b as u64, imm));
    Shufps(a, b, imm) => {
        let (a, b) = (<[u32; 4]>::split(a), <[u32; 4]>::split(b));
        [a[select(imm, 0)], a[select(imm, 1)], b[select(imm, 2)], b[select(imm, 3)]].join()
    };
    Shufpd(a, b, imm) => {
        let (a, b) = (<[u64; 2]>::split(a), <[u64; 2]>::split(b));
        [a[usize::from(imm & 1)], b[usize::from(imm >> 1 & 1)]].join()
    };
    Pshufb(a, b) => shuffle_bytes::<16>(a, b), narrow(a, b, _) => shuffle_bytes::<8>(a.into(), b.into()) as u64;
    Palignr(a, b, imm) => align(a, b, imm), narrow(a, b, imm) => align_narrow(a, b, imm);
    Movshdup(_, b) => { let b = <[u32; 4]>::split(b); [b[1], b[1], b[3], b[3]].join() };
    Movsldup(_, b) => { let b = <[u32; 4]>::split(b); [b[0], b[0], b[2], b[2]].join() };

    // From either, by the immediate.
    Pblendw(a, b, imm) => {
        let (a, b) = (<[u16; 8]>::split(a), <[u16; 8]>::split(b));
        build::<u16, 8>(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] })
    };
    Blendps(a, b, imm) => {
        let (a, b) = (<[u32; 4]>::split(a), <[u32; 4]>::split(b));
        build::<u32, 4>(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] })
    };
    Blendpd(a, b, imm) => {
        let (a, b) = (<[u64; 2]>::split(a), <[u64; 2]>::split(b));
        build::<u64, 2>(|i| if imm >> i & 1 != 0 { b[i] } else { a[i] })
    };

    // Sums and differences of neighbours: those of the first operand, then those of the second.
    Phaddw(a, b) => neighbours16(a, b, i16::wrapping_add), narrow(a, b, _) => neighbours16(pair(a, b), 0, i16::wrapping_add) as u64;
    Phaddsw(a, b) => neighbours16(a, b, i16::saturating_add), narrow(a, b, _) => neighbours16(pair(a, b), 0, i16::saturating_add) as u64;
    Phsubw(a, b) => neighbours16(a, b, i16::wrapping_sub), narrow(a, b, _) => neighbours16(pair(a, b), 0, i16::wrapping_sub) as u64;
    Phsubsw(a, b) => neighbours16(a, b, i16::saturating_sub), narrow(a, b, _) => neighbours16(pair(a, b), 0, i16::saturating_sub) as u64;
    Phaddd(a, b) => neighbours32(a, b, i32::wrapping_add), narrow(a, b, _) => neighbours32(pair(a, b), 0, i32::wrapping_add) as u64;
    Phsubd(a, b) => neighbours32(a, b, i32::wrapping_sub), narrow(a, b, _) => neighbours32(pair(a, b), 0, i32::wrapping_sub) as u64;

    // Distances of four bytes of the second operand from each four in a row of the first.
    Mpsadbw(a, b, imm) => {
        let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
        let (row, four) = (usize::from(imm >> 2 & 1) * 4, usize::from(imm & 3) * 4);
        build::<u16, 8>(|i| (0..4).map(|j| u16::from(a[row + i + j].abs_diff(b[four + j]))).sum())
    };
    // The smallest word and the first place it stands at.
    Phminposuw(_, b) => {
        let smallest = (0u16..).zip(<[u16; 8]>::split(b)).min_by_key(|&(at, lane)| (lane, at));
        smallest.map_or(0, |(at, lane)| u128::from(lane) | u128::from(at) << 16)
    };
}

fn pair(low: u64, high: u64) -> u128 {
    u128::from(low) | u128::from(high) << 64
}

fn upper(register: u128) -> u64 {
    (register >> 64) as u64
}

/// Two bits of an immediate for each lane.
fn select(imm: u8, lane: usize) -> usize {
    usize::from(imm >> (2 * lane) & 3)
}

fn shuffle_words(words: u64, imm: u8) -> u64 {
    (0..4).fold(0, |result, i| result | (words >> (16 * select(imm, i)) & 0xffff) << (16 * i))
}

fn shuffle_bytes<const WIDTH: usize>(a: u128, b: u128) -> u128 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    build::<u8, 16>(|i| if b[i] & 0x80 != 0 { 0 } else { a[usize::from(b[i]) % WIDTH] })
}

/// 16 bytes of the second operand followed by the first, from the byte the immediate says.
fn align(a: u128, b: u128, imm: u8) -> u128 {
    let bits = 8 * u32::from(imm);
    b.unbounded_shr(bits) | if bits < 128 { a.unbounded_shl(128 - bits) } else { a.unbounded_shr(bits - 128) }
}

fn align_narrow(a: u64, b: u64, imm: u8) -> u64 {
    pair(b, a).unbounded_shr(8 * u32::from(imm)) as u64
}

fn neighbours16(a: u128, b: u128, combine: impl Fn(i16, i16) -> i16) -> u128 {
    let (a, b) = (<[i16; 8]>::split(a), <[i16; 8]>::split(b));
    let lanes = |i: usize| if i < 4 { (a[2 * i], a[2 * i + 1]) } else { (b[2 * i - 8], b[2 * i - 7]) };
    build::<i16, 8>(|i| {
        let (even, odd) = lanes(i);
        combine(even, odd)
    })
}

fn neighbours32(a: u128, b: u128, combine: impl Fn(i32, i32) -> i32) -> u128 {
    let (a, b) = (<[i32; 4]>::split(a), <[i32; 4]>::split(b));
    [combine(a[0], a[1]), combine(a[2], a[3]), combine(b[0], b[1]), combine(b[2], b[3])].join()
}
