//! What was not yet durable at some moment.

use std::collections::BTreeMap;

use super::{Entry, Operation, Record, WriteLog};
use crate::disk::Extent;

/// A request that is not durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Place of the entry that accepted it.
    pub place: usize,
    /// Its number.
    pub request: u64,
    /// Whether the guest was told that it is done, or that it failed.
    pub ended: bool,
    /// What it changed, but for sectors of which a later version is durable.
    pub extents: Vec<Extent>,
}

impl WriteLog {
    /// What was accepted before this place and was not durable there, in the order of acceptance.
    pub fn pending(&self, place: usize) -> Vec<Pending> {
        // By place; and the newest place of each number.
        let mut pending: BTreeMap<usize, Pending> = BTreeMap::new();
        let mut places: BTreeMap<u64, usize> = BTreeMap::new();
        for (place, Entry { record, .. }) in self.entries().take(place).enumerate() {
            match record {
                Record::Accepted { request, operation: Operation::Change { changes, .. } } => {
                    let extents: Vec<Extent> = changes
                        .iter()
                        .map(|(extent, _)| *extent)
                        .filter(|extent| extent.sectors > 0)
                        .collect();
                    if !extents.is_empty() {
                        pending.insert(place, Pending { place, request: *request, ended: false, extents });
                        places.insert(*request, place);
                    }
                }
                Record::Completed { request } | Record::Failed { request } => {
                    if let Some(known) = places.get(request).and_then(|place| pending.get_mut(place)) {
                        known.ended = true;
                    }
                }
                Record::Durable { request } => {
                    let Some(durable) = places.remove(request).and_then(|place| pending.remove(&place))
                    else {
                        continue;
                    };
                    let mut gone = Vec::new();
                    for (place, older) in pending.range_mut(..durable.place) {
                        older.extents =
                            durable.extents.iter().fold(std::mem::take(&mut older.extents), without);
                        if older.extents.is_empty() {
                            gone.push(*place);
                        }
                    }
                    gone.iter().for_each(|place| drop(pending.remove(place)));
                }
                Record::Lost { .. } => {
                    pending.clear();
                    places.clear();
                }
                Record::Accepted { operation: Operation::Flush, .. }
                | Record::Power(_)
                | Record::Author { .. }
                | Record::Note(_) => {}
            }
        }
        pending.into_values().collect()
    }

    /// Whether everything in these sectors that was accepted before this place was durable there.
    pub fn is_durable(&self, extent: Extent, place: usize) -> bool {
        let touches = |pending: &Pending| without(pending.extents.clone(), &extent) != pending.extents;
        !self.pending(place).iter().any(touches)
    }
}

/// Extents without the sectors of another one.
pub(in crate::disk) fn without(extents: Vec<Extent>, other: &Extent) -> Vec<Extent> {
    let end = |extent: &Extent| extent.sector.saturating_add(extent.sectors);
    let mut rest = Vec::with_capacity(extents.len());
    for extent in extents {
        let before = other.sector.min(end(&extent)).saturating_sub(extent.sector);
        let after = end(&extent).saturating_sub(end(other).max(extent.sector));
        if other.sectors == 0 || before + after >= extent.sectors {
            rest.push(extent);
            continue;
        }
        rest.push(Extent { sector: extent.sector, sectors: before });
        rest.push(Extent { sector: end(&extent) - after, sectors: after });
    }
    rest.retain(|extent| extent.sectors > 0);
    rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{completed, durable, flush, log, write};
    use super::*;

    fn told(log: &WriteLog, place: usize) -> String {
        let told = log.pending(place).into_iter().map(|pending| {
            let extents: Vec<String> = pending
                .extents
                .iter()
                .map(|extent| format!("{}+{}", extent.sector, extent.sectors))
                .collect();
            format!("#{}{} {}", pending.request, if pending.ended { "" } else { "?" }, extents.join(","))
        });
        told.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_is_pending_at_each_entry() {
        let log = log(vec![
            write(0, 0, 8),
            write(1, 4, 8),
            completed(1),
            flush(2),
            completed(0),
            completed(2),
            durable(1),
            Record::Failed { request: 3 },
            durable(0),
            write(4, 0, 1),
            Record::Lost { reverted: vec![] },
            write(0, 7, 1),
        ]);
        let told: Vec<String> = (0..=log.len()).map(|place| told(&log, place)).collect();
        assert_eq!(
            told,
            [
                "",
                "#0? 0+8",
                "#0? 0+8; #1? 4+8",
                "#0? 0+8; #1 4+8",
                "#0? 0+8; #1 4+8",
                "#0 0+8; #1 4+8",
                "#0 0+8; #1 4+8",
                // Of what both wrote, the later version is durable.
                "#0 0+4",
                "#0 0+4",
                "",
                "#4? 0+1",
                "",
                "#0? 7+1",
            ]
        );
        let at = |sector, sectors, place| log.is_durable(Extent { sector, sectors }, place);
        assert!(!at(0, 1, 2) && !at(11, 1, 2) && at(12, 100, 2) && at(0, 0, 2));
        assert!(at(4, 8, 7) && !at(3, 1, 7) && !at(0, 100, 7));
        assert!(at(0, 100, 0) && at(0, 100, 11) && !at(0, 100, usize::MAX));
    }

    proptest! {
        #[test]
        fn sectors_are_taken_out_exactly(
            extents in prop::collection::vec((0u64..40, 0u64..20), 0..5), other in (0u64..60, 0u64..30),
        ) {
            let extent = |(sector, sectors)| Extent { sector, sectors };
            let (extents, other): (Vec<Extent>, Extent) =
                (extents.into_iter().map(extent).collect(), extent(other));
            let holds = |extents: &[Extent], sector: u64| {
                extents.iter().filter(|e| (e.sector..e.sector + e.sectors).contains(&sector)).count()
            };
            let rest = without(extents.clone(), &other);
            for sector in 0..100 {
                let expected = if holds(&[other], sector) > 0 { 0 } else { holds(&extents, sector) };
                prop_assert_eq!(holds(&rest, sector), expected);
            }
        }
    }
}
