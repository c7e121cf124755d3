//! `kjvm image`: what sleeps on a disk, and whether it would wake.

mod dump;
mod json;
mod ours;
mod swsusp;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use devices::disk::{BaseError, Media};
use scenarios::image::find::{Contents, Found, Layout, contents};
use scenarios::image::ours::State;
use scenarios::image::partitions::Table;
use scenarios::image::swap_header::State as SwapState;
use scenarios::image::{PAGE, Part, Swsusp, flaw, swsusp as library};
use vmm::DiskFile;

use crate::failure::{Code, Failure};
use crate::output::{size, write_json};

/// What to look into.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 no image, or all that are valid are whole; 1 an image that is valid, or its header, is broken; 2 wrong arguments."
)]
pub struct Image {
    /// A raw disk image, or a block device. Never written.
    disk: PathBuf,
    /// Looks into this partition only.
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// The image is in a swap file whose header is at this byte of the partition: resume_offset= times 4096.
    #[arg(long, value_name = "BYTES")]
    offset: Option<u64>,
    /// Lists page frames, and where everything lies.
    #[arg(long)]
    pages: bool,
    /// Shows the contents of a page frame, by its number: 4096 or 0x1000.
    #[arg(long, value_name = "PFN", value_parser = number)]
    page: Option<u64>,
    /// Writes all of it to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn number(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x");
    let number = digits.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16));
    number.map_err(|_| format!("{text:?} is no number: 4096 or 0x1000"))
}

/// Decodes.
pub fn run(arguments: &Image, quiet: bool) -> Result<ExitCode, Failure> {
    let file = DiskFile::open(&arguments.disk).map_err(|error| Failure::new(Code::Arguments, error))?;
    let media = Media::over(Arc::new(file)).map_err(|error| Failure::new(Code::Arguments, error))?;
    let layout = Layout::of(&media).map_err(unreadable)?;
    let found = chosen(arguments, &layout)?
        .into_iter()
        .map(|(partition, part)| {
            let contents = look(arguments, &part)?;
            Ok(Found { partition, part, contents })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    if let Some(path) = &arguments.json {
        write_json(path, &json::of(&arguments.disk, &media, layout.table, &found, arguments.pages))?;
    }
    if !quiet {
        let mut text = overview(arguments, &media, layout.table, &found);
        for found in &found {
            text += &details(arguments, found)?;
        }
        // Who reads may stop reading.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    if let Some(flaw) = found.iter().find_map(unreadable_part) {
        return Err(Failure::new(Code::Host, flaw));
    }
    Ok(if found.iter().any(is_broken) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn unreadable(error: BaseError) -> Failure {
    Failure::new(Code::Host, error)
}

/// The partitions that were asked for.
fn chosen(arguments: &Image, layout: &Layout) -> Result<Vec<(Option<u32>, Part)>, Failure> {
    let wrong =
        |text: String| Err(Failure::new(Code::Arguments, format!("{}: {text}", arguments.disk.display())));
    let numbers: Vec<String> =
        layout.parts.iter().filter_map(|(number, _)| number.map(|number| number.to_string())).collect();
    let mut parts = layout.parts.clone();
    match arguments.partition {
        Some(wanted) => {
            parts.retain(|(number, _)| *number == Some(wanted));
            if parts.is_empty() && numbers.is_empty() {
                return wrong(format!("no partition {wanted}: the disk has no partition table"));
            }
            if parts.is_empty() {
                return wrong(format!("no partition {wanted}: there are {}", numbers.join(", ")));
            }
        }
        None if arguments.offset.is_some() && parts.len() > 1 => {
            return wrong(format!(
                "--offset is a byte of a partition: add --partition {}",
                numbers.join("|")
            ));
        }
        None => {}
    }
    Ok(parts)
}

fn look(arguments: &Image, part: &Part) -> Result<Contents, Failure> {
    let Some(offset) = arguments.offset else { return contents(part).map_err(unreadable) };
    let wrong = |text| Err(Failure::new(Code::Arguments, format!("{}: {text}", arguments.disk.display())));
    if !offset.is_multiple_of(PAGE as u64) {
        return wrong(format!("--offset {offset}: the header of swap is a page, at a multiple of {PAGE}"));
    }
    if let Some(image) = Swsusp::read(part, offset).map_err(unreadable)? {
        return Ok(Contents::Swsusp(Box::new(image)));
    }
    match library::header(part, offset).map_err(unreadable)? {
        Some(header) => Ok(Contents::Swap(Box::new(header))),
        None => wrong(format!(
            "no header of swap at byte {offset}; of a swap file it is resume_offset= times {PAGE}, the first physical block in `filefrag -v`"
        )),
    }
}

/// An image of which the host could not read all.
fn unreadable_part(found: &Found) -> Option<String> {
    match &found.contents {
        Contents::Swsusp(image) => match &image.flaw {
            Some(flaw @ flaw::Flaw::Unreadable(_)) => Some(flaw.to_string()),
            _ => None,
        },
        Contents::Ours(image) => match &image.flaw {
            Some(flaw @ scenarios::image::ours::OursFlaw::Unreadable(_)) => Some(flaw.to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// An image that says it is valid, or a header that says nothing any more.
fn is_broken(found: &Found) -> bool {
    match &found.contents {
        Contents::Swsusp(image) => image.header.state == SwapState::Valid && image.flaw.is_some(),
        Contents::Ours(image) => {
            image.flaw.is_some() && image.header.as_ref().is_none_or(|header| header.state == State::Valid)
        }
        _ => false,
    }
}

/// One line for the disk, and one for each partition.
fn overview(arguments: &Image, media: &Media, table: Table, found: &[Found]) -> String {
    let divided = match table {
        Table::None => "no partition table".to_owned(),
        Table::Mbr => "MBR".to_owned(),
        Table::Gpt => "GPT".to_owned(),
    };
    let mut text = format!("{}   {}, {divided}\n", arguments.disk.display(), size(media.bytes()));
    for found in found {
        let number = found.partition.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let (bytes, start) = (size(found.part.bytes()), found.part.start());
        text += &format!("  {number:<3} {bytes:>9} at byte {start:<12} {}\n", words(found));
    }
    text
}

/// What is in a partition, in a few words.
fn words(found: &Found) -> String {
    match &found.contents {
        Contents::Swsusp(image) => format!("swap, {}", swsusp::words(image)),
        Contents::Ours(image) => ours::words(image),
        Contents::Swap(_) => "swap, no image".into(),
        Contents::Ext4 => "ext4; an image in a swap file is found with --offset".into(),
        Contents::Unknown => "no image".into(),
    }
}

fn details(arguments: &Image, found: &Found) -> Result<String, Failure> {
    let lines = match &found.contents {
        Contents::Swsusp(image) => swsusp::lines(image, arguments.pages),
        Contents::Ours(image) => ours::lines(image, arguments.pages),
        Contents::Swap(_) | Contents::Ext4 | Contents::Unknown => return Ok(String::new()),
    };
    let place = found.partition.map_or_else(|| "disk".into(), |number| format!("partition {number}"));
    let mut text = format!("\n{place}   {}\n", words(found));
    for (label, line) in lines {
        text += &format!("  {label:<12} {line}\n");
    }
    match (arguments.page, &found.contents) {
        (Some(frame), Contents::Swsusp(image)) => {
            let page = image.page(frame).map_err(|flaw| Failure::new(Code::Host, flaw))?;
            text += &dump::page(frame, page, &swsusp::place(image, frame));
        }
        (Some(frame), Contents::Ours(image)) => {
            let page = image.page(frame).map_err(|flaw| Failure::new(Code::Host, flaw))?;
            text += &dump::page(frame, page, &ours::place(image, frame));
        }
        _ => {}
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_frames_are_numbers() {
        assert_eq!((number("4096"), number("0x1000")), (Ok(4096), Ok(4096)));
        assert!(number("0x").is_err() && number("-1").is_err() && number("1000h").is_err());
    }
}
