//! What becomes durable when.

use super::super::{CacheMode, Fault, Latency, PowerOff, Standby};
use super::*;
use crate::bench::Bench;

const LATENCY: Latency = Latency { read: 50, write: 100, flush: 1000, discard: 300, kibibyte: 0 };

/// A disk on its bench.
struct Test {
    bench: Bench,
    disk: Disk,
}

impl Test {
    fn new(config: DiskConfig) -> Self {
        let config = DiskConfig { latency: LATENCY, ..config };
        Self { bench: Bench::new(), disk: Disk::new(config, Media::blank(1 << 20).unwrap()).unwrap() }
    }

    fn accept(&mut self, command: Command) -> u64 {
        self.disk.accept(command, &mut self.bench.cx()).request
    }

    fn complete(&mut self, request: u64) -> Result<Vec<u8>, DiskError> {
        self.disk.complete(request, &mut self.bench.cx()).result
    }

    /// Accepts and completes.
    fn done(&mut self, command: Command) -> u64 {
        let request = self.accept(command);
        self.complete(request).unwrap();
        request
    }

    /// First byte of the sectors 0 to 3, as a guest reads it and as it survives.
    fn contents(&self) -> ([u8; 4], [u8; 4]) {
        let first = |media: &Media| {
            std::array::from_fn(|sector| {
                let mut byte = [0];
                media.read(512 * sector as u64, &mut byte).unwrap();
                byte[0]
            })
        };
        (first(self.disk.media()), first(self.disk.durable()))
    }

    /// Of each change: request, first sector, number of sectors.
    fn changes(&self) -> Vec<(u64, u64, u64)> {
        self.disk
            .changes()
            .map(|change| (change.request, change.extent.sector, change.extent.sectors))
            .collect()
    }

    fn durable_events(&mut self) -> Vec<u64> {
        let steps = self.bench.events.take_disk_steps();
        steps.into_iter().filter(|(_, step)| *step == DiskStep::Durable).map(|(request, _)| request).collect()
    }
}

/// Sectors that become this.
fn write(sector: u64, sectors: usize, byte: u8) -> Command {
    Command::Write { sector, data: vec![byte; 512 * sectors].into(), fua: false }
}

fn fua(sector: u64, sectors: usize, byte: u8) -> Command {
    Command::Write { sector, data: vec![byte; 512 * sectors].into(), fua: true }
}

#[test]
fn a_flush_covers_what_completed_before_it_was_accepted() {
    let mut test = Test::new(DiskConfig::default());
    let late = test.accept(write(3, 1, 3));
    let early = [test.done(write(1, 1, 1)), test.done(write(0, 1, 9))];
    let flush = test.accept(Command::Flush);
    test.complete(late).unwrap();
    assert_eq!(test.contents(), ([9, 1, 0, 3], [0; 4]), "the flush has not completed");
    test.bench.events.take_disk_steps();
    test.complete(flush).unwrap();
    assert_eq!(test.contents(), ([9, 1, 0, 3], [9, 1, 0, 0]));
    assert_eq!(test.changes(), [(late, 3, 1)]);
    let steps = test.bench.events.take_disk_steps();
    let durable = early.map(|request| (request, DiskStep::Durable));
    assert_eq!(steps, [&[(flush, DiskStep::Completed)][..], &durable].concat());
    test.done(Command::Flush);
    assert_eq!((test.contents().1, test.durable_events()), ([9, 1, 0, 3], vec![late]));
}

#[test]
fn what_has_fua_is_durable_when_it_completes_and_nothing_else_is() {
    let mut test = Test::new(DiskConfig::default());
    let before = test.done(write(0, 1, 1));
    let request = test.accept(fua(1, 2, 2));
    assert_eq!(test.contents(), ([1, 2, 2, 0], [0; 4]));
    test.complete(request).unwrap();
    assert_eq!(test.contents().1, [0, 2, 2, 0]);
    assert_eq!((test.durable_events(), test.changes()), (vec![request], vec![(before, 0, 1)]));
    let zeroes = Command::WriteZeroes { extents: vec![Extent { sector: 1, sectors: 1 }], fua: true };
    test.done(zeroes);
    assert_eq!(test.contents().1, [0, 0, 2, 0]);
    // A read with FUA makes durable what it reads.
    test.done(Command::Read { extent: Extent { sector: 0, sectors: 1 }, fua: true });
    assert_eq!((test.contents().1, test.changes()), ([1, 0, 2, 0], vec![]));
}

#[test]
fn an_older_version_never_overwrites_a_newer_one() {
    let mut test = Test::new(DiskConfig::default());
    let old = test.accept(write(0, 4, 1));
    let over = test.done(write(1, 1, 5));
    let new = test.accept(fua(1, 2, 2));
    let newest = test.done(write(2, 1, 3));
    test.complete(new).unwrap();
    // Of the old one, what is around the new one is left; nothing of the one that was overwritten as a whole.
    assert_eq!(test.changes(), [(old, 0, 1), (old, 3, 1), (newest, 2, 1)]);
    assert_eq!(test.durable_events(), [over, new]);
    assert_eq!(test.contents(), ([1, 2, 3, 1], [0, 2, 2, 0]));
    test.complete(old).unwrap();
    test.done(Command::Flush);
    assert_eq!(test.contents(), ([1, 2, 3, 1], [1, 2, 3, 1]));
    assert_eq!(test.durable_events(), [old, newest]);
}

#[test]
fn a_write_that_was_overwritten_before_it_completed_is_told_of_in_its_turn() {
    let mut test = Test::new(DiskConfig::default());
    let (old, other) = (test.accept(write(1, 1, 1)), test.done(write(3, 1, 1)));
    let new = test.done(fua(0, 2, 2));
    assert_eq!((test.durable_events(), test.changes()), (vec![new], vec![(other, 3, 1)]));
    test.complete(old).unwrap();
    let steps = [(old, DiskStep::Completed), (old, DiskStep::Durable)];
    assert_eq!(test.bench.events.take_disk_steps(), steps);
    assert_eq!(test.contents().1, [2, 2, 0, 0]);
}

#[test]
fn without_a_cache_what_completed_is_durable() {
    let mut test = Test::new(DiskConfig { cache: CacheMode::WriteThrough, ..DiskConfig::default() });
    let request = test.accept(write(0, 1, 1));
    assert_eq!((test.contents().1, test.changes()), ([0; 4], vec![(request, 0, 1)]));
    test.complete(request).unwrap();
    assert_eq!((test.contents().1, test.durable_events()), ([1, 0, 0, 0], vec![request]));
    let discard = test.done(Command::Discard(vec![Extent { sector: 0, sectors: 1 }]));
    assert_eq!((test.contents().1, test.durable_events()), ([0; 4], vec![discard]));
    // Nothing to change: durable all the same.
    let nothing = test.done(Command::Discard(vec![]));
    assert_eq!(test.durable_events(), [nothing]);
}

#[test]
fn the_cache_has_to_be_off_all_the_time() {
    let mut test = Test::new(DiskConfig::default());
    let before = test.accept(write(0, 1, 1));
    test.disk.set_write_cache(false);
    let [through, toggled] = [1, 2].map(|sector| test.accept(write(sector, 1, 1)));
    test.complete(before).unwrap();
    test.complete(through).unwrap();
    test.disk.set_write_cache(true);
    test.disk.set_write_cache(false);
    test.complete(toggled).unwrap();
    assert_eq!((test.contents().1, test.durable_events()), ([0, 1, 0, 0], vec![through]));
    let in_flight = test.accept(write(3, 1, 1));
    test.disk.set_write_cache(true);
    test.disk.write_through_in_flight();
    test.complete(in_flight).unwrap();
    assert_eq!(test.contents().1, [0, 1, 0, 1]);
}

#[test]
fn what_its_front_end_forgot_may_survive_and_no_flush_covers_it() {
    let mut test = Test::new(DiskConfig { destage_after: Some(5000), ..DiskConfig::default() });
    test.bench.now = VirtualTime(100);
    let forgotten = test.accept(write(0, 2, 1));
    test.bench.now = VirtualTime(200);
    test.disk.abandon(forgotten);
    test.done(Command::Flush);
    assert_eq!((test.contents(), test.changes()), (([1, 1, 0, 0], [0; 4]), vec![(forgotten, 0, 2)]));
    assert_eq!(test.complete(forgotten), Err(DiskError::Range));
    assert!(test.disk.changes().all(|change| change.completed.is_none()));
    assert_eq!(test.disk.deadline(), Some(VirtualTime(5100)));
    test.bench.now = VirtualTime(5100);
    assert!(!test.disk.advance(&mut test.bench.cx()));
    assert_eq!(
        (test.contents().1, test.durable_events(), test.disk.deadline()),
        ([1, 1, 0, 0], vec![0], None)
    );
}

#[test]
fn what_waited_long_enough_destages_at_its_nanosecond() {
    let mut test = Test::new(DiskConfig { destage_after: Some(1000), ..DiskConfig::default() });
    let slow = test.accept(write(2, 1, 1));
    for (now, sector) in [(10, 0), (20, 1)] {
        test.bench.now = VirtualTime(now);
        test.done(write(sector, 1, 1));
    }
    assert_eq!(test.disk.deadline(), Some(VirtualTime(1010)));
    test.bench.now = VirtualTime(1009);
    test.disk.advance(&mut test.bench.cx());
    assert_eq!(test.contents().1, [0; 4]);
    test.bench.now = VirtualTime(1010);
    test.disk.advance(&mut test.bench.cx());
    assert_eq!((test.contents().1, test.disk.deadline()), ([1, 0, 0, 0], Some(VirtualTime(1020))));
    test.bench.now = VirtualTime(1015);
    test.complete(slow).unwrap();
    test.bench.now = VirtualTime(5000);
    test.disk.advance(&mut test.bench.cx());
    assert_eq!((test.contents().1, test.disk.deadline()), ([1, 1, 1, 0], None));
    assert_eq!(test.durable_events(), [1, 0, 2]);
}

#[test]
fn an_event_that_stops_leaves_the_rest_for_later() {
    let mut test = Test::new(DiskConfig::default());
    let writes = [0, 1, 2].map(|sector| test.done(write(sector, 1, 1)));
    let flush = test.accept(Command::Flush);
    test.bench.events.take_disk_steps();
    test.bench.events.stop_at = Some((flush, DiskStep::Completed));
    // The guest may be told now: so it is true now.
    assert!(test.disk.complete(flush, &mut test.bench.cx()).stop);
    assert_eq!((test.contents().1, test.changes()), ([1, 1, 1, 0], vec![]));
    assert_eq!(test.bench.events.take_disk_steps(), [(flush, DiskStep::Completed)]);
    assert_eq!(test.disk.deadline(), Some(VirtualTime(0)));
    test.bench.events.stop_at = Some((writes[1], DiskStep::Durable));
    assert!(test.disk.advance(&mut test.bench.cx()));
    assert_eq!(test.durable_events(), writes[..2]);
    // What else happens comes after what is left to tell.
    test.bench.events.stop_at = Some((writes[2], DiskStep::Durable));
    let ticket = test.disk.accept(Command::Flush, &mut test.bench.cx());
    assert!(ticket.stop);
    assert!(!test.disk.advance(&mut test.bench.cx()));
    let steps = [(writes[2], DiskStep::Durable), (ticket.request, DiskStep::Accepted)];
    assert_eq!(test.bench.events.take_disk_steps(), steps);
    assert_eq!(test.disk.deadline(), None);
}

#[test]
fn a_flush_that_lies_succeeds_and_makes_nothing_durable() {
    let lie =
        Fault { kind: Some(Kind::Flush), nth: Some(1), outcome: FaultOutcome::Lies, ..Fault::default() };
    let mut test = Test::new(DiskConfig { faults: vec![lie], ..DiskConfig::default() });
    test.done(write(0, 1, 1));
    test.done(Command::Flush);
    test.done(write(1, 1, 2));
    test.done(Command::Flush);
    assert_eq!(test.contents(), ([1, 2, 0, 0], [1, 0, 0, 0]));
    assert_eq!(test.disk.counters().failed, 0);
    test.done(Command::Flush);
    assert_eq!(test.contents(), ([1, 2, 0, 0], [1, 2, 0, 0]));
}

#[test]
fn a_write_that_lies_about_fua_is_as_volatile_as_any_other() {
    let lie =
        Fault { kind: Some(Kind::Write), nth: Some(1), outcome: FaultOutcome::Lies, ..Fault::default() };
    let mut test = Test::new(DiskConfig { faults: vec![lie], ..DiskConfig::default() });
    test.done(fua(0, 1, 1));
    test.done(fua(1, 1, 2));
    assert_eq!(test.contents(), ([1, 2, 0, 0], [1, 0, 0, 0]));
    test.done(Command::Flush);
    assert_eq!(test.contents(), ([1, 2, 0, 0], [1, 2, 0, 0]));
}

#[test]
fn what_was_promised_too_early_is_durable_later() {
    let mut test = Test::new(DiskConfig { late_loss: Some(5000), ..DiskConfig::default() });
    test.done(write(0, 1, 1));
    test.done(Command::Flush);
    test.done(fua(1, 1, 2));
    test.done(write(2, 1, 3));
    assert_eq!(test.contents(), ([1, 2, 3, 0], [0, 0, 0, 0]));
    let due = test.disk.deadline().unwrap();
    assert_eq!(due, test.bench.now.after(5000));
    test.bench.now = VirtualTime(due.0 - 1);
    assert!(!test.disk.advance(&mut test.bench.cx()));
    assert_eq!(test.contents().1, [0, 0, 0, 0]);
    test.bench.now = due;
    assert!(!test.disk.advance(&mut test.bench.cx()));
    assert_eq!(test.contents(), ([1, 2, 3, 0], [1, 2, 0, 0]));
    assert_eq!(test.durable_events(), [0, 2]);
    assert_eq!(test.disk.deadline(), None);
}

#[test]
fn a_fault_put_in_another_s_place_strikes_anew() {
    let fault = Fault { kind: Some(Kind::Flush), outcome: FaultOutcome::Lies, ..Fault::default() };
    let mut test = Test::new(DiskConfig { faults: vec![fault], ..DiskConfig::default() });
    let flushed = |test: &mut Test, byte| {
        test.done(write(0, 1, byte));
        test.done(Command::Flush);
        test.contents().1[0] == byte
    };
    assert_eq!([1, 2].map(|byte| flushed(&mut test, byte)), [false, true]);
    test.disk.set_fault(0, fault).unwrap();
    assert_eq!([3, 4].map(|byte| flushed(&mut test, byte)), [false, true]);
    let cannot_be = Fault { nth: Some(1), ..Fault::default() };
    assert!(test.disk.set_fault(0, cannot_be).is_err());
    test.disk.set_fault(7, fault).unwrap();
    assert!(flushed(&mut test, 5));
}

#[test]
fn switched_off_by_order_it_destages_or_drops() {
    for (power_off, survives) in [(PowerOff::Destage, [1, 2, 0, 0]), (PowerOff::Drop, [1, 0, 0, 0])] {
        let config = DiskConfig { power_off, ..DiskConfig::default() };
        let mut test = Test::new(config);
        test.done(fua(0, 1, 1));
        test.accept(write(1, 1, 2));
        test.disk.power_off();
        assert_eq!(test.contents(), (survives, survives));
        let as_new = Disk::new(test.disk.config().clone(), test.disk.media().clone()).unwrap();
        assert_eq!(test.disk, as_new);
    }
}

#[test]
fn after_a_cut_it_goes_on_with_the_contents_that_were_chosen() {
    let mut test = Test::new(DiskConfig { destage_after: Some(10), ..DiskConfig::default() });
    test.done(write(0, 1, 1));
    let kept = test.done(write(1, 1, 2));
    test.bench.events.stop_at = Some((kept, DiskStep::Durable));
    test.bench.now = VirtualTime(10);
    let mut chosen = test.disk.durable().clone();
    for change in test.disk.changes().filter(|change| change.request == kept) {
        chosen.apply(change).unwrap();
    }
    assert!(test.disk.advance(&mut test.bench.cx()));
    test.disk.power_on(chosen.clone());
    assert_eq!(test.contents(), ([0, 2, 0, 0], [0, 2, 0, 0]));
    assert_eq!(test.disk, Disk::new(test.disk.config().clone(), chosen).unwrap());
    // What was untold stays so: the power is gone.
    test.bench.events.take_disk_steps();
    assert!(!test.disk.advance(&mut test.bench.cx()));
    assert_eq!(test.bench.events.take_disk_steps(), []);
}

#[test]
fn in_s3_it_keeps_its_cache_or_loses_it() {
    for (s3, survives, changes) in [(Standby::Keep, [1, 2, 0, 0], 1), (Standby::PowerLoss, [1, 0, 0, 0], 0)] {
        let mut test = Test::new(DiskConfig { s3, ..DiskConfig::default() });
        test.done(fua(0, 1, 1));
        test.done(write(1, 1, 2));
        test.disk.enter_s3();
        let asleep = test.disk.clone();
        test.disk.reset(Reset::Wake);
        assert_eq!(test.disk, asleep);
        assert_eq!((test.contents().0, test.changes().len()), (survives, changes));
        assert_eq!(test.disk.loses_power(Reset::Wake), s3 == Standby::PowerLoss);
    }
}

#[test]
fn a_cache_survives_serialization() {
    let mut test = Test::new(DiskConfig { destage_after: Some(1000), ..DiskConfig::default() });
    test.done(fua(0, 16, 1));
    test.done(write(0, 4, 2));
    let [in_flight, forgotten] = [2, 3].map(|sector| test.accept(write(sector, 8, 3)));
    test.disk.abandon(forgotten);
    let flush = test.accept(Command::Flush);
    let bytes = serde_json::to_string(&test.disk).unwrap();
    let restored: Disk = serde_json::from_str(&bytes).unwrap();
    assert_eq!(restored, test.disk);
    assert_eq!(serde_json::to_string(&restored).unwrap(), bytes);
    test.disk = restored;
    for request in [in_flight, flush] {
        test.complete(request).unwrap();
    }
    assert_eq!(test.changes(), [(in_flight, 2, 8), (forgotten, 3, 8)]);
    assert_eq!(test.contents(), ([2, 2, 3, 3], [2, 2, 2, 2]));
}
