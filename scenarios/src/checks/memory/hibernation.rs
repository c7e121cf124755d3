//! Memory when a hibernated kernel is entered: what its snapshot was, page by page, by what lies on the disk.

use std::fmt::Display;

use ram::{GuestRam, PAGE_SIZE};

use super::{Difference, shown};
use crate::checks::{Check, Clause};
use crate::image::{Ours, Page, Part, Swsusp};

/// What is not compared, because an image does not have it: a part of the oracle.
const EXCLUSIONS: &str = "not compared, for they are not in the snapshot: free pages, forbidden and offline pages, the snapshot's own copies and \
                          bitmaps, nosave and reserved pages that are not there, guard pages, gaps of the memory map";

/// Where images lie: partitions of swap, and those that our agents write to.
#[derive(Debug, Clone, Default)]
pub struct Images {
    /// Swap.
    pub swap: Vec<Part>,
    /// Ours.
    pub ours: Vec<Part>,
}

/// With the processor at the first instruction of `restore_registers`: every page frame that the image has is what the image has.
/// `images`: partitions as they were when the kernel had gone.
pub fn compare_with_snapshot(ram: &GuestRam, images: &Images, of: &str) -> Check {
    match judge(ram, images) {
        Ok((pages, differences)) => {
            let mut evidence = shown(differences.iter().map(ToString::to_string));
            evidence.push(format!("compared: {pages} page frames of the image"));
            evidence.push(EXCLUSIONS.to_owned());
            if differences.is_empty() {
                return Check { evidence, ..Check::pass(Clause::MemoryAcrossHibernation, of) };
            }
            Check::fail(Clause::MemoryAcrossHibernation, of, "memory differs", evidence)
        }
        Err(why) => Check::not_observed(Clause::MemoryAcrossHibernation, of, why),
    }
}

/// How many pages were compared, and those that differ.
fn judge(ram: &GuestRam, images: &Images) -> Result<(u64, Vec<Difference>), String> {
    let mut flaws = Vec::new();
    for part in &images.swap {
        match Swsusp::read(part, 0) {
            Ok(Some(image)) => match &image.flaw {
                None => return compare(ram, image.pages()),
                Some(flaw) => flaws.push(format!("the image in swap cannot be read: {flaw}")),
            },
            Ok(None) => {}
            Err(error) => flaws.push(error.to_string()),
        }
    }
    for part in &images.ours {
        match Ours::read(part) {
            Ok(Some(image)) => match &image.flaw {
                None if image.info.is_some() => return compare(ram, image.pages()),
                None => {}
                Some(flaw) => flaws.push(format!("the image cannot be read: {flaw}")),
            },
            Ok(None) => {}
            Err(error) => flaws.push(error.to_string()),
        }
    }
    flaws.push("no image of a hibernated kernel in a partition of the scenario".to_owned());
    Err(flaws.swap_remove(0))
}

fn compare<E: Display>(
    ram: &GuestRam,
    pages: impl Iterator<Item = Result<(u64, Page), E>>,
) -> Result<(u64, Vec<Difference>), String> {
    let mut compared = 0;
    let mut differences = Vec::new();
    let mut now = [0; PAGE_SIZE as usize];
    for page in pages {
        let (frame, page) = page.map_err(|error| error.to_string())?;
        let address = frame.saturating_mul(PAGE_SIZE);
        ram.read(address, &mut now)
            .map_err(|_| format!("page {address:#x} of the image is no memory of this machine"))?;
        differences.extend(Difference::between(frame, page.bytes(), &now));
        compared += 1;
    }
    match compared {
        0 => Err("the image has no pages".to_owned()),
        _ => Ok((compared, differences)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Status;

    #[test]
    fn pages_are_held_against_memory() {
        let ram = GuestRam::new(1 << 20).unwrap();
        ram.write(0x5000, &[7; 4096]).unwrap();
        let image = || {
            [(3, Page::Zero), (5, Page::Stored(Box::new([7; 4096])))].map(Ok::<_, std::io::Error>).into_iter()
        };
        assert_eq!(compare(&ram, image()), Ok((2, Vec::new())));
        ram.write(0x3010, &[1]).unwrap();
        ram.write(0x4010, &[1]).unwrap();
        let (_, found) = compare(&ram, image()).unwrap();
        assert_eq!(found, [Difference { frame: 3, bytes: 1, first: 16, was: 0, is: 1 }]);
        let beyond = [Ok::<_, std::io::Error>((1 << 30, Page::Zero))];
        assert!(compare(&ram, beyond.into_iter()).unwrap_err().contains("no memory of this machine"));
    }

    #[test]
    fn without_an_image_nothing_is_observed() {
        let ram = GuestRam::new(1 << 20).unwrap();
        let check = compare_with_snapshot(&ram, &Images::default(), "here");
        assert_eq!((check.status, check.clause), (Status::NotObserved, Clause::MemoryAcrossHibernation));
    }
}
