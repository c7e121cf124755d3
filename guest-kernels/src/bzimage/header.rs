//! The setup header of a bzImage, at byte 0x1f1 of the file.

use std::ops::Range;

use super::BzImageError;

/// The fields of the setup header that a loader needs, named as in the boot protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupHeader {
    /// Boot protocol, such as `0x20f` for 2.15.
    pub version: u16,
    /// Sectors of 512 bytes of real-mode code after the first.
    pub setup_sects: u8,
    /// Bytes of the protected-mode part (`syssize`, there in units of 16 bytes).
    pub protected_mode_len: u64,
    /// Where the initramfs must end, at most.
    pub initrd_addr_max: u32,
    /// Alignment of the load address, in bytes.
    pub kernel_alignment: u32,
    /// Whether it can be loaded anywhere.
    pub relocatable_kernel: bool,
    /// XLF_ bits.
    pub xloadflags: u16,
    /// Longest command line, in bytes, without the NUL.
    pub cmdline_size: u32,
    /// Where the compressed kernel begins, from the start of the protected-mode part.
    pub payload_offset: u32,
    /// Its length.
    pub payload_length: u32,
    /// The load address it prefers.
    pub pref_address: u64,
    /// Memory it needs from its load address on until it has unpacked itself.
    pub init_size: u32,
    /// Release, builder, number and date of the build.
    pub version_text: String,
}

const SECTOR: usize = 512;
/// What 0 setup sectors mean.
const DEFAULT_SETUP_SECTS: u8 = 4;
const XLF_KERNEL_64: u16 = 1;
/// The first protocol with `xloadflags`.
const OLDEST: u16 = 0x020c;
/// Longest version text looked at.
const VERSION_TEXT_LIMIT: usize = 256;

mod at {
    pub const SETUP_SECTS: usize = 0x1f1;
    pub const SYSSIZE: usize = 0x1f4;
    pub const BOOT_FLAG: usize = 0x1fe;
    pub const MAGIC: usize = 0x202;
    pub const VERSION: usize = 0x206;
    pub const KERNEL_VERSION: usize = 0x20e;
    pub const INITRD_ADDR_MAX: usize = 0x22c;
    pub const KERNEL_ALIGNMENT: usize = 0x230;
    pub const RELOCATABLE_KERNEL: usize = 0x234;
    pub const XLOADFLAGS: usize = 0x236;
    pub const CMDLINE_SIZE: usize = 0x238;
    pub const PAYLOAD_OFFSET: usize = 0x248;
    pub const PAYLOAD_LENGTH: usize = 0x24c;
    pub const PREF_ADDRESS: usize = 0x258;
    pub const INIT_SIZE: usize = 0x260;
    pub const END: usize = 0x268;
}

impl SetupHeader {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BzImageError> {
        foreign(bytes)?;
        let truncated =
            |part, needed: u64| BzImageError::Truncated { part, needed, found: bytes.len() as u64 };
        let header: &[u8; at::END] =
            bytes.first_chunk().ok_or_else(|| truncated("its header", at::END as u64))?;
        let version = u16_at(header, at::VERSION);
        if version < OLDEST {
            return Err(BzImageError::TooOld(version));
        }
        let xloadflags = u16_at(header, at::XLOADFLAGS);
        if xloadflags & XLF_KERNEL_64 == 0 {
            return Err(BzImageError::Architecture("32-bit x86"));
        }
        let setup_sects = match header[at::SETUP_SECTS] {
            0 => DEFAULT_SETUP_SECTS,
            sectors => sectors,
        };
        let parsed = Self {
            version,
            setup_sects,
            protected_mode_len: u64::from(u32_at(header, at::SYSSIZE)) * 16,
            initrd_addr_max: u32_at(header, at::INITRD_ADDR_MAX),
            kernel_alignment: u32_at(header, at::KERNEL_ALIGNMENT),
            relocatable_kernel: header[at::RELOCATABLE_KERNEL] != 0,
            xloadflags,
            cmdline_size: u32_at(header, at::CMDLINE_SIZE),
            payload_offset: u32_at(header, at::PAYLOAD_OFFSET),
            payload_length: u32_at(header, at::PAYLOAD_LENGTH),
            pref_address: u64::from(u32_at(header, at::PREF_ADDRESS))
                | u64::from(u32_at(header, at::PREF_ADDRESS + 4)) << 32,
            init_size: u32_at(header, at::INIT_SIZE),
            version_text: version_text(bytes, u16_at(header, at::KERNEL_VERSION)),
        };
        let needed = parsed.setup_len() as u64 + parsed.protected_mode_len;
        if needed > bytes.len() as u64 {
            return Err(truncated("its protected-mode part", needed));
        }
        if parsed.kernel_alignment != 0 && !parsed.kernel_alignment.is_power_of_two() {
            return Err(BzImageError::Header("its kernel_alignment is no power of two"));
        }
        parsed.payload_range(bytes.len())?;
        Ok(parsed)
    }

    /// Bytes before the protected-mode part.
    pub fn setup_len(&self) -> usize {
        (usize::from(self.setup_sects) + 1) * SECTOR
    }

    /// The boot protocol as it is written: `2.15`.
    pub fn protocol(&self) -> String {
        format!("{}.{:02}", self.version >> 8, self.version & 0xff)
    }

    /// Where the compressed kernel is in a file of `len` bytes.
    pub(super) fn payload_range(&self, len: usize) -> Result<Range<usize>, BzImageError> {
        if self.payload_length == 0 {
            return Err(BzImageError::Header("its payload is empty"));
        }
        let start = self.setup_len() as u64 + u64::from(self.payload_offset);
        let end = start + u64::from(self.payload_length);
        if end > len as u64 {
            return Err(BzImageError::Truncated {
                part: "its compressed kernel",
                needed: end,
                found: len as u64,
            });
        }
        let index =
            |value| usize::try_from(value).map_err(|_| BzImageError::Header("its payload is too far away"));
        Ok(index(start)?..index(end)?)
    }
}

/// Names what is not a bzImage, but often taken for one.
fn foreign(bytes: &[u8]) -> Result<(), BzImageError> {
    let is_at = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if is_at(at::MAGIC, b"HdrS") && is_at(at::BOOT_FLAG, b"\x55\xaa") {
        return Ok(());
    }
    Err(if is_at(0x38, b"ARM\x64") {
        BzImageError::Architecture("arm64")
    } else if is_at(0x30, b"RISCV\0\0\0") {
        BzImageError::Architecture("RISC-V")
    } else if is_at(0, b"\x7fELF") {
        BzImageError::NotAKernel(
            "it is an ELF file; of a vmlinux, give the arch/x86/boot/bzImage built with it",
        )
    } else if is_at(0, b"!<arch>\ndebian-binary") {
        BzImageError::NotAKernel("it is a Debian package: `kjvm kernels fetch --deb FILE` unpacks it")
    } else if is_at(0, b"070701") || is_at(0, b"\x1f\x8b") || is_at(0, b"\x28\xb5\x2f\xfd") {
        BzImageError::NotAKernel("it is compressed data, such as an initramfs")
    } else if bytes.len() < at::END {
        BzImageError::NotAKernel("it is too short")
    } else {
        BzImageError::NotAKernel("it has no `HdrS` at byte 0x202")
    })
}

fn version_text(bytes: &[u8], pointer: u16) -> String {
    if pointer == 0 {
        return String::new();
    }
    let text = bytes.get(usize::from(pointer) + SECTOR..).unwrap_or_default();
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = text.get(..VERSION_TEXT_LIMIT).unwrap_or(text);
    // It ends up on terminals.
    String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect()
}

fn u16_at(header: &[u8; at::END], offset: usize) -> u16 {
    u16::from_le_bytes([header[offset], header[offset + 1]])
}

fn u32_at(header: &[u8; at::END], offset: usize) -> u32 {
    u32::from(u16_at(header, offset)) | u32::from(u16_at(header, offset + 2)) << 16
}
