//! Against a reader of its own, and a disk of a few sectors that is played at random.

use proptest::prelude::*;

use super::reader::{Image, exported, name, replay};
use super::*;
use crate::VirtualTime;
use crate::disk::write_log::{Operation, PowerMark, Record};
use crate::disk::{AtomicUnit, Change, CrashSpace, Media, MemoryBase, Tie};

const SECTORS: u64 = 12;

fn bytes(image: &Image) -> Vec<u8> {
    image.iter().flat_map(|byte| [*byte; SECTOR as usize]).collect()
}

/// A disk that does as told.
struct Played {
    log: WriteLog,
    /// Since power came on, or the last cut.
    start: Image,
    requests: Vec<Request>,
    now: u64,
    /// What was completed when each flush that was completed was accepted, by place; what was durable after it was completed, and
    /// after everything that became durable right then.
    flushed: Vec<(usize, Image, Image)>,
    /// What was completed, and what was durable, at each cut.
    cuts: Vec<(Image, Image)>,
    tie: Tie,
}

struct Request {
    number: u64,
    place: usize,
    fua: bool,
    changes: Vec<(Extent, Contents)>,
    ended: bool,
    durable: bool,
    /// Of a flush: what it makes durable, and what was completed.
    covers: Option<(Vec<u64>, Image)>,
}

#[derive(Debug, Clone)]
enum Play {
    Change { kind: u8, fua: bool, extents: Vec<(u64, u64)>, byte: u8 },
    Flush,
    Complete { which: usize, fails: bool },
    Destage { which: usize },
    Cut { seed: u64 },
    Note,
}

impl Played {
    fn push(&mut self, record: Record) -> usize {
        self.now += 1;
        self.log.push(VirtualTime(self.now), record)
    }

    fn image(&self, wanted: impl Fn(&Request) -> bool) -> Image {
        let mut image = self.start.clone();
        for (extent, contents) in self.requests.iter().filter(|r| wanted(r)).flat_map(|r| &r.changes) {
            for sector in 0..extent.sectors as usize {
                image[extent.sector as usize + sector] = match contents {
                    Contents::Data(data) => data[sector * 512],
                    Contents::Zeros | Contents::Discarded => 0,
                };
            }
        }
        image
    }

    fn accept(&mut self, fua: bool, changes: Vec<(Extent, Contents)>, covers: Option<(Vec<u64>, Image)>) {
        let number = self.requests.len() as u64;
        let operation = match &covers {
            Some(_) => Operation::Flush,
            None => Operation::Change { fua, changes: changes.clone() },
        };
        let place = self.push(Record::Accepted { request: number, operation });
        self.requests.push(Request { number, place, fua, changes, ended: false, durable: false, covers });
    }

    fn becomes_durable(&mut self, numbers: &[u64]) {
        for number in numbers {
            let request = &mut self.requests[*number as usize];
            if !std::mem::replace(&mut request.durable, true) && !request.changes.is_empty() {
                self.push(Record::Durable { request: *number });
            }
        }
    }

    fn play(&mut self, play: Play) {
        let open = |request: &&mut Request| !request.ended;
        match play {
            Play::Change { kind, fua, extents, byte } => {
                let contents = |sectors: u64| match kind {
                    0 => Contents::Discarded,
                    1 => Contents::Zeros,
                    _ => Contents::Data(vec![byte; (sectors * SECTOR) as usize].into()),
                };
                let count = if kind > 1 { 1 } else { extents.len() };
                let changes = extents[..count].iter().map(|(sector, sectors)| {
                    (Extent { sector: *sector, sectors: *sectors }, contents(*sectors))
                });
                let changes = changes.collect();
                self.accept(fua, changes, None);
            }
            Play::Flush => {
                let covers =
                    self.requests.iter().filter(|r| r.ended && !r.durable).map(|r| r.number).collect();
                let completed = self.image(|r| r.ended);
                self.accept(false, Vec::new(), Some((covers, completed)));
            }
            Play::Complete { which, fails } => {
                let count = self.requests.iter().filter(|r| !r.ended).count();
                if count == 0 {
                    return;
                }
                let Some(request) = self.requests.iter_mut().filter(open).nth(which % count) else { return };
                request.ended = true;
                let (number, place, fua, covers) =
                    (request.number, request.place, request.fua, request.covers.take());
                if fails {
                    self.push(Record::Failed { request: number });
                    return;
                }
                self.push(Record::Completed { request: number });
                match covers {
                    Some((covers, completed)) => {
                        self.becomes_durable(&covers);
                        let durable = self.image(|r| r.durable);
                        self.flushed.push((place, completed, durable));
                    }
                    None if fua => self.becomes_durable(&[number]),
                    None => {}
                }
            }
            Play::Destage { which } => {
                let ended: Vec<u64> =
                    self.requests.iter().filter(|r| r.ended && !r.durable).map(|r| r.number).collect();
                if !ended.is_empty() {
                    // Right after a flush it would count as the flush's doing.
                    self.push(Record::Note("idle".into()));
                    self.becomes_durable(&[ended[which % ended.len()]]);
                }
            }
            Play::Cut { seed } => {
                let durable = self.image(|r| r.durable);
                self.cuts.push((self.image(|r| r.ended), durable.clone()));
                // What is not durable but for sectors of which a later version is.
                let mut changes = Vec::new();
                for request in self.requests.iter().filter(|r| !r.durable) {
                    let later = self.requests.iter().filter(|r| r.durable && r.place > request.place);
                    let later: Vec<&Extent> =
                        later.flat_map(|r| r.changes.iter().map(|(extent, _)| extent)).collect();
                    for (whole, contents) in &request.changes {
                        for extent in later
                            .iter()
                            .fold(vec![*whole], |rest, extent| super::super::write_log::without(rest, extent))
                        {
                            let skip = ((extent.sector - whole.sector) * SECTOR) as usize;
                            let contents = match contents {
                                Contents::Data(data) => Contents::Data(
                                    data[skip..skip + (extent.sectors * SECTOR) as usize].into(),
                                ),
                                other => other.clone(),
                            };
                            let accepted = VirtualTime(0);
                            changes.push(Change {
                                request: request.number,
                                extent,
                                contents,
                                accepted,
                                completed: None,
                            });
                        }
                    }
                }
                let media = Media::over(std::sync::Arc::new(MemoryBase(bytes(&durable)))).unwrap();
                let space = CrashSpace::new(media, changes, AtomicUnit::Sector, self.tie).unwrap();
                let state = space.seeded(seed).next().unwrap();
                self.push(Record::Power(PowerMark::Cut));
                self.push(Record::Lost { reverted: space.reverted(&state).unwrap() });
                self.push(Record::Power(PowerMark::On));
                let mut after = vec![0; (SECTORS * SECTOR) as usize];
                space.media(&state).unwrap().read(0, &mut after).unwrap();
                self.start = after.chunks(SECTOR as usize).map(|sector| sector[0]).collect();
                self.requests.clear();
            }
            Play::Note => {
                self.push(Record::Note("phase: \u{e9}".into()));
            }
        }
    }
}

fn plays() -> impl Strategy<Value = Vec<Play>> {
    let extent = (0..SECTORS, 1..5u64).prop_map(|(start, length)| (start, length.min(SECTORS - start)));
    let change = (0u8..5, any::<bool>(), prop::collection::vec(extent, 1..3), 1u8..)
        .prop_map(|(kind, fua, extents, byte)| Play::Change { kind, fua, extents, byte });
    let play = prop_oneof![
        6 => change,
        2 => Just(Play::Flush),
        6 => (any::<usize>(), 0..8).prop_map(|(which, fails)| Play::Complete { which, fails: fails == 0 }),
        1 => any::<usize>().prop_map(|which| Play::Destage { which }),
        1 => any::<u64>().prop_map(|seed| Play::Cut { seed }),
        1 => Just(Play::Note),
    ];
    prop::collection::vec(play, 0..40)
}

proptest! {
    /// A replay to the end is the disk; to a mark, what was completed or durable there; to a FLUSH, what that flush promised.
    #[test]
    fn a_replay_is_the_disk(
        plays in plays(),
        tie in prop_oneof![Just(Tie::Unit), Just(Tie::Write)],
        losses in any::<u64>(),
    ) {
        let start: Image = (0..SECTORS as u8).collect();
        let mut disk = Played {
            log: WriteLog::default(),
            start: start.clone(),
            requests: Vec::new(),
            now: 0,
            flushed: Vec::new(),
            cuts: Vec::new(),
            tie,
        };
        plays.into_iter().for_each(|play| disk.play(play));
        let ends = (disk.image(|r| r.ended), disk.image(|r| r.durable));
        disk.cuts.push(ends);
        let whole = disk.image(|_| true);
        for order in [Order::Completion, Order::Durability] {
            let entries = exported(&disk.log, order);
            let images = replay(&start, &entries);
            prop_assert_eq!(images.last(), Some(&whole));
            let marks = entries.iter().zip(&images).filter_map(|(entry, image)| Some((name(entry)?, image)));
            let cuts: Vec<&Image> = marks
                .filter(|(name, _)| name.starts_with("power-cut-") || *name == "end")
                .map(|(_, image)| image)
                .collect();
            let expected: Vec<&Image> = disk
                .cuts
                .iter()
                .map(|(completed, durable)| if order == Order::Completion { completed } else { durable })
                .collect();
            prop_assert_eq!(cuts, expected);
            let flushes: Vec<&Image> = entries
                .iter()
                .zip(&images)
                .filter(|(entry, _)| entry.flags == flag::FLUSH)
                .map(|(_, image)| image)
                .collect();
            let mut flushed: Vec<_> = disk.flushed.iter().collect();
            if order == Order::Completion {
                flushed.sort_by_key(|(place, _, _)| *place);
            }
            let expected: Vec<&Image> = flushed
                .into_iter()
                .map(|(_, completed, durable)| if order == Order::Completion { completed } else { durable })
                .collect();
            prop_assert_eq!(flushes, expected);
        }
        // Without some of what is not durable it is what a cut leaves.
        let is_lost = |r: &Request| !r.durable && losses >> (r.number % 64) & 1 == 1;
        // One of them only in part: its first sector.
        let torn = |r: &Request| losses % 3 == 0 && r.number % 5 == losses % 5;
        let part = |r: &Request| match torn(r) {
            true => r.changes.iter().map(|(extent, _)| Extent { sectors: 1, ..*extent }).collect(),
            false => Vec::new(),
        };
        let lost: std::collections::BTreeMap<u64, Vec<Extent>> =
            disk.requests.iter().filter(|r| is_lost(r)).map(|r| (r.number, part(r))).collect();
        for request in &mut disk.requests {
            let torn = lost.get(&request.number).cloned().unwrap_or_default();
            request.changes =
                request.changes.iter().flat_map(|(extent, contents)| left_of(*extent, contents, &torn)).collect();
        }
        let left = disk.image(|r| !is_lost(r) || lost.get(&r.number).is_some_and(|part| !part.is_empty()));
        let cut = at_cut(&disk.log, disk.log.len(), &lost);
        for order in [Order::Completion, Order::Durability] {
            let images = replay(&start, &exported(&cut, order));
            // Of a log without entries nothing is left but its mark.
            prop_assert_eq!(images.last(), Some(&left));
        }
        // What the log says is pending is what is not durable.
        let pending: Vec<u64> = disk.log.pending(disk.log.len()).iter().map(|pending| pending.request).collect();
        let mut seen = disk.requests.iter().filter(|r| !r.durable).map(|r| r.number);
        prop_assert!(pending.iter().all(|request| seen.any(|known| known == *request)));
    }
}

fn told(log: &WriteLog, order: Order) -> Vec<String> {
    let entries = exported(log, order).into_iter().map(|entry| match (name(&entry), entry.flags) {
        (Some(name), _) => name.to_string(),
        (None, flag::FLUSH) => "flush".into(),
        (None, flags) => {
            let kind = match flags {
                flag::DISCARD => "discard ",
                flag::FUA => "fua ",
                _ => "",
            };
            let data: Vec<u8> = entry.data.chunks(512).map(|sector| sector[0]).collect();
            format!("{kind}{}+{} {data:?}", entry.sector, entry.sectors)
        }
    });
    entries.collect()
}

/// The example of the kernel's documentation: writes a, b, c and a flush, with FUA d; c and a are completed before the flush is sent,
/// b while it is under way.
#[test]
fn both_orders_of_the_same_log() {
    let mut log = WriteLog::default();
    let write = |log: &mut WriteLog, request: u64, fua| {
        let extent = Extent { sector: request, sectors: 1 };
        let changes = vec![(extent, Contents::Data(vec![request as u8; 512].into()))];
        log.push(VirtualTime(0), Record::Accepted { request, operation: Operation::Change { fua, changes } });
    };
    let end = |log: &mut WriteLog, request| log.push(VirtualTime(0), Record::Completed { request });
    let durable = |log: &mut WriteLog, request| log.push(VirtualTime(0), Record::Durable { request });
    let flush = |log: &mut WriteLog, request| {
        log.push(VirtualTime(0), Record::Accepted { request, operation: Operation::Flush })
    };
    let [a, b, c, d, f, lost] = [1, 2, 3, 4, 5, 6];
    [a, b, c].into_iter().for_each(|request| write(&mut log, request, false));
    end(&mut log, c);
    end(&mut log, a);
    flush(&mut log, f);
    write(&mut log, d, true);
    end(&mut log, b);
    end(&mut log, d);
    durable(&mut log, d);
    end(&mut log, f);
    durable(&mut log, a);
    durable(&mut log, c);
    write(&mut log, lost, false);
    flush(&mut log, 7);
    let rest = ["end", "6+1 [6]"];
    assert_eq!(
        told(&log, Order::Completion),
        [&["3+1 [3]", "1+1 [1]", "flush", "2+1 [2]", "fua 4+1 [4]"][..], &rest].concat()
    );
    assert_eq!(
        told(&log, Order::Durability),
        [&["fua 4+1 [4]", "3+1 [3]", "1+1 [1]", "flush", "end", "2+1 [2]"][..], &rest[1..]].concat()
    );
}

#[test]
fn what_is_large_comes_in_pieces() {
    let mut log = WriteLog::default();
    let change = |contents| {
        let changes = vec![(Extent { sector: 8, sectors: 300_000 }, contents)];
        Operation::Change { fua: false, changes }
    };
    for (request, contents) in [(0, Contents::Discarded), (1, Contents::Zeros)] {
        log.push(VirtualTime(0), Record::Accepted { request, operation: change(contents) });
    }
    log.push(VirtualTime(0), Record::Note("x".repeat(2000).into()));
    log.push(VirtualTime(0), Record::Note("é".repeat(300).into()));
    let entries = exported(&log, Order::Completion);
    assert_eq!(name(&entries[0]).map(str::len), Some(479));
    assert_eq!(name(&entries[1]).map(str::len), Some(478));
    let sectors = |flags| {
        let of_kind = entries.iter().filter(move |entry| entry.flags == flags && entry.sectors > 0);
        of_kind.map(|entry| (entry.sector, entry.sectors)).collect::<Vec<_>>()
    };
    assert_eq!(sectors(flag::DISCARD), [(8, 131_072), (131_080, 131_072), (262_152, 37_856)]);
    assert_eq!(sectors(0).len(), 147);
    assert_eq!(sectors(0).iter().map(|(_, sectors)| sectors).sum::<u64>(), 300_000);
}

#[test]
fn a_log_of_nothing_is_a_log() {
    assert_eq!(told(&WriteLog::default(), Order::Durability), ["end"]);
}

/// A writer that is full says so.
#[test]
fn errors_of_the_writer_are_told() {
    let mut small = [0; 600];
    let mut log = WriteLog::default();
    assert!(export(&log, Order::Completion, &mut small.as_mut_slice()).is_err());
    log.push(VirtualTime(0), Record::Note("".into()));
    assert!(export(&log, Order::Completion, &mut [0; 1536].as_mut_slice()).is_ok());
}
