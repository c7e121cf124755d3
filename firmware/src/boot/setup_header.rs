//! The setup header of a bzImage, checked (Documentation/arch/x86/boot.rst).

use linux_loader::loader::bootparam::setup_header;
use vm_memory::ByteValued;

use super::BootError;

/// Where the header is in the file, and in `boot_params`.
const START: usize = 0x1f1;
/// The jump over the header, whose distance tells where it ends.
const JUMP_DISTANCE: usize = 0x201;
const JUMP_END: usize = 0x202;
const SECTOR: u64 = 512;
/// What 0 setup sectors mean.
const DEFAULT_SETUP_SECTS: u8 = 4;
const BOOT_FLAG: u16 = 0xaa55;
const MAGIC: u32 = u32::from_le_bytes(*b"HdrS");
/// The first protocol that tells whether there is a 64-bit entry.
const OLDEST: u16 = 0x020c;
const LOADED_HIGH: u8 = 1 << 0;
const XLF_KERNEL_64: u16 = 1 << 0;

/// What of the header a loader acts on, contradictions ruled out.
pub struct SetupHeader<'a> {
    /// The header as it is in the file; fields that this protocol does not have yet are 0.
    pub fields: setup_header,
    /// What is loaded, at [`SetupHeader::load_address`].
    pub protected_mode: &'a [u8],
    /// Where the kernel wants to be.
    pub load_address: u64,
    /// Bytes it needs from there on, until it has unpacked itself.
    pub init_size: u64,
    /// The first address that the initramfs must not reach.
    pub initrd_limit: u64,
    /// The longest command line, without its NUL.
    pub command_line_most: usize,
}

impl<'a> SetupHeader<'a> {
    /// Reads and checks it.
    pub fn parse(file: &'a [u8]) -> Result<Self, BootError> {
        let fields = read(file)?;
        let version = fields.version;
        if version < OLDEST {
            return Err(BootError::TooOld(version));
        }
        if fields.xloadflags & XLF_KERNEL_64 == 0 {
            return Err(BootError::Architecture("32-bit x86".into()));
        }
        if fields.loadflags & LOADED_HIGH == 0 {
            return Err(BootError::Damaged("it is no bzImage, as it wants to be loaded below 1 MiB"));
        }
        let (alignment, load_address) = (u64::from(fields.kernel_alignment), fields.pref_address);
        if !alignment.is_power_of_two() || !load_address.is_multiple_of(alignment) {
            return Err(BootError::Damaged("its pref_address is not a multiple of its kernel_alignment"));
        }
        let protected_mode = protected_mode(file, &fields)?;
        let init_size = u64::from(fields.init_size);
        if init_size < protected_mode.len() as u64 {
            return Err(BootError::Damaged("its init_size is less than what is loaded of it"));
        }
        Ok(Self {
            fields,
            protected_mode,
            load_address,
            init_size,
            initrd_limit: u64::from(fields.initrd_addr_max) + 1,
            command_line_most: usize::try_from(fields.cmdline_size).unwrap_or(usize::MAX),
        })
    }
}

fn read(file: &[u8]) -> Result<setup_header, BootError> {
    if file.is_empty() {
        return Err(BootError::NotAKernel("an empty file"));
    }
    if file.starts_with(b"\x7fELF") {
        return Err(BootError::Unpacked);
    }
    let mut fields = setup_header::default();
    let whole = fields.as_mut_slice();
    let jump = file.get(JUMP_DISTANCE).copied().unwrap_or_default();
    let end = (JUMP_END + usize::from(jump)).min(START + whole.len());
    let cut = BootError::Truncated { part: "its setup header", needed: end as u64, found: file.len() as u64 };
    if file.len() < JUMP_END + size_of_val(&MAGIC) {
        return Err(BootError::NotAKernel("a file too short to be one"));
    }
    let bytes = file.get(START..end).ok_or(cut)?;
    if let Some(known) = whole.get_mut(..bytes.len()) {
        known.copy_from_slice(bytes);
    }
    if fields.boot_flag != BOOT_FLAG || fields.header != MAGIC {
        // The images of other architectures have their magic in the first sector.
        let is_at = |at: usize, magic: &[u8; 4]| file.get(at..at + 4) == Some(magic);
        if is_at(0x38, b"ARM\x64") {
            return Err(BootError::Architecture("arm64".into()));
        }
        if is_at(0x30, b"RISC") {
            return Err(BootError::Architecture("RISC-V".into()));
        }
        return Err(BootError::NotAKernel("no bzImage (there is no `HdrS` at byte 0x202)"));
    }
    Ok(fields)
}

fn protected_mode<'a>(file: &'a [u8], fields: &setup_header) -> Result<&'a [u8], BootError> {
    let sectors = if fields.setup_sects == 0 { DEFAULT_SETUP_SECTS } else { fields.setup_sects };
    let start = (u64::from(sectors) + 1) * SECTOR;
    let end = start + u64::from(fields.syssize) * 16;
    let part = "its protected-mode code";
    let cut = BootError::Truncated { part, needed: end, found: file.len() as u64 };
    let (Ok(first), Ok(last)) = (usize::try_from(start), usize::try_from(end)) else { return Err(cut) };
    let code = file.get(first..last).ok_or(cut)?;
    if code.len() as u64 <= super::bzimage::ENTRY_64 {
        return Err(BootError::Damaged("it has no protected-mode code"));
    }
    Ok(code)
}
