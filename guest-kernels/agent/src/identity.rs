//! Who we are: kernel, command line, processors, memory, disks.

use std::fs;

use agent_protocol::layout::{MemoryKind, MemoryRange};
use agent_protocol::message::{Answer, Failure, Identity};

use crate::failure::{While, failure};
use crate::text;

/// Ranges of a memory map that fit into a line.
const RANGES_PER_LINE: usize = 20;

/// Answers `identify`.
///
/// # Errors
/// If /proc or /sys cannot be read.
pub fn identify(modules: u32) -> Result<Identity, Failure> {
    let names = nix::sys::utsname::uname().while_doing(|| "asking for the kernel's name".into())?;
    let cpus = std::thread::available_parallelism().while_doing(|| "counting processors".into())?;
    let meminfo = text::read("/proc/meminfo")?;
    let memory_kib = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or_else(|| failure("no MemTotal in /proc/meminfo"))?;
    Ok(Identity {
        release: names.release().to_string_lossy().into_owned(),
        version: names.version().to_string_lossy().into_owned(),
        cmdline: text::read("/proc/cmdline")?,
        cpus: u32::try_from(cpus.get()).unwrap_or(u32::MAX),
        memory_kib,
        disks: disks()?,
        modules,
    })
}

/// Block devices by kernel name, in order, without partitions, RAM disks and loops.
///
/// # Errors
/// If /sys/block cannot be read.
pub fn disks() -> Result<Vec<String>, Failure> {
    let entries = fs::read_dir("/sys/block").while_doing(|| "listing /sys/block".into())?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !["ram", "loop", "zram", "sr", "fd"].iter().any(|other| name.starts_with(other)))
        .collect();
    names.sort();
    Ok(names)
}

/// The machine's memory as the firmware described it, before any `memmap=`: from /sys/firmware/memmap.
///
/// # Errors
/// If the kernel does not show it (CONFIG_FIRMWARE_MEMMAP).
pub fn firmware_map() -> Result<Vec<MemoryRange>, Failure> {
    const MAP: &str = "/sys/firmware/memmap";
    let entries = fs::read_dir(MAP)
        .while_doing(|| format!("listing {MAP} (the kernel needs CONFIG_FIRMWARE_MEMMAP)"))?;
    let mut ranges = Vec::new();
    for entry in entries {
        let entry = entry.while_doing(|| format!("listing {MAP}"))?.path();
        let field = |name: &str| text::read(&entry.join(name).to_string_lossy());
        let number = |name: &str| {
            let value = field(name)?;
            text::hexadecimal(&value).ok_or_else(|| failure(format!("{MAP}: {name} is {value:?}")))
        };
        let kind = match field("type")?.as_str() {
            "System RAM" => MemoryKind::Ram,
            "ACPI Tables" => MemoryKind::AcpiData,
            "ACPI Non-volatile Storage" => MemoryKind::AcpiNvs,
            _ => MemoryKind::Reserved,
        };
        // `end` is the last byte.
        ranges.push(MemoryRange { start: number("start")?, end: number("end")?.saturating_add(1), kind });
    }
    ranges.sort_by_key(|range| range.start);
    Ok(ranges)
}

/// Memory this kernel uses as RAM: the `System RAM` lines of /proc/iomem.
///
/// # Errors
/// If it cannot be read.
pub fn own_ram() -> Result<Vec<MemoryRange>, Failure> {
    let text = fs::read_to_string("/proc/iomem").while_doing(|| "reading /proc/iomem".into())?;
    Ok(text.lines().filter_map(ram_line).collect())
}

fn ram_line(line: &str) -> Option<MemoryRange> {
    // Indented lines are parts of the range above them.
    let (range, name) = line.split_once(" : ")?;
    if line.starts_with(' ') || name != "System RAM" {
        return None;
    }
    let (start, last) = range.split_once('-')?;
    let (start, last) = (text::hexadecimal(start)?, text::hexadecimal(last)?);
    Some(MemoryRange { start, end: last.checked_add(1)?, kind: MemoryKind::Ram })
}

/// Answers `memory-map`.
///
/// # Errors
/// Those of [`firmware_map`].
pub fn memory_map(skip: u32) -> Result<Answer, Failure> {
    let map = firmware_map()?;
    let ranges = map.iter().skip(skip as usize).take(RANGES_PER_LINE).copied().collect();
    Ok(Answer::MemoryMap { total: u32::try_from(map.len()).unwrap_or(u32::MAX), ranges })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_iomem() {
        let ram = |start, end| Some(MemoryRange { start, end, kind: MemoryKind::Ram });
        assert_eq!(ram_line("00100000-07ffffff : System RAM"), ram(0x10_0000, 0x800_0000));
        assert_eq!(ram_line("  01000000-01ffffff : Kernel code"), None);
        assert_eq!(ram_line("000a0000-000fffff : Reserved"), None);
        assert_eq!(ram_line("nonsense"), None);
    }
}
