//! A campaign for continuous integration: one case for the campaign, and one for each class of findings.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Whole, TestCase, TestCaseStatus, TestSuite};

use crate::explore::campaign::Explored;
use crate::explore::finding::Found;

/// The text. `known`: of each finding, whether it is in the baseline.
///
/// # Errors
/// None that we know.
pub fn text(
    scenario: &str,
    explored: &Explored,
    known: &[bool],
) -> Result<String, quick_junit::SerializeError> {
    let time = Duration::try_from_secs_f64(explored.seconds).unwrap_or_default();
    let mut suite = TestSuite::new(format!("{scenario} fuzz"));
    suite.set_time(time);
    let effort = explored.progress.effort;
    for (name, value) in [
        ("points", explored.progress.points.total() as u64),
        ("tested", explored.tested.total() as u64),
        ("skipped", explored.progress.points.skipped as u64),
        ("decided", effort.decided),
        ("executed", effort.executed),
    ] {
        suite.add_property((name, value.to_string().as_str()));
    }
    let mut case = TestCase::new("the campaign itself", TestCaseStatus::success());
    case.set_classname(scenario).set_time(time);
    let (word, of) = explored.verdict(known.iter().any(|known| !known));
    case.set_system_out(format!(
        "{word} {of}\n{} cut points, {} tested, {} skipped\n{} states decided by {} boots, {} undecided",
        explored.progress.points.total(),
        explored.tested.total(),
        explored.progress.points.skipped,
        effort.decided,
        effort.executed,
        explored.progress.undecided
    ));
    suite.add_test_case(case);
    suite.add_test_cases(
        explored.findings.iter().zip(known).map(|(found, known)| of_finding(scenario, found, *known)),
    );
    let mut whole = Whole::new("kjvm");
    whole.set_time(time);
    whole.add_test_suite(suite);
    whole.to_string()
}

fn of_finding(scenario: &str, found: &Found, is_known: bool) -> TestCase {
    let lost = found.lost_writes.iter().map(|write| {
        format!(
            "\nlost: {} #{}, sectors {}+{} ({})",
            write.disk, write.request, write.sector, write.sectors, write.owner
        )
    });
    let text = format!(
        "the power fails {}\nthen: {}\nlegal: {}\nneeds: {}{}",
        found.cut.words,
        found.observed,
        found.allowed.join(" or "),
        found.weakest_fault,
        lost.collect::<String>()
    );
    let mut status = TestCaseStatus::success();
    if !is_known {
        status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status
            .set_message(found.user_effect.as_str())
            .set_type(found.class.as_str())
            .set_description(text.as_str());
    }
    let mut case = TestCase::new(format!("{} {}, in {}", found.clause, found.class, found.cut.step), status);
    case.set_classname(scenario);
    if is_known {
        case.set_system_out(format!("in the baseline\n{text}"));
    }
    case
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::campaign::explored::sample;

    #[test]
    fn a_case_for_each_class_and_one_for_the_campaign() {
        for (known, failures) in [(false, 1), (true, 0)] {
            let text = text("stock", &sample::explored(), &[known]).unwrap();
            let document = roxmltree::Document::parse(&text).unwrap();
            let count = |name: &str| document.descendants().filter(|node| node.has_tag_name(name)).count();
            assert_eq!((count("testcase"), count("failure")), (2, failures), "{text}");
            assert!(text.contains("O5.C1 a header before its map, in hibernate"), "{text}");
            assert_eq!(text.contains("in the baseline"), known);
        }
    }
}
