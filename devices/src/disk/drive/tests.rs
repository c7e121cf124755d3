use std::sync::Arc;

use super::super::{Latency, MemoryBase};
use super::*;
use crate::bench::Bench;

fn disk(read_only: bool) -> Disk {
    let latency = Latency { read: 500, write: 100, flush: 0, discard: 300, kibibyte: 10 };
    let config = DiskConfig { id: 1, read_only, latency, ..DiskConfig::default() };
    Disk::new(config, Media::over(Arc::new(MemoryBase(vec![7; 64 << 10]))).unwrap()).unwrap()
}

fn read(sector: u64, sectors: u64) -> Command {
    Command::Read { extent: Extent { sector, sectors }, fua: false }
}

fn write(sector: u64, bytes: usize) -> Command {
    Command::Write { sector, data: vec![9; bytes].into(), fua: false }
}

#[test]
fn transfers_follow_one_another_and_accesses_overlap() {
    let (mut bench, mut disk) = (Bench::new(), disk(false));
    bench.now = VirtualTime(1000);
    let commands = [read(0, 8), write(8, 4096), read(0, 1), Command::Flush, Command::Discard(vec![])];
    let due = commands.map(|command| disk.accept(command, &mut bench.cx()).due.unwrap().0);
    // A flush takes time even where it is said to take none.
    assert_eq!(due, [1540, 1180, 1590, 1091, 1390]);
    bench.now = VirtualTime(5000);
    assert_eq!(disk.accept(read(0, 2), &mut bench.cx()).due, Some(VirtualTime(5510)));
}

#[test]
fn requests_are_numbered_and_a_write_is_accepted_at_once() {
    let (mut bench, mut disk) = (Bench::new(), disk(false));
    let first = disk.accept(read(0, 1), &mut bench.cx());
    let second = disk.accept(write(0, 512), &mut bench.cx());
    assert_eq!((first.request, second.request), (0, 1));
    // The read completes after the write was accepted: it may see it, and does.
    assert_eq!(disk.complete(0, &mut bench.cx()).result, Ok(vec![9; 512]));
    assert_eq!(disk.complete(1, &mut bench.cx()).result, Ok(vec![]));
    assert_eq!(disk.complete(1, &mut bench.cx()).result, Err(DiskError::Range));
    let read = DiskAction::Read(Extent { sector: 0, sectors: 1 });
    let write = DiskAction::Write { extent: Extent { sector: 0, sectors: 1 }, fua: false };
    let event = |request, action, step| Event::Disk(DiskEvent { disk: 1, request, action, step });
    let accepted = [event(0, read, DiskStep::Accepted), event(1, write, DiskStep::Accepted)];
    let completed = [event(0, read, DiskStep::Completed), event(1, write, DiskStep::Completed)];
    assert_eq!(bench.events.seen, [accepted, completed].concat());
}

#[test]
fn what_is_out_of_range_fails_in_no_more_than_its_access_time() {
    let (mut bench, mut disk) = (Bench::new(), disk(false));
    let huge = [(u64::MAX, 1), (1, u64::MAX), (127, 2), (128, 1), (u64::MAX / 512, 1)];
    for (sector, sectors) in huge {
        let ticket = disk.accept(read(sector, sectors), &mut bench.cx());
        assert_eq!(ticket.due, Some(VirtualTime(500)));
        assert_eq!(disk.complete(ticket.request, &mut bench.cx()).result, Err(DiskError::Range));
    }
    for command in [write(127, 1024), write(0, 100)] {
        let ticket = disk.accept(command, &mut bench.cx());
        assert_eq!(disk.complete(ticket.request, &mut bench.cx()).result, Err(DiskError::Range));
    }
    // One bad extent spoils all.
    let extents = [Extent { sector: 0, sectors: 8 }, Extent { sector: 120, sectors: 9 }];
    let ticket = disk.accept(Command::WriteZeroes { extents: extents.to_vec(), fua: false }, &mut bench.cx());
    assert_eq!(disk.complete(ticket.request, &mut bench.cx()).result, Err(DiskError::Range));
    assert_eq!(disk.media().changed_blocks().count(), 0);
    assert_eq!(disk.counters().failed, 8);
}

#[test]
fn a_read_only_disk_stays_as_it_is() {
    let (mut bench, mut disk) = (Bench::new(), disk(true));
    let all = Extent { sector: 0, sectors: 128 };
    for command in
        [write(0, 512), Command::Discard(vec![all]), Command::WriteZeroes { extents: vec![all], fua: false }]
    {
        let ticket = disk.accept(command, &mut bench.cx());
        assert_eq!(disk.complete(ticket.request, &mut bench.cx()).result, Err(DiskError::ReadOnly));
    }
    assert_eq!(disk.media().changed_blocks().count(), 0);
}

#[test]
fn at_power_on_only_the_contents_remain() {
    let (mut bench, mut disk) = (Bench::new(), disk(false));
    disk.accept(write(0, 512), &mut bench.cx());
    disk.abandon(0);
    disk.accept(read(0, 1), &mut bench.cx());
    disk.power_off();
    let mut fresh = Disk::new(disk.config().clone(), disk.media().clone()).unwrap();
    assert_eq!(disk, fresh);
    assert_eq!(disk.complete(1, &mut bench.cx()).result, Err(DiskError::Range));
    assert_eq!(disk.accept(read(0, 1), &mut bench.cx()), fresh.accept(read(0, 1), &mut bench.cx()));
    assert_eq!(disk.complete(0, &mut bench.cx()).result, Ok(vec![9; 512]));
}
