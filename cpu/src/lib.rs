//! A deterministic software x86-64 processor.
//!
//! [`CpuState`] is everything a processor holds, as plain data. A [`Cpu`] runs it: instructions are decoded once (iced-x86) into
//! blocks of compact operations ([`op::Op`]), kept in a [`BlockCache`] by physical address, and interpreted by [`exec::Exec`].
//! It knows [`ram::GuestRam`] and a [`Bus`]; it knows no device and no clock: virtual time is what the caller says plus a fixed
//! price for each instruction retired, so the same start gives the same end, bit by bit, on any host.
//!
//! Where to find what: `ops/` has one file for each family of instructions, `memory/` the way from a linear address to a byte,
//! `run.rs` the loop around it all.

pub mod apic;
pub mod block_cache;
pub mod bus;
mod control;
pub mod cpuid;
mod decode;
pub mod exec;
pub mod fault;
pub mod flags;
mod fp;
mod interrupts;
pub mod memory;
pub mod mode;
pub mod msr;
pub mod op;
mod ops;
mod privilege;
pub mod registers;
mod run;
mod segmentation;
mod stack;
pub mod state;
#[cfg(test)]
mod test_kernel;
#[cfg(test)]
mod testing;

pub use block_cache::BlockCache;
pub use bus::Bus;
pub use run::{Cpu, Exit, Leave, Slice};
pub use state::CpuState;

/// Virtual nanoseconds that each retired instruction takes. At 1 ns half of a boot would be busy waiting; 4 to 8 is near real
/// hardware with its caches.
pub const NS_PER_INSTRUCTION: u64 = 4;

/// Ticks of the time-stamp counter in a virtual nanosecond: 2 GHz.
pub const TSC_PER_NS: u64 = 2;
