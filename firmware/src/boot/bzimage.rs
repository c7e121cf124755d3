//! Entry by the 64-bit Linux boot protocol: the bzImage as it is, which unpacks itself (Documentation/arch/x86/boot.rst).
//!
//! It costs the guest more instructions than the rest of its boot, and is the only way to a kernel that places itself at random.

use linux_loader::loader::bootparam::boot_params;
use vm_memory::ByteValued;

use super::assemble::assemble;
use super::entry::{long_mode, tables as entry_tables};
use super::setup_header::SetupHeader;
use super::{Boot, BootError, Payload, command_line, initrd};
use crate::blob::Blob;
use crate::layout;
use crate::registers::gpr;
use crate::tables::Tables;

/// Where the 64-bit entry is in what is loaded.
pub const ENTRY_64: u64 = 0x200;
/// `type_of_loader` of one without a number of its own.
const LOADER_UNDEFINED: u8 = 0xff;

/// Loads a bzImage where it prefers to be, and enters it in 64-bit mode.
///
/// # Errors
/// If the file is not such a kernel, or not all of it fits into RAM.
pub fn bzimage<'a>(tables: &'a Tables, payload: &Payload<'a>) -> Result<Boot<'a>, BootError> {
    let header = SetupHeader::parse(payload.kernel)?;
    let room = tables.map.kernel_room();
    let start = header.load_address;
    let end = start.checked_add(header.init_size);
    let end = end.ok_or(BootError::Damaged("it wants to be beyond any address"))?;
    if start < room.start || end > room.end {
        return Err(BootError::KernelRoom { needs: start..end, room });
    }
    // Not counted as zeroes are the bytes up to init_size: the kernel clears what it uses of them.
    let kernel = Blob::new("the kernel", start, header.protected_mode);
    let initrd =
        payload.initrd.map(|bytes| initrd::blob(bytes, room, end, header.initrd_limit)).transpose()?;
    let command_line = command_line::blob(payload.command_line, header.command_line_most)?;

    let mut blobs = vec![kernel, command_line, zero_page(tables, &header, initrd.as_ref())?];
    blobs.extend(entry_tables());
    blobs.extend(initrd);
    let mut registers = long_mode(start + ENTRY_64);
    registers.gprs[gpr::RSI] = layout::BOOT_PARAMS;
    assemble(tables, blobs, registers)
}

/// `boot_params`: the setup header as it came, and what the loader has to say.
fn zero_page(
    tables: &Tables,
    header: &SetupHeader<'_>,
    initrd: Option<&Blob<'_>>,
) -> Result<Blob<'static>, BootError> {
    let mut params = boot_params { hdr: header.fields, acpi_rsdp_addr: layout::RSDP, ..Default::default() };
    params.hdr.type_of_loader = LOADER_UNDEFINED;
    params.hdr.cmd_line_ptr = layout::COMMAND_LINE as u32;
    // Addresses and sizes below 4 GiB, as the room for kernels is.
    let low = |value: u64| u32::try_from(value).map_err(|_| BootError::Damaged("it is placed above 4 GiB"));
    params.hdr.code32_start = low(header.load_address)?;
    if let Some(initrd) = initrd {
        params.hdr.ramdisk_image = low(initrd.address)?;
        params.hdr.ramdisk_size = low(initrd.bytes.len() as u64)?;
    }
    let map = tables.map.e820();
    params.e820_entries = map.len() as u8;
    let mut table = params.e820_table;
    for (slot, entry) in table.iter_mut().zip(map) {
        *slot = entry;
    }
    params.e820_table = table;
    Ok(Blob::new("the zero page", layout::BOOT_PARAMS, params.as_slice().to_vec()))
}

#[cfg(test)]
mod tests;
