//! Small files of /proc and /sys, and numbers in them.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use agent_protocol::message::Failure;

use crate::failure::{While, failure};

/// Most bytes of a text answer.
const LIMIT: u64 = 1024;

/// Reads at most 1024 bytes as text, without trailing newlines.
///
/// # Errors
/// Those of the file; what is not UTF-8 is replaced.
pub fn read(path: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LIMIT).read_to_end(&mut bytes))
        .while_doing(|| format!("reading {path}"))?;
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\0']).to_owned())
}

/// Writes with a single write(2), as sysfs and procfs want it.
///
/// # Errors
/// Those of the file: a refusal by the kernel keeps its errno.
pub fn write(path: &str, text: &str) -> Result<(), Failure> {
    let writing = || format!("writing {text:?} to {path}");
    let mut file = OpenOptions::new().write(true).open(path).while_doing(writing)?;
    let written = file.write(text.as_bytes()).while_doing(writing)?;
    if written == text.len() {
        Ok(())
    } else {
        Err(failure(format!("while {}: only {written} bytes were taken", writing())))
    }
}

/// Path of a sysctl: `vm.drop_caches` is /proc/sys/vm/drop_caches.
pub fn sysctl_path(name: &str) -> String {
    format!("/proc/sys/{}", name.replace('.', "/"))
}

/// A hexadecimal number with or without `0x`.
pub fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}
