//! ELF core headers: the one A makes for B, and the one B's kernel shows in /proc/vmcore.

use agent_protocol::layout::MemoryRange;

const EHDR: usize = 64;
const PHDR: usize = 56;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// `PAGE_OFFSET` without KASLR. B does not use it; tools that look at the core do.
const DIRECT_MAP: u64 = 0xffff_8880_0000_0000;

/// A range of memory in a core file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Physical address.
    pub physical: u64,
    /// Length.
    pub len: u64,
    /// Where it stands in the file.
    pub offset: u64,
}

/// A core header: one PT_NOTE, then a PT_LOAD for each range.
///
/// The kernel that reads it (`parse_crash_elf64_headers`) wants file offsets to be physical addresses and at least one valid note.
pub fn core_header(notes: MemoryRange, loads: &[MemoryRange]) -> Vec<u8> {
    let mut header = Vec::with_capacity(EHDR + PHDR * (loads.len() + 1));
    header.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let half = |header: &mut Vec<u8>, value: u16| header.extend_from_slice(&value.to_le_bytes());
    half(&mut header, 4); // ET_CORE
    half(&mut header, 62); // EM_X86_64
    header.extend_from_slice(&1u32.to_le_bytes());
    header.extend_from_slice(&0u64.to_le_bytes()); // no entry
    header.extend_from_slice(&(EHDR as u64).to_le_bytes());
    header.extend_from_slice(&0u64.to_le_bytes()); // no sections
    header.extend_from_slice(&0u32.to_le_bytes());
    half(&mut header, EHDR as u16);
    half(&mut header, PHDR as u16);
    half(&mut header, u16::try_from(loads.len() + 1).unwrap_or(u16::MAX));
    header.extend_from_slice(&[0; 6]);
    let mut program = |kind: u32, flags: u32, range: &MemoryRange, virtual_address: u64| {
        let len = range.end.saturating_sub(range.start);
        header.extend_from_slice(&kind.to_le_bytes());
        header.extend_from_slice(&flags.to_le_bytes());
        for value in [range.start, virtual_address, range.start, len, len, 0] {
            header.extend_from_slice(&value.to_le_bytes());
        }
    };
    program(PT_NOTE, 0, &notes, 0);
    for range in loads {
        program(PT_LOAD, 7, range, DIRECT_MAP.saturating_add(range.start));
    }
    header
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The program headers of the core file that begins with `start`, as (type, header).
fn programs(start: &[u8]) -> Option<Vec<(u32, Load)>> {
    if !start.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let first = usize::try_from(u64_at(start, 32)?).ok()?;
    let count = usize::from(u16_at(start, 56)?);
    (0..count)
        .map(|number| {
            let at = first.checked_add(number * PHDR)?;
            let (offset, physical, len) =
                (u64_at(start, at + 8)?, u64_at(start, at + 24)?, u64_at(start, at + 40)?);
            Some((u32_at(start, at)?, Load { physical, len, offset }))
        })
        .collect()
}

/// The ranges of memory of a core file, given its first bytes.
///
/// # Errors
/// If it is none, or has a range that is not made of whole pages.
pub fn loads(start: &[u8]) -> Result<Vec<Load>, &'static str> {
    let programs = programs(start).ok_or("not an ELF core file")?;
    let loads: Vec<Load> = programs
        .into_iter()
        .filter(|(kind, load)| *kind == PT_LOAD && load.len > 0)
        .map(|(_, load)| load)
        .collect();
    let aligned = |value: u64| value.is_multiple_of(4096);
    if loads.is_empty() {
        Err("no memory in it")
    } else if loads.iter().any(|load| !(aligned(load.physical) && aligned(load.len) && aligned(load.offset)))
    {
        Err("a range that is not made of whole pages")
    } else {
        Ok(loads)
    }
}

/// Where the notes of a core file stand, given its first bytes.
pub fn notes(start: &[u8]) -> Option<u64> {
    programs(start)?.into_iter().find(|(kind, _)| *kind == PT_NOTE).map(|(_, load)| load.offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_protocol::layout::MemoryKind;

    fn ram(start: u64, end: u64) -> MemoryRange {
        MemoryRange { start, end, kind: MemoryKind::Ram }
    }

    #[test]
    fn what_is_made_is_read() {
        let header = core_header(
            ram(0xbff_4000, 0xbff_5000),
            &[ram(0x10_0000, 0x800_0000), ram(0xc00_0000, 0xffd_d000)],
        );
        assert_eq!(header.len(), EHDR + 3 * PHDR);
        let load = |physical, len| Load { physical, len, offset: physical };
        assert_eq!(loads(&header), Ok(vec![load(0x10_0000, 0x7f0_0000), load(0xc00_0000, 0x3fd_d000)]));
        assert_eq!(notes(&header), Some(0xbff_4000));
    }

    #[test]
    fn what_is_no_core_is_refused() {
        assert!(loads(b"").is_err());
        assert!(loads(&[0; 64]).is_err());
        let header = core_header(ram(0x1000, 0x2000), &[ram(0x10_0000, 0x10_0123)]);
        assert_eq!(loads(&header), Err("a range that is not made of whole pages"));
        assert!(loads(&header[..EHDR + PHDR]).is_err(), "truncated");
    }
}
