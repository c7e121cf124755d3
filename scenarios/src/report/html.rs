//! A report as one page: no network, readable printed, light and dark.
//!
//! The page is whole without its script, which only zooms. All that comes from a guest or a user goes through the escaping of the
//! template, and a content security policy lets nothing run but the script that is named by its hash.

mod axis;
pub mod campaign;
mod cells;
mod kernels;
mod timeline;

use agent_protocol::message::Role;
use base64::Engine as _;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::{Account, Report, Verdict, words};
use crate::checks::record::Request;
use crate::checks::{Check, Record, Status, complaints};
use crate::language::Use;
use axis::{Axis, State};
use cells::{Kind, Mark, Moment, What};
use kernels::{role_class, role_name};

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/zoom.js");

/// The page.
pub fn page(account: &Account<'_>) -> String {
    let report = account.report;
    let record = &account.record;
    let requests = record.requests();
    let axis = Axis::new(record.entries(), timeline::WIDTH);
    let moments = cells::moments(record, &requests);
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(SCRIPT));
    let policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'"
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content=(concat!("kjvm ", env!("CARGO_PKG_VERSION")));
                title { (super::verdict_word(report.verdict)) " " (report.scenario) " - kjvm" }
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                (top(account))
                @if !axis.pieces.is_empty() {
                    h2 { "Timeline" small { "virtual time; sleep, off and long silence are not to scale" } }
                    (picture(report, record, &axis, &requests, &moments))
                }
                @if !moments.is_empty() {
                    h2 { "On the way to the disk" small { "each write a cell, in the order in which the disk took them" } }
                    (diagrams(&moments))
                }
                h2 { "Checks" small { (super::score(report)) (expected(report)) } }
                (checks(&report.checks))
                (starts(record))
                (console(record))
                (machine(report, record))
                (reproduce(account))
                footer { "kjvm " (env!("CARGO_PKG_VERSION")) " - a power-failure laboratory for sleep" }
            } script { (PreEscaped(SCRIPT)) } }
        }
    };
    page.into_string()
}

fn top(account: &Account<'_>) -> Markup {
    let report = account.report;
    let word = super::verdict_word(report.verdict);
    let class = match report.verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Skipped => "skipped",
        Verdict::Broken => "broken",
    };
    let run_time: u64 = report.phases.iter().map(|phase| phase.nanoseconds).sum();
    let instructions: u64 = report.phases.iter().map(|phase| phase.instructions).sum();
    let (writes, flushes) = timeline::traffic(&account.record);
    let boots = report.phases.last().map_or(0, |phase| phase.boot);
    let cuts = report.power_events.len() as u64;
    html! {
        header {
            div class={ "verdict " (class) } { (word) }
            div {
                h1 { (report.scenario) }
                @if !report.about.is_empty() { p { (report.about) } }
                p class="how" {
                    (report.engine) " engine, seed " (report.seed)
                    @if let Some(digest) = &report.digest { ", digest " code title=(digest) { (digest.get(..8).unwrap_or(digest)) } }
                }
            }
        }
        @if let Some(check) = super::that_matters(report) {
            div class="sentence" {
                p { b { (check.clause) } " " @if let Some(class) = &check.class { (class) } @if !check.of.is_empty() { ", " (check.of) } }
                p class="found" { (super::sentence(check)) }
                p class="ought" { "Has to be true: " (check.clause.about()) "." }
                @if let Some(needs) = check.needs { p class="ought" { "Needs " b { (needs.name()) } ": the weakest disk that shows it." } }
            }
        } @else if let Some(why) = report.broken.as_ref().or(report.skipped.as_ref()) {
            div class="sentence care" { p class="found" { (why) } }
        }
        div class="figures" {
            (figure(&words::count(boots.into()), if boots == 1 { "boot" } else { "boots" }))
            (figure(&words::count(cuts), if cuts == 1 { "power cut" } else { "power cuts" }))
            (figure(&words::duration(run_time), "run time"))
            (figure(&format!("{} M", words::count(instructions.div_ceil(1_000_000))), "instructions"))
            (figure(&words::count(writes), "writes"))
            (figure(&words::count(flushes), "flushes"))
            (figure(&super::score(report), "checks passed"))
        }
    }
}

fn figure(value: &str, what: &str) -> Markup {
    html! { div { b { (value) } span { (what) } } }
}

fn picture(
    report: &Report,
    record: &Record<'_>,
    axis: &Axis,
    requests: &[Request<'_>],
    moments: &[Moment],
) -> Markup {
    let is = |wanted: &dyn Fn(State) -> bool| axis.pieces.iter().any(|piece| wanted(piece.state));
    let roles: Vec<Role> = report.kernels.iter().map(|kernel| kernel.role).collect();
    let uses = [Use::Ext4, Use::Swap, Use::Image]
        .into_iter()
        .filter(|what| record.scenario.partition(*what).is_some());
    html! {
        div class="card" {
            div class="scroll" { (timeline::picture(report, record, axis, requests)) }
            div class="key" {
                @for role in roles { span { i class={ "sw " (role_class(role)) } {} (role) " " (role_name(role)) } }
                @if is(&|state| state == State::S3) { span { i class="sw s3" {} "S3" } }
                @if is(&|state| matches!(state, State::Off(_) | State::Idle)) { span { i class="sw none" {} "off, or a long silence" } }
                @if !report.power_events.is_empty() { span { svg viewBox="0 0 16 18" class="bolt" { path d="M10 1l-8 9h5l-2 8 9-11H9z" {} } "power cut" } }
                @for what in uses { span { i class={ "sw " (timeline::owner_class(what)) } {} "writes to " (what.name()) } }
                span { svg viewBox="0 0 16 16" { path class="flush" d="M5 2v12M9 2v12" {} } "flush" }
                @if moments.iter().any(|moment| matches!(moment.what, What::Commit(_))) { span { svg viewBox="-8 -1 16 12" class="commit" { path d="M0 0l4.5 4.5-4.5 4.5-4.5-4.5z" {} } "commit record" } }
                @if moments.iter().any(|moment| moment.what == What::Commit(Mark::Reset)) { span { svg viewBox="-8 -1 16 12" class="commit reset" { path d="M0 0l4.5 4.5-4.5 4.5-4.5-4.5z" {} } "its reset" } }
                span class="end" { span id="hint" hidden { "drag to zoom, double-click for the whole" } " " button id="whole" type="button" hidden { "whole" } }
            }
        }
    }
}

fn diagrams(moments: &[Moment]) -> Markup {
    // A cut is what one looks for; without one it is the first commit record.
    let is_open = |number: usize, moment: &Moment| number == 0 || (moment.what == What::Cut && number < 3);
    let shown = |state: cells::State| {
        moments.iter().any(|moment| moment.cells.iter().any(|cell| cell.state == state))
    };
    html! {
        div class="card" {
            @for (number, moment) in moments.iter().enumerate() {
                details class="moment" open[is_open(number, moment)] {
                    summary { (heading(moment)) }
                    (diagram(moment))
                }
            }
            div class="key" {
                @for state in cells::State::ALL.into_iter().filter(|state| shown(*state)) {
                    span { i class={ "sw " (state.name()) } {} (state.name().replace('-', " ")) }
                }
                span { svg viewBox="0 0 16 16" { path class="flush" d="M8 1v14" stroke-width="5" {} } "flush" }
                span { b { "H" } " header: the image counts" }
                span { b { "R" } " reset: it does not any more" }
                span { b { "F" } " FUA" }
            }
        }
    }
}

fn heading(moment: &Moment) -> String {
    let count = |state| moment.writes.iter().filter(|one| **one == state).count() as u64;
    use cells::State::{Completed, InFlight, Lost, Survived};
    let (lost, survived) = (count(Lost), count(Survived));
    match moment.what {
        What::Cut => {
            let boot = moment.boot;
            let lost = if lost + survived == 0 {
                "every write is durable, nothing can be lost".to_owned()
            } else {
                format!(
                    "{} lost, {} could have been and survived",
                    words::counted(lost, "write", "writes"),
                    words::count(survived)
                )
            };
            format!("Power cut in boot {boot}: {lost}")
        }
        What::Commit(mark) => {
            let what = match mark {
                Mark::Header => "The image's header is accepted",
                Mark::Reset => "The reset of the header is accepted",
            };
            // The record itself is in flight.
            let open = count(Completed) + count(InFlight).saturating_sub(1);
            let others = if open == 0 {
                "everything before it is durable".into()
            } else {
                format!("{} before it not yet durable", words::counted(open, "write", "writes"))
            };
            format!("{what} in boot {}: {others}", moment.boot)
        }
    }
}

fn diagram(moment: &Moment) -> Markup {
    let is_cut = moment.what == What::Cut;
    let later = moment.cells.iter().position(|cell| cell.state == cells::State::Later);
    // Behind this one is the moment.
    let last = if is_cut { moment.cells.len() } else { later.unwrap_or(moment.cells.len()) }.checked_sub(1);
    html! {
        div class="cells" {
            @if moment.left_out > 0 { s { "... " (words::counted(moment.left_out as u64, "request", "requests")) " before" } }
            @for (number, cell) in moment.cells.iter().enumerate() {
                @let end = if last != Some(number) { "" } else if is_cut { " end power" } else { " end" };
                i class={ (classes(cell)) (end) } title=(cell.about) {
                    @match (cell.mark, cell.kind) {
                        (Some(Mark::Header), _) => "H",
                        (Some(Mark::Reset), _) => "R",
                        (None, Kind::Fua) => "F",
                        (None, Kind::Write | Kind::Flush) => {}
                    }
                }
            }
        }
    }
}

fn classes(cell: &cells::Cell) -> String {
    let mut classes = vec![cell.state.name()];
    if cell.kind == Kind::Flush {
        classes.push("flush");
    }
    classes.extend(cell.owner.map(timeline::owner_class));
    classes.extend(cell.mark.map(|mark| if mark == Mark::Header { "header" } else { "reset" }));
    classes.join(" ")
}

fn checks(checks: &[Check]) -> Markup {
    let order = [Status::Fail, Status::ExpectedFail, Status::Fixed, Status::NotObserved, Status::Note];
    // What passed is one line for each clause.
    let mut passed: Vec<(&Check, Vec<&str>)> = Vec::new();
    for check in checks.iter().filter(|check| check.status == Status::Pass) {
        let of = Some(check.of.as_str()).filter(|of| !of.is_empty());
        match passed.iter_mut().find(|(other, _)| other.clause == check.clause) {
            Some((_, all)) => all.extend(of),
            None => passed.push((check, of.into_iter().collect())),
        }
    }
    html! {
        div class="checks" {
            @for status in order {
                @for check in checks.iter().filter(|check| check.status == status) { (one_check(check)) }
            }
        }
        @if !passed.is_empty() {
            table {
                @for (check, of) in &passed {
                    tr {
                        td style="width:6em" { b { (check.clause) } }
                        td { (check.clause.about()) @if !of.is_empty() { div class="same" { (of.join(" · ")) } } }
                        td class="number" { span class="badge pass" { "pass" @if of.len() > 1 { " × " (of.len()) } } }
                    }
                }
            }
        }
    }
}

fn expected(report: &Report) -> String {
    match report.checks.iter().filter(|check| check.status == Status::ExpectedFail).count() {
        0 => String::new(),
        known => format!(", {known} known to fail on this kernel"),
    }
}

fn one_check(check: &Check) -> Markup {
    let class = status_class(check.status);
    html! {
        div class={ "check " (class) } {
            div class="line" {
                span class="id" { (check.clause) }
                span class="what" { (check.clause.about()) }
                span class={ "badge " (class) } { (super::status_word(check.status)) @if let Some(class) = &check.class { ": " (class) } }
            }
            @if !check.of.is_empty() { p class="of" { (check.of) } }
            @if let Some(needs) = check.needs { p class="of" { "needs " (needs.name()) } }
            @match check.evidence.as_slice() {
                [] => {}
                [only] if only.lines().count() == 1 && only.len() < 200 => p { (only) },
                all => details class="paper" open[check.status == Status::Fail] {
                    @let sentence = super::sentence(check);
                    summary { (sentence) }
                    @for one in blocks(all, &sentence) { pre { (lines(one.lines(), &[])) } }
                },
            }
        }
    }
}

/// Evidence, but for the sentence that is said already. Single lines stand together.
fn blocks(evidence: &[String], sentence: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut is_open = false;
    for one in evidence.iter().filter(|one| *one != sentence) {
        let is_line = one.lines().count() == 1;
        match blocks.last_mut().filter(|_| is_line && is_open) {
            Some(block) => {
                block.push('\n');
                block.push_str(one);
            }
            None => blocks.push(one.clone()),
        }
        is_open = is_line;
    }
    blocks
}

fn status_class(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Fail => "fail",
        Status::ExpectedFail => "expected-fail",
        Status::Fixed => "fixed",
        Status::Note => "note",
        Status::NotObserved => "not-observed",
    }
}

fn starts(record: &Record<'_>) -> Markup {
    let starts = kernels::starts(record.entries());
    let of = |role: Role| starts.iter().find(|start| start.role == role);
    let primary = of(Role::Primary).map_or(0, |start| start.nanoseconds);
    let most = starts.iter().map(|start| start.nanoseconds).max().unwrap_or(0).max(1);
    html! {
        @if !starts.is_empty() {
            h2 { "Boot times" small { "from a kernel's entry (of B: from when A goes) until its agent is there" } }
            div class="card scroll" { table {
                tr { th { "kernel" } th { "boot" } th style="width:45%" {} th class="number" { "run time" } th class="number" { "instructions" } th class="number" { "of A's" } }
                @for start in &starts {
                    tr {
                        td { i class={ "sw " (role_class(start.role)) } {} " " (start.role) " " (role_name(start.role)) }
                        td { (start.boot) }
                        td { svg width="100%" height="12" preserveAspectRatio="none" viewBox="0 0 100 12" { rect class={ "kernel " (role_class(start.role)) } y="1" height="10" rx=".6" width=(timeline::short(start.nanoseconds as f64 * 100.0 / most as f64)) {} } }
                        td class="number" { (words::duration(start.nanoseconds)) }
                        td class="number" { (words::count(start.instructions.div_ceil(1_000_000))) " M" }
                        td class="number" { @if primary > 0 { (start.nanoseconds * 100 / primary) " %" } }
                    }
                }
            } }
        }
    }
}

fn console(record: &Record<'_>) -> Markup {
    let speeches = kernels::console(record.entries());
    let allowed = &record.scenario.allow;
    html! {
        @if !speeches.is_empty() {
            h2 { "Console" small { "by kernel; complaints are marked" } }
            div class="console" {
                @for speech in &speeches {
                    @let complaints = speech.lines.iter().filter(|line| !complaints(line, allowed).is_empty()).count() as u64;
                    details class=(speech.role.map_or("", role_class)) {
                        summary {
                            "boot " (speech.boot) ", "
                            @if let Some(role) = speech.role { (role) " " (role_name(role)) } @else { "before any kernel" }
                            ": " (words::counted(speech.lines.len() as u64, "line", "lines"))
                            @if complaints > 0 { ", " b { (words::counted(complaints, "complaint", "complaints")) } }
                        }
                        pre {
                            @let (first, last) = speech.lines.split_at(speech.left_out.map_or(0, |(_, after)| after));
                            (lines(first.iter().copied(), allowed))
                            @if let Some((count, _)) = speech.left_out {
                                small { "... " (words::counted(count as u64, "line", "lines")) " left out ...\n" }
                            }
                            (lines(last.iter().copied(), allowed))
                        }
                    }
                }
            }
        }
    }
}

/// Lines, complaints marked.
fn lines<'a>(lines: impl Iterator<Item = &'a str>, allowed: &[String]) -> Markup {
    html! {
        @for line in lines {
            @if complaints(line, allowed).is_empty() { (line) } @else { em { (line) } }
            "\n"
        }
    }
}

fn machine(report: &Report, record: &Record<'_>) -> Markup {
    let scenario = record.scenario;
    let knobs = knobs(&scenario.machine.config);
    html! {
        h2 { "Machine" }
        div class="two" {
            div class="card" {
                h3 { "Kernels" }
                table {
                    @for kernel in &report.kernels {
                        tr {
                            td { i class={ "sw " (role_class(kernel.role)) } {} " " (kernel.role) " " (role_name(kernel.role)) }
                            td { (kernel.name) @if !kernel.release.is_empty() && !kernel.name.ends_with(&kernel.release) { div class="same" { (kernel.release) } } }
                            td { code title=(kernel.blake3) { (kernel.blake3.get(..16).unwrap_or(&kernel.blake3)) } div class="same" { "BLAKE3 of the bzImage" } }
                        }
                    }
                }
                @if !scenario.kernel.arguments.is_empty() { p { "arguments of A " code { (scenario.kernel.arguments) } } }
                @for disk in &scenario.disks {
                    h3 style="margin-top:14px" { "Disk " (disk.name) }
                    p class="same" { (words::size(disk.size)) ", " (format!("{:?}", disk.front_end).to_lowercase()) }
                    div class="bar" {
                        @for partition in &disk.partitions {
                            span class=(timeline::owner_class(partition.what)) style=(format!("width:{:.2}%", (f64::from(partition.mib) * 1_048_576.0 * 100.0 / disk.size.max(1) as f64))) {
                                (partition.what.name()) " " (partition.mib) " MiB"
                            }
                        }
                    }
                }
            }
            div class="card" {
                h3 { "Firmware and processors" }
                table {
                    @for (name, value, is_default) in &knobs {
                        tr { td class="same" { (name) } td class=(if *is_default { "" } else { "changed" }) { (value) @if !is_default { span class="same" { " (set by the scenario)" } } } }
                    }
                }
            }
        }
    }
}

/// Name, value, and whether that is what it is by default.
fn knobs(config: &vmm::Config) -> Vec<(String, String, bool)> {
    let values = |config: &vmm::Config| match serde_json::to_value(config) {
        Ok(serde_json::Value::Object(values)) => values,
        _ => serde_json::Map::new(),
    };
    let usual = values(&vmm::Config::default());
    let text = |name: &str, value: &serde_json::Value| match (name, value) {
        ("memory" | "withheld", serde_json::Value::Number(number)) => {
            words::size(number.as_u64().unwrap_or(0))
        }
        ("off_for", serde_json::Value::Number(number)) => words::duration(number.as_u64().unwrap_or(0)),
        ("hardware_signature", serde_json::Value::Number(number)) => {
            format!("{:#010x}", number.as_u64().unwrap_or(0))
        }
        (_, serde_json::Value::String(text)) => text.clone(),
        (_, serde_json::Value::Null) => "none".into(),
        ("bios_date", serde_json::Value::Object(date)) => {
            let part = |name: &str| date.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
            format!("{:04}-{:02}-{:02}", part("year"), part("month"), part("day"))
        }
        (_, other) => other.to_string(),
    };
    let knobs = values(config).into_iter().map(|(name, value)| {
        let is_default = usual.get(&name) == Some(&value);
        let shown = text(&name, &value);
        (name.replace('_', " "), shown, is_default)
    });
    knobs.collect()
}

fn reproduce(account: &Account<'_>) -> Markup {
    html! {
        @if !account.commands.is_empty() {
            h2 { "How to reproduce" }
            div class="card" { table {
                @for command in account.commands {
                    tr { td style="width:12em" { (command.purpose) } td { code { (command.line) } } }
                }
            } }
        }
    }
}

#[cfg(test)]
mod tests;
