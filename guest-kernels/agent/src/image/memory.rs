//! A's memory: saved by B from /proc/vmcore, put back by C through /dev/mem. The two are mirror images.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use agent_protocol::image::{Extent, Header, Kind, PAGE, PageEntry, State};
use agent_protocol::message::{Answer, Failure};
use agent_protocol::mutant::Mutant;
use nix::errno::Errno;

use super::partition::{ImageWriter, PageReader, Partition};
use crate::failure::{While, failure, failure_with};
use crate::kexec::elf;
use crate::mapping::Mapping;
use crate::{identity, mutant};

/// Bytes mapped at a time.
const WINDOW: u64 = 8 << 20;
const VMCORE: &str = "/proc/vmcore";

/// Saves A's memory. Before the image is made valid, everything of it and every disk A used has been flushed. Where saving fails,
/// the header says so: A finds it there after the jump back.
///
/// # Errors
/// ENOSPC if the partition is full; those of disks and of /proc/vmcore.
pub fn save(device: &str, used: &[String], entry: u64) -> Result<Answer, Failure> {
    let start = Instant::now();
    let partition = Partition::open(device)?;
    let saved = write_memory(&partition, entry).and_then(|header| {
        let flushed = partition.make_valid(&header)?;
        Ok((header, flushed))
    });
    let (header, flushed) = match saved {
        Ok(saved) => saved,
        Err(error) => {
            let state = State::Failed(error.errno.unwrap_or(Errno::EIO as i32));
            if !mutant::is(Mutant::FailedNotWritten) {
                partition.commit(&Header { state, ..Header::writing(Kind::JumpedMemory) })?;
            }
            return Err(error);
        }
    };
    // Disks that this kernel has no driver for: A flushed them before it left.
    let unseen = used.iter().filter(|name| !flushed.contains(name)).cloned().collect();
    Ok(Answer::Saved {
        pages: header.pages,
        stored: header.stored,
        flushed,
        unseen,
        milliseconds: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

fn write_memory(partition: &Partition, entry: u64) -> Result<Header, Failure> {
    let opening = || format!("opening {VMCORE} (no elfcorehdr= on the command line?)");
    let vmcore = File::open(VMCORE).while_doing(opening)?;
    let mut start = vec![0; PAGE];
    let len = vmcore.read_at(&mut start, 0).while_doing(opening)?;
    let loads = elf::loads(&start[..len]).map_err(|text| failure(format!("{VMCORE}: {text}")))?;
    let page = PAGE as u64;
    let extents =
        loads.iter().map(|load| Extent { first: load.physical / page, count: load.len / page }).collect();
    let mut writer = ImageWriter::begin(partition, Kind::JumpedMemory, extents)?;
    for load in &loads {
        for (offset, len) in windows(load.len) {
            let window = Mapping::readable(&vmcore, load.offset + offset, len)
                .while_doing(|| format!("mapping {VMCORE} at {:#x}", load.physical + offset))?;
            window.chunks_exact(PAGE).try_for_each(|page| writer.page(page))?;
        }
    }
    writer.finish(entry, a_release(&vmcore, &start[..len]))
}

/// uname -r of A from its vmcoreinfo note, which begins with OSRELEASE=.
fn a_release(vmcore: &File, start: &[u8]) -> String {
    let mut note = vec![0; PAGE];
    let read = elf::notes(start).and_then(|offset| vmcore.read_at(&mut note, offset).ok()).unwrap_or(0);
    let text = String::from_utf8_lossy(&note[..read]).into_owned();
    let release = text.split("OSRELEASE=").nth(1).and_then(|rest| rest.lines().next());
    release.unwrap_or("unknown").to_owned()
}

/// Offsets and lengths of at most [`WINDOW`] bytes that make up `len`.
fn windows(len: u64) -> impl Iterator<Item = (u64, usize)> {
    let step = usize::try_from(WINDOW).unwrap_or(usize::MAX);
    (0..len)
        .step_by(step)
        .map(move |offset| (offset, usize::try_from((len - offset).min(WINDOW)).unwrap_or(0)))
}

/// Puts A's memory back and returns its entry address. The image stays valid: it is to be consumed right before A is entered.
///
/// # Errors
/// The first check that refuses the image; those of the disk and of /dev/mem. A must not be entered then.
pub fn load(partition: &Partition) -> Result<u64, Failure> {
    let (header, index) = partition.restorable(Kind::JumpedMemory)?;
    check_extents(&index.extents, header.entry)?;
    let memory = OpenOptions::new().read(true).write(true).open("/dev/mem");
    let memory = memory.while_doing(|| "opening /dev/mem".into())?;
    let mut reader = PageReader::new(partition, &header);
    let mut entries = index.pages();
    for extent in &index.extents {
        let physical = extent.first * PAGE as u64;
        for (offset, len) in windows(extent.count * PAGE as u64) {
            let mut window = Mapping::writable(&memory, physical + offset, len)
                .while_doing(|| format!("mapping memory at {:#x}", physical + offset))?;
            for (target, (frame, entry)) in window.chunks_exact_mut(PAGE).zip(&mut entries) {
                match entry {
                    PageEntry::Zero => target.fill(0),
                    PageEntry::Stored(_) => target.copy_from_slice(reader.page(frame, entry)?),
                }
            }
        }
    }
    Ok(header.entry)
}

/// An image must lie in the machine's RAM, outside of ours, and contain the page it is entered through.
fn check_extents(extents: &[Extent], entry: u64) -> Result<(), Failure> {
    let (firmware, own) = (identity::firmware_map()?, identity::own_ram()?);
    let page = PAGE as u64;
    for extent in extents {
        let (start, end) = (extent.first * page, (extent.first + extent.count) * page);
        let refuse = |why: &str| {
            let text = format!("image extents: memory {start:#x} to {end:#x} {why}");
            Err(failure_with(Errno::EINVAL, text))
        };
        let is_ram = |range: &&_| {
            let range: &agent_protocol::layout::MemoryRange = range;
            range.kind == agent_protocol::layout::MemoryKind::Ram && range.start <= start && end <= range.end
        };
        if !firmware.iter().any(|range| is_ram(&range)) {
            return refuse("is not RAM of this machine");
        }
        if own.iter().any(|range| start < range.end && range.start < end) {
            return refuse("is used by this kernel; is it confined to the saver's region?");
        }
    }
    let frame = entry / page;
    if extents.iter().any(|extent| extent.first <= frame && frame < extent.first + extent.count) {
        Ok(())
    } else {
        Err(failure_with(Errno::EINVAL, format!("image entry: {entry:#x} is not in the image")))
    }
}

/// After a jump returned: how the saver fared, from the header it left.
///
/// # Errors
/// What went wrong there, with its errno; an image that is still valid although A runs.
pub fn saver_outcome(device: &str) -> Result<(), Failure> {
    // No header: the saver was not asked to save.
    let Some(header) = Partition::open(device)?.header_if_any()? else { return Ok(()) };
    match header.state {
        State::Consumed => Ok(()),
        State::Failed(errno) => {
            let text = "the saver could not save the image and jumped back".to_owned();
            Err(Failure { errno: Some(errno), text })
        }
        State::Writing => Err(failure("the saver jumped back without finishing the image")),
        State::Valid => Err(failure("the image was not consumed although this kernel continues")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_everything_once() {
        let len = 2 * WINDOW + 4096;
        let pieces: Vec<_> = windows(len).collect();
        assert_eq!(pieces, [(0, WINDOW as usize), (WINDOW, WINDOW as usize), (2 * WINDOW, 4096)]);
        assert_eq!(windows(0).count(), 0);
    }
}
