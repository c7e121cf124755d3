//! Which entries an exported log has, in which order.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::Order;
use crate::disk::write_log::without;
use crate::disk::write_log::{Entry, Operation, PowerMark, Record};
use crate::disk::{Contents, Extent, WriteLog};

/// An entry, or several.
pub(super) enum Item<'a> {
    /// All before it is durable.
    Flush,
    Mark(Cow<'a, str>),
    Write {
        extent: Extent,
        /// Of more sectors, perhaps.
        contents: &'a Contents,
        /// Sectors of the contents before those of the extent.
        skip: u64,
        fua: bool,
    },
}

/// A request that changes something and was not written out yet, by the place of its acceptance.
struct Waiting<'a> {
    fua: bool,
    changes: &'a [(Extent, Contents)],
    /// Place of the entry that ended it.
    ended: Option<usize>,
}

/// What is known at some entry of the log.
pub(super) struct Plan<'a> {
    items: Vec<Item<'a>>,
    waiting: BTreeMap<usize, Waiting<'a>>,
    /// Where the newest request of each number was accepted.
    places: BTreeMap<u64, usize>,
    /// What was written out already, as long as something accepted before it was not.
    overtook: BTreeMap<usize, &'a [(Extent, Contents)]>,
    /// Numbers of the flushes in flight.
    flushes: BTreeSet<u64>,
    /// In the order of durability: what just became durable, by the entry that ended it and that accepted it; and whether a flush did
    /// that, which is written out after them.
    durable: Vec<(Option<usize>, usize)>,
    flushed: bool,
    /// How often each mark occurred.
    marks: BTreeMap<PowerMark, u32>,
}

impl<'a> Plan<'a> {
    pub(super) fn of(log: &'a WriteLog, order: Order) -> Vec<Item<'a>> {
        let completed: BTreeSet<usize> = log
            .requests()
            .into_iter()
            .filter(|logged| logged.completed.is_some() && *logged.operation == Operation::Flush)
            .map(|flush| flush.accepted)
            .collect();
        let mut plan = Self {
            items: Vec::new(),
            waiting: BTreeMap::new(),
            places: BTreeMap::new(),
            overtook: BTreeMap::new(),
            flushes: BTreeSet::new(),
            durable: Vec::new(),
            flushed: false,
            marks: BTreeMap::new(),
        };
        for (place, Entry { record, .. }) in log.entries().enumerate() {
            if !matches!(record, Record::Durable { .. }) {
                plan.left_cache();
            }
            match record {
                Record::Accepted { request, operation: Operation::Flush } => {
                    plan.flushes.insert(*request);
                    if order == Order::Completion && completed.contains(&place) {
                        plan.items.push(Item::Flush);
                    }
                }
                Record::Accepted { request, operation: Operation::Change { fua, changes } } => {
                    let waiting = Waiting { fua: *fua, changes, ended: None };
                    plan.waiting.insert(place, waiting);
                    plan.places.insert(*request, place);
                }
                Record::Completed { request } => plan.ended(*request, place, true, order),
                Record::Failed { request } => plan.ended(*request, place, false, order),
                Record::Durable { request } => {
                    if order == Order::Durability
                        && let Some(accepted) = plan.places.get(request)
                        && let Some(waiting) = plan.waiting.get(accepted)
                    {
                        plan.durable.push((waiting.ended, *accepted));
                    }
                }
                Record::Power(mark) => {
                    let number = plan.marks.entry(*mark).or_default();
                    *number += 1;
                    plan.items.push(Item::Mark(format!("{}-{number}", mark.name()).into()));
                }
                Record::Lost { reverted } => plan.lost(reverted),
                Record::Note(text) => plan.items.push(Item::Mark(text.as_ref().into())),
                Record::Author { .. } => {}
            }
        }
        plan.left_cache();
        plan.items.push(Item::Mark("end".into()));
        plan.lost(&[]);
        plan.items
    }

    fn ended(&mut self, request: u64, place: usize, done: bool, order: Order) {
        if self.flushes.remove(&request) {
            self.flushed = done && order == Order::Durability;
            return;
        }
        let Some(accepted) = self.places.get(&request).copied() else { return };
        let Some(waiting) = self.waiting.get_mut(&accepted) else { return };
        waiting.ended = Some(place);
        let fua = done && waiting.fua;
        if order == Order::Completion || fua {
            self.write(accepted, fua);
        }
    }

    /// Writes out what just became durable, in the order of completion, and the flush that made it so.
    fn left_cache(&mut self) {
        let mut durable = std::mem::take(&mut self.durable);
        durable.sort_unstable();
        durable.into_iter().for_each(|(_, accepted)| self.write(accepted, false));
        if std::mem::take(&mut self.flushed) {
            self.items.push(Item::Flush);
        }
    }

    /// Writes a request out, but for the sectors that later ones changed already.
    fn write(&mut self, accepted: usize, fua: bool) {
        let Some(waiting) = self.waiting.remove(&accepted) else { return };
        for (whole, contents) in waiting.changes {
            let later = self.overtook.range(accepted..).flat_map(|(_, changes)| changes.iter());
            let rest = later.fold(vec![*whole], |rest, (extent, _)| without(rest, extent));
            for extent in rest.into_iter().filter(|extent| extent.sectors > 0) {
                self.items.push(Item::Write { extent, contents, skip: extent.sector - whole.sector, fua });
            }
        }
        self.overtook.insert(accepted, waiting.changes);
        let oldest = self.waiting.keys().next().copied().unwrap_or(usize::MAX);
        self.overtook.retain(|place, _| *place > oldest);
    }

    /// What waits will not be completed any more.
    fn lost(&mut self, reverted: &'a [(Extent, Contents)]) {
        while let Some(accepted) = self.waiting.keys().next().copied() {
            self.write(accepted, false);
        }
        let reverted = reverted.iter().filter(|(extent, _)| extent.sectors > 0);
        self.items.extend(reverted.map(|(extent, contents)| Item::Write {
            extent: *extent,
            contents,
            skip: 0,
            fua: false,
        }));
        self.overtook.clear();
        self.flushes.clear();
        self.places.clear();
    }
}
