//! Which failures are expected: those of a table given, or of the one that lies beside each scenario.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use scenarios::language::{Known, read_expected};

use super::cases::{Case, mistake_in};
use crate::failure::{Code, Failure};

/// Its name where nobody gives one.
const NAME: &str = "expected.toml";

/// What is known of each scenario.
#[derive(Default)]
pub struct Tables {
    given: Option<Vec<Known>>,
    beside: BTreeMap<PathBuf, Vec<Known>>,
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
        match &self.given {
            Some(given) => given,
            None => self.beside.get(&case.file.with_file_name(NAME)).map_or(&[], Vec::as_slice),
        }
    }
}

fn read(file: &Path) -> Result<Vec<Known>, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(Code::Arguments, format!("{}: {error}", file.display())))?;
    read_expected(&text).map_err(|mistake| mistake_in(file, mistake, text))
}
