//! A tree of files, directories and links in tmpfs, rewritten and renamed all the time.

use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use agent_protocol::message::Failure;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::differences::Differences;
use super::pattern::{self, Pattern};
use super::work::{Pulse, Work};
use crate::failure::While;

const DIRECTORIES: [&str; 4] = ["a", "a/b", "a/b/c", "d"];
const FILES: usize = 24;
const LARGEST: u64 = 16 * 1024;
/// Every so many files one has a second name and one a symbolic link.
const LINKED: usize = 4;

/// What a file must be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    number: usize,
    generation: u64,
}

impl Node {
    fn pattern(&self, seed: u64) -> Pattern {
        Pattern::new(seed, [self.number as u64, self.generation])
    }

    fn contents(&self, seed: u64) -> Vec<u8> {
        let mut pattern = self.pattern(seed);
        let len = pattern.below(LARGEST);
        pattern.bytes(len as usize)
    }

    fn mode(&self) -> u32 {
        [0o600, 0o644, 0o755, 0o666][(self.number + self.generation as usize) % 4]
    }

    fn modified(&self) -> Duration {
        let number = self.number as u32;
        Duration::new(1_000_000_000 + self.generation % 1_000_000_000, 1 + number)
    }

    /// A file moves on to another directory with each generation.
    fn path(&self) -> PathBuf {
        let directory = DIRECTORIES[(self.number + self.generation as usize) % DIRECTORIES.len()];
        Path::new(directory).join(format!("file-{}", self.number))
    }

    fn second_name(&self) -> Option<PathBuf> {
        self.number.is_multiple_of(LINKED).then(|| format!("hard-{}", self.number).into())
    }

    fn symbolic_link(&self) -> Option<PathBuf> {
        (self.number % LINKED == 1).then(|| format!("symbolic-{}", self.number).into())
    }
}

/// The workload.
pub struct Tmpfs {
    /// Keeps the mount alive that nothing else refers to.
    _mount: Option<File>,
    root: PathBuf,
    seed: u64,
    nodes: Vec<Node>,
    next: usize,
    renewed: u64,
}

impl Tmpfs {
    /// A tree in a tmpfs of its own. It is detached from the directory tree at once: nobody else meets it, and it goes when
    /// we do.
    ///
    /// # Errors
    /// If it cannot be mounted or written.
    pub fn mount(seed: u64) -> Result<Tmpfs, Failure> {
        let at = PathBuf::from(format!("/run/kjvm-tmpfs-{}", std::process::id()));
        let mounting = || format!("mounting a tmpfs at {}", at.display());
        fs::create_dir_all(&at).while_doing(mounting)?;
        mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::empty(), None::<&str>).while_doing(mounting)?;
        let root = File::open(&at);
        umount2(&at, MntFlags::MNT_DETACH).while_doing(mounting)?;
        fs::remove_dir(&at).while_doing(mounting)?;
        let root = root.while_doing(mounting)?;
        let path = format!("/proc/self/fd/{}", root.as_raw_fd());
        Tmpfs::new(path.into(), Some(root), seed)
    }

    fn new(root: PathBuf, mount: Option<File>, seed: u64) -> Result<Tmpfs, Failure> {
        let making = || format!("making a tree of files in {}", root.display());
        for directory in DIRECTORIES {
            fs::create_dir(root.join(directory)).while_doing(making)?;
        }
        let nodes: Vec<Node> = (0..FILES).map(|number| Node { number, generation: 1 }).collect();
        let tmpfs = Tmpfs { _mount: mount, root, seed, nodes, next: 0, renewed: 0 };
        for node in &tmpfs.nodes {
            tmpfs.write(node, &node.path()).while_doing(|| format!("writing {}", node.path().display()))?;
        }
        Ok(tmpfs)
    }

    /// Writes a file anew, with its links.
    fn write(&self, node: &Node, path: &Path) -> std::io::Result<()> {
        let at = |path: &Path| self.root.join(path);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(at(path))?;
        file.write_all(&node.contents(self.seed))?;
        file.set_permissions(Permissions::from_mode(node.mode()))?;
        file.set_times(FileTimes::new().set_modified(UNIX_EPOCH + node.modified()))?;
        if let Some(link) = node.symbolic_link() {
            let _ = fs::remove_file(at(&link));
            symlink(node.path(), at(&link))?;
        }
        if let Some(name) = node.second_name() {
            let _ = fs::remove_file(at(&name));
            fs::hard_link(at(path), at(&name))?;
        }
        Ok(())
    }

    /// Gives a file its next generation: by turns rewritten where it stands and then moved, or written beside and moved over.
    fn renew(&self, old: &Node, new: &Node) -> std::io::Result<()> {
        let at = |path: &Path| self.root.join(path);
        if new.generation.is_multiple_of(2) {
            self.write(new, &old.path())?;
            fs::rename(at(&old.path()), at(&new.path()))
        } else {
            self.write(new, Path::new("new"))?;
            fs::rename(at(Path::new("new")), at(&new.path()))?;
            fs::remove_file(at(&old.path()))
        }
    }

    fn verify(&self, node: &Node) -> Result<(), String> {
        let path = node.path();
        let name = path.display();
        let failed = |error: std::io::Error| format!("{name}: {error}");
        let contents = fs::read(self.root.join(&path)).map_err(failed)?;
        if let Some(difference) = pattern::difference(&node.contents(self.seed), &contents) {
            return Err(format!("{name} generation {}, {difference}", node.generation));
        }
        let found = fs::symlink_metadata(self.root.join(&path)).map_err(failed)?;
        let (mode, modified) = (0o100_000 | node.mode(), node.modified());
        if found.mode() != mode {
            return Err(format!("{name}: expected mode {mode:o}, found {:o}", found.mode()));
        }
        let expected = (modified.as_secs() as i64, i64::from(modified.subsec_nanos()));
        if (found.mtime(), found.mtime_nsec()) != expected {
            let found = (found.mtime(), found.mtime_nsec());
            return Err(format!("{name}: expected modification time {expected:?}, found {found:?}"));
        }
        let links = 1 + u64::from(node.second_name().is_some());
        if found.nlink() != links {
            return Err(format!("{name}: expected {links} names, found {}", found.nlink()));
        }
        if let Some(second) = node.second_name() {
            let other = fs::symlink_metadata(self.root.join(&second)).map_err(failed)?.ino();
            if other != found.ino() {
                return Err(format!("{name} is inode {}, {} is {other}", found.ino(), second.display()));
            }
        }
        if let Some(link) = node.symbolic_link() {
            let target = fs::read_link(self.root.join(&link)).map_err(failed)?;
            if target != path {
                return Err(format!(
                    "{}: expected target {name}, found {}",
                    link.display(),
                    target.display()
                ));
            }
        }
        Ok(())
    }

    /// Every name there is, relative to the root, in order.
    fn names(&self, directory: &Path) -> std::io::Result<Vec<PathBuf>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(directory))? {
            let entry = entry?;
            let name = directory.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                names.extend(self.names(&name)?);
            }
            names.push(name);
        }
        names.sort();
        Ok(names)
    }

    fn expected_names(&self) -> Vec<PathBuf> {
        let mut names: Vec<PathBuf> = DIRECTORIES.iter().map(PathBuf::from).collect();
        for node in &self.nodes {
            names.extend([Some(node.path()), node.second_name(), node.symbolic_link()].into_iter().flatten());
        }
        names.sort();
        names
    }
}

impl Work for Tmpfs {
    fn step(&mut self, found: &mut Differences) {
        let old = self.nodes[self.next].clone();
        let new = Node { generation: old.generation.wrapping_add(1), ..old.clone() };
        // One that is wrong is left as it is, to be found again.
        let done = self.verify(&old).and_then(|()| {
            self.renew(&old, &new).map_err(|error| format!("renewing {}: {error}", new.path().display()))
        });
        match done {
            Ok(()) => self.nodes[self.next] = new,
            Err(difference) => found.add(difference),
        }
        self.next = (self.next + 1) % FILES;
        self.renewed = self.renewed.wrapping_add(1);
    }

    fn check(&mut self, found: &mut Differences) {
        match self.names(Path::new("")) {
            Ok(names) => {
                let expected = self.expected_names();
                for name in expected.iter().filter(|name| !names.contains(name)) {
                    found.add(format!("{} is missing", name.display()));
                }
                for name in names.iter().filter(|name| !expected.contains(name)) {
                    found.add(format!("{} should not be there", name.display()));
                }
            }
            Err(error) => found.add(format!("listing the tree: {error}")),
        }
        for node in &self.nodes {
            found.note(self.verify(node));
        }
    }

    fn pulses(&self) -> Vec<Pulse> {
        vec![Pulse::new("files", self.renewed)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::work::Worker;

    /// What a check says of a tree after it was damaged.
    fn after(damage: impl FnOnce(&Path)) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let tmpfs = Tmpfs::new(directory.path().to_owned(), None, 11).unwrap();
        let mut worker = Worker::new(tmpfs);
        (0..3 * FILES).for_each(|_| worker.step());
        assert_eq!(worker.check(), Vec::<String>::new());
        damage(directory.path());
        let mut found = Differences::default();
        worker.work.check(&mut found);
        found.take()
    }

    /// The path of a file, wherever it has moved to.
    fn file(root: &Path, number: usize) -> PathBuf {
        let candidates =
            DIRECTORIES.iter().map(|directory| root.join(directory).join(format!("file-{number}")));
        candidates.into_iter().find(|path| path.exists()).unwrap()
    }

    #[test]
    fn a_rewritten_byte_is_found() {
        let differences = after(|root| {
            let path = file(root, 7);
            let mut bytes = fs::read(&path).unwrap();
            bytes[100] ^= 1;
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            fs::write(&path, bytes).unwrap();
        });
        assert_eq!(differences.len(), 1);
        assert!(differences[0].contains("/file-7 generation "), "{differences:?}");
        assert!(differences[0].contains(", offset 0x64: expected 0x"), "{differences:?}");
    }

    #[test]
    fn mode_time_and_links_are_found() {
        let mode = after(|root| fs::set_permissions(file(root, 2), Permissions::from_mode(0o777)).unwrap());
        assert!(mode[0].ends_with("found 100777"), "{mode:?}");
        let time = after(|root| {
            let times = FileTimes::new().set_modified(UNIX_EPOCH);
            File::open(file(root, 2)).unwrap().set_times(times).unwrap();
        });
        assert!(time[0].ends_with("found (0, 0)"), "{time:?}");
        let hard = after(|root| {
            fs::remove_file(root.join("hard-4")).unwrap();
            fs::copy(file(root, 4), root.join("hard-4")).unwrap();
        });
        assert!(hard[0].ends_with("expected 2 names, found 1"), "{hard:?}");
        let soft = after(|root| {
            fs::remove_file(root.join("symbolic-5")).unwrap();
            symlink("nowhere", root.join("symbolic-5")).unwrap();
        });
        assert!(soft[0].ends_with("found nowhere"), "{soft:?}");
    }

    #[test]
    fn missing_and_foreign_names_are_found() {
        let differences = after(|root| {
            fs::rename(file(root, 3), root.join("d/foreign")).unwrap();
        });
        assert!(differences[0].ends_with("/file-3 is missing"), "{differences:?}");
        assert_eq!(differences[1], "d/foreign should not be there");
    }

    #[test]
    fn the_mount_of_its_own_leaves_nothing_behind() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let mut worker = Worker::new(Tmpfs::mount(4).unwrap());
        assert!(!fs::read_to_string("/proc/mounts").unwrap().contains("kjvm-tmpfs"));
        (0..2 * FILES).for_each(|_| worker.step());
        assert_eq!(worker.check(), Vec::<String>::new());
    }
}
