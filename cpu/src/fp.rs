//! Numbers: vectors as lanes, floating point as hardware computes it.
//!
//! What IEEE 754 or the manual defines to the last bit runs on the host's own units under the guest's control words
//! ([`host_sse`], [`host_x87`]): the same on every x86-64, and only instructions of its baseline (SSE2) are used. What differs among
//! processors (reciprocal estimates, transcendental functions, the length of a partial remainder) is computed here with integers.

#[cfg(not(target_arch = "x86_64"))]
compile_error!(
    "the processor's arithmetic runs on the host's own units: the host has to be an x86-64 itself"
);

pub(crate) mod elementary;
pub(crate) mod estimate;
pub(crate) mod extended;
pub(crate) mod host_sse;
pub(crate) mod host_x87;
pub(crate) mod lanes;
pub(crate) mod remainder;
pub(crate) mod sse2;
pub(crate) mod wide;
