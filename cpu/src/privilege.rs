//! Who may execute what.

use crate::exec::Exec;
use crate::fault::{Done, Fault};
use crate::state::Cr4;

impl Exec<'_> {
    /// For instructions of privilege level 0.
    ///
    /// # Errors
    /// #GP(0) elsewhere.
    pub(crate) fn require_supervisor(&mut self) -> Done {
        if self.state.cpl() == 0 { Ok(()) } else { Err(self.raise(Fault::GP0)) }
    }

    /// For instructions that real mode does not have.
    ///
    /// # Errors
    /// #UD there.
    pub(crate) fn require_protected(&mut self) -> Done {
        if self.state.is_protected() { Ok(()) } else { Err(self.raise(Fault::UD)) }
    }

    /// For instructions that tell where system tables are (SDM 3A 2.5, CR4.UMIP).
    ///
    /// # Errors
    /// #GP(0) if user mode may not use them.
    pub(crate) fn require_umip(&mut self) -> Done {
        if self.state.cr4.contains(Cr4::UMIP) { self.require_supervisor() } else { Ok(()) }
    }

    /// For instructions that depend on IOPL.
    ///
    /// # Errors
    /// #GP(0) if the privilege level is above it.
    pub(crate) fn require_iopl(&mut self) -> Done {
        if self.state.cpl() <= self.iopl() { Ok(()) } else { Err(self.raise(Fault::GP0)) }
    }

    /// I/O privilege level.
    pub(crate) fn iopl(&self) -> u8 {
        (self.flags.system().bits() >> 12 & 3) as u8
    }
}
