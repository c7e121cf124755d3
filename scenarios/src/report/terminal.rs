//! A report as lines for a terminal: live while it runs, and the answer last.

mod style;

use std::fmt::Write as _;

use super::{KernelUsed, Phase, PowerHappening, Report, score, sentence, verdict_word, words};
use crate::checks::{Check, FaultModel, Oracle, Status};

pub use style::{Look, Paint};

/// Where the text of a line begins.
const INDENT: usize = 12;
/// Width of a time, of a number of instructions, and of what went to the disks.
const TIME: usize = 10;
const INSTRUCTIONS: usize = 22;
const DISK: usize = 27;
/// Lines of evidence that are shown of a failure; the report file has all, and so does a verbose terminal.
const EVIDENCE: usize = 14;
/// The same of what is no failure.
const ASIDE: usize = 1;

/// What is known of a run beside its report when it is over.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// How long it took on the host's clock, in seconds.
    pub seconds: f64,
    /// Where the report for people is.
    pub html: Option<String>,
    /// Where a file is that does the run again.
    pub repro: Option<String>,
}

/// The first lines, before anything happened.
pub fn head(report: &Report, look: Look) -> String {
    let name = look.paint(Paint::Strong, &report.scenario);
    let mut text = format!("{name}   {} engine, seed {}\n", report.engine, report.seed);
    for line in wrapped(&report.about, look.width.saturating_sub(2)) {
        let _ = writeln!(text, "  {}", look.paint(Paint::Soft, &line));
    }
    text
}

/// A phase. Boot and kernel are named where they differ from those of the phase before.
pub fn phase(phase: &Phase, before: Option<&Phase>, kernels: &[KernelUsed], look: Look) -> String {
    let new_boot = before.is_none_or(|before| before.boot != phase.boot);
    let new_role = new_boot || before.is_some_and(|before| before.role != phase.role);
    let mut text = String::new();
    if let (Some(role), true) = (phase.role, new_role) {
        let boot = if new_boot { format!("boot {}", phase.boot) } else { String::new() };
        let kernel =
            kernels.iter().find(|kernel| kernel.role == role).map_or(String::new(), KernelUsed::called);
        let role = look.paint(Paint::of_role(role), &role.to_string());
        let _ = writeln!(text, "{boot:7}  {role}  {kernel}");
    } else if new_boot {
        let _ = writeln!(text, "boot {}", phase.boot);
    }
    let has_disk = look.width >= INDENT + 30 + TIME + INSTRUCTIONS + DISK;
    let numbers = TIME + INSTRUCTIONS + if has_disk { DISK } else { 0 };
    let room = look.width.saturating_sub(INDENT + numbers).clamp(20, 60);
    let what = match phase.detail.as_str() {
        "" => phase.what.clone(),
        detail => format!("{}: {detail}", phase.what),
    };
    // What does not fit goes on in lines of its own: a detail may be why it all fails.
    let mut lines = wrapped(&what, room).into_iter();
    let first = lines.next().unwrap_or_default();
    let seconds = phase.nanoseconds as f64 / 1e9;
    let millions = words::count(phase.instructions.div_ceil(1_000_000));
    let mut line = format!("{:INDENT$}{first:room$}{seconds:8.3} s{millions:>6} M instructions", "");
    if has_disk && phase.writes + phase.flushes > 0 {
        let writes = words::counted(phase.writes, "write", "writes");
        let flushes = words::counted(phase.flushes, "flush", "flushes");
        let _ = write!(line, "   {}", look.paint(Paint::Soft, &format!("{writes}, {flushes}")));
    }
    text += line.trim_end();
    for more in lines {
        let _ = write!(text, "\n{:INDENT$}  {more}", "");
    }
    text
}

/// What is under way, for a line that is drawn anew while it is.
pub fn under_way(boot: u32, what: &str) -> String {
    format!("boot {boot}   {what}")
}

/// Something that happened to the power.
pub fn power(happening: &PowerHappening, look: Look) -> String {
    let PowerHappening { what, when, volatile_writes, survived, .. } = happening;
    let happened = look.paint(Paint::Power, &format!("* {what}: {when}"));
    // Nothing was lost that could survive.
    if survived.is_empty() {
        return format!("  {happened}");
    }
    let writes = words::counted(*volatile_writes, "write", "writes");
    let became = if *volatile_writes == 0 { String::new() } else { format!("; survived: {survived}") };
    format!("  {happened}   {writes} not yet durable{became}")
}

/// The checks and the verdict.
pub fn conclusion(report: &Report, ending: &Ending, look: Look) -> String {
    let mut text = String::new();
    let mut oracles: Vec<Oracle> = report
        .checks
        .iter()
        .filter(|check| check.status != Status::NotObserved)
        .map(|check| check.oracle)
        .collect();
    oracles.dedup();
    let names: Vec<&str> = oracles.iter().map(|oracle| oracle.name()).collect();
    if !report.checks.is_empty() {
        text.push('\n');
        let _ = writeln!(text, "checks   {}   {}", score(report), names.join(" "));
    }
    let asides = [
        (Status::Note, "note"),
        (Status::NotObserved, "not observed"),
        (Status::ExpectedFail, "expected"),
        (Status::Fixed, "FIXED"),
    ];
    for (status, word) in asides {
        for check in report.checks.iter().filter(|check| check.status == status) {
            text += &aside(check, word, look);
        }
    }
    for check in report.checks.iter().filter(|check| check.status == Status::Fail) {
        text.push('\n');
        text += &failure(check, look);
    }
    text.push('\n');
    let hints = [
        ("replay", ending.repro.as_ref().map(|repro| format!("kjvm replay {repro}"))),
        ("why", super::that_matters(report).map(|check| format!("kjvm explain {}", check.clause))),
        ("report", ending.html.clone()),
    ];
    for (what, line) in hints.iter().filter_map(|(what, line)| Some((what, line.as_ref()?))) {
        let _ = writeln!(text, "  {what:8}{line}");
    }
    if hints.iter().any(|(_, line)| line.is_some()) {
        text.push('\n');
    }
    let word = look.paint(Paint::of_verdict(report.verdict), verdict_word(report.verdict));
    let _ = write!(text, "{word}   {}   {:.1} s", report.scenario, ending.seconds);
    if let Some(digest) = report.digest.as_deref().and_then(|digest| digest.get(..8)) {
        let _ = write!(text, "   digest {digest}");
    }
    if let Some(why) = report.broken.as_ref().or(report.skipped.as_ref()) {
        let _ = write!(text, "   {why}");
    }
    text.push('\n');
    text
}

/// A check that failed: what, where, and what is seen of it.
fn failure(check: &Check, look: Look) -> String {
    let mut text = String::new();
    let class = check.class.as_deref().unwrap_or("none");
    let head = look.paint(Paint::Bad, &format!("FAIL  {}", check.clause));
    let _ = writeln!(text, "{head}   {}   class: {class}", check.clause.about());
    if !check.of.is_empty() {
        let _ = writeln!(text, "  where   {}", check.of);
    }
    let sentence = sentence(check);
    let mut lines = wrapped(&sentence, look.width.saturating_sub(10)).into_iter();
    let _ = writeln!(text, "  found   {}", look.paint(Paint::Strong, &lines.next().unwrap_or_default()));
    for line in lines {
        let _ = writeln!(text, "          {}", look.paint(Paint::Strong, &line));
    }
    let evidence: Vec<&str> = check.evidence.iter().flat_map(|one| one.lines()).collect();
    let rest = evidence.get(1..).unwrap_or_default();
    let shown = if look.verbose { rest.len() } else { rest.len().min(EVIDENCE) };
    if shown < rest.len() {
        let more = words::counted((rest.len() - shown) as u64, "line", "lines");
        let hint = format!("... {more} more in the report, or with -v");
        let _ = writeln!(text, "          {}", look.paint(Paint::Soft, &hint));
    }
    // The end of a console is where it broke.
    for line in rest.iter().skip(rest.len() - shown) {
        let _ = writeln!(text, "          {}", look.paint(Paint::Soft, line.trim_end()));
    }
    if let Some(needs) = check.needs {
        let all =
            [FaultModel::CutOnly, FaultModel::VolatileCache, FaultModel::LyingDisk].map(FaultModel::name);
        let _ = writeln!(text, "  needs   {:15} (weakest of: {})", needs.name(), all.join(" | "));
    }
    text
}

/// A check that neither passed nor failed, in a calm line.
fn aside(check: &Check, word: &str, look: Look) -> String {
    let of = if check.of.is_empty() { String::new() } else { format!("{}: ", check.of) };
    let word = format!("{word:12}");
    let word = match check.status {
        Status::Fixed => look.paint(Paint::Good, &word),
        _ => look.paint(Paint::Soft, &word),
    };
    let mut text = format!("  {word}  {:6}   {}\n", check.clause.id(), check.clause.about());
    let all = check.evidence.len();
    let most = if look.verbose { all } else { all.min(ASIDE) };
    // Why it is expected is said last.
    let last = check.evidence.last().filter(|_| all > most && check.status == Status::ExpectedFail);
    for evidence in check.evidence.iter().take(most).chain(last) {
        for line in wrapped(&format!("{of}{evidence}"), look.width.saturating_sub(16)) {
            let _ = writeln!(text, "{:16}{}", "", look.paint(Paint::Soft, &line));
        }
    }
    text
}

/// Lines of a text that are no longer than this, broken between words where there are any.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(20);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let used = line.chars().count();
            if used > 0 && used + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.retain(|line| !line.is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use agent_protocol::message::Role;

    use super::*;
    use crate::checks::Clause;
    use crate::report::{Verdict, sample};

    fn shown(report: &Report, ending: &Ending, look: Look) -> String {
        let mut text = head(report, look) + "\n";
        let mut before = None;
        for (number, one) in report.phases.iter().enumerate() {
            text += &phase(one, before, &report.kernels, look);
            text.push('\n');
            for happening in report.power_events.iter().filter(|happening| happening.phase == number) {
                text += &power(happening, look);
                text.push('\n');
            }
            before = Some(one);
        }
        text + &conclusion(report, ending, look)
    }

    #[test]
    fn a_run_that_passes() {
        let ending = Ending { seconds: 4.2, html: Some("out/power-lost-in-s3.html".into()), repro: None };
        insta::assert_snapshot!(shown(&sample::passes(), &ending, Look::default()));
    }

    #[test]
    fn a_narrow_terminal_has_narrow_lines() {
        let look = Look { width: 80, ..Look::default() };
        let text = shown(&sample::passes(), &Ending { seconds: 4.2, ..Ending::default() }, look);
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_run_that_fails_says_why_last() {
        let ending = Ending {
            seconds: 4.2,
            html: Some("kjvm-out/stock-hibernate.html".into()),
            repro: Some("kjvm-out/stock-hibernate.repro".into()),
        };
        insta::assert_snapshot!(shown(&sample::fails(), &ending, Look::default()));
    }

    #[test]
    fn a_verbose_terminal_has_all_evidence_and_a_calm_one_the_end_of_it() {
        let evidence = vec!["it panicked".to_owned(), (0..50).map(|line| format!("line {line}\n")).collect()];
        let report =
            Report { checks: vec![Check::fail(Clause::GoesOn, "", "panic", evidence)], ..sample::fails() };
        let text = |verbose| conclusion(&report, &Ending::default(), Look { verbose, ..Look::default() });
        assert!(text(true).contains("line 3\n") && text(true).contains("line 49\n"));
        assert!(!text(false).contains("line 3\n") && text(false).contains("line 49\n"));
        assert!(text(false).contains("... 36 lines more in the report"), "{}", text(false));
    }

    #[test]
    fn what_could_not_be_done_is_said_with_the_verdict() {
        let skipped = Report {
            verdict: Verdict::Skipped,
            skipped: Some("primary-6.1 lacks CONFIG_HIBERNATION".into()),
            checks: Vec::new(),
            digest: None,
            ..sample::passes()
        };
        let text = conclusion(&skipped, &Ending { seconds: 0.1, ..Ending::default() }, Look::default());
        assert_eq!(text, "\nSKIPPED   power-lost-in-s3   0.1 s   primary-6.1 lacks CONFIG_HIBERNATION\n");
    }

    #[test]
    fn colours_are_where_they_are_wanted_and_control_codes_of_a_guest_do_nothing() {
        let look = Look { colour: true, ..Look::default() };
        let evidence = vec!["said \x1b[2J\x07 and died".to_owned()];
        let report =
            Report { checks: vec![Check::fail(Clause::GoesOn, "", "panic", evidence)], ..sample::fails() };
        let text = conclusion(&report, &Ending::default(), look);
        assert!(text.contains("\x1b[1m\x1b[31mFAIL"), "{text:?}");
        assert!(!text.contains("\x1b[2J") && !text.contains('\x07'));
        assert!(!shown(&sample::fails(), &Ending::default(), Look::default()).contains('\x1b'));
    }

    #[test]
    fn the_power_is_told_of() {
        let happening = |volatile_writes| PowerHappening { volatile_writes, ..sample::cut() };
        insta::assert_snapshot!(
            [0, 1, 7].map(|writes| power(&happening(writes), Look::default())).join("\n")
        );
    }

    #[test]
    fn who_runs_is_named_where_it_changes() {
        let one = sample::passes().phases[0].clone();
        let role = |role| Phase { role: Some(role), ..one.clone() };
        let line = |phase_: &Phase, before| phase(phase_, before, &[], Look::default()).lines().count();
        assert_eq!(line(&role(Role::Primary), None), 2);
        assert_eq!(line(&role(Role::Primary), Some(&one)), 1);
        assert_eq!(line(&role(Role::Saver), Some(&one)), 2);
    }
}
