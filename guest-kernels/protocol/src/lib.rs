//! What the host and the guest agent say to each other, and the formats that both sides read.
//!
//! - [`frame`]: one JSON object a line over a serial port, checksummed, so that a lost or garbled line is noticed.
//! - [`message`]: requests, replies and the `ready` announcement.
//! - [`image`]: the on-disk image of a sleeping kernel.
//! - [`journal`]: the numbered records a workload writes with fsync, replayed by the host after a power cut.
//! - [`layout`]: who owns which physical memory, and the kernel command lines that say so.
//! - [`mutant`]: what tests leave out of the agent to see whether it is missed.
//!
//! Nothing here does input or output.

pub mod frame;
pub mod image;
pub mod journal;
pub mod layout;
pub mod message;
pub mod mutant;
