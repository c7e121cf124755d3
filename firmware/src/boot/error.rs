//! Why something cannot be booted.

use std::ops::Range;

use thiserror::Error;

/// Names the file, what is wrong with it, and the cure.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BootError {
    /// Not an executable at all.
    #[error("the kernel is {0}, not a Linux kernel: give a bzImage or a vmlinux built for x86-64")]
    NotAKernel(&'static str),
    /// A bzImage where its contents are needed.
    #[error(
        "the kernel is a bzImage, and PVH enters the vmlinux in it: unpack it, or boot it with entry = \"bzimage\""
    )]
    NotUnpacked,
    /// An ELF file where a bzImage is needed.
    #[error(
        "the kernel is an ELF file, and entry = \"bzimage\" enters a bzImage: give that, or boot this one with entry = \"pvh\""
    )]
    Unpacked,
    /// A boot protocol from before 64-bit entries.
    #[error("the kernel has boot protocol {}.{:02}, and 2.12 is needed: give Linux 3.8 or newer", .0 >> 8, .0 & 0xff)]
    TooOld(u16),
    /// For another processor.
    #[error("the kernel is built for {0}, and the machine is x86-64: give a kernel built for x86-64")]
    Architecture(String),
    /// The file ends too early.
    #[error(
        "the kernel is cut short: {part} ends at byte {needed}, the file has {found}; copy or build it again"
    )]
    Truncated {
        /// What does not end.
        part: &'static str,
        /// Where it would.
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The file contradicts itself.
    #[error("the kernel is damaged: {0}; copy or build it again")]
    Damaged(&'static str),
    /// No PVH note.
    #[error(
        "the kernel has no PVH entry (XEN_ELFNOTE_PHYS32_ENTRY): build it with CONFIG_PVH=y, or boot its bzImage with entry = \"bzimage\""
    )]
    NoPvhEntry,
    /// No Multiboot header that we can satisfy.
    #[error("the guest is not for Multiboot: {0}; give a 32-bit ELF file with a Multiboot 1 header")]
    NotMultiboot(&'static str),
    /// An entry in no part that is loaded.
    #[error("the kernel's entry {0:#x} is outside of all that is loaded of it; copy or build it again")]
    Entry(u64),
    /// No room for the kernel.
    #[error(
        "the kernel needs memory from {:#x} to {:#x}, and usable RAM for it is from {:#x} to {:#x}: give the machine more RAM, or build the kernel for another address (CONFIG_PHYSICAL_START)",
        .needs.start, .needs.end, .room.start, .room.end
    )]
    KernelRoom {
        /// What it occupies.
        needs: Range<u64>,
        /// What there is.
        room: Range<u64>,
    },
    /// An initramfs without contents.
    #[error("the initrd is empty: give a cpio archive, or none")]
    InitrdEmpty,
    /// No room for the initramfs in RAM.
    #[error(
        "the initrd has {len} bytes, and RAM has room for {room} above the kernel: give the machine more RAM, or make the initrd smaller"
    )]
    InitrdRoom {
        /// Its bytes.
        len: u64,
        /// Bytes between the end of the kernel and of RAM below 4 GiB.
        room: u64,
    },
    /// There is RAM, but the kernel does not reach it.
    #[error(
        "the initrd has {len} bytes, and the kernel takes it only below {limit:#x} (initrd_addr_max), where there is room for {room}: make the initrd smaller, or take a newer kernel"
    )]
    InitrdLimit {
        /// Its bytes.
        len: u64,
        /// The first address that it must not reach.
        limit: u64,
        /// Bytes between the end of the kernel and the limit.
        room: u64,
    },
    /// A command line longer than the kernel reads.
    #[error("the command line has {len} bytes, and this kernel reads {most}: shorten it")]
    CommandLineLong {
        /// Its bytes.
        len: usize,
        /// The most, without the NUL at the end.
        most: usize,
    },
    /// A command line with a NUL in it.
    #[error("the command line has a NUL at byte {0}, where the kernel would end it: remove it")]
    CommandLineNul(usize),
    /// Two things in one place.
    #[error("{} and {} would both be at {:#x}: build the kernel for another address", .what.0, .what.1, .address)]
    Overlap {
        /// The two.
        what: (&'static str, &'static str),
        /// The first address of the second.
        address: u64,
    },
    /// Something outside of RAM.
    #[error("{what} would be from {:#x} to {:#x}, where there is no RAM: give the machine more", .range.start, .range.end)]
    OutsideRam {
        /// What.
        what: &'static str,
        /// Where.
        range: Range<u64>,
    },
}
