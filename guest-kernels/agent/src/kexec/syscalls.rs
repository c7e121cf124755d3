//! kexec_load(2), kexec_file_load(2) and the reboot(2) that executes what they loaded.
#![allow(unsafe_code)] // system calls that no crate wraps

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

const KEXEC_ARCH_X86_64: libc::c_ulong = 62 << 16;
/// Keep the loading kernel's context, so that the loaded one can jump back.
const KEXEC_PRESERVE_CONTEXT: libc::c_ulong = 2;

/// Memory to be filled when the loaded kernel is executed: `bytes`, then zeros up to `len`.
#[derive(Debug, Clone)]
pub struct Segment<'a> {
    /// What goes there.
    pub bytes: &'a [u8],
    /// Physical address, page aligned.
    pub physical: u64,
    /// In bytes, whole pages.
    pub len: u64,
}

/// `struct kexec_segment` of linux/kexec.h.
#[repr(C)]
struct RawSegment {
    buf: *const u8,
    bufsz: usize,
    mem: usize,
    memsz: usize,
}

fn load(entry: u64, segments: &[Segment<'_>], flags: libc::c_ulong) -> nix::Result<()> {
    let raw: Vec<RawSegment> = segments
        .iter()
        .map(|segment| RawSegment {
            buf: segment.bytes.as_ptr(),
            bufsz: segment.bytes.len(),
            mem: segment.physical as usize,
            memsz: segment.len as usize,
        })
        .collect();
    let flags = flags | KEXEC_ARCH_X86_64;
    // SAFETY: the kernel only reads the array and the buffers it points to, all of which outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_kexec_load, entry, raw.len(), raw.as_ptr(), flags) })
        .map(drop)
}

/// Loads code that can be jumped to and can jump back.
///
/// # Errors
/// ENOMEM, EADDRNOTAVAIL and others of kexec_load(2).
pub fn load_preserving(entry: u64, segments: &[Segment<'_>]) -> nix::Result<()> {
    load(entry, segments, KEXEC_PRESERVE_CONTEXT)
}

/// Prepares to jump to code that is already in memory.
///
/// A list without segments would mean "unload", so one empty segment is given. It lies at 0x1000, not at 0 as kexec-tools has it:
/// `kimage_is_destination_range()` of 6.12 takes an empty segment at 0 for all of memory, and no control page can be found.
///
/// # Errors
/// Those of kexec_load(2).
pub fn load_nothing(entry: u64) -> nix::Result<()> {
    load_preserving(entry, &[Segment { bytes: &[], physical: 0x1000, len: 0 }])
}

/// Loads a kernel for an ordinary kexec.
///
/// # Errors
/// Those of kexec_file_load(2).
pub fn load_files(kernel: &File, initrd: &File, cmdline: &str) -> nix::Result<()> {
    let cmdline = CString::new(cmdline).map_err(|_| Errno::EINVAL)?;
    let len = cmdline.as_bytes_with_nul().len();
    // SAFETY: two open files and a C string whose length includes its end, as the call wants it.
    let loaded = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initrd.as_raw_fd(),
            len,
            cmdline.as_ptr(),
            0 as libc::c_ulong,
        )
    };
    Errno::result(loaded).map(drop)
}

/// Executes what was loaded. Returns when the other kernel jumps back, if it ever does.
///
/// # Errors
/// Those of reboot(2); the machine was not left then.
pub fn execute() -> nix::Result<()> {
    // SAFETY: takes a number. (nix's wrapper believes that it never returns successfully.)
    Errno::result(unsafe { libc::reboot(libc::LINUX_REBOOT_CMD_KEXEC) }).map(drop)
}
