//! The version the distribution has of a package, remembered for as long as its package lists stay the same.
//!
//! `apt-cache` takes half a second to answer where it keeps no index of its own, which is most of the time a command takes that
//! finds its kernel ready.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::debian::{self, AptError};

/// What apt's answers depend on. `apt-get update` renames new lists into the first, which changes its modification time.
const DEPENDS_ON: [&str; 5] = [
    "/var/lib/apt/lists",
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d",
    "/etc/apt/preferences",
    "/etc/apt/preferences.d",
];

/// An answer, and the state it was given in.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    version: String,
    state: Vec<Option<(i64, i64)>>,
}

/// The version of a package that apt would install.
pub(crate) fn version(cache: &Cache, package: &str) -> Result<String, AptError> {
    let file = cache.root().join("candidates").join(format!("{package}.json"));
    let state: Vec<_> = DEPENDS_ON.iter().map(|path| modified(Path::new(path))).collect();
    remembered(&file, state, || Ok(debian::candidate(package)?.version))
}

fn remembered<E>(
    file: &Path,
    state: Vec<Option<(i64, i64)>>,
    ask: impl FnOnce() -> Result<String, E>,
) -> Result<String, E> {
    let read = || -> Option<Answer> { serde_json::from_slice(&fs::read(file).ok()?).ok() };
    if let Some(answer) = read().filter(|answer| answer.state == state) {
        return Ok(answer.version);
    }
    let answer = Answer { version: ask()?, state };
    if let Err(error) = write(file, &answer) {
        tracing::debug!(path = %file.display(), %error, "apt's answer is not remembered");
    }
    Ok(answer.version)
}

/// By a rename, since others may read it.
fn write(file: &Path, answer: &Answer) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = PathBuf::from(format!("{}.{}", file.display(), std::process::id()));
    fs::write(&new, serde_json::to_vec(answer)?)?;
    fs::rename(new, file)
}

fn modified(path: &Path) -> Option<(i64, i64)> {
    fs::metadata(path).ok().map(|data| (data.mtime(), data.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_is_asked_again_only_when_its_lists_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("candidates/linux.json");
        let ask =
            |state, version: Option<&str>| remembered(&file, state, || version.map(str::to_owned).ok_or(()));
        let (before, after) = (vec![Some((1, 2)), None], vec![Some((1, 3)), None]);
        assert_eq!(ask(before.clone(), None), Err(()));
        assert_eq!(ask(before.clone(), Some("1")), Ok("1".into()));
        assert_eq!(ask(before.clone(), None), Ok("1".into()));
        assert_eq!(ask(after.clone(), Some("2")), Ok("2".into()));
        fs::write(&file, "half").unwrap();
        assert_eq!(ask(after, Some("3")), Ok("3".into()));
    }
}
