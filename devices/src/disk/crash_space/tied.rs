//! Writes that survive as a whole: which sets of them are legal, which sets give the same media, how many media there are.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::Layout;
use super::{CrashState, Size};

/// The writes that touch open units. `kept` is a set of them, in the order of acceptance, everywhere here.
#[derive(Debug, Clone)]
pub(super) struct Tied {
    /// Of each pending write, its place among these, if it touches an open unit.
    places: Vec<Option<usize>>,
    open_writes: usize,
    groups: Vec<Group>,
}

/// Writes that are linked by common units. Groups are independent of one another.
#[derive(Debug, Clone)]
struct Group {
    /// Places, ascending: oldest first. Members are numbered within the group below.
    members: Vec<usize>,
    /// Each kind of open unit among them: units with the same versions of the same writes behave alike.
    cells: Vec<Cell>,
    needs: Vec<Need>,
    outcomes: Outcomes,
}

/// Versions of a unit beside the durable one: by which member, and which contents.
type Cell = Vec<(usize, u32)>;

/// A member that survives only with one of these.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Need {
    member: usize,
    cell: usize,
    any: Vec<usize>,
}

/// Largest sets of members that give different media.
#[derive(Debug, Clone)]
enum Outcomes {
    /// One member: lost or kept.
    Free,
    /// These, of several members.
    Listed(Vec<Vec<bool>>),
    /// Too many to list.
    Unlisted,
}

/// Outcomes of a group times its cells are listed up to here: enough for any file system seen so far, and little memory.
const LISTED: usize = 1 << 20;
/// Outcomes are listed up to here.
const OUTCOMES: usize = 1 << 12;

impl Tied {
    pub(super) fn new(layout: &Layout, writes: usize) -> Self {
        let mut places = vec![None; writes];
        let mut links = Links::new(writes);
        for open in &layout.open {
            let layers = layout.layers(open);
            for (layer, next) in layers.iter().zip(layers.iter().skip(1).chain(layers.last())) {
                places[layer.write] = Some(0);
                links.join(layer.write, next.write);
            }
        }
        for (place, known) in places.iter_mut().flatten().zip(0..) {
            *place = known;
        }
        // Groups by their first write.
        let mut group_of: BTreeMap<usize, usize> = BTreeMap::new();
        let mut groups: Vec<Group> = Vec::new();
        // Of each write, its group and its number there.
        let mut member_of = vec![(0, 0); writes];
        for (write, place) in places.iter().enumerate() {
            let Some(place) = place else { continue };
            let group = *group_of.entry(links.first(write)).or_insert(groups.len());
            if group == groups.len() {
                groups.push(Group {
                    members: Vec::new(),
                    cells: Vec::new(),
                    needs: Vec::new(),
                    outcomes: Outcomes::Free,
                });
            }
            member_of[write] = (group, groups[group].members.len());
            groups[group].members.push(*place);
        }
        let mut known: BTreeSet<(usize, Cell, Vec<Need>)> = BTreeSet::new();
        for open in &layout.open {
            let layers = layout.layers(open);
            let Some((group, _)) = layers.first().map(|layer| member_of[layer.write]) else { continue };
            if groups[group].members.len() == 1 {
                continue;
            }
            let member = |layer: usize| member_of[layers[layer].write].1;
            let mut cell: Cell =
                (0..layers.len()).map(|layer| (member(layer), open.pattern.id(layer + 1))).collect();
            // Of several changes of one write the last counts: they survive together.
            cell.reverse();
            cell.dedup_by_key(|(member, _)| *member);
            cell.reverse();
            let mut needs = Vec::new();
            for (version, layer) in layers.iter().enumerate().filter(|(_, layer)| layer.is_partial()) {
                // Version n is of layer n - 1, so this layer was merged with version `version`. Equal ones before it do as well.
                let merged = open.pattern.id(version);
                let equal =
                    (0..=version).rev().take_while(|before| open.pattern.id(*before) == merged).count();
                let any: Vec<usize> =
                    (version + 1 - equal..=version).filter_map(|n| n.checked_sub(1)).map(member).collect();
                let member = member_of[layer.write].1;
                // If the durable version is one of them, it is there without any write.
                if any.len() == equal && !any.contains(&member) {
                    needs.push(Need { member, cell: 0, any });
                }
            }
            if known.insert((group, cell.clone(), needs.clone())) {
                let group = &mut groups[group];
                needs.iter_mut().for_each(|need| need.cell = group.cells.len());
                group.needs.extend(needs);
                group.cells.push(cell);
            }
        }
        for group in &mut groups {
            group.needs.sort();
            if group.members.len() > 1 {
                group.outcomes = group.list().map_or(Outcomes::Unlisted, Outcomes::Listed);
            }
        }
        let open_writes = places.iter().flatten().count();
        Self { places, open_writes, groups }
    }

    /// How many writes touch an open unit.
    pub(super) fn open_writes(&self) -> usize {
        self.open_writes
    }

    /// Whether a pending write survives. One that touches no open unit does: nothing of it is missing.
    pub(super) fn is_kept(&self, kept: &[bool], write: usize) -> bool {
        let place = self.places.get(write).copied().flatten();
        place.is_none_or(|place| kept.get(place).is_some_and(|kept| *kept))
    }

    /// A set, by the places of pending writes.
    pub(super) fn select(&self, mut kept: impl FnMut(usize) -> bool) -> Vec<bool> {
        let open = self.places.iter().enumerate().filter(|(_, place)| place.is_some());
        open.map(|(write, _)| kept(write)).collect()
    }

    /// Whether each write of the set survives with what it needs.
    pub(super) fn is_legal(&self, kept: &[bool]) -> bool {
        self.groups.iter().all(|group| group.is_legal(&group.of(kept)))
    }

    /// The state of a set, without the writes that cannot survive without others.
    pub(super) fn settle(&self, mut kept: Vec<bool>) -> CrashState {
        for group in self.groups.iter().filter(|group| group.members.len() > 1) {
            let mut own = group.of(&kept);
            group.prune(&mut own);
            group.enlarge(&mut own);
            group.put(&own, &mut kept);
        }
        CrashState::of(true, kept.into_iter().map(u32::from))
    }

    /// The state of a set, with what its writes need: of several writes that would do, the newest.
    pub(super) fn complete(&self, mut kept: Vec<bool>) -> CrashState {
        for group in self.groups.iter().filter(|group| !group.needs.is_empty()) {
            let mut own = group.of(&kept);
            for need in group.needs.iter().rev() {
                if own[need.member]
                    && !need.any.iter().any(|other| own[*other])
                    && let Some(newest) = need.any.iter().max()
                {
                    own[*newest] = true;
                }
            }
            group.put(&own, &mut kept);
        }
        self.settle(kept)
    }

    /// Times the number of states.
    pub(super) fn multiply(&self, size: &mut Size) {
        for group in &self.groups {
            match &group.outcomes {
                Outcomes::Free => size.times(2),
                Outcomes::Listed(outcomes) => size.times(outcomes.len() as u64),
                Outcomes::Unlisted => size.at_most_times_two_to(group.members.len() as u64),
            }
        }
    }

    /// How many values each digit of a number of an outcome has.
    pub(super) fn radices(&self) -> Vec<u128> {
        let radix = |group: &Group| match &group.outcomes {
            Outcomes::Free => 2,
            Outcomes::Listed(outcomes) => outcomes.len() as u128,
            Outcomes::Unlisted => 1u128.checked_shl(group.members.len() as u32).unwrap_or(u128::MAX),
        };
        self.groups.iter().map(radix).collect()
    }

    /// The outcome with these digits. Where a group has too many outcomes to list, all sets have a number: none if this one is not
    /// legal, or not the largest of those that give the same media.
    pub(super) fn outcome(&self, digits: &[u128]) -> Option<CrashState> {
        let mut kept = vec![false; self.open_writes];
        for (group, digit) in self.groups.iter().zip(digits) {
            match &group.outcomes {
                Outcomes::Free => group.put(&[*digit == 1], &mut kept),
                Outcomes::Listed(outcomes) => {
                    group.put(outcomes.get(usize::try_from(*digit).ok()?)?, &mut kept)
                }
                Outcomes::Unlisted => {
                    let bit = |member: u32| digit.checked_shr(member).unwrap_or(0) & 1 == 1;
                    let own: Vec<bool> = (0..group.members.len() as u32).map(bit).collect();
                    let mut largest = own.clone();
                    group.enlarge(&mut largest);
                    if !group.is_legal(&own) || largest != own {
                        return None;
                    }
                    group.put(&own, &mut kept);
                }
            }
        }
        Some(CrashState::of(true, kept.into_iter().map(u32::from)))
    }
}

impl Group {
    /// The part of a set that concerns the group.
    fn of(&self, kept: &[bool]) -> Vec<bool> {
        self.members.iter().map(|place| kept.get(*place).is_some_and(|kept| *kept)).collect()
    }

    fn put(&self, own: &[bool], kept: &mut [bool]) {
        for (place, own) in self.members.iter().zip(own) {
            kept[*place] = *own;
        }
    }

    fn is_legal(&self, own: &[bool]) -> bool {
        self.needs.iter().all(|need| !own[need.member] || need.any.iter().any(|other| own[*other]))
    }

    /// Leaves out what cannot survive. Needs are sorted by member and name older ones, so one pass does.
    fn prune(&self, own: &mut [bool]) {
        for need in &self.needs {
            if !need.any.iter().any(|other| own[*other]) {
                own[need.member] = false;
            }
        }
    }

    /// The largest legal set with the same contents of all units, of a legal set.
    ///
    /// Members may be added together that could not be added alone, so this begins with all of them and takes away, until nothing
    /// changes, each that would show other contents or that lacks what it needs.
    fn enlarge(&self, own: &mut Vec<bool>) {
        let newest = |set: &[bool], cell: &Cell| cell.iter().rev().find(|(member, _)| set[*member]).copied();
        let contents: Vec<u32> =
            self.cells.iter().map(|cell| newest(own, cell).map_or(0, |(_, contents)| contents)).collect();
        let mut larger = vec![true; own.len()];
        loop {
            let mut changed = false;
            for (cell, contents) in self.cells.iter().zip(&contents) {
                // Newer members that show other contents go, until one shows the same. If that is none, all go.
                while let Some((member, other)) = newest(&larger, cell) {
                    if other == *contents {
                        break;
                    }
                    larger[member] = false;
                    changed = true;
                }
            }
            for need in &self.needs {
                if larger[need.member] && !need.any.iter().any(|other| larger[*other]) {
                    larger[need.member] = false;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        *own = larger;
    }

    /// All outcomes, each as its largest set, if there are not too many.
    fn list(&self) -> Option<Vec<Vec<bool>>> {
        // By the member that each cell shows. What a later member needs depends on nothing else.
        let mut shown: BTreeMap<Vec<Option<usize>>, Vec<bool>> = BTreeMap::new();
        shown.insert(vec![None; self.cells.len()], vec![false; self.members.len()]);
        for member in 0..self.members.len() {
            let needs: Vec<&Need> = self.needs.iter().filter(|need| need.member == member).collect();
            let touched = self.cells.iter().map(|cell| cell.iter().any(|(other, _)| *other == member));
            let touched: Vec<usize> =
                touched.enumerate().filter_map(|(cell, touched)| touched.then_some(cell)).collect();
            let mut with = Vec::new();
            for (cells, own) in &shown {
                let shows = |need: &&Need| cells[need.cell].is_some_and(|shown| need.any.contains(&shown));
                if !needs.iter().all(shows) {
                    continue;
                }
                let (mut cells, mut own) = (cells.clone(), own.clone());
                touched.iter().for_each(|cell| cells[*cell] = Some(member));
                own[member] = true;
                with.push((cells, own));
            }
            for (cells, own) in with {
                shown.entry(cells).or_insert(own);
            }
            if shown.len() > OUTCOMES || shown.len() * self.cells.len() > LISTED {
                return None;
            }
        }
        let largest = shown.into_values().map(|mut own| {
            self.enlarge(&mut own);
            own
        });
        Some(largest.collect::<BTreeSet<_>>().into_iter().collect())
    }
}

/// Which writes have units in common, directly or through others.
struct Links(Vec<usize>);

impl Links {
    fn new(writes: usize) -> Self {
        Self((0..writes).collect())
    }

    /// The oldest write that this one is linked to.
    fn first(&mut self, mut write: usize) -> usize {
        while self.0[write] != write {
            self.0[write] = self.0[self.0[write]];
            write = self.0[write];
        }
        write
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.first(one), self.first(other));
        self.0[one.max(other)] = one.min(other);
    }
}
