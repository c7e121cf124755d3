//! Memory mappings: page-aligned buffers for direct I/O, and physical memory through /dev/mem and /proc/vmcore.
#![allow(unsafe_code)] // mmap(2), and slices over what it returns

use std::fs::File;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsFd;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// A mapping, unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<std::ffi::c_void>,
    len: usize,
}

impl Mapping {
    /// Zeroed, page-aligned memory of our own.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn anonymous(len: usize) -> nix::Result<Mapping> {
        let size = NonZeroUsize::new(len).ok_or(nix::errno::Errno::EINVAL)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new private mapping at an address the kernel chooses; nothing else refers to it.
        let start = unsafe { mmap_anonymous(None, size, protection, MapFlags::MAP_PRIVATE)? };
        Ok(Mapping { start, len })
    }

    /// `len` bytes of a file (here: /proc/vmcore) from `offset`, to be read only.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn readable(file: &File, offset: u64, len: usize) -> nix::Result<Mapping> {
        Mapping::shared(file, offset, len, ProtFlags::PROT_READ)
    }

    /// `len` bytes of a file (here: /dev/mem) from `offset`, to be read and written.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn writable(file: &File, offset: u64, len: usize) -> nix::Result<Mapping> {
        Mapping::shared(file, offset, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)
    }

    fn shared(file: &File, offset: u64, len: usize, protection: ProtFlags) -> nix::Result<Mapping> {
        let size = NonZeroUsize::new(len).ok_or(nix::errno::Errno::EINVAL)?;
        let offset = offset.try_into().map_err(|_| nix::errno::Errno::EOVERFLOW)?;
        // SAFETY: a new mapping at an address the kernel chooses. The physical memory behind it belongs to a kernel that
        // does not run while we do, so nobody changes it under the slices given out below.
        let start = unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, file.as_fd(), offset)? };
        Ok(Mapping { start, len })
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is mapped readable for `len` bytes until we are dropped.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Mapping {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; mappings made by `readable` are kept behind shared references by their only user, and a write to
        // one would be a fault, not a corruption.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by us, and every slice borrowed from us is gone.
        let unmapped = unsafe { munmap(self.start, self.len) };
        debug_assert!(unmapped.is_ok());
    }
}
