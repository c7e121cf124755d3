//! Whether there is memory for what is to be loaded.
//!
//! kexec_load(2) takes a page of A's memory for every page of a segment and keeps it. It asks for each as any process would: a kernel
//! that runs short while loading kills every process and then panics, instead of answering ENOMEM.

use agent_protocol::message::Failure;
use nix::errno::Errno;

use crate::failure::{failure, failure_with};
use crate::text;

/// What has to be left to everybody else.
const MARGIN: u64 = 8 << 20;

/// Refuses what does not fit into the memory that is available without swapping.
///
/// # Errors
/// ENOMEM.
pub fn check(needed: u64) -> Result<(), Failure> {
    let available = available(&text::read("/proc/meminfo")?)?;
    if needed.saturating_add(MARGIN) <= available {
        return Ok(());
    }
    let [needed, available, margin] = [needed, available, MARGIN].map(|bytes| bytes >> 20);
    let text = format!(
        "the saver takes {needed} MiB and {margin} MiB have to be left, but {available} MiB are available: free some, or \
         reserve the saver's region on A's command line"
    );
    Err(failure_with(Errno::ENOMEM, text))
}

fn available(meminfo: &str) -> Result<u64, Failure> {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse().ok())
        .map(|kib: u64| kib.saturating_mul(1024))
        .ok_or_else(|| failure("no MemAvailable in /proc/meminfo"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_read() {
        let meminfo = "MemTotal:  230000 kB\nMemFree:  1 kB\nMemAvailable:     58640 kB\n";
        assert_eq!(available(meminfo), Ok(58640 * 1024));
        assert!(available("MemTotal: 1 kB\n").is_err());
    }

    #[test]
    fn more_than_there_is_is_refused() {
        assert_eq!(check(0), Ok(()));
        let refused = check(u64::MAX).unwrap_err();
        assert_eq!(refused.errno, Some(Errno::ENOMEM as i32));
        assert!(refused.text.contains("available"), "{refused}");
    }
}
