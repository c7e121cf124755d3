//! NVM Express over PCI (NVMe Base 1.4, NVM command set): a front end of a [`Disk`] that has FUA and a volatile write cache of its
//! own to announce.
//!
//! Section numbers in this module are those of NVM Express 1.4.

mod admin;
mod command;
mod controller;
mod events;
mod features;
mod function;
mod identify;
mod io;
mod log;
mod prp;
mod queue;
mod registers;
mod status;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::config_space::ConfigSpace;
use super::dma::Segment;
use super::msix::{self, Msix};
use super::timetable::Timetable;
use super::{Bar, BarWidth, Identity, slot_memory};
use crate::VirtualTime;
use crate::disk::{Disk, Kind};
use events::Events;
use features::Features;
use queue::Queues;
use registers::Registers;
use status::Status;

/// A class of device that drivers know; the numbers belong to nobody, so that no quirk of another controller applies.
const IDENTITY: Identity = Identity {
    vendor: 0x1b36,
    device: 0x00f0,
    class: 0x01_08_02,
    revision: 1,
    subsystem_vendor: 0x1af4,
    subsystem: 0x1100,
    interrupt: true,
};
const REGISTERS_BAR: u8 = 0;
const MSIX_BAR: u8 = 2;
/// Registers, and doorbells for 64 pairs of queues and the admin queues.
const REGISTERS_BYTES: u32 = 0x4000;
/// The only namespace.
const NAMESPACE: u32 = 1;
/// A command for all namespaces.
const ALL_NAMESPACES: u32 = 0xffff_ffff;
/// Nanoseconds of an admin command, and of one that is refused.
const ADMIN: u64 = 10_000;

/// What does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NvmeConfig {
    /// Where on the bus: decides the addresses at reset.
    pub slot: u8,
    /// Pairs of I/O queues, 1 to 64: as many as there are processors.
    pub queues: u16,
}

/// How often the driver changed the state of the drive, since the drive's power came on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transitions {
    /// Set Features, Power Management with another state than before.
    pub power_state: u64,
    /// Shutdowns with notice (CC.SHN 01b).
    pub shutdowns: u64,
    /// Abrupt shutdowns (CC.SHN 10b).
    pub abrupt_shutdowns: u64,
}

/// A command that waits for its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    submission: u16,
    identifier: u16,
    work: Work,
}

/// A shutdown that waits for the disk to flush. It needs neither queues nor access to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct ShuttingDown {
    /// None: never.
    due: Option<VirtualTime>,
    request: u64,
}

/// What is done when the time has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Work {
    /// The disk's answer, and where it goes if it is data.
    Disk { request: u64, kind: Kind, into: Vec<Segment> },
    /// All is done: the answer.
    Answer { status: Status, result: u32 },
}

/// What becomes of a command that was fetched.
struct Next {
    /// When it completes. None: never.
    due: Option<VirtualTime>,
    work: Work,
    /// An event says stop.
    stop: bool,
}

impl Next {
    /// All is done already.
    fn answer(status: Status, result: u32, now: VirtualTime) -> Self {
        Self { due: Some(now.after(ADMIN)), work: Work::Answer { status, result }, stop: false }
    }
}

/// The function and its disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Nvme {
    config: NvmeConfig,
    space: ConfigSpace,
    msix: Msix,
    registers: Registers,
    queues: Queues,
    features: Features,
    events: Events,
    pending: Timetable<Pending>,
    shutting_down: Option<ShuttingDown>,
    transitions: Transitions,
    disk: Disk,
}

impl Nvme {
    /// As after a reset of the bus.
    pub fn new(config: NvmeConfig, disk: Disk) -> Self {
        let config = NvmeConfig { queues: config.queues.clamp(1, 64), ..config };
        let (space, msix) = configuration(config);
        Self {
            config,
            space,
            msix,
            registers: Registers::default(),
            queues: Queues::default(),
            features: Features::default(),
            events: Events::default(),
            pending: Timetable::default(),
            shutting_down: None,
            transitions: Transitions::default(),
            disk,
        }
    }

    /// The disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The disk, for the host.
    pub fn disk_mut(&mut self) -> &mut Disk {
        &mut self.disk
    }

    /// What the driver did to the state of the drive.
    pub fn transitions(&self) -> Transitions {
        self.transitions
    }
}

fn configuration(config: NvmeConfig) -> (ConfigSpace, Msix) {
    let address = slot_memory(config.slot);
    let registers = Bar { index: REGISTERS_BAR, width: BarWidth::Bits64, size: REGISTERS_BYTES, address };
    let table = Bar {
        index: MSIX_BAR,
        width: BarWidth::Bits32,
        size: msix::BAR_BYTES,
        address: address + u64::from(REGISTERS_BYTES),
    };
    let mut space = ConfigSpace::new(&IDENTITY, &[registers, table]);
    // Vector 0 is that of the admin queue.
    let msix = Msix::new(&mut space, config.queues + 1, MSIX_BAR);
    (space, msix)
}
