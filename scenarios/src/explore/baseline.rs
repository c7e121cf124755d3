//! Classes of findings that are known: only what is not among them is news.

use serde::Deserialize;
use thiserror::Error;

use super::finding::Found;

/// Classes that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baseline {
    known: Vec<Known>,
}

/// A class that is known. What it does not say is any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Known {
    /// Kind of failure.
    pub class: String,
    /// `O5.C1`.
    #[serde(default)]
    pub clause: Option<String>,
    /// In which step the power was cut.
    #[serde(default)]
    pub step: Option<String>,
    #[serde(default)]
    cut: Option<Place>,
}

/// As a finding has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Place {
    step: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Class(String),
    Known(Known),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    List(Vec<Entry>),
    Found { findings: Vec<Entry> },
    Classes { classes: Vec<Entry> },
}

/// A file that is no baseline.
#[derive(Debug, Error)]
#[error("this is neither what --json writes nor a list of classes: {0}")]
pub struct NoBaseline(String);

impl Baseline {
    /// What `--json` wrote; or a list of classes, in JSON, or in TOML under the name `classes`. An entry is the words of a class, or a table with
    /// `class`, and `clause` and `step` if it is to be known only there.
    ///
    /// # Errors
    /// [`NoBaseline`].
    pub fn read(text: &str) -> Result<Self, NoBaseline> {
        let wrong = |error: String| NoBaseline(error.lines().next().unwrap_or_default().to_owned());
        let is_json = text.trim_start().starts_with(['{', '[']) && !text.trim_start().starts_with("[[");
        let file: File = if is_json {
            serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?
        } else {
            toml::from_str(text).map_err(|error| wrong(error.to_string()))?
        };
        let (File::List(entries) | File::Found { findings: entries } | File::Classes { classes: entries }) =
            file;
        let known = entries.into_iter().map(|entry| match entry {
            Entry::Class(class) => Known { class, ..Known::default() },
            Entry::Known(known) => {
                Known { step: known.step.or(known.cut.map(|cut| cut.step)), cut: None, ..known }
            }
        });
        Ok(Self { known: known.collect() })
    }

    /// Whether a finding is known.
    pub fn knows(&self, found: &Found) -> bool {
        self.known.iter().any(|known| known.is(found))
    }

    /// What is known and was not seen.
    pub fn gone<'a>(&'a self, findings: &'a [Found]) -> impl Iterator<Item = &'a Known> {
        self.known.iter().filter(|known| !findings.iter().any(|found| known.is(found)))
    }
}

impl Known {
    fn is(&self, found: &Found) -> bool {
        self.class == found.class
            && self.clause.as_ref().is_none_or(|clause| *clause == found.clause)
            && self.step.as_ref().is_none_or(|step| *step == found.cut.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_classes_are_read_in_each_of_their_forms() {
        let one = |text: &str| Baseline::read(text).unwrap().known;
        let class = |class: &str| Known { class: class.into(), ..Known::default() };
        assert_eq!(one(r#"["a", "b"]"#), [class("a"), class("b")]);
        assert_eq!(one("classes = [\"a\"]"), [class("a")]);
        assert_eq!(one("[[classes]]\nclass = \"a\"\n"), [class("a")]);
        let whole = Known { clause: Some("O5.C1".into()), step: Some("hibernate".into()), ..class("a") };
        let table = r#"classes = [{ class = "a", clause = "O5.C1", step = "hibernate" }]"#;
        assert_eq!(one(table), std::slice::from_ref(&whole));
        let written = r#"{ "format": 1, "findings": [{ "class": "a", "clause": "O5.C1", "cut": { "step": "hibernate", "boot": 1 } }] }"#;
        assert_eq!(one(written), [whole]);
        assert!(one(r#"{ "findings": [] }"#).is_empty());
        for wrong in ["", "{}", "[1]", "classes = 1", "not toml", r#"{ "findings": 3 }"#] {
            assert!(Baseline::read(wrong).is_err(), "{wrong}");
        }
    }
}
