//! Entry by the PVH boot protocol: the uncompressed kernel, at the address its note names, in protected mode without paging
//! (xen/docs/misc/pvh.pandoc; xen/include/public/arch-x86/hvm/start_info.h).

use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use vm_memory::ByteValued;

use super::assemble::assemble;
use super::elf::{Elf, Elf64};
use super::entry::protected_mode;
use super::{Boot, BootError, Payload, command_line, initrd};
use crate::blob::Blob;
use crate::layout;
use crate::registers::gpr;
use crate::tables::Tables;

/// `XEN_HVM_START_MAGIC_VALUE`.
const MAGIC: u32 = 0x336e_c578;
/// The first version with a memory map.
const VERSION: u32 = 1;
const NOTE_OWNER: &[u8] = b"Xen";
/// `XEN_ELFNOTE_PHYS32_ENTRY`.
const NOTE_ENTRY: u32 = 18;

/// Loads an ELF vmlinux and enters it by its PVH note.
///
/// # Errors
/// If the file is not such a kernel, or not all of it fits into RAM.
pub fn pvh<'a>(tables: &'a Tables, payload: &Payload<'a>) -> Result<Boot<'a>, BootError> {
    if payload.kernel.get(0x202..0x206) == Some(b"HdrS") {
        return Err(BootError::NotUnpacked);
    }
    let elf = Elf::<Elf64>::parse(payload.kernel)?;
    let note = elf.note(NOTE_OWNER, NOTE_ENTRY)?.ok_or(BootError::NoPvhEntry)?;
    let room = tables.map.kernel_room();
    let kernel = elf.blobs(&room)?;
    let entry = entry(note)?;
    if !kernel.iter().any(|blob| blob.range().contains(&entry)) {
        return Err(BootError::Entry(entry));
    }
    let kernel_end = kernel.iter().map(|blob| blob.range().end).max().unwrap_or_default();
    let initrd =
        payload.initrd.map(|bytes| initrd::blob(bytes, room, kernel_end, initrd::LINUX_LIMIT)).transpose()?;

    let mut blobs = kernel;
    blobs.push(start_info(tables, initrd.as_ref()));
    blobs.push(command_line::blob(payload.command_line, command_line::LINUX_MOST)?);
    blobs.extend(initrd);
    let mut registers = protected_mode(entry);
    registers.gprs[gpr::RBX] = layout::PVH_INFO;
    assemble(tables, blobs, registers)
}

/// The entry is 4 or 8 bytes wide, little-endian, below 4 GiB.
fn entry(note: &[u8]) -> Result<u64, BootError> {
    if let Ok(bytes) = <[u8; 4]>::try_from(note) {
        return Ok(u64::from(u32::from_le_bytes(bytes)));
    }
    let wide = <[u8; 8]>::try_from(note).map(u64::from_le_bytes).ok();
    wide.filter(|entry| u32::try_from(*entry).is_ok())
        .ok_or(BootError::Damaged("its PVH note does not hold a 32-bit address"))
}

/// `hvm_start_info`, and what it points to, right behind it.
fn start_info(tables: &Tables, initrd: Option<&Blob<'_>>) -> Blob<'static> {
    let memory_map = tables.map.hvm();
    let modules = layout::PVH_INFO + size_of::<hvm_start_info>() as u64;
    let memory_map_at = modules + size_of::<hvm_modlist_entry>() as u64;
    let module = initrd.map(|initrd| hvm_modlist_entry {
        paddr: initrd.address,
        size: initrd.bytes.len() as u64,
        cmdline_paddr: 0,
        reserved: 0,
    });
    let info = hvm_start_info {
        magic: MAGIC,
        version: VERSION,
        flags: 0,
        nr_modules: u32::from(module.is_some()),
        modlist_paddr: if module.is_some() { modules } else { 0 },
        cmdline_paddr: layout::COMMAND_LINE,
        rsdp_paddr: layout::RSDP,
        memmap_paddr: memory_map_at,
        memmap_entries: memory_map.len() as u32,
        reserved: 0,
    };
    let mut bytes = info.as_slice().to_vec();
    bytes.extend_from_slice(module.unwrap_or_default().as_slice());
    bytes.extend(memory_map.iter().flat_map(<hvm_memmap_table_entry as ByteValued>::as_slice));
    Blob::new("the PVH start info", layout::PVH_INFO, bytes)
}

#[cfg(test)]
mod tests;
