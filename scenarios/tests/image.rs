//! What real kernels leave on a disk when they sleep, decoded, and held against the memory they had.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use agent_protocol::layout::MemoryKind;
use agent_protocol::message::{AfterSnapshot, Answer, Ask, HibernateMode, Partition, PartitionKind};
use common::lab::{Lab, Setup, in_full};
use common::swsusp_writer::Writer;
use common::{ask, depart, disk_behind, falls_asleep, give_up, partition};
use devices::acpi_pm::SleepState;
use devices::disk::Media;
use guest_kernels::provision;
use scenarios::image::find::{Contents, find};
use scenarios::image::flaw::{Flaw, UnitFlaw};
use scenarios::image::info::{Info, e820_checksum};
use scenarios::image::swap_header::{Compression, Flags, State};
use scenarios::image::swap_map::ENTRIES;
use scenarios::image::swsusp::Location;
use scenarios::image::{Ours, PAGE, Page, Part, Reaction, Swsusp};
use vmm::FrontEnd;

const MIB: u64 = 1 << 20;
/// The second partition, in bytes.
const SWAP: std::ops::Range<u64> = 65 * MIB..257 * MIB;

fn setup(kernel: &'static str, processors: u32) -> Setup {
    Setup { kernel, processors, front_end: FrontEnd::Virtio }
}

/// The kernel's idea of its memory, from its agent.
fn memory_map(lab: &mut Lab) -> u64 {
    let Answer::MemoryMap { ranges, .. } = ask(&mut lab.guest, &Ask::MemoryMap { skip: 0 }) else {
        give_up(&lab.guest, "no memory map")
    };
    let kind = |kind| match kind {
        MemoryKind::Ram => 1,
        MemoryKind::Reserved => 2,
        MemoryKind::AcpiData => 3,
        MemoryKind::AcpiNvs => 4,
    };
    let entries: Vec<_> =
        ranges.iter().map(|range| (range.start, range.end - range.start, kind(range.kind))).collect();
    e820_checksum(&entries)
}

/// A machine that has hibernated and is off; its memory is still what it was.
struct Asleep {
    lab: Lab,
    image: Swsusp,
}

fn asleep(setup: Setup) -> Asleep {
    let mut lab = Lab::started(setup);
    let e820 = memory_map(&mut lab);
    depart(&mut lab.guest, &Ask::Hibernate { mode: HibernateMode::Shutdown, pm_test: None });
    falls_asleep(&mut lab.guest, SleepState::S5);
    let image = read(lab.disk().media());
    assert_eq!((image.header.state, &image.flaw), (State::Valid, &None));
    let info = image.info.as_ref().unwrap();
    assert_eq!(info.jump.unwrap().e820_checksum, e820);
    Asleep { lab, image }
}

fn read(media: &Media) -> Swsusp {
    Swsusp::read(&Part::of(media, &SWAP), 0).unwrap().unwrap()
}

/// A number in what the kernel printed: behind these words.
fn printed(lab: &Lab, words: &str) -> u64 {
    let console = lab.guest.tape.console();
    let rest = console.split(words).nth(1).unwrap_or_else(|| panic!("the kernel did not print {words:?}"));
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// Symbols of a kernel of ours.
fn symbol(kernel: &str, name: &str) -> u64 {
    let provided = provision::kernel(kernel, &|text| eprintln!("{text}")).unwrap();
    let map = std::fs::read_to_string(provided.bzimage.with_file_name("System.map")).unwrap();
    let line = map.lines().find(|line| line.split(' ').nth(2) == Some(name)).unwrap();
    u64::from_str_radix(line.split(' ').next().unwrap(), 16).unwrap()
}

fn in_memory(lab: &Lab, frame: u64) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    lab.guest.machine.ram().read(frame * 4096, &mut page).unwrap();
    page
}

/// Decoded pages against memory: the kernel's text and read-only data, which do not change, are there, and of the rest nearly all is as
/// it was when the power went.
fn is_what_memory_was<E: std::fmt::Debug>(
    lab: &Lab,
    info: &Info,
    pages: impl Iterator<Item = Result<(u64, Page), E>>,
) {
    let jump = info.jump.unwrap();
    let text = |name| (symbol(lab.setup.kernel, name) - (jump.address - jump.physical)) / 4096;
    let constant = text("_text")..text("__end_rodata");
    let (mut same, mut other, mut constants) = (0u64, 0u64, 0);
    for page in pages {
        let (frame, page) = page.unwrap();
        let is_same = *page.bytes() == in_memory(lab, frame);
        if constant.contains(&frame) {
            assert!(is_same, "page frame {frame:#x} of the kernel's text or read-only data");
            constants += 1;
        }
        *if is_same { &mut same } else { &mut other } += 1;
    }
    eprintln!("{same} pages as they were, {other} not; {constants} constant ones of {constant:?}");
    assert!(constants > 1000, "{constants} constant pages");
    assert!(other * 10 < same, "{other} pages are other than they were, {same} are the same");
}

/// The kernel's own counts.
fn has_the_counts_the_kernel_printed(lab: &Lab, image: &Swsusp) {
    let info = image.info.as_ref().unwrap();
    assert_eq!(info.image_pages, image.frames.stored.len() as u64);
    if lab.setup.kernel.ends_with("6.12") {
        let copied = printed(lab, "Image created (");
        let zero = printed(lab, &format!("Image created ({copied} pages copied, "));
        assert_eq!((info.image_pages, image.frames.zero.len() as u64), (copied, zero));
    }
    let words = match image.header.compression() {
        Compression::None => "Saving image data pages (",
        _ => "Compressing and saving image data (",
    };
    assert_eq!(info.pages - 1, printed(lab, words));
}

/// A bit of the disk, flipped.
fn flipped(media: &Media, at: u64) -> Media {
    let mut media = media.clone();
    let mut byte = [0];
    media.read(at, &mut byte).unwrap();
    media.write(at, &[byte[0] ^ 0x10]).unwrap();
    media
}

fn zeroed(media: &Media, at: u64) -> Media {
    let mut media = media.clone();
    media.write(at, &[0; PAGE]).unwrap();
    media
}

/// Noise in any piece of an image is seen or does no harm.
fn stays_calm(media: &Media, image: &Swsusp) {
    let pieces = image.pieces();
    let mut noise = 1u64;
    let mut random = |below: u64| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (noise >> 33) % below
    };
    for _ in 0..16 {
        let (_, piece) = &pieces[random(pieces.len() as u64) as usize];
        let at = piece.start + random(piece.end - piece.start);
        let mut noisy = media.clone();
        noisy.write(at, &random(1 << 31).to_le_bytes()).unwrap();
        if let Some(image) = Swsusp::read(&Part::of(&noisy, &SWAP), 0).unwrap() {
            assert!(image.flaw.is_some() || image.pages().all(|page| page.is_ok()), "byte {at}");
        }
    }
}

fn page_at(media: &Media, at: u64) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    media.read(at, &mut page).unwrap();
    page
}

#[test]
fn primary_6_12_compressed() {
    let Asleep { lab, image } = asleep(setup("primary-6.12", 1));
    assert_eq!(image.header.compression(), Compression::Lzo);
    assert!(image.header.flags.contains(Flags::CRC32));
    has_the_counts_the_kernel_printed(&lab, &image);
    assert_eq!(image.packed() / 1024, printed(&lab, "Image size after compression: "));
    is_what_memory_was(&lab, image.info.as_ref().unwrap(), image.pages());
    let banner = image.banner().unwrap();
    assert!(banner.starts_with("Linux version 6.12."), "{banner}");

    // Flipped bits anywhere in the pages are seen. More than one: a copy from another place can be a copy of the same.
    let media = lab.disk().media();
    let seen = |media: &Media| {
        let image = read(media);
        assert_eq!(image.reaction(), Some(Reaction::Refuses), "{:?}", image.flaw);
        image.flaw.unwrap()
    };
    let slots: Vec<u64> = image.map.slots().collect();
    for unit in [0, image.units.len() / 2, image.units.len() - 1].map(|number| image.units[number]) {
        let at = SWAP.start + slots[unit.slot as usize] * 4096;
        let garbled = (500..532).fold(media.clone(), |media, byte| flipped(&media, at + byte));
        let flaw = seen(&garbled);
        // The list of page frames is in the first unit, and looked at before the sum is.
        assert!(
            matches!(flaw, Flaw::Crc { .. } | Flaw::Frames(_) | Flaw::Unit { what: UnitFlaw::Unpack(_), .. }),
            "{flaw:?}"
        );
        assert!(matches!(seen(&flipped(media, at + 7)), Flaw::Unit { what: UnitFlaw::Length(_), .. }));
    }

    // Of what the last page of the map could be if it was not written: nothing, the one before.
    let last = image.map.pages.last().unwrap();
    let at = |slot| SWAP.start + slot * 4096;
    let missing = seen(&zeroed(media, at(last.slot)));
    assert!(
        matches!(missing, Flaw::MapShort { .. } | Flaw::Unit { what: UnitFlaw::CutOff { .. }, .. }),
        "{missing:?}"
    );
    let mut stale = media.clone();
    let before = &image.map.pages[image.map.pages.len() - 2];
    stale.write(at(last.slot), &page_at(media, at(before.slot))).unwrap();
    let stale = read(&stale);
    assert!(matches!(stale.flaw, Some(Flaw::MapCycle { .. } | Flaw::SlotTwice { .. })), "{:?}", stale.flaw);

    // The first page is in no CRC; counts that do not fit are seen all the same.
    let info = at(slots[0]);
    assert!(matches!(seen(&flipped(media, info + 24)), Flaw::Info(_)));
    // With 16 pages more there is no room for the list, with 16 less it is too long: it depends on the count which it is.
    assert!(matches!(seen(&flipped(media, info + 416)), Flaw::Info(_) | Flaw::Frames(_)));
    assert_eq!(read(&flipped(media, info + 16)).flaw, None, "CR3: nothing protects it");

    stays_calm(media, &image);

    // What is consumed is still there until its slots are used.
    let mut consumed = media.clone();
    consumed.write(SWAP.start + 4086, b"SWAPSPACE2").unwrap();
    let image = read(&consumed);
    assert_eq!((image.header.state, image.flaw), (State::Consumed, None));
}

#[test]
fn primary_6_12_not_compressed() {
    let Asleep { lab, image } = asleep(setup("primary-6.12", 2));
    assert_eq!(image.header.compression(), Compression::None);
    assert_eq!(image.header.flags, Flags::NOCOMPRESS | Flags::HARDWARE_SIGNATURE);
    has_the_counts_the_kernel_printed(&lab, &image);
    let info = image.info.as_ref().unwrap();
    assert_eq!(image.map.len(), info.pages);
    is_what_memory_was(&lab, info, image.pages());

    stays_calm(lab.disk().media(), &image);

    // The same memory compressed with LZ4, which no kernel at hand was built with.
    let pages: Vec<(u64, Page)> = image.pages().map(Result::unwrap).collect();
    let media = Writer::new(Media::blank(SWAP.end).unwrap(), SWAP.start, 0).write(Compression::Lz4, &pages);
    let transcoded = read(&media);
    assert_eq!((&transcoded.flaw, transcoded.header.compression()), (&None, Compression::Lz4));
    assert!(transcoded.pages().map(Result::unwrap).eq(pages));

    // Where a page lies, and that it is this one that changes if the slot does; nothing protects it.
    let media = lab.disk().media();
    let frame = info.jump.unwrap().physical / 4096;
    let Some(Location::Slots(slots)) = image.locate(frame) else { panic!("{:?}", image.locate(frame)) };
    assert_eq!(slots.len(), 1);
    let (slot, map) = slots[0];
    assert!(image.map.pages[map].entries.contains(&slot));
    let changed = read(&flipped(media, SWAP.start + slot * 4096));
    assert_eq!(changed.flaw, None);
    let differs: Vec<u64> = image
        .pages()
        .zip(changed.pages())
        .filter(|(one, other)| one != other)
        .map(|(one, _)| one.unwrap().0)
        .collect();
    assert_eq!(differs, [frame]);

    // The last page of the map was not written and is zero: the image is short, and the kernel sees it.
    let last = image.map.pages.last().unwrap();
    let short = read(&zeroed(media, SWAP.start + last.slot * 4096));
    let full = (image.map.pages.len() - 1) * ENTRIES;
    let missing = info.pages - full as u64;
    assert_eq!(
        short.flaw,
        Some(Flaw::MapShort { page: full / ENTRIES, entry: 0, missing, pages: info.pages })
    );
    assert_eq!(short.reaction(), Some(Reaction::Refuses));
    // It is an old one, of which two uses of a slot are the sign: the kernel sees nothing.
    let mut stale = media.clone();
    let mut old = page_at(media, SWAP.start + image.map.pages[0].slot * 4096);
    old[ENTRIES * 8..].fill(0);
    stale.write(SWAP.start + last.slot * 4096, &old).unwrap();
    let stale = read(&stale);
    assert!(matches!(stale.flaw, Some(Flaw::SlotTwice { first: 0, entry: 0, .. })), "{:?}", stale.flaw);
    assert_eq!(stale.reaction(), Some(Reaction::Unnoticed));
}

#[test]
fn primary_6_1_compressed() {
    let Asleep { lab, image } = asleep(setup("primary-6.1", 1));
    assert_eq!(image.header.compression(), Compression::Lzo);
    assert_eq!(image.frames.zero.len(), 0, "6.1 stores pages of zeros, too");
    has_the_counts_the_kernel_printed(&lab, &image);
    is_what_memory_was(&lab, image.info.as_ref().unwrap(), image.pages());
    assert!(image.banner().unwrap().starts_with("Linux version 6.1."));
}

#[test]
fn stock_6_12() {
    let setup = setup("stock-6.12", 2);
    if !in_full(setup) {
        return;
    }
    let Asleep { lab, image } = asleep(setup);
    has_the_counts_the_kernel_printed(&lab, &image);
    let same =
        image.pages().map(Result::unwrap).filter(|(frame, page)| *page.bytes() == in_memory(&lab, *frame));
    let same = same.count() as u64;
    assert!(same * 100 > image.frames.len() * 95, "{same} of {} pages", image.frames.len());
    assert!(image.banner().unwrap().contains("Debian"));
}

/// What /dev/snapshot gave out, in an image of ours.
#[test]
fn a_stream_of_dev_snapshot() {
    let image = Partition { mib: 256, kind: PartitionKind::Image };
    let other = disk_behind(FrontEnd::Virtio, 1, Media::blank(MIB).unwrap());
    let mut lab = Lab::started_with(setup("primary-6.12", 1), "", &[image], other);
    let device = partition(&lab.guest.machine, 3);
    depart(&mut lab.guest, &Ask::SnapshotSave { device, then: AfterSnapshot::PowerOff });
    falls_asleep(&mut lab.guest, SleepState::S4);
    let found = find(lab.disk().media()).unwrap();
    let kinds: Vec<_> = found
        .iter()
        .map(|found| match found.contents {
            Contents::Ext4 => "ext4",
            Contents::Swap(_) => "swap",
            Contents::Ours(_) => "ours",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["ext4", "swap", "ours"]);
    let Contents::Ours(image) = &found[2].contents else { unreachable!() };
    assert!(image.is_valid(), "{:?}", image.flaw);
    let info = image.info.as_ref().unwrap();
    assert_eq!(info.image_pages, printed(&lab, "Image created ("));
    is_what_memory_was(&lab, info, image.pages());
    let frame = info.jump.unwrap().physical / 4096;
    let at = image.locate(frame).unwrap().start;
    let damaged = Ours::read(&Part::of(&flipped(lab.disk().media(), at), &(257 * MIB..513 * MIB)));
    assert!(damaged.unwrap().unwrap().flaw.is_some());
}
