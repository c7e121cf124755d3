//! Where firmware puts what it leaves in memory: the first mebibyte. None of it depends on the size of RAM or on the kernel.

use std::ops::Range;

/// Bytes in a page.
pub const PAGE: u64 = 4096;

/// The global descriptor table that a kernel is entered with.
pub const GDT: u64 = 0x0500;
/// `hvm_start_info`, its module list and its memory map (PVH entry).
pub const PVH_INFO: u64 = 0x1000;
/// The information structure of Multiboot and what it points to.
pub const MULTIBOOT_INFO: u64 = 0x1000;
/// `boot_params`, the zero page (bzImage entry).
pub const BOOT_PARAMS: u64 = 0x2000;
/// Page tables that map the first 4 GiB one to one (bzImage entry).
pub const PAGE_TABLES: u64 = 0x3000;
/// The command line.
pub const COMMAND_LINE: u64 = 0x1_0000;
/// Where usable memory ends, and what belongs to firmware begins.
pub const LOW_END: u64 = 0xa_0000;
/// The RSDP: the first place where a kernel scans for it (ACPI 6.5, 5.2.5.1).
pub const RSDP: u64 = 0xe_0000;
/// ACPI tables other than RSDP and FACS.
pub const TABLES: Range<u64> = 0xe_0040..FACS;
/// The FACS, in a page of its own so that the memory map can call it NVS. Writable, as it holds the waking vector.
pub const FACS: u64 = 0xe_f000;
/// The SMBIOS 3 entry point (SMBIOS 3.2.0, 5.2.2), with its structures behind it.
pub const SMBIOS: Range<u64> = 0xf_0000..0xf_8000;
/// Where memory goes on, and kernels may be.
pub const HIGH_START: u64 = 0x10_0000;

/// The most processors that tables are written for.
pub const PROCESSORS_MAX: u32 = 512;
