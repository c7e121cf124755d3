//! What happens to a machine, and whether it behaved.

pub mod guest;
pub mod kernel;
pub mod tape;

pub use guest::{Guest, GuestError};
pub use kernel::{Kernel, KernelError};
pub use tape::Tape;
