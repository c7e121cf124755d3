//! Kernels that scenarios share: read once, provided once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use scenarios::kernels::{KernelUnavailable, Loaded};

use super::jobs::Page;
use crate::failure::{Code, Failure};

type Found = Result<Arc<Loaded>, (Code, String)>;

/// Kernels by name, and whether they are savers.
#[derive(Default)]
pub struct Kernels {
    loaded: Mutex<BTreeMap<(String, bool), Found>>,
}

impl Kernels {
    /// A kernel by name or by file. While one is made, everybody who wants any waits: it takes all processors already.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn get(&self, name: &str, is_saver: bool, page: &Page) -> Result<Arc<Loaded>, Failure> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let found = loaded.entry((name.to_owned(), is_saver)).or_insert_with(|| {
            Loaded::new(name, is_saver, &|text| page.aside(text)).map(Arc::new).map_err(of_kernel)
        });
        found.clone().map_err(|(code, message)| Failure::new(code, message))
    }
}

fn of_kernel(error: KernelUnavailable) -> (Code, String) {
    (if error.is_users() { Code::Arguments } else { Code::Host }, error.to_string())
}
