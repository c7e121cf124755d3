//! The picture of a run: boots as lanes, from left to right in virtual time, and the disks under them.

use std::fmt::Write as _;

use agent_protocol::message::Role;
use devices::acpi_pm::SleepState;
use devices::{DiskAction, DiskStep, PowerEvent};
use maud::{Markup, html};

use super::axis::{Axis, Piece, State};
use super::cells::{self, Mark};
use super::kernels::{self, role_class, role_name};
use crate::checks::Record;
use crate::checks::record::Request;
use crate::history::Happening;
use crate::language::Use;
use crate::report::{Report, words};

/// Width of the names at the left, and of the picture beside them.
const NAMES: f64 = 104.0;
pub const WIDTH: f64 = 1096.0;
/// Heights of rows.
const STEPS: f64 = 34.0;
const LANE: f64 = 34.0;
const PARTITION: f64 = 24.0;
const FLUSHES: f64 = 14.0;
const TIMES: f64 = 22.0;
/// Lanes that there are at most: more boots than that use them again.
const LANES: usize = 16;
/// Width of a letter.
const LETTER: f64 = 6.3;
/// Stretches into which a disk's writes are gathered.
const STRETCHES: usize = 2 * WIDTH as usize;

/// One kernel without an interruption.
struct Stretch {
    boot: u32,
    role: Option<Role>,
    from: f64,
    to: f64,
}

/// A number as short as it is exact enough.
pub fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A text that stays readable when time is stretched: shown if it has the room.
fn label(class: &str, (x, y): (f64, f64), indent: f64, room: f64, text: &str) -> Markup {
    let needs = text.chars().count() as f64 * LETTER + indent;
    let hidden = if needs > room { " no" } else { "" };
    html! {
        text class={ (class) (hidden) } x=(short(x)) y=(short(y)) dx=(short(indent)) data-x=(short(x)) data-room=(short(room)) data-needs=(short(needs)) { (text) }
    }
}

/// The whole picture.
pub fn picture(report: &Report, record: &Record<'_>, axis: &Axis, requests: &[Request<'_>]) -> Markup {
    let boots = axis.boots();
    let lanes = boots.len().clamp(1, LANES);
    let lane_of = |boot: u32| boots.iter().position(|known| *known == boot).unwrap_or(0) % LANES;
    let lanes_top = STEPS + 6.0;
    let lane_top = |boot: u32| lanes_top + lane_of(boot) as f64 * LANE;
    let disks_top = lanes_top + lanes as f64 * LANE + 10.0;
    let disks = disks(record, axis, requests, disks_top);
    let bottom = disks_top + disks.height;
    let height = bottom + TIMES;
    let stretches = stretches(record, axis);
    let release = |role: Role| {
        let kernel = report.kernels.iter().find(|kernel| kernel.role == role);
        kernel.map_or(
            "",
            |kernel| if kernel.release.is_empty() { kernel.name.as_str() } else { &kernel.release },
        )
    };
    html! {
        svg id="timeline" viewBox=(format!("0 0 {} {}", short(NAMES + WIDTH), short(height))) role="img" aria-label="Timeline of the run" data-width=(short(WIDTH)) {
            defs {
                (hatch("sleeping")) (hatch("away")) (hatch("dark"))
            }
            // Names of rows.
            text class="row" x="0" y=(short(STEPS - 13.0)) { "steps" }
            @for lane in 0..lanes {
                text class="row" x="0" y=(short(lanes_top + lane as f64 * LANE + 20.0)) {
                    "boot " (boots.iter().skip(lane).step_by(LANES).map(u32::to_string).collect::<Vec<_>>().join(", "))
                }
                rect class="lane" x=(short(NAMES)) y=(short(lanes_top + lane as f64 * LANE + 2.0)) width=(short(WIDTH)) height=(short(LANE - 6.0)) rx="3" {}
            }
            (disks.names)
            svg class="plot" x=(short(NAMES)) y="0" width=(short(WIDTH)) height=(short(height)) {
                g class="scaled" {
                    (ticks(axis, bottom).0)
                    // Who runs.
                    @for stretch in &stretches {
                        rect class={ "kernel " (stretch.role.map_or("nobody", role_class)) }
                            x=(short(stretch.from)) y=(short(lane_top(stretch.boot) + 2.0))
                            width=(short((stretch.to - stretch.from).max(0.8))) height=(short(LANE - 6.0)) {
                            title {
                                @if let Some(role) = stretch.role { "kernel " (role) " (" (role_name(role)) "), " (release(role)) ", boot " (stretch.boot) }
                                @else { "nobody runs yet" }
                            }
                        }
                    }
                    // Sleep, off, and long silence.
                    @for piece in axis.pieces.iter().filter(|piece| piece.state != State::Runs && piece.width > 0.0) {
                        rect class=(hatched(piece.state)) x=(short(piece.x)) y=(short(lane_top(piece.boot) + 2.0))
                            width=(short(piece.width)) height=(short(LANE - 6.0)) {
                            title { (asleep(piece)) ", boot " (piece.boot) }
                        }
                    }
                    (steps(record, axis).0)
                    (disks.drawing)
                    // The power cut, through everything.
                    @for (at, _) in cuts(record) {
                        line class="cut" x1=(short(axis.at(at))) x2=(short(axis.at(at))) y1=(short(lanes_top - 6.0)) y2=(short(bottom)) {}
                    }
                }
                g class="moved" {
                    (steps(record, axis).1)
                    @for stretch in &stretches {
                        @if let Some(role) = stretch.role {
                            @let place = (stretch.from, lane_top(stretch.boot) + 20.0);
                            @let room = axis.runs_until(stretch.boot, stretch.from).min(stretch.to) - stretch.from;
                            @let text = format!("{role}  {}", release(role));
                            @let is_short = room < text.chars().count() as f64 * LETTER + 6.0;
                            @let text = if is_short { role.to_string() } else { text };
                            (label("who", place, if is_short { 3.0 } else { 6.0 }, room, &text))
                        }
                    }
                    @for piece in axis.pieces.iter().filter(|piece| piece.state != State::Runs && piece.width > 0.0) {
                        (label("state", (piece.x, lane_top(piece.boot) + 20.0), 4.0, piece.width + 4.0, piece_name(piece.state)))
                    }
                    @for (at, boot) in cuts(record) {
                        g class="bolt" data-x=(short(axis.at(at))) transform=(format!("translate({} 0)", short(axis.at(at)))) {
                            path d=(format!("M3 {y}l-9 14h6l-4 12 11-16h-6l5-10z", y = short(lane_top(boot) + 3.0))) {
                                title { "power cut" }
                            }
                        }
                    }
                    (disks.marks)
                    (ticks(axis, bottom).1)
                }
            }
        }
    }
}

fn hatch(name: &str) -> Markup {
    html! {
        pattern id=(name) class="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
            rect class={ "ground " (name) } width="7" height="7" {}
            line class={ "stroke " (name) } x1="0" y1="0" x2="0" y2="7" {}
        }
    }
}

fn hatched(state: State) -> &'static str {
    match state {
        State::S3 => "asleep",
        State::Idle => "idle",
        State::Cut => "powerless",
        State::Off(_) | State::Runs => "off",
    }
}

fn piece_name(state: State) -> &'static str {
    match state {
        State::S3 => "S3",
        State::Idle => "…",
        State::Cut => "no power",
        State::Off(SleepState::S4) => "S4",
        State::Off(_) => "S5",
        State::Runs => "",
    }
}

fn asleep(piece: &Piece) -> String {
    match piece.state {
        State::S3 => "asleep in S3".into(),
        State::Idle => {
            format!("nothing happens for {} (not to scale)", words::duration(piece.to - piece.from))
        }
        State::Cut => "no power".into(),
        State::Off(SleepState::S4) => "off, in S4".into(),
        State::Off(_) | State::Runs => "off, in S5".into(),
    }
}

fn cuts(record: &Record<'_>) -> Vec<(usize, u32)> {
    let cuts = record
        .entries()
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.what == Happening::Power(PowerEvent::Cut));
    cuts.map(|(at, entry)| (at, entry.boot)).collect()
}

fn stretches(record: &Record<'_>, axis: &Axis) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let end = axis.pieces.last().map_or(0.0, |piece| piece.x + piece.width);
    for (at, (entry, role)) in record.entries().iter().zip(kernels::who(record.entries())).enumerate() {
        let last = stretches.last().map(|stretch| (stretch.boot, stretch.role));
        if last == Some((entry.boot, role)) {
            continue;
        }
        let is_new = last.is_none_or(|(boot, _)| boot != entry.boot);
        let from = if is_new { axis.boot(entry.boot).map_or(0.0, |(begin, _)| begin) } else { axis.at(at) };
        if let Some(before) = stretches.last_mut() {
            before.to = from;
        }
        stretches.push(Stretch { boot: entry.boot, role, from, to: end });
    }
    stretches
}

/// Steps of the scenario: lines, and their names.
fn steps(record: &Record<'_>, axis: &Axis) -> (Markup, Markup) {
    #[derive(Clone, Copy, PartialEq)]
    enum End {
        Well,
        CutShort,
        Failed,
    }
    struct Shown<'a> {
        name: &'a str,
        cycle: u32,
        from: f64,
        to: f64,
        end: End,
    }
    let mut steps: Vec<Shown<'_>> = Vec::new();
    let mut open = false;
    let end = axis.pieces.last().map_or(0.0, |piece| piece.x + piece.width);
    for (at, entry) in record.entries().iter().enumerate() {
        match &entry.what {
            Happening::StepBegins { cycle, step } => {
                let from = axis.at(at);
                steps.push(Shown { name: step, cycle: *cycle, from, to: end, end: End::Well });
                open = true;
            }
            Happening::StepEnds { well, .. } if open => {
                if let Some(step) = steps.last_mut() {
                    (step.to, step.end) = (axis.at(at), if *well { End::Well } else { End::Failed });
                }
                open = false;
            }
            Happening::Power(PowerEvent::Cut) => {
                // It did not fail, the power did.
                if let Some(step) = steps.last_mut().filter(|step| step.end == End::Failed) {
                    step.end = End::CutShort;
                }
            }
            _ => {}
        }
    }
    let cycles = steps.iter().map(|step| step.cycle).max().unwrap_or(0);
    let first =
        |number: usize| number.checked_sub(1).and_then(|before| steps.get(before)).map(|before| before.cycle);
    let lines = html! {
        @for step in &steps {
            rect class=(match step.end { End::Well => "step", End::CutShort => "step cutshort", End::Failed => "step failed" }) x=(short(step.from)) y=(short(STEPS - 8.0)) width=(short((step.to - step.from - 1.5).max(0.8))) height="5" {
                title {
                    (step.name) @if step.cycle > 0 { ", cycle " (step.cycle) }
                    @match step.end {
                        End::Well => {},
                        End::CutShort => ": cut short by the power",
                        End::Failed => ": did not come to its end",
                    }
                }
            }
        }
    };
    let names = html! {
        @for (number, step) in steps.iter().enumerate() {
            (label("step", (step.from, STEPS - 12.0), 0.0, step.to - step.from, step.name.split(',').next().unwrap_or(step.name)))
            @if cycles > 1 && step.cycle > 0 && first(number) != Some(step.cycle) {
                (label("cycle", (step.from, STEPS - 24.0), 0.0, end, &format!("cycle {}", step.cycle)))
            }
        }
    };
    (lines, names)
}

struct Disks {
    names: Markup,
    drawing: Markup,
    marks: Markup,
    height: f64,
}

fn disks(record: &Record<'_>, axis: &Axis, requests: &[Request<'_>], top: f64) -> Disks {
    let owners = cells::owners(record);
    let marks = cells::marks(record, requests);
    let mut y = top;
    let (mut names, mut drawing, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    for (disk, spec) in record.scenario.disks.iter().enumerate() {
        let of_disk = |request: &&Request<'_>| request.disk == disk;
        let begin = y;
        let mut rows: Vec<(Option<Use>, String, Vec<std::ops::Range<u64>>)> = owners
            .iter()
            .filter(|(_, place)| place.disk == disk)
            .map(|(what, place)| (Some(*what), what.name().to_owned(), vec![place.sectors()]))
            .collect();
        let all: Vec<_> = rows.iter().flat_map(|(_, _, sectors)| sectors.clone()).collect();
        let elsewhere = |request: &Request<'_>| !all.iter().any(|sectors| request.touches(sectors));
        if rows.is_empty()
            || requests.iter().filter(of_disk).any(|request| request.changes_contents() && elsewhere(request))
        {
            rows.insert(0, (None, "elsewhere".into(), Vec::new()));
        }
        names.push(html! { text class="row disk" x="0" y=(short(y + 10.0)) { (spec.name) } });
        y += 16.0;
        for (what, name, sectors) in &rows {
            let written = requests.iter().filter(of_disk).filter(|request| {
                request.changes_contents()
                    && if sectors.is_empty() {
                        elsewhere(request)
                    } else {
                        sectors.iter().any(|sectors| request.touches(sectors))
                    }
            });
            let (path, writes) = density(written, axis, y + PARTITION - 2.0, PARTITION - 4.0);
            let class = what.map_or("elsewhere", owner_class);
            names.push(html! { text class="row" x="10" y=(short(y + PARTITION - 8.0)) { (name) } });
            drawing.push(html! {
                rect class="ground" x="0" y=(short(y)) width=(short(WIDTH)) height=(short(PARTITION - 2.0)) {
                    title { (spec.name) ", " (name) ": " (words::counted(writes, "write", "writes")) }
                }
                path class={ "density " (class) } d=(path) { title { (spec.name) ", " (name) ": " (words::counted(writes, "write", "writes")) } }
            });
            for (request, mark) in requests.iter().zip(&marks).filter(|(request, _)| of_disk(request)) {
                let (Some(mark), true) = (mark, sectors.iter().any(|sectors| request.touches(sectors)))
                else {
                    continue;
                };
                let x = axis.at(request.accepted);
                moved.push(html! {
                    g class=(if *mark == Mark::Header { "commit" } else { "commit reset" }) data-x=(short(x)) transform=(format!("translate({} 0)", short(x))) {
                        path d=(format!("M0 {}l4.5 4.5-4.5 4.5-4.5-4.5z", short(y + 1.0))) {
                            title { (if *mark == Mark::Header { "commit record: the image counts from here on" } else { "commit record reset: the image is spent" }) }
                        }
                    }
                });
            }
            y += PARTITION;
        }
        let flushes = |is: &dyn Fn(&DiskAction) -> bool| {
            let mut path = String::new();
            let mut last = None;
            let mut number = 0;
            for request in requests.iter().filter(of_disk).filter(|request| is(&request.action)) {
                let x = (axis.at(request.accepted) * 4.0).round() as i64;
                if last != Some(x) {
                    let _ = write!(
                        path,
                        "M{} {}v{}",
                        short(x as f64 / 4.0),
                        short(y + 1.0),
                        short(FLUSHES - 4.0)
                    );
                    last = Some(x);
                }
                number += 1;
            }
            (path, number)
        };
        let (plain, number) = flushes(&|action| *action == DiskAction::Flush);
        let (fua, forced) = flushes(&|action| matches!(action, DiskAction::Write { fua: true, .. }));
        let title = match forced {
            0 => words::counted(number, "flush", "flushes"),
            _ => format!(
                "{}, {}",
                words::counted(number, "flush", "flushes"),
                words::counted(forced, "FUA write", "FUA writes")
            ),
        };
        names.push(html! { text class="row" x="10" y=(short(y + FLUSHES - 4.0)) { "flushes" } });
        drawing.push(html! {
            path class="flush" d=(plain) { title { (title) } }
            @if forced > 0 { path class="flush fua" d=(fua) { title { (title) } } }
        });
        y += FLUSHES + 6.0;
        debug_assert!(y > begin);
    }
    Disks {
        names: html! { @for name in &names { (name) } },
        drawing: html! { @for part in &drawing { (part) } },
        marks: html! { @for mark in &moved { (mark) } },
        height: y - top,
    }
}

/// As a class of the style sheet.
pub fn owner_class(what: Use) -> &'static str {
    match what {
        Use::Ext4 => "ext4",
        Use::Swap => "swap",
        Use::Image => "image",
        #[allow(unreachable_patterns, reason = "uses come and go")]
        _ => "elsewhere",
    }
}

/// Writes, gathered: how many there are, and a path whose height grows with the root of how many begin in a stretch.
fn density<'a, 'r: 'a>(
    requests: impl Iterator<Item = &'a Request<'r>>,
    axis: &Axis,
    base: f64,
    height: f64,
) -> (String, u64) {
    let mut stretches = vec![0u32; STRETCHES + 1];
    let mut writes = 0;
    for request in requests {
        let number = (axis.at(request.accepted) / WIDTH * STRETCHES as f64) as usize;
        if let Some(stretch) = stretches.get_mut(number) {
            *stretch += 1;
        }
        writes += 1;
    }
    let most = f64::from(stretches.iter().copied().max().unwrap_or(0).max(3));
    let wide = WIDTH / STRETCHES as f64;
    let mut path = String::new();
    for (number, count) in stretches.iter().enumerate().filter(|(_, count)| **count > 0) {
        let high = (f64::from(*count) / most).sqrt() * height;
        let (x, wide) = (short(number as f64 * wide), short(wide.max(0.9)));
        let _ = write!(path, "M{x} {}v-{high:.1}h{wide}v{high:.1}z", short(base));
    }
    (path, writes)
}

/// Lines of the run time of each boot, and what they say.
fn ticks(axis: &Axis, bottom: f64) -> (Markup, Markup) {
    const NICE: [u64; 10] = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];
    let scale = axis
        .pieces
        .iter()
        .filter(|piece| piece.state == State::Runs && piece.to > piece.from)
        .map(|piece| piece.width / (piece.to - piece.from) as f64)
        .next_back()
        .unwrap_or(1.0);
    // A line every 48 units or more; with names that show when there is room.
    let step = NICE
        .into_iter()
        .map(|milliseconds| milliseconds * 1_000_000)
        .find(|step| *step as f64 * scale >= 24.0);
    let step = step.unwrap_or(60_000_000_000);
    let mut lines = String::new();
    let mut names = Vec::new();
    let mut last = -100.0f64;
    for piece in axis.pieces.iter().filter(|piece| piece.state == State::Runs && piece.to > piece.from) {
        let mut time = piece.from.div_ceil(step) * step;
        while time <= piece.to {
            let x = piece.x + (time - piece.from) as f64 * scale;
            let _ = write!(lines, "M{} {}V{}", short(x), short(STEPS), short(bottom));
            let text = format!("{}", time as f64 / 1e9);
            let text = if time == 0 { format!("boot {}", piece.boot) } else { format!("{text} s") };
            let room = if x - last >= 48.0 || time == 0 { 60.0 } else { 18.0 };
            if room > 18.0 {
                last = x;
            }
            if x < WIDTH - 24.0 {
                names.push(label("time", (x, bottom + 14.0), 2.0, room, &text));
            }
            time += step;
        }
    }
    (html! { path class="ticks" d=(lines) {} }, html! { @for name in &names { (name) } })
}

/// How many writes were accepted, and how many flushes.
pub fn traffic(record: &Record<'_>) -> (u64, u64) {
    let accepted = record.history.disk_events().filter(|(_, event)| {
        event.step == DiskStep::Accepted && usize::from(event.disk) < record.scenario.disks.len()
    });
    accepted.fold((0, 0), |(writes, flushes), (_, event)| match event.action {
        DiskAction::Read(_) => (writes, flushes),
        DiskAction::Flush => (writes, flushes + 1),
        _ => (writes + 1, flushes),
    })
}
