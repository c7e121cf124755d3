//! Changes to a kernel's sources: unified diffs, applied to a tree of their own.
//!
//! The sources in the cache serve every kernel and stay as they came. A patched tree is made of hard links to them, so it takes no
//! time and no room, and exists only while it is compiled: a file that a patch changes is replaced, never written to.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use diffy::patch_set::{FileOperation, ParseOptions, PatchSet};
use thiserror::Error;

/// A unified diff of one file or several, as `diff -u` and `git format-patch` write them, with one leading component in each path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Its name, or the path it was read from.
    pub name: String,
    /// The diff.
    pub text: Cow<'static, [u8]>,
}

/// Why a tree could not be patched.
#[derive(Debug, Error)]
pub enum PatchError {
    /// It is no diff.
    #[error("{patch} is no unified diff: {why}")]
    Malformed {
        /// The patch.
        patch: String,
        /// What is wrong with it.
        why: String,
    },
    /// It does what is not done here, or leaves the tree.
    #[error("{patch} would {what}, which is not done here: make a diff of changes inside the kernel tree")]
    Unsupported {
        /// The patch.
        patch: String,
        /// What it would do.
        what: String,
    },
    /// The file is another one than the diff was made for.
    #[error(
        "{patch} does not apply to {file}: {why}. These sources are not those it was made for: take others with --source, or adapt the patch"
    )]
    DoesNotApply {
        /// The patch.
        patch: String,
        /// The file, inside the tree.
        file: PathBuf,
        /// Which part of it, and why.
        why: String,
    },
    /// The system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What we were about to do.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The files that patches change, by path inside the tree: with what they hold then, `None` if they are gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes(BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Patch {
    /// Reads a user's patch.
    ///
    /// # Errors
    /// [`PatchError::Io`].
    pub fn read(path: &Path) -> Result<Self, PatchError> {
        let text = fs::read(path).map_err(io_error("read", path))?;
        Ok(Self { name: path.display().to_string(), text: Cow::Owned(text) })
    }
}

impl Changes {
    /// What patches make of a tree, one after the other; the tree is only read.
    ///
    /// # Errors
    /// [`PatchError`].
    pub fn of(patches: &[Patch], tree: &Path) -> Result<Self, PatchError> {
        let mut changes = Self::default();
        for patch in patches {
            changes.add(patch, tree)?;
        }
        Ok(changes)
    }

    fn add(&mut self, patch: &Patch, tree: &Path) -> Result<(), PatchError> {
        let malformed = |why: String| PatchError::Malformed { patch: patch.name.clone(), why };
        let unsupported = |what: String| PatchError::Unsupported { patch: patch.name.clone(), what };
        let git = patch.text.split(|&byte| byte == b'\n').any(|line| line.starts_with(b"diff --git "));
        let options = if git { ParseOptions::gitdiff() } else { ParseOptions::unidiff() };
        for file in PatchSet::parse_bytes(&patch.text, options) {
            let file = file.map_err(|error| malformed(error.to_string()))?;
            let operation = file.operation().strip_prefix(1);
            let (path, created) = match &operation {
                FileOperation::Modify { original, modified } if original == modified => (modified, false),
                FileOperation::Create(path) => (path, true),
                FileOperation::Delete(path) => (path, false),
                _ => return Err(unsupported("rename or copy a file".to_owned())),
            };
            let path = PathBuf::from(String::from_utf8_lossy(path).into_owned());
            if !path.components().all(|component| matches!(component, Component::Normal(_))) {
                return Err(unsupported(format!("change {}", path.display())));
            }
            let Some(hunks) = file.patch().as_text() else {
                return Err(unsupported(format!("change {}, a binary file", path.display())));
            };
            let misfit =
                |why: String| PatchError::DoesNotApply { patch: patch.name.clone(), file: path.clone(), why };
            let before = match (self.before(&path, tree)?, created) {
                (Some(before), false) => before,
                (None, true) => Vec::new(),
                (Some(_), true) => return Err(misfit("it is there already".to_owned())),
                (None, false) => return Err(misfit("there is no such file".to_owned())),
            };
            let after = diffy::apply_bytes(&before, hunks).map_err(|error| misfit(error.to_string()))?;
            self.0.insert(path, (!operation.is_delete()).then_some(after));
        }
        Ok(())
    }

    /// What a file held before the next patch.
    fn before(&self, path: &Path, tree: &Path) -> Result<Option<Vec<u8>>, PatchError> {
        if let Some(changed) = self.0.get(path) {
            return Ok(changed.clone());
        }
        let path = tree.join(path);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(io_error("read", &path)),
        }
    }

    /// Makes `copy`, which must not exist yet, the tree with these changes.
    ///
    /// # Errors
    /// [`PatchError::Io`].
    pub fn copy_tree(&self, tree: &Path, copy: &Path) -> Result<(), PatchError> {
        link_all(tree, copy)?;
        for (path, content) in &self.0 {
            let path = copy.join(path);
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(io_error("replace", &path))?,
            }
            let Some(content) = content else { continue };
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(io_error("create", folder))?;
            }
            fs::write(&path, content).map_err(io_error("write", &path))?;
        }
        Ok(())
    }
}

/// Links every file of one directory into another; what cannot be linked, as between file systems, is copied. What version
/// control keeps is left out.
fn link_all(from: &Path, to: &Path) -> Result<(), PatchError> {
    let mut pending = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = pending.pop() {
        fs::create_dir(&to).map_err(io_error("create", &to))?;
        for entry in fs::read_dir(&from).map_err(io_error("list", &from))? {
            let entry = entry.map_err(io_error("list", &from))?;
            let (name, path) = (entry.file_name(), entry.path());
            let kind = entry.file_type().map_err(io_error("read", &path))?;
            if kind.is_dir() {
                if name != ".git" {
                    pending.push((path, to.join(name)));
                }
                continue;
            }
            // A symbolic link is linked itself, not what it points to.
            fs::hard_link(&path, to.join(&name))
                .or_else(|_| {
                    if kind.is_symlink() {
                        std::os::unix::fs::symlink(fs::read_link(&path)?, to.join(&name))
                    } else {
                        fs::copy(&path, to.join(&name)).map(drop)
                    }
                })
                .map_err(io_error("copy", &path))?;
        }
    }
    Ok(())
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PatchError {
    let path = path.to_owned();
    move |source| PatchError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SONG: &str = "--- a/song/text\n+++ b/song/text\n@@ -1,3 +1,3 @@\n one\n-two\n+deux\n three\n";

    fn patch(text: &str) -> Patch {
        Patch { name: "song.patch".into(), text: Cow::Owned(text.as_bytes().to_vec()) }
    }

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("tree/song")).unwrap();
        fs::create_dir_all(folder.path().join("tree/.git")).unwrap();
        fs::write(folder.path().join("tree/song/text"), "zero\none\ntwo\nthree\nfour\n").unwrap();
        std::os::unix::fs::symlink("text", folder.path().join("tree/song/link")).unwrap();
        folder
    }

    fn patched(folder: &tempfile::TempDir, patches: &[Patch]) -> Result<PathBuf, PatchError> {
        let (tree, copy) = (folder.path().join("tree"), folder.path().join("copy"));
        Changes::of(patches, &tree)?.copy_tree(&tree, &copy)?;
        Ok(copy)
    }

    #[test]
    fn the_copy_is_changed_and_the_tree_is_not() {
        let folder = tree();
        let copy = patched(&folder, &[patch(SONG)]).unwrap();
        assert_eq!(fs::read_to_string(copy.join("song/text")).unwrap(), "zero\none\ndeux\nthree\nfour\n");
        assert_eq!(fs::read_link(copy.join("song/link")).unwrap(), Path::new("text"));
        assert!(!copy.join(".git").exists());
        let original = fs::read_to_string(folder.path().join("tree/song/text")).unwrap();
        assert_eq!(original, "zero\none\ntwo\nthree\nfour\n");
    }

    #[test]
    fn one_patch_builds_on_another_and_files_come_and_go() {
        let folder = tree();
        let second = patch(
            "From: somebody\n\ndiff --git a/song/text b/song/text\nindex 1..2 100644\n--- a/song/text\n+++ b/song/text\n@@ -3 +3 @@\n-deux\n+zwei\n\
             diff --git a/new b/new\nnew file mode 100644\nindex 0..1\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+here\n-- \n2.39\n",
        );
        let third = patch("--- a/new\n+++ /dev/null\n@@ -1 +0,0 @@\n-here\n");
        let copy = patched(&folder, &[patch(SONG), second.clone()]).unwrap();
        assert_eq!(fs::read_to_string(copy.join("song/text")).unwrap(), "zero\none\nzwei\nthree\nfour\n");
        assert_eq!(fs::read_to_string(copy.join("new")).unwrap(), "here\n");
        fs::remove_dir_all(&copy).unwrap();
        let copy = patched(&folder, &[patch(SONG), second, third]).unwrap();
        assert!(!copy.join("new").exists());
    }

    #[test]
    fn what_does_not_apply_is_named() {
        let folder = tree();
        let message = |text: &str| patched(&folder, &[patch(text)]).unwrap_err().to_string();
        insta::assert_snapshot!(message(&SONG.replace("two", "2")), @"song.patch does not apply to song/text: error applying hunk #1. These sources are not those it was made for: take others with --source, or adapt the patch");
        insta::assert_snapshot!(message(&SONG.replace("/text", "/absent")), @"song.patch does not apply to song/absent: there is no such file. These sources are not those it was made for: take others with --source, or adapt the patch");
        insta::assert_snapshot!(message("--- /dev/null\n+++ b/song/text\n@@ -0,0 +1 @@\n+here\n"), @"song.patch does not apply to song/text: it is there already. These sources are not those it was made for: take others with --source, or adapt the patch");
        insta::assert_snapshot!(message("dear maintainer\n"), @"song.patch is no unified diff: error parsing patches at byte 0: no valid patches found");
        insta::assert_snapshot!(message(&SONG.replace("song/text", "../../text")), @"song.patch would change ../../text, which is not done here: make a diff of changes inside the kernel tree");
        insta::assert_snapshot!(message("--- a/song/text\n+++ b/song/other\n@@ -1 +1 @@\n-one\n+two\n"), @"song.patch would rename or copy a file, which is not done here: make a diff of changes inside the kernel tree");
        assert!(!folder.path().join("copy").exists());
    }
}
