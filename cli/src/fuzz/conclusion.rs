//! What came of a campaign, in lines: one screen, the answer last.

use std::fmt::Write as _;

use scenarios::explore::campaign::{Explored, Progress};
use scenarios::explore::finding::Found;
use scenarios::report::terminal::{Look, Paint};
use scenarios::report::words::{self, count, counted};

use super::answer::Answer;
use crate::output;

/// Lines of lost writes that are shown of a finding; the JSON file has all.
const LOST: usize = 4;
/// Findings that are shown in full; of the others a line is enough, and all if somebody wants to know more.
const FULL: usize = 2;

/// All of it but the last line.
pub fn text(answer: &Answer<'_>, look: Look) -> String {
    let Explored { progress, tested, is_exhausted, spaces, outcomes, findings, .. } = answer.explored;
    let Progress { points, listed, states, effort, undecided, .. } = progress;
    let mut text = format!(
        "cut points {} (disk {}, power {}, phases {}, instructions {})   {} skipped, {} tested\n",
        number(points.total()),
        number(points.disk),
        number(points.power),
        number(points.phase),
        number(points.instruction),
        number(points.skipped),
        number(tested.total()),
    );
    let _ = writeln!(
        text,
        "states     executed {} ({:.1}/s)   decided {} of {} different, {} of the listed family{}",
        count(effort.executed),
        answer.explored.rate,
        count(effort.decided),
        number(*states),
        count(*listed),
        if *is_exhausted { ": exhausted".to_owned() } else { format!("; {} undecided", number(*undecided)) }
    );
    let _ = writeln!(
        text,
        "spaces     {}, the largest 2^{:.0}, all together 2^{:.0}",
        number(spaces.count),
        spaces.largest,
        spaces.sum
    );
    for region in &answer.explored.regions {
        let how = if region.is_exhausted() { "exhausted" } else { "not exhausted" };
        let _ = writeln!(
            text,
            "{:<10} {how}: {} of {} spaces, the largest 2^{:.0}, by {} boots",
            region.region,
            number(region.done()),
            number(region.spaces),
            region.largest_log2,
            count(region.executed)
        );
    }
    for (at, (outcome, states)) in outcomes.iter().enumerate() {
        let heading = if at == 0 { "outcomes" } else { "" };
        let _ = writeln!(text, "{heading:<10} {:>8}   {outcome}", count(*states));
    }
    let known = answer.known.iter().filter(|known| **known).count();
    let of_which = match (answer.has_baseline, known) {
        (false, _) => String::new(),
        (true, known) => format!("   {} new, {known} in the baseline", findings.len().saturating_sub(known)),
    };
    let _ = writeln!(text, "findings   {}{of_which}", findings.len());
    let mut full = if look.verbose { usize::MAX } else { FULL };
    for (place, found) in findings.iter().enumerate() {
        let is_known = answer.known.get(place) == Some(&true);
        let mark = if answer.has_baseline && !is_known { "   new" } else { "" };
        let mark = if is_known { "   in the baseline" } else { mark };
        let paint = if is_known { Paint::Soft } else { Paint::Bad };
        let lost = counted(found.lost_writes.len() as u64, "lost write", "lost writes");
        let clause = look.paint(paint, &found.clause);
        let (class, step) = (&found.class, &found.cut.step);
        let _ = writeln!(text, "  {}  {clause}   {class}, cut in {step}   {lost}{mark}", place + 1);
        if !is_known && full > 0 {
            full -= 1;
            text += &finding(answer, found);
        }
    }
    for gone in &answer.gone {
        let _ = writeln!(text, "  in the baseline, and not seen: {gone}");
    }
    text
}

/// The last line.
pub fn last(answer: &Answer<'_>, look: Look) -> String {
    let (word, of) = answer.explored.verdict(answer.is_found());
    let paint = match (word, of) {
        ("FOUND", _) => Paint::Bad,
        (_, "") => Paint::Good,
        _ => Paint::Care,
    };
    let word = look.paint(paint, word);
    let of = if of.is_empty() { String::new() } else { format!(" {of}") };
    let all = answer.explored.findings.len();
    let new = all.saturating_sub(answer.known.iter().filter(|known| **known).count());
    let findings = match answer.has_baseline {
        true => counted(new as u64, "new finding", "new findings"),
        false => counted(all as u64, "finding", "findings"),
    };
    format!("{word}{of}   {}   {findings}   {}", answer.name, output::duration(answer.explored.seconds))
}

fn number(number: usize) -> String {
    count(number as u64)
}

fn finding(answer: &Answer<'_>, found: &Found) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: &str| {
        let _ = writeln!(text, "     {name:<9} {what}");
    };
    line("cut", &found.cut.words);
    if found.lost_writes.is_empty() {
        line("lost", "nothing that the disk had accepted");
    }
    for write in found.lost_writes.iter().take(LOST) {
        let by = if write.function.is_empty() { String::new() } else { format!("   ({})", write.function) };
        line("lost", &format!("{} #{} {}{by}", write.disk, write.request, write.owner));
    }
    if found.lost_writes.len() > LOST {
        line("", &format!("and {} more", found.lost_writes.len() - LOST));
    }
    line("then", &format!("{}   (legal: {})", found.observed, found.allowed.join(" or ")));
    line("effect", &found.user_effect);
    let window = words::duration(found.window);
    line(
        "needs",
        &format!(
            "{}; seen in {}, within {window}",
            found.weakest_fault,
            counted(found.seen, "state", "states")
        ),
    );
    for command in answer.again(found) {
        line(&command.purpose, &command.line);
    }
    for said in &found.said {
        line("note", said);
    }
    text
}
