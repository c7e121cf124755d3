//! What can sit in a slot.

use serde::{Deserialize, Serialize};

use super::config_space::ConfigSpace;
use super::host_bridge::HostBridge;
use super::nvme::{Nvme, Transitions};
use super::virtio::VirtioBlk;
use crate::disk::Disk;
use crate::{Context, Reset, VirtualTime};

/// A function of the bus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
// Few exist, none is moved after the machine was built.
#[allow(clippy::large_enum_variant)]
pub enum Function {
    /// The bridge to the host.
    HostBridge(HostBridge),
    /// A disk behind virtio.
    VirtioBlk(VirtioBlk),
    /// A disk behind NVM Express.
    Nvme(Nvme),
}

impl Function {
    /// The disk behind it, if it is the front end of one.
    pub fn disk(&self) -> Option<&Disk> {
        match self {
            Self::HostBridge(_) => None,
            Self::VirtioBlk(front_end) => Some(front_end.disk()),
            Self::Nvme(front_end) => Some(front_end.disk()),
        }
    }

    /// The disk behind it, for the host.
    pub fn disk_mut(&mut self) -> Option<&mut Disk> {
        match self {
            Self::HostBridge(_) => None,
            Self::VirtioBlk(front_end) => Some(front_end.disk_mut()),
            Self::Nvme(front_end) => Some(front_end.disk_mut()),
        }
    }

    /// How often its driver changed the power state of the drive. None: it has no power states that a driver could change, as
    /// virtio-blk has none, so that nothing can be claimed about it.
    pub fn transitions(&self) -> Option<Transitions> {
        match self {
            Self::HostBridge(_) | Self::VirtioBlk(_) => None,
            Self::Nvme(front_end) => Some(front_end.transitions()),
        }
    }

    pub(super) fn endpoint(&self) -> &dyn Endpoint {
        match self {
            Self::HostBridge(function) => function,
            Self::VirtioBlk(function) => function,
            Self::Nvme(function) => function,
        }
    }

    pub(super) fn endpoint_mut(&mut self) -> &mut dyn Endpoint {
        match self {
            Self::HostBridge(function) => function,
            Self::VirtioBlk(function) => function,
            Self::Nvme(function) => function,
        }
    }
}

/// What the bus asks of a function. Sizes are 1 to 8 bytes; nothing reaches past the end of a BAR.
pub(super) trait Endpoint {
    fn space(&self) -> &ConfigSpace;

    fn space_mut(&mut self) -> &mut ConfigSpace;

    /// Configuration space and interface are as at power-on. What becomes of a disk depends on what its power did.
    fn reset(&mut self, kind: Reset);

    fn config_read(&mut self, offset: u16, size: u8, _cx: &mut Context<'_>) -> u64 {
        self.space().read(offset, size)
    }

    fn config_write(&mut self, offset: u16, size: u8, value: u64, _cx: &mut Context<'_>) {
        self.space_mut().write(offset, size, value);
    }

    fn memory_read(&mut self, _bar: u8, _offset: u64, _size: u8, _cx: &mut Context<'_>) -> u64 {
        u64::MAX
    }

    fn memory_write(&mut self, _bar: u8, _offset: u64, _size: u8, _value: u64, _cx: &mut Context<'_>) {}

    /// Whether it would drive INTA#.
    fn wants_interrupt(&self) -> bool {
        false
    }

    fn deadline(&self) -> Option<VirtualTime> {
        None
    }

    fn tick(&mut self, _cx: &mut Context<'_>) {}
}

impl Endpoint for HostBridge {
    fn space(&self) -> &ConfigSpace {
        &self.space
    }

    fn space_mut(&mut self) -> &mut ConfigSpace {
        &mut self.space
    }

    fn reset(&mut self, _: Reset) {
        *self = Self::new();
    }
}
