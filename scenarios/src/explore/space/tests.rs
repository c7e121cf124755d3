use std::collections::BTreeMap;

use devices::disk::write_log::{Operation, Record as Logged};
use devices::disk::{Change, Contents as Data};
use proptest::prelude::*;

use super::*;
use crate::explore::family::Depth;
use crate::explore::lost::lost;
use crate::explore::order;

/// Three blocks, and a last one that is cut short.
const BYTES: u64 = 3 * BLOCK + 3 * SECTOR;
const DEPTH: Depth = Depth { pairs: 2, torn: 3, seeded: 6, small: 6, instructions: 0, seed: 9, files: false };

#[derive(Debug, Clone)]
enum Step {
    /// These sectors become this byte, all zero, or what they are.
    Write {
        sector: u64,
        sectors: u64,
        byte: u8,
        fua: bool,
    },
    /// Of those that are pending, each whose bit is set.
    Durable(u16),
    Lose,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (0u64..27, prop_oneof![Just(1u64), Just(8), 1u64..20], 0u8..4, any::<bool>()).prop_map(
        |(sector, sectors, byte, fua)| {
            // Half of them whole blocks.
            let sector = if byte % 2 == 0 { sector / 8 * 8 } else { sector };
            Step::Write { sector, sectors: sectors.min(27 - sector), byte, fua }
        },
    );
    let durable = any::<u16>().prop_map(Step::Durable);
    prop::collection::vec(prop_oneof![8 => write, 2 => durable, 1 => Just(Step::Lose)], 1..9)
}

fn disk(unit: AtomicUnit, tie: Tie) -> DiskThen {
    DiskThen::new(Media::blank(BYTES).unwrap(), unit, tie)
}

fn step(then: &mut DiskThen, request: u64, step: &Step) {
    let records = match step {
        Step::Write { sector, sectors, byte, fua } => {
            let extent = Extent { sector: *sector, sectors: *sectors };
            let data = Data::Data(vec![*byte; (*sectors * SECTOR) as usize].into());
            vec![Logged::Accepted {
                request,
                operation: Operation::Change { fua: *fua, changes: vec![(extent, data)] },
            }]
        }
        Step::Durable(bits) => {
            let pending = then.pending.iter().enumerate();
            let pending = pending.filter(|(place, _)| bits >> (place % 16) & 1 == 1);
            pending.map(|(_, write)| Logged::Durable { request: write.request }).collect()
        }
        Step::Lose => vec![Logged::Lost { reverted: Vec::new() }],
    };
    then.follow(records.iter()).unwrap();
}

fn bytes(media: &Media) -> Vec<u8> {
    let mut bytes = vec![0; BYTES as usize];
    media.read(0, &mut bytes).unwrap();
    bytes
}

fn applied<'a>(durable: &Media, changes: impl Iterator<Item = &'a Change>) -> Vec<u8> {
    let mut media = durable.clone();
    changes.for_each(|change| media.apply(change).unwrap());
    bytes(&media)
}

/// All choices that are looked at.
fn choices(space: &Space) -> Vec<Choice> {
    let mut choices = order::choices(space, DEPTH, 3);
    choices.extend([Choice::All, Choice::Nothing]);
    if space.tie() == Tie::Unit {
        let oldest = space.blocks().map(|block| (block, 0)).collect();
        let middle = space.blocks().map(|block| (block, 1)).take(1).collect();
        choices.extend([Choice::Blocks(oldest), Choice::Blocks(middle)]);
    }
    choices
}

/// The bytes of each state that the disk itself says there are, if writes survive as a whole; of each unit, if units do.
fn check_legal(then: &DiskThen, media: &[(Choice, Vec<u8>)]) {
    let space = crash_space(then).unwrap().unwrap();
    match then.tie {
        Tie::Unit => {
            let unit = then.unit.bytes() as usize;
            for number in 0..BYTES.div_ceil(unit as u64) {
                let versions = space.versions(number).unwrap();
                for (choice, bytes) in media {
                    let start = number as usize * unit;
                    let now = &bytes[start..bytes.len().min(start + unit)];
                    let is_legal = versions.iter().any(|version| *version.contents == *now);
                    assert!(is_legal, "{choice:?}: unit {number}");
                }
            }
        }
        Tie::Write => {
            let legal: BTreeSet<Vec<u8>> =
                space.exhaustive().map(|state| bytes(&space.media(&state).unwrap())).collect();
            for (choice, bytes) in media {
                assert!(legal.contains(bytes), "{choice:?}");
            }
        }
    }
}

fn check(then: &DiskThen, space: &mut Space) {
    let mut fresh = Space::new(0, then).unwrap();
    let mut by_sum: BTreeMap<u128, Vec<u8>> = BTreeMap::new();
    let mut by_bytes: BTreeMap<Vec<u8>, u128> = BTreeMap::new();
    let mut media = Vec::new();
    let mut see = |sum: u128, bytes: Vec<u8>| {
        assert_eq!(by_sum.entry(sum).or_insert_with(|| bytes.clone()), &bytes);
        assert_eq!(by_bytes.entry(bytes).or_insert(sum), &sum);
    };
    let whole = bytes(&then.current().unwrap());
    for choice in choices(space) {
        let chosen = space.chosen(&choice).unwrap();
        assert_eq!(chosen, fresh.chosen(&choice).unwrap(), "{choice:?}");
        let contents = space.contents(&choice).unwrap();
        let now = bytes(&contents.whole());
        assert_eq!(sum(0, &contents.whole()), chosen.sum, "{choice:?}");
        for block in 0..BYTES.div_ceil(BLOCK) {
            assert_eq!(contents.media(block).block_hash(block), contents.whole().block_hash(block));
        }
        // Where nothing is merged, a choice of whole writes is what they leave.
        let is_of_writes = !matches!(choice, Choice::Torn { .. } | Choice::Blocks(_) | Choice::Seeded(_));
        if then.unit == AtomicUnit::Sector && is_of_writes {
            let kept = then.pending.iter().enumerate().filter(|(place, _)| choice.keeps(*place));
            let kept = kept.flat_map(|(_, write)| &write.changes);
            assert_eq!(applied(&then.durable, kept), now, "{choice:?}");
        }
        let mut differ: Vec<u64> = (0..BYTES / SECTOR)
            .filter(|sector| {
                let range = (sector * SECTOR) as usize..((sector + 1) * SECTOR) as usize;
                now[range.clone()] != whole[range]
            })
            .collect();
        let lost = lost(std::slice::from_ref(then), std::slice::from_ref(&choice)).unwrap();
        for lost in &lost {
            let sectors = lost.sector..lost.sector + lost.sectors;
            let newest = then
                .pending
                .iter()
                .rev()
                .find(|write| write.changes.iter().any(|change| change.extent.overlaps(lost.extent())));
            assert_eq!(newest.unwrap().request, lost.request);
            differ.retain(|sector| !sectors.contains(sector));
        }
        assert!(differ.is_empty(), "{choice:?}: {lost:?} lacks {differ:?}");
        assert!(chosen.lost > 0 || lost.is_empty(), "{choice:?}: {lost:?}");
        see(chosen.sum, now.clone());
        media.push((choice, now));
    }
    check_legal(then, &media);
    let size = crash_space(then).unwrap().unwrap().size();
    if then.tie == Tie::Unit {
        assert!((space.log2() - size.log2()).abs() < 1e-6, "{} {size}", space.log2());
    }
    if size.log2() <= f64::from(DEPTH.small) {
        let small = space.small(then).unwrap();
        assert_eq!(small.len() as u128, size.get().unwrap());
        for (choice, chosen, contents) in small {
            assert_eq!(sum(0, &contents.whole()), chosen.sum);
            assert_eq!(bytes(&space.contents_of(then, &choice).unwrap().whole()), bytes(&contents.whole()));
            see(chosen.sum, bytes(&contents.whole()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever is written, and whatever of it becomes durable in whatever order.
    #[test]
    fn sums_are_those_of_contents_and_contents_are_legal(
        steps in steps(),
        is_block: bool,
        is_write: bool,
    ) {
        let unit = if is_block { AtomicUnit::Block } else { AtomicUnit::Sector };
        let tie = if is_write { Tie::Write } else { Tie::Unit };
        let mut then = disk(unit, tie);
        let mut space = Space::new(0, &then).unwrap();
        for (request, it) in (0..).zip(&steps) {
            let before = then.current().unwrap();
            step(&mut then, request, it);
            if !matches!(it, Step::Write { .. }) {
                prop_assert!(bytes(&then.current().unwrap()) == bytes(&before));
            }
            let mut changes = Vec::new();
            for write in &then.pending {
                changes.extend(&write.changes);
                prop_assert!(bytes(&write.after) == applied(&then.durable, changes.iter().copied()));
            }
            // Not after every step: what happened meanwhile must not matter.
            if request % 3 != 1 {
                space.follow(&then).unwrap();
                check(&then, &mut space);
            }
        }
    }
}

fn written(writes: &[(u64, u64)], unit: AtomicUnit, tie: Tie) -> DiskThen {
    let mut then = disk(unit, tie);
    for (request, (sector, sectors)) in (0..).zip(writes) {
        let byte = request as u8 + 1;
        step(&mut then, request, &Step::Write { sector: *sector, sectors: *sectors, byte, fua: false });
    }
    then
}

#[test]
fn a_write_is_torn_at_units_and_not_within() {
    let torn = |unit, tie, units| {
        let then = written(&[(0, 16)], unit, tie);
        let mut space = Space::new(0, &then).unwrap();
        let contents = space.contents(&Choice::Torn { write: 0, units }).unwrap();
        bytes(&contents.whole()).iter().filter(|byte| **byte == 1).count() as u64
    };
    assert_eq!(torn(AtomicUnit::Sector, Tie::Unit, 3), 3 * SECTOR);
    assert_eq!(torn(AtomicUnit::Block, Tie::Unit, 1), BLOCK);
    let tears = |unit, tie| {
        let then = written(&[(0, 16)], unit, tie);
        let choices = order::choices(&Space::new(0, &then).unwrap(), DEPTH, 0);
        choices
            .iter()
            .filter_map(|choice| match choice {
                Choice::Torn { units, .. } => Some(*units),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(tears(AtomicUnit::Sector, Tie::Unit), [1, 2, 3, 4, 5, 6, 7, 8, 15]);
    assert_eq!(tears(AtomicUnit::Block, Tie::Unit), [1]);
    assert!(tears(AtomicUnit::Sector, Tie::Write).is_empty());
}

#[test]
fn what_was_promised_needs_a_disk_that_lies() {
    let mut then = written(&[(0, 1), (8, 1)], AtomicUnit::Sector, Tie::Unit);
    let records = [
        Logged::Completed { request: 0 },
        Logged::Accepted { request: 2, operation: Operation::Flush },
        Logged::Completed { request: 1 },
        Logged::Completed { request: 2 },
    ];
    // The flush covers what had completed when it was accepted, and did nothing.
    then.follow(records.iter()).unwrap();
    assert_eq!(then.pending.iter().map(|write| write.is_promised).collect::<Vec<_>>(), [true, false]);
    let mut space = Space::new(0, &then).unwrap();
    let mut is_lie = |choice| space.chosen(&choice).unwrap().is_lie;
    let seen =
        [Choice::All, Choice::Drop(0), Choice::Drop(1), Choice::Nothing, Choice::Prefix(1)].map(&mut is_lie);
    assert_eq!(seen, [false, true, false, true, false]);
    let promised = |choice| {
        let lost = lost(std::slice::from_ref(&then), &[choice]).unwrap();
        crate::explore::lost::weakest_fault(&lost).name()
    };
    assert_eq!(
        [Choice::All, Choice::Drop(0), Choice::Drop(1)].map(promised),
        ["cut only", "lying disk", "volatile cache"]
    );
}
