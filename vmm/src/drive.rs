//! A disk and how it is attached.

use devices::disk::Disk;
use devices::pci::Function;
use devices::pci::nvme::{Nvme, NvmeConfig};
use devices::pci::virtio::{VirtioBlk, VirtioBlkConfig};
use serde::{Deserialize, Serialize};

/// What a driver sees of a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FrontEnd {
    /// virtio-blk on PCI: has flush, but no FUA of its own.
    #[default]
    Virtio,
    /// NVM Express: has flush, FUA and power states.
    Nvme,
}

/// A disk behind its front end.
#[derive(Debug, Clone, PartialEq)]
pub struct Drive {
    /// How it is attached.
    pub front_end: FrontEnd,
    /// What is attached.
    pub disk: Disk,
}

impl Drive {
    /// The function of the PCI bus that goes into this slot, with as many queues as there are processors.
    pub(crate) fn into_function(self, slot: u8, processors: u32) -> Function {
        let queues = processors.min(64) as u16;
        match self.front_end {
            FrontEnd::Virtio => {
                Function::VirtioBlk(VirtioBlk::new(VirtioBlkConfig { slot, queues }, self.disk))
            }
            FrontEnd::Nvme => Function::Nvme(Nvme::new(NvmeConfig { slot, queues }, self.disk)),
        }
    }
}
