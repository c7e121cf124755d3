//! Where a campaign is kept.

use std::path::{Path, PathBuf};

use scenarios::explore::store::{Store, StoreError};

use crate::failure::{Code, Failure};
use crate::reports::{OUT, quoted};
use crate::run::cases::Case;

/// The directory of a campaign.
#[derive(Debug)]
pub struct Place {
    /// It.
    pub directory: PathBuf,
    /// Where the campaign is now that was there before.
    pub moved: Option<PathBuf>,
}

impl Place {
    /// The directory to go on in, or that which is wanted, or one of the scenario's name. In the last a campaign that is there makes room; in
    /// one that was asked for it is not touched.
    ///
    /// # Errors
    /// Nothing to go on with, something that nobody asked to go on with, or the host.
    pub fn new(name: &str, resume: Option<&Path>, out: Option<&Path>) -> Result<Self, Failure> {
        let at = |directory: &Path| Self { directory: directory.to_owned(), moved: None };
        match (resume, out) {
            (Some(directory), _) if Store::is_in(directory) => Ok(at(directory)),
            (Some(directory), _) => {
                let message = format!("{}: no campaign is here to go on with", directory.display());
                Err(Failure::new(Code::Arguments, message))
            }
            (None, Some(directory)) if Store::is_in(directory) => {
                let directory = directory.display();
                let message = format!(
                    "{directory}: a campaign is here: --resume {directory} goes on with it, or name another"
                );
                Err(Failure::new(Code::Arguments, message))
            }
            (None, Some(directory)) => Ok(at(directory)),
            (None, None) => {
                let directory = Path::new(OUT).join(format!("{}.fuzz", name.replace('/', "_")));
                let moved = Store::is_in(&directory).then(|| Store::move_away(&directory)).transpose();
                let moved = moved.map_err(|error| of_store(&error))?;
                Ok(Self { directory, moved })
            }
        }
    }

    /// What to type to go on.
    pub fn how_to_go_on(&self, case: &Case) -> String {
        let (file, directory) = (case.file.display().to_string(), self.directory.display().to_string());
        format!("to go on: kjvm fuzz {} --resume {}", quoted(&file), quoted(&directory))
    }
}

/// Whose fault it is.
pub fn of_store(error: &StoreError) -> Failure {
    let code = match error {
        error if error.is_users() => Code::Arguments,
        error if error.is_hosts() => Code::Host,
        _ => Code::Ours,
    };
    Failure::new(code, error)
}
