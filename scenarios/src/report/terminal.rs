//! A report as lines for a terminal: live while it runs, and the answer last.

use std::fmt::Write as _;

use super::{Phase, PowerHappening, Report, Verdict};
use crate::checks::{Check, Oracle, Status};

/// Width of what a phase is called, and of its detail.
const WHAT: usize = 30;
const DETAIL: usize = 36;
/// Lines of evidence that are shown of a failure; the report file has all.
const EVIDENCE: usize = 70;

/// The first line.
pub fn head(scenario: &str, seed: u64, about: &str) -> String {
    format!("{scenario}   software engine, seed {seed}\n  {about}\n")
}

/// A phase. The boot is named where it differs from that of the phase before.
pub fn phase(phase: &Phase, before: Option<&Phase>) -> String {
    let boot = match before {
        Some(before) if before.boot == phase.boot => String::new(),
        _ => format!("boot {}", phase.boot),
    };
    let role = phase.role.map_or(String::new(), |role| role.to_string());
    let same_role = before.is_some_and(|before| before.boot == phase.boot && before.role == phase.role);
    let role = if same_role { "" } else { &role };
    let seconds = phase.nanoseconds as f64 / 1e9;
    let millions = phase.instructions.div_ceil(1_000_000);
    let line = format!(
        "{boot:7}  {role:1}  {:WHAT$} {:DETAIL$} {seconds:8.3} s {millions:6} M instructions",
        phase.what, phase.detail
    );
    line.trim_end().to_owned()
}

/// Something that happened to the power.
pub fn power(happening: &PowerHappening) -> String {
    let PowerHappening { what, when, volatile_writes, survived, .. } = happening;
    let writes = match volatile_writes {
        0 => "no write was not yet durable".to_owned(),
        1 => format!("1 write not yet durable, survived: {survived}"),
        many => format!("{many} writes not yet durable, survived: {survived}"),
    };
    format!("  * {what}: {when}   {writes}")
}

/// The checks and the verdict. `seconds` is how long it took on the host's clock.
pub fn conclusion(report: &Report, seconds: f64) -> String {
    let mut text = String::new();
    let checks = &report.checks;
    let passed = checks.iter().filter(|check| check.status == Status::Pass).count();
    let mut oracles: Vec<Oracle> = checks.iter().map(|check| check.oracle).collect();
    oracles.dedup();
    let names: Vec<&str> = oracles.iter().map(|oracle| oracle.name()).collect();
    let _ = writeln!(text, "checks   {passed} of {}   {}", checks.len(), names.join(" "));
    for check in checks.iter().filter(|check| check.status == Status::NotObserved) {
        let _ = writeln!(
            text,
            "not observed   {}   {}: {}",
            check.clause,
            check.clause.about(),
            evidence(check, 1)
        );
    }
    text.push('\n');
    for check in checks.iter().filter(|check| check.status == Status::Fail) {
        let class = check.class.as_deref().unwrap_or_default();
        let _ = writeln!(text, "FAIL  {}   {}   class: {class}", check.clause, check.clause.about());
        if !check.of.is_empty() {
            let _ = writeln!(text, "      {}", check.of);
        }
        for line in evidence(check, EVIDENCE).lines() {
            let _ = writeln!(text, "      {line}");
        }
        text.push('\n');
    }
    let verdict = match report.verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Skipped => "SKIPPED",
        Verdict::Broken => "BROKEN",
    };
    let _ = write!(text, "{verdict}   {}   {seconds:.1} s", report.scenario);
    if let Some(why) = report.broken.as_ref().or(report.skipped.as_ref()) {
        let _ = write!(text, "   {why}");
    }
    if let Some(digest) = report.digest.as_deref().and_then(|digest| digest.get(..8)) {
        let _ = write!(text, "   digest {digest}");
    }
    text.push('\n');
    text
}

fn evidence(check: &Check, most: usize) -> String {
    check.evidence.join("\n").lines().take(most).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use agent_protocol::message::Role;

    use super::*;
    use crate::checks::Clause;

    fn report(checks: Vec<Check>, verdict: Verdict) -> Report {
        let phases = [
            (1, Role::Primary, "boot, file systems, workloads", "", 612_000_000, 121_000_000),
            (1, Role::Saver, "jump", "", 240_000_000, 40_000_001),
            (1, Role::Saver, "save", "image of A: 190 MiB, 32 MiB not zero", 800_000_000, 90_000_000),
            (2, Role::Primary, "restore", "image consumed, A continues", 310_000_000, 60_000_000),
        ];
        let phases = phases.map(|(boot, role, what, detail, nanoseconds, instructions)| Phase {
            boot,
            cycle: 1,
            role: Some(role),
            what: what.into(),
            detail: detail.into(),
            nanoseconds,
            began: 0,
            instructions,
            writes: 0,
            flushes: 0,
        });
        Report {
            verdict,
            scenario: "power-lost-in-s3".into(),
            about: "power fails while B sleeps".into(),
            engine: "software",
            seed: 1,
            digest: Some("9f31c2a4ffff".into()),
            kernels: Vec::new(),
            phases: phases.to_vec(),
            power_events: Vec::new(),
            checks,
            skipped: None,
            broken: None,
        }
    }

    fn shown(report: &Report) -> String {
        let mut text = head(&report.scenario, report.seed, &report.about);
        let mut before = None;
        for one in &report.phases {
            text += &phase(one, before);
            text.push('\n');
            before = Some(one);
        }
        text + &conclusion(report, 4.2)
    }

    #[test]
    fn a_run_that_passes() {
        let checks =
            vec![Check::pass(Clause::ImageGone, "cycle 1, after restore"), Check::pass(Clause::StepsEnd, "")];
        insta::assert_snapshot!(shown(&report(checks, Verdict::Pass)));
    }

    #[test]
    fn a_run_that_fails_says_why_last() {
        let evidence = vec!["swap signature S1SUSPEND".to_owned()];
        let checks = vec![
            Check::fail(Clause::ImageGone, "cycle 1, after resume", "image still valid", evidence),
            Check::pass(Clause::StepsEnd, ""),
            Check::not_observed(Clause::FileSystemWhole, "", "e2fsck is not installed"),
        ];
        insta::assert_snapshot!(shown(&report(checks, Verdict::Fail)));
    }

    #[test]
    fn the_power_is_told_of() {
        let happening = |volatile_writes| PowerHappening {
            phase: 3,
            what: "power cut".into(),
            when: "asleep in S3".into(),
            at: 1,
            instructions: 1,
            volatile_writes,
            survived: "nothing".into(),
        };
        insta::assert_snapshot!([0, 1, 7].map(|writes| power(&happening(writes))).join("\n"));
    }
}
