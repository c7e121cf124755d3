//! What a run leaves for those who judge it.

use std::collections::BTreeMap;
use std::ops::Range;

use devices::disk::write_log::{Operation, Record as Logged};
use devices::disk::{Contents, Extent, WriteLog};
use devices::{DiskAction, DiskStep, PowerEvent};

use crate::history::{Entry, Happening, History};
use crate::language::{Scenario, Use};

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;

/// A run that is over.
pub struct Record<'a> {
    /// What was to happen.
    pub scenario: &'a Scenario,
    /// What happened.
    pub history: &'a History,
    /// Write logs of the scenario's disks, in its order.
    pub logs: &'a [WriteLog],
}

/// A request to a disk, over its whole life.
#[derive(Debug, Clone, PartialEq)]
pub struct Request<'a> {
    /// Number of the disk in the scenario. The one behind them is the scratch disk of the saver.
    pub disk: usize,
    /// Its number on that disk, since its power came on.
    pub number: u64,
    /// In which boot.
    pub boot: u32,
    /// What it asks.
    pub action: DiskAction,
    /// Where in the history it was accepted.
    pub accepted: usize,
    /// Where the guest was told that it is done.
    pub completed: Option<usize>,
    /// Where the guest was told that it failed.
    pub failed: Option<usize>,
    /// From where on nothing of it could be lost any more.
    pub durable: Option<usize>,
    /// Where the power went while it was not durable.
    pub cut: Option<usize>,
    /// How often the guest was told of its end. More than once is a fault of the disk.
    pub told: u32,
    /// What it changed. Empty: nothing, or its disk keeps no log.
    pub changes: &'a [(Extent, Contents)],
}

/// Where a partition lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Number of the disk.
    pub disk: usize,
    /// Number of the partition, from 1.
    pub partition: u32,
    /// Bytes.
    pub bytes: Range<u64>,
}

impl Place {
    /// Sectors.
    pub fn sectors(&self) -> Range<u64> {
        self.bytes.start / SECTOR..self.bytes.end / SECTOR
    }
}

/// Where the partitions of a scenario that are used so lie, in order.
pub fn places(scenario: &Scenario, what: Use) -> Vec<Place> {
    let mut places = Vec::new();
    for (disk, spec) in scenario.disks.iter().enumerate() {
        let mut start = MIB;
        for (partition, number) in spec.partitions.iter().zip(1..) {
            let end = start + u64::from(partition.mib) * MIB;
            if partition.what == what {
                places.push(Place { disk, partition: number, bytes: start..end });
            }
            start = end;
        }
    }
    places
}

impl Request<'_> {
    /// Sectors it touches. A flush touches none.
    pub fn extent(&self) -> Option<Extent> {
        match self.action {
            DiskAction::Read(extent)
            | DiskAction::Write { extent, .. }
            | DiskAction::Discard(extent)
            | DiskAction::WriteZeroes(extent) => Some(extent),
            DiskAction::Flush => None,
        }
    }

    /// Whether it changes contents.
    pub fn changes_contents(&self) -> bool {
        !matches!(self.action, DiskAction::Read(_) | DiskAction::Flush)
    }

    /// Whether it touches one of these sectors.
    pub fn touches(&self, sectors: &Range<u64>) -> bool {
        self.extent().is_some_and(|Extent { sector, sectors: count }| {
            sector < sectors.end && sectors.start < sector.saturating_add(count)
        })
    }

    /// Whether it touches these sectors and no others.
    pub fn stays_in(&self, sectors: &Range<u64>) -> bool {
        self.extent().is_some_and(|Extent { sector, sectors: count }| {
            sectors.start <= sector && sector.saturating_add(count) <= sectors.end
        })
    }

    /// Whether it was durable before this place of the history.
    pub fn durable_before(&self, place: usize) -> bool {
        self.durable.is_some_and(|durable| durable < place)
    }
}

impl<'a> Record<'a> {
    /// What happened, in order.
    pub fn entries(&self) -> &'a [Entry] {
        self.history.entries()
    }

    /// Every request to every disk, in the order in which they were accepted.
    pub fn requests(&self) -> Vec<Request<'a>> {
        let mut requests: Vec<Request<'a>> = Vec::new();
        let mut open: BTreeMap<(usize, u64), usize> = BTreeMap::new();
        let mut logged: Vec<_> = self.logs.iter().map(changes).collect();
        for (at, entry) in self.entries().iter().enumerate() {
            match &entry.what {
                Happening::Disk(event) => {
                    let disk = usize::from(event.disk);
                    let key = (disk, event.request);
                    if event.step == DiskStep::Accepted {
                        let is_logged = !matches!(event.action, DiskAction::Read(_));
                        let changes = logged.get_mut(disk).filter(|_| is_logged);
                        open.insert(key, requests.len());
                        requests.push(Request {
                            disk,
                            number: event.request,
                            boot: entry.boot,
                            action: event.action,
                            accepted: at,
                            completed: None,
                            failed: None,
                            durable: None,
                            cut: None,
                            told: 0,
                            changes: changes.and_then(Iterator::next).unwrap_or_default(),
                        });
                        continue;
                    }
                    let Some(request) = open.get(&key).and_then(|number| requests.get_mut(*number)) else {
                        continue;
                    };
                    match event.step {
                        DiskStep::Completed => request.completed = Some(at),
                        DiskStep::Failed => request.failed = Some(at),
                        DiskStep::Durable => request.durable = Some(at),
                        DiskStep::Accepted => {}
                    }
                    request.told += u32::from(event.step != DiskStep::Durable);
                }
                Happening::Power(PowerEvent::Cut) => {
                    for number in open.values() {
                        if let Some(request) = requests.get_mut(*number)
                            && request.durable.is_none()
                        {
                            request.cut = Some(at);
                        }
                    }
                }
                Happening::Power(PowerEvent::On) => open.clear(),
                _ => {}
            }
        }
        requests
    }
}

/// What each request that is no read changed, in the order in which they were accepted.
fn changes(log: &WriteLog) -> impl Iterator<Item = &[(Extent, Contents)]> {
    log.entries().filter_map(|entry| match &entry.record {
        Logged::Accepted { operation: Operation::Change { changes, .. }, .. } => Some(changes.as_slice()),
        Logged::Accepted { operation: Operation::Flush, .. } => Some([].as_slice()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use devices::{DiskEvent, Event, Moment};

    use super::*;

    const SCENARIO: &str = "version = 1\nsteps = []\nkernel = { primary = \"a\" }\n\
        [[disk]]\nname = \"d\"\nsize = \"64M\"\npartitions = [{ use = \"ext4\", size = \"16M\" }, { use = \"swap\", size = \"8M\" }]";

    fn step(history: &mut History, request: u64, action: DiskAction, step: DiskStep) {
        history.see(Moment::default(), Event::Disk(DiskEvent { disk: 0, request, action, step }));
    }

    #[test]
    fn a_request_is_put_together_from_its_steps_and_the_log() {
        let scenario = Scenario::read(SCENARIO, &[]).unwrap();
        let mut history = History::default();
        let extent = Extent { sector: 8, sectors: 1 };
        let write = DiskAction::Write { extent, fua: false };
        step(&mut history, 0, DiskAction::Read(extent), DiskStep::Accepted);
        step(&mut history, 1, write, DiskStep::Accepted);
        step(&mut history, 1, write, DiskStep::Completed);
        step(&mut history, 2, write, DiskStep::Accepted);
        step(&mut history, 1, write, DiskStep::Durable);
        history.see(Moment::default(), Event::Power(PowerEvent::Cut));
        history.see(Moment::default(), Event::Power(PowerEvent::On));
        step(&mut history, 1, write, DiskStep::Accepted);
        let mut log = WriteLog::default();
        for (request, byte) in [(1, 1), (2, 2), (1, 3)] {
            let changes = vec![(extent, Contents::Data(vec![byte; 512].into()))];
            let operation = Operation::Change { fua: false, changes };
            log.push(devices::VirtualTime(0), Logged::Accepted { request, operation });
        }
        let logs = [log];
        let requests = Record { scenario: &scenario, history: &history, logs: &logs }.requests();
        let seen: Vec<_> = requests
            .iter()
            .map(|request| {
                let byte = match request.changes.first() {
                    Some((_, Contents::Data(data))) => data[0],
                    _ => 0,
                };
                (request.boot, request.number, request.completed, request.durable, request.cut, byte)
            })
            .collect();
        assert_eq!(
            seen,
            [
                (1, 0, None, None, Some(5), 0),
                (1, 1, Some(2), Some(4), None, 1),
                (1, 2, None, None, Some(5), 2),
                (2, 1, None, None, None, 3),
            ]
        );
        assert!(requests[1].touches(&(8..9)) && !requests[1].touches(&(9..10)));
    }

    #[test]
    fn partitions_follow_each_other_from_one_mib() {
        let scenario = Scenario::read(SCENARIO, &[]).unwrap();
        let [place] = &places(&scenario, Use::Swap)[..] else { panic!("one swap") };
        assert_eq!((place.disk, place.partition, place.bytes.clone()), (0, 2, 17 * MIB..25 * MIB));
    }
}
