//! An independent machine: QEMU in software emulation. It proves that the guest side - kernels, agent, workloads, image -
//! works on a machine that is not ours, so that a failure on ours is ours. Never part of the product.
//!
//! - [`runs`]: the reference runs, one short function for each path.
//! - [`machine`], [`setup`]: the machine they work with; [`steps`], [`sleeps`]: what they are made of; [`checks`]: what has to hold.
//! - [`boot_cost`]: what the boots cost, in instructions.
//! - [`kernels`], [`provision`]: the kernels they boot, and where they come from.
//! - [`qemu`], [`qmp`]: the process and its power switch.
//! - [`disk`], [`filesystem`], [`write_log`]: the disk seen and judged from outside.

pub mod boot_cost;
pub mod checks;
pub mod disk;
pub mod error;
pub mod filesystem;
pub mod kernels;
pub mod machine;
pub mod provision;
pub mod qemu;
pub mod qmp;
pub mod report;
pub mod runs;
pub mod setup;
pub mod sleeps;
pub mod steps;
pub mod write_log;
