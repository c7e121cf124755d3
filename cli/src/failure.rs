//! Which exit code an error has.

use std::process::ExitCode;

use guest_kernels::build::BuildError;
use guest_kernels::cache::CacheError;
use guest_kernels::catalogue::UnknownKernel;
use guest_kernels::compile::CompileError;
use guest_kernels::source::SourceError;
use guest_kernels::stock::StockError;

/// Why a command ended without doing what was asked.
#[derive(Debug)]
pub struct Failure {
    /// What to say.
    pub message: String,
    /// Whose fault it is.
    pub code: Code,
    /// Shown instead of the message, where there is more to show than words.
    pub report: Option<miette::Report>,
}

/// Exit codes beside success; 1 says that a check failed, which is no failure of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// What was asked for makes no sense.
    Arguments = 2,
    /// The host lacks something: a tool, a package, room.
    Host = 3,
    /// Our own fault.
    Ours = 4,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

impl Failure {
    /// A failure with a message.
    pub fn new(code: Code, message: impl ToString) -> Self {
        Self { message: message.to_string(), code, report: None }
    }

    /// Says it on standard error.
    pub fn say(&self) {
        // Every message of ours is complete with its cause, so the chain of causes would say it twice.
        match &self.report {
            Some(report) => eprintln!("{report:?}"),
            None => eprintln!("{:?}", miette::Report::msg(self.message.clone())),
        }
    }
}

impl From<UnknownKernel> for Failure {
    fn from(error: UnknownKernel) -> Self {
        Self::new(Code::Arguments, error)
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        let code = match error {
            CacheError::Name(_) => Code::Arguments,
            CacheError::NoHome | CacheError::Io { .. } => Code::Host,
        };
        Self::new(code, error)
    }
}

impl Failure {
    /// A kernel that could not be built. `given`: whether its sources or its configuration were the user's.
    pub fn of_build(error: BuildError, given: bool) -> Self {
        let code = match &error {
            BuildError::Unknown(_) | BuildError::Stock(_) | BuildError::NoVariant(_) => Code::Arguments,
            BuildError::Cache(CacheError::Name(_)) => Code::Arguments,
            BuildError::Source(SourceError::NotATree { .. }) => Code::Arguments,
            BuildError::Source(SourceError::Io { .. } | SourceError::Unpack { .. }) if given => {
                Code::Arguments
            }
            BuildError::Host(_) | BuildError::Source(_) | BuildError::Cache(_) => Code::Host,
            BuildError::Compile { source: CompileError::Ended { .. }, .. } => Code::Host,
            BuildError::Compile { .. } | BuildError::Patch { .. } if given => Code::Arguments,
            BuildError::Config(_) | BuildError::Compile { .. } | BuildError::Patch { .. } => Code::Ours,
        };
        Self::new(code, error)
    }

    /// A kernel that could not be fetched. `given`: whether the package was a file of the user's.
    pub fn of_fetch(error: StockError, given: bool) -> Self {
        let code = match &error {
            StockError::Cache(CacheError::Name(_)) => Code::Arguments,
            StockError::Cache(_) | StockError::Host(_) | StockError::Apt(_) | StockError::Io { .. } => {
                Code::Host
            }
            _ if given => Code::Arguments,
            StockError::Deb(_) => Code::Host,
            // A package of the distribution that we do not understand.
            _ => Code::Ours,
        };
        Self::new(code, error)
    }
}
