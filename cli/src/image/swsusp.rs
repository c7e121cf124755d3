//! An image in swap, in words.

use scenarios::image::swap_header::{Compression, Flags, State};
use scenarios::image::swsusp::{Location, Role};
use scenarios::image::{PAGE, Reaction, Swsusp};

use super::dump;
use crate::output::size;

/// Slots of the map that are named without being asked for.
const FEW: usize = 8;

/// In a few words.
pub fn words(image: &Swsusp) -> String {
    let state = match image.header.state {
        State::Valid => "hibernation image",
        State::Consumed => "what is left of a hibernation image",
        State::Empty => "no image",
    };
    format!("{state}{}", if image.flaw.is_some() { ", broken" } else { "" })
}

/// All of it: labels and texts.
pub fn lines(image: &Swsusp, pages: bool) -> Vec<(&'static str, String)> {
    let mut lines = vec![("state", state(image)), ("written", written(image))];
    if let Some(kernel) = image.banner().or_else(|| image.info.as_ref()?.release.clone()) {
        lines.push(("kernel", kernel));
    }
    lines.extend(contents(image));
    lines.extend(places(image, pages));
    if pages {
        lines.extend(dump::lines(&image.frames));
    }
    lines.push(("verdict", verdict(image)));
    lines
}

fn state(image: &Swsusp) -> String {
    let header = &image.header;
    match header.state {
        State::Valid => {
            format!("valid: signature {}, and {} once it is consumed", header.signature, header.original)
        }
        State::Consumed => format!("consumed: signature {}; the next boot is a cold one", header.signature),
        State::Empty => format!("none: signature {}", header.signature),
    }
}

fn written(image: &Swsusp) -> String {
    let flags = image.header.flags;
    let compression = match image.header.compression() {
        Compression::None => "not compressed; nothing protects its pages".to_owned(),
        compression => format!("compressed with {}", compression.name()),
    };
    let mut words = vec![compression];
    if flags.contains(Flags::PLATFORM) {
        words.push("platform mode (S4)".into());
    }
    let unknown = flags.difference(Flags::all());
    if !unknown.is_empty() {
        words.push(format!("unknown flags {:#x}", unknown.bits()));
    }
    format!("{}; flags {:#x}", words.join(", "), flags.bits())
}

fn contents(image: &Swsusp) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(info) = &image.info {
        let (stored, zero) = (image.frames.stored.len(), image.frames.zero.len());
        lines.push(("memory", format!("{} pages: {stored} stored, {zero} zero", image.frames.len())));
        let bytes = size(info.pages.saturating_mul(PAGE as u64));
        let packed = match image.header.compression() {
            Compression::None => String::new(),
            _ => format!(", packed into {} in {} units", size(image.packed()), image.units.len()),
        };
        lines.push(("image", format!("{} pages, {bytes}{packed}", info.pages)));
        let mut machine = vec![format!("{} pages of RAM", info.physical_pages)];
        machine.extend(info.jump.map(|jump| format!("e820 CRC {:#010x}", jump.e820_checksum)));
        if image.header.flags.contains(Flags::HARDWARE_SIGNATURE) {
            machine.push(format!("hardware signature {:#010x}", image.header.hardware_signature));
        }
        lines.push(("machine", machine.join(", ")));
        if let Some(jump) = info.jump {
            let text = format!("{:#x}, physical {:#x}, CR3 {:#x}", jump.address, jump.physical, jump.cr3);
            lines.push(("jumps to", text));
        }
    }
    if image.header.flags.contains(Flags::CRC32) {
        let stored = image.header.crc32;
        let found = match image.crc32 {
            Some(found) if found == stored => "as found".to_owned(),
            Some(found) => format!("{found:#010x} found"),
            None => "not all of it could be read".to_owned(),
        };
        lines.push(("CRC", format!("{stored:#010x}, {found}")));
    }
    lines
}

fn places(image: &Swsusp, all: bool) -> Vec<(&'static str, String)> {
    let pieces = image.pieces();
    if all {
        let line = |(role, range): (Role, std::ops::Range<u64>)| {
            let (label, number) = match role {
                Role::Header => ("header", String::new()),
                Role::Map(number) => ("map", format!("   page {number}")),
                Role::Info => ("swsusp_info", String::new()),
                Role::Data(map) => ("data", format!("   by map page {map}")),
            };
            (label, format!("bytes {}..{}{number}", range.start, range.end))
        };
        return pieces.into_iter().map(line).collect();
    }
    let header = format!("byte {}", image.part.start().saturating_add(image.header_at));
    let slots: Vec<String> =
        image.map.pages.iter().take(FEW).map(|page| format!("{:#x}", page.slot)).collect();
    let more = image.map.pages.len().saturating_sub(FEW);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let map = format!("{} pages, in slots {}{more}", image.map.pages.len(), slots.join(" "));
    let data = pieces.iter().filter(|(role, _)| matches!(role, Role::Info | Role::Data(_)));
    let ends = |slot: Option<u64>| slot.map_or_else(|| "-".into(), |slot| format!("{slot:#x}"));
    let data = format!(
        "{} slots in {} pieces, from {} to {}",
        image.map.len(),
        data.count(),
        ends(image.map.slots().min()),
        ends(image.map.slots().max())
    );
    vec![("header", header), ("map", map), ("data", data)]
}

fn verdict(image: &Swsusp) -> String {
    let Some((flaw, reaction)) = image.flaw.as_ref().zip(image.reaction()) else {
        return match image.header.state {
            State::Valid => {
                "whole: a kernel resumes from it on a machine with the same RAM, e820 map and hardware signature"
            }
            State::Consumed | State::Empty => "whole, but no kernel looks at it",
        }
        .into();
    };
    let kernel = match (image.header.state, reaction) {
        (State::Consumed | State::Empty, _) => "no kernel looks at it",
        (_, Reaction::Refuses) => "a kernel refuses it, and the boot is a cold one",
        (_, Reaction::Unnoticed) => "a kernel does not notice, and resumes into wrong memory",
        (_, Reaction::Harmless) => "a kernel does not notice, and restores all the same",
        (_, Reaction::Hangs) => "a kernel follows the map until it is out of memory",
    };
    format!("broken: {flaw}; {kernel}")
}

/// Where a page frame lies.
pub fn place(image: &Swsusp, frame: u64) -> String {
    match image.locate(frame) {
        None => "not in the image".into(),
        Some(Location::Zero) => "zero, not stored".into(),
        Some(Location::Slots(slots)) => {
            let [first, last] = [slots.first(), slots.last()].map(|slot| slot.map_or((0, 0), |slot| *slot));
            let maps = if first.1 == last.1 {
                format!("page {}", first.1)
            } else {
                format!("pages {}, {}", first.1, last.1)
            };
            match slots.len() {
                1 => format!("in slot {:#x}, by map {maps}", first.0),
                count => {
                    format!("in a unit of {count} slots from {:#x} to {:#x}, by map {maps}", first.0, last.0)
                }
            }
        }
    }
}
