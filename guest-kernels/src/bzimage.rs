//! Reading a bzImage: its setup header (Documentation/arch/x86/boot.rst), the compressed kernel in it, and that kernel's
//! configuration if it carries one.
//!
//! Unpacking on the host saves the guest the decompressor, which costs it more than the rest of its boot.

mod header;

pub use header::SetupHeader;

use std::fs;
use std::path::{Path, PathBuf};

use object::Endianness;
use object::elf::{EM_X86_64, FileHeader64};
use object::read::elf::FileHeader;
use thiserror::Error;

use crate::compression::Compression;

/// Why a file is not a kernel we can boot.
#[derive(Debug, Error)]
pub enum BzImageError {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Read(std::io::Error),
    /// Something else.
    #[error("not a Linux kernel for x86 (bzImage): {0}")]
    NotAKernel(&'static str),
    /// A kernel, but not for this machine.
    #[error("a Linux kernel for {0}; the machine is x86-64")]
    Architecture(&'static str),
    /// Older than what we read.
    #[error(
        "a kernel of boot protocol {}.{:02}; 2.12 is needed (Linux 3.8 and later)",
        .0 >> 8, .0 & 0xff
    )]
    TooOld(u16),
    /// Shorter than its header says.
    #[error("cut short: {part} ends at byte {needed}, the file has {found}; copy or download it again")]
    Truncated {
        /// What is cut.
        part: &'static str,
        /// Bytes needed.
        needed: u64,
        /// Bytes there.
        found: u64,
    },
    /// The header contradicts itself.
    #[error("damaged: {0}; copy or download it again")]
    Header(&'static str),
    /// A compression we do not undo.
    #[error(
        "its kernel is compressed by {0}, which is not supported: choose CONFIG_KERNEL_ZSTD=y, _XZ or _GZIP, or boot it with entry = \"bzimage\""
    )]
    Compression(Compression),
    /// The compressed kernel is damaged.
    #[error("damaged: the {compression} kernel in it does not unpack: {source}; copy or download it again")]
    Payload {
        /// How it is compressed.
        compression: Compression,
        /// What is wrong.
        source: std::io::Error,
    },
    /// What comes out is not a kernel.
    #[error("damaged: what unpacks is no x86-64 kernel in ELF format: {0}; copy or download it again")]
    NotElf(String),
}

/// [`BzImageError`], and in which file.
#[derive(Debug, Error)]
#[error("{path}: {error}")]
pub struct KernelFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub error: BzImageError,
}

/// A bzImage in memory, its header checked against its length.
#[derive(Debug, Clone)]
pub struct BzImage {
    bytes: Vec<u8>,
    /// The fields of its setup header.
    pub header: SetupHeader,
}

/// Most that a kernel can unpack to: it must fit below the 32-bit load limit with room to spare.
const KERNEL_LIMIT: u64 = 1 << 30;

impl BzImage {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read or is no kernel for x86-64.
    pub fn open(path: &Path) -> Result<Self, KernelFileError> {
        let at = |error| KernelFileError { path: path.to_owned(), error };
        let bytes = fs::read(path).map_err(|error| at(BzImageError::Read(error)))?;
        Self::parse(bytes).map_err(at)
    }

    /// Takes the contents of a file.
    ///
    /// # Errors
    /// If they are no kernel for x86-64.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BzImageError> {
        let header = SetupHeader::parse(&bytes)?;
        Ok(Self { bytes, header })
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What `uname -r` says in this kernel.
    pub fn release(&self) -> &str {
        self.header.version_text.split_whitespace().next().unwrap_or_default()
    }

    /// The part that is loaded at the kernel's address: all after the setup sectors.
    pub fn protected_mode(&self) -> &[u8] {
        self.bytes.get(self.header.setup_len()..).unwrap_or_default()
    }

    /// How the kernel in it is compressed.
    ///
    /// # Errors
    /// If by nothing known.
    pub fn compression(&self) -> Result<Compression, BzImageError> {
        let payload = self.payload()?;
        if payload.starts_with(b"\x7fELF") {
            return Ok(Compression::None);
        }
        Compression::by_magic(payload)
            .ok_or(BzImageError::Header("its payload begins like no compressed stream known"))
    }

    /// Unpacks the kernel: an ELF file, followed by relocations that are of use to the decompressor only.
    ///
    /// Damage is found by the stream's checksum and by the length at its end. LZ4 and LZMA streams have no checksum: there, a
    /// flipped bit can pass.
    ///
    /// # Errors
    /// If the compression is not supported, or the stream is damaged.
    pub fn vmlinux(&self) -> Result<Vec<u8>, BzImageError> {
        let compression = self.compression()?;
        if compression == Compression::Lzo {
            return Err(BzImageError::Compression(compression));
        }
        let payload = self.payload()?;
        let damaged = |source| BzImageError::Payload { compression, source };
        // The build writes the unpacked length behind every stream; gzip has it as its own last field, and LZ4 would
        // take it for another block.
        let (stream, len) =
            payload.split_last_chunk::<4>().ok_or(BzImageError::Header("its payload is empty"))?;
        let stream = if compression == Compression::Lz4 { stream } else { payload };
        let len = u64::from(u32::from_le_bytes(*len));
        if len > KERNEL_LIMIT {
            return Err(BzImageError::Header("its kernel would unpack to more than 1 GiB"));
        }
        let kernel = match compression {
            Compression::None => payload.to_vec(),
            _ => compression.decompress(stream, len).map_err(damaged)?,
        };
        if compression != Compression::None && kernel.len() as u64 != len {
            let text = format!("{} bytes came out instead of {len}", kernel.len());
            return Err(damaged(std::io::Error::new(std::io::ErrorKind::InvalidData, text)));
        }
        let elf = FileHeader64::<Endianness>::parse(kernel.as_slice())
            .map_err(|error| BzImageError::NotElf(error.to_string()))?;
        let endian = elf.endian().map_err(|error| BzImageError::NotElf(error.to_string()))?;
        if elf.e_machine(endian) != EM_X86_64 {
            return Err(BzImageError::NotElf(format!("its machine number is {}", elf.e_machine(endian).0)));
        }
        Ok(kernel)
    }

    fn payload(&self) -> Result<&[u8], BzImageError> {
        let range = self.header.payload_range(self.bytes.len())?;
        self.bytes.get(range).ok_or(BzImageError::Header("its payload lies outside of it"))
    }
}

/// The configuration a kernel carries (CONFIG_IKCONFIG=y), as text. `vmlinux`: as [`BzImage::vmlinux`] gives it.
///
/// `None` if it carries none.
///
/// # Errors
/// If it carries one that is damaged.
pub fn embedded_config(vmlinux: &[u8]) -> Result<Option<String>, BzImageError> {
    const START: &[u8] = b"IKCFG_ST\x1f\x8b\x08";
    const CONFIG_LIMIT: u64 = 16 << 20;
    let Some(at) = find(vmlinux, START) else { return Ok(None) };
    let stream = vmlinux.get(at + b"IKCFG_ST".len()..).unwrap_or_default();
    let damaged = |source| BzImageError::Payload { compression: Compression::Gzip, source };
    let text = Compression::Gzip.decompress(stream, CONFIG_LIMIT).map_err(damaged)?;
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    loop {
        // By the first byte: far faster than looking at every window of tens of megabytes.
        let at = from + haystack.get(from..)?.iter().position(|byte| *byte == first)?;
        if haystack.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
#[path = "bzimage/tests.rs"]
pub(crate) mod tests;
