//! A 128-bit register as an array of lanes, lowest first.
#![allow(unsafe_code)]
#![allow(
    unnecessary_transmutes,
    reason = "bytes have a function of their own, but one way serves all widths"
)]

/// An array that fills a register.
pub(crate) trait Lanes: Copy {
    /// The lanes of a register.
    fn split(register: u128) -> Self;
    /// The register with these lanes.
    fn join(self) -> u128;
}

macro_rules! lanes {
    ($($lane:ty, $count:literal;)*) => {$(
        impl Lanes for [$lane; $count] {
            #[inline(always)]
            fn split(register: u128) -> Self {
                // SAFETY: both are 16 bytes of plain data for which every pattern of bits is a value; a `const` assertion by
                // `transmute` itself keeps the sizes equal. The host is little endian, so that lane 0 is the lowest.
                unsafe { std::mem::transmute(register) }
            }
            #[inline(always)]
            fn join(self) -> u128 {
                // SAFETY: as in `split`.
                unsafe { std::mem::transmute(self) }
            }
        }
    )*};
}

lanes! {
    u8, 16; i8, 16;
    u16, 8; i16, 8;
    u32, 4; i32, 4;
    u64, 2; i64, 2;
}

/// Combines lane by lane; the function's type says how wide and how signed they are.
#[inline(always)]
pub(crate) fn each<T: Copy, U: Copy, const N: usize>(a: u128, b: u128, combine: impl Fn(T, T) -> U) -> u128
where
    [T; N]: Lanes,
    [U; N]: Lanes,
{
    let (a, b) = (<[T; N]>::split(a), <[T; N]>::split(b));
    build(|i| combine(a[i], b[i]))
}

/// Lanes of 8 bits.
#[inline(always)]
pub(crate) fn each8<T: Copy, U: Copy>(a: u128, b: u128, combine: impl Fn(T, T) -> U) -> u128
where
    [T; 16]: Lanes,
    [U; 16]: Lanes,
{
    each(a, b, combine)
}

/// Lanes of 16 bits.
#[inline(always)]
pub(crate) fn each16<T: Copy, U: Copy>(a: u128, b: u128, combine: impl Fn(T, T) -> U) -> u128
where
    [T; 8]: Lanes,
    [U; 8]: Lanes,
{
    each(a, b, combine)
}

/// Lanes of 32 bits.
#[inline(always)]
pub(crate) fn each32<T: Copy, U: Copy>(a: u128, b: u128, combine: impl Fn(T, T) -> U) -> u128
where
    [T; 4]: Lanes,
    [U; 4]: Lanes,
{
    each(a, b, combine)
}

/// Lanes of 64 bits.
#[inline(always)]
pub(crate) fn each64<T: Copy, U: Copy>(a: u128, b: u128, combine: impl Fn(T, T) -> U) -> u128
where
    [T; 2]: Lanes,
    [U; 2]: Lanes,
{
    each(a, b, combine)
}

/// Lane `i` of the result is `make(i)`.
#[inline(always)]
pub(crate) fn build<T: Copy, const N: usize>(make: impl Fn(usize) -> T) -> u128
where
    [T; N]: Lanes,
{
    std::array::from_fn::<T, N, _>(make).join()
}

/// All bits of a lane, or none: what a comparison leaves.
pub(crate) trait Truth {
    /// Type of the result.
    const NONE: Self;
    /// All bits.
    const ALL: Self;
}

macro_rules! truth {
    ($($type:ty)*) => {$(
        impl Truth for $type {
            const NONE: Self = 0;
            const ALL: Self = !0;
        }
    )*};
}
truth!(u8 u16 u32 u64);

/// All bits if so.
#[inline(always)]
pub(crate) fn truth<T: Truth>(holds: bool) -> T {
    if holds { T::ALL } else { T::NONE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lane_zero_is_the_lowest() {
        let register = 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100;
        assert_eq!(<[u8; 16]>::split(register)[15], 15);
        assert_eq!(<[u16; 8]>::split(register)[0], 0x0100);
        assert_eq!(<[u32; 4]>::split(register)[1], 0x0706_0504);
        assert_eq!(<[i64; 2]>::split(register).join(), register);
    }
}
