//! Makes ELF files for tests: what a linker would write, from a few segments and notes.

/// A program header and its contents.
#[derive(Clone)]
pub struct Segment {
    pub address: u64,
    pub bytes: Vec<u8>,
    pub zeroes: u64,
}

/// Header, program headers, notes, contents: in this order.
pub fn elf64(segments: &[Segment], notes: &[u8]) -> Vec<u8> {
    const HEADER: usize = 64;
    const PROGRAM_HEADER: usize = 56;
    let count = segments.len() + 1;
    let mut at = (HEADER + count * PROGRAM_HEADER) as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend(2u16.to_le_bytes()); // ET_EXEC
    file.extend(62u16.to_le_bytes()); // EM_X86_64
    file.extend(1u32.to_le_bytes());
    file.extend(0u64.to_le_bytes()); // e_entry
    file.extend((HEADER as u64).to_le_bytes()); // e_phoff
    file.extend(0u64.to_le_bytes()); // e_shoff
    file.extend(0u32.to_le_bytes());
    for half in [HEADER, PROGRAM_HEADER, count, 0, 0, 0] {
        file.extend((half as u16).to_le_bytes());
    }
    let mut program_header = |kind: u32, address: u64, len: u64, zeroes: u64| {
        file.extend(kind.to_le_bytes());
        file.extend(7u32.to_le_bytes());
        for field in [at, address, address, len, len + zeroes, 4] {
            file.extend(field.to_le_bytes());
        }
        at += len;
    };
    program_header(4, 0, notes.len() as u64, 0);
    for segment in segments {
        program_header(1, segment.address, segment.bytes.len() as u64, segment.zeroes);
    }
    file.extend(notes);
    for segment in segments {
        file.extend(&segment.bytes);
    }
    file
}

/// One note of the owner `Xen`.
pub fn xen_note(kind: u32, descriptor: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    for word in [4, descriptor.len() as u32, kind] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend(descriptor);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

/// A kernel that enters at its first byte.
pub fn vmlinux(address: u64, bytes: usize, zeroes: u64) -> Vec<u8> {
    let notes = [xen_note(6, b"linux\0"), xen_note(18, &address.to_le_bytes())].concat();
    elf64(&[Segment { address, bytes: vec![0xf4; bytes], zeroes }], &notes)
}
