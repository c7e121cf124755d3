//! swapon(2) and swapoff(2).
#![allow(unsafe_code)] // system calls that no crate wraps

use std::ffi::CString;

use nix::errno::Errno;

const SWAP_FLAG_PREFER: libc::c_int = 0x8000;
const SWAP_FLAG_PRIO_MASK: u16 = 0x7fff;

fn c_path(path: &str) -> nix::Result<CString> {
    CString::new(path).map_err(|_| Errno::EINVAL)
}

/// Starts swapping, with a priority of 0 to 32767 or the kernel's choice.
///
/// # Errors
/// Those of swapon(2).
pub fn swap_on(path: &str, priority: Option<u16>) -> nix::Result<()> {
    let path = c_path(path)?;
    let flags = match priority {
        Some(priority) => SWAP_FLAG_PREFER | libc::c_int::from(priority & SWAP_FLAG_PRIO_MASK),
        None => 0,
    };
    // SAFETY: a valid C string.
    Errno::result(unsafe { libc::swapon(path.as_ptr(), flags) }).map(drop)
}

/// Stops swapping.
///
/// # Errors
/// Those of swapoff(2).
pub fn swap_off(path: &str) -> nix::Result<()> {
    let path = c_path(path)?;
    // SAFETY: a valid C string.
    Errno::result(unsafe { libc::swapoff(path.as_ptr()) }).map(drop)
}
