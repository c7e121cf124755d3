//! The kernels a run boots, each with its initramfs, and the disk that hands them to the agent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use agent_protocol::message::Bulk;

/// A kernel and its initramfs.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// As in the catalogue, for instance `primary-6.12`.
    pub name: String,
    /// bzImage.
    pub bzimage: PathBuf,
    /// Uncompressed cpio.
    pub initrd: Vec<u8>,
}

/// The kernels of a run.
#[derive(Debug, Clone)]
pub struct Kernels {
    /// A, and for the paths Linux has by itself every other boot as well.
    pub primary: Kernel,
    /// B and C; a stock kernel cannot jump and has none.
    pub saver: Option<Kernel>,
}

/// A raw disk that carries kernels into the guest: too large for the agent's line.
#[derive(Debug)]
pub struct Scratch {
    /// Its file.
    pub path: PathBuf,
    primary: Stretches,
    saver: Option<Stretches>,
}

/// Where a kernel and its initramfs lie.
#[derive(Debug, Clone, Copy)]
struct Stretches {
    kernel: Stretch,
    initrd: Stretch,
}

#[derive(Debug, Clone, Copy)]
struct Stretch {
    offset: u64,
    len: u64,
    crc32: u32,
}

impl Stretch {
    fn bulk(self, device: &str) -> Bulk {
        let Stretch { offset, len, crc32 } = self;
        Bulk::Scratch { device: device.to_owned(), offset, len, crc32: Some(crc32) }
    }
}

impl Scratch {
    /// Writes the kernels to a new file.
    ///
    /// # Errors
    /// Those of the host's files.
    pub fn new(path: &Path, kernels: &Kernels) -> io::Result<Scratch> {
        let file = File::create(path)?;
        let mut end = 0;
        let mut add = |bytes: &[u8]| {
            let stretch = Stretch { offset: end, len: bytes.len() as u64, crc32: crc32fast::hash(bytes) };
            file.write_all_at(bytes, end)?;
            // Devices are read in blocks.
            end = (end + stretch.len).next_multiple_of(4096);
            file.set_len(end)?;
            Ok::<Stretch, io::Error>(stretch)
        };
        let mut both = |kernel: &Kernel| {
            Ok::<Stretches, io::Error>(Stretches {
                kernel: add(&std::fs::read(&kernel.bzimage)?)?,
                initrd: add(&kernel.initrd)?,
            })
        };
        let primary = both(&kernels.primary)?;
        let saver = kernels.saver.as_ref().map(both).transpose()?;
        Ok(Scratch { path: path.to_owned(), primary, saver })
    }

    /// The saver and its initramfs, for an agent that sees the scratch disk as `device`.
    pub fn saver(&self, device: &str) -> Option<(Bulk, Bulk)> {
        self.saver.map(|saver| (saver.kernel.bulk(device), saver.initrd.bulk(device)))
    }

    /// The primary and its initramfs, for an agent that sees the scratch disk as `device`.
    pub fn primary(&self, device: &str) -> (Bulk, Bulk) {
        (self.primary.kernel.bulk(device), self.primary.initrd.bulk(device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_where_they_say() {
        let directory = tempfile::tempdir().unwrap();
        let kernel = |name: &str, bytes: usize, initrd: &[u8]| {
            let bzimage = directory.path().join(name);
            std::fs::write(&bzimage, vec![b'k'; bytes]).unwrap();
            Kernel { name: name.into(), bzimage, initrd: initrd.into() }
        };
        let (primary, saver) = (kernel("p", 5000, &[b'i'; 4096]), kernel("s", 1, b"tttttttttt"));
        let kernels = Kernels { primary, saver: Some(saver) };
        let scratch = Scratch::new(&directory.path().join("scratch"), &kernels).unwrap();
        let disk = std::fs::read(&scratch.path).unwrap();
        assert_eq!(disk.len() % 512, 0);
        let (kernel, initrd) = scratch.saver("/dev/vdb").unwrap();
        for (bulk, expected) in [(kernel, &b"k"[..]), (initrd, &b"tttttttttt"[..])] {
            let Bulk::Scratch { device, offset, len, crc32 } = bulk else { panic!("{bulk:?}") };
            assert_eq!(&disk[offset as usize..(offset + len) as usize], expected);
            assert_eq!((device.as_str(), crc32), ("/dev/vdb", Some(crc32fast::hash(expected))));
        }
    }
}
