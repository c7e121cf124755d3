//! Slot 0: the bridge to the host. It has nothing to control; it is there because guests look for it.

use serde::{Deserialize, Serialize};

use super::config_space::{ConfigSpace, Identity};

/// A bridge that no driver or quirk of Linux knows, so that none expects a chipset behind it.
const IDENTITY: Identity = Identity {
    vendor: 0x1b36,
    device: 0x0008,
    class: 0x06_00_00,
    revision: 0,
    subsystem_vendor: 0x1af4,
    subsystem: 0x1100,
    interrupt: false,
};

/// The host bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostBridge {
    pub(super) space: ConfigSpace,
}

impl HostBridge {
    /// At reset.
    pub fn new() -> Self {
        Self { space: ConfigSpace::new(&IDENTITY, &[]) }
    }
}

impl Default for HostBridge {
    fn default() -> Self {
        Self::new()
    }
}
