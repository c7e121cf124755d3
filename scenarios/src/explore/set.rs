//! States that were the same so far, and how they part.
//!
//! Either states of the listed family, by their numbers, or a *product*: some blocks of one crash space, each with the versions that may
//! survive, of which any combination is a state. Nobody lists those: a block has no version until somebody reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use devices::disk::Media;

use super::family::State;

/// A block of a disk, 4 KiB.
pub type Place = (usize, u64);
type Hash = Option<[u8; 32]>;

/// Blocks of one crash space that are left open.
#[derive(Debug, Clone)]
pub struct Product {
    /// Number of the cut.
    pub cut: usize,
    /// Each disk, with everything that was accepted: what lies outside the open blocks is as here.
    pub whole: Vec<Media>,
    /// Versions of each open block, the oldest first: media that have it. The last one is the one that `whole` has.
    pub open: BTreeMap<Place, Vec<Media>>,
}

impl Product {
    /// How many states it has, as a power of two.
    pub fn log2(&self) -> f64 {
        self.open.iter().map(|(place, versions)| (contents(*place, versions).len() as f64).log2()).sum()
    }

    fn version(&self, place: Place, version: usize) -> Option<&Media> {
        self.open.get(&place)?.get(version)
    }
}

/// Different contents among the versions of a block, each with the newest version that has it. The contents of the newest version come first.
fn contents(place: Place, versions: &[Media]) -> Vec<usize> {
    let mut known: Vec<Hash> = Vec::new();
    let mut different = Vec::new();
    for (version, media) in versions.iter().enumerate().rev() {
        let hash = media.block_hash(place.1);
        if !known.contains(&hash) {
            known.push(hash);
            different.push(version);
        }
    }
    different
}

/// Versions of blocks that were read.
pub type Resolved = BTreeMap<Place, usize>;

/// The contents of the disks of a machine, where it has not written itself.
#[derive(Debug, Clone)]
pub enum Face {
    /// Those of a state of the family.
    State(usize),
    /// Those of a product, with these versions, and the newest elsewhere.
    Product(Arc<Product>, Resolved),
}

impl Face {
    /// Media that have this block as it is.
    pub fn media<'a>(&'a self, states: &'a [State], (disk, block): Place) -> Option<&'a Media> {
        match self {
            Self::State(number) => states.get(*number)?.media((disk, block)),
            Self::Product(product, resolved) => match resolved.get(&(disk, block)) {
                Some(version) => product.version((disk, block), *version),
                None => product.whole.get(disk),
            },
        }
    }

    fn hash(&self, states: &[State], place: Place) -> Hash {
        self.media(states, place)?.block_hash(place.1)
    }

    /// Whether a block is the same here and there.
    pub fn agrees(&self, other: &Self, states: &[State], place: Place) -> bool {
        self.hash(states, place) == other.hash(states, place)
    }
}

/// States that were the same so far.
#[derive(Debug, Clone)]
pub enum Set {
    /// States of the family, by their numbers; never none.
    Listed(Vec<usize>),
    /// All states of a product that have these versions.
    Product(Arc<Product>, Resolved),
}

impl Set {
    /// A product of which nobody has read anything.
    pub fn product(product: Product) -> Self {
        Self::Product(Arc::new(product), Resolved::new())
    }

    /// One of them.
    pub fn face(&self) -> Face {
        match self {
            Self::Listed(states) => Face::State(states.first().copied().unwrap_or_default()),
            Self::Product(product, resolved) => Face::Product(Arc::clone(product), resolved.clone()),
        }
    }

    /// States of the listed family among them.
    pub fn listed(&self) -> &[usize] {
        match self {
            Self::Listed(states) => states,
            Self::Product(..) => &[],
        }
    }

    /// Parts them by what these blocks hold: those with the contents of the face stay. Returns the others, and of each the blocks by which
    /// it has yet to be parted.
    pub fn part(&mut self, states: &[State], blocks: &[Place]) -> Vec<(Self, Vec<Place>)> {
        match self {
            Self::Listed(numbers) => {
                let contents = |number: usize| -> Vec<Hash> {
                    blocks.iter().map(|place| Face::State(number).hash(states, *place)).collect()
                };
                let mut classes: BTreeMap<Vec<Hash>, Vec<usize>> = BTreeMap::new();
                let own = contents(numbers.first().copied().unwrap_or_default());
                for number in &*numbers {
                    classes.entry(contents(*number)).or_default().push(*number);
                }
                *numbers = classes.remove(&own).unwrap_or_default();
                // Taken from the end: first those in which the least is lost.
                let least = |numbers: &Vec<usize>| {
                    let states = numbers.iter().filter_map(|number| states.get(*number));
                    states.flat_map(|state| &state.origins).map(|origin| origin.lost).min()
                };
                let mut classes: Vec<Vec<usize>> = classes.into_values().collect();
                classes.sort_by_key(|numbers| std::cmp::Reverse(least(numbers)));
                classes.into_iter().map(|numbers| (Self::Listed(numbers), Vec::new())).collect()
            }
            Self::Product(product, resolved) => {
                let mut others = Vec::new();
                for (at, place) in blocks.iter().enumerate() {
                    if resolved.contains_key(place) {
                        continue;
                    }
                    let Some(versions) = product.open.get(place) else { continue };
                    let mut different = contents(*place, versions).into_iter();
                    let Some(newest) = different.next() else { continue };
                    for version in different {
                        let mut other = resolved.clone();
                        other.insert(*place, version);
                        let rest = blocks.get(at + 1..).unwrap_or_default().to_vec();
                        others.push((Self::Product(Arc::clone(product), other), rest));
                    }
                    resolved.insert(*place, newest);
                }
                others
            }
        }
    }

    /// How many states, as a power of two.
    pub fn log2(&self) -> f64 {
        match self {
            Self::Listed(states) => (states.len() as f64).log2(),
            Self::Product(product, resolved) => {
                let left = product.open.iter().filter(|(place, _)| !resolved.contains_key(*place));
                left.map(|(place, versions)| (contents(*place, versions).len() as f64).log2()).sum()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::family::Origin;
    use devices::disk::BLOCK;

    fn media(blocks: &[(u64, u8)]) -> Media {
        let mut media = Media::blank(1 << 20).unwrap();
        for (block, byte) in blocks {
            media.write(block * BLOCK, &[*byte; BLOCK as usize]).unwrap();
        }
        media
    }

    fn product() -> Product {
        // Block 1 was 1, then 2, then 1 again; block 5 was 0, then 7; block 6 is not open.
        let versions = |block, bytes: &[u8]| bytes.iter().map(|byte| media(&[(block, *byte)])).collect();
        let whole = vec![media(&[(1, 1), (5, 7), (6, 6)])];
        let open = BTreeMap::from([((0, 1), versions(1, &[1, 2, 1])), ((0, 5), versions(5, &[0, 7]))]);
        Product { cut: 3, whole, open }
    }

    #[test]
    fn a_product_parts_into_every_combination_that_was_read_and_no_more() {
        let product = product();
        assert_eq!(product.log2(), 2.0);
        let mut open = vec![(Set::product(product), vec![(0, 1), (0, 5), (0, 6)])];
        let mut seen = Vec::new();
        while let Some((mut set, blocks)) = open.pop() {
            open.extend(set.part(&[], &blocks));
            let face = set.face();
            let byte = |block: u64| {
                let mut byte = [0];
                face.media(&[], (0, block)).unwrap().read(block * BLOCK, &mut byte).unwrap();
                byte[0]
            };
            assert_eq!(set.log2(), 0.0);
            seen.push((byte(1), byte(5), byte(6)));
        }
        seen.sort_unstable();
        assert_eq!(seen, [(1, 0, 6), (1, 7, 6), (2, 0, 6), (2, 7, 6)]);
    }

    #[test]
    fn what_nobody_reads_has_no_version() {
        let mut set = Set::product(product());
        assert!(set.part(&[], &[(0, 6), (0, 9)]).is_empty());
        assert_eq!(set.log2(), 2.0);
        assert_eq!(set.part(&[], &[(0, 5)]).len(), 1);
        assert_eq!(set.log2(), 1.0);
    }

    #[test]
    fn listed_states_part_by_the_bytes_of_what_is_read() {
        let state = |blocks: &[(u64, u8)], lost| {
            State::new(vec![media(blocks)], vec![Origin::at(0, Vec::new(), lost)])
        };
        let states =
            [state(&[(1, 1)], 0), state(&[(1, 2)], 3), state(&[(1, 1), (2, 9)], 1), state(&[(1, 3)], 2)];
        let mut set = Set::Listed(vec![0, 1, 2, 3]);
        let others = set.part(&states, &[(0, 1)]);
        assert_eq!(set.listed(), [0, 2]);
        let others: Vec<&[usize]> = others.iter().map(|(set, _)| set.listed()).collect();
        assert_eq!(others, [[1], [3]]);
        assert!(set.part(&states, &[(0, 1)]).is_empty());
    }
}
