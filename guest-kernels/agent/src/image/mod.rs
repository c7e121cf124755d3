//! The image of a sleeping kernel: written by the saver, read by the restorer. The format and its commit protocol are
//! documented in `agent_protocol::image`.

pub mod memory;
pub mod partition;
pub mod stream;
