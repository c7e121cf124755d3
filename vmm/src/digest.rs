//! One hash over everything a machine is.

use std::fmt;

use ram::{GuestRam, PAGE_SIZE};
use serde::{Deserialize, Serialize};

/// A hash over RAM, processors, devices, disks, clocks and instructions: two machines with equal digests go on equally.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Of RAM: pages that were not written to since the last time are not hashed again.
#[derive(Debug, Clone, Default)]
pub struct RamDigest {
    /// Of each page in ascending order; zero for a page of zeros.
    pages: Vec<[u8; 32]>,
}

impl RamDigest {
    /// Takes the marks of written pages; whoever lets processors write to known pages without asking must make them forget those.
    pub fn update(&mut self, ram: &GuestRam) -> [u8; 32] {
        let written = ram.take_written();
        let frames: Vec<u64> = ram.frames().collect();
        if self.pages.len() != frames.len() {
            self.pages = vec![[0; 32]; frames.len()];
        }
        let mut page = [0; PAGE_SIZE as usize];
        for frame in written {
            let Ok(at) = frames.binary_search(&frame) else { continue };
            let (Some(slot), Ok(())) = (self.pages.get_mut(at), ram.read(frame * PAGE_SIZE, &mut page))
            else {
                continue;
            };
            *slot =
                if page.iter().all(|byte| *byte == 0) { [0; 32] } else { *blake3::hash(&page).as_bytes() };
        }
        let mut whole = blake3::Hasher::new();
        for (frame, hash) in frames.iter().zip(&self.pages).filter(|(_, hash)| **hash != [0; 32]) {
            whole.update(&frame.to_le_bytes()).update(hash);
        }
        *whole.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_contents_have_equal_digests_however_they_came_about() {
        let (one, other) = (GuestRam::new(1 << 20).unwrap(), GuestRam::new(1 << 20).unwrap());
        let (mut digest_one, mut digest_other) = (RamDigest::default(), RamDigest::default());
        one.write(0x5000, &[1, 2, 3]).unwrap();
        digest_one.update(&one);
        one.write(0x9000, &[7]).unwrap();
        digest_one.update(&one);
        one.write(0x9000, &[0]).unwrap();
        other.write(0x5000, &[1, 2]).unwrap();
        assert_ne!(digest_one.update(&one), digest_other.update(&other));
        other.write(0x5002, &[3]).unwrap();
        assert_eq!(digest_one.update(&one), digest_other.update(&other));
    }

    #[test]
    fn a_page_counts_by_its_place() {
        let (one, other) = (GuestRam::new(1 << 20).unwrap(), GuestRam::new(1 << 20).unwrap());
        one.write(0x5000, &[1]).unwrap();
        other.write(0x6000, &[1]).unwrap();
        assert_ne!(RamDigest::default().update(&one), RamDigest::default().update(&other));
    }
}
