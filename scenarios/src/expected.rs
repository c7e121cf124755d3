//! Failures that are known: what becomes of a verdict where they are there, and where they are not.
//!
//! | A is | and the check fails | and the check passes |
//! |---|---|---|
//! | an image on which the failure was seen, by hash | expected | fails: nothing changed but kjvm, which has gone blind |
//! | another image of that name | expected | fixed |
//! | a kernel of the user's | fails, with what is known of it | fixed |
//!
//! A kernel's name alone decides whether a failure is expected, since point releases of distributions move under us. The hash decides
//! whether it has to be there.

use agent_protocol::message::Role;

use crate::checks::{Check, Clause, Status};
use crate::kernels::is_file;
use crate::language::Known;
use crate::report::Report;

/// A check that passed where it is known to fail.
const EXPECTED_TO_FAIL: &str = "expected to fail";

/// Puts what is known into a report, and judges anew.
pub fn apply(known: &[Known], report: &mut Report) {
    let Some(kernel) = report.kernels.iter().find(|kernel| kernel.role == Role::Primary).cloned() else {
        return;
    };
    let is_users = is_file(&kernel.name);
    let here: Vec<&Known> = known.iter().filter(|known| known.is_about(&report.scenario)).collect();
    let failed: Vec<Clause> =
        report.checks.iter().filter(|check| check.status == Status::Fail).map(|check| check.clause).collect();
    for check in &mut report.checks {
        let of_clause = here.iter().copied().filter(|known| known.clause == check.clause);
        match check.status {
            Status::Fail => {
                let mut of_class = of_clause.filter(|known| known.has_class(check));
                let same = of_class.clone().find(|known| known.is_of(&kernel.name));
                match same {
                    Some(known) => {
                        check.status = Status::ExpectedFail;
                        check.evidence.push(format!("expected of {}: {}", kernel.name, known.reason));
                    }
                    None if is_users => {
                        if let Some(known) = of_class.next() {
                            check.evidence.push(format!(
                                "known of {}: {}",
                                known.kernels.join(", "),
                                known.reason
                            ));
                        }
                    }
                    None => {}
                }
            }
            // Where the clause fails in another place of the same run, the failure is there.
            Status::Pass if !failed.contains(&check.clause) => {
                let same = of_clause.clone().filter(|known| known.is_of(&kernel.name));
                let mut others = of_clause.clone().filter(|_| is_users);
                if let Some(pinned) = same.clone().find(|known| known.blake3.contains(&kernel.blake3)) {
                    *check = Check::fail(
                        check.clause,
                        check.of.clone(),
                        EXPECTED_TO_FAIL,
                        vec![
                            format!(
                                "it passes on an image of {} on which it is known to fail: {}",
                                kernel.name, pinned.reason
                            ),
                            "either kjvm does not see the failure any more, or the entry in the table of expected failures is wrong"
                                .to_owned(),
                        ],
                    );
                } else if let Some(known) = same.clone().next().or_else(|| others.next()) {
                    check.status = Status::Fixed;
                    check.evidence.push(format!(
                        "known to fail on {}: {}",
                        known.kernels.join(", "),
                        known.reason
                    ));
                }
            }
            _ => {}
        }
    }
    report.verdict = report.judge();
}

impl Known {
    /// A name without what sets a variant of a matrix apart means all of them.
    fn is_about(&self, scenario: &str) -> bool {
        let whole = scenario.split('[').next().unwrap_or_default();
        self.scenarios.is_empty()
            || self.scenarios.iter().any(|pattern| matches(pattern, scenario) || matches(pattern, whole))
    }

    fn is_of(&self, kernel: &str) -> bool {
        self.kernels.iter().any(|pattern| matches(pattern, kernel))
    }

    fn has_class(&self, check: &Check) -> bool {
        self.class.is_none() || self.class == check.class
    }
}

/// Whether a name is as a pattern says, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| rest.get(at..).is_some_and(|rest| matches(after, rest)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Scenario;
    use crate::report::{KernelUsed, Verdict};

    const SCENARIO: &str = "version = 1\nsteps = []\nkernel = { primary = \"a\" }";

    fn known(kernel: &str, more: &str) -> Vec<Known> {
        let text = format!(
            "version = 1\n[[expected]]\nclause = \"O5.C1\"\nkernel = \"{kernel}\"\nreason = \"no flush\"\n{more}"
        );
        crate::language::read_expected(&text).unwrap()
    }

    fn fail(class: &str) -> Check {
        Check::fail(Clause::HeaderLast, "cycle 1", class, vec!["header first".into()])
    }

    fn pass() -> Check {
        Check::pass(Clause::HeaderLast, "cycle 1")
    }

    /// Runs on a kernel whose hash is made of `hash`; the statuses and the verdict.
    fn judged(known: &[Known], name: &str, hash: char, checks: Vec<Check>) -> (Vec<Status>, Verdict, Report) {
        let kernel = KernelUsed {
            role: Role::Primary,
            name: name.into(),
            release: String::new(),
            blake3: hash.to_string().repeat(64),
        };
        let mut report =
            Report::begun("hibernate-reboot", &Scenario::read(SCENARIO, &[]).unwrap(), vec![kernel]);
        report.checks = checks;
        apply(known, &mut report);
        (report.checks.iter().map(|check| check.status).collect(), report.verdict, report)
    }

    #[test]
    fn what_fails_as_it_is_known_to_is_no_failure() {
        let pinned = format!("blake3 = [\"{}\"]", "a".repeat(64));
        for (known, name) in [
            (known("primary-6.12", ""), "primary-6.12"),
            (known("primary-*", &pinned), "primary-6.12"),
            (
                known("primary-6.12", "class = \"order\"\nscenarios = [\"x\", \"hibernate-*\"]"),
                "primary-6.12",
            ),
        ] {
            for hash in ['a', 'b'] {
                let (statuses, verdict, report) = judged(&known, name, hash, vec![fail("order"), pass()]);
                assert_eq!(
                    (&statuses[..], verdict),
                    (&[Status::ExpectedFail, Status::Pass][..], Verdict::Pass)
                );
                assert_eq!(report.checks[0].evidence[1], "expected of primary-6.12: no flush");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_a_failure() {
        for known in [
            known("primary-6.1", ""),
            known("primary-6.12", "class = \"other\""),
            known("primary-6.12", "scenarios = [\"s3\", \"hibernate\"]"),
        ] {
            let (statuses, verdict, report) = judged(&known, "primary-6.12", 'a', vec![fail("order")]);
            assert_eq!((&statuses[..], verdict), (&[Status::Fail][..], Verdict::Fail));
            assert_eq!(report.checks[0].evidence.len(), 1);
        }
    }

    #[test]
    fn what_passes_is_fixed_unless_it_is_the_very_image() {
        let known = known("primary-6.12", &format!("blake3 = [\"{}\"]", "a".repeat(64)));
        let (statuses, verdict, report) = judged(&known, "primary-6.12", 'a', vec![pass()]);
        assert_eq!((&statuses[..], verdict), (&[Status::Fail][..], Verdict::Fail));
        assert_eq!(report.checks[0].class.as_deref(), Some("expected to fail"));
        for (name, status) in
            [("primary-6.12", Status::Fixed), ("./bzImage", Status::Fixed), ("primary-6.1", Status::Pass)]
        {
            let (statuses, verdict, _) = judged(&known, name, 'b', vec![pass()]);
            assert_eq!((&statuses[..], verdict), (&[status][..], Verdict::Pass), "{name}");
        }
    }

    #[test]
    fn a_kernel_of_the_users_fails_and_is_told_what_is_known() {
        let (statuses, verdict, report) =
            judged(&known("primary-6.12", ""), "./bzImage", 'b', vec![fail("order")]);
        assert_eq!((&statuses[..], verdict), (&[Status::Fail][..], Verdict::Fail));
        assert_eq!(report.checks[0].evidence[1], "known of primary-6.12: no flush");
        let (statuses, ..) = judged(&known("*", ""), "./bzImage", 'b', vec![fail("order")]);
        assert_eq!(statuses, [Status::ExpectedFail]);
    }

    #[test]
    fn several_kernels_and_variants_of_a_matrix() {
        let known = known("primary-*", "scenarios = [\"s3\", \"s4[processors=*]\"]");
        let about = |name: &str| known[0].is_about(name);
        assert!(about("s3") && about("s3[processors=2,front-end=nvme]") && about("s4[processors=1]"));
        assert!(!about("s4") && !about("s31") && !about("x[s3]"));
        let text = "version = 1\n[[expected]]\nclause = \"O5.C1\"\nkernel = [\"a\", \"b-*\"]\nreason = \"r\"";
        let known = crate::language::read_expected(text).unwrap();
        assert!(known[0].is_of("a") && known[0].is_of("b-1") && !known[0].is_of("c"));
    }

    #[test]
    fn patterns() {
        for (pattern, name, is) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*b*", "abc", true),
            ("**", "é", true),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
    }
}
