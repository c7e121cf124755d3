//! Write log and crash space of a disk that is played at random.

use proptest::prelude::*;

use super::super::dm_log_writes::Order;
use super::super::dm_log_writes::reader::{Image, exported, name, replay};
use super::super::write_log::{PowerMark, Record};
use super::super::{AtomicUnit, CacheMode, Fault, Latency, MemoryBase, Tie};
use super::*;
use crate::bench::Bench;

/// The last block is cut short.
const SECTORS: u64 = 21;

/// The byte of each sector: they are filled with one.
fn image(media: &Media) -> Image {
    let mut bytes = vec![0; media.bytes() as usize];
    media.read(0, &mut bytes).unwrap();
    bytes.chunks(SECTOR as usize).map(|sector| sector[0]).collect()
}

fn start() -> Media {
    let bytes = (0..SECTORS as u8).flat_map(|byte| [byte; SECTOR as usize]).collect();
    Media::over(Arc::new(MemoryBase(bytes))).unwrap()
}

#[derive(Debug, Clone)]
enum Play {
    Accept(Command),
    Complete(usize),
    Abandon(usize),
    Advance,
    Cut(u64),
    Off,
    Switch(bool),
}

fn plays() -> impl Strategy<Value = Vec<Play>> {
    let extent = (0..SECTORS, 1..9u64)
        .prop_map(|(sector, sectors)| Extent { sector, sectors: sectors.min(SECTORS - sector) });
    let extents = prop::collection::vec(extent.clone(), 0..3);
    let write = (extent.clone(), any::<u8>(), any::<bool>()).prop_map(|(extent, byte, fua)| Command::Write {
        sector: extent.sector,
        data: vec![byte; (extent.sectors * SECTOR) as usize].into(),
        fua,
    });
    let command = prop_oneof![
        6 => write,
        2 => Just(Command::Flush),
        1 => extents.clone().prop_map(Command::Discard),
        1 => (extents, any::<bool>()).prop_map(|(extents, fua)| Command::WriteZeroes { extents, fua }),
        1 => (extent, any::<bool>()).prop_map(|(extent, fua)| Command::Read { extent, fua }),
    ];
    let play = prop_oneof![
        8 => command.prop_map(Play::Accept),
        8 => any::<usize>().prop_map(Play::Complete),
        1 => any::<usize>().prop_map(Play::Abandon),
        1 => Just(Play::Advance),
        1 => any::<u64>().prop_map(Play::Cut),
        1 => Just(Play::Off),
        1 => any::<bool>().prop_map(Play::Switch),
    ];
    prop::collection::vec(play, 0..40)
}

fn configs() -> impl Strategy<Value = DiskConfig> {
    let unit = prop_oneof![Just(AtomicUnit::Sector), Just(AtomicUnit::Block)];
    let tie = prop_oneof![Just(Tie::Unit), Just(Tie::Write)];
    (unit, tie, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(atomic_unit, tie, through, drops, destages)| {
            // The third write fails, and its first unit is written.
            let fault = Fault {
                kind: Some(Kind::Write),
                nth: Some(2),
                outcome: FaultOutcome::Fails(Applied::Units(1)),
                ..Fault::default()
            };
            let lie = Fault {
                kind: Some(Kind::Flush),
                nth: Some(1),
                outcome: FaultOutcome::Lies,
                ..Fault::default()
            };
            DiskConfig {
                latency: Latency { read: 5, write: 5, flush: 5, discard: 5, kibibyte: 1 },
                cache: if through { CacheMode::WriteThrough } else { CacheMode::WriteBack },
                power_off: if drops { PowerOff::Drop } else { PowerOff::Destage },
                destage_after: (destages && !through).then_some(20),
                atomic_unit,
                tie,
                faults: vec![fault, lie],
                log: true,
                ..DiskConfig::default()
            }
        },
    )
}

/// Plays. Returns the disk, and what was durable whenever the power went.
fn play(config: DiskConfig, plays: Vec<Play>) -> (Disk, Vec<Image>) {
    let mut bench = Bench::new();
    let mut disk = Disk::new(config, start()).unwrap();
    let mut in_flight: Vec<u64> = Vec::new();
    let mut durable = Vec::new();
    for play in plays {
        bench.now = bench.now.after(3);
        match play {
            Play::Accept(command) => in_flight.push(disk.accept(command, &mut bench.cx()).request),
            Play::Complete(which) if !in_flight.is_empty() => {
                let request = in_flight.remove(which % in_flight.len());
                let _ = disk.complete(request, &mut bench.cx());
            }
            Play::Abandon(which) if !in_flight.is_empty() => {
                disk.abandon(in_flight.remove(which % in_flight.len()));
            }
            Play::Complete(_) | Play::Abandon(_) => {}
            Play::Advance => {
                bench.now = bench.now.after(15);
                disk.advance(&mut bench.cx());
            }
            Play::Cut(seed) => {
                let space = disk.crash_space().unwrap();
                assert_eq!(image(&space.media(&space.none()).unwrap()), image(disk.durable()));
                assert_eq!(image(&space.media(&space.all()).unwrap()), image(disk.media()));
                let media = space.media(&space.seeded(seed).next().unwrap()).unwrap();
                durable.push(image(disk.durable()));
                disk.log_mut().unwrap().push(bench.now, Record::Power(PowerMark::Cut));
                disk.power_on(media.clone());
                assert_eq!(image(disk.media()), image(&media));
                assert!(disk.crash_space().unwrap().is_decided());
                in_flight.clear();
            }
            Play::Off => {
                durable.push(image(disk.durable()));
                disk.log_mut().unwrap().push(bench.now, Record::Power(PowerMark::Off));
                disk.power_off();
                in_flight.clear();
            }
            Play::Switch(on) => disk.set_write_cache(on),
        }
    }
    durable.push(image(disk.durable()));
    (disk, durable)
}

proptest! {
    #[test]
    fn an_export_of_a_disk_is_the_disk((config, plays) in (configs(), plays())) {
        let (disk, durable) = play(config, plays);
        let log = disk.log().unwrap();
        for order in [Order::Completion, Order::Durability] {
            let entries = exported(log, order);
            let images = replay(&image(&start()), &entries);
            prop_assert_eq!(images.last().unwrap(), &image(disk.media()));
            if order == Order::Durability {
                let is_loss = |name: &str| name.starts_with("power-cut") || name.starts_with("power-off") || name == "end";
                let marks = entries.iter().zip(images).filter(|(entry, _)| name(entry).is_some_and(is_loss));
                prop_assert_eq!(&marks.map(|(_, image)| image).collect::<Vec<_>>(), &durable);
            }
        }
        // What is pending for the log is pending for the disk.
        let changes = disk.changes().filter(|change| change.extent.sectors > 0);
        let mut pending: Vec<(u64, u64)> = changes.map(|c| (c.request, c.extent.sectors)).collect();
        let mut logged: Vec<(u64, u64)> = Vec::new();
        for one in log.pending(log.len()) {
            logged.extend(one.extents.iter().map(|extent| (one.request, extent.sectors)));
        }
        pending.sort_unstable();
        logged.sort_unstable();
        prop_assert_eq!(logged, pending);
        prop_assert_eq!(log.is_durable(Extent { sector: 0, sectors: SECTORS }, log.len()), disk.crash_space().unwrap().changes().is_empty());
        let text = serde_json::to_string(&disk).unwrap();
        let restored: Disk = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(restored.log(), disk.log());
    }
}

#[test]
fn a_disk_without_a_log_keeps_none() {
    let mut bench = Bench::new();
    let mut disk = Disk::new(DiskConfig::default(), start()).unwrap();
    disk.accept(Command::Write { sector: 0, data: vec![1; 512].into(), fua: false }, &mut bench.cx());
    disk.complete(0, &mut bench.cx());
    disk.power_off();
    assert_eq!((disk.log(), disk.log.len()), (None, 0));
    assert!(disk.log_mut().is_none());
}

#[test]
fn a_flush_has_an_author() {
    let mut bench = Bench::new();
    let config = DiskConfig { log: true, ..DiskConfig::default() };
    let mut disk = Disk::new(config, start()).unwrap();
    let flush = disk.accept(Command::Flush, &mut bench.cx()).request;
    assert!(disk.log_mut().unwrap().set_flush_author(flush, "flush_swap_writer < swap_writer_finish"));
    disk.complete(flush, &mut bench.cx());
    let log = disk.log().unwrap();
    let last = log.last_flush(log.len()).unwrap();
    assert_eq!(last.author.map(|author| &**author), Some("flush_swap_writer < swap_writer_finish"));
    assert_eq!(log.last_flush(2), None);
}

/// Everything that survives a cut by choice is what the crash space of that moment says; the guest reads it afterwards.
#[test]
fn a_power_cut_goes_on_with_the_chosen_state() {
    let mut bench = Bench::new();
    let config = DiskConfig { tie: Tie::Write, ..DiskConfig::default() };
    let mut disk = Disk::new(config, start()).unwrap();
    for (sector, byte) in [(0, 100), (1, 101), (2, 102)] {
        disk.accept(Command::Write { sector, data: vec![byte; 512].into(), fua: false }, &mut bench.cx());
    }
    let space = disk.crash_space().unwrap();
    assert_eq!(space.size().to_string(), "8");
    let state = space.adopt(&"w:klk".parse().unwrap()).unwrap();
    disk.power_on(space.media(&state).unwrap());
    let read = Command::Read { extent: Extent { sector: 0, sectors: 4 }, fua: false };
    let request = disk.accept(read, &mut bench.cx()).request;
    let data = disk.complete(request, &mut bench.cx()).result.unwrap();
    assert_eq!(data.chunks(512).map(|sector| sector[0]).collect::<Vec<_>>(), [100, 1, 102, 3]);
}
