//! The driver.

use crate::bench::Bench;
use crate::disk::{Disk, DiskConfig, Media};
use crate::pci::virtio::{VirtioBlk, VirtioBlkConfig};
use crate::pci::{Bus, ECAM, Function};
use crate::{Device, DiskStep};

pub(super) const SLOT: u8 = 3;
pub(super) const DISK: u8 = 7;
pub(super) const SECTORS: u64 = 2048;
/// Where the driver keeps things in memory.
pub(super) const DESCRIPTORS: u64 = 0x1_0000;
pub(super) const AVAILABLE: u64 = 0x1_2000;
pub(super) const USED: u64 = 0x1_3000;
pub(super) const HEADERS: u64 = 0x2_0000;
pub(super) const STATUSES: u64 = 0x2_8000;
pub(super) const DATA: u64 = 0x4_0000;

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;
pub(super) const INDIRECT: u16 = 4;

pub(super) const IN: u32 = 0;
pub(super) const OUT: u32 = 1;
pub(super) const FLUSH: u32 = 4;
pub(super) const GET_ID: u32 = 8;
pub(super) const DISCARD: u32 = 11;
pub(super) const WRITE_ZEROES: u32 = 13;

pub(super) struct Driver {
    pub bench: Bench,
    pub bus: Bus,
    /// BAR offsets of common, notify, isr and device structures, by capability type.
    structures: [u64; 5],
    multiplier: u64,
    /// All accesses to the common structure, if somebody wants to know.
    pub trace: Option<Vec<String>>,
    next_head: u16,
    available: u16,
    seen: u16,
}

/// A descriptor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptor {
    pub address: u64,
    pub length: u32,
    pub flags: u16,
    pub next: u16,
}

impl Driver {
    pub(super) fn new(media: Media, read_only: bool) -> Self {
        Self::with(media, DiskConfig { read_only, ..DiskConfig::default() })
    }

    pub(super) fn with(media: Media, config: DiskConfig) -> Self {
        let serial = Some("kjvm-0123456789-abcdefgh".into());
        let disk = Disk::new(DiskConfig { id: DISK, serial, ..config }, media).unwrap();
        let front_end = VirtioBlk::new(VirtioBlkConfig { slot: SLOT, queues: 2 }, disk);
        let mut bus = Bus::new();
        bus.insert(SLOT, Function::VirtioBlk(front_end)).unwrap();
        let mut driver = Self {
            bench: Bench::with_memory(4 << 20),
            bus,
            structures: [0; 5],
            multiplier: 0,
            trace: None,
            next_head: 0,
            available: 0,
            seen: 0,
        };
        driver.find_structures();
        driver
    }

    /// Ready to send requests, by MSI-X: vector 0 for the configuration, 1 for queue 0, the messages being 0x40 and 0x41.
    pub(super) fn ready(media: Media, read_only: bool, features: u64) -> Self {
        Self::new(media, read_only).started(features)
    }

    /// The same with a blank disk of this configuration.
    pub(super) fn ready_with(config: DiskConfig, features: u64) -> Self {
        Self::with(Media::blank(SECTORS * 512).unwrap(), config).started(features)
    }

    fn started(mut self, features: u64) -> Self {
        let driver = &mut self;
        driver.enable_msix();
        driver.negotiate(features);
        driver.common_write(0x10, 2, 0);
        driver.set_queue_up(0, 1);
        driver.common_write(0x14, 1, 0xf);
        self
    }

    pub(super) fn blank(features: u64) -> Self {
        Self::ready(Media::blank(SECTORS * 512).unwrap(), false, features)
    }

    pub(super) fn config_read(&mut self, offset: u64, size: u8) -> u64 {
        self.bus.read(ECAM + (u64::from(SLOT) << 15) + offset, size, &mut self.bench.cx())
    }

    pub(super) fn config_write(&mut self, offset: u64, size: u8, value: u64) {
        self.bus.write(ECAM + (u64::from(SLOT) << 15) + offset, size, value, &mut self.bench.cx());
    }

    /// Offsets of the capabilities with this identifier.
    pub(super) fn capabilities(&mut self, identifier: u64) -> Vec<u64> {
        let mut found = Vec::new();
        let mut at = self.config_read(0x34, 1);
        while at != 0 {
            if self.config_read(at, 1) == identifier {
                found.push(at);
            }
            at = self.config_read(at + 1, 1);
        }
        found
    }

    fn find_structures(&mut self) {
        for at in self.capabilities(9) {
            let kind = self.config_read(at + 3, 1) as usize;
            let bar = self.config_read(at + 4, 1);
            let address = (self.config_read(0x10 + 4 * bar, 4) & !0xf) + self.config_read(at + 8, 4);
            if let Some(structure) = self.structures.get_mut(kind) {
                *structure = address;
            }
            if kind == 2 {
                self.multiplier = self.config_read(at + 16, 4);
            }
        }
    }

    pub(super) fn common_read(&mut self, offset: u64, size: u8) -> u64 {
        let value = self.bus.read(self.structures[1] + offset, size, &mut self.bench.cx());
        if let Some(trace) = &mut self.trace {
            trace.push(format!("read  {offset:02x}.{size} = {value:x}"));
        }
        value
    }

    pub(super) fn common_write(&mut self, offset: u64, size: u8, value: u64) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("write {offset:02x}.{size} = {value:x}"));
        }
        self.bus.write(self.structures[1] + offset, size, value, &mut self.bench.cx());
    }

    pub(super) fn isr(&mut self) -> u64 {
        self.bus.read(self.structures[3], 1, &mut self.bench.cx())
    }

    pub(super) fn device_read(&mut self, offset: u64, size: u8) -> u64 {
        self.bus.read(self.structures[4] + offset, size, &mut self.bench.cx())
    }

    pub(super) fn device_write(&mut self, offset: u64, size: u8, value: u64) {
        self.bus.write(self.structures[4] + offset, size, value, &mut self.bench.cx());
    }

    pub(super) fn status(&mut self) -> u64 {
        self.common_read(0x14, 1)
    }

    pub(super) fn enable_msix(&mut self) {
        let capability = self.capabilities(0x11)[0];
        let bar = self.config_read(0x14, 4);
        for vector in 0..3 {
            let entry = bar + 16 * vector;
            for (offset, value) in [(0, 0xfee0_0000), (4, 0), (8, 0x40 + vector), (12, 0)] {
                self.bus.write(entry + offset, 4, value, &mut self.bench.cx());
            }
        }
        self.config_write(capability + 2, 2, 0x8000);
    }

    /// Reset to FEATURES_OK with these features and VERSION_1.
    pub(super) fn negotiate(&mut self, features: u64) {
        self.common_write(0x14, 1, 0);
        assert_eq!(self.status(), 0);
        self.common_write(0x14, 1, 1);
        self.common_write(0x14, 1, 3);
        for (select, half) in [(0, features & 0xffff_ffff), (1, features >> 32 | 1)] {
            self.common_write(0x08, 4, select);
            self.common_write(0x0c, 4, half);
        }
        self.common_write(0x14, 1, 0xb);
        assert_eq!(self.status(), 0xb);
    }

    pub(super) fn set_queue_up(&mut self, queue: u64, vector: u64) {
        self.common_write(0x16, 2, queue);
        for (offset, value) in [(0x20, DESCRIPTORS), (0x28, AVAILABLE), (0x30, USED)] {
            self.common_write(offset, 4, value & 0xffff_ffff);
            self.common_write(offset + 4, 4, value >> 32);
        }
        self.common_write(0x1a, 2, vector);
        self.common_write(0x1c, 2, 1);
    }

    pub(super) fn put(&self, address: u64, bytes: &[u8]) {
        self.bench.ram.write(address, bytes).unwrap();
    }

    pub(super) fn get<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.bench.ram.read(address, &mut bytes).unwrap();
        bytes
    }

    pub(super) fn describe(&self, table: u64, index: u16, descriptor: Descriptor) {
        let mut bytes = Vec::new();
        bytes.extend(descriptor.address.to_le_bytes());
        bytes.extend(descriptor.length.to_le_bytes());
        bytes.extend(descriptor.flags.to_le_bytes());
        bytes.extend(descriptor.next.to_le_bytes());
        self.put(table + 16 * u64::from(index), &bytes);
    }

    /// A chain of buffers (address, length, written by the device) in the table from this index on.
    pub(super) fn chain(&self, table: u64, first: u16, buffers: &[(u64, u32, bool)]) {
        for (index, (address, length, write)) in (first..).zip(buffers) {
            let last = usize::from(index - first) + 1 == buffers.len();
            let flags = if *write { WRITE } else { 0 } | if last { 0 } else { NEXT };
            self.describe(
                table,
                index,
                Descriptor { address: *address, length: *length, flags, next: index + 1 },
            );
        }
    }

    /// The header of a request; its status byte is poisoned.
    pub(super) fn header(&self, number: u16, kind: u32, sector: u64) -> (u64, u64) {
        let (header, status) = (HEADERS + 16 * u64::from(number), STATUSES + u64::from(number));
        self.put(header, &kind.to_le_bytes());
        self.put(header + 4, &[0; 4]);
        self.put(header + 8, &sector.to_le_bytes());
        self.put(status, &[0xaa]);
        (header, status)
    }

    /// Makes a chain available without notifying.
    pub(super) fn offer(&mut self, head: u16) {
        self.put(AVAILABLE + 4 + 2 * u64::from(self.available % 128), &head.to_le_bytes());
        self.available = self.available.wrapping_add(1);
        self.put(AVAILABLE + 2, &self.available.to_le_bytes());
    }

    pub(super) fn notify(&mut self) {
        let offset = self.common_read(0x1e, 2) * self.multiplier;
        self.bus.write(self.structures[2] + offset, 2, 0, &mut self.bench.cx());
    }

    /// Sends a request with these data buffers and returns its head.
    pub(super) fn send(&mut self, kind: u32, sector: u64, data: &[(u64, u32, bool)]) -> u16 {
        let head = self.prepare(kind, sector, data);
        self.offer(head);
        self.notify();
        head
    }

    pub(super) fn prepare(&mut self, kind: u32, sector: u64, data: &[(u64, u32, bool)]) -> u16 {
        let head = self.next_head;
        let (header, status) = self.header(head, kind, sector);
        let mut buffers = vec![(header, 16, false)];
        buffers.extend(data);
        buffers.push((status, 1, true));
        self.chain(DESCRIPTORS, head, &buffers);
        self.next_head = (head + buffers.len() as u16) % 96;
        head
    }

    /// The status of a request, 0xaa if there is none yet.
    pub(super) fn outcome(&self, head: u16) -> u8 {
        self.get::<1>(STATUSES + u64::from(head))[0]
    }

    /// What came into the used ring since the last call: head and length.
    pub(super) fn used(&mut self) -> Vec<(u32, u32)> {
        let end = u16::from_le_bytes(self.get(USED + 2));
        let mut used = Vec::new();
        while self.seen != end {
            let element: [u8; 8] = self.get(USED + 4 + 8 * u64::from(self.seen % 128));
            let half = |at: usize| u32::from_le_bytes(element[at..at + 4].try_into().unwrap());
            used.push((half(0), half(4)));
            self.seen = self.seen.wrapping_add(1);
        }
        used
    }

    /// Goes to the next deadline.
    pub(super) fn step(&mut self) {
        assert!(self.bench.step(&mut self.bus), "there is none");
    }

    /// Lets everything finish.
    pub(super) fn finish(&mut self) {
        self.bench.settle(&mut self.bus);
    }

    /// A whole request: its status, and what the used ring says.
    pub(super) fn request(&mut self, kind: u32, sector: u64, data: &[(u64, u32, bool)]) -> (u8, u32) {
        let head = self.send(kind, sector, data);
        assert_eq!(self.outcome(head), 0xaa, "completed without taking time");
        self.finish();
        let used = self.used();
        assert_eq!(used.len(), 1);
        assert_eq!(used[0].0, u32::from(head));
        (self.outcome(head), used[0].1)
    }

    pub(super) fn events(&mut self) -> Vec<(u64, DiskStep)> {
        self.bench.events.take_disk_steps()
    }

    /// Data of the messages sent since the last call.
    pub(super) fn messages(&mut self) -> Vec<u32> {
        self.bench.messages.drain(..).map(|message| message.data).collect()
    }

    pub(super) fn disk(&self) -> &Disk {
        self.bus.disks().next().unwrap()
    }
}
