//! Runs as text: calm lines, the answer last.

use std::fmt::Write as _;
use std::time::Duration;

use agent_protocol::message::Role;

use crate::boot_cost::BootCost;
use crate::machine::Phase;
use crate::runs::{Report, Verdict};

/// One step, as it is printed while a run goes on. `previous` is the step before it.
pub fn phase_line(phase: &Phase, previous: Option<&Phase>) -> String {
    let boot = match previous {
        Some(previous) if previous.boot == phase.boot => String::new(),
        _ => format!("boot {}", phase.boot),
    };
    let Some(role) = phase.role else { return format!("  {}", phase.text) };
    let letter = match previous {
        Some(previous) if previous.role == Some(role) && previous.boot == phase.boot => ' ',
        _ => role.letter(),
    };
    let line = format!("{boot:<9}{letter}  {:<72}", phase.text);
    if phase.took < Duration::from_millis(5) {
        line.trim_end().to_owned()
    } else {
        format!("{line}{:>6.2} s", phase.took.as_secs_f64())
    }
}

/// How long kernels take to boot, beside each other.
pub fn boot_times(report: &Report) -> Option<String> {
    let seconds = |role| report.boot_ms.get(&role).map(|ms| Duration::from_millis(*ms).as_secs_f64());
    let primary = seconds(Role::Primary)?;
    let saver = seconds(Role::Saver)?;
    let cold = seconds(Role::Restorer).map(|cold| format!(", cold {cold:.2} s")).unwrap_or_default();
    Some(format!("from kernel start to agent: primary {primary:.2} s, saver {saver:.2} s{cold}"))
}

/// What the boots cost, beside each other.
pub fn boot_cost(cost: &BootCost) -> String {
    let line = |text: &str, count: u64| format!("  {text:<42} {:>7.1}", count as f64 / 1e6);
    let less = |text, count| format!("{}   {} % less", line(text, count), cost.below_primary(count));
    [
        "instructions until the agent is ready, in millions:".to_owned(),
        line("A  primary, from the power switch on", cost.primary),
        less("C  saver, from the power switch on", cost.restorer),
        less("B  saver, from the request to jump on", cost.saver),
    ]
    .join("\n")
}

/// The verdict and what belongs to it, last of all.
pub fn verdict(report: &Report) -> String {
    let took = format!("{:.1} s", report.took.as_secs_f64());
    let Report { name, kernel, cpus, .. } = report;
    let which = format!("{name}   {kernel}, {cpus} CPU");
    match &report.verdict {
        Verdict::Pass => format!("PASS   {took}   {which}"),
        Verdict::Fail(why) => format!("{}\n\nFAIL   {took}   {which}\n  {}", why.trim_end(), first_line(why)),
        Verdict::KnownFailure(why) => format!("KNOWN FAILURE   {took}   {which}\n  {why}"),
        Verdict::Host(why) => format!("CANNOT RUN   {which}\n  {why}"),
        Verdict::Skipped(why) => format!("SKIPPED   {which}\n  {why}"),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Several runs, one a line, and how many ended how.
pub fn table(reports: &[Report]) -> String {
    let mut text = String::new();
    let (mut passed, mut failed, mut others) = (0, 0, 0);
    for report in reports {
        let (word, why) = match &report.verdict {
            Verdict::Pass => ("pass", ""),
            Verdict::Fail(why) => ("FAIL", first_line(why)),
            Verdict::KnownFailure(why) => ("known failure", *why),
            Verdict::Host(why) => ("cannot run", first_line(why)),
            Verdict::Skipped(why) => ("skipped", *why),
        };
        match &report.verdict {
            Verdict::Pass => passed += 1,
            Verdict::Fail(_) | Verdict::Host(_) => failed += 1,
            Verdict::KnownFailure(_) | Verdict::Skipped(_) => others += 1,
        }
        let Report { name, kernel, cpus, took, .. } = report;
        let took = took.as_secs_f64();
        let line = format!("{name:<30} {kernel:<14} {cpus} CPU {took:>6.1} s  {word:<14}{why}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let total: f64 = reports.iter().map(|report| report.took.as_secs_f64()).sum();
    let word = if failed == 0 { "PASS" } else { "FAIL" };
    let _ = write!(
        text,
        "\n{word}   {passed} passed, {failed} failed, {others} known failures or skipped   {total:.0} s"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn report(verdict: Verdict) -> Report {
        let phase = |boot, role, text: &str, ms| Phase {
            boot,
            role,
            text: text.into(),
            took: Duration::from_millis(ms),
        };
        Report {
            name: "jump::save_s3_power_cut_restore",
            kernel: "primary-6.12".into(),
            cpus: 2,
            verdict,
            took: Duration::from_millis(14_210),
            timeline: vec![
                phase(1, Some(Role::Primary), "primary-6.12 ready", 2310),
                phase(1, Some(Role::Primary), "workloads clean", 90),
                phase(1, Some(Role::Saver), "image of A", 800),
                phase(1, None, "power lost in S3", 0),
                phase(2, Some(Role::Restorer), "saver-6.12 ready", 1000),
                phase(2, Some(Role::Primary), "continues", 400),
            ],
            boot_ms: BTreeMap::from([(Role::Primary, 1500), (Role::Saver, 700), (Role::Restorer, 800)]),
        }
    }

    fn whole(report: &Report) -> String {
        let mut previous = None;
        let mut lines = Vec::new();
        for phase in &report.timeline {
            lines.push(phase_line(phase, previous));
            previous = Some(phase);
        }
        lines.extend(boot_times(report));
        lines.push(verdict(report));
        lines.join("\n")
    }

    #[test]
    fn a_run_that_passes() {
        insta::assert_snapshot!(whole(&report(Verdict::Pass)));
    }

    #[test]
    fn a_run_that_fails_says_why_last() {
        let why =
            "workloads differ: memory: page 3\n  boot 1 A ready\nconsole:\n[    1.0] Restarting tasks\n";
        insta::assert_snapshot!(verdict(&report(Verdict::Fail(why.into()))));
    }

    #[test]
    fn boots_beside_each_other() {
        let cost = BootCost { primary: 322_099_335, restorer: 181_620_592, saver: 90_000_000 };
        insta::assert_snapshot!(boot_cost(&cost));
    }

    #[test]
    fn a_table() {
        let all = [
            Verdict::Pass,
            Verdict::Fail("image is valid\nmore".into()),
            Verdict::KnownFailure("6.1 cannot"),
            Verdict::Skipped("no kexec jump"),
            Verdict::Host("qemu is not installed".into()),
        ];
        insta::assert_snapshot!(table(&all.map(report)));
    }
}
