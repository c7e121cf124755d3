//! What was on its way to the disks at one moment: a power cut, or the acceptance of a commit record.

use std::ops::Range;

use agent_protocol::image::{HEADER_LEN, Header, State as ImageState};
use devices::disk::write_log::{PowerMark, Record as Logged};
use devices::disk::{Contents, Extent};
use devices::{DiskAction, PowerEvent};

use crate::checks::Record;
use crate::checks::record::{Place, Request, places};
use crate::history::Happening;
use crate::language::Use;
use crate::report::words;

/// Requests that are shown before the moment, and after it.
const BEFORE: usize = 230;
const AFTER: usize = 10;
/// Moments that are shown.
const MOMENTS: usize = 8;
const SECTOR: u64 = 512;
/// Where the signature of a swap partition stands: sector, and byte in it.
const SIGNATURE: (u64, usize) = (7, 502);

/// A moment, and the requests around it in the order in which they were accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// Place in the history.
    pub at: usize,
    /// What happens.
    pub what: What,
    /// Which boot.
    pub boot: u32,
    /// Those around it.
    pub cells: Vec<Cell>,
    /// Requests of this boot that are too far away to be shown.
    pub left_out: usize,
    /// Of all writes of this boot, how many are how far, whether they are shown or not.
    pub writes: Vec<State>,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The power fails.
    Cut,
    /// A commit record is accepted.
    Commit(Mark),
}

/// A commit record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// From now on the image counts.
    Header,
    /// From now on it does not.
    Reset,
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Kind.
    pub kind: Kind,
    /// How far it is at the moment.
    pub state: State,
    /// It is a commit record.
    pub mark: Option<Mark>,
    /// Whose sectors it writes.
    pub owner: Option<Use>,
    /// All there is to say of it.
    pub about: String,
}

/// Kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A write, a discard or a write of zeros.
    Write,
    /// A write that is completed when it is durable.
    Fua,
    /// A flush.
    Flush,
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It cannot be lost any more. Of a flush: done.
    Durable,
    /// The guest was told that it is done, and it can be lost.
    Completed,
    /// The disk has it, and nobody was told of its end.
    InFlight,
    /// The power took it.
    Lost,
    /// It could have been lost, and was not.
    Survived,
    /// It comes later.
    Later,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Durable, Self::Completed, Self::InFlight, Self::Lost, Self::Survived, Self::Later];

    /// In words, and as a class of the style sheet.
    pub fn name(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Completed => "completed",
            Self::InFlight => "in-flight",
            Self::Lost => "lost",
            Self::Survived => "survived",
            Self::Later => "later",
        }
    }
}

/// The moments of a run that matter to its disks: the cuts first, then commit records.
pub fn moments(record: &Record<'_>, requests: &[Request<'_>]) -> Vec<Moment> {
    let entries = record.entries();
    let steps = steps(record);
    let owners = owners(record);
    let marks = marks(record, requests);
    let lost = lost(record);
    let cuts =
        entries.iter().enumerate().filter(|(_, entry)| entry.what == Happening::Power(PowerEvent::Cut));
    let cuts = cuts.zip(0..).map(|((at, entry), number)| (at, entry.boot, What::Cut, Some(number)));
    let commits = requests.iter().zip(&marks).filter_map(|(request, mark)| {
        let mark = (*mark)?;
        Some((request.accepted, request.boot, What::Commit(mark), None))
    });
    let show = |(at, boot, what, cut): (usize, u32, What, Option<usize>)| {
        let here: Vec<(&Request<'_>, Option<Mark>)> = requests
            .iter()
            .zip(marks.iter().copied())
            .filter(|(request, _)| request.boot == boot && !matches!(request.action, DiskAction::Read(_)))
            .collect();
        let state_of = |request: &Request<'_>| match cut {
            Some(cut) if request.cut == Some(at) && request.changes_contents() => {
                let reverted = lost.get(request.disk).and_then(|cuts| cuts.get(cut));
                let is_lost = |ranges: &Vec<Range<u64>>| ranges.iter().any(|range| request.touches(range));
                if reverted.is_some_and(is_lost) { State::Lost } else { State::Survived }
            }
            _ => state(request, at),
        };
        let writes = here
            .iter()
            .filter(|(request, _)| request.changes_contents())
            .map(|(request, _)| state_of(request))
            .collect();
        let middle = here.partition_point(|(request, _)| request.accepted < at);
        let mut first = middle.saturating_sub(BEFORE);
        if cut.is_some() {
            // Whatever could be lost is shown, within reason.
            let volatile = here.iter().position(|(request, _)| request.cut == Some(at));
            first =
                volatile.map_or(first, |volatile| volatile.min(first)).max(middle.saturating_sub(4 * BEFORE));
        }
        let last = if cut.is_some() { middle } else { (middle + AFTER).min(here.len()) };
        let cells = here.get(first..last).unwrap_or_default().iter().map(|(request, mark)| {
            let state = state_of(request);
            let owner = request.extent().and_then(|extent| {
                owners
                    .iter()
                    .find(|(_, place)| place.disk == request.disk && place.sectors().contains(&extent.sector))
            });
            let step =
                steps.iter().rfind(|(begin, _)| *begin <= request.accepted).map_or("", |(_, step)| *step);
            Cell {
                kind: match request.action {
                    DiskAction::Flush => Kind::Flush,
                    DiskAction::Write { fua: true, .. } => Kind::Fua,
                    _ => Kind::Write,
                },
                state,
                mark: *mark,
                owner: owner.map(|(what, _)| *what),
                about: about(record, request, *mark, state, owner, step),
            }
        });
        Moment { at, what, boot, cells: cells.collect(), left_out: first, writes }
    };
    cuts.chain(commits).take(MOMENTS).map(show).collect()
}

/// How far a request is at this place of the history.
fn state(request: &Request<'_>, at: usize) -> State {
    let before = |place: Option<usize>| place.is_some_and(|place| place < at);
    let done = before(request.completed) || before(request.failed);
    match request.action {
        _ if request.accepted > at => State::Later,
        DiskAction::Flush if done => State::Durable,
        _ if request.durable_before(at) => State::Durable,
        _ if done => State::Completed,
        _ => State::InFlight,
    }
}

fn about(
    record: &Record<'_>,
    request: &Request<'_>,
    mark: Option<Mark>,
    state: State,
    owner: Option<&(Use, Place)>,
    step: &str,
) -> String {
    let disk = record.scenario.disks.get(request.disk).map_or("?", |disk| disk.name.as_str());
    let kind = match request.action {
        DiskAction::Flush => "flush",
        DiskAction::Write { fua: true, .. } => "write, FUA",
        DiskAction::Write { .. } => "write",
        DiskAction::Discard(_) => "discard",
        DiskAction::WriteZeroes(_) => "write of zeros",
        DiskAction::Read(_) => "read",
    };
    let mut text = format!("#{} {kind}", request.number);
    match mark {
        Some(Mark::Header) => text += ": commit record, the image counts from here on",
        Some(Mark::Reset) => text += ": reset of the commit record",
        None => {}
    }
    if let Some(Extent { sector, sectors }) = request.extent() {
        text += &format!("\nsector {sector}, {}", words::size(sectors.saturating_mul(SECTOR)));
    }
    text += &match owner {
        Some((what, place)) => format!("\n{disk}, partition {} ({})", place.partition, what.name()),
        None => format!("\n{disk}"),
    };
    let at = record.entries().get(request.accepted).map_or(0, |entry| entry.at.time.0);
    let state = match (request.action, state) {
        (DiskAction::Flush, State::Durable) => "done",
        (_, state) => state.name(),
    };
    text + &format!("\naccepted {:.6} s after power-on, in `{step}`\n{state}", at as f64 / 1e9)
}

/// Where steps begin.
fn steps<'a>(record: &Record<'a>) -> Vec<(usize, &'a str)> {
    let steps = record.entries().iter().enumerate().filter_map(|(at, entry)| match &entry.what {
        Happening::StepBegins { step, .. } => Some((at, step.as_str())),
        _ => None,
    });
    steps.collect()
}

/// The partitions.
pub fn owners(record: &Record<'_>) -> Vec<(Use, Place)> {
    let mut owners: Vec<(Use, Place)> = [Use::Ext4, Use::Swap, Use::Image]
        .into_iter()
        .flat_map(|what| places(record.scenario, what).into_iter().map(move |place| (what, place)))
        .collect();
    owners.sort_by_key(|(_, place)| (place.disk, place.partition));
    owners
}

/// Which requests are commit records.
pub fn marks(record: &Record<'_>, requests: &[Request<'_>]) -> Vec<Option<Mark>> {
    let mut owners: Vec<(Use, Place, bool)> =
        owners(record).into_iter().map(|(what, place)| (what, place, false)).collect();
    let mut marks = Vec::with_capacity(requests.len());
    for request in requests {
        let mut mark = None;
        for (what, place, counts) in &mut owners {
            if place.disk != request.disk
                || !request.touches(&(place.sectors().start..place.sectors().start + 8))
            {
                continue;
            }
            let found = request.changes.iter().find_map(|(extent, contents)| match contents {
                Contents::Data(data) => commits(*what, place, *extent, data),
                Contents::Zeros | Contents::Discarded => None,
            });
            // What is no image yet is not reset: a blank swap partition is just made.
            if let Some(found) = found.filter(|found| *found == Mark::Header || *counts) {
                *counts = found == Mark::Header;
                mark = Some(found);
            }
        }
        marks.push(mark);
    }
    marks
}

fn commits(what: Use, place: &Place, extent: Extent, data: &[u8]) -> Option<Mark> {
    let bytes = |sector: u64, offset: usize, len: usize| {
        let begin = place.sectors().start.checked_add(sector)?.checked_sub(extent.sector)?;
        let begin = usize::try_from(begin.checked_mul(SECTOR)?).ok()?.checked_add(offset)?;
        data.get(begin..begin.checked_add(len)?)
    };
    match what {
        Use::Swap => match bytes(SIGNATURE.0, SIGNATURE.1, 10)? {
            b"S1SUSPEND\0" => Some(Mark::Header),
            b"SWAPSPACE2" => Some(Mark::Reset),
            _ => None,
        },
        Use::Image => {
            let sector: &[u8; HEADER_LEN] = bytes(0, 0, HEADER_LEN)?.try_into().ok()?;
            match Header::decode(sector).ok()?.state {
                ImageState::Valid => Some(Mark::Header),
                ImageState::Consumed => Some(Mark::Reset),
                ImageState::Writing | ImageState::Failed(_) => None,
            }
        }
        _ => None,
    }
}

/// Sectors that did not survive each cut, by disk.
fn lost(record: &Record<'_>) -> Vec<Vec<Vec<Range<u64>>>> {
    let of_disk = |log: &devices::disk::WriteLog| {
        let mut cuts: Vec<Vec<Range<u64>>> = Vec::new();
        let mut is_cut = false;
        for entry in log.entries() {
            match &entry.record {
                Logged::Power(mark) => {
                    is_cut = *mark == PowerMark::Cut;
                    if is_cut {
                        cuts.push(Vec::new());
                    }
                }
                Logged::Lost { reverted } if is_cut => {
                    if let Some(ranges) = cuts.last_mut() {
                        let range =
                            |extent: &Extent| extent.sector..extent.sector.saturating_add(extent.sectors);
                        ranges.extend(reverted.iter().map(|(extent, _)| range(extent)));
                    }
                }
                _ => {}
            }
        }
        cuts
    };
    record.logs.iter().map(of_disk).collect()
}
