//! Kernels that scenarios share: read once, provided once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use scenarios::Scenario;
use scenarios::kernels::{self, KernelUnavailable, Loaded};
use scenarios::language::BuildSpec;

use super::jobs::Page;
use crate::failure::{Code, Failure};

type Found = Result<Arc<Loaded>, (Code, String)>;

/// A name, how it is built if it is, and whether it is a saver.
type Wanted = (String, Option<BuildSpec>, bool);

/// Kernels by name, and whether they are savers.
#[derive(Default)]
pub struct Kernels {
    loaded: Mutex<BTreeMap<Wanted, Found>>,
}

impl Kernels {
    /// All those that a scenario names.
    ///
    /// # Errors
    /// Why one cannot be had.
    pub fn of(&self, scenario: &Scenario, page: &Page) -> Result<kernels::Kernels, Failure> {
        kernels::Kernels::gather(scenario, |name, build, is_saver| self.get(name, build, is_saver, page))
    }

    /// A kernel by name or by file, or one that is built. While one is made, everybody who wants any waits: it takes all processors already.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn get(
        &self,
        name: &str,
        build: Option<&BuildSpec>,
        is_saver: bool,
        page: &Page,
    ) -> Result<Arc<Loaded>, Failure> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let found = loaded.entry((name.to_owned(), build.cloned(), is_saver)).or_insert_with(|| {
            let say = |text: &str| page.aside(text);
            let made = match build {
                Some(build) => Loaded::built(build, is_saver, &say),
                None => Loaded::new(name, is_saver, &say),
            };
            made.map(Arc::new).map_err(of_kernel)
        });
        found.clone().map_err(|(code, message)| Failure::new(code, message))
    }
}

fn of_kernel(error: KernelUnavailable) -> (Code, String) {
    (if error.is_users() { Code::Arguments } else { Code::Host }, error.to_string())
}
