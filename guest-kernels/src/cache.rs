//! Where kernels are kept between runs.
//!
//! ```text
//! <cache>/kernels/<name>/<key>/{manifest.json, bzImage, config, System.map, ...}
//! <cache>/sources/<package or archive>-<version>/    unpacked kernel trees
//! <cache>/logs/<name>-<key>.log                       of builds that failed
//! <cache>/candidates/<package>.json                   what apt said last
//! ```
//! Every entry is published by a rename: an interrupted build leaves nothing that looks finished.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use thiserror::Error;

use crate::manifest::{self, Kind, Manifest};
use crate::slot::{self, Slot, Workspace};

/// The variable that names the cache.
pub const CACHE_VARIABLE: &str = "KJVM_CACHE";

/// Why the cache cannot be used.
#[derive(Debug, Error)]
pub enum CacheError {
    /// No variable says where it is.
    #[error(
        "there is no place for the kernel cache: set {CACHE_VARIABLE}=DIRECTORY (HOME is not set either)"
    )]
    NoHome,
    /// A name that cannot be a directory's.
    #[error(
        "`{0}` cannot name a kernel: use letters, digits, `.`, `-`, `_` and `+`, beginning with a letter or digit"
    )]
    Name(String),
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

/// The cache of kernels and sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// A finished kernel in the cache.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its directory.
    pub path: PathBuf,
    /// What it is.
    pub manifest: Manifest,
    /// When it was last asked for.
    pub asked: SystemTime,
}

impl Entry {
    /// Path of one of its files, such as [`manifest::file::BZIMAGE`].
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Path of the bootable image.
    pub fn bzimage(&self) -> PathBuf {
        self.file(manifest::file::BZIMAGE)
    }
}

/// What [`Cache::begin`] found.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one, and it is taken apart at once")]
pub enum Begun {
    /// It has been made before.
    Finished(Entry),
    /// Ours to make.
    Pending(Pending),
}

/// A kernel being made. Dropped without being published, it leaves nothing.
#[derive(Debug)]
pub struct Pending {
    workspace: Workspace,
    kind: Kind,
    name: String,
    key: String,
}

impl Cache {
    /// The user's cache: `$KJVM_CACHE`, else `$XDG_CACHE_HOME/kjvm`, else `~/.cache/kjvm`.
    pub fn open() -> Result<Self, CacheError> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = variable(CACHE_VARIABLE)
            // The specification has relative paths ignored.
            .or_else(|| {
                variable("XDG_CACHE_HOME").filter(|path| path.is_absolute()).map(|path| path.join("kjvm"))
            })
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache/kjvm")))
            .ok_or(CacheError::NoHome)?;
        Self::at(&root)
    }

    /// A cache at a given place, which need not exist.
    pub fn at(root: &Path) -> Result<Self, CacheError> {
        let root = std::path::absolute(root).map_err(io_error("find", root))?;
        Ok(Self { root })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the entries of a kernel are, one directory a key.
    pub fn kernel_dir(&self, name: &str) -> PathBuf {
        self.kernels().join(name)
    }

    /// Where unpacked sources are.
    pub fn sources(&self) -> PathBuf {
        self.root.join("sources")
    }

    /// Where the log of a failed build is kept.
    pub fn log(&self, name: &str, key: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}-{key}.log"))
    }

    /// Finished kernels of a name, the one asked for last first.
    pub fn find(&self, name: &str) -> Result<Vec<Entry>, CacheError> {
        check_name(name)?;
        let mut entries = Vec::new();
        for path in visible(&self.kernel_dir(name))? {
            entries.extend(read_entry(&path));
        }
        entries.sort_by(|a, b| b.asked.cmp(&a.asked).then_with(|| a.path.cmp(&b.path)));
        Ok(entries)
    }

    /// The kernel a name means: the one asked for last.
    pub fn newest(&self, name: &str) -> Result<Option<Entry>, CacheError> {
        Ok(self.find(name)?.into_iter().next())
    }

    /// Names under which anything has been kept, in order.
    pub fn names(&self) -> Result<Vec<String>, CacheError> {
        let mut names: Vec<String> = visible(&self.kernels())?
            .iter()
            .filter_map(|path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Begins to make a kernel, unless it has been made. If another process is making it, waits for that first.
    pub fn begin(&self, kind: Kind, name: &str, key: &str) -> Result<Begun, CacheError> {
        check_name(name)?;
        check_name(key)?;
        let parent = self.kernel_dir(name);
        let target = parent.join(key);
        self.sweep()?;
        let finished = |path: &Path| Manifest::read(path).is_some();
        match slot::acquire(&target, finished).map_err(io_error("begin", &target))? {
            Slot::Open(workspace) => {
                Ok(Begun::Pending(Pending { workspace, kind, name: name.to_owned(), key: key.to_owned() }))
            }
            Slot::Finished => {
                let manifest = target.join(manifest::FILE_NAME);
                // From now on this is what the name means; a cache we may only read still serves.
                if let Err(error) =
                    File::open(&manifest).and_then(|file| file.set_modified(SystemTime::now()))
                {
                    tracing::debug!(path = %manifest.display(), %error, "not marked as asked for");
                }
                let entry = read_entry(&target).ok_or_else(|| {
                    io_error("read", &manifest)(io::Error::other(
                        "it was removed by another process meanwhile",
                    ))
                })?;
                Ok(Begun::Finished(entry))
            }
        }
    }

    /// Removes every kernel of a name; returns the bytes freed.
    pub fn remove(&self, name: &str) -> Result<u64, CacheError> {
        check_name(name)?;
        self.sweep()?;
        let mut freed = 0;
        let parent = self.kernel_dir(name);
        for path in visible(&parent)? {
            freed += read_entry(&path).map_or(0, |entry| entry.manifest.size());
            slot::remove(&path).map_err(io_error("remove", &path))?;
        }
        // Not empty while somebody builds there.
        let _ = fs::remove_dir(&parent);
        Ok(freed)
    }

    /// Removes the unpacked sources, which are needed only to build again; returns their paths.
    pub fn remove_sources(&self) -> Result<Vec<PathBuf>, CacheError> {
        self.sweep()?;
        let paths = visible(&self.sources())?;
        for path in &paths {
            slot::remove(path).map_err(io_error("remove", path))?;
        }
        Ok(paths)
    }

    /// A directory of sources, made by `make` if it is not there yet. `name` tells it from all others.
    pub fn source<E: From<CacheError>>(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        check_name(name)?;
        let target = self.sources().join(name);
        self.sweep()?;
        let slot = slot::acquire(&target, Path::is_dir).map_err(io_error("begin", &target));
        if let Slot::Open(workspace) = slot? {
            make(workspace.path())?;
            workspace.publish().map_err(io_error("publish", &target))?;
        }
        Ok(target)
    }

    /// Whether [`Cache::source`] has this one already.
    pub fn has_source(&self, name: &str) -> bool {
        self.sources().join(name).is_dir()
    }

    /// Removes what dead processes left.
    fn sweep(&self) -> Result<(), CacheError> {
        let kernels = self.kernels();
        let parents = visible(&kernels)?.into_iter().chain([kernels, self.sources()]);
        for parent in parents {
            slot::sweep(&parent).map_err(io_error("clean", &parent))?;
        }
        Ok(())
    }

    fn kernels(&self) -> PathBuf {
        self.root.join("kernels")
    }
}

impl Pending {
    /// An empty directory to make it in, on the same file system as its final place.
    pub fn path(&self) -> &Path {
        self.workspace.path()
    }

    /// The lock on that directory, to be handed to child processes that write there: see [`Workspace::lock`].
    pub(crate) fn lock(&self) -> &File {
        self.workspace.lock()
    }

    /// Records the files found in [`Pending::path`], writes the manifest and makes the entry visible.
    pub fn publish(self, mut manifest: Manifest) -> Result<Entry, CacheError> {
        let path = self.workspace.path().to_owned();
        manifest.kind = self.kind;
        manifest.name = self.name;
        manifest.key = self.key;
        manifest.files = manifest::record_files(&path).map_err(io_error("read", &path))?;

        let file = path.join(manifest::FILE_NAME);
        let write = || {
            let mut out = File::create(&file)?;
            out.write_all(serde_json::to_string_pretty(&manifest)?.as_bytes())?;
            out.write_all(b"\n")?;
            out.sync_all()
        };
        write().map_err(io_error("write", &file))?;
        let path = self.workspace.publish().map_err(io_error("publish", &path))?;
        Ok(Entry { path, manifest, asked: SystemTime::now() })
    }
}

pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    move |source| CacheError::Io { action, path, source }
}

/// Whether a name can be a directory's, and no other directory's.
pub fn check_name(name: &str) -> Result<(), CacheError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '~' | ':');
    let good =
        name.len() <= 128 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain);
    if good { Ok(()) } else { Err(CacheError::Name(name.to_owned())) }
}

fn read_entry(path: &Path) -> Option<Entry> {
    let manifest = Manifest::read(path)?;
    let asked = fs::metadata(path.join(manifest::FILE_NAME)).and_then(|data| data.modified()).ok()?;
    Some(Entry { path: path.to_owned(), manifest, asked })
}

/// Directories in a directory, the hidden ones left out; none if it does not exist.
fn visible(directory: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(paths),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") && entry.file_type()?.is_dir() {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    };
    list().map_err(io_error("list", directory))
}
