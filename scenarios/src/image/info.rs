//! The first page of an image (kernel/power/power.h, `struct swsusp_info`). On x86-64 the names of the kernel, at its beginning, give way
//! to where to jump (arch/x86/power/hibernate.c, `struct restore_data_record`): any kernel may load the image.

use super::PAGE;
use super::fields::{text_at, u32_at, u64_at};
use super::flaw::InfoFlaw;

/// Where the fields are.
mod at {
    pub const JUMP_ADDRESS: usize = 0;
    pub const JUMP_ADDRESS_PHYS: usize = 8;
    pub const CR3: usize = 16;
    pub const MAGIC: usize = 24;
    pub const E820_CHECKSUM: usize = 32;
    /// Names of 65 bytes each: system, node, release, version, machine, domain.
    pub const SYSTEM: usize = 0;
    pub const RELEASE: usize = 2 * NAME;
    pub const NAME: usize = 65;
    pub const VERSION_CODE: usize = 392;
    pub const PHYSICAL_PAGES: usize = 400;
    pub const CPUS: usize = 408;
    pub const IMAGE_PAGES: usize = 416;
    pub const PAGES: usize = 424;
    pub const SIZE: usize = 432;
}

/// RESTORE_MAGIC of x86-64.
const MAGIC: u64 = 0x2345_6789_ABCD_EF02;

/// What is done with the image once it is loaded, and where it may be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// Virtual address of `restore_registers` in the kernel that slept.
    pub address: u64,
    /// Its physical address.
    pub physical: u64,
    /// Page tables of the kernel that slept.
    pub cr3: u64,
    /// CRC-32 over the firmware's e820 map: count (u32), then address, size (u64) and type (u32) of each entry. Must not have changed.
    pub e820_checksum: u64,
}

/// The first page of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Of x86-64.
    pub jump: Option<Jump>,
    /// uname -r, where there is no [`Jump`].
    pub release: Option<String>,
    /// LINUX_VERSION_CODE, where there is no [`Jump`].
    pub version_code: u32,
    /// Pages of RAM the kernel had: must not have changed.
    pub physical_pages: u64,
    /// Not set by any kernel.
    pub cpus: u32,
    /// Pages of memory that are stored. Since 6.7 those that are all zero are not.
    pub image_pages: u64,
    /// With this one and the list of page frames.
    pub pages: u64,
    /// The same in bytes.
    pub size: u64,
    magic: u64,
}

impl Info {
    /// Reads it. Whether it can be so: [`Info::flaw`].
    pub fn decode(page: &[u8; PAGE]) -> Self {
        // All offsets lie within a page.
        let number = |at| u64_at(page, at).unwrap_or(0);
        let magic = number(at::MAGIC);
        let jump = (magic == MAGIC).then(|| Jump {
            address: number(at::JUMP_ADDRESS),
            physical: number(at::JUMP_ADDRESS_PHYS),
            cr3: number(at::CR3),
            e820_checksum: number(at::E820_CHECKSUM),
        });
        let is_named = jump.is_none() && text_at(page, at::SYSTEM, at::NAME) == "Linux";
        Self {
            jump,
            release: is_named.then(|| text_at(page, at::RELEASE, at::NAME)),
            version_code: u32_at(page, at::VERSION_CODE).unwrap_or(0),
            physical_pages: number(at::PHYSICAL_PAGES),
            cpus: u32_at(page, at::CPUS).unwrap_or(0),
            image_pages: number(at::IMAGE_PAGES),
            pages: number(at::PAGES),
            size: number(at::SIZE),
            magic,
        }
    }

    /// Pages of the list of page frames.
    pub fn list_pages(&self) -> u64 {
        self.pages.saturating_sub(self.image_pages).saturating_sub(1)
    }

    /// What is wrong with it. `most`: pages that can be where it was found.
    pub fn flaw(&self, most: u64) -> Option<InfoFlaw> {
        let count = |field, value, why| Some(InfoFlaw::Count { field, value, why });
        if self.jump.is_none() && self.release.is_none() {
            Some(InfoFlaw::Magic(self.magic))
        } else if self.image_pages == 0 {
            count("image_pages", 0, "an image has pages")
        } else if self.pages > most {
            count("pages", self.pages, "more than there are")
        } else if self.pages.saturating_sub(1) <= self.image_pages {
            count("image_pages", self.image_pages, "leaves no room for the list of page frames")
        } else if self.image_pages > self.physical_pages {
            count("image_pages", self.image_pages, "more than the machine had")
        } else if self.pages.checked_mul(PAGE as u64) != Some(self.size) {
            count("size", self.size, "not that of its pages")
        } else {
            None
        }
    }
}

/// What [`Jump::e820_checksum`] has to be for a memory map: address, size and type of each entry, as the firmware gives them.
pub fn e820_checksum(entries: &[(u64, u64, u32)]) -> u64 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (address, size, kind) in entries {
        sum.update(&address.to_le_bytes());
        sum.update(&size.to_le_bytes());
        sum.update(&kind.to_le_bytes());
    }
    sum.finalize().into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A first page of an image of x86-64.
    pub fn page(physical: u64, image_pages: u64, pages: u64) -> [u8; PAGE] {
        let mut page = [0; PAGE];
        let mut put = |at: usize, value: u64| page[at..at + 8].copy_from_slice(&value.to_le_bytes());
        put(at::JUMP_ADDRESS, 0xffff_ffff_8100_0000);
        put(at::JUMP_ADDRESS_PHYS, 0x100_0000);
        put(at::CR3, 0x200_0000);
        put(at::MAGIC, MAGIC);
        put(at::E820_CHECKSUM, 0x1234_5678);
        put(at::PHYSICAL_PAGES, physical);
        put(at::IMAGE_PAGES, image_pages);
        put(at::PAGES, pages);
        put(at::SIZE, pages * 4096);
        page
    }

    #[test]
    fn what_was_written_is_read() {
        let info = Info::decode(&page(100, 50, 52));
        assert_eq!((info.image_pages, info.pages, info.list_pages(), info.flaw(52)), (50, 52, 1, None));
        assert_eq!(info.jump.unwrap().e820_checksum, 0x1234_5678);
    }

    #[test]
    fn impossible_counts_are_refused() {
        let field = |page: [u8; PAGE]| match Info::decode(&page).flaw(1000) {
            Some(InfoFlaw::Count { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(page(100, 0, 2)), "image_pages");
        assert_eq!(field(page(100, 50, 51)), "image_pages");
        assert_eq!(field(page(100, 50, 1001)), "pages");
        assert_eq!(field(page(10, 50, 52)), "image_pages");
        assert_eq!(
            field({
                let mut page = page(100, 50, 52);
                page[at::SIZE] = 1;
                page
            }),
            "size"
        );
        assert_eq!(Info::decode(&[0; PAGE]).flaw(1000), Some(InfoFlaw::Magic(0)));
    }

    #[test]
    fn an_image_without_a_jump_names_its_kernel() {
        let mut page = [0; PAGE];
        page[..5].copy_from_slice(b"Linux");
        page[at::RELEASE..at::RELEASE + 6].copy_from_slice(b"6.12.1");
        assert_eq!(Info::decode(&page).release.as_deref(), Some("6.12.1"));
    }
}
