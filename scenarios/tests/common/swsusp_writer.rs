//! Writes images as swsusp does, for what no kernel of ours writes: LZ4, swap files, and images small enough to be broken everywhere.

use devices::disk::Media;
use scenarios::image::swap_header::{Compression, Flags};
use scenarios::image::swap_map::ENTRIES;
use scenarios::image::units::{Crc, UNPACKED};
use scenarios::image::{PAGE, Page};

/// An image to be.
pub struct Writer {
    /// Where it is.
    pub media: Media,
    /// Byte of the disk at which slot 0 is.
    pub start: u64,
    /// Slot of the header.
    pub header: u64,
    slots: Vec<u64>,
}

impl Writer {
    /// On a disk, with its header in this slot.
    pub fn new(media: Media, start: u64, header: u64) -> Self {
        Self { media, start, header, slots: Vec::new() }
    }

    fn put(&mut self, slot: u64, page: &[u8]) {
        self.media.write(self.start + slot * PAGE as u64, page).unwrap();
    }

    /// Writes an image of these page frames, with its map before what it governs, as the kernel does.
    pub fn write(mut self, compression: Compression, pages: &[(u64, Page)]) -> Media {
        let stored: Vec<&Page> =
            pages.iter().map(|(_, page)| page).filter(|page| **page != Page::Zero).collect();
        let list = list(pages);
        let count = 1 + list.len() / PAGE + stored.len();
        let mut data = list;
        stored.iter().for_each(|page| data.extend_from_slice(page.bytes()));
        let mut content = info(stored.len() as u64, count as u64).to_vec();
        let mut crc = Crc::default();
        for unit in data.chunks(UNPACKED) {
            crc.update(unit);
            match compression {
                Compression::None => content.extend_from_slice(unit),
                _ => content.extend_from_slice(&packed(compression, unit)),
            }
        }
        let mut next = self.header + 1;
        let first = next;
        for piece in content.chunks(PAGE * ENTRIES) {
            let map = next;
            let entries: Vec<u64> = (map + 1..).take(piece.len() / PAGE).collect();
            next = map + 1 + entries.len() as u64;
            let full = entries.len() == ENTRIES;
            let mut page: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
            page.resize(ENTRIES * 8, 0);
            page.extend_from_slice(&if full { next } else { 0 }.to_le_bytes());
            self.put(map, &page);
            for (page, slot) in piece.chunks(PAGE).zip(entries) {
                self.put(slot, page);
                self.slots.push(slot);
            }
        }
        let flags = match compression {
            Compression::None => Flags::NOCOMPRESS,
            Compression::Lzo => Flags::CRC32,
            Compression::Lz4 => Flags::CRC32 | Flags::LZ4,
        };
        let mut header = [0; PAGE];
        let mut field = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        field(4060, &crc.value().to_le_bytes());
        field(4064, &first.to_le_bytes());
        field(4072, &flags.bits().to_le_bytes());
        field(4076, b"SWAPSPACE2");
        field(4086, b"S1SUSPEND\0");
        self.put(self.header, &header);
        self.media
    }
}

fn info(stored: u64, pages: u64) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    for (at, value) in [
        (0, 0xffff_ffff_8100_0000),
        (8, 0x100_0000),
        (16, 0x200_0000),
        (24, 0x2345_6789_ABCD_EF02),
        (400, 1 << 20),
        (416, stored),
        (424, pages),
        (432, pages * PAGE as u64),
    ] {
        page[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
    }
    page
}

fn list(pages: &[(u64, Page)]) -> Vec<u8> {
    let entry = |(frame, page): &(u64, Page)| frame | if *page == Page::Zero { 1 << 63 } else { 0 };
    let mut list: Vec<u8> = pages.iter().map(entry).flat_map(u64::to_le_bytes).collect();
    if !list.len().is_multiple_of(PAGE) {
        list.extend_from_slice(&u64::MAX.to_le_bytes());
    }
    list.resize(list.len().next_multiple_of(PAGE), 0);
    list
}

fn packed(compression: Compression, pages: &[u8]) -> Vec<u8> {
    let packed = match compression {
        Compression::Lz4 => lz4_flex::block::compress(pages),
        _ => lzokay::compress::compress(pages).unwrap(),
    };
    let mut unit = (packed.len() as u64).to_le_bytes().to_vec();
    unit.extend_from_slice(&packed);
    unit.resize(unit.len().next_multiple_of(PAGE), 0);
    unit
}
