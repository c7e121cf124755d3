//! A loads B, to be jumped to with A's context preserved.
//!
//! B lives in a region of its own. If A leaves that region alone (`memmap=SIZE#START` on A's command line) only what B needs is
//! loaded there; otherwise every page of the region is exchanged during the jump. Memory below 1 MiB is always exchanged: the
//! real-mode trampolines of both kernels live there. B sees the rest of A's RAM as ACPI data, which B does not use but maps
//! when it jumps back, and reads it as /proc/vmcore.
//!
//! ```text
//! region start   kernel (aligned, with the memory it needs before it knows better)
//!                ...
//!                initramfs
//! region end     boot_params | command line | stub | core header | vmcoreinfo note: 64 KiB, reserved in B's map
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt;

use agent_protocol::layout::{self, MemoryKind, MemoryRange, Region};
use agent_protocol::message::{Answer, Bulk, Failure};

use super::boot_params::{BootParams, BzImage, ENTRY_64};
use super::stub::{self, Fields};
use super::syscalls::{self, Segment};
use super::{boot_params, elf, room};
use crate::failure::{While, failure};
use crate::{disks, files, identity, text};

const PAGE: u64 = 4096;
/// Below it the real-mode trampolines live; page 0 belongs to the firmware.
const LOW_START: u64 = PAGE;
const LOW_END: u64 = layout::MIB;

/// Bytes at the end of the region that describe everything to B.
const PARAMETERS_LEN: u64 = 0x1_0000;
const CMDLINE_AT: u64 = 0x1000;
const STUB_AT: u64 = 0x2000;
const CORE_HEADER_AT: u64 = 0x3000;
const NOTE_AT: u64 = 0x4000;
const NOTE_MAX: u64 = PARAMETERS_LEN - NOTE_AT;
const CMDLINE_MAX: usize = 2047;
const PLACEHOLDER: &str = "0000000000000000";

/// Where everything goes, in physical addresses.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    kernel: u64,
    kernel_len: u64,
    initrd: u64,
    parameters: u64,
    region_end: u64,
}

impl Plan {
    fn new(kernel: &BzImage<'_>, initrd_len: u64, region: Region) -> Option<Plan> {
        let region_end = region.end().filter(|end| *end <= 1 << 32)?;
        let parameters = region_end.checked_sub(PARAMETERS_LEN)?;
        let initrd = parameters.checked_sub(initrd_len)? / PAGE * PAGE;
        let start = region.start.checked_next_multiple_of(kernel.alignment)?;
        let kernel_len = kernel.init_size.checked_next_multiple_of(PAGE)?;
        (start.checked_add(kernel_len)? <= initrd).then_some(Plan {
            kernel: start,
            kernel_len,
            initrd,
            parameters,
            region_end,
        })
    }
}

/// Whether A keeps out of the region.
fn is_reserved(own: &[MemoryRange], region: Region) -> bool {
    let end = region.end().unwrap_or(u64::MAX);
    own.iter().all(|range| range.end <= region.start || end <= range.start)
}

/// A's RAM that neither B uses nor the jump exchanges: what is to be saved.
fn memory_to_save(own: &[MemoryRange], region: Region) -> Vec<MemoryRange> {
    let outside =
        layout::without(&layout::without(own, 0, LOW_END), region.start, region.end().unwrap_or(u64::MAX));
    let whole_pages = outside.into_iter().map(|range| MemoryRange {
        start: range.start.next_multiple_of(PAGE),
        end: range.end / PAGE * PAGE,
        ..range
    });
    whole_pages.filter(|range| range.start < range.end).collect()
}

/// The machine as B is told: low memory and the region are RAM, the rest of the RAM is ACPI data.
fn memory_for_saver(firmware: &[MemoryRange], region: Region, parameters: u64) -> Vec<MemoryRange> {
    let end = region.end().unwrap_or(u64::MAX);
    let mut map: Vec<MemoryRange> = layout::without(firmware, region.start, end)
        .into_iter()
        .map(|range| match range.kind {
            MemoryKind::Ram if range.start >= LOW_END => MemoryRange { kind: MemoryKind::AcpiData, ..range },
            _ => range,
        })
        .collect();
    map.push(MemoryRange { start: region.start, end: parameters, kind: MemoryKind::Ram });
    map.push(MemoryRange { start: parameters, end, kind: MemoryKind::Reserved });
    map.sort_by_key(|range| range.start);
    map
}

/// A's vmcoreinfo note. Without a valid note B's kernel refuses to make /proc/vmcore, and the per-CPU crash notes of a kernel
/// that did not crash are empty.
fn vmcoreinfo() -> Result<Vec<u8>, Failure> {
    const FILE: &str = "/sys/kernel/vmcoreinfo";
    let place = text::read(FILE)?;
    let numbers =
        place.split_once(' ').and_then(|(at, len)| Some((text::hexadecimal(at)?, text::hexadecimal(len)?)));
    let (at, len) = numbers
        .filter(|(_, len)| (1..=NOTE_MAX).contains(len))
        .ok_or_else(|| failure(format!("{FILE}: {place:?} is no address and length")))?;
    let reading = || format!("reading vmcoreinfo at {at:#x} from /dev/mem");
    // read, not mmap: a kernel with PAT and without STRICT_DEVMEM refuses to map its own RAM.
    let mut note = vec![0; len as usize];
    File::open("/dev/mem").and_then(|memory| memory.read_exact_at(&mut note, at)).while_doing(reading)?;
    Ok(note)
}

/// Loads B.
///
/// # Errors
/// If B does not fit its region; ENOMEM and others of kexec_load(2). Nothing was frozen and nothing has changed then.
pub fn preload(kernel: &Bulk, initrd: &Bulk, region: Region, cmdline: &str) -> Result<Answer, Failure> {
    // A's own flush, for disks that B has no driver for.
    disks::sync()?;
    let (kernel, initrd) = (files::read_bulk(kernel)?, files::read_bulk(initrd)?);
    let kernel = BzImage::parse(&kernel).map_err(|text| failure(format!("the saver's kernel: {text}")))?;
    let plan = Plan::new(&kernel, initrd.len() as u64, region).ok_or_else(|| {
        let (start, len) = (region.start, region.len);
        failure(format!("the saver does not fit its region of {len:#x} bytes at {start:#x} (below 4 GiB)"))
    })?;
    let (own, firmware) = (identity::own_ram()?, identity::firmware_map()?);
    let to_save = memory_to_save(&own, region);
    let note = vmcoreinfo()?;
    let memory = memory_for_saver(&firmware, region, plan.parameters);
    let parameters = parameters(&plan, &kernel, initrd.len(), cmdline, &to_save, &note, &memory)?;

    let low_end = own.iter().map(|range| range.end).filter(|end| *end <= LOW_END).max().unwrap_or(LOW_START);
    let mut segments = vec![
        Segment { bytes: &[], physical: LOW_START, len: low_end / PAGE * PAGE - LOW_START },
        Segment { bytes: kernel.kernel, physical: plan.kernel, len: plan.kernel_len },
        Segment { bytes: &initrd, physical: plan.initrd, len: (initrd.len() as u64).next_multiple_of(PAGE) },
        Segment { bytes: &parameters, physical: plan.parameters, len: plan.region_end - plan.parameters },
    ];
    if !is_reserved(&own, region) {
        fill_gaps(&mut segments, region);
    }
    segments.retain(|segment| segment.len > 0);
    let swapped = segments.iter().map(|segment| segment.len).sum();
    room::check(swapped)?;
    syscalls::load_preserving(plan.parameters + STUB_AT, &segments)
        .while_doing(|| format!("loading the saver ({} KiB are exchanged)", swapped / 1024))?;
    Ok(Answer::Preloaded {
        segments: u32::try_from(segments.len()).unwrap_or(u32::MAX),
        vmcore_bytes: to_save.iter().map(|range| range.end - range.start).sum(),
        swapped_bytes: swapped,
    })
}

/// Adds empty segments so that the whole region is exchanged.
fn fill_gaps(segments: &mut Vec<Segment<'_>>, region: Region) {
    let mut taken: Vec<(u64, u64)> = segments
        .iter()
        .filter(|segment| segment.physical >= region.start)
        .map(|segment| (segment.physical, segment.physical + segment.len))
        .collect();
    taken.sort_unstable();
    let mut at = region.start;
    for (start, end) in taken {
        segments.push(Segment { bytes: &[], physical: at, len: start.saturating_sub(at) });
        at = end;
    }
}

/// The end of the region.
fn parameters(
    plan: &Plan,
    kernel: &BzImage<'_>,
    initrd_len: usize,
    cmdline: &str,
    to_save: &[MemoryRange],
    note: &[u8],
    memory: &[MemoryRange],
) -> Result<Vec<u8>, Failure> {
    let core_header_kib = (plan.parameters + CORE_HEADER_AT) / 1024;
    let cmdline = format!("{cmdline} elfcorehdr={core_header_kib}K kexec_jump_back_entry=0x{PLACEHOLDER}");
    if cmdline.len() > CMDLINE_MAX {
        return Err(failure(format!(
            "the saver's command line has {} bytes, {CMDLINE_MAX} fit",
            cmdline.len()
        )));
    }
    // Below 4 GiB: `Plan` made sure of it.
    let low = |address: u64| u32::try_from(address).map_err(|_| failure("the saver's region is above 4 GiB"));
    let boot_params = BootParams {
        kernel: *kernel,
        ramdisk: (low(plan.initrd)?, low(initrd_len as u64)?),
        cmdline: low(plan.parameters + CMDLINE_AT)?,
        rsdp: boot_params::own_rsdp(),
        memory,
    };
    let stub = stub::code(Fields {
        placeholder: plan.parameters + CMDLINE_AT + (cmdline.len() - PLACEHOLDER.len()) as u64,
        boot_params: plan.parameters,
        entry: plan.kernel + ENTRY_64,
    });
    let note_at = plan.parameters + NOTE_AT;
    let note_range =
        MemoryRange { start: note_at, end: note_at + note.len() as u64, kind: MemoryKind::Reserved };
    let core_header = elf::core_header(note_range, to_save);
    let mut bytes = vec![0; PARAMETERS_LEN as usize];
    let pieces = [
        (0, boot_params.encode().map_err(failure)?),
        (CMDLINE_AT, cmdline.into_bytes()),
        (STUB_AT, stub),
        (CORE_HEADER_AT, core_header),
        (NOTE_AT, note.to_vec()),
    ];
    let ends = [CMDLINE_AT, STUB_AT, CORE_HEADER_AT, NOTE_AT, PARAMETERS_LEN];
    for ((at, piece), end) in pieces.iter().zip(ends) {
        let at = *at as usize;
        if at + piece.len() > end as usize {
            return Err(failure(format!("{} bytes of parameters do not fit at {at:#x}", piece.len())));
        }
        bytes[at..at + piece.len()].copy_from_slice(piece);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGION: Region = layout::SAVER_REGION;

    fn range(start: u64, end: u64, kind: MemoryKind) -> MemoryRange {
        MemoryRange { start, end, kind }
    }

    fn pc() -> Vec<MemoryRange> {
        vec![
            range(0, 0x9_fc00, MemoryKind::Ram),
            range(0xf_0000, 0x10_0000, MemoryKind::Reserved),
            range(0x10_0000, 0xffd_d000, MemoryKind::Ram),
            range(0xffd_d000, 0x1000_0000, MemoryKind::Reserved),
        ]
    }

    #[test]
    fn the_saver_sees_as_memory_of_its_own_what_is_not_the_primarys() {
        let map = memory_for_saver(&pc(), REGION, 0xbff_0000);
        let expected = vec![
            range(0, 0x9_fc00, MemoryKind::Ram),
            range(0xf_0000, 0x10_0000, MemoryKind::Reserved),
            range(0x10_0000, 0x800_0000, MemoryKind::AcpiData),
            range(0x800_0000, 0xbff_0000, MemoryKind::Ram),
            range(0xbff_0000, 0xc00_0000, MemoryKind::Reserved),
            range(0xc00_0000, 0xffd_d000, MemoryKind::AcpiData),
            range(0xffd_d000, 0x1000_0000, MemoryKind::Reserved),
        ];
        assert_eq!(map, expected);
    }

    #[test]
    fn low_memory_and_the_region_are_not_saved() {
        let own = [range(0x1000, 0x9_f000, MemoryKind::Ram), range(0x10_0000, 0xffd_d000, MemoryKind::Ram)];
        let saved = memory_to_save(&own, REGION);
        let expected =
            [range(0x10_0000, 0x800_0000, MemoryKind::Ram), range(0xc00_0000, 0xffd_d000, MemoryKind::Ram)];
        assert_eq!(saved, expected);
        assert!(!is_reserved(&own, REGION));
        assert!(is_reserved(&saved, REGION));
    }

    #[test]
    fn gaps_are_filled_without_overlap() {
        let segment = |physical, len| Segment { bytes: &[], physical, len };
        let mut segments =
            vec![segment(0x1000, 0x9e000), segment(0x800_0000, 0x100_0000), segment(0xbf0_0000, 0x10_0000)];
        fill_gaps(&mut segments, REGION);
        segments.retain(|segment| segment.len > 0);
        let mut ranges: Vec<_> = segments.iter().map(|s| (s.physical, s.physical + s.len)).collect();
        ranges.sort_unstable();
        let expected = [
            (0x1000, 0x9_f000),
            (0x800_0000, 0x900_0000),
            (0x900_0000, 0xbf0_0000),
            (0xbf0_0000, 0xc00_0000),
        ];
        assert_eq!(ranges, expected);
    }
}
