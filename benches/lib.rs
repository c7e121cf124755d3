//! Guest programs without an operating system, for measuring the processor by itself.

mod guest;
pub mod programs;

pub use guest::{Guest, GuestError};
