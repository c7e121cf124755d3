//! The one stream of events: what triggers, oracles and reports read.

use serde::{Deserialize, Serialize};

use crate::VirtualTime;
use crate::disk::Extent;

/// Something worth knowing. Events carry ids and times, no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A byte left a UART.
    Serial {
        /// 0 is COM1.
        port: u8,
        /// It.
        byte: u8,
    },
    /// A byte written to the debug port.
    Debug {
        /// It.
        byte: u8,
    },
    /// PM1_CNT written with SLP_EN.
    SleepRegister {
        /// SLP_TYP.
        slp_typ: u8,
    },
    /// A request to a disk went a step further.
    Disk(DiskEvent),
    /// A processor is about to execute an instruction that is watched. The one event that comes before what it tells of.
    Executed {
        /// Which, by the number that who watches gave it.
        point: u16,
    },
    /// The driver of a disk started its front end (virtio: DRIVER_OK, NVMe: CC.EN), which takes requests from then on, or reset it, and
    /// with it every queue and whatever was in flight. What power does to it is said by [`Event::Power`] alone.
    FrontEnd {
        /// Which disk ([`crate::disk::DiskConfig::id`]).
        disk: u8,
        /// Started, not reset.
        started: bool,
    },
    /// The machine is in another power state, and its parts are as that state leaves them.
    Power(PowerEvent),
}

/// A step of a request to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskEvent {
    /// Which disk ([`crate::disk::DiskConfig::id`]).
    pub disk: u8,
    /// Number of the request on that disk since its power came on, from 0.
    pub request: u64,
    /// What is asked.
    pub action: DiskAction,
    /// How far it is.
    pub step: DiskStep,
}

/// What a request asks of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskAction {
    /// Contents.
    Read(Extent),
    /// New contents.
    Write {
        /// Where.
        extent: Extent,
        /// Completed only when durable (force unit access).
        fua: bool,
    },
    /// Make durable what was completed.
    Flush,
    /// These contents are not needed any more. The first extent, if there is any.
    Discard(Extent),
    /// These become zero. The first extent, if there is any.
    WriteZeroes(Extent),
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DiskStep {
    /// The disk took it: from now on a power cut may find it done in part.
    Accepted,
    /// The guest is told that it is done.
    Completed,
    /// The guest is told that it failed.
    Failed,
    /// Nothing of what it changed can be lost to a power cut any more: it survives, or a later version of it does. Of flushes and reads
    /// never. Comes after [`DiskStep::Completed`], or after [`DiskStep::Failed`] of a write that was applied and failed; alone if a
    /// reset of the front end forgot the request.
    Durable,
}

/// What happened to the machine as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerEvent {
    /// Power came on: RAM is as power-on leaves it.
    On,
    /// Sleeps with its RAM (S3).
    Asleep,
    /// Woke from S3.
    Awake,
    /// Off by order (S4, S5).
    Off,
    /// The power failed.
    Cut,
    /// The reset line was pulled.
    Reset,
}

/// When something happened, exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Run time.
    pub time: VirtualTime,
    /// Instructions retired by all processors since power came on; the one that made the access, if one did, is among them.
    pub instructions: u64,
    /// Which processor made the access that led to it. None: the board did it by itself, or the host.
    pub processor: Option<u32>,
}

/// What passes between processors and board: no event, and shown only to observers that ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Traffic {
    /// A port, or an address that is no memory.
    Access {
        /// A port.
        port: bool,
        /// Its number, or the address.
        address: u64,
        /// Bytes.
        size: u8,
        /// Written, not read.
        write: bool,
        /// What was read or written.
        value: u64,
    },
    /// A processor sent a message to others: an IPI.
    Interrupt {
        /// What kind.
        kind: Ipi,
        /// Vector.
        vector: u8,
    },
}

/// What a processor sends to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ipi {
    /// An interrupt.
    Interrupt,
    /// A non-maskable interrupt.
    Nmi,
    /// INIT.
    Init,
    /// Start-up: the vector numbers a page.
    StartUp,
    /// Of no effect here.
    Other,
}

/// Sees events as they happen.
pub trait Observer {
    /// Returns whether a trigger matched: disks and board then do nothing more in this call, and the machine stops before the next
    /// guest instruction.
    fn event(&mut self, at: Moment, event: Event) -> bool;

    /// Whether it wants to see what passes between processors and board. Asked before each access.
    fn wants_traffic(&self) -> bool {
        false
    }

    /// Something passed.
    fn traffic(&mut self, _at: Moment, _traffic: Traffic) {}
}
