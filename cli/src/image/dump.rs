//! Page frames in lists and in hexadecimal.

use scenarios::image::Page;
use scenarios::image::frames::{Frames, Kept};

/// Page frames that follow each other and are of one kind: the first, how many, whether they are stored.
pub fn runs(frames: &Frames) -> Vec<(u64, u64, bool)> {
    let mut runs: Vec<(u64, u64, bool)> = Vec::new();
    for (frame, kept) in frames.iter() {
        let stored = kept != Kept::Zero;
        match runs.last_mut() {
            Some((first, count, kind)) if *kind == stored && *first + *count == frame => *count += 1,
            _ => runs.push((frame, 1, stored)),
        }
    }
    runs
}

/// The runs, a line each.
pub fn lines(frames: &Frames) -> Vec<(&'static str, String)> {
    let line = |(first, count, stored): (u64, u64, bool)| {
        let kind = if stored { "stored" } else { "zero" };
        ("frames", format!("{first:#x}..{:#x}   {count} {kind}", first + count))
    };
    runs(frames).into_iter().map(line).collect()
}

/// A page: where it is, and what.
pub fn page(frame: u64, page: Option<Page>, place: &str) -> String {
    let mut text = format!("  page {frame:#x}   {place}\n");
    let Some(page) = page else { return text };
    let (rows, _) = page.bytes().as_chunks::<16>();
    let mut last = None;
    let mut repeats = false;
    for (row, at) in rows.iter().zip((0u64..).step_by(16)) {
        if last == Some(row) {
            if !repeats {
                text += "    *\n";
            }
            repeats = true;
            continue;
        }
        (last, repeats) = (Some(row), false);
        let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        let letters: String = row
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' })
            .collect();
        let address = frame.saturating_mul(4096).saturating_add(at);
        text += &format!("    {address:08x}  {}  |{letters}|\n", hex.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_kind_are_one_run() {
        let frames = Frames { stored: vec![1, 2, 3, 6], zero: vec![4, 5, 9] };
        assert_eq!(runs(&frames), [(1, 3, true), (4, 2, false), (6, 1, true), (9, 1, false)]);
    }
}
