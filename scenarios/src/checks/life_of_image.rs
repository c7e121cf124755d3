//! The life of every image in a run, from the write logs: when it became valid, what its header commits to, when it was reset, and who
//! was entered from it. Needs neither symbols nor an agent for what lies on disks; that a kernel was *entered* is known from the agent
//! that speaks again in another boot.
//!
//! A header is known by its contents. One sector commits an image: of swsusp the last of the swap header's page (signature, slot of the
//! map, CRC), of ours the first of the image partition.
//!
//! *The snapshot* of a disk is where its front end was reset before the header was written: every kernel quiesces its devices before it
//! copies itself or jumps, and starts them again afterwards, so that no request falls in between. *The entry* is where it was reset
//! before the sleeper spoke again: the loading kernel quiesces it, and the sleeper starts it.

use std::collections::{BTreeMap, BTreeSet};

use agent_protocol::image::{HEADER_LEN, Header, Kind, State};
use agent_protocol::message::{ReadyWhy, Role, Session};
use devices::disk::{Extent, Media};
use devices::{DiskAction, DiskStep, PowerEvent};

use super::Record;
use super::ext4::{Ext4, Part4};
use super::record::{Place, Request, places};
use super::replay::Replay;
use crate::history::Happening;
use crate::image::swap_header::State as SwapState;
use crate::image::swap_map::SwapMap;
use crate::image::{Part, SwapHeader};
use crate::language::Use;

const SECTOR: u64 = 512;
const PAGE: u64 = 4096;
/// Sectors of a page.
pub(super) const PAGE_SECTORS: u64 = PAGE / SECTOR;
/// What a kernel is told to count its sessions from is a multiple of this.
const LIFE: u32 = 1000;

/// Who made an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The kernel, in swap.
    Swsusp,
    /// A program, through /dev/snapshot.
    Snapshot,
    /// The saver, after a kexec jump.
    Jump,
}

impl Format {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Swsusp => "swsusp image",
            Self::Snapshot => "/dev/snapshot image",
            Self::Jump => "saver's image",
        }
    }
}

/// Where an image may lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Store {
    pub(super) what: Use,
    pub(super) place: Place,
    /// Byte of the disk at which the page of the header begins: with swap on a partition its first.
    pub(super) header: u64,
}

impl Store {
    /// The sector that commits an image.
    pub(super) fn commit_sector(&self) -> u64 {
        let page = self.header / SECTOR;
        if self.what == Use::Swap { page + PAGE_SECTORS - 1 } else { page }
    }
}

/// What a block is to its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    /// A page of swsusp's map, from 0.
    Map(usize),
    /// swsusp_info, the first page.
    Info,
    /// Index of ours, or any page.
    Data,
}

/// A write that an image needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) piece: Piece,
    /// Number of the request.
    pub(super) request: usize,
}

/// The header was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reset {
    /// Number of the request.
    pub(super) request: usize,
    /// In the boot that wrote the image, after it slept and woke.
    pub(super) after_wake: bool,
}

/// A sleeper was entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entered {
    /// Where in the history it spoke.
    pub(super) ready: usize,
    /// Where each disk's front end was reset before.
    pub(super) still: Vec<Option<usize>>,
}

/// An image, from the write that made it valid on.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) format: Format,
    /// Number of the [`Store`].
    pub(super) store: usize,
    /// In which cycle.
    pub(super) cycle: u32,
    /// Number of the request that wrote the header.
    pub(super) header: usize,
    /// Where in the history each disk stood still for the snapshot.
    pub(super) snapshot: Vec<Option<usize>>,
    /// Writes that the header commits to.
    pub(super) blocks: Vec<Block>,
    /// What is wrong with its map as it was on the disk when the kernel had done with it.
    pub(super) flaw: Option<String>,
    /// Headers written over it, each in another boot unless the power took one back.
    pub(super) resets: Vec<Reset>,
    pub(super) entered: Vec<Entered>,
    commit: [u8; HEADER_LEN],
    /// Slot of the map's first page.
    map: u64,
    done: bool,
}

/// From where the power came on, or the reset line was pulled, to where that happens again.
#[derive(Debug, Clone, Default)]
pub(super) struct Boot {
    /// Where in the history.
    pub(super) begins: usize,
    /// The image that was valid in each store.
    pub(super) valid: Vec<Option<usize>>,
    /// Which kernel was booted.
    pub(super) kernel: Option<Role>,
    /// From where on A's user space speaks, after a boot that brought no session back by itself.
    pub(super) user_space: Option<usize>,
}

/// A write to a sector that commits an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) store: usize,
    /// Number of the request.
    pub(super) request: usize,
    /// The image that is valid by it.
    pub(super) image: Option<usize>,
}

/// Everything in its context.
pub(super) struct Lives<'a> {
    pub(super) record: &'a Record<'a>,
    pub(super) requests: Vec<Request<'a>>,
    pub(super) stores: Vec<Store>,
    pub(super) images: Vec<Image>,
    pub(super) boots: Vec<Boot>,
    /// Every write to a sector that commits an image.
    pub(super) commits: Vec<Commit>,
    /// Numbers of requests of which a power cut took everything back.
    pub(super) lost: BTreeSet<usize>,
    /// A's file systems, and where their parts are, which does not change.
    files: Vec<(Place, Option<Ext4>)>,
}

/// What a request touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Touched {
    /// A part of A's ext4.
    Ext4(Part4),
    /// A swap partition.
    Swap,
    /// An image partition.
    Image,
    /// What is in no partition.
    Outside,
}

impl Touched {
    pub(super) fn name(self) -> String {
        match self {
            Self::Ext4(part) => format!("ext4 {}", part.name()),
            Self::Swap => "swap".into(),
            Self::Image => "image partition".into(),
            Self::Outside => "outside of partitions".into(),
        }
    }
}

impl<'a> Lives<'a> {
    pub(super) fn of(record: &'a Record<'a>) -> Self {
        let stores = [Use::Swap, Use::Image].into_iter().flat_map(|what| {
            places(record.scenario, what).into_iter().map(move |place| {
                let header = place.bytes.start;
                Store { what, place, header }
            })
        });
        let stores: Vec<Store> = stores.collect();
        let first = Boot { valid: vec![None; stores.len()], ..Boot::default() };
        let lives = Self {
            record,
            requests: record.requests(),
            stores,
            images: Vec::new(),
            boots: vec![first],
            commits: Vec::new(),
            lost: BTreeSet::new(),
            files: places(record.scenario, Use::Ext4).into_iter().map(|place| (place, None)).collect(),
        };
        Walk {
            replay: Replay::of(record),
            accepted: lives.requests.iter().enumerate().map(|(number, it)| (it.accepted, number)).collect(),
            valid: vec![None; lives.stores.len()],
            still: vec![None; record.scenario.disks.len()],
            lives,
            cycle: 0,
            spoke: 0,
            woke: None,
            heard: BTreeMap::new(),
        }
        .walk()
    }

    pub(super) fn store(&self, image: &Image) -> &Store {
        // Numbers of stores are ours.
        &self.stores[image.store]
    }

    pub(super) fn request(&self, number: usize) -> &Request<'a> {
        // So are numbers of requests.
        &self.requests[number]
    }

    /// What it is called in reports.
    pub(super) fn name(&self, image: &Image) -> String {
        format!("cycle {}, {}", image.cycle, image.format.name())
    }

    /// A request, for people.
    pub(super) fn tell(&self, request: &Request<'_>) -> String {
        let disk = self.record.scenario.disks.get(request.disk).map_or("scratch", |disk| disk.name.as_str());
        let (what, fua) = match request.action {
            DiskAction::Read(_) => ("read", false),
            DiskAction::Write { fua, .. } => ("write", fua),
            DiskAction::Flush => ("flush", false),
            DiskAction::Discard(_) => ("discard", false),
            DiskAction::WriteZeroes(_) => ("zeroing", false),
        };
        let fua = if fua { ", FUA" } else { "" };
        let extent = request.extent().map_or(String::new(), |extent| {
            let touched = self.touched(request).into_iter().map(Touched::name).collect::<Vec<_>>();
            let end = extent.sector.saturating_add(extent.sectors);
            format!(", sectors {} to {end}: {}", extent.sector, touched.join(" and "))
        });
        let ms = self.time(request.accepted) as f64 / 1e6;
        format!("{what} #{}{fua} (boot {}, {ms:.3} ms, disk {disk}{extent})", request.number, request.boot)
    }

    /// What it touches. Nothing if it has no sectors.
    pub(super) fn touched(&self, request: &Request<'_>) -> Vec<Touched> {
        let Some(extent) = request.extent() else { return Vec::new() };
        let bytes = extent.sector * SECTOR..extent.sector.saturating_add(extent.sectors) * SECTOR;
        let mut touched = Vec::new();
        let here = |place: &Place| place.disk == request.disk && request.touches(&place.sectors());
        for (place, map) in self.files.iter().filter(|(place, _)| here(place)) {
            let inside = bytes.start.saturating_sub(place.bytes.start)
                ..bytes.end.min(place.bytes.end).saturating_sub(place.bytes.start);
            let parts = map.as_ref().map_or(vec![Part4::Data], |map| map.touched(&inside));
            touched.extend(parts.into_iter().map(Touched::Ext4));
        }
        for store in self.stores.iter().filter(|store| here(&store.place)) {
            touched.push(if store.what == Use::Swap { Touched::Swap } else { Touched::Image });
        }
        let places = self.files.iter().map(|(place, _)| place).chain(self.stores.iter().map(|it| &it.place));
        let whole = places.filter(|place| here(place)).map(|place| {
            let sectors = place.sectors();
            extent.sector.saturating_add(extent.sectors).min(sectors.end) - extent.sector.max(sectors.start)
        });
        if whole.sum::<u64>() < extent.sectors {
            touched.push(Touched::Outside);
        }
        touched
    }

    fn time(&self, place: usize) -> u64 {
        self.record.entries().get(place).map_or(0, |entry| entry.at.time.0)
    }

    /// Disks that A uses: those with a file system or swap of its own.
    pub(super) fn disks_of_a(&self) -> BTreeSet<usize> {
        let uses = [Use::Ext4, Use::Swap];
        uses.into_iter().flat_map(|what| places(self.record.scenario, what)).map(|place| place.disk).collect()
    }

    /// Where the power first went, or came, behind this place of the history.
    pub(super) fn power_after(&self, place: usize) -> usize {
        let entries = self.record.entries();
        let power = |at: &usize| {
            matches!(
                entries.get(*at).map(|entry| &entry.what),
                Some(Happening::Power(
                    PowerEvent::Cut | PowerEvent::Off | PowerEvent::On | PowerEvent::Reset
                ))
            )
        };
        (place + 1..entries.len()).find(power).unwrap_or(entries.len())
    }
}

struct Walk<'a> {
    lives: Lives<'a>,
    replay: Replay<'a>,
    accepted: BTreeMap<usize, usize>,
    /// The image that would be found now, by store.
    valid: Vec<Option<usize>>,
    /// Where the front end of each disk was last reset.
    still: Vec<Option<usize>>,
    cycle: u32,
    /// Where an agent last said that it is ready.
    spoke: usize,
    /// Where the machine last woke.
    woke: Option<usize>,
    /// In which boot each kernel was last heard of.
    heard: BTreeMap<(Role, u32), u32>,
}

impl<'a> Walk<'a> {
    fn walk(mut self) -> Lives<'a> {
        let entries = self.lives.record.entries();
        for (at, entry) in entries.iter().enumerate() {
            match &entry.what {
                Happening::Disk(event)
                    if event.step == DiskStep::Accepted && !matches!(event.action, DiskAction::Read(_)) =>
                {
                    self.replay.accept(event.disk.into());
                    self.accept(at);
                }
                Happening::FrontEnd { disk, started: false } => {
                    self.read_file_systems();
                    if let Some(still) = self.still.get_mut(usize::from(*disk)) {
                        *still = Some(at);
                    }
                }
                Happening::Power(event) => self.power(at, *event),
                Happening::Kernel(role) => {
                    if let Some(boot) = self.lives.boots.last_mut() {
                        boot.kernel.get_or_insert(*role);
                    }
                }
                Happening::Ready { session, why } => self.ready(at, entry.boot, *session, *why),
                Happening::StepBegins { cycle, .. } => self.cycle = *cycle,
                _ => {}
            }
        }
        self.finish(entries.len());
        self.read_file_systems();
        self.lives
    }

    /// Where the parts of A's file systems are; where they cannot be read, as they were when they could.
    fn read_file_systems(&mut self) {
        for (place, map) in &mut self.lives.files {
            let media = self.replay.media(place.disk);
            if let Some(found) = media.and_then(|media| Ext4::read(&Part::of(media, &place.bytes))) {
                *map = Some(found);
            }
        }
    }

    fn power(&mut self, at: usize, event: PowerEvent) {
        self.finish(at);
        let lost = self.replay.power();
        self.lose(at, &lost);
        for store in 0..self.valid.len() {
            self.valid[store] = self.found(store);
        }
        match event {
            PowerEvent::On | PowerEvent::Reset => {
                let valid = self.valid.clone();
                self.lives.boots.push(Boot { begins: at, valid, kernel: None, user_space: None });
                self.still.fill(None);
            }
            PowerEvent::Awake => self.woke = Some(at),
            _ => {}
        }
    }

    /// Of what was not durable, what lay in these extents is gone.
    fn lose(&mut self, at: usize, lost: &[(usize, Extent)]) {
        if lost.is_empty() {
            return;
        }
        let within = |disk: usize, sector: u64| {
            lost.iter().any(|(other, extent)| {
                *other == disk
                    && (extent.sector..extent.sector.saturating_add(extent.sectors)).contains(&sector)
            })
        };
        for (number, request) in self.lives.requests.iter().enumerate() {
            let volatile = request.accepted < at && !request.durable_before(at) && request.changes_contents();
            if volatile
                && let Some(extent) = request.extent()
                && (extent.sector..extent.sector.saturating_add(extent.sectors))
                    .all(|sector| within(request.disk, sector))
            {
                self.lives.lost.insert(number);
            }
        }
    }

    /// The image whose header stands in a store.
    fn found(&self, store: usize) -> Option<usize> {
        let now = self.commit(store);
        self.lives.images.iter().rposition(|image| image.store == store && image.commit == now)
    }

    fn commit(&self, store: usize) -> [u8; HEADER_LEN] {
        let store = &self.lives.stores[store];
        self.replay.read(store.place.disk, store.commit_sector() * SECTOR)
    }

    fn accept(&mut self, at: usize) {
        let Some(number) = self.accepted.get(&at).copied() else { return };
        for store in 0..self.lives.stores.len() {
            let place = &self.lives.stores[store];
            let sector = place.commit_sector();
            let request = self.lives.request(number);
            if request.disk == place.place.disk && request.touches(&(sector..sector + 1)) {
                self.header(store, number);
            }
        }
    }

    /// A header was written.
    fn header(&mut self, store: usize, number: usize) {
        let commit = self.commit(store);
        let before = self.valid[store];
        if before.is_some_and(|before| self.lives.images[before].commit == commit) {
            self.lives.commits.push(Commit { store, request: number, image: before });
            return;
        }
        if let Some(before) = before {
            let (header, at) = (self.lives.images[before].header, self.lives.request(number).accepted);
            self.finish(at);
            let header = self.lives.request(header);
            let after_wake = header.boot == self.lives.request(number).boot
                && self.woke.is_some_and(|woke| header.accepted < woke);
            self.lives.images[before].resets.push(Reset { request: number, after_wake });
        }
        self.valid[store] = self.valid_header(store, commit).map(|(format, map)| {
            self.lives.images.push(Image {
                format,
                store,
                cycle: self.cycle,
                header: number,
                snapshot: self.still.clone(),
                blocks: Vec::new(),
                flaw: None,
                resets: Vec::new(),
                entered: Vec::new(),
                commit,
                map,
                done: false,
            });
            self.lives.images.len() - 1
        });
        self.lives.commits.push(Commit { store, request: number, image: self.valid[store] });
    }

    /// Whose image a header makes valid, and where swsusp's map begins.
    fn valid_header(&self, store: usize, commit: [u8; HEADER_LEN]) -> Option<(Format, u64)> {
        let place = &self.lives.stores[store];
        if place.what == Use::Swap {
            let page = self.replay.read::<{ crate::image::PAGE }>(place.place.disk, place.header);
            let header = SwapHeader::decode(&page).filter(|header| header.state == SwapState::Valid)?;
            return Some((Format::Swsusp, header.image));
        }
        let header = Header::decode(&commit).ok().filter(|header| header.state == State::Valid)?;
        let format = match header.kind {
            Kind::JumpedMemory => Format::Jump,
            Kind::SnapshotStream => Format::Snapshot,
        };
        Some((format, 0))
    }

    /// Whoever wrote images has done with them: what they consist of stands.
    fn finish(&mut self, at: usize) {
        for number in 0..self.lives.images.len() {
            if !self.lives.images[number].done {
                let (blocks, flaw) = self.blocks(&self.lives.images[number], at);
                let image = &mut self.lives.images[number];
                (image.blocks, image.flaw, image.done) = (blocks, flaw, true);
            }
        }
    }

    fn blocks(&self, image: &Image, at: usize) -> (Vec<Block>, Option<String>) {
        let store = self.lives.store(image);
        let header = self.lives.request(image.header);
        let since = image.snapshot.get(store.place.disk).copied().flatten().unwrap_or(0);
        let written = self.lives.requests.iter().enumerate().filter(|(number, request)| {
            request.disk == store.place.disk
                && request.boot == header.boot
                && since <= request.accepted
                && request.accepted < at
                && *number != image.header
                && request.changes_contents()
                && request.touches(&store.place.sectors())
        });
        if image.format != Format::Swsusp {
            // Whatever was written to the partition before the header, less earlier headers.
            let commit = store.commit_sector();
            let before = written.filter(|(_, request)| {
                request.accepted < header.accepted && !request.touches(&(commit..commit + 1))
            });
            return (before.map(|(request, _)| Block { piece: Piece::Data, request }).collect(), None);
        }
        let media = self.replay.media(store.place.disk).cloned();
        let media = media.or_else(|| Media::blank(store.place.bytes.end).ok());
        let Some(media) = media else { return (Vec::new(), None) };
        let part = Part::of(&media, &store.place.bytes);
        let slot = (store.header - store.place.bytes.start) / PAGE;
        let (map, flaw) = SwapMap::read(&part, slot, image.map);
        let pieces: BTreeMap<u64, Piece> = (0..)
            .zip(map.slots())
            .map(|(number, slot)| (slot, if number == 0 { Piece::Info } else { Piece::Data }))
            .chain((0..).zip(&map.pages).map(|(number, page)| (page.slot, Piece::Map(number))))
            .collect();
        // Of each slot the newest version.
        let mut newest: BTreeMap<u64, Block> = BTreeMap::new();
        let start = store.place.sectors().start;
        for (number, request) in written {
            let Some(extent) = request.extent() else { continue };
            let first = extent.sector.saturating_sub(start) / PAGE_SECTORS;
            let end = (extent.sector + extent.sectors).saturating_sub(start).div_ceil(PAGE_SECTORS);
            for (slot, piece) in pieces.range(first..end.max(first)) {
                newest.insert(*slot, Block { piece: *piece, request: number });
            }
        }
        let flaw = flaw.map(|flaw| flaw.to_string()).or_else(|| {
            let missing = pieces.len() - newest.len();
            (missing > 0).then(|| format!("{missing} of its pages were never written"))
        });
        (newest.into_values().collect(), flaw)
    }

    fn ready(&mut self, at: usize, boot: u32, session: Session, why: ReadyWhy) {
        let life = (session.role, session.epoch / LIFE);
        let before = self.heard.insert(life, boot);
        let since = std::mem::replace(&mut self.spoke, at);
        if why != ReadyWhy::Return {
            if let (Role::Primary, Some(boot)) = (session.role, self.lives.boots.last_mut()) {
                boot.user_space.get_or_insert(at);
            }
            return;
        }
        let begins = self.lives.boots.last().map_or(0, |boot| boot.begins);
        let entered = if before.is_some_and(|before| before < boot) {
            self.newest_reset(begins).or_else(|| {
                self.lives.boots.last().and_then(|boot| boot.valid.iter().flatten().next().copied())
            })
        } else {
            // Loaded by the kernel that wrote it, whose disks stood still after the reset.
            self.newest_reset(since).filter(|number| {
                let image = &self.lives.images[*number];
                let disk = self.lives.store(image).place.disk;
                let reset =
                    image.resets.last().map_or(at, |reset| self.lives.request(reset.request).accepted);
                image.format == Format::Swsusp
                    && self.still.get(disk).copied().flatten().is_some_and(|still| reset < still)
            })
        };
        if let Some(number) = entered {
            let still = self.still.clone();
            self.lives.images[number].entered.push(Entered { ready: at, still });
        }
    }

    /// The image whose header was last reset behind this place.
    fn newest_reset(&self, since: usize) -> Option<usize> {
        let reset = |image: &Image| {
            let last = image.resets.last()?;
            Some(self.lives.request(last.request).accepted).filter(|at| since <= *at)
        };
        let images = self.lives.images.iter().enumerate();
        images.filter_map(|(number, image)| Some((reset(image)?, number))).max().map(|(_, number)| number)
    }
}
