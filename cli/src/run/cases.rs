//! Which scenarios are meant: files, directories of them, standard input.

use std::io::Read;
use std::path::{Path, PathBuf};

use miette::{LabeledSpan, MietteDiagnostic, NamedSource};
use scenarios::Scenario;
use scenarios::language::{Mistake, Variant};

use crate::failure::{Code, Failure};

/// What else lies in directories of scenarios.
const NO_SCENARIOS: [&str; 2] = ["Cargo.toml", "expected.toml"];

/// A scenario that is to be run.
pub struct Case {
    /// What it is called.
    pub name: String,
    /// Where it comes from.
    pub file: PathBuf,
    /// As it is run: what was to be changed in it is changed.
    pub text: String,
    /// What it says.
    pub scenario: Scenario,
}

/// Reads all of them before the first one runs: a mistake in the last should not cost the time of the others.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn cases(paths: &[PathBuf], overrides: &[String]) -> Result<Vec<Case>, Vec<Failure>> {
    let files = files(paths).map_err(|failure| vec![failure])?;
    let (mut cases, mut failures) = (Vec::new(), Vec::new());
    for file in files {
        match Case::read(file, overrides) {
            Ok(variants) => {
                for case in variants {
                    cases.push(named_apart(case, &cases));
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    if failures.is_empty() { Ok(cases) } else { Err(failures) }
}

/// Reports are named after scenarios: two of one name, from different directories, are told apart by a number.
fn named_apart(mut case: Case, others: &[Case]) -> Case {
    let name = case.name.clone();
    for number in 2.. {
        if others.iter().all(|other| other.name != case.name) {
            break;
        }
        case.name = format!("{name}-{number}");
    }
    case
}

impl Case {
    /// Every scenario of a file.
    fn read(file: PathBuf, overrides: &[String]) -> Result<Vec<Self>, Failure> {
        let text = if is_stdin(&file) {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        } else {
            std::fs::read_to_string(&file)
        };
        let text =
            text.map_err(|error| Failure::new(Code::Arguments, format!("{}: {error}", file.display())))?;
        let name = if is_stdin(&file) {
            "stdin".to_owned()
        } else {
            file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
        };
        Self::of(&name, &file, &text, overrides)
    }

    /// The scenarios of a text: one, or those of its matrix, each with a name of its own.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(name: &str, file: &Path, text: &str, overrides: &[String]) -> Result<Vec<Self>, Failure> {
        let wrong = |(mistake, text)| mistake_in(file, mistake, text);
        let variants = Scenario::variants(text, overrides).map_err(wrong)?;
        let case = |variant: Variant| {
            let Variant { suffix, scenario, text } = variant;
            Self { name: format!("{name}{suffix}"), file: file.to_owned(), text, scenario }
        };
        Ok(variants.into_iter().map(case).collect())
    }
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// A directory means those in it, in the order of their names.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let unreadable =
            |error: std::io::Error| Failure::new(Code::Arguments, format!("{}: {error}", path.display()));
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            let is_scenario = file.extension().is_some_and(|extension| extension == "toml")
                && !NO_SCENARIOS.iter().any(|name| file.ends_with(name));
            if is_scenario {
                inside.push(file);
            }
        }
        if inside.is_empty() {
            let message = format!("{}: no scenario (*.toml) is in this directory", path.display());
            return Err(Failure::new(Code::Arguments, message));
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

/// A mistake, shown at its place.
pub fn mistake_in(file: &Path, mistake: Mistake, text: String) -> Failure {
    let Mistake { what, place, label, help } = mistake;
    let mut diagnostic = MietteDiagnostic::new(what).with_label(LabeledSpan::new_with_span(label, place));
    diagnostic.help = help;
    let report = miette::Report::new(diagnostic)
        .with_source_code(NamedSource::new(file.display().to_string(), text).with_language("TOML"));
    Failure { message: String::new(), code: Code::Arguments, report: Some(report) }
}
