//! The file that repeats a run.

use std::path::{Path, PathBuf};

use scenarios::Verdict;
use scenarios::repro::{Booted, Repro};
use scenarios::run::Finished;

use super::cases::Case;
use super::jobs::Page;
use super::kernels::Kernels;
use crate::failure::{Code, Failure};
use crate::output;

/// Where failures leave theirs if nobody says.
const OUT: &str = "kjvm-out";

/// What this run is made of, and how it went.
///
/// # Errors
/// Kernels that cannot be had.
pub fn of(
    case: &Case,
    expected: &str,
    finished: &Finished,
    kernels: &Kernels,
    page: &Page,
) -> Result<Repro, Failure> {
    let booted = Booted::all(&kernels.of(&case.scenario, page)?);
    Ok(Repro::of(&case.text, expected, booted, &finished.report, &finished.history))
}

/// Writes it where it was asked for, and after a failure in any case. Returns where.
///
/// # Errors
/// Those of the host, if it was asked for.
pub fn write(
    given: Option<&Path>,
    case: &Case,
    expected: &str,
    finished: &Finished,
    kernels: &Kernels,
    page: &Page,
) -> Result<Option<PathBuf>, Failure> {
    let failed = matches!(finished.report.verdict, Verdict::Fail | Verdict::Broken);
    if given.is_none() && !failed {
        return Ok(None);
    }
    let name = format!("{}.repro", case.name);
    let path = match given {
        Some(path) if path.is_dir() => path.join(name),
        Some(path) => path.to_owned(),
        None => Path::new(OUT).join(name),
    };
    let text = of(case, expected, finished, kernels, page)?
        .text()
        .map_err(|error| Failure::new(Code::Ours, error))?;
    match (output::write_whole(&path, text.as_bytes()), given) {
        (Ok(()), _) => Ok(Some(path)),
        (Err(failure), Some(_)) => Err(failure),
        // Nobody asked for it: the verdict counts.
        (Err(failure), None) => {
            page.aside(failure.message);
            Ok(None)
        }
    }
}
