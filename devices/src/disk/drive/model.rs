//! Random histories against a model that keeps every version of every sector.

use proptest::prelude::*;

use super::super::Latency;
use super::*;
use crate::bench::Bench;

const SECTORS: u64 = 24;

/// What a driver, its front end and time do to a disk.
#[derive(Debug, Clone)]
enum Step {
    Write {
        sector: u64,
        sectors: u64,
        fua: bool,
    },
    Zeroes {
        sector: u64,
        sectors: u64,
        fua: bool,
    },
    Discard(Vec<(u64, u64)>),
    Flush,
    ReadFua {
        sector: u64,
        sectors: u64,
    },
    /// Of the requests in flight, the one with this index, if there are as many.
    Complete(usize),
    Abandon(usize),
    Pass(u64),
    SwitchCache(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let extent = || (0..SECTORS, 1u64..12).prop_map(|(at, sectors)| (at, sectors.min(SECTORS - at)));
    let step = prop_oneof![
        6 => (extent(), prop::bool::weighted(0.2))
            .prop_map(|((sector, sectors), fua)| Step::Write { sector, sectors, fua }),
        1 => (extent(), any::<bool>())
            .prop_map(|((sector, sectors), fua)| Step::Zeroes { sector, sectors, fua }),
        1 => prop::collection::vec(extent(), 0..3).prop_map(Step::Discard),
        2 => Just(Step::Flush),
        1 => extent().prop_map(|(sector, sectors)| Step::ReadFua { sector, sectors }),
        10 => (0usize..4).prop_map(Step::Complete),
        1 => (0usize..4).prop_map(Step::Abandon),
        3 => (0u64..400).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::SwitchCache),
    ];
    prop::collection::vec(step, 0..60)
}

/// A version of some sectors. A sector holds the number of the request that wrote it, plus 1; 0 is zero.
#[derive(Debug, Clone)]
struct Version {
    request: u64,
    sectors: Vec<u64>,
    value: u8,
    is_durable_at_once: bool,
    through: bool,
    completed: Option<u64>,
    completed_at: u64,
    in_flight: bool,
    /// What of it is neither durable nor superseded.
    volatile: BTreeSet<u64>,
}

/// The whole history, and no cleverness.
#[derive(Default)]
struct Model {
    versions: Vec<Version>,
    /// Number of the request whose version of the sector is durable.
    durable: BTreeMap<u64, (u64, u8)>,
    flushes: BTreeMap<u64, u64>,
    completions: u64,
    cache: bool,
}

impl Model {
    fn make_durable(&mut self, request: u64) {
        let Some(version) = self.versions.iter().find(|version| version.request == request).cloned() else {
            return;
        };
        for sector in &version.sectors {
            let newer = self.durable.get(sector).is_some_and(|(other, _)| *other > request);
            if !newer {
                self.durable.insert(*sector, (request, version.value));
            }
        }
        for other in self.versions.iter_mut().filter(|other| other.request <= request) {
            other.volatile.retain(|sector| !version.sectors.contains(sector));
        }
    }

    fn current(&self) -> Vec<u8> {
        let newest = |sector: u64| {
            let mut versions = self.versions.iter().rev();
            versions.find(|version| version.sectors.contains(&sector)).map_or(0, |version| version.value)
        };
        (0..SECTORS).map(newest).collect()
    }
}

fn values(media: &Media) -> Vec<u8> {
    (0..SECTORS)
        .map(|sector| {
            let mut bytes = [0; 512];
            media.read(512 * sector, &mut bytes).unwrap();
            assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a torn sector");
            bytes[0]
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn it_keeps_what_it_promises(steps in steps(), destage_after in prop::option::of(50u64..500)) {
        let latency = Latency { kibibyte: 0, ..Latency::default() };
        let config = DiskConfig { latency, destage_after, ..DiskConfig::default() };
        let (mut bench, mut model) = (Bench::new(), Model { cache: true, ..Model::default() });
        let mut disk = Disk::new(config, Media::blank(SECTORS * 512).unwrap()).unwrap();
        let mut in_flight: Vec<(u64, Option<Extent>)> = Vec::new();
        for step in steps {
            let command = match &step {
                Step::Write { sector, sectors, fua } => {
                    let value = model.versions.len() as u8 + 1;
                    let data = vec![value; 512 * *sectors as usize].into();
                    Some((Command::Write { sector: *sector, data, fua: *fua }, value, *fua))
                }
                Step::Zeroes { sector, sectors, fua } => {
                    let extents = vec![Extent { sector: *sector, sectors: *sectors }];
                    Some((Command::WriteZeroes { extents, fua: *fua }, 0, *fua))
                }
                Step::Discard(extents) => {
                    let extents = extents.iter().map(|(sector, sectors)| Extent { sector: *sector, sectors: *sectors });
                    Some((Command::Discard(extents.collect()), 0, false))
                }
                Step::Flush => Some((Command::Flush, 0, false)),
                Step::ReadFua { sector, sectors } => {
                    let extent = Extent { sector: *sector, sectors: *sectors };
                    Some((Command::Read { extent, fua: true }, 0, false))
                }
                _ => None,
            };
            if let Some((command, value, fua)) = command {
                let (extents, changes) = (command.extents(), command.contents().is_some());
                let ticket = disk.accept(command, &mut bench.cx());
                prop_assert!(ticket.due.is_some_and(|due| due > bench.now));
                let read = matches!(step, Step::ReadFua { .. }).then(|| extents[0]);
                in_flight.push((ticket.request, read));
                if matches!(step, Step::Flush) {
                    model.flushes.insert(ticket.request, model.completions);
                } else if changes {
                    let sectors: Vec<u64> = extents.iter().flat_map(|extent| extent.sector..extent.end()).collect();
                    model.versions.push(Version {
                        request: ticket.request,
                        volatile: sectors.iter().copied().collect(),
                        sectors,
                        value,
                        is_durable_at_once: fua,
                        through: !model.cache,
                        completed: None,
                        completed_at: bench.now.0,
                        in_flight: true,
                    });
                }
            }
            match step {
                Step::Complete(index) if index < in_flight.len() => {
                    let (request, read) = in_flight.remove(index);
                    disk.complete(request, &mut bench.cx()).result.unwrap();
                    let completions = model.completions;
                    if let Some(version) = model.versions.iter_mut().find(|version| version.request == request) {
                        version.completed = Some(completions);
                        version.completed_at = bench.now.0;
                        version.in_flight = false;
                        model.completions += 1;
                        if version.is_durable_at_once || version.through {
                            model.make_durable(request);
                        }
                    }
                    let flushed = model.flushes.get(&request).copied();
                    let covered = |version: &&Version| {
                        let Some(place) = version.completed else { return false };
                        flushed.is_some_and(|mark| place < mark)
                            || read.is_some_and(|read| version.volatile.iter().any(|sector| (read.sector..read.end()).contains(sector)))
                    };
                    let covered: Vec<u64> = model.versions.iter().filter(covered).map(|version| version.request).collect();
                    covered.into_iter().for_each(|request| model.make_durable(request));
                }
                Step::Abandon(index) if index < in_flight.len() => {
                    let (request, _) = in_flight.remove(index);
                    disk.abandon(request);
                    if let Some(version) = model.versions.iter_mut().find(|version| version.request == request) {
                        version.in_flight = false;
                    }
                }
                Step::Pass(time) => {
                    bench.now = bench.now.after(time);
                    prop_assert!(!disk.advance(&mut bench.cx()));
                    let now = bench.now.0;
                    let waited = |version: &&Version| {
                        !version.in_flight && destage_after.is_some_and(|after| version.completed_at + after <= now)
                    };
                    let due: Vec<u64> = model.versions.iter().filter(waited).map(|version| version.request).collect();
                    due.into_iter().for_each(|request| model.make_durable(request));
                    prop_assert!(disk.deadline().is_none_or(|due| due > bench.now));
                }
                Step::SwitchCache(on) => {
                    disk.set_write_cache(on);
                    if on && !model.cache {
                        model.versions.iter_mut().filter(|version| version.in_flight).for_each(|version| version.through = false);
                    }
                    model.cache = on;
                }
                _ => {}
            }
            prop_assert_eq!(values(disk.media()), model.current(), "reads see the newest accepted version");
            let durable: Vec<u8> = (0..SECTORS).map(|sector| model.durable.get(&sector).map_or(0, |(_, value)| *value)).collect();
            prop_assert_eq!(values(disk.durable()), durable, "durable is what was made durable");
            let changes: BTreeSet<(u64, u64)> = disk.changes()
                .flat_map(|change| (change.extent.sector..change.extent.end()).map(|sector| (change.request, sector)))
                .collect();
            let volatile: BTreeSet<(u64, u64)> = model.versions.iter()
                .flat_map(|version| version.volatile.iter().map(|sector| (version.request, *sector)))
                .collect();
            prop_assert_eq!(changes, volatile, "every change that is not durable is known");
            let order: Vec<u64> = disk.changes().map(|change| change.request).collect();
            prop_assert!(order.is_sorted());
            let mut all = disk.durable().clone();
            disk.changes().for_each(|change| all.apply(change).unwrap());
            prop_assert_eq!(&all, disk.media(), "durable and all changes are what is read");
            let told = bench.events.take_disk_steps();
            for (request, _) in told.iter().filter(|(_, step)| *step == DiskStep::Durable) {
                prop_assert!(!order.contains(request), "durable, and yet a change");
            }
        }
        let bytes = serde_json::to_string(&disk).unwrap();
        let restored: Disk = serde_json::from_str(&bytes).unwrap();
        prop_assert_eq!(serde_json::to_string(&restored).unwrap(), bytes);
        prop_assert_eq!(restored, disk);
    }

    /// In whatever order requests complete, it depends on the seed, their number and kind, not on what they write.
    #[test]
    fn order_does_not_depend_on_contents(seed: u64, contents: [u8; 2]) {
        let times = contents.map(|byte| {
            let config = DiskConfig { reorder: Some(seed), ..DiskConfig::default() };
            let mut disk = Disk::new(config, Media::blank(1 << 20).unwrap()).unwrap();
            let mut bench = Bench::new();
            (0..20)
                .map(|sector| Command::Write { sector, data: vec![byte; 512].into(), fua: false })
                .map(|command| disk.accept(command, &mut bench.cx()).due.unwrap().0)
                .collect::<Vec<_>>()
        });
        prop_assert_eq!(&times[0], &times[1]);
        prop_assert!(times[0].iter().all(|due| (15_000..=53_001).contains(due)));
        prop_assert!(!times[0].is_sorted(), "some overtake others");
    }
}
