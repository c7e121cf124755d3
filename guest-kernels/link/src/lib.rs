//! The host's side of the agent protocol.
//!
//! - [`conversation`]: what to say and what to make of what arrives. Neither clock nor input nor output, so that a
//!   machine with virtual time can drive it as well as a blocking socket.
//! - [`link`]: drives a conversation over a blocking stream, with timeouts.
//! - [`filesystem`]: judges what the agent's ext4 workload left on a disk.
//!
//! Whatever the line does to the bytes, a request is executed at most once, and an answer is the answer to the question
//! that was asked, in the session that was asked.

pub mod conversation;
pub mod filesystem;
pub mod link;

pub use conversation::{Conversation, Event};
pub use link::{Departure, Link, LinkError, Patience};
