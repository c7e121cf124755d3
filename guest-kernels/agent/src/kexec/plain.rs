//! An ordinary kexec: the next kernel replaces this one.

use std::fs::File;

use agent_protocol::message::{Answer, Bulk, Failure};

use super::syscalls;
use crate::failure::{While, failure};
use crate::{disks, files};

/// Loads a kernel.
///
/// # Errors
/// Those of kexec_file_load(2), and of the files.
pub fn load(kernel: &Bulk, initrd: &Bulk, cmdline: &str) -> Result<(), Failure> {
    let kernel = file(kernel, "/run/kexec-kernel")?;
    let initrd = file(initrd, "/run/kexec-initrd")?;
    syscalls::load_files(&kernel, &initrd, cmdline).while_doing(|| "loading the next kernel".into())
}

fn file(bulk: &Bulk, path: &str) -> Result<File, Failure> {
    let bytes = files::read_bulk(bulk)?;
    let keeping = || format!("keeping {path}");
    std::fs::write(path, bytes).while_doing(keeping)?;
    let file = File::open(path).while_doing(keeping)?;
    std::fs::remove_file(path).while_doing(keeping)?;
    Ok(file)
}

/// Executes it.
///
/// # Errors
/// Only if this kernel goes on.
pub fn execute() -> Result<Answer, Failure> {
    disks::sync()?;
    syscalls::execute().while_doing(|| "executing the next kernel".into())?;
    Err(failure("the kernel came back from an ordinary kexec"))
}
