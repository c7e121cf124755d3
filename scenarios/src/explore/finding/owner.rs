//! Whose a sector is, in words: of a sleeping image what it is to it, of a file system which of its parts.

use std::ops::Range;

use agent_protocol::image::{HEADER_LEN, Header, INDEX_OFFSET};
use devices::PowerEvent;
use devices::disk::{Contents, Extent, Media, SECTOR};

use super::FindingError;
use super::loss::Then;
use crate::checks::Record;
use crate::checks::ext4::Ext4;
use crate::checks::record::{Place, Request, places};
use crate::explore::judge::{Commit, Format};
use crate::history::Happening;
use crate::image::swap_header::State;
use crate::image::swsusp::Role;
use crate::image::{PAGE, Part, Swsusp};
use crate::language::Use;

/// Names that are given of one write.
const NAMES: usize = 3;

/// A sector that commits an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRecord {
    /// Of which disk.
    pub disk: usize,
    /// It.
    pub sector: u64,
    /// Of swap, or of an image partition.
    pub what: Use,
}

/// What lies where, as one boot left it.
pub struct Owners {
    places: Vec<(Use, Place)>,
    /// In bytes of the disk. What is named first is named.
    pieces: Vec<(usize, Range<u64>, Piece)>,
    files: Vec<(Place, Ext4)>,
    commits: Vec<CommitRecord>,
}

/// What a stretch is to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Header,
    Map { number: usize, of: usize },
    Other(&'static str),
}

impl Piece {
    fn name(&self) -> String {
        match self {
            Self::Header => "swap header".into(),
            Self::Map { number, of } => format!("swap map page {} of {of}", number + 1),
            Self::Other(name) => (*name).into(),
        }
    }
}

impl Owners {
    /// In the boot that this entry of the history is of.
    ///
    /// # Errors
    /// [`FindingError`].
    pub fn at(record: &Record<'_>, entry: usize, commit: &Commit) -> Result<Self, FindingError> {
        let entries = record.entries();
        let boot = entries.get(entry).map_or(1, |entry| entry.boot);
        let ends = |at: &usize| {
            matches!(
                entries.get(*at).map(|entry| &entry.what),
                Some(Happening::Power(
                    PowerEvent::Off | PowerEvent::Cut | PowerEvent::On | PowerEvent::Reset
                ))
            )
        };
        let end = (entry + 1..entries.len()).find(ends).unwrap_or(entries.len());
        let begin = entries.iter().position(|other| other.boot == boot).unwrap_or(0);
        let media = |at: usize| -> Result<Vec<Media>, FindingError> {
            let then = Then::at(record, at)?;
            Ok(then.disks.iter().map(|disk| disk.current()).collect::<Result<_, _>>()?)
        };
        let (last, first) = (media(end.saturating_sub(1))?, media(begin)?);
        let mut owners = Self {
            places: [Use::Swap, Use::Image, Use::Ext4]
                .into_iter()
                .flat_map(|what| places(record.scenario, what).into_iter().map(move |place| (what, place)))
                .collect(),
            pieces: Vec::new(),
            files: Vec::new(),
            commits: Vec::new(),
        };
        for (what, place) in owners.places.clone() {
            let part = |media: &[Media]| media.get(place.disk).map(|media| Part::of(media, &place.bytes));
            match what {
                Use::Swap => {
                    let sector = (place.bytes.start + PAGE as u64) / SECTOR - 1;
                    owners.commits.push(CommitRecord { disk: place.disk, sector, what });
                    let read =
                        |media: &[Media]| part(media).and_then(|part| Swsusp::read(&part, 0).ok().flatten());
                    let images = [read(&last), read(&first)];
                    if !owners.swsusp(place.disk, &images) {
                        let page = place.bytes.start..place.bytes.start + PAGE as u64;
                        owners.pieces.push((place.disk, page, Piece::Header));
                    }
                }
                Use::Image => {
                    let sector = place.bytes.start / SECTOR;
                    owners.commits.push(CommitRecord { disk: place.disk, sector, what });
                    owners.ours(&place, part(&last));
                }
                Use::Ext4 => {
                    let map = part(&last).and_then(|part| Ext4::read(&part));
                    owners.files.extend(map.map(|map| (place, map)));
                }
            }
        }
        owners.swap_file(commit, &last, &first);
        Ok(owners)
    }

    /// A swap file that the kernel hibernates to.
    fn swap_file(&mut self, commit: &Commit, last: &[Media], first: &[Media]) {
        let sector = commit.sectors().start;
        let known = self.commits.iter().any(|known| known.disk == commit.disk && known.sector == sector);
        if known || commit.format != Format::Swsusp {
            return;
        }
        self.commits.push(CommitRecord { disk: commit.disk, sector, what: Use::Swap });
        let read = |media: &[Media]| {
            let part = Part::of(media.get(commit.disk)?, &commit.part);
            Swsusp::read(&part, commit.at.saturating_sub(commit.part.start)).ok().flatten()
        };
        if !self.swsusp(commit.disk, &[read(last), read(first)]) {
            self.pieces.push((commit.disk, commit.at..commit.at + PAGE as u64, Piece::Header));
        }
    }

    /// The pieces of the image that a boot left, or of the one that was there when it began. Returns whether there is one.
    fn swsusp(&mut self, disk: usize, images: &[Option<Swsusp>]) -> bool {
        // One that was consumed in this boot was whole when it began.
        let valid = images.iter().flatten().find(|image| image.header.state == State::Valid);
        let Some(image) = valid.or(images.iter().flatten().next()) else { return false };
        let of = image.map.pages.len();
        let name = |role| match role {
            Role::Header => Piece::Header,
            Role::Map(number) => Piece::Map { number, of },
            Role::Info => Piece::Other("first page of the image (swsusp_info)"),
            Role::Data(_) => Piece::Other("image data"),
        };
        self.pieces.extend(image.pieces().into_iter().map(|(role, range)| (disk, range, name(role))));
        true
    }

    fn ours(&mut self, place: &Place, part: Option<Part>) {
        let start = place.bytes.start;
        let mut sector = [0; HEADER_LEN];
        let header = part.and_then(|part| {
            part.read(0, &mut sector).ok()?;
            Header::decode(&sector).ok()
        });
        let data = header.map_or(INDEX_OFFSET, |header| header.data_offset());
        let pieces = [
            (0..HEADER_LEN as u64, "image header"),
            (INDEX_OFFSET..data, "image index"),
            (data..place.bytes.end - start, "image data"),
        ];
        let on_disk = |range: &Range<u64>| start.saturating_add(range.start)..start.saturating_add(range.end);
        self.pieces
            .extend(pieces.iter().map(|(range, name)| (place.disk, on_disk(range), Piece::Other(name))));
    }

    /// Sectors that commit images.
    pub fn commits(&self) -> &[CommitRecord] {
        &self.commits
    }

    /// Whose these sectors are.
    pub fn of(&self, disk: usize, extent: Extent) -> String {
        let bytes = extent.sector * SECTOR..extent.end() * SECTOR;
        let touches = |range: &Range<u64>| range.start < bytes.end && bytes.start < range.end;
        let mut names: Vec<String> = Vec::new();
        for (_, _, piece) in self.pieces.iter().filter(|(on, range, _)| *on == disk && touches(range)) {
            let name = piece.name();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        // A swap file is the image's, wherever it lies.
        let is_image = !names.is_empty();
        for (place, map) in self.files.iter().filter(|(place, _)| place.disk == disk && !is_image) {
            if touches(&place.bytes) {
                let inside = bytes.start.saturating_sub(place.bytes.start)
                    ..bytes.end.min(place.bytes.end).saturating_sub(place.bytes.start);
                names.extend(map.touched(&inside).iter().map(|part| format!("ext4 {}", part.name())));
            }
        }
        if names.is_empty() {
            let place = self.places.iter().find(|(_, place)| place.disk == disk && touches(&place.bytes));
            names.push(match place {
                Some((Use::Swap, _)) => "swap, not of the image".into(),
                Some((what, _)) => what.name().into(),
                None if extent.sector < (1 << 20) / SECTOR => "partition table".into(),
                None => "no partition".into(),
            });
        }
        let more = names.len().saturating_sub(NAMES);
        names.truncate(NAMES);
        if more > 0 {
            names.push(format!("{more} more"));
        }
        names.join(", ")
    }

    /// What a write makes of a commit record, if it writes one: `header S1SUSPEND`.
    pub fn commit(&self, request: &Request<'_>) -> Option<String> {
        let record = self.commits.iter().find(|record| {
            record.disk == request.disk && request.touches(&(record.sector..record.sector + 1))
        })?;
        let sector = request.changes.iter().rev().find_map(|(extent, contents)| {
            let into = record.sector.checked_sub(extent.sector).filter(|into| *into < extent.sectors)?;
            let Contents::Data(data) = contents else { return Some([0; SECTOR as usize]) };
            data.get((into * SECTOR) as usize..)?.first_chunk::<{ SECTOR as usize }>().copied()
        })?;
        let says = if record.what == Use::Swap {
            let signature = sector.get(SECTOR as usize - 10..).unwrap_or_default();
            let end = signature.iter().position(|byte| *byte == 0).unwrap_or(signature.len());
            String::from_utf8_lossy(signature.get(..end).unwrap_or_default()).into_owned()
        } else {
            let state = sector.first_chunk().and_then(|sector| Header::decode(sector).ok());
            state.map_or_else(
                || "unreadable".to_owned(),
                |header| format!("{:?}", header.state).to_lowercase(),
            )
        };
        Some(format!("header {says}"))
    }
}
