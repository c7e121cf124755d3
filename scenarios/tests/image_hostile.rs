//! Images in swap that no kernel of ours writes, and images that are broken in every way.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use common::swsusp_writer::Writer;
use devices::disk::Media;
use proptest::prelude::*;
use scenarios::image::find::{Contents, find};
use scenarios::image::flaw::Flaw;
use scenarios::image::swap_header::Compression;
use scenarios::image::swsusp::Role;
use scenarios::image::{PAGE, Page, Part, Reaction, Swsusp};

const BYTES: u64 = 8 << 20;
const ALL: [Compression; 3] = [Compression::None, Compression::Lzo, Compression::Lz4];

/// Memory with something in it, every fifth page zero; more than one page of the list, of the map and one unit.
fn memory() -> &'static [(u64, Page)] {
    static MEMORY: LazyLock<Vec<(u64, Page)>> = LazyLock::new(|| {
        let mut noise = 1u64;
        let mut page = |frame: u64| {
            let mut bytes = Box::new([0; PAGE]);
            for chunk in bytes.as_chunks_mut::<8>().0.iter_mut().step_by(8) {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(frame);
                *chunk = noise.to_le_bytes();
            }
            (frame, if frame.is_multiple_of(5) { Page::Zero } else { Page::Stored(bytes) })
        };
        (1..=700).map(|number| page(number * 3)).collect()
    });
    &MEMORY
}

/// An image of it, by the number of its compression.
fn image(which: usize) -> Media {
    static IMAGES: LazyLock<[Media; 3]> = LazyLock::new(|| {
        ALL.map(|compression| Writer::new(Media::blank(BYTES).unwrap(), 0, 0).write(compression, memory()))
    });
    IMAGES[which].clone()
}

fn read(media: &Media, header_at: u64) -> Swsusp {
    Swsusp::read(&Part::whole(media), header_at).unwrap().unwrap()
}

fn all(image: &Swsusp) -> Vec<(u64, Page)> {
    image.pages().map(Result::unwrap).collect()
}

fn byte(media: &Media, at: u64) -> u8 {
    let mut byte = [0];
    media.read(at, &mut byte).unwrap();
    byte[0]
}

fn patched(media: &Media, at: u64, bytes: &[u8]) -> Media {
    let mut media = media.clone();
    media.write(at, bytes).unwrap();
    media
}

#[test]
fn every_compression_is_read_back() {
    for (which, compression) in ALL.into_iter().enumerate() {
        let image = read(&image(which), 0);
        assert_eq!((&image.flaw, image.header.compression()), (&None, compression));
        assert!(all(&image) == memory(), "{compression:?}");
        for (frame, page) in memory().iter().cloned() {
            assert!(image.page(frame).unwrap() == Some(page), "{compression:?}, {frame:#x}");
        }
        assert_eq!((image.page(1).unwrap(), image.locate(1)), (None, None));
    }
}

/// A swap file lies among other things in its partition, and its slots are counted from the partition's beginning.
#[test]
fn a_swap_file_is_read_at_its_offset() {
    let header = 77;
    let media = Writer::new(Media::blank(BYTES + (1 << 20)).unwrap(), 1 << 20, header);
    let media = media.write(Compression::Lzo, memory());
    let part = Part::of(&media, &(1 << 20..BYTES + (1 << 20)));
    let image = Swsusp::read(&part, header * 4096).unwrap().unwrap();
    assert_eq!(image.flaw, None);
    assert!(all(&image) == memory());
    assert_eq!(image.pieces()[0], (Role::Header, (1 << 20) + header * 4096..(1 << 20) + (header + 1) * 4096));
    assert_eq!(Swsusp::read(&part, 0).unwrap(), None);
    assert_eq!(Swsusp::read(&part, BYTES).unwrap(), None);
    assert_eq!(Swsusp::read(&part, u64::MAX - 4095).unwrap(), None);
}

/// What the image says lies where is all it needs: the rest of the disk can be anything.
#[test]
fn the_pieces_are_the_image() {
    for which in 0..ALL.len() {
        let media = image(which);
        let image = read(&media, 0);
        let mut only = Media::blank(BYTES).unwrap();
        only.write(0, &vec![0xa5; BYTES as usize]).unwrap();
        let mut bytes = 0;
        for (_, range) in image.pieces() {
            let mut piece = vec![0; (range.end - range.start) as usize];
            media.read(range.start, &mut piece).unwrap();
            only.write(range.start, &piece).unwrap();
            bytes += piece.len();
        }
        assert_eq!(read(&only, 0).flaw, None);
        assert!(all(&read(&only, 0)) == memory());
        assert_eq!(bytes as u64 / 4096, 1 + image.map.pages.len() as u64 + image.map.len());
    }
}

/// Absurd numbers cost neither memory nor time.
#[test]
fn absurd_numbers_are_refused_at_once() {
    let begun = Instant::now();
    for which in 0..ALL.len() {
        let media = image(which);
        let whole = read(&media, 0);
        let info = whole.map.slot(0).unwrap() * 4096;
        let unit = whole.map.slot(1).unwrap() * 4096;
        for number in [0, 1, 1 << 32, 1 << 62, u64::MAX >> 1, u64::MAX] {
            let number = number.to_le_bytes();
            for at in [400, 416, 424, 432] {
                let image = read(&patched(&media, info + at, &number), 0);
                assert!(image.flaw.is_some() || at == 400, "{which}, swsusp_info {at}: {number:?}");
                image.pages().for_each(drop);
            }
            // Of the map: where it begins, its first entry, where it goes on.
            let map = whole.map.pages[0].slot * 4096;
            for at in [4064, map, map + 8 * 511] {
                let image = read(&patched(&media, at, &number), 0);
                let is_end = at == map + 8 * 511 && whole.map.pages.len() == 1;
                assert!(
                    image.flaw.is_some() || is_end || (at, number) == (4064, 1u64.to_le_bytes()),
                    "{which}, map {at}: {number:?}"
                );
            }
            read(&patched(&media, unit, &number), 0).pages().for_each(drop);
        }
        // Both counts absurd and in agreement.
        let both = [(1u64 << 61) - 600, 1 << 61].map(u64::to_le_bytes).concat();
        assert!(read(&patched(&media, info + 416, &both), 0).flaw.is_some());
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn the_reaction_of_a_kernel_follows_from_what_protects_the_image() {
    let reaction = |which, at: fn(&Swsusp) -> u64, bytes: &[u8]| {
        let media = image(which);
        let broken = read(&patched(&media, at(&read(&media, 0)), bytes), 0);
        (broken.flaw.clone().map(|flaw| flaw.to_string()), broken.reaction())
    };
    let entry = |image: &Swsusp| image.map.pages[0].slot * 4096 + 8 * 100;
    let ten = 10u64.to_le_bytes();
    let said = |slot: &str, page| {
        Some(format!("swap map page 0, entry {page}: slot {slot} is used twice, the first time by page 0"))
    };
    assert_eq!(reaction(0, entry, &ten), (said("0xa", 100), Some(Reaction::Unnoticed)));
    assert_eq!(reaction(1, entry, &ten), (said("0xa", 100), Some(Reaction::Refuses)));
    let next = |image: &Swsusp| image.map.pages[0].slot * 4096 + 8 * 511;
    let (flaw, hangs) = reaction(0, next, &1u64.to_le_bytes());
    assert_eq!(
        (flaw.as_deref(), hangs),
        (Some("swap map page 0: the chain returns to slot 0x1, where page 0 is"), Some(Reaction::Hangs),)
    );
    let original = reaction(1, |_| 4076, b"SWAPSPACE3").0.unwrap();
    assert_eq!(original, "swap header: original signature is \"SWAPSPACE3\"");
}

#[test]
fn a_truncated_disk_is_said_to_be_one() {
    for which in 0..ALL.len() {
        let media = image(which);
        let whole = read(&media, 0);
        let end = whole.pieces().iter().map(|(_, range)| range.end).max().unwrap();
        for bytes in [4096, 8192, end / 2, end - 4096, end - 1] {
            let cut = Swsusp::read(&Part::of(&media, &(0..bytes)), 0).unwrap().unwrap();
            let flaw = cut.flaw.clone();
            assert!(matches!(flaw, Some(Flaw::MapOutside { .. } | Flaw::EntryOutside { .. })), "{flaw:?}");
            assert_eq!(cut.reaction(), Some(Reaction::Refuses));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// A flipped bit of what is compressed is seen, wherever it is; of what is not, it is one wrong page at most. None does harm.
    #[test]
    fn a_flipped_bit_is_seen_if_something_protects_it(which in 0usize..3, number: prop::sample::Index, bit in 0u64..4096 * 8) {
        let media = image(which);
        let whole = read(&media, 0);
        let slots = whole.map.pages.iter().map(|page| page.slot).chain(whole.map.slots());
        let slots: Vec<u64> = slots.collect();
        let slot = *number.get(&slots);
        let at = slot * 4096 + bit / 8;
        let broken = read(&patched(&media, at, &[byte(&media, at) ^ 1 << (bit % 8)]), 0);
        let data = whole.map.slots().position(|data| data == slot);
        let wrong = broken.pages().zip(memory()).filter(|(found, page)| found.as_ref().ok() != Some(*page)).count();
        match (data, whole.units.is_empty()) {
            // The map: whatever is found is the right pages, or said to be wrong; and the map is longer than it need be.
            (None, false) => prop_assert!(broken.flaw.is_some() || wrong == 0),
            (None, true) => prop_assert!(broken.flaw.is_some() || wrong <= 1),
            // swsusp_info: addresses and the checksum of the memory map stand for themselves.
            (Some(0), _) => prop_assert!(broken.flaw.is_some() || wrong == 0),
            (Some(_), true) => prop_assert!(broken.flaw.is_some() || wrong <= 1),
            // Behind the end of a unit lies what nobody reads; and a copy from another place can be a copy of the same.
            (Some(number), false) => {
                let unit = whole.units.iter().find(|unit| (unit.slot..unit.slot + unit.slots).contains(&(number as u64))).unwrap();
                let used = 8 + unit.packed > (number as u64 - unit.slot) * 4096 + bit / 8;
                prop_assert!(broken.flaw.is_some() || wrong == 0);
                prop_assert!(used || broken.flaw.is_none());
            }
        }
    }

    /// Random bytes anywhere: an answer, and none that takes long.
    #[test]
    fn anything_is_read_to_its_first_flaw(
        which in 0usize..3,
        patches in prop::collection::vec((0u64..1 << 21, prop::collection::vec(any::<u8>(), 1..64)), 1..6),
        numbers in prop::collection::vec((0u64..1 << 18, 0u64..600), 0..6),
    ) {
        let mut media = image(which);
        for (at, bytes) in patches {
            media.write(at, &bytes).unwrap();
        }
        // Numbers that could be slots and counts.
        for (at, number) in numbers {
            media.write(at * 8, &number.to_le_bytes()).unwrap();
        }
        for found in find(&media).unwrap() {
            if let Contents::Swsusp(image) = found.contents {
                image.pages().for_each(drop);
                image.pieces();
                image.banner();
            }
        }
    }
}
