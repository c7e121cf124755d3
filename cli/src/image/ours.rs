//! An image of ours, in words.

use scenarios::image::ours::{Kind, State};
use scenarios::image::{Ours, PAGE};

use super::dump;
use crate::output::size;

/// In a few words.
pub fn words(image: &Ours) -> String {
    let kind = match image.header.as_ref().map(|header| header.kind) {
        Some(Kind::JumpedMemory) => "kjvm image of a kernel that jumped away",
        Some(Kind::SnapshotStream) => "kjvm image from /dev/snapshot",
        None => "kjvm image",
    };
    format!("{kind}{}", if image.flaw.is_some() { ", broken" } else { "" })
}

/// All of it: labels and texts.
pub fn lines(image: &Ours, pages: bool) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(header) = &image.header {
        lines.push(("state", state(header.state)));
        if matches!(header.state, State::Valid | State::Consumed) {
            lines.push(("kernel", format!("Linux {}", header.release)));
            let stored = size(header.stored.saturating_mul(PAGE as u64));
            let text = format!(
                "{} pages in {} extents, {} stored, {stored}",
                header.pages, header.extents, header.stored
            );
            lines.push(("image", text));
            let (stored, zero) = (image.frames.stored.len(), image.frames.zero.len());
            lines.push(("memory", format!("{} pages: {stored} stored, {zero} zero", image.frames.len())));
        }
        if header.kind == Kind::JumpedMemory && header.state == State::Valid {
            lines.push(("jumps to", format!("physical {:#x}", header.entry)));
        }
    }
    if let Some(info) = &image.info {
        let mut machine = vec![format!("{} pages of RAM", info.physical_pages)];
        machine.extend(info.jump.map(|jump| format!("e820 CRC {:#010x}", jump.e820_checksum)));
        lines.push(("machine", machine.join(", ")));
        if let Some(jump) = info.jump {
            let text = format!("{:#x}, physical {:#x}, CR3 {:#x}", jump.address, jump.physical, jump.cr3);
            lines.push(("jumps to", text));
        }
    }
    if let Some(pieces) = image.pieces() {
        for (label, range) in ["header", "index", "data"].into_iter().zip(pieces) {
            lines.push((label, format!("bytes {}..{}", range.start, range.end)));
        }
    }
    if pages {
        lines.extend(dump::lines(&image.frames));
    }
    lines.push(("verdict", verdict(image)));
    lines
}

fn state(state: State) -> String {
    match state {
        State::Writing => "writing: saving was not finished".into(),
        State::Valid => "valid".into(),
        State::Consumed => "consumed: it is not entered again".into(),
        State::Failed(errno) => format!("failed: saving ended with errno {errno}"),
    }
}

fn verdict(image: &Ours) -> String {
    match (&image.flaw, image.is_valid()) {
        (Some(flaw), _) => format!("broken: {flaw}; it is refused"),
        (None, true) => "whole: it can be entered, once".into(),
        (None, false) => "nobody enters it".into(),
    }
}

/// Where a page frame lies.
pub fn place(image: &Ours, frame: u64) -> String {
    match (image.frames.find(frame), image.locate(frame)) {
        (None, _) => "not in the image".into(),
        (Some(_), Some(range)) => format!("bytes {}..{}", range.start, range.end),
        (Some(_), None) => "zero, not stored".into(),
    }
}
