//! Histories made by hand.

use agent_protocol::image::{Header, Kind, State};
use agent_protocol::message::{ReadyWhy, Role, Session};
use devices::disk::write_log::{Operation, Record as Logged};
use devices::disk::{Contents, Extent, Media, WriteLog};
use devices::{DiskAction, DiskEvent, DiskStep, Event, Moment, PowerEvent, VirtualTime};

use super::Record;
use crate::history::{Happening, History};
use crate::language::Scenario;

/// First sectors of the partitions of disk 0: ext4, swap, image.
pub(crate) const EXT4: u64 = 2048;
pub(crate) const SWAP: u64 = EXT4 + 16 * 2048;
pub(crate) const IMAGE: u64 = SWAP + 8 * 2048;

const SCENARIO: &str = "version = 1\nsteps = []\nkernel = { primary = \"a\" }\n\
    [[disk]]\nname = \"one\"\nsize = \"64M\"\npartitions = [{ use = \"ext4\", size = \"16M\" }, \
    { use = \"swap\", size = \"8M\" }, { use = \"image\", size = \"8M\" }]\n\
    [[disk]]\nname = \"two\"\nsize = \"64M\"\npartitions = [{ use = \"ext4\", size = \"16M\" }]";

#[derive(Clone, Default)]
struct Disk {
    next: u64,
    log: WriteLog,
    now: Option<Media>,
    durable: Option<Media>,
    /// Completed and not durable.
    volatile: Vec<(u64, DiskAction)>,
}

/// A history and write logs in the making.
#[derive(Clone)]
pub(crate) struct Tale {
    pub(crate) history: History,
    disks: [Disk; 2],
    time: u64,
}

impl Tale {
    pub(crate) fn new() -> Self {
        let blank = || Media::blank(64 << 20).ok();
        let disk = || Disk { now: blank(), durable: blank(), ..Disk::default() };
        Self { history: History::default(), disks: [disk(), disk()], time: 0 }
    }

    fn see(&mut self, event: Event) {
        self.time += 1000;
        self.history.see(Moment { time: VirtualTime(self.time), ..Moment::default() }, event);
    }

    fn note(&mut self, what: Happening) {
        self.history.note(Moment { time: VirtualTime(self.time), ..Moment::default() }, what);
    }

    /// Time goes by, in nanoseconds.
    pub(crate) fn rest(&mut self, nanoseconds: u64) {
        self.time += nanoseconds;
    }

    /// A request goes a step further, as far as the history is concerned.
    pub(crate) fn step(&mut self, disk: usize, request: u64, action: DiskAction, step: DiskStep) {
        self.see(Event::Disk(DiskEvent { disk: disk as u8, request, action, step }));
    }

    pub(crate) fn accept(&mut self, disk: usize, sector: u64, bytes: &[u8]) -> (u64, DiskAction) {
        let it = &mut self.disks[disk];
        let request = it.next;
        it.next += 1;
        let extent = Extent { sector, sectors: bytes.len() as u64 / 512 };
        let action = DiskAction::Write { extent, fua: false };
        let changes = vec![(extent, Contents::Data(bytes.into()))];
        let operation = Operation::Change { fua: false, changes };
        it.log.push(VirtualTime(self.time), Logged::Accepted { request, operation });
        it.now.as_mut().unwrap().write(sector * 512, bytes).unwrap();
        self.step(disk, request, action, DiskStep::Accepted);
        (request, action)
    }

    /// A write that completes and is not durable.
    pub(crate) fn write(&mut self, disk: usize, sector: u64, bytes: &[u8]) -> u64 {
        let (request, action) = self.accept(disk, sector, bytes);
        let it = &mut self.disks[disk];
        it.volatile.push((request, action));
        it.log.push(VirtualTime(self.time), Logged::Completed { request });
        self.step(disk, request, action, DiskStep::Completed);
        request
    }

    pub(crate) fn read(&mut self, disk: usize, sector: u64, sectors: u64) {
        let request = self.disks[disk].next;
        self.disks[disk].next += 1;
        let action = DiskAction::Read(Extent { sector, sectors });
        self.step(disk, request, action, DiskStep::Accepted);
        self.step(disk, request, action, DiskStep::Completed);
    }

    /// Makes durable all that was completed.
    pub(crate) fn flush(&mut self, disk: usize) {
        self.flush_that(disk, true);
    }

    /// A flush that may be a lie.
    pub(crate) fn flush_that(&mut self, disk: usize, honest: bool) {
        let it = &mut self.disks[disk];
        let request = it.next;
        it.next += 1;
        it.log.push(VirtualTime(self.time), Logged::Accepted { request, operation: Operation::Flush });
        let volatile = if honest { std::mem::take(&mut it.volatile) } else { Vec::new() };
        if honest {
            it.durable = it.now.clone();
        }
        // At once, though the history tells one after another.
        it.log.push(VirtualTime(self.time), Logged::Completed { request });
        for (request, _) in &volatile {
            it.log.push(VirtualTime(self.time), Logged::Durable { request: *request });
        }
        self.step(disk, request, DiskAction::Flush, DiskStep::Accepted);
        self.step(disk, request, DiskAction::Flush, DiskStep::Completed);
        for (request, action) in volatile {
            self.step(disk, request, action, DiskStep::Durable);
        }
    }

    /// Front ends of both disks are reset and started again.
    pub(crate) fn stand_still(&mut self) {
        for disk in 0..2 {
            self.see(Event::FrontEnd { disk, started: false });
        }
        self.start();
    }

    pub(crate) fn start(&mut self) {
        for disk in 0..2 {
            self.see(Event::FrontEnd { disk, started: true });
        }
    }

    pub(crate) fn power(&mut self, event: PowerEvent) {
        if event == PowerEvent::On {
            for disk in &mut self.disks {
                disk.next = 0;
            }
        }
        self.see(Event::Power(event));
    }

    fn lose(&mut self, nothing: bool) {
        for disk in &mut self.disks {
            let (now, durable) = (disk.now.clone().unwrap(), disk.durable.clone().unwrap());
            let mut reverted = Vec::new();
            if nothing {
                for block in now.changed_blocks() {
                    let mut bytes = vec![0; 4096];
                    durable.read(block * 4096, &mut bytes).unwrap();
                    reverted.push((Extent { sector: block * 8, sectors: 8 }, Contents::Data(bytes.into())));
                }
                disk.now = Some(durable);
            } else {
                disk.durable = Some(now);
            }
            disk.volatile.clear();
            disk.log.push(VirtualTime(0), Logged::Lost { reverted });
        }
    }

    /// The power fails, and nothing survives that was not durable. It comes on again.
    pub(crate) fn cut(&mut self) {
        self.lose(true);
        self.power(PowerEvent::Cut);
        self.power(PowerEvent::On);
    }

    /// The same, but these sectors are then as said.
    pub(crate) fn cut_keeping(&mut self, sector: u64, bytes: &[u8]) {
        let durable = self.disks[0].durable.as_mut().unwrap();
        durable.write(sector * 512, bytes).unwrap();
        self.cut();
    }

    /// Off by order, with everything made durable, and on again.
    pub(crate) fn off_and_on(&mut self) {
        self.lose(false);
        self.power(PowerEvent::Off);
        self.power(PowerEvent::On);
    }

    pub(crate) fn kernel(&mut self, role: Role) {
        self.note(Happening::Kernel(role));
    }

    pub(crate) fn begins(&mut self, step: &str) {
        self.note(Happening::StepBegins { cycle: 1, step: step.into() });
    }

    pub(crate) fn ends(&mut self, step: &str, well: bool) {
        self.note(Happening::StepEnds { step: step.into(), well });
    }

    pub(crate) fn ready(&mut self, role: Role, epoch: u32, why: ReadyWhy) {
        self.note(Happening::Ready { session: Session { role, epoch }, why });
    }

    pub(crate) fn going(&mut self, role: Role, epoch: u32) {
        self.note(Happening::Going { session: Session { role, epoch } });
    }

    /// A boots, with empty swap.
    pub(crate) fn booted() -> Self {
        let mut tale = Self::new();
        tale.kernel(Role::Primary);
        tale.start();
        tale.ready(Role::Primary, 1000, ReadyWhy::Boot);
        tale.write(0, SWAP, &swap_header(None));
        tale.flush(0);
        tale
    }

    /// Writes an image to swap, in slots 1 (map) and 2 to 4, and then what follows.
    pub(crate) fn save_to_swap(&mut self, flushed: bool, map_first: bool) {
        let mut map = [0; 4096];
        for (entry, slot) in map.as_chunks_mut::<8>().0.iter_mut().zip([2u64, 3, 4]) {
            *entry = slot.to_le_bytes();
        }
        for slot in 2..5 {
            self.write(0, SWAP + slot * 8, &[slot as u8; 4096]);
        }
        if map_first {
            self.write(0, SWAP + 8, &map);
        }
        if flushed {
            self.flush(0);
        }
        self.write(0, SWAP, &swap_header(Some(1)));
        if !map_first {
            self.write(0, SWAP + 8, &map);
        }
    }

    /// A hibernates: all its disks stand still, and it writes its image in the order it should.
    pub(crate) fn hibernate(&mut self) {
        self.begins("hibernate");
        self.going(Role::Primary, 1000);
        self.stand_still();
        self.save_to_swap(true, true);
        self.flush(0);
    }

    /// A boot that finds the image, and enters it.
    pub(crate) fn resume(&mut self, epoch: u32) {
        self.begins("resume");
        self.kernel(Role::Primary);
        self.start();
        self.read(0, SWAP, 8);
        self.write(0, SWAP, &swap_header(None));
        self.flush(0);
        self.stand_still();
        self.ready(Role::Primary, epoch, ReadyWhy::Return);
        self.ends("resume", true);
    }

    /// Writes the header of ours.
    pub(crate) fn image_header(&mut self, state: State) {
        let header = Header { state, pages: 1, stored: 1, extents: 1, ..Header::writing(Kind::JumpedMemory) };
        let mut block = [0; 4096];
        block[..512].copy_from_slice(&header.encode());
        self.write(0, IMAGE, &block);
    }

    /// A jumps to B, which saves it in the order it should.
    pub(crate) fn jump_and_save(&mut self) {
        self.begins("jump");
        self.going(Role::Primary, 1000);
        self.kernel(Role::Saver);
        self.stand_still();
        self.ready(Role::Saver, 2000, ReadyWhy::Boot);
        self.begins("save");
        self.image_header(State::Writing);
        self.flush(0);
        self.write(0, IMAGE + 8, &[1; 8192]);
        self.flush(0);
        self.image_header(State::Valid);
        self.flush(0);
    }

    /// C restores A.
    pub(crate) fn restore(&mut self, epoch: u32) {
        self.begins("restore");
        self.kernel(Role::Restorer);
        self.start();
        self.ready(Role::Restorer, 3000, ReadyWhy::Boot);
        self.read(0, IMAGE, 24);
        self.image_header(State::Consumed);
        self.flush(0);
        self.going(Role::Restorer, 3000);
        self.kernel(Role::Primary);
        self.stand_still();
        self.ready(Role::Primary, epoch, ReadyWhy::Return);
        self.ends("restore", true);
    }

    /// What it tells.
    pub(crate) fn run<T>(&self, read: impl FnOnce(&Record<'_>) -> T) -> T {
        let scenario = Scenario::read(SCENARIO, &[]).unwrap();
        let logs = self.disks.clone().map(|disk| disk.log);
        read(&Record { scenario: &scenario, history: &self.history, logs: &logs })
    }
}

/// The first page of swap, with an image whose map begins in this slot.
pub(crate) fn swap_header(image: Option<u64>) -> [u8; 4096] {
    let mut page = [0; 4096];
    page[4086..].copy_from_slice(if image.is_some() { b"S1SUSPEND\0" } else { b"SWAPSPACE2" });
    page[4076..4086].copy_from_slice(b"SWAPSPACE2");
    page[4064..4072].copy_from_slice(&image.unwrap_or(0).to_le_bytes());
    page[4072..4076].copy_from_slice(&2u32.to_le_bytes());
    // Of mkswap: version, last page.
    page[1024..1028].copy_from_slice(&1u32.to_le_bytes());
    page[1028..1032].copy_from_slice(&2047u32.to_le_bytes());
    page
}
