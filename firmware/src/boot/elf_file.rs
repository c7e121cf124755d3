//! Makes ELF files for tests: what a linker would write, from a few segments and notes.

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;
const READ_WRITE_EXECUTE: u32 = 7;

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
    let mut file = identification(2, EM_X86_64);
    file.extend(0u64.to_le_bytes()); // e_entry
    file.extend((HEADER as u64).to_le_bytes()); // e_phoff
    file.extend([0; 8 + 4]); // e_shoff, e_flags
    sizes(&mut file, [HEADER, PROGRAM_HEADER, count]);
    let mut at = (HEADER + count * PROGRAM_HEADER) as u64;
    let mut program_header = |kind: u32, address: u64, len: u64, zeroes: u64| {
        file.extend(kind.to_le_bytes());
        file.extend(READ_WRITE_EXECUTE.to_le_bytes());
        for field in [at, address, address, len, len + zeroes, 4] {
            file.extend(field.to_le_bytes());
        }
        at += len;
    };
    program_header(PT_NOTE, 0, notes.len() as u64, 0);
    for segment in segments {
        program_header(PT_LOAD, segment.address, segment.bytes.len() as u64, segment.zeroes);
    }
    file.extend(notes);
    file.extend(segments.iter().flat_map(|segment| &segment.bytes));
    file
}

/// The same for 32 bits, without notes.
pub fn elf32(segments: &[Segment], entry: u64) -> Vec<u8> {
    const HEADER: usize = 52;
    const PROGRAM_HEADER: usize = 32;
    let mut file = identification(1, EM_386);
    file.extend((entry as u32).to_le_bytes());
    file.extend((HEADER as u32).to_le_bytes()); // e_phoff
    file.extend([0; 4 + 4]); // e_shoff, e_flags
    sizes(&mut file, [HEADER, PROGRAM_HEADER, segments.len()]);
    let mut at = (HEADER + segments.len() * PROGRAM_HEADER) as u64;
    for Segment { address, bytes, zeroes } in segments {
        let len = bytes.len() as u64;
        for field in [PT_LOAD.into(), at, *address, *address, len, len + zeroes, READ_WRITE_EXECUTE.into(), 4]
        {
            file.extend((field as u32).to_le_bytes());
        }
        at += len;
    }
    file.extend(segments.iter().flat_map(|segment| &segment.bytes));
    file
}

fn identification(class: u8, machine: u16) -> Vec<u8> {
    let mut file = b"\x7fELF".to_vec();
    file.extend([class, 1, 1]); // little-endian, version 1
    file.resize(16, 0);
    file.extend(2u16.to_le_bytes()); // ET_EXEC
    file.extend(machine.to_le_bytes());
    file.extend(1u32.to_le_bytes()); // e_version
    file
}

/// The last fields of a header; there are no sections.
fn sizes(file: &mut Vec<u8>, sizes: [usize; 3]) {
    file.extend(sizes.into_iter().chain([0, 0, 0]).flat_map(|half| (half as u16).to_le_bytes()));
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
