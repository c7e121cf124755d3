//! Programs of the host that run in the guest too: a dynamically linked one goes with its loader and libraries.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, elf};
use thiserror::Error;

/// Why a program cannot be taken along.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// The host does not have it.
    #[error("this host has no {name}{}", package_hint(.name))]
    Missing {
        /// Its name.
        name: String,
    },
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// On the host.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Not a program of this kind of machine, such as a script.
    #[error("{path} is not an x86-64 program in ELF format: {why}")]
    NotElf {
        /// On the host.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A library it needs is in none of the usual places.
    #[error("{needed_by} needs {library}, which is in none of {}", list(.searched))]
    NoLibrary {
        /// The program or library.
        needed_by: PathBuf,
        /// What it needs.
        library: String,
        /// Directories.
        searched: Vec<PathBuf>,
    },
}

/// Packages of Debian that have the programs we take along.
const PACKAGES: [(&str, &str); 4] = [
    ("mke2fs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("busybox", "busybox-static"),
    ("mkswap", "util-linux"),
];

fn package_hint(name: &str) -> String {
    let package = PACKAGES.iter().find(|(program, _)| *program == name);
    package.map_or_else(String::new, |(_, package)| {
        format!("; it is in the package {package}: `apt-get install {package}`")
    })
}

fn list(directories: &[PathBuf]) -> String {
    directories.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The kernel's and the loader's fixed places first: a root shell has them in its PATH, a user's often has not.
const PROGRAM_DIRECTORIES: [&str; 6] =
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
const LIBRARY_DIRECTORIES: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];
const LOADER_CONFIGURATION: &str = "/etc/ld.so.conf";

/// A program and all it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// By path in the guest: the file on the host.
    files: BTreeMap<String, PathBuf>,
}

impl Program {
    /// Finds a program by name, in the usual directories and in `PATH`.
    ///
    /// # Errors
    /// If it, or a library it needs, is not there or is not for x86-64.
    pub fn find(name: &str) -> Result<Self, ProgramError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories = PROGRAM_DIRECTORIES.iter().map(PathBuf::from).chain(std::env::split_paths(&path));
        let program = directories
            .map(|directory| directory.join(name))
            .find(|path| path.is_file() && !name.contains('/'))
            .ok_or_else(|| ProgramError::Missing { name: name.to_owned() })?;
        Self::at(&program, name)
    }

    /// Takes the program at a path; in the guest it is `/bin/<name>`.
    ///
    /// # Errors
    /// As [`Program::find`].
    pub fn at(program: &Path, name: &str) -> Result<Self, ProgramError> {
        let mut directories: Vec<PathBuf> = LIBRARY_DIRECTORIES.iter().map(PathBuf::from).collect();
        configured_directories(Path::new(LOADER_CONFIGURATION), 0, &mut directories);
        directories.retain(|directory| directory.is_dir());

        let linkage = Linkage::read(program)?;
        let mut files = BTreeMap::from([(format!("/bin/{name}"), program.to_owned())]);
        let mut libraries: BTreeMap<String, PathBuf> = BTreeMap::new();
        let mut pending = vec![(program.to_owned(), linkage.needed)];
        while let Some((needed_by, needed)) = pending.pop() {
            for library in needed {
                if libraries.contains_key(&library) {
                    continue;
                }
                let path = find_library(&library, &needed_by, &directories)?;
                pending.push((path.clone(), Linkage::read(&path)?.needed));
                libraries.insert(library, path);
            }
        }
        // Beside the C library: there the loader looks without its cache, which the guest does not have.
        let home = libraries
            .iter()
            .find(|(library, _)| library.starts_with("libc."))
            .and_then(|(_, path)| path.parent())
            .unwrap_or(Path::new("/lib"))
            .to_owned();
        for (library, path) in libraries {
            files.insert(home.join(library).to_string_lossy().into_owned(), path);
        }
        if let Some(interpreter) = linkage.interpreter {
            // The C library also names the loader as a library; it knows itself without a second copy.
            let file = Path::new(&interpreter).file_name().map(|file| home.join(file));
            files.retain(|path, _| Some(Path::new(path)) != file.as_deref());
            files.insert(interpreter.clone(), PathBuf::from(interpreter));
        }
        Ok(Self { files })
    }

    /// Path in the guest and file on the host, the program itself among them.
    pub fn files(&self) -> impl Iterator<Item = (&str, &PathBuf)> {
        self.files.iter().map(|(guest, host)| (guest.as_str(), host))
    }
}

fn find_library(library: &str, needed_by: &Path, directories: &[PathBuf]) -> Result<PathBuf, ProgramError> {
    // Some name a library by its path.
    let own = needed_by.parent().map(Path::to_owned);
    directories
        .iter()
        .chain(own.as_ref())
        .map(|directory| directory.join(library))
        .find(|path| path.is_file())
        .ok_or_else(|| ProgramError::NoLibrary {
            needed_by: needed_by.to_owned(),
            library: library.to_owned(),
            searched: directories.to_vec(),
        })
}

/// The directories of ld.so.conf(5), with the files it includes. What cannot be read is left out: the loader does so too.
fn configured_directories(file: &Path, depth: u32, directories: &mut Vec<PathBuf>) {
    let Ok(text) = fs::read_to_string(file) else { return };
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        if let Some(pattern) = line.strip_prefix("include ") {
            // Always of the form /etc/ld.so.conf.d/*.conf.
            let Some((parent, suffix)) = pattern.trim().split_once('*') else { continue };
            let Ok(entries) = fs::read_dir(parent) else { continue };
            let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            files.sort();
            for file in files.iter().filter(|path| path.to_string_lossy().ends_with(suffix)) {
                if depth < 4 {
                    configured_directories(file, depth + 1, directories);
                }
            }
        } else if line.starts_with('/') && !directories.contains(&PathBuf::from(line)) {
            directories.push(PathBuf::from(line));
        }
    }
}

/// What an ELF file says about what it must be linked with at run time.
#[derive(Debug, Default, PartialEq, Eq)]
struct Linkage {
    interpreter: Option<String>,
    needed: Vec<String>,
}

impl Linkage {
    fn read(path: &Path) -> Result<Self, ProgramError> {
        let bytes = fs::read(path).map_err(|source| ProgramError::Read { path: path.to_owned(), source })?;
        Self::parse(&bytes).map_err(|why| ProgramError::NotElf { path: path.to_owned(), why })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let why = |error: object::read::Error| error.to_string();
        let header = elf::FileHeader64::<Endianness>::parse(bytes).map_err(why)?;
        let endian = header.endian().map_err(why)?;
        if header.e_machine(endian) != elf::EM_X86_64 {
            return Err(format!("its machine number is {}", header.e_machine(endian).0));
        }
        let mut linkage = Self::default();
        let sections = header.sections(endian, bytes).map_err(why)?;
        for segment in header.program_headers(endian, bytes).map_err(why)? {
            if let Some(interpreter) = segment.interpreter(endian, bytes).map_err(why)? {
                linkage.interpreter = Some(String::from_utf8_lossy(interpreter).into_owned());
            }
        }
        let Some((dynamic, strings)) = sections.dynamic(endian, bytes).map_err(why)? else {
            return Ok(linkage);
        };
        let strings = sections.strings(endian, bytes, strings).map_err(why)?;
        for entry in dynamic {
            if entry.d_tag(endian) == elf::DT_NEEDED {
                let name = entry.string(endian, strings).map_err(why)?;
                linkage.needed.push(String::from_utf8_lossy(name).into_owned());
            }
        }
        Ok(linkage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_brings_its_loader_and_all_libraries() {
        // Linked dynamically with the C library on every host of the gnu target.
        let program = Program::at(&std::env::current_exe().unwrap(), "self").unwrap();
        let guest: Vec<&str> = program.files().map(|(path, _)| path).collect();
        assert!(guest.contains(&"/bin/self"));
        assert!(
            guest.iter().any(|path| path.contains("/ld-linux") || path.contains("/ld-musl")),
            "{guest:?}"
        );
        assert!(guest.iter().any(|path| path.contains("/libc.")), "{guest:?}");
        assert!(program.files().all(|(_, host)| host.is_file()));
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        insta::assert_snapshot!(
            ProgramError::Missing { name: "mke2fs".into() },
            @"this host has no mke2fs; it is in the package e2fsprogs: `apt-get install e2fsprogs`"
        );
        insta::assert_snapshot!(Program::find("no-such-program").unwrap_err(), @"this host has no no-such-program");
    }

    #[test]
    fn a_script_is_no_program() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "#!/bin/sh\n").unwrap();
        let error = Program::at(file.path(), "x").unwrap_err().to_string();
        assert!(error.contains(" is not an x86-64 program in ELF format: "), "{error}");
    }

    #[test]
    fn a_missing_library_is_named_with_who_needs_it() {
        let error = find_library("libnowhere.so.1", Path::new("/usr/sbin/x"), &["/lib".into()]).unwrap_err();
        insta::assert_snapshot!(error, @"/usr/sbin/x needs libnowhere.so.1, which is in none of /lib");
    }
}
