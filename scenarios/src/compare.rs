//! Two runs of a scenario on two kernels: what fails on one of them alone.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::checks::{Check, Clause, Status};
use crate::report::{Report, Verdict};

/// What became of something from one kernel to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Fails, and did not.
    New,
    /// Failed, and does not.
    Fixed,
    /// Fails in another way, or is not the same kind of run any more.
    Changed,
}

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What became of it.
    pub kind: Kind,
    /// Which clause. None: the run as a whole.
    pub clause: Option<Clause>,
    /// Classes of failure before, or the verdict.
    pub base: Vec<String>,
    /// Classes of failure now, or the verdict.
    pub head: Vec<String>,
    /// More about it.
    pub remark: String,
}

/// What changed from one report to the other, by clause and class.
pub fn compare(base: &Report, head: &Report) -> Vec<Change> {
    if [base, head].iter().any(|report| matches!(report.verdict, Verdict::Skipped | Verdict::Broken)) {
        if base.verdict == head.verdict {
            return Vec::new();
        }
        let why =
            head.broken.as_ref().or(head.skipped.as_ref()).or(base.broken.as_ref()).or(base.skipped.as_ref());
        return vec![Change {
            kind: Kind::Changed,
            clause: None,
            base: vec![base.verdict.name().to_owned()],
            head: vec![head.verdict.name().to_owned()],
            remark: why.and_then(|why| why.lines().next()).unwrap_or_default().to_owned(),
        }];
    }
    let (before, now) = (failures(base), failures(head));
    let mut changes = Vec::new();
    for clause in Clause::ALL {
        let none = Vec::new();
        let (old, new) = (before.get(clause).unwrap_or(&none), now.get(clause).unwrap_or(&none));
        let classes = |checks: &[&Check]| {
            let mut classes: Vec<String> =
                checks.iter().map(|check| check.class.clone().unwrap_or_default()).collect();
            classes.sort();
            classes.dedup();
            classes
        };
        let (base_classes, head_classes) = (classes(old), classes(new));
        let kind = match (base_classes.is_empty(), head_classes.is_empty()) {
            _ if base_classes == head_classes => continue,
            (true, _) => Kind::New,
            (_, true) => Kind::Fixed,
            _ => Kind::Changed,
        };
        let (seen, from) = if kind == Kind::Fixed { (head, old) } else { (base, new) };
        let was_looked_at =
            seen.checks.iter().any(|check| check.clause == *clause && check.status != Status::NotObserved);
        let evidence = from.first().and_then(|check| check.evidence.first()?.lines().next());
        let remark = match (was_looked_at, kind) {
            (false, Kind::New) => "the base did not come so far".to_owned(),
            // What is not looked at is not fixed.
            (false, Kind::Fixed) => {
                changes.push(Change {
                    kind: Kind::Changed,
                    clause: Some(*clause),
                    base: base_classes,
                    head: vec!["not observed".to_owned()],
                    remark: "the head does not come so far".to_owned(),
                });
                continue;
            }
            _ => evidence.unwrap_or_default().to_owned(),
        };
        changes.push(Change { kind, clause: Some(*clause), base: base_classes, head: head_classes, remark });
    }
    changes
}

fn failures(report: &Report) -> BTreeMap<Clause, Vec<&Check>> {
    let mut failures: BTreeMap<Clause, Vec<&Check>> = BTreeMap::new();
    for check in report.checks.iter().filter(|check| check.status == Status::Fail) {
        failures.entry(check.clause).or_default().push(check);
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Scenario;

    fn report(checks: Vec<Check>) -> Report {
        let text = "version = 1\nsteps = []\nkernel = { primary = \"a\" }";
        let mut report = Report::begun("s", &Scenario::read(text, &[]).unwrap(), Vec::new());
        report.checks = checks;
        report.verdict = report.judge();
        report
    }

    fn fail(clause: Clause, class: &str) -> Check {
        Check::fail(clause, "", class, vec![format!("{class} it is\nand more")])
    }

    fn pass(clause: Clause) -> Check {
        Check::pass(clause, "")
    }

    #[test]
    fn what_is_the_same_is_not_told() {
        let checks = || vec![fail(Clause::QuietLog, "warning"), pass(Clause::StepsEnd)];
        assert_eq!(compare(&report(checks()), &report(checks())), []);
        // Twice of one class is one failure.
        let twice = vec![fail(Clause::QuietLog, "warning"), fail(Clause::QuietLog, "warning")];
        assert_eq!(compare(&report(checks()), &report(twice)), []);
    }

    #[test]
    fn new_fixed_and_changed() {
        use Clause::{HeaderLast, QuietLog, ResetFirst, StepsEnd};
        let base = report(vec![
            fail(QuietLog, "warning"),
            fail(ResetFirst, "order"),
            pass(StepsEnd),
            pass(HeaderLast),
        ]);
        let head = report(vec![
            fail(QuietLog, "panic"),
            pass(ResetFirst),
            fail(StepsEnd, "refused"),
            pass(HeaderLast),
        ]);
        let found: Vec<_> = compare(&base, &head)
            .into_iter()
            .map(|change| (change.kind, change.clause.unwrap(), change.base, change.head, change.remark))
            .collect();
        let classes = |class: &str| vec![class.to_owned()];
        assert_eq!(
            found,
            [
                (Kind::Fixed, ResetFirst, classes("order"), vec![], "order it is".to_owned()),
                (Kind::New, StepsEnd, vec![], classes("refused"), "refused it is".to_owned()),
                (Kind::Changed, QuietLog, classes("warning"), classes("panic"), "panic it is".to_owned()),
            ]
        );
    }

    #[test]
    fn what_was_not_looked_at_is_neither_fixed_nor_quietly_new() {
        let (broken_off, whole) = (report(vec![]), report(vec![fail(Clause::HeaderLast, "order")]));
        let [new] = &compare(&broken_off, &whole)[..] else { panic!("one") };
        assert_eq!((new.kind, new.remark.as_str()), (Kind::New, "the base did not come so far"));
        let [gone] = &compare(&whole, &broken_off)[..] else { panic!("one") };
        assert_eq!((gone.kind, gone.head.as_slice()), (Kind::Changed, &["not observed".to_owned()][..]));
    }

    #[test]
    fn a_kernel_that_cannot_do_it_is_a_change_of_the_whole() {
        let mut skipped = report(vec![]);
        skipped.skipped = Some("CONFIG_KEXEC_JUMP is missing".into());
        skipped.verdict = skipped.judge();
        let [change] = &compare(&report(vec![]), &skipped)[..] else { panic!("one") };
        assert_eq!((change.kind, change.clause), (Kind::Changed, None));
        assert_eq!(
            (change.head[0].as_str(), change.remark.as_str()),
            ("skipped", "CONFIG_KEXEC_JUMP is missing")
        );
        assert_eq!(compare(&skipped, &skipped), []);
    }
}
