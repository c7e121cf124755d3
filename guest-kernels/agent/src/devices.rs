//! Disks turn up when they please: NVMe controllers are started and SATA links trained by threads that nobody waits for, and
//! init, with little before it, may run first. A disk that the host names is there or on its way.

use std::path::Path;
use std::time::{Duration, Instant};

use agent_protocol::message::{Ask, Bulk};

/// How long a disk may need: what is late on a busy host is a second at most.
const ARRIVAL: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// Waits for every disk that the request names. One that does not come is for the request itself to complain about.
pub fn await_named(ask: &Ask) {
    let end = Instant::now() + ARRIVAL;
    for device in named(ask) {
        while !Path::new(device).exists() && Instant::now() < end {
            std::thread::sleep(POLL);
        }
    }
}

/// The block devices that a request names; what may be a file is one if it is below /dev.
fn named(ask: &Ask) -> impl Iterator<Item = &str> {
    let pair = match ask {
        Ask::Partition { disk: device, .. }
        | Ask::MakeExt4 { device, .. }
        | Ask::Mount { device, .. }
        | Ask::MakeSwap { device }
        | Ask::SwapOn { device, .. }
        | Ask::HashFile { path: device, .. }
        | Ask::ReadFile { path: device, .. }
        | Ask::Resume { device, .. }
        | Ask::SnapshotSave { device, .. }
        | Ask::SnapshotRestore { device }
        | Ask::SaveImage { device, .. }
        | Ask::RestoreImage { device } => [Some(device.as_str()), None],
        Ask::Jump { image } | Ask::JumpBack { image } => [image.as_deref(), None],
        Ask::CopyBulk { from: one, to: other }
        | Ask::Preload { kernel: one, initrd: other, .. }
        | Ask::Kexec { kernel: one, initrd: other, .. } => [of_bulk(one), of_bulk(other)],
        _ => [None, None],
    };
    pair.into_iter().flatten().filter(|device| device.starts_with("/dev/"))
}

fn of_bulk(bulk: &Bulk) -> Option<&str> {
    match bulk {
        Bulk::Scratch { device, .. } => Some(device),
        Bulk::File { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_protocol::layout::SAVER_REGION;

    #[test]
    fn every_disk_of_a_request_is_waited_for() {
        let scratch =
            |device: &str| Bulk::Scratch { device: device.into(), offset: 0, len: 512, crc32: None };
        let preload = Ask::Preload {
            kernel: scratch("/dev/vdb"),
            initrd: scratch("/dev/vdc"),
            region: SAVER_REGION,
            cmdline: "disk=/dev/vdd".into(),
        };
        assert_eq!(named(&preload).collect::<Vec<_>>(), ["/dev/vdb", "/dev/vdc"]);
        let restore = Ask::RestoreImage { device: "/dev/nvme0n1p3".into() };
        assert_eq!(named(&restore).collect::<Vec<_>>(), ["/dev/nvme0n1p3"]);
        assert_eq!(named(&Ask::Sync).next(), None);
    }

    #[test]
    fn what_is_no_device_is_not_waited_for() {
        let mount = Ask::Mount {
            device: "none".into(),
            at: "/run".into(),
            fstype: "tmpfs".into(),
            options: String::new(),
        };
        assert_eq!(named(&mount).next(), None);
        assert_eq!(named(&Ask::HashFile { path: "/data/file".into(), len: None }).next(), None);
    }
}
