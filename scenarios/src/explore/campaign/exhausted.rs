//! Regions of which every mix of versions is decided.

use devices::disk::{BLOCK, BaseError, Media};
use serde::{Deserialize, Serialize};

use crate::explore::choice::Choice;
use crate::explore::family::Origin;
use crate::explore::set::{Product, Set};
use crate::explore::tree::Effort;

/// How much of a region is decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exhausted {
    /// Its name.
    pub region: String,
    /// Different crash spaces in which something of it is open.
    pub spaces: usize,
    /// States of the largest of them, as a power of two.
    pub largest_log2: f64,
    /// Boots that came to their end.
    pub executed: u64,
    /// Of each space, which part of its states is decided.
    pub parts: Vec<f64>,
    /// And how many there are, as a power of two.
    log2: Vec<f64>,
}

/// Sums of parts are sums of powers of two, which are exact but where they are very many.
const WHOLE: f64 = 1.0 - 1e-9;

impl Exhausted {
    /// Nothing of it is decided.
    pub(super) fn new(region: &str, products: &[Product]) -> Self {
        let log2: Vec<f64> = products.iter().map(Product::log2).collect();
        Self {
            region: region.to_owned(),
            spaces: products.len(),
            largest_log2: log2.iter().copied().fold(0.0, f64::max),
            executed: 0,
            parts: vec![0.0; products.len()],
            log2,
        }
    }

    /// These states of a space are.
    pub(super) fn decided(&mut self, space: usize, set: &Set, effort: Effort) {
        self.executed += effort.executed;
        if let (Some(part), Some(log2)) = (self.parts.get_mut(space), self.log2.get(space)) {
            *part += (set.log2() - log2).exp2();
        }
    }

    /// Spaces of which every state is decided.
    pub fn done(&self) -> usize {
        self.parts.iter().filter(|part| **part >= WHOLE).count()
    }

    /// Whether all of it is.
    pub fn is_exhausted(&self) -> bool {
        self.done() == self.spaces
    }
}

/// One of the states of a set that nobody lists.
pub(super) struct Mixed {
    pub disks: Vec<Media>,
    pub origin: Origin,
}

impl Mixed {
    /// That in which nothing is lost but what was read. None: the set is of listed states.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn of(set: &Set) -> Result<Option<Self>, BaseError> {
        let Set::Product(product, resolved) = set else { return Ok(None) };
        let mut disks = product.whole.clone();
        let mut chosen: Vec<Vec<(u64, usize)>> = vec![Vec::new(); disks.len()];
        let mut bytes = [0; BLOCK as usize];
        for (&(disk, block), &version) in resolved {
            let Some(versions) = product.open.get(&(disk, block)) else { continue };
            if version + 1 == versions.len() {
                continue;
            }
            let (Some(media), Some(chosen), Some(from)) =
                (disks.get_mut(disk), chosen.get_mut(disk), versions.get(version))
            else {
                continue;
            };
            from.read(block * BLOCK, &mut bytes)?;
            media.write(block * BLOCK, &bytes)?;
            chosen.push((block, version));
        }
        let lost = chosen.iter().map(Vec::len).sum();
        let choice = |chosen: Vec<_>| if chosen.is_empty() { Choice::All } else { Choice::Blocks(chosen) };
        let choices = chosen.into_iter().map(choice).collect();
        Ok(Some(Self { disks, origin: Origin::at(product.cut, choices, lost) }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn media(blocks: &[(u64, u8)]) -> Media {
        let mut media = Media::blank(1 << 20).unwrap();
        for (block, byte) in blocks {
            media.write(block * BLOCK, &[*byte; BLOCK as usize]).unwrap();
        }
        media
    }

    fn product() -> Product {
        let versions = |block, bytes: &[u8]| bytes.iter().map(|byte| media(&[(block, *byte)])).collect();
        let open = BTreeMap::from([((0, 1), versions(1, &[1, 2, 3])), ((0, 5), versions(5, &[0, 7]))]);
        Product { cut: 3, whole: vec![media(&[(1, 3), (5, 7)])], open }
    }

    #[test]
    fn a_region_is_exhausted_when_the_parts_of_each_space_are_all_there() {
        let product = product();
        let mut region = Exhausted::new("map", std::slice::from_ref(&product));
        assert_eq!((region.spaces, region.done()), (1, 0));
        let mut open = vec![(Set::product(product), vec![(0, 1)])];
        while let Some((mut set, blocks)) = open.pop() {
            assert!(!region.is_exhausted());
            open.extend(set.part(&[], &blocks));
            region.decided(0, &set, Effort { executed: 1, ..Effort::default() });
        }
        // Three versions of the block that was read; of the other one nobody knows.
        assert_eq!((region.executed, region.done()), (3, 1));
        assert!(region.is_exhausted());
    }

    #[test]
    fn a_mix_has_the_versions_that_were_read_and_the_newest_of_all_else() {
        let mut set = Set::product(product());
        let (other, _) = set.part(&[], &[(0, 5)]).pop().unwrap();
        let whole = Mixed::of(&set).unwrap().unwrap();
        assert_eq!((whole.origin.lost, &whole.origin.choices[..]), (0, &[Choice::All][..]));
        let mixed = Mixed::of(&other).unwrap().unwrap();
        assert_eq!(mixed.origin, Origin::at(3, vec![Choice::Blocks(vec![(5, 0)])], 1));
        assert!(mixed.disks[0] == media(&[(1, 3), (5, 0)]));
        assert!(Mixed::of(&Set::Listed(vec![1])).unwrap().is_none());
    }
}
