//! What came of a campaign, in lines: one screen, the answer last.

use std::fmt::Write as _;

use scenarios::explore::campaign::{Explored, Found, Progress};

use crate::output;

/// Lines of lost writes that are shown of a finding; the JSON file has all.
const LOST: usize = 6;

/// What came of it, the answer last.
pub fn text(name: &str, explored: &Explored) -> String {
    let Explored { progress, spaces, tested, is_exhausted, outcomes, findings, seconds, .. } = explored;
    let seconds = *seconds;
    let Progress { points, listed, states, effort, undecided, .. } = progress;
    let mut text = format!(
        "cut points   {} (disk {}, power {}, phases {}, instructions {})   {} skipped, {tested} decided to the last state\n",
        points.total(),
        points.disk,
        points.power,
        points.phase,
        points.instruction,
        points.skipped
    );
    let _ = writeln!(
        text,
        "states       {listed} of the listed family, {states} different; whole spaces {}, the largest 2^{:.0}, together 2^{:.0}",
        spaces.count, spaces.largest, spaces.sum
    );
    let _ = writeln!(
        text,
        "boots        {} executed, {:.1} a second, decide {} states; {}",
        effort.executed,
        effort.executed as f64 / seconds.max(0.001),
        effort.decided,
        if *is_exhausted { "nothing is undecided".to_owned() } else { format!("{undecided} are undecided") }
    );
    for (outcome, states) in outcomes {
        let _ = writeln!(text, "  {states:>8}   {outcome}");
    }
    for (number, found) in (1..).zip(findings) {
        text.push('\n');
        text.push_str(&finding(number, found));
    }
    let verdict = if findings.is_empty() { "CLEAN" } else { "FOUND" };
    let _ =
        writeln!(text, "\n{verdict}   {name}   {} findings   {}", findings.len(), output::duration(seconds));
    text
}

fn finding(number: usize, found: &Found) -> String {
    let Found {
        class, clause, cut, lost_writes, weakest_fault, user_effect, allowed, observed, seen, ..
    } = found;
    let mut text = format!("{number}  {clause}   {class}\n");
    let _ = writeln!(text, "   cut       {} ns into boot {}, in {}", cut.at.time.0, cut.boot, cut.step);
    if lost_writes.is_empty() {
        let _ = writeln!(text, "   lost      nothing that the disk had accepted");
    }
    for write in lost_writes.iter().take(LOST) {
        let (request, sector, sectors, owner) = (write.request, write.sector, write.sectors, &write.owner);
        let _ = writeln!(text, "   lost      write #{request}, sectors {sector}+{sectors} ({owner})");
    }
    if lost_writes.len() > LOST {
        let _ = writeln!(text, "             and {} more", lost_writes.len() - LOST);
    }
    let _ = writeln!(text, "   observed  {observed}");
    let _ = writeln!(text, "   legal     {}", allowed.join(" or "));
    let _ = writeln!(text, "   effect    {user_effect}");
    let _ = writeln!(text, "   needs     {weakest_fault}");
    let _ = writeln!(text, "   seen      in {seen} states");
    text
}
