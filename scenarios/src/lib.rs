//! What happens to a machine, and whether it behaved.

pub mod checks;
pub mod compare;
pub mod expected;
pub mod explore;
pub mod guest;
pub mod history;
pub mod image;
pub mod kernel;
pub mod kernels;
pub mod lab;
pub mod language;
pub mod report;
pub mod repro;
pub mod run;
pub mod tape;
pub mod witness;

pub use guest::{Guest, GuestError};
pub use history::History;
pub use kernel::{Kernel, KernelError};
pub use language::Scenario;
pub use report::{Report, Verdict};
pub use tape::Tape;
pub use witness::Witness;
