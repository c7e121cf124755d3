//! Memory that is full of noise, as after power-on, at the price of a mapping: the noise repeats every 2 MiB, in pages that are copied
//! when they are first written to.
#![allow(unsafe_code)]

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use nix::unistd::write;

use crate::guest_ram::Extent;
use crate::{GuestRam, RamError};

/// Bytes of noise: enough that neighbours differ, little enough to be made in a millisecond.
const BYTES: usize = 2 << 20;

impl GuestRam {
    /// Memory of this size in bytes, full of noise that follows from a seed. Every page is marked as written to.
    ///
    /// # Errors
    /// [`RamError`].
    pub fn noisy(bytes: u64, seed: u64) -> Result<Self, RamError> {
        let ram = Self::new(bytes)?;
        ram.cover_with_noise(seed).map_err(|error| RamError::Host { bytes, reason: error.to_string() })?;
        ram.frames().for_each(|frame| ram.note_write(frame));
        Ok(ram)
    }

    fn cover_with_noise(&self, seed: u64) -> nix::Result<()> {
        let file = memfd_create(c"noise", MFdFlags::MFD_CLOEXEC)?;
        let noise: Vec<u8> =
            (0..BYTES as u64 / 8).flat_map(|at| mix(seed.wrapping_add(at)).to_le_bytes()).collect();
        let mut rest = noise.as_slice();
        while !rest.is_empty() {
            let written = write(&file, rest)?;
            rest = rest.get(written..).unwrap_or_default();
        }
        for Extent { host, bytes } in self.extents() {
            for start in (0..bytes).step_by(BYTES) {
                let length = BYTES.min(bytes - start);
                let (Some(at), Some(length)) = (NonZeroUsize::new(host + start), NonZeroUsize::new(length))
                else {
                    continue;
                };
                let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED | MapFlags::MAP_NORESERVE;
                let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
                // SAFETY: these pages are a part of the region that `self` has mapped, which nobody has looked into yet, and which
                // is unmapped as a whole when the last clone of it goes, whatever lies there.
                let _: NonNull<_> = unsafe { mmap(Some(at), length, protection, flags, file.as_fd(), 0) }?;
            }
        }
        Ok(())
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): neighbours have nothing in common.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PAGE_SIZE;

    fn page(ram: &GuestRam, frame: u64) -> Vec<u8> {
        let mut page = vec![0; PAGE_SIZE as usize];
        ram.read(frame * PAGE_SIZE, &mut page).unwrap();
        page
    }

    #[test]
    fn noise_follows_from_the_seed() {
        let noisy = |seed| GuestRam::noisy(5 << 20, seed).unwrap();
        let (one, same, other) = (noisy(1), noisy(1), noisy(2));
        for frame in [0, 5, 511, 512, 1279] {
            assert_eq!(page(&one, frame), page(&same, frame));
            assert_ne!(page(&one, frame), page(&other, frame));
            let ones: u32 = page(&one, frame).iter().map(|byte| byte.count_ones()).sum();
            assert!((15_000..18_000).contains(&ones), "{ones} of 32768");
        }
        assert_ne!(page(&one, 5), page(&one, 6));
        assert_eq!(one.take_written().len(), 1280);
    }

    #[test]
    fn what_is_written_is_in_one_place_only() {
        let (one, other) = (GuestRam::noisy(5 << 20, 1).unwrap(), GuestRam::noisy(5 << 20, 1).unwrap());
        one.write(5 * PAGE_SIZE, &[0; PAGE_SIZE as usize]).unwrap();
        assert_eq!(page(&one, 5), vec![0; PAGE_SIZE as usize]);
        assert_eq!(page(&one, 5 + 512), page(&other, 5), "not where the noise repeats, ");
        assert_ne!(page(&other, 5), vec![0; PAGE_SIZE as usize], "nor in other memory");
    }

    #[test]
    fn memory_on_both_sides_of_the_hole() {
        let ram = GuestRam::noisy(crate::HOLE_START + (3 << 20), 1).unwrap();
        assert_ne!(page(&ram, crate::HOLE_END / PAGE_SIZE + 700), vec![0; PAGE_SIZE as usize]);
    }
}
