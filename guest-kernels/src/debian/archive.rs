//! Reading a `.deb`: an `ar` archive of `debian-binary`, `control.tar.*` and `data.tar.*` (deb(5)).

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::apt::field;
use crate::compression::{Compression, read_up_to};

/// Why a `.deb` cannot be read.
#[derive(Debug, Error)]
pub enum DebError {
    /// The system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The package.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something else.
    #[error("{path} is not a Debian package: {why}")]
    NotAPackage {
        /// The file.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// The file ends before its contents do.
    #[error("{path} is cut short: {part} needs {needed} bytes, the file has {found}; download it again")]
    Truncated {
        /// The package.
        path: PathBuf,
        /// What is cut.
        part: String,
        /// Bytes the file should have at least.
        needed: u64,
        /// Bytes it has.
        found: u64,
    },
    /// The contents do not decompress or are no tar archive.
    #[error("{path} is damaged: {part}: {source}; download it again")]
    Damaged {
        /// The package.
        path: PathBuf,
        /// Where.
        part: String,
        /// What is wrong.
        source: io::Error,
    },
    /// A file that should be in it is not.
    #[error("{path} (package {package}) has no {wanted}")]
    Missing {
        /// The package file.
        path: PathBuf,
        /// Its name.
        package: String,
        /// What was looked for.
        wanted: String,
    },
}

/// Most bytes the control archive's control file can have.
const CONTROL_LIMIT: u64 = 1 << 20;
const AR_MAGIC: &[u8; 8] = b"!<arch>\n";
const AR_HEADER: u64 = 60;

/// A package file.
#[derive(Debug, Clone)]
pub struct Deb {
    path: PathBuf,
    data: Member,
    /// Name of the package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its architecture, such as `amd64`.
    pub architecture: String,
}

/// One file in a package, while it passes by.
pub struct PackagedFile<'a> {
    /// Where it would be installed, without the leading `./`.
    pub path: String,
    /// In bytes.
    pub size: u64,
    deb: &'a Path,
    contents: &'a mut dyn Read,
}

#[derive(Debug, Clone)]
struct Member {
    name: String,
    offset: u64,
    size: u64,
}

impl Deb {
    /// Opens a package and reads what it says of itself.
    ///
    /// # Errors
    /// If it is no package, is cut short, or its control file is damaged.
    pub fn open(path: &Path) -> Result<Self, DebError> {
        let mut file = File::open(path).map_err(|source| io_error(path, source))?;
        let members = members(path, &mut file)?;
        if members.first().is_none_or(|first| first.name != "debian-binary") {
            let why = "its first member is not debian-binary".to_owned();
            return Err(DebError::NotAPackage { path: path.to_owned(), why });
        }
        // Without a member that every package has, it was cut between two.
        let end = members.last().map_or(0, |last| last.offset.saturating_add(last.size));
        let wanted = |prefix: &str| {
            let truncated = || DebError::Truncated {
                path: path.to_owned(),
                part: prefix.to_owned(),
                needed: end.saturating_add(AR_HEADER),
                found: end,
            };
            members.iter().find(|member| member.name.starts_with(prefix)).cloned().ok_or_else(truncated)
        };
        let (control, data) = (wanted("control.tar")?, wanted("data.tar")?);

        let mut text: Option<Vec<u8>> = None;
        each_file(path, &control, |mut file| {
            if file.path == "control" {
                text = Some(file.to_memory(CONTROL_LIMIT)?);
            }
            Ok::<_, DebError>(ControlFlow::Continue(()))
        })?;
        let missing = |wanted: &str| DebError::NotAPackage {
            path: path.to_owned(),
            why: format!("its control file says no {wanted}"),
        };
        let text = String::from_utf8_lossy(&text.ok_or_else(|| missing("thing at all"))?).into_owned();
        let value = |name: &str| field(&text, name).map(str::to_owned).ok_or_else(|| missing(name));
        Ok(Self {
            path: path.to_owned(),
            data,
            package: value("Package")?,
            version: value("Version")?,
            architecture: value("Architecture")?,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Shows every regular file in the order of the archive, until `visit` breaks off.
    ///
    /// # Errors
    /// Those of `visit`, and damage.
    pub fn each_file<E: From<DebError>>(
        &self,
        visit: impl FnMut(PackagedFile<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        each_file(&self.path, &self.data, visit)
    }

    /// Copies one file out of the package.
    ///
    /// # Errors
    /// [`DebError::Missing`] if it has none of that path.
    pub fn extract(&self, inside: &str, into: &Path) -> Result<(), DebError> {
        let mut found = false;
        self.each_file(|mut file| {
            if file.path != inside {
                return Ok(ControlFlow::Continue(()));
            }
            found = true;
            file.copy_to(into)?;
            Ok(ControlFlow::Break(()))
        })?;
        if found { Ok(()) } else { Err(self.missing(inside)) }
    }

    /// The error of a file that should be in here.
    pub(crate) fn missing(&self, wanted: &str) -> DebError {
        DebError::Missing {
            path: self.path.clone(),
            package: self.package.clone(),
            wanted: wanted.to_owned(),
        }
    }
}

impl PackagedFile<'_> {
    /// The contents, to memory.
    ///
    /// # Errors
    /// For damage, and for more than `limit` bytes.
    pub fn to_memory(&mut self, limit: u64) -> Result<Vec<u8>, DebError> {
        read_up_to(self.contents, limit).map_err(|source| self.damaged(source))
    }

    /// The contents, to a file that does not exist yet.
    ///
    /// # Errors
    /// For damage, and if the file cannot be written.
    pub fn copy_to(&mut self, to: &Path) -> Result<(), DebError> {
        let mut out = File::create_new(to).map_err(|source| io_error(to, source))?;
        let copied = io::copy(self.contents, &mut out).map_err(|source| self.damaged(source))?;
        if copied == self.size { Ok(()) } else { Err(self.damaged(io::ErrorKind::UnexpectedEof.into())) }
    }

    fn damaged(&self, source: io::Error) -> DebError {
        DebError::Damaged { path: self.deb.to_owned(), part: self.path.clone(), source }
    }
}

/// So that an archive inside the package can be read without being copied out first.
impl Read for PackagedFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.contents.read(buffer)
    }
}

fn io_error(path: &Path, source: io::Error) -> DebError {
    DebError::Io { path: path.to_owned(), source }
}

/// The members of the `ar` archive, each checked to lie within the file.
fn members(path: &Path, file: &mut File) -> Result<Vec<Member>, DebError> {
    let io = |source| io_error(path, source);
    let foreign = |why: &str| DebError::NotAPackage { path: path.to_owned(), why: why.to_owned() };
    let found = file.metadata().map_err(io)?.len();
    let mut magic = Vec::new();
    file.take(AR_MAGIC.len() as u64).read_to_end(&mut magic).map_err(io)?;
    if magic != AR_MAGIC {
        return Err(foreign("it does not begin with `!<arch>`"));
    }

    let mut members = Vec::new();
    let mut offset = AR_MAGIC.len() as u64;
    while offset < found {
        let mut header = [0; AR_HEADER as usize];
        let truncated = |part: &str, needed| DebError::Truncated {
            path: path.to_owned(),
            part: part.to_owned(),
            needed,
            found,
        };
        let start = offset.saturating_add(AR_HEADER);
        if start > found {
            return Err(truncated("the header of a member", start));
        }
        file.seek(SeekFrom::Start(offset)).map_err(io)?;
        file.read_exact(&mut header).map_err(io)?;
        let text = |range: std::ops::Range<usize>| {
            header.get(range).map(|bytes| String::from_utf8_lossy(bytes).trim_end().to_owned())
        };
        let name = text(0..16).unwrap_or_default().trim_end_matches('/').to_owned();
        let size = text(48..58).and_then(|digits| digits.parse::<u64>().ok());
        let (Some(size), true) = (size, header.ends_with(b"`\n")) else {
            return Err(foreign("a member has a broken header"));
        };
        let end = start.saturating_add(size);
        if end > found {
            return Err(truncated(&name, end));
        }
        members.push(Member { name, offset: start, size });
        // Members begin at even offsets.
        offset = end.saturating_add(end % 2);
    }
    Ok(members)
}

fn each_file<E: From<DebError>>(
    path: &Path,
    member: &Member,
    mut visit: impl FnMut(PackagedFile<'_>) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let damaged =
        |source: io::Error| DebError::Damaged { path: path.to_owned(), part: member.name.clone(), source };
    let mut file = File::open(path).map_err(|source| io_error(path, source))?;
    file.seek(SeekFrom::Start(member.offset)).map_err(|source| io_error(path, source))?;
    let stream = BufReader::with_capacity(1 << 18, file.take(member.size));
    let stream = Compression::by_extension(&member.name).reader(stream).map_err(damaged)?;
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let size = entry.size();
        let inside = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let inside = inside.trim_start_matches("./").to_owned();
        let flow = visit(PackagedFile { path: inside, size, deb: path, contents: &mut entry })?;
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "archive_tests.rs"]
pub(crate) mod tests;
