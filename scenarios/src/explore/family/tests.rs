use std::collections::BTreeSet;

use super::*;
use crate::checks::testing::{EXT4, SWAP, Tale};
use crate::explore::cuts::{Kind, cuts};
use crate::explore::lost::{lost, weakest_fault};

const DEPTH: Depth = Depth { pairs: 1, torn: 1, seeded: 2, small: 3, instructions: 0, seed: 5, files: false };

/// Two disks: some writes to both, a flush of one, an overwritten write, and the power lost.
fn tale(is_honest: bool) -> Tale {
    let mut tale = Tale::booted();
    tale.begins("hibernate");
    tale.write(0, EXT4, &[1; 4096]);
    tale.write(1, EXT4, &[2; 512]);
    tale.write(0, EXT4 + 8, &[3; 8192]);
    tale.flush_that(0, is_honest);
    tale.write(0, EXT4, &[4; 4096]);
    tale.write(0, SWAP + 64, &[5; 4096]);
    tale.flush(1);
    tale.write(1, EXT4, &[6; 512]);
    tale.flush(0);
    tale.write(0, EXT4 + 64, &[7; 512]);
    tale.begins("resume");
    tale.cut();
    tale.write(0, EXT4, &[8; 4096]);
    tale
}

fn told<T>(tale: &Tale, read: impl FnOnce(&Record<'_>, &[Cut]) -> T) -> T {
    tale.run(|record| read(record, &cuts(record, 0..record.entries().len())))
}

/// Of each cut alone, and of all together: the same states, with the same weakest disk.
#[test]
fn every_cut_at_which_a_state_may_arise_is_among_its_origins() {
    told(&tale(true), |record, cuts| {
        // Seeded choices differ from space to space.
        let depth = Depth { seeded: 0, ..DEPTH };
        let family = Family::of(record, cuts, depth).unwrap();
        assert_eq!((family.unfollowed.as_ref(), family.skipped), (None, 0));
        let mut listed = 0;
        for cut in 0..cuts.len() {
            let alone = Family::of(record, &cuts[cut..=cut], depth).unwrap();
            listed += alone.listed;
            let of = |state: &State, cut: usize| {
                let mut origins = state.origins.iter().filter(|origin| origin.cuts().contains(&cut));
                let origin = origins.next().map(|origin| (state.sum, origin.needs, origin.choices.clone()));
                assert!(origins.next().is_none(), "a cut twice");
                origin
            };
            let wanted: BTreeSet<_> = alone.states.iter().filter_map(|state| of(state, 0)).collect();
            let have: BTreeSet<_> = family.states.iter().filter_map(|state| of(state, cut)).collect();
            assert_eq!(wanted, have, "cut {cut}");
            assert!(wanted.iter().any(|(_, needs, _)| *needs == Needs::CutOnly));
        }
        assert_eq!(family.listed, listed);
        assert!(family.spaces.count < cuts.len(), "ends of requests open nothing");
        let sums: BTreeSet<u128> = family.states.iter().map(|state| state.sum).collect();
        assert_eq!(sums.len(), family.states.len());
        for state in &family.states {
            let again = State::new(state.disks(), Vec::new());
            assert_eq!(again.sum, state.sum);
        }
    });
}

#[test]
fn a_listing_is_the_same_twice() {
    told(&tale(true), |record, cuts| {
        let list = || {
            let family = Family::of(record, cuts, DEPTH).unwrap();
            let states = family.states.iter();
            let states: Vec<_> = states.map(|state| (state.sum, state.origins.clone(), state.rank)).collect();
            (states, family.listed, family.spaces)
        };
        let family = list();
        assert_eq!(family, list());
        let ranks: BTreeSet<Rank> = family.0.iter().map(|(_, _, rank)| *rank).collect();
        for rank in [Rank::Whole, Rank::Drop, Rank::Torn, Rank::Keep, Rank::Seeded, Rank::Small] {
            assert!(ranks.contains(&rank), "{rank:?} is not among {ranks:?}");
        }
    });
}

#[test]
fn a_disk_is_a_liar_only_where_something_promised_is_lost() {
    let needs = |is_honest| {
        told(&tale(is_honest), |record, cuts| {
            let family = Family::of(record, cuts, DEPTH).unwrap();
            let mut replay = Replay::new(record).unwrap();
            let mut disks: Vec<Vec<DiskThen>> = Vec::new();
            while replay.step().unwrap().is_some() {
                disks.push(replay.disks().to_vec());
            }
            let mut seen = BTreeSet::new();
            for origin in family.states.iter().flat_map(|state| &state.origins) {
                seen.insert(origin.needs);
                for cut in origin.cuts() {
                    let lost = lost(&disks[cuts[cut].entry], &origin.choices).unwrap();
                    // A choice may say more than is really lost: what is the same all the same.
                    assert!(weakest_fault(&lost) <= origin.needs, "{origin:?}: {lost:?}");
                }
            }
            seen
        })
    };
    assert_eq!(needs(true), [Needs::CutOnly, Needs::VolatileCache].into());
    assert_eq!(needs(false), [Needs::CutOnly, Needs::VolatileCache, Needs::LyingDisk].into());
}

/// At the moment at which a flush is said to be over nothing that it covers can be lost.
#[test]
fn a_flush_that_is_over_is_over_for_all_it_covers() {
    told(&tale(true), |record, cuts| {
        let over: Vec<&Cut> = cuts
            .iter()
            .filter(|cut| {
                matches!(&record.entries()[cut.entry].what, crate::history::Happening::Disk(event)
                    if event.action == devices::DiskAction::Flush && event.step == devices::DiskStep::Completed)
            })
            .collect();
        assert_eq!(over.len(), 4);
        for cut in over {
            assert_eq!(cut.kind, Kind::Disk);
            let mut replay = Replay::new(record).unwrap();
            while replay.step().unwrap().is_some_and(|entry| entry < cut.entry) {}
            let event = &record.entries()[cut.entry].what;
            let crate::history::Happening::Disk(event) = event else { panic!("a flush") };
            assert!(replay.disks()[usize::from(event.disk)].pending.is_empty());
        }
    });
}

#[test]
fn where_log_and_history_part_cuts_are_skipped_and_counted() {
    let tale = tale(true);
    told(&tale, |record, cuts| {
        let mut logs = record.logs.to_vec();
        let mut broken = devices::disk::WriteLog::default();
        // As if a record had never been written.
        let entries = logs[0].entries().enumerate().filter(|(place, _)| *place != 9);
        for (_, entry) in entries {
            broken.push(entry.at, entry.record.clone());
        }
        logs[0] = broken;
        let record = Record { logs: &logs, ..*record };
        let family = Family::of(&record, cuts, Depth::LEAST).unwrap();
        let (first, why) = family.unfollowed.clone().unwrap();
        assert_eq!(family.skipped, cuts.len() - first);
        assert!(0 < first && first < cuts.len());
        assert_eq!(cuts[first].entry, why.entry);
        assert!(family.states.iter().flat_map(|state| &state.origins).all(|origin| origin.last < first));
    });
}
