//! `struct boot_params`, the "zero page" of the x86 boot protocol (Documentation/arch/x86/zero-page.rst), and the setup header of
//! a bzImage from which it is made.

use agent_protocol::layout::{MemoryKind, MemoryRange};

/// Bytes of the structure.
pub const LEN: usize = 4096;

const ACPI_RSDP: usize = 0x70;
const E820_COUNT: usize = 0x1e8;
const SETUP_HEADER: usize = 0x1f1;
const VID_MODE: usize = 0x1fa;
const HEADER_END: usize = 0x201;
const MAGIC: usize = 0x202;
const LOADER_TYPE: usize = 0x210;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const CMDLINE: usize = 0x228;
const KERNEL_ALIGNMENT: usize = 0x230;
const XLOADFLAGS: usize = 0x236;
const INIT_SIZE: usize = 0x260;
const E820: usize = 0x2d0;
const E820_MAX: usize = 128;

/// Offset of the 64-bit entry from the start of the protected-mode kernel.
pub const ENTRY_64: u64 = 0x200;

/// A bzImage.
#[derive(Debug, Clone, Copy)]
pub struct BzImage<'a> {
    /// The protected-mode kernel.
    pub kernel: &'a [u8],
    /// Where it must be aligned to.
    pub alignment: u64,
    /// Memory it needs from its load address on before it knows better.
    pub init_size: u64,
    setup_header: &'a [u8],
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl<'a> BzImage<'a> {
    /// Reads the setup header.
    ///
    /// # Errors
    /// If this is no 64-bit bzImage.
    pub fn parse(file: &'a [u8]) -> Result<BzImage<'a>, &'static str> {
        if file.get(MAGIC..MAGIC + 4) != Some(b"HdrS") {
            return Err("not a bzImage");
        }
        if file.get(XLOADFLAGS).is_none_or(|flags| flags & 1 == 0) {
            return Err("a kernel without a 64-bit entry");
        }
        let sectors = match file[SETUP_HEADER] {
            0 => 4,
            sectors => usize::from(sectors),
        };
        let kernel =
            file.get((sectors + 1) * 512..).filter(|kernel| !kernel.is_empty()).ok_or("truncated")?;
        // The byte before the magic is a jump whose target is the header's end.
        let end = MAGIC + usize::from(file[HEADER_END]);
        let setup_header = file.get(SETUP_HEADER..end).ok_or("truncated")?;
        let number = |at| u32_at(file, at).map(u64::from).ok_or("truncated");
        let (alignment, init_size) = (number(KERNEL_ALIGNMENT)?, number(INIT_SIZE)?);
        if !alignment.is_power_of_two() || init_size < kernel.len() as u64 {
            return Err("an impossible alignment or size");
        }
        Ok(BzImage { kernel, alignment, init_size, setup_header })
    }
}

/// What a kernel is told.
#[derive(Debug, Clone)]
pub struct BootParams<'a> {
    /// The kernel.
    pub kernel: BzImage<'a>,
    /// Physical address and length of the initramfs; below 4 GiB.
    pub ramdisk: (u32, u32),
    /// Physical address of the command line; below 4 GiB.
    pub cmdline: u32,
    /// Physical address of the RSDP, 0 if the kernel is to look for it.
    pub rsdp: u64,
    /// The machine's memory.
    pub memory: &'a [MemoryRange],
}

impl BootParams<'_> {
    /// The structure.
    ///
    /// # Errors
    /// If the memory map has too many ranges.
    pub fn encode(&self) -> Result<Vec<u8>, &'static str> {
        if self.memory.len() > E820_MAX {
            return Err("the memory map has more than 128 ranges");
        }
        let mut page = vec![0; LEN];
        let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
        put(SETUP_HEADER, self.kernel.setup_header);
        put(LOADER_TYPE, &[0xff]);
        put(VID_MODE, &0xffff_u16.to_le_bytes());
        put(RAMDISK_IMAGE, &self.ramdisk.0.to_le_bytes());
        put(RAMDISK_SIZE, &self.ramdisk.1.to_le_bytes());
        put(CMDLINE, &self.cmdline.to_le_bytes());
        put(ACPI_RSDP, &self.rsdp.to_le_bytes());
        put(E820_COUNT, &[self.memory.len() as u8]);
        for (number, range) in self.memory.iter().enumerate() {
            let kind = match range.kind {
                MemoryKind::Ram => 1u32,
                MemoryKind::Reserved => 2,
                MemoryKind::AcpiData => 3,
                MemoryKind::AcpiNvs => 4,
            };
            let at = E820 + number * 20;
            put(at, &range.start.to_le_bytes());
            put(at + 8, &range.end.saturating_sub(range.start).to_le_bytes());
            put(at + 16, &kind.to_le_bytes());
        }
        Ok(page)
    }
}

/// The RSDP address this kernel was told, from its own zero page; 0 if it found the RSDP itself.
pub fn own_rsdp() -> u64 {
    let page = std::fs::read("/sys/kernel/boot_params/data").unwrap_or_default();
    page.get(ACPI_RSDP..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bzimage() -> Vec<u8> {
        let mut file = vec![0; 4096];
        file[SETUP_HEADER] = 1;
        file[HEADER_END] = 0x6a;
        file[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        file[XLOADFLAGS] = 1;
        file[KERNEL_ALIGNMENT..KERNEL_ALIGNMENT + 4].copy_from_slice(&0x20_0000u32.to_le_bytes());
        file[INIT_SIZE..INIT_SIZE + 4].copy_from_slice(&0x100_0000u32.to_le_bytes());
        file
    }

    #[test]
    fn a_bzimage_is_read_and_described() {
        let file = bzimage();
        let kernel = BzImage::parse(&file).unwrap();
        assert_eq!((kernel.kernel.len(), kernel.alignment, kernel.init_size), (3072, 0x20_0000, 0x100_0000));
        let memory = [MemoryRange { start: 0x1000, end: 0x9f000, kind: MemoryKind::AcpiData }];
        let params =
            BootParams { kernel, ramdisk: (0x800, 3), cmdline: 0x900, rsdp: 0xe_0000, memory: &memory };
        let page = params.encode().unwrap();
        assert_eq!(page[E820_COUNT], 1);
        assert_eq!(page[E820..E820 + 20], [0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0xe0, 9, 0, 0, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(page[MAGIC..MAGIC + 4], *b"HdrS");
        assert_eq!(page[ACPI_RSDP..ACPI_RSDP + 4], [0, 0, 0xe, 0]);
    }

    #[test]
    fn what_is_no_bzimage_is_refused() {
        let file = bzimage();
        assert!(BzImage::parse(b"").is_err());
        for (at, value) in [(MAGIC, b'X'), (XLOADFLAGS, 0), (SETUP_HEADER, 60), (KERNEL_ALIGNMENT, 3)] {
            let mut file = file.clone();
            file[at] = value;
            assert!(BzImage::parse(&file).is_err(), "byte {at:#x}");
        }
        for len in [0x203, 0x211, 0x231, 0x262, 1024] {
            assert!(BzImage::parse(&file[..len]).is_err(), "{len} bytes");
        }
    }
}
