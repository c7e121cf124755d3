//! Errors as the host reads them: what was tried, what went wrong, the errno behind it.

use agent_protocol::message::Failure;
use nix::errno::Errno;

/// A failure without a system call behind it.
pub fn failure(text: impl Into<String>) -> Failure {
    Failure { errno: None, text: text.into() }
}

/// A failure with an errno that the kernel did not give but a caller understands.
pub fn failure_with(errno: Errno, text: impl Into<String>) -> Failure {
    Failure { errno: Some(errno as i32), text: text.into() }
}

/// Says what was being done when an error came.
pub trait While<T> {
    /// `doing` completes the sentence "while ...".
    fn while_doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> While<T> for std::io::Result<T> {
    fn while_doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            errno: error.raw_os_error(),
            text: format!("while {}: {error}", doing()),
        })
    }
}

impl<T> While<T> for nix::Result<T> {
    fn while_doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|errno| Failure {
            errno: Some(errno as i32),
            text: format!("while {}: {}", doing(), errno.desc()),
        })
    }
}

impl<T> While<T> for Result<T, agent_protocol::image::ImageError> {
    fn while_doing(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| failure(format!("while {}: {error}", doing())))
    }
}
