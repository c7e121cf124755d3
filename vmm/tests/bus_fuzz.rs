//! Garbage to every port, register and queue of the board: never a panic, never an endless loop.
//!
//! `KJVM_FUZZ=600 cargo nextest run --release -p vmm --test bus_fuzz` goes on for ten minutes, each time with other seeds; a failure
//! names its seed, and `KJVM_FUZZ_SEED=...` plays that one alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::time::{Duration, Instant};

use devices::disk::{Disk, DiskConfig, Media};
use devices::pci::Function;
use devices::pci::nvme::{Nvme, NvmeConfig};
use devices::pci::virtio::{VirtioBlk, VirtioBlkConfig};
use devices::rtc::{self, Rtc};
use devices::{Event, Moment, Observer, Reset, VirtualTime, WorldTime, acpi_pm};
use ram::GuestRam;
use vmm::board::{Board, World};
use vmm::clock::Clock;

const RAM: u64 = 4 << 20;
/// What the suite plays.
const SEEDS: u64 = 300;
/// Accesses of one play.
const ACCESSES: u32 = 400;

struct Nobody;

impl Observer for Nobody {
    fn event(&mut self, _: Moment, _: Event) -> bool {
        false
    }
}

/// xorshift64*: the same play for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Half of all values are small, aligned, addresses of memory, or all ones: they get further than noise.
    fn value(&mut self) -> u64 {
        match self.below(8) {
            0 => self.below(4),
            1 => 1 << self.below(64),
            2 => u64::MAX >> self.below(64),
            3 => self.below(RAM) & !0xfff,
            4 => self.below(RAM),
            _ => self.next(),
        }
    }
}

fn board() -> Board {
    let mut board = Board::new(acpi_pm::Config::default(), Rtc::new(rtc::Config::default(), WorldTime(0)));
    let disk = |id| {
        let config = DiskConfig { id, destage_after: Some(1_000_000), ..DiskConfig::default() };
        Disk::new(config, Media::blank(1 << 20).unwrap()).unwrap()
    };
    let virtio = VirtioBlk::new(VirtioBlkConfig { slot: 1, queues: 2 }, disk(0));
    board.pci.insert(1, Function::VirtioBlk(virtio)).unwrap();
    let nvme = Nvme::new(NvmeConfig { slot: 2, queues: 2 }, disk(1));
    board.pci.insert(2, Function::Nvme(nvme)).unwrap();
    board
}

/// Ports that somebody decodes, and a few that nobody does.
const PORTS: &[(u16, u16)] = &[
    (0x20, 2),
    (0x40, 4),
    (0x60, 5),
    (0x70, 2),
    (0x80, 1),
    (0x92, 1),
    (0xa0, 2),
    (0xe9, 1),
    (0xf4, 1),
    (0x2f8, 8),
    (0x3f8, 8),
    (0x4d0, 2),
    (0x600, 0x24),
    (0xcf8, 8),
    (0xfffc, 4),
];

/// Where something may answer in memory: BARs, configuration space, IOAPIC, and a hole.
const MEMORY: &[(u64, u64)] = &[
    (0xc010_0000, 0x4000),
    (0xc020_0000, 0x4000),
    (0xb000_0000, 0x1_8000),
    (0xfec0_0000, 0x100),
    (0xfed0_0000, 0x400),
    (0xffff_ffff_ffff_f000, 0xfff),
];

fn play(seed: u64) {
    let mut random = Random(seed | 1);
    let ram = GuestRam::new(RAM).unwrap();
    // Queues and tables are full of addresses that lead to memory, or just past it.
    for word in 0..0x4000u64 {
        ram.write(word * 8, &random.value().to_le_bytes()).unwrap();
    }
    let mut board = board();
    let mut clock = Clock::new(WorldTime(0));
    let mut nobody = Nobody;
    // Virtio's own negotiation, or no play would ever reach a queue by chance.
    let configured = random.below(2) == 0;
    for access in 0..ACCESSES {
        clock.advance(random.below(50_000));
        let now = clock.now();
        let mut world = World::of_host(&ram, clock, u64::from(access), &mut nobody);
        let value = random.value();
        let size = random.one_of(&[1u8, 2, 4]);
        match random.below(16) {
            0..6 => {
                let (first, count) = random.one_of(PORTS);
                let port = first.wrapping_add(random.below(u64::from(count)) as u16);
                if random.below(3) == 0 {
                    board.port_read(now, port, size, &mut world);
                } else {
                    board.port_write(now, port, size, value as u32, &mut world);
                }
            }
            6..14 => {
                let (first, bytes) = random.one_of(MEMORY);
                let address = first.wrapping_add(random.below(bytes) & !(random.below(2) * 3));
                let size = random.one_of(&[size, 8, 4]);
                if random.below(3) == 0 {
                    board.memory_read(now, address, size, &mut world);
                } else {
                    board.memory_write(now, address, size, value, &mut world);
                }
            }
            14 => board.receive(random.below(2) as u8, now, &value.to_le_bytes(), now, &mut world),
            _ => {
                let kind = random.one_of(&[Reset::PowerOn, Reset::Wake, Reset::Line]);
                if random.below(20) == 0 {
                    board.reset(kind, now, &mut world);
                } else {
                    board.pic.acknowledge();
                    board.end_of_interrupt(value as u8);
                }
            }
        }
        if configured && access == 20 {
            negotiate(&mut board, now, &mut world);
        }
        // A device that wants to be called is called, as often as a machine would.
        for _ in 0..4 {
            if board.deadline().is_some_and(|deadline| deadline <= now) {
                board.tick(now, &mut world);
            }
        }
        board.signals.messages.clear();
        board.signals.power = None;
    }
}

/// Bus mastering on, driver ready, queue 0 enabled at address 0x1000, as a driver does it (virtio 1.2, 4.1.4.3), and NVMe's controller
/// enabled with its admin queues in memory.
fn negotiate(board: &mut Board, now: VirtualTime, world: &mut World<'_>) {
    for slot in [1u64, 2] {
        board.memory_write(now, 0xb000_0000 + (slot << 15) + 4, 2, 6, world);
    }
    let common = 0xc010_0000;
    for (offset, size, value) in
        [(20, 1, 0), (20, 1, 1), (20, 1, 3), (8, 4, 1), (12, 4, 1), (20, 1, 11), (22, 2, 0), (24, 2, 16)]
    {
        board.memory_write(now, common + offset, size, value, world);
    }
    for (offset, value) in [(32, 0x1000), (40, 0x2000), (48, 0x3000)] {
        board.memory_write(now, common + offset, 4, value, world);
    }
    board.memory_write(now, common + 28, 2, 1, world);
    board.memory_write(now, common + 20, 1, 15, world);
    let nvme = 0xc020_0000;
    for (offset, size, value) in
        [(0x24, 4, 0x000f_000f), (0x28, 8, 0x4000), (0x30, 8, 0x5000), (0x14, 4, 0x0046_0001)]
    {
        board.memory_write(now, nvme + offset, size, value, world);
    }
}

#[test]
fn garbage_is_survived() {
    if let Some(seed) = std::env::var("KJVM_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return play(seed);
    }
    let seconds = std::env::var("KJVM_FUZZ").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut seed = 0;
    while seed < SEEDS || Instant::now() < end {
        seed += 1;
        let played = std::panic::catch_unwind(|| play(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        assert!(played.is_ok(), "KJVM_FUZZ_SEED={}", seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    eprintln!("{seed} plays of {ACCESSES} accesses");
}
