//! Entry by Multiboot 1 (specification 0.6.96): bare-metal test guests, which are no kernels of anybody.

use super::assemble::assemble;
use super::elf::{Elf, Elf32};
use super::entry::protected_mode;
use super::{Boot, BootError, Payload, command_line, initrd};
use crate::blob::Blob;
use crate::layout;
use crate::registers::gpr;
use crate::tables::Tables;

/// Where the header has to be (3.1.1).
const HEADER_WITHIN: usize = 8192;
const HEADER_MAGIC: u32 = 0x1bad_b002;
/// Flags that the loader has to understand: pages for modules, and memory information.
const UNDERSTOOD: u32 = 0b11;
const REQUIRED: u32 = 0xffff;
/// Addresses in the header instead of ELF.
const ADDRESSES: u32 = 1 << 16;
/// What EAX has for the guest.
const BOOTED_MAGIC: u64 = 0x2bad_b002;

/// Which parts of the information structure are valid (3.3).
mod info {
    pub const MEMORY: u32 = 1 << 0;
    pub const COMMAND_LINE: u32 = 1 << 2;
    pub const MODULES: u32 = 1 << 3;
    pub const MEMORY_MAP: u32 = 1 << 6;
    pub const LOADER_NAME: u32 = 1 << 9;
    /// Its bytes, up to and including the loader's name.
    pub const LEN: u64 = 68;
}

const LOADER_NAME: &[u8; 5] = b"kjvm\0";
const MODULE_LEN: u64 = 16;
/// How a little-endian one of 32 bits begins.
const ELF32: &[u8] = b"\x7fELF\x01\x01";
/// The protocol has no limit; the place of the command line has one.
const COMMAND_LINE_MOST: usize = usize::MAX;

/// Loads a 32-bit ELF file and enters it in protected mode; what `payload` calls initrd is its one module.
///
/// # Errors
/// If the file is not such a guest, or not all of it fits into RAM.
pub fn multiboot<'a>(tables: &'a Tables, payload: &Payload<'a>) -> Result<Boot<'a>, BootError> {
    if !payload.kernel.starts_with(ELF32) {
        return Err(BootError::NotMultiboot(
            "it is no 32-bit ELF file (objcopy -O elf32-i386 makes one of 64 bits)",
        ));
    }
    let elf = Elf::<Elf32>::parse(payload.kernel)?;
    check_header(payload.kernel)?;
    let room = tables.map.kernel_room();
    // A guest that begins in real mode wants to be low.
    let guest = elf.blobs(&(0..room.end))?;
    let reserved = |blob: &&Blob<'_>| {
        let range = blob.range();
        range.start < layout::HIGH_START && range.end > layout::LOW_END
    };
    if let Some(blob) = guest.iter().find(reserved) {
        return Err(BootError::KernelRoom { needs: blob.range(), room });
    }
    let entry = elf.entry();
    if !guest.iter().any(|blob| blob.range().contains(&entry)) {
        return Err(BootError::Entry(entry));
    }
    let guest_end = guest.iter().map(|blob| blob.range().end).max().unwrap_or_default();
    let limit = room.end;
    let module = payload.initrd.map(|bytes| initrd::blob(bytes, room, guest_end, limit)).transpose()?;

    let mut blobs = guest;
    blobs.push(information(tables, module.as_ref()));
    blobs.push(command_line::blob(payload.command_line, COMMAND_LINE_MOST)?);
    blobs.extend(module);
    let mut registers = protected_mode(entry);
    registers.gprs[gpr::RAX] = BOOTED_MAGIC;
    registers.gprs[gpr::RBX] = layout::MULTIBOOT_INFO;
    assemble(tables, blobs, registers)
}

fn check_header(file: &[u8]) -> Result<(), BootError> {
    let start = file.get(..HEADER_WITHIN).unwrap_or(file);
    let (words, _) = start.as_chunks::<4>();
    let header = words.windows(3).find_map(|words| {
        let [magic, flags, checksum] = words else { return None };
        let [magic, flags, checksum] = [magic, flags, checksum].map(|word| u32::from_le_bytes(*word));
        let sum = magic.wrapping_add(flags).wrapping_add(checksum);
        (magic == HEADER_MAGIC && sum == 0).then_some(flags)
    });
    let flags = header.ok_or(BootError::NotMultiboot("there is no header in its first 8 KiB"))?;
    if flags & REQUIRED & !UNDERSTOOD != 0 {
        return Err(BootError::NotMultiboot("its header requires what is not offered, such as a video mode"));
    }
    if flags & ADDRESSES != 0 {
        return Err(BootError::NotMultiboot(
            "its header has addresses of its own instead of those of the ELF file",
        ));
    }
    Ok(())
}

/// The information structure; behind it the module, the loader's name and the memory map.
fn information(tables: &Tables, module: Option<&Blob<'_>>) -> Blob<'static> {
    let module_at = layout::MULTIBOOT_INFO + info::LEN;
    let name_at = module_at + MODULE_LEN;
    let map_at = (name_at + LOADER_NAME.len() as u64).next_multiple_of(4);
    let mut map = Vec::new();
    for entry in tables.map.entries() {
        // The size does not count itself.
        map.extend(20u32.to_le_bytes());
        map.extend(entry.start.to_le_bytes());
        map.extend(entry.len.to_le_bytes());
        map.extend((entry.kind as u32).to_le_bytes());
    }
    let valid = info::MEMORY | info::COMMAND_LINE | info::MEMORY_MAP | info::LOADER_NAME;
    let room = tables.map.kernel_room();
    let words: [u64; (info::LEN / 4) as usize] = [
        u64::from(valid | if module.is_some() { info::MODULES } else { 0 }),
        layout::LOW_END >> 10,
        (room.end - room.start) >> 10,
        0,
        layout::COMMAND_LINE,
        u64::from(module.is_some()),
        if module.is_some() { module_at } else { 0 },
        0,
        0,
        0,
        0,
        map.len() as u64,
        map_at,
        0,
        0,
        0,
        name_at,
    ];
    let range = module.map(Blob::range).unwrap_or_default();
    let module = [range.start, range.end, 0, 0];
    // All of this is below 4 GiB.
    let mut bytes: Vec<u8> =
        words.iter().chain(&module).flat_map(|word| (*word as u32).to_le_bytes()).collect();
    bytes.extend(LOADER_NAME);
    bytes.resize((map_at - layout::MULTIBOOT_INFO) as usize, 0);
    bytes.extend(map);
    Blob::new("the Multiboot information", layout::MULTIBOOT_INFO, bytes)
}

#[cfg(test)]
mod tests;
