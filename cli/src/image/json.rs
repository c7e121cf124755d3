//! The same for programs.

use std::path::Path;

use devices::disk::Media;
use scenarios::image::find::{Contents, Found};
use scenarios::image::frames::Frames;
use scenarios::image::ours::{Kind, State};
use scenarios::image::partitions::Table;
use scenarios::image::swap_header::{Flags, State as SwapState};
use scenarios::image::swsusp::Role;
use scenarios::image::{Info, Ours, Reaction, Swsusp};
use serde_json::{Value, json};

use super::dump;

/// A disk and what is on it. `pages`: with the page frames.
pub fn of(path: &Path, media: &Media, table: Table, found: &[Found], pages: bool) -> Value {
    let table = match table {
        Table::None => Value::Null,
        Table::Mbr => "mbr".into(),
        Table::Gpt => "gpt".into(),
    };
    json!({
        "disk": path.display().to_string(),
        "bytes": media.bytes(),
        "table": table,
        "partitions": found.iter().map(|found| partition(found, pages)).collect::<Vec<_>>(),
    })
}

fn partition(found: &Found, pages: bool) -> Value {
    let (contents, image) = match &found.contents {
        Contents::Swsusp(image) => ("swsusp", swsusp(image, pages)),
        Contents::Ours(image) => ("kjvm", ours(image, pages)),
        Contents::Swap(_) => ("swap", Value::Null),
        Contents::Ext4 => ("ext4", Value::Null),
        Contents::Unknown => ("unknown", Value::Null),
    };
    json!({
        "partition": found.partition,
        "start": found.part.start(),
        "bytes": found.part.bytes(),
        "contents": contents,
        "image": image,
    })
}

fn swsusp(image: &Swsusp, pages: bool) -> Value {
    let header = &image.header;
    let state = match header.state {
        SwapState::Valid => "valid",
        SwapState::Consumed => "consumed",
        SwapState::Empty => "empty",
    };
    let reaction = image.reaction().map(|reaction| match reaction {
        Reaction::Refuses => "refuses",
        Reaction::Unnoticed => "does not notice",
        Reaction::Harmless => "harmless",
        Reaction::Hangs => "hangs",
    });
    let pieces = image.pieces().into_iter().map(|(role, range)| {
        let (role, map_page) = match role {
            Role::Header => ("header", None),
            Role::Map(number) => ("map", Some(number)),
            Role::Info => ("info", Some(0)),
            Role::Data(number) => ("data", Some(number)),
        };
        json!({ "role": role, "map_page": map_page, "start": range.start, "end": range.end })
    });
    json!({
        "state": state,
        "flaw": image.flaw.as_ref().map(ToString::to_string),
        "kernel_reaction": reaction,
        "kernel": image.banner(),
        "signature": header.signature,
        "original_signature": header.original,
        "flags": header.flags.bits(),
        "platform_mode": header.flags.contains(Flags::PLATFORM),
        "compression": header.compression().name(),
        "hardware_signature":
            header.flags.contains(Flags::HARDWARE_SIGNATURE).then_some(header.hardware_signature),
        "crc32": header.flags.contains(Flags::CRC32).then_some(header.crc32),
        "crc32_found": image.crc32,
        "packed_bytes": image.packed(),
        "info": image.info.as_ref().map(info),
        "pages": counts(&image.frames),
        "pieces": pieces.collect::<Vec<_>>(),
        "frames": pages.then(|| frames(&image.frames)),
    })
}

fn ours(image: &Ours, pages: bool) -> Value {
    let header = image.header.as_ref();
    let state = header.map(|header| match header.state {
        State::Writing => "writing",
        State::Valid => "valid",
        State::Consumed => "consumed",
        State::Failed(_) => "failed",
    });
    let kind = header.map(|header| match header.kind {
        Kind::JumpedMemory => "jumped-memory",
        Kind::SnapshotStream => "snapshot-stream",
    });
    let pieces = image.pieces().map(|pieces| {
        let named = ["header", "index", "data"].into_iter().zip(pieces);
        let pieces =
            named.map(|(role, range)| json!({ "role": role, "start": range.start, "end": range.end }));
        pieces.collect::<Vec<_>>()
    });
    json!({
        "state": state,
        "flaw": image.flaw.as_ref().map(ToString::to_string),
        "kind": kind,
        "kernel": header.map(|header| &header.release),
        "entry": header.map(|header| header.entry),
        "info": image.info.as_ref().map(info),
        "pages": counts(&image.frames),
        "pieces": pieces,
        "frames": pages.then(|| frames(&image.frames)),
    })
}

fn info(info: &Info) -> Value {
    json!({
        "physical_pages": info.physical_pages,
        "image_pages": info.image_pages,
        "pages": info.pages,
        "e820_crc": info.jump.map(|jump| jump.e820_checksum),
        "jump_address": info.jump.map(|jump| jump.address),
        "jump_address_phys": info.jump.map(|jump| jump.physical),
        "cr3": info.jump.map(|jump| jump.cr3),
    })
}

fn counts(frames: &Frames) -> Value {
    json!({ "stored": frames.stored.len(), "zero": frames.zero.len() })
}

/// Runs of page frames: the first, how many, whether they are stored.
fn frames(frames: &Frames) -> Value {
    dump::runs(frames).into_iter().map(|(first, count, stored)| json!([first, count, stored])).collect()
}
