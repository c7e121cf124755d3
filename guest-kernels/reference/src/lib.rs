//! An independent machine: QEMU in software emulation. It proves that the guest side - kernels, agent, workloads, image -
//! works on a machine that is not ours, so that a failure on ours is ours. Never part of the product.
//!
//! - [`runs`]: the reference runs, one short function for each path.
//! - [`machine`], [`steps`], [`checks`]: the machine they work with, what they are made of, what has to hold.
//! - [`kernels`]: the kernels they boot.
//! - [`qemu`], [`qmp`]: the process and its power switch.
//! - [`disk`], [`filesystem`]: the disk seen and judged from outside.

pub mod checks;
pub mod disk;
pub mod filesystem;
pub mod kernels;
pub mod machine;
pub mod provision;
pub mod qemu;
pub mod qmp;
pub mod report;
pub mod runs;
pub mod steps;
