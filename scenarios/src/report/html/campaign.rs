//! A campaign as one page, in the dress of a run's.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{STYLE, figure};
use crate::explore::campaign::{AtCut, Explored};
use crate::explore::finding::Found;
use crate::explore::recovery::Outcome;
use crate::report::{Command, words};

/// Lost writes that are shown of a finding before the rest is folded in.
const LOST: usize = 8;
/// Width of the picture, in units of its own, and the height of its two rows.
const WIDTH: f64 = 1200.0;
const ROW: f64 = 34.0;

/// A campaign and what is said beside it.
pub struct Account<'a> {
    /// The scenario's name, and one line about it.
    pub scenario: &'a str,
    /// That line.
    pub about: &'a str,
    /// What everything random follows from.
    pub seed: u64,
    /// What came of it.
    pub explored: &'a Explored,
    /// Of each finding: whether it is in the baseline.
    pub known: &'a [bool],
    /// Classes of the baseline that were not seen.
    pub gone: &'a [String],
    /// Of each finding: what to type to see it again.
    pub again: &'a [Vec<Command>],
}

/// The page.
pub fn page(account: &Account<'_>) -> String {
    let Account { scenario, explored, .. } = account;
    let (word, of) = explored.verdict(account.is_found());
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content=(concat!("kjvm ", env!("CARGO_PKG_VERSION")));
                title { (word) " " (scenario) " - kjvm" }
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                (top(account, word, of))
                h2 { "Coverage" small { "what was looked at, and how much there is" } }
                (coverage(explored))
                @if !explored.along.is_empty() {
                    h2 { "Along the run" small { "each cut point from left to right: what the next boots make of its states" } }
                    (along(explored))
                }
                h2 { "Findings" small { (words::counted(explored.findings.len() as u64, "class", "classes")) } }
                (findings(account))
                footer { "kjvm " (env!("CARGO_PKG_VERSION")) " - a power-failure laboratory for sleep" }
            } }
        }
    };
    page.into_string()
}

impl Account<'_> {
    /// Whether anything was found that is not known.
    fn is_found(&self) -> bool {
        self.known.iter().any(|known| !known)
    }
}

fn top(account: &Account<'_>, word: &str, of: &str) -> Markup {
    let Account { scenario, about, seed, explored, .. } = account;
    let effort = explored.progress.effort;
    let first = explored.findings.iter().zip(account.known).find(|(_, known)| !**known);
    html! {
        header {
            div class={ "verdict " (if account.is_found() { "fail" } else { "pass" }) } { (word) }
            div {
                h1 { (scenario) }
                @if !about.is_empty() { p { (about) } }
                p class="how" { "power cut everywhere, seed " (seed) @if !of.is_empty() { "; " (of) } }
            }
        }
        @if let Some((found, _)) = first {
            div class="sentence" {
                p { b { (found.clause) } " " (found.class) }
                p class="found" { (found.observed) }
                p class="ought" { "Legal: " (found.allowed.join(" or ")) ". " (found.user_effect) }
                p class="ought" { "Needs " b { (found.weakest_fault) } ": the weakest disk that shows it." }
            }
        }
        div class="figures" {
            (figure(&words::count(explored.progress.points.total() as u64), "cut points"))
            (figure(&words::count(explored.progress.listed), "states listed"))
            (figure(&words::count(explored.progress.states as u64), "different"))
            (figure(&words::count(effort.decided), "decided"))
            (figure(&words::count(effort.executed), "boots executed"))
            (figure(&format!("{:.1}", explored.rate), "boots a second"))
            (figure(&words::count(explored.findings.len() as u64), "findings"))
        }
    }
}

fn coverage(explored: &Explored) -> Markup {
    let Explored { progress, tested, spaces, .. } = explored;
    let skipped = progress.points.skipped;
    let points = [
        ("steps of requests to disks", progress.points.disk, tested.disk),
        ("registers for sleep and power", progress.points.power, tested.power),
        ("phases", progress.points.phase, tested.phase),
        ("instructions between", progress.points.instruction, tested.instruction),
    ];
    let number = |number: usize| words::count(number as u64);
    html! {
        div class="card two" {
            table {
                tr { th { "cut points" } th class="number" { "there are" } th class="number" { "tested" } }
                @for (what, there, tested) in points {
                    tr { td { (what) } td class="number" { (number(there)) } td class="number" { (number(tested)) } }
                }
                tr { td { b { "all" } } td class="number" { (number(progress.points.total())) } td class="number" { (number(tested.total())) } }
                tr { td { "skipped" @if skipped > 0 { ": " (explored.unfollowed) } } td class="number" { (number(skipped)) } td {} }
            }
            table {
                tr { td { "states of the listed family, over all cut points" } td class="number" { (words::count(progress.listed)) } }
                tr { td { "different ones" } td class="number" { (number(progress.states)) } }
                tr { td { "decided" } td class="number" { (words::count(progress.effort.decided)) } }
                tr { td { "undecided" } td class="number" { (number(progress.undecided)) } }
                tr { td { "the family is exhausted" } td class="number" { (if explored.is_exhausted { "yes" } else { "no" }) } }
                @for region in &explored.regions {
                    tr {
                        td { "every mix in " code { (region.region) } ", the largest space 2" sup { (format!("{:.0}", region.largest_log2)) } }
                        td class="number" { (number(region.done())) " of " (number(region.spaces)) @if region.is_exhausted() { ": exhausted" } }
                    }
                }
                tr { td { "boots executed, and partings" } td class="number" { (words::count(progress.effort.executed)) ", " (words::count(progress.effort.forks)) } }
                tr { td { "instructions" } td class="number" { (words::count(progress.effort.instructions / 1_000_000)) " M" } }
                tr { td { "whole crash spaces; the largest, all together" } td class="number" { (number(spaces.count)) "; 2" sup { (format!("{:.0}", spaces.largest)) } ", 2" sup { (format!("{:.0}", spaces.sum)) } } }
            }
        }
    }
}

/// Colour of an outcome, in the colours that the page has.
fn colour(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Resumed => "var(--pass)",
        Outcome::Cold => "var(--elsewhere)",
        Outcome::Damaged(_) => "var(--warn)",
        Outcome::Lost(_) | Outcome::FilesLost(_) => "var(--bolt)",
        Outcome::Dead(_) => "var(--fua)",
        Outcome::Broken(_) => "var(--hatch)",
    }
}

/// Cut points side by side; neighbours that show the same are one.
fn along(explored: &Explored) -> Markup {
    let Explored { along, outcomes, .. } = explored;
    let step = WIDTH / along.len().max(1) as f64;
    let mut pieces: Vec<(usize, usize, &AtCut)> = Vec::new();
    for (number, at) in along.iter().enumerate() {
        match pieces.last_mut() {
            Some((_, last, before)) if is_like(before, at) => *last = number,
            _ => pieces.push((number, number, at)),
        }
    }
    let allows = |at: &AtCut, what: &str| at.allowed.iter().any(|allowed| allowed == what);
    html! {
        div class="card" {
            div class="scroll" { svg viewBox={ "0 0 " (WIDTH) " " (ROW * 2.0 + 14.0) } width="100%" role="img" {
                @for (first, last, at) in pieces {
                    @let (x, width) = (first as f64 * step, ((last - first + 1) as f64 * step).max(0.6));
                    g {
                        title { (told(at, outcomes, last - first + 1)) }
                        rect x=(round(x)) y="0" width=(round(width)) height="5" style={ "fill:" (if allows(at, "resume") { "var(--pass)" } else { "var(--ground)" }) } {}
                        rect x=(round(x)) y="6" width=(round(width)) height="5" style={ "fill:" (if allows(at, "cold boot") { "var(--elsewhere)" } else { "var(--ground)" }) } {}
                        @for (y, height, fill) in shares(at, outcomes) {
                            rect x=(round(x)) y=(round(14.0 + y)) width=(round(width)) height=(round(height)) style={ "fill:" (fill) } {}
                        }
                    }
                }
            } }
            p class="how" { "The two thin rows: a resume is legal; a cold boot is legal. Below: what its states come to." }
            table {
                tr { th { "outcome" } th class="number" { "states" } }
                @for (outcome, states) in outcomes {
                    tr { td { i class="sw" style={ "background:" (colour(outcome)) } {} " " (outcome) } td class="number" { (words::count(*states)) } }
                }
                @if explored.progress.undecided > 0 {
                    tr { td { i class="sw" style="background:var(--ground);border:1px solid var(--line)" {} " undecided" } td class="number" { (words::count(explored.progress.undecided as u64)) } }
                }
            }
        }
    }
}

fn round(number: f64) -> String {
    format!("{number:.2}")
}

fn is_like(one: &AtCut, other: &AtCut) -> bool {
    let shows = |at: &AtCut| at.shown.iter().map(|states| *states > 0).collect::<Vec<_>>();
    one.allowed == other.allowed
        && shows(one) == shows(other)
        && (one.undecided > 0) == (other.undecided > 0)
        && (one.boot, &one.step) == (other.boot, &other.step)
}

/// Parts of a column: every outcome that is there can be seen, however rare it is.
fn shares(at: &AtCut, outcomes: &[(Outcome, u64)]) -> Vec<(f64, f64, &'static str)> {
    let own = outcomes.iter().zip(&at.shown).map(|((outcome, _), states)| (*states, colour(outcome)));
    let there: Vec<(u64, &str)> =
        own.chain([(at.undecided, "var(--ground)")]).filter(|(states, _)| *states > 0).collect();
    let weight = |states: u64| 1.0 + (states as f64).sqrt();
    let all: f64 = there.iter().map(|(states, _)| weight(*states)).sum();
    let mut y = 0.0;
    let mut shares = Vec::with_capacity(there.len());
    for (states, fill) in there {
        let height = ROW * 2.0 * weight(states) / all;
        shares.push((y, height, fill));
        y += height;
    }
    shares
}

fn told(at: &AtCut, outcomes: &[(Outcome, u64)], cuts: usize) -> String {
    let mut text = format!("boot {}, {}, from {} on", at.boot, at.step, words::duration(at.nanoseconds));
    if cuts > 1 {
        text += &format!(", {cuts} cut points");
    }
    text += &format!("\nlegal: {}", at.allowed.join(" or "));
    for ((outcome, _), states) in outcomes.iter().zip(&at.shown).filter(|(_, states)| **states > 0) {
        text += &format!("\n{}: {outcome}", words::count(*states));
    }
    if at.undecided > 0 {
        text += &format!("\n{}: undecided", words::count(at.undecided));
    }
    text
}

fn findings(account: &Account<'_>) -> Markup {
    let none: &[Command] = &[];
    html! {
        div class="checks" {
            @for (number, found) in account.explored.findings.iter().enumerate() {
                (finding(found, account.known.get(number) == Some(&true), account.again.get(number).map_or(none, Vec::as_slice)))
            }
            @for gone in account.gone {
                div class="check fixed" { div class="line" { span class="id" {} span class="what" { (gone) } span class="badge fixed" { "in the baseline, not seen" } } }
            }
            @if account.explored.findings.is_empty() && account.gone.is_empty() { p { "None." } }
        }
    }
}

fn finding(found: &Found, is_known: bool, again: &[Command]) -> Markup {
    let (first, rest) = found.lost_writes.split_at(found.lost_writes.len().min(LOST));
    let writes = |writes: &[crate::explore::finding::LostWrite]| {
        html! {
            table {
                tr { th { "lost" } th { "sectors" } th { "whose" } th { "written by" } }
                @for write in writes {
                    tr { td { (write.disk) " #" (write.request) } td { (write.sector) "+" (write.sectors) } td { (write.owner) } td class="mono" { (write.function) } }
                }
            }
        }
    };
    html! {
        div class={ "check " (if is_known { "expected-fail" } else { "fail" }) } {
            div class="line" {
                span class="id" { (found.clause) } span class="what" { (found.class) }
                span class={ "badge " (if is_known { "expected-fail" } else { "fail" }) } { (if is_known { "in the baseline" } else { "new" }) }
            }
            p { "The power fails " (found.cut.words) "." }
            p { "Then: " (found.observed) ". Legal: " (found.allowed.join(" or ")) ". " (found.user_effect) "." }
            p class="of" { "Needs " (found.weakest_fault) "; seen in " (words::counted(found.seen, "state", "states")) "; a cut within " (words::duration(found.window)) " shows it." }
            @if first.is_empty() { p { "Nothing that the disk had accepted is lost." } } @else { (writes(first)) }
            @if !rest.is_empty() { details { summary { "and " (words::count(rest.len() as u64)) " more" } (writes(rest)) } }
            @for said in &found.said { p class="of" { (said) } }
            @for command in again { p { (command.purpose) ": " code { (command.line) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::campaign::explored::sample;

    fn shown(explored: &Explored, known: &[bool], gone: &[String]) -> String {
        let again = [vec![Command { purpose: "replay".into(), line: "kjvm replay finding-1.repro".into() }]];
        page(&Account { scenario: "stock", about: "", seed: 1, explored, known, gone, again: &again })
    }

    #[test]
    fn everything_that_counts_is_on_the_page_and_nothing_of_the_guest_is_more_than_text() {
        let page = shown(&sample::explored(), &[false], &[]);
        for part in [
            "FOUND",
            "a header before its map",
            "new",
            "swap map page 2 of 2",
            "swap_write_page",
            "and 4 more",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for part in
            ["kjvm replay finding-1.repro", "2<sup>38</sup>", "not confirmed &amp; alone", "90", "undecided"]
        {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
        assert!(!page.contains("http:") && !page.contains("https:"));
        // Two cut points that show the same are one.
        assert_eq!(page.matches("<g>").count(), 2);
    }

    #[test]
    fn what_is_known_is_calm() {
        let explored = sample::explored();
        let page = shown(&explored, &[true], &["something else".into()]);
        assert!(
            page.contains("CLEAN")
                && page.contains("of what was decided")
                && page.contains("in the baseline")
        );
        assert!(page.contains("something else") && !page.contains("check fail"));
        let none = Explored { findings: Vec::new(), along: Vec::new(), ..explored };
        assert!(shown(&none, &[], &[]).contains("None."));
    }
}
