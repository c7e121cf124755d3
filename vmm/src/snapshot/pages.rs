//! What memory contains, as a value: copies share the pages that neither of them changed since.
//!
//! A tree with sixteen branches at each node, whose nodes are never changed while somebody else holds them. To find a page takes six
//! steps however many snapshots there were, and the pages in which two values differ are found at a cost that depends on the number
//! of those pages: what both share is shared by address, and not looked into.

use std::sync::Arc;

use ram::{MAX_BYTES, PAGE_SIZE};

/// Contents of a page.
pub type Page = [u8; PAGE_SIZE as usize];

/// Zeros.
pub const ZERO: Page = [0; PAGE_SIZE as usize];

const BITS: u32 = 4;
const BRANCHES: usize = 1 << BITS;
const LEVELS: u32 = 6;
const _: () = assert!(MAX_BYTES / PAGE_SIZE <= 1 << (BITS * LEVELS));

/// Contents of all pages, by how many pages of memory lie below. A page of zeros is none.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    root: Node,
}

#[derive(Debug, Clone, Default)]
enum Node {
    /// Nothing but zeros.
    #[default]
    Empty,
    Inner(Arc<[Node; BRANCHES]>),
    Page(Arc<Page>),
}

static EMPTY: Node = Node::Empty;

impl Pages {
    /// A page, unless it is all zeros.
    pub fn get(&self, number: usize) -> Option<&Arc<Page>> {
        let mut node = &self.root;
        for level in (0..LEVELS).rev() {
            let Node::Inner(children) = node else { return None };
            node = children.get(branch(number, level))?;
        }
        match node {
            Node::Page(page) => Some(page),
            _ => None,
        }
    }

    /// Replaces a page. None: all zeros.
    pub fn set(&mut self, number: usize, page: Option<Arc<Page>>) {
        self.root.set(LEVELS, number, page);
    }

    /// Calls this with the number of each page whose contents differ, in ascending order.
    pub fn differences(&self, other: &Self, mut each: impl FnMut(usize)) {
        self.root.differences(&other.root, LEVELS, 0, &mut each);
    }

    /// All pages that are not all zeros, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Arc<Page>)> {
        let mut numbers = Vec::new();
        Self::default().differences(self, |number| numbers.push(number));
        numbers.into_iter().filter_map(|number| Some((number, self.get(number)?)))
    }
}

impl PartialEq for Pages {
    fn eq(&self, other: &Self) -> bool {
        let mut same = true;
        self.differences(other, |_| same = false);
        same
    }
}

fn branch(number: usize, level: u32) -> usize {
    number >> (BITS * level) & (BRANCHES - 1)
}

impl Node {
    fn set(&mut self, level: u32, number: usize, page: Option<Arc<Page>>) {
        let Some(below) = level.checked_sub(1) else {
            *self = page.map_or(Self::Empty, Self::Page);
            return;
        };
        if !matches!(self, Self::Inner(_)) {
            if page.is_none() {
                return;
            }
            *self = Self::Inner(Arc::new(std::array::from_fn(|_| Self::Empty)));
        }
        if let Self::Inner(children) = self
            && let Some(child) = Arc::make_mut(children).get_mut(branch(number, below))
        {
            child.set(below, number, page);
        }
    }

    fn differences(&self, other: &Self, level: u32, first: usize, each: &mut impl FnMut(usize)) {
        match (self, other) {
            (Self::Empty, Self::Empty) => return,
            (Self::Inner(ours), Self::Inner(theirs)) if Arc::ptr_eq(ours, theirs) => return,
            (Self::Page(ours), Self::Page(theirs)) if Arc::ptr_eq(ours, theirs) || ours == theirs => return,
            _ => {}
        }
        let Some(below) = level.checked_sub(1) else { return each(first) };
        for at in 0..BRANCHES {
            let first = first | at << (BITS * below);
            self.child(at).differences(other.child(at), below, first, each);
        }
    }

    fn child(&self, at: usize) -> &Self {
        match self {
            Self::Inner(children) => children.get(at).unwrap_or(&EMPTY),
            _ => &EMPTY,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn page(value: u8) -> Option<Arc<Page>> {
        (value != 0).then(|| Arc::new([value; PAGE_SIZE as usize]))
    }

    /// Numbers that share nodes, and numbers far apart.
    fn number() -> impl Strategy<Value = usize> {
        prop_oneof![0usize..40, 0usize..70_000, Just((1 << 24) - 1)]
    }

    proptest! {
        /// Against a plain map; copies stay as they were, and differences are those of the maps.
        #[test]
        fn behaves_like_a_map(
            first in prop::collection::vec((number(), 0u8..4), 0..60),
            second in prop::collection::vec((number(), 0u8..4), 0..60),
        ) {
            let (mut pages, mut map) = (Pages::default(), BTreeMap::new());
            let apply = |pages: &mut Pages, map: &mut BTreeMap<usize, u8>, changes: &[(usize, u8)]| {
                for (number, value) in changes {
                    pages.set(*number, page(*value));
                    map.insert(*number, *value);
                    map.retain(|_, value| *value != 0);
                }
            };
            apply(&mut pages, &mut map, &first);
            let (copy, copied) = (pages.clone(), map.clone());
            apply(&mut pages, &mut map, &second);
            let as_map = |pages: &Pages| pages.iter().map(|(number, page)| (number, page[7])).collect::<BTreeMap<_, _>>();
            prop_assert_eq!(as_map(&pages), map.clone());
            prop_assert_eq!(as_map(&copy), copied.clone());
            let mut found = Vec::new();
            copy.differences(&pages, |number| found.push(number));
            let mut expected: Vec<usize> = copied.keys().chain(map.keys()).copied().collect();
            expected.sort_unstable();
            expected.dedup();
            expected.retain(|number| copied.get(number) != map.get(number));
            prop_assert_eq!(found, expected.clone());
            prop_assert_eq!(copy == pages, expected.is_empty());
        }
    }

    #[test]
    fn equal_contents_are_equal_wherever_they_lie() {
        let (mut one, mut other) = (Pages::default(), Pages::default());
        one.set(5, page(1));
        one.set(9, page(2));
        other.set(9, page(2));
        assert_ne!(one, other);
        other.set(5, page(1));
        assert_eq!(one, other);
        one.set(9, None);
        assert_ne!(one, other);
    }
}
