//! Reports for continuous integration: JUnit XML, one suite for each scenario, one case for each check.

pub mod campaign;

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Whole, TestCase, TestCaseStatus, TestSuite, XmlString};

use super::{Report, sentence, status_word};
use crate::checks::{Check, Status};

/// Scenarios, one after the other.
pub struct Junit {
    whole: Whole,
    time: Duration,
}

impl Default for Junit {
    fn default() -> Self {
        Self { whole: Whole::new("kjvm"), time: Duration::ZERO }
    }
}

impl Junit {
    /// Adds a scenario that took so long on the host's clock, in seconds.
    pub fn add(&mut self, report: &Report, seconds: f64) {
        let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let mut suite = TestSuite::new(report.scenario.as_str());
        suite.set_time(time);
        suite.add_property(("about", report.about.as_str()));
        suite.add_property(("engine", report.engine));
        suite.add_property(("seed", report.seed.to_string().as_str()));
        if let Some(digest) = &report.digest {
            suite.add_property(("digest", digest.as_str()));
        }
        for kernel in &report.kernels {
            let (name, value) = (
                format!("kernel {}", kernel.role),
                format!("{} {} {}", kernel.name, kernel.release, kernel.blake3),
            );
            suite.add_property((name.as_str(), value.as_str()));
        }
        if let Some(why) = &report.broken {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(why.as_str()).set_type("broken");
            suite.add_test_case(case(report, "the run itself", status));
        } else if let Some(why) = &report.skipped {
            let mut status = TestCaseStatus::skipped();
            status.set_message(why.as_str());
            suite.add_test_case(case(report, "the run itself", status));
        }
        suite.add_test_cases(report.checks.iter().map(|check| of_check(report, check)));
        self.time += time;
        self.whole.add_test_suite(suite);
    }

    /// All of it.
    ///
    /// # Errors
    /// None that we know.
    pub fn text(mut self) -> Result<String, quick_junit::SerializeError> {
        self.whole.set_time(self.time);
        self.whole.to_string()
    }
}

fn of_check(report: &Report, check: &Check) -> TestCase {
    let name = match check.of.as_str() {
        "" => check.clause.id().to_owned(),
        of => format!("{} {of}", check.clause),
    };
    let class = check.class.as_deref().unwrap_or_default();
    let evidence = check.evidence.join("\n");
    let needs = check.needs.map_or(String::new(), |needs| format!("\nneeds: {}", needs.name()));
    let status = match check.status {
        Status::Fail => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let text = format!("has to be true: {}{needs}\n{evidence}", check.clause.about());
            status.set_message(sentence(check)).set_type(class).set_description(text);
            status
        }
        Status::NotObserved => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("not observed: {}", sentence(check)));
            status
        }
        Status::Pass | Status::ExpectedFail | Status::Fixed | Status::Note => TestCaseStatus::success(),
    };
    let mut case = case(report, name, status);
    if matches!(check.status, Status::ExpectedFail | Status::Fixed | Status::Note) {
        let class = if class.is_empty() { String::new() } else { format!(", class {class}") };
        case.set_system_out(format!(
            "{}: {}{class}{needs}\n{evidence}",
            status_word(check.status),
            check.clause.about()
        ));
    }
    case
}

fn case(report: &Report, name: impl Into<XmlString>, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(report.scenario.as_str());
    case
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Clause;
    use crate::report::{Verdict, sample};

    fn text(reports: &[Report]) -> String {
        let mut junit = Junit::default();
        reports.iter().for_each(|report| junit.add(report, 4.25));
        junit.text().unwrap()
    }

    fn broken() -> Report {
        Report {
            verdict: Verdict::Broken,
            broken: Some("a panic of ours".into()),
            checks: Vec::new(),
            ..sample::passes()
        }
    }

    fn skipped() -> Report {
        Report {
            verdict: Verdict::Skipped,
            skipped: Some("CONFIG_X is missing".into()),
            checks: Vec::new(),
            ..sample::passes()
        }
    }

    #[test]
    fn the_text_stays() {
        insta::assert_snapshot!(text(&[sample::passes(), sample::fails(), broken(), skipped()]));
    }

    /// Another library reads it, and finds as many of each as there are.
    #[test]
    fn others_can_read_it() {
        let text = text(&[sample::passes(), sample::fails(), broken(), skipped()]);
        let document = roxmltree::Document::parse(&text).unwrap();
        let count = |name: &str| document.descendants().filter(|node| node.has_tag_name(name)).count();
        let checks = sample::passes().checks.len() + sample::fails().checks.len();
        assert_eq!((count("testsuite"), count("testcase")), (4, checks + 2));
        assert_eq!((count("failure"), count("error"), count("skipped")), (1, 1, 3));
        let root = document.root_element();
        assert_eq!((root.attribute("failures"), root.attribute("errors")), (Some("1"), Some("1")));
        let failure = document.descendants().find(|node| node.has_tag_name("failure")).unwrap();
        assert_eq!(failure.attribute("type"), Some("header first"));
        assert!(failure.text().unwrap().contains("no FLUSH since #12"));
        // Known failures and fixed ones passed, with a word about them.
        let said = document.descendants().filter(|node| node.has_tag_name("system-out")).count();
        assert_eq!(said, 4);
    }

    #[test]
    fn what_a_guest_says_stays_text() {
        let evidence = vec!["]]> <failure/> & \" \x1b[2J \0".to_owned()];
        let report =
            Report { checks: vec![Check::fail(Clause::GoesOn, "<&\"", "a<b", evidence)], ..sample::fails() };
        let text = text(&[report]);
        let document = roxmltree::Document::parse(&text).unwrap();
        assert_eq!(document.descendants().filter(|node| node.has_tag_name("failure")).count(), 1);
    }
}
