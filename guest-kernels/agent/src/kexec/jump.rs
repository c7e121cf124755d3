//! To the other kernel and back.

use agent_protocol::message::{Answer, Failure};
use agent_protocol::mutant::Mutant;
use nix::errno::Errno;

use super::syscalls;
use crate::failure::{While, failure, failure_with};
use crate::image::memory;
use crate::image::partition::Partition;
use crate::{disks, mutant, text};

/// Checks that a kernel is loaded.
///
/// # Errors
/// EINVAL if none is.
pub fn check_loaded() -> Result<(), Failure> {
    if text::read("/sys/kernel/kexec_loaded")? == "1" {
        Ok(())
    } else {
        Err(failure_with(Errno::EINVAL, "no kernel is loaded to jump to: preload one first"))
    }
}

/// Makes all that was written durable: the kernel writes nothing back before a jump, and B can flush only the disks it has drivers
/// for.
///
/// # Errors
/// Those of the first disk that fails.
pub fn sync() -> Result<(), Failure> {
    if mutant::is(Mutant::JumpWithoutSync) {
        return Ok(());
    }
    if mutant::is(Mutant::JumpWithoutFlush) {
        nix::unistd::sync();
        return Ok(());
    }
    disks::sync()
}

/// Jumps; returns when the other kernel jumps back. If an image partition is named, its header tells how the saver fared.
///
/// # Errors
/// If the jump was refused, or the saver failed.
pub fn jump(image: Option<&str>) -> Result<Answer, Failure> {
    syscalls::execute().while_doing(|| "jumping".into())?;
    image.map_or(Ok(()), memory::saver_outcome)?;
    Ok(Answer::Done)
}

/// Where to jump back to: the stub wrote it into our command line.
///
/// # Errors
/// If nobody jumped to us.
pub fn way_back() -> Result<u64, Failure> {
    let cmdline = text::read("/proc/cmdline")?;
    let entry = cmdline.split_whitespace().find_map(|word| word.strip_prefix("kexec_jump_back_entry="));
    match entry.and_then(text::hexadecimal) {
        Some(0) | None => Err(failure("no kexec_jump_back_entry= on the command line: nobody jumped here")),
        Some(entry) => Ok(entry),
    }
}

/// Prepares to enter a kernel that sleeps in memory.
///
/// # Errors
/// Those of kexec_load(2).
pub fn prepare(entry: u64) -> Result<(), Failure> {
    syscalls::load_nothing(entry).while_doing(|| format!("preparing to jump to {entry:#x}"))
}

/// Consumes the image, if there is one, and enters the sleeping kernel. Returns when that kernel jumps here again.
///
/// # Errors
/// If the image's header cannot be reset: the kernel is not entered then.
pub fn enter(image: Option<&Partition>) -> Result<Answer, Failure> {
    let consume = || image.map_or(Ok(()), Partition::consume);
    let late = mutant::is(Mutant::ConsumedTooLate);
    if !late && !mutant::is(Mutant::EnterUnconsumed) {
        consume()?;
    }
    syscalls::execute().while_doing(|| "jumping back".into())?;
    if late {
        consume()?;
    }
    Ok(Answer::Done)
}
