//! Executables in ELF format: what of them is loaded where, and their notes.

use std::ops::Range;

use object::LittleEndian;
use object::elf::{
    ELFCLASS32, ELFCLASS64, ELFDATA2LSB, EM_386, EM_X86_64, FileHeader32, FileHeader64, NoteType, PT_LOAD,
    PT_NOTE,
};
use object::read::elf::{FileHeader, ProgramHeader};

use super::BootError;
use crate::blob::Blob;

/// One of the two formats of executables.
pub trait Format: FileHeader<Endian = LittleEndian> {
    /// `EI_CLASS`.
    const CLASS: u8;
    /// `e_machine`.
    const MACHINE: u16;
}

/// Kernels for x86-64.
pub type Elf64 = FileHeader64<LittleEndian>;
/// Kernels entered by Multiboot; what they do later may have 64 bits all the same.
pub type Elf32 = FileHeader32<LittleEndian>;

impl Format for Elf64 {
    const CLASS: u8 = ELFCLASS64.0;
    const MACHINE: u16 = EM_X86_64.0;
}

impl Format for Elf32 {
    const CLASS: u8 = ELFCLASS32.0;
    const MACHINE: u16 = EM_386.0;
}

/// An executable, its headers checked to be there.
pub struct Elf<'a, F: Format> {
    bytes: &'a [u8],
    header: &'a F,
    segments: &'a [F::ProgramHeader],
}

impl<'a, F: Format> Elf<'a, F> {
    /// Takes the contents of a file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BootError> {
        identify::<F>(bytes)?;
        let truncated = |part, needed| BootError::Truncated { part, needed, found: bytes.len() as u64 };
        let header = F::parse(bytes).map_err(|_| truncated("its ELF header", size_of::<F>() as u64))?;
        let machine = header.e_machine(LittleEndian).0;
        if machine != F::MACHINE {
            return Err(BootError::Architecture(machine_name(machine)));
        }
        let count = u64::from(header.e_phnum(LittleEndian));
        let end =
            header.e_phoff(LittleEndian).into().checked_add(count * size_of::<F::ProgramHeader>() as u64);
        let end = end.ok_or(BootError::Damaged("its program headers are beyond any file"))?;
        if end > bytes.len() as u64 {
            return Err(truncated("its table of program headers", end));
        }
        let segments = header
            .program_headers(LittleEndian, bytes)
            .map_err(|_| BootError::Damaged("its program headers make no sense"))?;
        Ok(Self { bytes, header, segments })
    }

    /// `e_entry`.
    pub fn entry(&self) -> u64 {
        self.header.e_entry(LittleEndian).into()
    }

    /// What is loaded, at physical addresses, by ascending address; nothing overlaps, and all of it lies in `room`.
    pub fn blobs(&self, room: &Range<u64>) -> Result<Vec<Blob<'a>>, BootError> {
        let mut blobs = Vec::new();
        for segment in self.segments.iter().filter(|segment| segment.p_type(LittleEndian) == PT_LOAD) {
            let (in_file, in_memory): (u64, u64) =
                (segment.p_filesz(LittleEndian).into(), segment.p_memsz(LittleEndian).into());
            if in_memory == 0 {
                continue;
            }
            let zeroes: u64 = in_memory
                .checked_sub(in_file)
                .ok_or(BootError::Damaged("a segment is larger in the file than in memory"))?;
            let address: u64 = segment.p_paddr(LittleEndian).into();
            let end = address
                .checked_add(in_memory)
                .ok_or(BootError::Damaged("a segment ends beyond any address"))?;
            if address < room.start || end > room.end {
                return Err(BootError::KernelRoom { needs: address..end, room: room.clone() });
            }
            let bytes = self.contents(segment, "a segment")?;
            blobs.push(Blob { zeroes, ..Blob::new("the kernel", address, bytes) });
        }
        blobs.sort_by_key(|blob| blob.address);
        if blobs.is_empty() {
            return Err(BootError::Damaged("it has no segment to load"));
        }
        Ok(blobs)
    }

    /// The descriptor of a note.
    pub fn note(&self, owner: &[u8], kind: u32) -> Result<Option<&'a [u8]>, BootError> {
        const DAMAGED: BootError = BootError::Damaged("its notes make no sense");
        for segment in self.segments.iter().filter(|segment| segment.p_type(LittleEndian) == PT_NOTE) {
            self.contents(segment, "its notes")?;
            let Some(mut notes) = segment.notes(LittleEndian, self.bytes).map_err(|_| DAMAGED)? else {
                continue;
            };
            while let Some(note) = notes.next().map_err(|_| DAMAGED)? {
                if note.name() == owner && note.n_type(LittleEndian) == NoteType(kind) {
                    return Ok(Some(note.desc()));
                }
            }
        }
        Ok(None)
    }

    fn contents(&self, segment: &F::ProgramHeader, part: &'static str) -> Result<&'a [u8], BootError> {
        let (offset, len): (u64, u64) =
            (segment.p_offset(LittleEndian).into(), segment.p_filesz(LittleEndian).into());
        let end = offset.checked_add(len).ok_or(BootError::Damaged("a segment is beyond any file"))?;
        let truncated = BootError::Truncated { part, needed: end, found: self.bytes.len() as u64 };
        let (Ok(start), Ok(stop)) = (usize::try_from(offset), usize::try_from(end)) else {
            return Err(truncated);
        };
        self.bytes.get(start..stop).ok_or(truncated)
    }
}

/// Names what is no ELF file of the format.
fn identify<F: Format>(bytes: &[u8]) -> Result<(), BootError> {
    if bytes.is_empty() {
        return Err(BootError::NotAKernel("an empty file"));
    }
    if !bytes.starts_with(b"\x7fELF") {
        return Err(BootError::NotAKernel("no executable in ELF format"));
    }
    let &[_, _, _, _, class, data, ..] = bytes else {
        return Err(BootError::Truncated {
            part: "its ELF header",
            needed: size_of::<F>() as u64,
            found: bytes.len() as u64,
        });
    };
    if class != F::CLASS {
        return Err(BootError::Architecture("a 32-bit processor".into()));
    }
    if data != ELFDATA2LSB.0 {
        return Err(BootError::Architecture("a big-endian processor".into()));
    }
    Ok(())
}

fn machine_name(machine: u16) -> String {
    match machine {
        3 => "32-bit x86".into(),
        21 => "64-bit PowerPC".into(),
        22 => "S/390".into(),
        40 => "32-bit ARM".into(),
        183 => "arm64".into(),
        243 => "RISC-V".into(),
        258 => "LoongArch".into(),
        _ => format!("a processor that ELF numbers {machine}"),
    }
}
