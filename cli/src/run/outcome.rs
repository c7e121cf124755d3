//! What came of scenarios: exit codes, and a table if there are several.

use std::process::ExitCode;

use scenarios::checks::Status;
use scenarios::{Report, Verdict};

use crate::failure::{Code, Failure};
use crate::output::duration;

/// What came of a scenario.
pub struct Outcome {
    /// What it is called.
    pub name: String,
    /// How long it took, on the host's clock.
    pub seconds: f64,
    /// Its report, or why there is none.
    pub came: Result<Report, Failure>,
}

/// A check failed.
const FAILED: u8 = 1;
/// What `git bisect run` takes as "this one cannot be tested".
pub const UNTESTED: u8 = 125;

/// The exit code of a run that came to an end.
pub fn code_of(report: &Report) -> u8 {
    match report.verdict {
        Verdict::Pass | Verdict::Skipped => 0,
        Verdict::Fail => FAILED,
        Verdict::Broken => Code::Ours as u8,
    }
}

impl Outcome {
    /// Its own exit code.
    pub fn code(&self) -> u8 {
        match &self.came {
            Ok(report) => code_of(report),
            Err(failure) => failure.code as u8,
        }
    }

    fn is_untested(&self) -> bool {
        self.code() > FAILED || matches!(&self.came, Ok(report) if report.verdict == Verdict::Skipped)
    }

    fn word(&self) -> &'static str {
        match &self.came {
            Ok(report) => match report.verdict {
                Verdict::Pass => "PASS",
                Verdict::Fail => "FAIL",
                Verdict::Skipped => "SKIPPED",
                Verdict::Broken => "BROKEN",
            },
            Err(_) => "NOT RUN",
        }
    }

    /// What is to be said of it in half a line.
    fn remark(&self) -> String {
        let report = match &self.came {
            Ok(report) => report,
            Err(failure) => return first_line(&failure.message),
        };
        if let Some(why) = report.broken.as_ref().or(report.skipped.as_ref()) {
            return first_line(why);
        }
        let named = |status, word: &str| {
            let mut clauses: Vec<&str> = report
                .checks
                .iter()
                .filter(|check| check.status == status)
                .map(|check| check.clause.id())
                .collect();
            clauses.dedup();
            (!clauses.is_empty()).then(|| format!("{word}{}", clauses.join(" ")))
        };
        [named(Status::Fail, ""), named(Status::Fixed, "fixed: "), named(Status::ExpectedFail, "expected: ")]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("   ")
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The exit code of all: the largest, for the larger it is the less is known. For `git bisect run`, a check that failed counts
/// before anything that could not be tested.
pub fn exit_code(outcomes: &[Outcome], bisect: bool) -> ExitCode {
    ExitCode::from(code(outcomes, bisect))
}

fn code(outcomes: &[Outcome], bisect: bool) -> u8 {
    let worst = outcomes.iter().map(Outcome::code).max().unwrap_or(0);
    if !bisect {
        return worst;
    }
    if outcomes.iter().any(|outcome| outcome.code() == FAILED) {
        FAILED
    } else if outcomes.iter().any(Outcome::is_untested) {
        UNTESTED
    } else {
        worst
    }
}

/// All of them, one a line.
pub fn table(outcomes: &[Outcome]) -> String {
    let width = outcomes.iter().map(|outcome| outcome.name.chars().count()).max().unwrap_or(0).max(8);
    let mut text = format!("VERDICT  {:width$}  {:>12}  {}\n", "SCENARIO", "TIME", "DIGEST");
    for outcome in outcomes {
        let digest = outcome.came.as_ref().ok().and_then(|report| report.digest.as_deref());
        let line = format!(
            "{:7}  {:width$}  {:>12}  {:8}  {}",
            outcome.word(),
            outcome.name,
            duration(outcome.seconds),
            digest.and_then(|digest| digest.get(..8)).unwrap_or("-"),
            outcome.remark()
        );
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// How many there are of which kind: the last line.
pub fn summary(outcomes: &[Outcome], seconds: f64) -> String {
    let mut parts = Vec::new();
    for (word, name) in [
        ("PASS", "passed"),
        ("FAIL", "failed"),
        ("SKIPPED", "skipped"),
        ("NOT RUN", "not run"),
        ("BROKEN", "broken"),
    ] {
        let count = outcomes.iter().filter(|outcome| outcome.word() == word).count();
        if count > 0 {
            parts.push(format!("{count} {name}"));
        }
    }
    format!("{} scenarios: {}   {}", outcomes.len(), parts.join(", "), duration(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(verdict: Verdict) -> Outcome {
        let scenario =
            scenarios::Scenario::read("version = 1\nsteps = []\nkernel = { primary = \"a\" }", &[]).unwrap();
        let report = Report { verdict, ..Report::begun("one", &scenario, Vec::new()) };
        Outcome { name: "one".into(), seconds: 1.0, came: Ok(report) }
    }

    fn not_run(code: Code) -> Outcome {
        Outcome { name: "other".into(), seconds: 0.0, came: Err(Failure::new(code, "no room\nat all")) }
    }

    #[test]
    fn the_worst_wins_and_a_bisection_wants_to_know_of_failures_first() {
        use Verdict::{Broken, Fail, Pass, Skipped};
        for (outcomes, plain, bisect) in [
            (vec![outcome(Pass)], 0, 0),
            (vec![outcome(Pass), outcome(Skipped)], 0, 125),
            (vec![outcome(Fail), outcome(Pass)], 1, 1),
            (vec![outcome(Fail), outcome(Skipped)], 1, 1),
            (vec![not_run(Code::Arguments), outcome(Pass)], 2, 125),
            (vec![outcome(Fail), not_run(Code::Host)], 3, 1),
            (vec![not_run(Code::Host), not_run(Code::Arguments)], 3, 125),
            (vec![outcome(Broken), not_run(Code::Host), outcome(Pass)], 4, 125),
            (vec![], 0, 0),
        ] {
            let words: Vec<_> = outcomes.iter().map(Outcome::word).collect();
            assert_eq!((code(&outcomes, false), code(&outcomes, true)), (plain, bisect), "{words:?}");
        }
    }

    #[test]
    fn the_table_has_a_line_for_each() {
        let outcomes = [outcome(Verdict::Pass), not_run(Code::Host)];
        insta::assert_snapshot!(table(&outcomes) + &summary(&outcomes, 61.0), @r"
    VERDICT  SCENARIO          TIME  DIGEST
    PASS     one              1.0 s  -
    NOT RUN  other            0.0 s  -         no room
    2 scenarios: 1 passed, 1 not run   1 min 01 s
    ");
    }
}
