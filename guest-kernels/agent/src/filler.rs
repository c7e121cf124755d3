//! Memory that is taken and not given back: what a machine with too little of it is like.

use std::fs::File;
use std::io::Write;

use agent_protocol::message::Failure;

use crate::failure::{While, failure};
use crate::{disks, text};

const DIRECTORY: &str = "/filler";
const PIECE: usize = 1 << 20;
/// More than a machine here has.
const MOST: u32 = 1 << 16;

/// Fills a ramfs, whose pages can be neither swapped out nor written back, until this many bytes are available.
///
/// # Errors
/// If there is no ramfs, or /proc/meminfo does not say.
pub fn fill(left: u64) -> Result<(), Failure> {
    disks::mount_device("none", DIRECTORY, "ramfs", "")?;
    let piece = vec![0x5a; PIECE];
    for number in 0..MOST {
        if available()? <= left {
            break;
        }
        let path = format!("{DIRECTORY}/{number}");
        File::create(&path)
            .and_then(|mut file| file.write_all(&piece))
            .while_doing(|| format!("writing {path}"))?;
    }
    Ok(())
}

fn available() -> Result<u64, Failure> {
    let meminfo = text::read("/proc/meminfo")?;
    let kib = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| failure(format!("no MemAvailable in {meminfo:?}")))
}
