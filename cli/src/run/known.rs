//! Which failures are expected: those of a table given, or of the one that lies beside each scenario.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use scenarios::language::{Known, read_expected};

use super::cases::{Case, mistake_in};
use crate::failure::{Code, Failure};

/// Its name where nobody gives one.
const NAME: &str = "expected.toml";

/// A table, and its text.
type Table = (Vec<Known>, String);

/// What is known of each scenario.
pub struct Tables {
    given: Option<Table>,
    beside: BTreeMap<PathBuf, Table>,
}

impl Tables {
    /// Reads what there is for these scenarios.
    ///
    /// # Errors
    /// A file that cannot be read, or mistakes in one.
    pub fn read(given: Option<&Path>, cases: &[Case]) -> Result<Self, Failure> {
        if let Some(file) = given {
            return Ok(Self { given: Some(read(file)?), beside: BTreeMap::new() });
        }
        let mut beside = BTreeMap::new();
        for case in cases {
            let file = case.file.with_file_name(NAME);
            if file.is_file() && !beside.contains_key(&file) {
                beside.insert(file.clone(), read(&file)?);
            }
        }
        Ok(Self { given: None, beside })
    }

    /// What is known of this one.
    pub fn of(&self, case: &Case) -> &[Known] {
        self.table(case).map_or(&[], |(known, _)| known)
    }

    /// The text that says so; empty if none does.
    pub fn text_of(&self, case: &Case) -> &str {
        self.table(case).map_or("", |(_, text)| text)
    }

    fn table(&self, case: &Case) -> Option<&Table> {
        self.given.as_ref().or_else(|| self.beside.get(&case.file.with_file_name(NAME)))
    }
}

fn read(file: &Path) -> Result<Table, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Code::Arguments, format!("{}: {error}", file.display())))?;
    match read_expected(&text) {
        Ok(known) => Ok((known, text)),
        Err(mistake) => Err(mistake_in(file, mistake, text)),
    }
}
