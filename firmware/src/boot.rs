//! How a kernel is loaded and entered, without a boot loader running in the guest.
//!
//! A kernel file is hostile input: whatever is in it, the answer is a [`Boot`] whose blobs lie in RAM and do not overlap, or a
//! [`BootError`] that says what is wrong with which file and what to do about it.

mod assemble;
mod bzimage;
mod command_line;
mod elf;
mod entry;
mod error;
mod initrd;
mod multiboot;
mod pvh;
mod setup_header;

#[cfg(test)]
mod elf_file;

pub use bzimage::bzimage;
pub use error::BootError;
pub use multiboot::multiboot;
pub use pvh::pvh;

use crate::blob::Blob;
use crate::mtrr::Mtrrs;
use crate::registers::Registers;

/// What is booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The kernel file: what it has to be depends on the boot protocol.
    pub kernel: &'a [u8],
    /// The initial RAM file system, as a file.
    pub initrd: Option<&'a [u8]>,
    /// The kernel's command line.
    pub command_line: &'a str,
}

/// A machine ready to run its first instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot<'a> {
    /// What memory holds, by ascending address: tables, kernel, initramfs, boot data. All of it lies in RAM, nothing overlaps.
    pub blobs: Vec<Blob<'a>>,
    /// How the boot processor begins.
    pub registers: Registers,
    /// Memory types, for every processor. They stay through INIT, and are to be set again after a wake.
    pub mtrrs: Mtrrs,
}
