//! The first page of swap, in which swsusp keeps its commit record (kernel/power/swap.c, `struct swsusp_header`).

use bitflags::bitflags;

use super::PAGE;
use super::fields::{text_at, u32_at, u64_at};

/// Where the fields are: packed against the end of the page.
mod at {
    pub const VERSION: usize = 1024;
    pub const LAST_PAGE: usize = 1028;
    pub const UUID: usize = 1036;
    pub const LABEL: usize = 1052;
    pub const HARDWARE_SIGNATURE: usize = 4056;
    pub const CRC32: usize = 4060;
    pub const IMAGE: usize = 4064;
    pub const FLAGS: usize = 4072;
    pub const ORIGINAL: usize = 4076;
    pub const SIGNATURE: usize = 4086;
}

const SIGNATURE_LEN: usize = 10;
const IMAGE: [u8; SIGNATURE_LEN] = *b"S1SUSPEND\0";
const SWAP: [[u8; SIGNATURE_LEN]; 2] = [*b"SWAPSPACE2", *b"SWAP-SPACE"];

bitflags! {
    /// What the kernel that sleeps tells the one that wakes it (kernel/power/power.h, SF_*).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// SF_PLATFORM_MODE: the firmware took part; the machine slept in S4.
        const PLATFORM = 1;
        /// SF_NOCOMPRESS_MODE: pages are stored as they are, and nothing protects them.
        const NOCOMPRESS = 2;
        /// SF_CRC32_MODE: the header has a CRC over all pages.
        const CRC32 = 4;
        /// SF_HW_SIG: the header has the FACS's hardware signature, which must not have changed.
        const HARDWARE_SIGNATURE = 8;
        /// SF_COMPRESSION_ALG_LZ4, since 6.9: otherwise LZO.
        const LZ4 = 16;
    }
}

/// How the pages are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// LZO1X.
    Lzo,
    /// LZ4 blocks.
    Lz4,
}

impl Compression {
    /// As the kernel calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
        }
    }
}

/// What the signature says of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is one, and the next boot resumes from it.
    Valid,
    /// There was one; a boot took it, or dropped it, and put the signature back.
    Consumed,
    /// Swap, never hibernated to since mkswap.
    Empty,
}

/// The header of swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapHeader {
    /// What the signature says.
    pub state: State,
    /// The signature, as text.
    pub signature: String,
    /// What it was before the image and will be again.
    pub original: String,
    /// Slot of the first page of the map.
    pub image: u64,
    /// What was told.
    pub flags: Flags,
    /// Of the FACS, if [`Flags::HARDWARE_SIGNATURE`].
    pub hardware_signature: u32,
    /// Over all pages behind the first, if [`Flags::CRC32`].
    pub crc32: u32,
    /// Version of the swap area; 1.
    pub version: u32,
    /// Number of its last slot.
    pub last_page: u32,
    /// Of the swap area.
    pub uuid: [u8; 16],
    /// Of the swap area.
    pub label: String,
}

impl SwapHeader {
    /// Reads the first page of swap; `None` if it is none.
    pub fn decode(page: &[u8; PAGE]) -> Option<Self> {
        let signature: [u8; SIGNATURE_LEN] = *page.get(at::SIGNATURE..)?.first_chunk()?;
        let image = u64_at(page, at::IMAGE)?;
        let original = page.get(at::ORIGINAL..)?.first_chunk()?;
        let state = if signature == IMAGE {
            State::Valid
        } else if !SWAP.contains(&signature) {
            return None;
        } else if image != 0 && *original == signature {
            State::Consumed
        } else {
            State::Empty
        };
        Some(Self {
            state,
            signature: text_at(page, at::SIGNATURE, SIGNATURE_LEN),
            original: text_at(page, at::ORIGINAL, SIGNATURE_LEN),
            image,
            flags: Flags::from_bits_retain(u32_at(page, at::FLAGS)?),
            hardware_signature: u32_at(page, at::HARDWARE_SIGNATURE)?,
            crc32: u32_at(page, at::CRC32)?,
            version: u32_at(page, at::VERSION)?,
            last_page: u32_at(page, at::LAST_PAGE)?,
            uuid: *page.get(at::UUID..)?.first_chunk()?,
            label: text_at(page, at::LABEL, 16),
        })
    }

    /// How the pages are stored.
    pub fn compression(&self) -> Compression {
        if self.flags.contains(Flags::NOCOMPRESS) {
            Compression::None
        } else if self.flags.contains(Flags::LZ4) {
            Compression::Lz4
        } else {
            Compression::Lzo
        }
    }

    /// Whether a kernel will put back a signature that makes swap of it again.
    pub(super) fn comes_back_as_swap(&self) -> bool {
        SWAP.iter().any(|known| *known == self.original.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(signature: &[u8; 10], image: u64, flags: u32) -> [u8; PAGE] {
        let mut page = [0; PAGE];
        page[at::SIGNATURE..].copy_from_slice(signature);
        page[at::ORIGINAL..at::SIGNATURE].copy_from_slice(b"SWAPSPACE2");
        page[at::IMAGE..at::FLAGS].copy_from_slice(&image.to_le_bytes());
        page[at::FLAGS..at::ORIGINAL].copy_from_slice(&flags.to_le_bytes());
        page
    }

    #[test]
    fn the_signature_says_what_became_of_the_image() {
        let state = |page| SwapHeader::decode(&page).map(|header| header.state);
        assert_eq!(state(page(b"S1SUSPEND\0", 5, 4)), Some(State::Valid));
        assert_eq!(state(page(b"SWAPSPACE2", 5, 4)), Some(State::Consumed));
        assert_eq!(state(page(b"SWAPSPACE2", 0, 0)), Some(State::Empty));
        assert_eq!(state(page(b"S1SUSPEND2", 5, 4)), None);
        assert_eq!(state([0; PAGE]), None);
    }

    #[test]
    fn flags_say_how_pages_are_stored() {
        let compression = |flags| SwapHeader::decode(&page(b"S1SUSPEND\0", 5, flags)).unwrap().compression();
        assert_eq!([4, 20, 2, 18].map(compression), {
            use Compression::{Lz4, Lzo, None};
            [Lzo, Lz4, None, None]
        });
    }
}
