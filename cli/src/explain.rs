//! `kjvm explain`: what a word means, out of the documentation itself.

mod book;
mod plain;

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use scenarios::checks::{Clause, Oracle};
use scenarios::language::nearest;

use self::book::{Chapter, Found};
use crate::failure::{Code, Failure};

/// What to explain.
#[derive(Debug, Args)]
pub struct Explain {
    /// An oracle (`O5`), a clause (`O5.C1`), a step, a trigger, a knob, a word of a report; or `oracles`, `steps`, `triggers`, `knobs`,
    /// `words`, `language`, `expected`, `codes`. Nothing: all there is to ask for.
    word: Option<String>,
}

/// What is explained as a whole: a word for it, a chapter, and the heading in it.
const TOPICS: [(&str, Chapter, &str); 8] = [
    ("language", Chapter::Scenarios, "By example"),
    ("steps", Chapter::Scenarios, "Steps"),
    ("triggers", Chapter::Scenarios, "Power events"),
    ("machine", Chapter::Scenarios, "The machine"),
    ("knobs", Chapter::Knobs, "Every knob"),
    ("expected", Chapter::Scenarios, "Expected failures"),
    ("codes", Chapter::Scenarios, "Scenarios"),
    ("words", Chapter::Words, "Words"),
];

/// Explains.
pub fn run(arguments: &Explain) -> Result<ExitCode, Failure> {
    let text = match arguments.word.as_deref().map(str::trim) {
        None | Some("") => contents(),
        Some(word) => explain(word)?,
    };
    // Whoever closes the pipe has read enough.
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn explain(word: &str) -> Result<String, Failure> {
    if word.eq_ignore_ascii_case("oracles") {
        return Ok(oracles());
    }
    if word.eq_ignore_ascii_case("clauses") {
        return Ok(clauses(|_| true));
    }
    if let Some(oracle) = Oracle::ALL.iter().find(|oracle| oracle.name().eq_ignore_ascii_case(word)) {
        let section = Chapter::Oracles.section(|heading| book::begins_with(heading, oracle.name()));
        let text = section.map(|section| section.opening()).unwrap_or_default();
        return Ok(format!(
            "{}\n\n{}",
            plain::rendered(&text).trim_end(),
            clauses(|clause| clause.oracle() == *oracle)
        ));
    }
    if let Some(clause) = Clause::named(word) {
        let section = Chapter::Oracles.section(|heading| book::begins_with(heading, clause.id()));
        return Ok(section.map(|section| plain::rendered(&section.text)).unwrap_or_default());
    }
    if let Some((_, chapter, heading)) = TOPICS.iter().find(|(topic, ..)| topic.eq_ignore_ascii_case(word)) {
        let section = chapter.section(|other| other == *heading);
        let opening = *heading == "Scenarios";
        let text =
            section.map(|section| if opening { section.opening() } else { section.text }).unwrap_or_default();
        return Ok(plain::rendered(&text));
    }
    let found: Vec<Found> = Chapter::look_up(word);
    if found.is_empty() {
        return Err(unknown(word));
    }
    let mut text = String::new();
    for Found { heading, text: block } in found {
        text += &format!("{heading}\n\n{}\n", plain::rendered(&block));
    }
    Ok(text)
}

fn unknown(word: &str) -> Failure {
    let mut known: Vec<String> = TOPICS
        .iter()
        .map(|(topic, ..)| (*topic).to_owned())
        .chain(["oracles".into(), "clauses".into()])
        .collect();
    known.extend(Clause::ALL.iter().map(|clause| clause.id().to_owned()));
    known.extend(Oracle::ALL.iter().map(|oracle| oracle.name().to_owned()));
    known.extend(Chapter::ALL.iter().flat_map(|chapter| chapter.words()));
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let advice = nearest(word, &known).map_or(String::new(), |near| format!(": did you mean `{near}`?"));
    Failure::new(
        Code::Arguments,
        format!("`{word}` is not explained{advice}\n`kjvm explain` without a word shows what there is"),
    )
}

fn contents() -> String {
    "kjvm explain WORD, where WORD is\n\n\
     \x20 O1 to O14      an oracle; `oracles` shows all\n\
     \x20 O5.C1          a clause; `clauses` shows all\n\
     \x20 language       a scenario by example\n\
     \x20 steps          what the kernels are asked to do; also each by name, as `jump`\n\
     \x20 triggers       when the power fails; also each by name, as `s3-entered`\n\
     \x20 machine        what can be said of the machine\n\
     \x20 knobs          what each knob provokes; also each by name, as `tsc-on-s3`\n\
     \x20 expected       failures that are known\n\
     \x20 codes          exit codes\n\
     \x20 words          words of reports; also each by name, as `durable`\n"
        .to_owned()
}

fn oracles() -> String {
    Oracle::ALL.iter().map(|oracle| format!("{:4} {}\n", oracle.name(), oracle.about())).collect()
}

fn clauses(wanted: impl Fn(Clause) -> bool) -> String {
    let clauses = Clause::ALL.iter().filter(|clause| wanted(**clause));
    clauses.map(|clause| format!("{:7} {}\n", clause.id(), clause.about())).collect()
}
