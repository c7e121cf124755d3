//! The end of a kernel: power off, reboot, panic.

use agent_protocol::message::{Answer, Failure};
use nix::sys::reboot::{RebootMode, reboot};

use crate::failure::{While, failure};
use crate::{disks, text};

/// Ends this kernel in order.
///
/// # Errors
/// Only if it does not end.
pub fn end(mode: RebootMode) -> Result<Answer, Failure> {
    disks::sync()?;
    reboot(mode).while_doing(|| "ending this kernel".into()).map(|never| match never {})
}

/// Panics.
///
/// # Errors
/// Only if the kernel survives.
pub fn crash() -> Result<Answer, Failure> {
    text::write("/proc/sysrq-trigger", "c")?;
    Err(failure("the kernel survived a requested crash"))
}
