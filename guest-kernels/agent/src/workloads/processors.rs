//! Which processors are online, and binding threads to them.

use agent_protocol::message::Failure;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::failure::failure;
use crate::text;

/// Where the kernel lists the processors that are online, as `0-3,5`.
pub const ONLINE: &str = "/sys/devices/system/cpu/online";

/// Reads such a list.
///
/// # Errors
/// If it cannot be read, or is no list.
pub fn online(path: &str) -> Result<Vec<usize>, Failure> {
    let list = text::read(path)?;
    parse(&list).ok_or_else(|| failure(format!("{path}: {list:?} is no list of processors")))
}

fn parse(list: &str) -> Option<Vec<usize>> {
    let mut processors = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last < first || last >= CpuSet::count() {
            return None;
        }
        processors.extend(first..=last);
    }
    Some(processors)
}

/// Binds the calling thread to a processor.
///
/// # Errors
/// Those of sched_setaffinity(2).
pub fn bind_this_thread(processor: usize) -> nix::Result<()> {
    bind(Pid::from_raw(0), processor)
}

/// Binds a thread to a processor.
///
/// # Errors
/// Those of sched_setaffinity(2).
pub fn bind(thread: Pid, processor: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    sched_setaffinity(thread, &set)
}

/// The processors a thread is bound to.
///
/// # Errors
/// Those of sched_getaffinity(2), ESRCH among them if it is gone.
pub fn bound_to(thread: Pid) -> Result<Vec<usize>, Errno> {
    let set = sched_getaffinity(thread)?;
    Ok((0..CpuSet::count()).filter(|processor| set.is_set(*processor).unwrap_or(false)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        assert_eq!(parse("0"), Some(vec![0]));
        assert_eq!(parse("0-2,5\n"), Some(vec![0, 1, 2, 5]));
        for garbage in ["", "x", "3-1", "0-", "0-4000000000"] {
            assert_eq!(parse(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn binding_binds() {
        let first = online(ONLINE).unwrap()[0];
        bind_this_thread(first).unwrap();
        assert_eq!(bound_to(Pid::from_raw(0)).unwrap(), [first]);
    }
}
