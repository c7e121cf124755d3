//! The driver.

use crate::bench::Bench;
use crate::disk::{Disk, DiskConfig, Media};
use crate::pci::nvme::{Nvme, NvmeConfig, Transitions};
use crate::pci::{Bus, ECAM, Function, slot_memory};
use crate::{Device, DiskStep};

pub(super) const SLOT: u8 = 4;
pub(super) const DISK: u8 = 2;
pub(super) const SECTORS: u64 = 8192;
const REGISTERS: u64 = slot_memory(SLOT);
/// Where queue n has its commands and its answers.
pub(super) const SUBMISSION: u64 = 0x1_0000;
pub(super) const COMPLETION: u64 = 0x2_0000;
pub(super) const DATA: u64 = 0x10_0000;
pub(super) const LIST: u64 = 0x4_0000;
/// Entries of all queues.
pub(super) const ENTRIES: u32 = 16;

/// A command; what is not named is 0.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Request {
    pub opcode: u8,
    pub form: u8,
    pub namespace: u32,
    pub prp: [u64; 2],
    /// Doublewords 10 to 13.
    pub words: [u32; 4],
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub result: u32,
    pub identifier: u16,
    /// Status code and its type.
    pub status: u16,
}

#[derive(Debug, Clone, Copy, Default)]
struct Position {
    tail: u32,
    head: u32,
    identifier: u16,
}

pub(super) struct Driver {
    pub bench: Bench,
    pub bus: Bus,
    positions: [Position; 3],
}

impl Driver {
    /// A controller that was never started.
    pub(super) fn new(media: Media, read_only: bool) -> Self {
        Self::with(media, DiskConfig { read_only, ..DiskConfig::default() })
    }

    pub(super) fn with(media: Media, config: DiskConfig) -> Self {
        let disk = Disk::new(DiskConfig { id: DISK, ..config }, media).unwrap();
        let front_end = Nvme::new(NvmeConfig { slot: SLOT, queues: 2 }, disk);
        let mut bus = Bus::new();
        bus.insert(SLOT, Function::Nvme(front_end)).unwrap();
        Self { bench: Bench::with_memory(4 << 20), bus, positions: Default::default() }
    }

    /// Started, with queue 1 for I/O, by MSI-X: vector n is message 0x50 + n.
    pub(super) fn ready(media: Media, read_only: bool) -> Self {
        Self::new(media, read_only).started()
    }

    /// The same with a blank disk of this configuration.
    pub(super) fn ready_with(config: DiskConfig) -> Self {
        Self::with(Media::blank(SECTORS * 512).unwrap(), config).started()
    }

    fn started(mut self) -> Self {
        self.enable_msix();
        self.enable();
        self.create_queues(1);
        self.bench.messages.clear();
        self
    }

    pub(super) fn blank() -> Self {
        Self::ready(Media::blank(SECTORS * 512).unwrap(), false)
    }

    pub(super) fn config_write(&mut self, offset: u64, size: u8, value: u64) {
        self.bus.write(ECAM + (u64::from(SLOT) << 15) + offset, size, value, &mut self.bench.cx());
    }

    pub(super) fn read(&mut self, offset: u64, size: u8) -> u64 {
        self.bus.read(REGISTERS + offset, size, &mut self.bench.cx())
    }

    pub(super) fn write(&mut self, offset: u64, size: u8, value: u64) {
        self.bus.write(REGISTERS + offset, size, value, &mut self.bench.cx());
    }

    pub(super) fn enable_msix(&mut self) {
        for vector in 0..3 {
            for (offset, value) in [(0, 0xfee0_0000), (4, 0), (8, 0x50 + vector), (12, 0)] {
                self.write(0x4000 + 16 * vector + offset, 4, value);
            }
        }
        self.config_write(0x42, 2, 0x8000);
    }

    pub(super) fn enable(&mut self) {
        self.write(0x24, 4, u64::from((ENTRIES - 1) << 16 | (ENTRIES - 1)));
        self.write(0x28, 8, SUBMISSION);
        self.write(0x30, 8, COMPLETION);
        self.write(0x14, 4, 0x0046_0001);
        assert_eq!(self.read(0x1c, 4), 1);
        for queue in 0..3 {
            self.put(COMPLETION + 0x1000 * queue, &[0; 16 * ENTRIES as usize]);
        }
        self.positions = Default::default();
    }

    pub(super) fn create_queues(&mut self, number: u64) {
        let size = (ENTRIES - 1) << 16 | number as u32;
        let completion = Request {
            opcode: 5,
            prp: [COMPLETION + 0x1000 * number, 0],
            words: [size, (number as u32) << 16 | 3, 0, 0],
            ..Request::default()
        };
        assert_eq!(self.admin(completion).status, 0);
        let submission = Request {
            opcode: 1,
            prp: [SUBMISSION + 0x1000 * number, 0],
            words: [size, (number as u32) << 16 | 1, 0, 0],
            ..Request::default()
        };
        assert_eq!(self.admin(submission).status, 0);
    }

    pub(super) fn put(&self, address: u64, bytes: &[u8]) {
        self.bench.ram.write(address, bytes).unwrap();
    }

    pub(super) fn get<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.bench.ram.read(address, &mut bytes).unwrap();
        bytes
    }

    /// Puts a command into a queue without telling the controller. Returns its identifier.
    pub(super) fn prepare(&mut self, queue: u64, request: Request) -> u16 {
        let position = &mut self.positions[queue as usize];
        position.identifier += 1;
        let identifier = position.identifier;
        let mut bytes = vec![request.opcode, request.form];
        bytes.extend(identifier.to_le_bytes());
        bytes.extend(request.namespace.to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend(request.prp.iter().flat_map(|prp| prp.to_le_bytes()));
        bytes.extend(request.words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([0; 8]);
        let address = SUBMISSION + 0x1000 * queue + 64 * u64::from(position.tail);
        position.tail = (position.tail + 1) % ENTRIES;
        self.put(address, &bytes);
        identifier
    }

    /// Rings the doorbell of a submission queue.
    pub(super) fn submit(&mut self, queue: u64) {
        self.write(0x1000 + 8 * queue, 4, self.positions[queue as usize].tail.into());
    }

    pub(super) fn send(&mut self, queue: u64, request: Request) -> u16 {
        let identifier = self.prepare(queue, request);
        self.submit(queue);
        identifier
    }

    /// Goes to the next deadline.
    pub(super) fn step(&mut self) {
        assert!(self.bench.step(&mut self.bus), "there is none");
    }

    /// Lets everything finish.
    pub(super) fn finish(&mut self) {
        self.bench.settle(&mut self.bus);
    }

    /// Takes what came into a completion queue, and tells the controller.
    pub(super) fn answers(&mut self, queue: u64) -> Vec<Answer> {
        let mut answers = Vec::new();
        loop {
            let position = &mut self.positions[queue as usize];
            // The phase is inverted each time the queue begins anew: count answers to know.
            let index = position.head % ENTRIES;
            let phase = u16::from((position.head / ENTRIES).is_multiple_of(2));
            let entry: [u8; 16] = self.get(COMPLETION + 0x1000 * queue + 16 * u64::from(index));
            let half = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            if half(14) & 1 != phase {
                break;
            }
            let result = u32::from(half(0)) | u32::from(half(2)) << 16;
            assert_eq!(half(10), queue as u16);
            answers.push(Answer { result, identifier: half(12), status: half(14) >> 1 & 0x7ff });
            self.positions[queue as usize].head += 1;
        }
        if !answers.is_empty() {
            self.write(0x1004 + 8 * queue, 4, (self.positions[queue as usize].head % ENTRIES).into());
        }
        answers
    }

    /// A whole command on this queue.
    pub(super) fn request(&mut self, queue: u64, request: Request) -> Answer {
        let identifier = self.send(queue, request);
        assert_eq!(self.answers(queue), [], "completed without taking time");
        self.finish();
        let answers = self.answers(queue);
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].identifier, identifier);
        answers[0]
    }

    pub(super) fn admin(&mut self, request: Request) -> Answer {
        self.request(0, request)
    }

    /// A read (2), write (1) or write zeroes (8) on queue 1.
    pub(super) fn io(&mut self, opcode: u8, sector: u64, sectors: u32, prp: [u64; 2]) -> Answer {
        self.request(1, transfer(opcode, sector, sectors, prp))
    }

    pub(super) fn identify(&mut self, cns: u32, namespace: u32) -> Answer {
        self.admin(Request {
            opcode: 6,
            namespace,
            prp: [DATA, 0],
            words: [cns, 0, 0, 0],
            ..Request::default()
        })
    }

    pub(super) fn set_feature(&mut self, feature: u32, value: u32) -> Answer {
        self.admin(Request { opcode: 9, words: [feature, value, 0, 0], ..Request::default() })
    }

    pub(super) fn get_feature(&mut self, feature: u32) -> Answer {
        self.admin(Request { opcode: 10, words: [feature, 0, 0, 0], ..Request::default() })
    }

    pub(super) fn messages(&mut self) -> Vec<u32> {
        self.bench.messages.drain(..).map(|message| message.data).collect()
    }

    pub(super) fn events(&mut self) -> Vec<(u64, DiskStep)> {
        self.bench.events.take_disk_steps()
    }

    pub(super) fn disk(&self) -> &Disk {
        self.bus.disks().next().unwrap()
    }

    pub(super) fn transitions(&self) -> Transitions {
        match self.bus.function(SLOT) {
            Some(Function::Nvme(function)) => function.transitions(),
            _ => panic!("no NVMe in its slot"),
        }
    }
}

pub(super) fn transfer(opcode: u8, sector: u64, sectors: u32, prp: [u64; 2]) -> Request {
    let words = [sector as u32, (sector >> 32) as u32, sectors - 1, 0];
    Request { opcode, namespace: 1, prp, words, ..Request::default() }
}
