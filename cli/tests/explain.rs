//! `kjvm explain` as a user calls it: every word that a mistake or a report can show is explained.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::path::Path;

use common::{kjvm, stderr, stdout};
use scenarios::Scenario;
use scenarios::checks::{Clause, Oracle};

fn explained(word: &str) -> String {
    let output = kjvm(Path::new("."), &["explain", word]);
    assert_eq!(output.status.code(), Some(0), "{word}: {}", stderr(&output));
    let text = stdout(&output);
    let marked = |line: &str| !line.starts_with("    ") && (line.contains("**") || line.contains('`'));
    assert!(!text.lines().any(marked) && text.len() > word.len() + 20, "{word}: {text}");
    text
}

#[test]
fn every_clause_says_why_and_how_and_what_is_left_out() {
    for clause in Clause::ALL {
        let text = explained(clause.id());
        assert!(text.starts_with(clause.id()), "{text}");
        for part in ["Why:", "How:", "Left out:", "A failure:", "Known:"] {
            assert_eq!(text.matches(part).count(), 1, "{clause}: {part}\n{text}");
        }
    }
    for oracle in Oracle::ALL {
        let text = explained(oracle.name());
        assert!(text.starts_with(oracle.name()), "{text}");
        for clause in Clause::ALL.iter().filter(|clause| clause.oracle() == *oracle) {
            assert!(text.contains(clause.about()), "{clause}: {text}");
        }
        assert!(explained("oracles").contains(oracle.about()));
    }
    // And no section is left of a clause that is gone.
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/oracles.md")).unwrap();
    for id in page.lines().filter_map(|line| line.strip_prefix("### ")?.split(' ').next()) {
        assert!(Clause::named(id).is_some(), "{id}");
    }
}

/// The words that the language has, as its own messages list them: in a scenario with a word that does not exist.
fn words(scenario: &str) -> Vec<String> {
    let (mistake, _) = Scenario::read(scenario, &[]).unwrap_err();
    let text = if mistake.what.contains("needs one of") { mistake.what } else { mistake.help.unwrap() };
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_word_of_the_language_is_explained() {
    let base = "version = 1\nsteps = []\nkernel = { primary = \"a\" }\n";
    let cut = "do = \"cut\"\n[[disk]]\nname = \"d\"\nsize = \"64M\"\n";
    for (what, least, scenario) in [
        ("steps", 13, base.replace("[]", "[\"zzzz\"]")),
        ("knobs", 15, format!("{base}[machine]\nzzzz = 1\n")),
        ("triggers", 9, format!("{base}[[power]]\nwhen = {{}}\n{cut}")),
    ] {
        let words = words(&scenario);
        assert!(words.len() >= least, "{what}: {words:?}");
        for word in words {
            explained(&word);
        }
        explained(what);
    }
    for trigger in scenarios::language::When::names() {
        explained(trigger);
    }
    for word in ["durable", "verdict", "expected", "codes", "language", "words", "machine", "TSC_on_s3"] {
        explained(word);
    }
}

#[test]
fn a_word_nobody_knows_gets_the_nearest_one() {
    for (word, near) in
        [("O5.C11", "O5.C1"), ("jmup", "jump"), ("durabel", "durable"), ("trigers", "triggers")]
    {
        let output = kjvm(Path::new("."), &["explain", word]);
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(said.contains(&format!("did you mean `{near}`?")), "{word}: {said}");
    }
    let output = kjvm(Path::new("."), &["explain", "xylophone"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!stderr(&output).contains("did you mean"));
    let contents = stdout(&kjvm(Path::new("."), &["explain"]));
    for topic in ["oracles", "clauses", "steps", "triggers", "knobs", "words", "codes"] {
        assert!(contents.contains(topic), "{topic}: {contents}");
    }
}
