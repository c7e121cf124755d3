//! virtio-blk (5.2): a front end of a [`Disk`].

use serde::{Deserialize, Serialize};

use super::common::Effect;
use super::request::{
    self, ID_BYTES, MAX_RANGE_SECTORS, MAX_RANGES, SEG_MAX, SIZE_MAX, Status, Terms, Wanted,
};
use super::ring::RingError;
use super::transport::{EVENT_INDEX, Isr, Transport};
use super::{MSIX_BAR, REGISTERS_BAR, Structure, capabilities};
use crate::disk::{Completion, Disk, SECTOR};
use crate::pci::dma::{Segment, scatter, total};
use crate::pci::function::Endpoint;
use crate::pci::timetable::Timetable;
use crate::pci::{ConfigSpace, Identity};
use crate::{Context, Event, Reset, VirtualTime, register};

/// Features (5.2.3).
mod feature {
    pub const SIZE_MAX: u64 = 1 << 1;
    pub const SEG_MAX: u64 = 1 << 2;
    pub const READ_ONLY: u64 = 1 << 5;
    pub const BLOCK_SIZE: u64 = 1 << 6;
    pub const FLUSH: u64 = 1 << 9;
    pub const TOPOLOGY: u64 = 1 << 10;
    pub const CONFIG_WRITE_CACHE: u64 = 1 << 11;
    pub const MULTIQUEUE: u64 = 1 << 12;
    pub const DISCARD: u64 = 1 << 13;
    pub const WRITE_ZEROES: u64 = 1 << 14;
}

const IDENTITY: Identity = Identity {
    vendor: 0x1af4,
    // 0x1040 and the device type (4.1.2.1).
    device: 0x1042,
    class: 0x01_00_00,
    revision: 1,
    subsystem_vendor: 0x1af4,
    subsystem: 0x1100,
    interrupt: true,
};

/// Entries of a queue: room for a header, [`SEG_MAX`] segments and a status.
const QUEUE_SIZE: u16 = 128;
/// Nanoseconds a request takes that never reaches the disk.
const REFUSAL: u64 = 5_000;
/// Physical blocks are 2^3 sectors.
const PHYSICAL_BLOCK_EXPONENT: u8 = 3;
/// Of the device configuration structure.
const CONFIGURATION_BYTES: u32 = 60;
/// Where in it the driver chooses between write-back (1) and write-through (0).
const WRITE_BACK: u64 = 32;

/// What does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtioBlkConfig {
    /// Where on the bus: decides the addresses at reset.
    pub slot: u8,
    /// Request queues, 1 to 64: as many as there are processors.
    pub queues: u16,
}

/// A request that waits for its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    queue: u16,
    head: u16,
    writable: Vec<Segment>,
    work: Work,
}

/// What is done when the time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Work {
    Disk { request: u64 },
    SerialNumber,
    Refuse(Status),
}

/// The function and its disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VirtioBlk {
    config: VirtioBlkConfig,
    transport: Transport,
    /// What the driver wrote to the writeback field, if anything.
    write_back: Option<bool>,
    pending: Timetable<Pending>,
    disk: Disk,
}

/// What is announced is what the disk does: a volatile write cache exactly if there is one.
fn transport(config: VirtioBlkConfig, disk: &Disk) -> Transport {
    let disk = disk.config();
    let when = |is: bool, features: u64| if is { features } else { 0 };
    let features = feature::SIZE_MAX
        | feature::SEG_MAX
        | feature::BLOCK_SIZE
        | feature::TOPOLOGY
        | feature::MULTIQUEUE
        | when(disk.has_cache(), feature::FLUSH | feature::CONFIG_WRITE_CACHE)
        | when(disk.read_only, feature::READ_ONLY)
        | when(!disk.read_only, feature::WRITE_ZEROES)
        | when(!disk.read_only && disk.discard, feature::DISCARD);
    Transport::new(&IDENTITY, config.slot, CONFIGURATION_BYTES, features, config.queues, QUEUE_SIZE)
}

impl VirtioBlk {
    /// As after a reset of the bus.
    pub fn new(config: VirtioBlkConfig, disk: Disk) -> Self {
        let config = VirtioBlkConfig { queues: config.queues.clamp(1, 64), ..config };
        let transport = transport(config, &disk);
        let mut new = Self { config, transport, write_back: None, pending: Timetable::default(), disk };
        new.follow_cache_mode();
        new
    }

    /// The disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The disk, for the host.
    pub fn disk_mut(&mut self) -> &mut Disk {
        &mut self.disk
    }

    fn forget_requests(&mut self) {
        self.write_back = None;
        for pending in self.pending.take_all() {
            if let Work::Disk { request } = pending.work {
                self.disk.abandon(request);
            }
        }
    }

    /// The device configuration structure (5.2.4).
    fn configuration(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(CONFIGURATION_BYTES as usize);
        block.extend(self.disk.sectors().to_le_bytes());
        block.extend(SIZE_MAX.to_le_bytes());
        block.extend(SEG_MAX.to_le_bytes());
        // No geometry.
        block.extend([0; 4]);
        block.extend((SECTOR as u32).to_le_bytes());
        let physical_sectors = 1u16 << PHYSICAL_BLOCK_EXPONENT;
        block.extend([PHYSICAL_BLOCK_EXPONENT, 0]);
        block.extend(physical_sectors.to_le_bytes());
        // No optimal size of a request.
        block.extend([0; 4]);
        block.extend([u8::from(self.disk.config().has_cache() && self.is_write_back()), 0]);
        block.extend(self.config.queues.to_le_bytes());
        let alignment = u32::from(physical_sectors);
        for limit in [MAX_RANGE_SECTORS, MAX_RANGES, alignment, MAX_RANGE_SECTORS, MAX_RANGES] {
            block.extend(limit.to_le_bytes());
        }
        // Whether writing zeros may discard.
        block.extend([u8::from(self.disk.config().discard), 0, 0, 0]);
        block
    }

    /// The writeback field. Without FLUSH, a driver that can choose finds write-through (5.2.5.2).
    fn is_write_back(&self) -> bool {
        let can_choose = self.transport.has(feature::CONFIG_WRITE_CACHE);
        self.write_back.unwrap_or(!can_choose || self.transport.has(feature::FLUSH))
    }

    /// Whether a write may complete before it is durable. It may not if the driver can neither flush nor choose, nor if it chose
    /// write-through all the time between submission and completion (5.2.6.2). Writes completed before that choice still need a flush.
    fn is_cache_on(&self) -> bool {
        let can_choose = self.transport.has(feature::CONFIG_WRITE_CACHE);
        (can_choose || self.transport.has(feature::FLUSH)) && self.is_write_back()
    }

    fn follow_cache_mode(&mut self) {
        self.disk.set_write_cache(self.is_cache_on());
    }

    fn terms(&self) -> Terms {
        Terms {
            discard: self.transport.has(feature::DISCARD),
            write_zeroes: self.transport.has(feature::WRITE_ZEROES),
        }
    }

    /// Does all that can be done now, until an event says stop.
    fn run(&mut self, cx: &mut Context<'_>) {
        if self.disk.advance(cx) {
            return;
        }
        let done = if self.transport.is_live() {
            self.complete_due(cx).and_then(|_| self.accept(cx))
        } else {
            Ok(())
        };
        if let Err(Halt::Broken(why)) = done {
            self.transport.fail(&why, cx);
        }
    }

    fn accept(&mut self, cx: &mut Context<'_>) -> Result<(), Halt> {
        let (terms, event_index) = (self.terms(), self.transport.has(EVENT_INDEX));
        for queue in 0..self.config.queues {
            while let Some(ring) =
                self.transport.rings.get_mut(usize::from(queue)).filter(|ring| ring.notified)
            {
                let Some(chain) = ring.take(event_index, cx.ram)? else { continue };
                let mut stop = false;
                let (due, work) = match request::parse(&chain, terms, cx.ram)? {
                    Wanted::Disk(command) => {
                        let ticket = self.disk.accept(command, cx);
                        stop = ticket.stop;
                        (ticket.due, Work::Disk { request: ticket.request })
                    }
                    Wanted::SerialNumber => (Some(cx.now.after(REFUSAL)), Work::SerialNumber),
                    Wanted::Refused(status) => (Some(cx.now.after(REFUSAL)), Work::Refuse(status)),
                };
                let pending = Pending { queue, head: chain.head, writable: chain.writable, work };
                self.pending.insert(due, pending);
                if stop {
                    return Err(Halt::Stop);
                }
            }
        }
        Ok(())
    }

    fn complete_due(&mut self, cx: &mut Context<'_>) -> Result<(), Halt> {
        while let Some(pending) = self.pending.take_due(cx.now) {
            let (status, data, stop) = match pending.work {
                Work::Refuse(status) => (status, Vec::new(), false),
                Work::SerialNumber => (Status::Ok, self.serial_number(), false),
                Work::Disk { request } => {
                    let Completion { result, stop } = self.disk.complete(request, cx);
                    let (status, data) =
                        result.map_or((Status::Error, Vec::new()), |data| (Status::Ok, data));
                    (status, data, stop)
                }
            };
            self.answer(&pending, status, &data, cx)?;
            if stop {
                return Err(Halt::Stop);
            }
        }
        Ok(())
    }

    fn serial_number(&self) -> Vec<u8> {
        let mut serial = self.disk.config().serial().into_bytes();
        serial.resize(ID_BYTES, 0);
        serial
    }

    /// Data, then the status in the last byte (5.2.6), then the used ring.
    fn answer(
        &mut self,
        pending: &Pending,
        status: Status,
        data: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), RingError> {
        let Some(room) = total(&pending.writable).checked_sub(1) else { return Err(RingError::BrokenChain) };
        let data = data.get(..usize::try_from(room).unwrap_or(usize::MAX)).unwrap_or(data);
        let status = match scatter(&pending.writable, 0, data, cx.ram) {
            Ok(()) => status,
            Err(_) => Status::Error,
        };
        scatter(&pending.writable, room, &[status as u8], cx.ram)?;
        // Bytes written from the start on, without a gap (2.7.8.2).
        let written = if data.len() as u64 == room { room + 1 } else { data.len() as u64 };
        let written = if status == Status::Ok || room == 0 { written as u32 } else { 0 };
        let event_index = self.transport.has(EVENT_INDEX);
        let Some(ring) = self.transport.rings.get_mut(usize::from(pending.queue)) else { return Ok(()) };
        if ring.give_back(pending.head, written, event_index, cx.ram)? {
            self.transport.interrupt_queue(pending.queue, cx);
        }
        Ok(())
    }

    fn register_read(&mut self, offset: u64, size: u8) -> u64 {
        match Structure::at(offset) {
            Some((Structure::Common, offset)) => self.transport.common_read(offset, size),
            Some((Structure::Device, offset)) => register::of_block(&self.configuration(), offset, size),
            Some((Structure::Isr, 0)) => {
                std::mem::replace(&mut self.transport.isr, Isr::empty()).bits().into()
            }
            Some((Structure::Isr | Structure::Notify, _)) | None => 0,
        }
    }

    /// Returns whether an event said stop.
    fn register_write(&mut self, offset: u64, size: u8, value: u64, cx: &mut Context<'_>) -> bool {
        match Structure::at(offset) {
            Some((Structure::Common, offset)) => {
                let ran = self.transport.is_started();
                let effect = self.transport.common_write(offset, size, value, cx);
                if effect == Effect::Reset {
                    self.forget_requests();
                }
                let started = self.transport.is_started();
                if ran != started {
                    return cx.emit(Event::FrontEnd { disk: self.disk.config().id, started });
                }
            }
            Some((Structure::Device, WRITE_BACK)) if self.transport.has(feature::CONFIG_WRITE_CACHE) => {
                self.write_back = Some(value & 1 != 0);
            }
            Some((Structure::Notify, offset)) => {
                let queue = offset / u64::from(capabilities::NOTIFY_MULTIPLIER);
                if let Some(ring) = self.transport.rings.get_mut(queue as usize).filter(|ring| ring.enabled) {
                    ring.notified = true;
                }
            }
            _ => {}
        }
        false
    }
}

/// Why a function does nothing more for now.
enum Halt {
    /// A trigger matched.
    Stop,
    /// The driver broke a queue.
    Broken(RingError),
}

impl From<RingError> for Halt {
    fn from(why: RingError) -> Self {
        Self::Broken(why)
    }
}

impl Endpoint for VirtioBlk {
    fn space(&self) -> &ConfigSpace {
        &self.transport.space
    }

    fn space_mut(&mut self) -> &mut ConfigSpace {
        &mut self.transport.space
    }

    fn reset(&mut self, kind: Reset) {
        self.forget_requests();
        self.disk.reset(kind);
        self.transport = transport(self.config, &self.disk);
        self.follow_cache_mode();
    }

    fn config_read(&mut self, offset: u16, size: u8, cx: &mut Context<'_>) -> u64 {
        let window = self.transport.window;
        if let Some(piece) = window.reached(&self.transport.space, offset, size) {
            let shown = self.memory_read(piece.bar, piece.offset, piece.size, cx);
            self.transport.space.write(window.data(), piece.size, shown);
        }
        self.transport.space.read(offset, size)
    }

    fn config_write(&mut self, offset: u16, size: u8, value: u64, cx: &mut Context<'_>) {
        self.transport.space.write(offset, size, value);
        let window = self.transport.window;
        if let Some(piece) = window.reached(&self.transport.space, offset, size) {
            let shown = self.transport.space.read(window.data(), piece.size);
            self.memory_write(piece.bar, piece.offset, piece.size, shown, cx);
        }
        // MSI-X may be unmasked now, and memory accessible.
        self.transport.msix.deliver(&self.transport.space, cx);
        self.run(cx);
    }

    fn memory_read(&mut self, bar: u8, offset: u64, size: u8, _cx: &mut Context<'_>) -> u64 {
        match bar {
            MSIX_BAR => self.transport.msix.read(offset, size),
            REGISTERS_BAR => self.register_read(offset, size),
            _ => u64::MAX,
        }
    }

    fn memory_write(&mut self, bar: u8, offset: u64, size: u8, value: u64, cx: &mut Context<'_>) {
        match bar {
            MSIX_BAR => self.transport.msix.write(offset, size, value, &self.transport.space, cx),
            REGISTERS_BAR => {
                let stop = self.register_write(offset, size, value, cx);
                self.follow_cache_mode();
                if !stop {
                    self.run(cx);
                }
            }
            _ => {}
        }
    }

    fn wants_interrupt(&self) -> bool {
        self.transport.wants_interrupt()
    }

    fn deadline(&self) -> Option<VirtualTime> {
        let front_end = if !self.transport.is_live() {
            None
        } else if self.transport.rings.iter().any(|ring| ring.notified) {
            // An event stopped the machine in the middle.
            Some(VirtualTime::default())
        } else {
            self.pending.next()
        };
        front_end.into_iter().chain(self.disk.deadline()).min()
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        self.run(cx);
    }
}
