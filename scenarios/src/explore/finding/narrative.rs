//! Which of the guest's functions are behind each request to a disk.

use std::collections::BTreeMap;

use crate::history::{Happening, History};

/// Authors by boot, disk and number of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Narrative(BTreeMap<(u32, usize, u64), Vec<String>>);

impl Narrative {
    /// What a history says of them: of a run that was watched.
    pub fn read(history: &History) -> Self {
        let authors = history.entries().iter().filter_map(|entry| match &entry.what {
            Happening::Authors { disk, request, authors } => {
                Some(((entry.boot, usize::from(*disk), *request), authors.clone()))
            }
            _ => None,
        });
        Self(authors.collect())
    }

    /// Of how many requests it tells.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it tells of none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who is behind a request. Several are told apart by semicolons.
    pub fn of(&self, boot: u32, disk: usize, request: u64) -> Option<String> {
        self.0.get(&(boot, disk, request)).map(|authors| authors.join("; "))
    }
}
