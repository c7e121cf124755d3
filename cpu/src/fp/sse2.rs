//! Packed integer instructions of the host, of those that every x86-64 has, by the names of their intrinsics. Compilers make vector
//! instructions of lanes of 32 and 64 bits by themselves, but not of shorter ones.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

/// A register as intrinsics take it.
#[inline(always)]
pub(crate) fn to_host(register: u128) -> __m128i {
    // SAFETY: both are 16 bytes of plain data.
    unsafe { std::mem::transmute(register) }
}

/// The inverse.
#[inline(always)]
pub(crate) fn from_host(register: __m128i) -> u128 {
    // SAFETY: both are 16 bytes of plain data.
    unsafe { std::mem::transmute(register) }
}

macro_rules! instructions {
    ($($name:ident $intrinsic:ident;)*) => {$(
        #[inline(always)]
        pub(crate) fn $name(a: u128, b: u128) -> u128 {
            // SAFETY: SSE2 belongs to x86-64.
            from_host(unsafe { $intrinsic(to_host(a), to_host(b)) })
        }
    )*};
}

instructions! {
    add_epi8 _mm_add_epi8;
    add_epi16 _mm_add_epi16;
    add_epi32 _mm_add_epi32;
    add_epi64 _mm_add_epi64;
    adds_epi8 _mm_adds_epi8;
    adds_epu8 _mm_adds_epu8;
    adds_epi16 _mm_adds_epi16;
    adds_epu16 _mm_adds_epu16;
    avg_epu8 _mm_avg_epu8;
    avg_epu16 _mm_avg_epu16;
    cmpeq_epi8 _mm_cmpeq_epi8;
    cmpeq_epi16 _mm_cmpeq_epi16;
    cmpeq_epi32 _mm_cmpeq_epi32;
    cmpgt_epi8 _mm_cmpgt_epi8;
    cmpgt_epi16 _mm_cmpgt_epi16;
    cmpgt_epi32 _mm_cmpgt_epi32;
    madd_epi16 _mm_madd_epi16;
    max_epu8 _mm_max_epu8;
    max_epi16 _mm_max_epi16;
    min_epu8 _mm_min_epu8;
    min_epi16 _mm_min_epi16;
    mul_epu32 _mm_mul_epu32;
    mulhi_epi16 _mm_mulhi_epi16;
    mulhi_epu16 _mm_mulhi_epu16;
    mullo_epi16 _mm_mullo_epi16;
    packs_epi16 _mm_packs_epi16;
    packs_epi32 _mm_packs_epi32;
    packus_epi16 _mm_packus_epi16;
    sad_epu8 _mm_sad_epu8;
    sll_epi16 _mm_sll_epi16;
    sll_epi32 _mm_sll_epi32;
    sll_epi64 _mm_sll_epi64;
    sra_epi16 _mm_sra_epi16;
    sra_epi32 _mm_sra_epi32;
    srl_epi16 _mm_srl_epi16;
    srl_epi32 _mm_srl_epi32;
    srl_epi64 _mm_srl_epi64;
    sub_epi8 _mm_sub_epi8;
    sub_epi16 _mm_sub_epi16;
    sub_epi32 _mm_sub_epi32;
    sub_epi64 _mm_sub_epi64;
    subs_epi8 _mm_subs_epi8;
    subs_epu8 _mm_subs_epu8;
    subs_epi16 _mm_subs_epi16;
    subs_epu16 _mm_subs_epu16;
    unpackhi_epi8 _mm_unpackhi_epi8;
    unpackhi_epi16 _mm_unpackhi_epi16;
    unpackhi_epi32 _mm_unpackhi_epi32;
    unpackhi_epi64 _mm_unpackhi_epi64;
    unpacklo_epi8 _mm_unpacklo_epi8;
    unpacklo_epi16 _mm_unpacklo_epi16;
    unpacklo_epi32 _mm_unpacklo_epi32;
    unpacklo_epi64 _mm_unpacklo_epi64;
}
