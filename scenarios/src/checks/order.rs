//! O5: commit records become durable after what they commit to, and resets before what follows them.
//!
//! Nothing of this needs a crash: what is not durable when the header is accepted may be missing beside it after one. A disk that says
//! of a flush that it is done, and it is not, is said to lie, and the kernel has no part in it.

use std::collections::BTreeMap;

use devices::{DiskAction, PowerEvent};

use super::life_of_image::{Image, Lives, Piece, Reset};
use super::record::{Request, places};
use super::{Check, Clause, FaultModel};
use crate::history::Happening;
use crate::language::Use;

/// Requests that evidence names one by one.
const NAMED: usize = 3;

/// All clauses of O5, for every image of the run.
pub(super) fn checks(lives: &Lives<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    for image in &lives.images {
        checks.extend(header_last(lives, image));
        checks.extend(disks_before_header(lives, image));
        checks.extend(image.resets.iter().map(|reset| reset_first(lives, image, *reset)));
    }
    checks
}

/// Those that are not durable when the header is accepted, sorted by whose fault that is.
#[derive(Default)]
struct Volatile {
    /// No flush covered them.
    unflushed: Vec<(usize, Piece)>,
    /// One did, or said so.
    lied: Vec<(usize, Piece)>,
}

impl Volatile {
    fn add(&mut self, lives: &Lives<'_>, number: usize, piece: Piece, header: &Request<'_>) {
        let request = lives.request(number);
        if request.durable_before(header.accepted) {
            return;
        }
        let covers = |flush: &Request<'_>| {
            flush.disk == request.disk
                && flush.action == DiskAction::Flush
                && request.completed.is_some_and(|completed| completed < flush.accepted)
                && flush.completed.is_some_and(|completed| completed < header.accepted)
        };
        let fua = matches!(request.action, DiskAction::Write { fua: true, .. });
        let told_durable = fua && request.completed.is_some_and(|completed| completed < header.accepted);
        if told_durable || lives.requests.iter().any(covers) {
            self.lied.push((number, piece));
        } else {
            self.unflushed.push((number, piece));
        }
    }
}

/// O5.C1.
fn header_last(lives: &Lives<'_>, image: &Image) -> Vec<Check> {
    let of = lives.name(image);
    let header = lives.request(image.header);
    if image.blocks.is_empty() && image.flaw.is_none() {
        return vec![Check::not_observed(Clause::HeaderLast, of, "no block of the image was seen")];
    }
    let mut late = Vec::new();
    let mut volatile = Volatile::default();
    for block in &image.blocks {
        if lives.request(block.request).accepted > header.accepted {
            late.push((block.request, block.piece));
        } else {
            volatile.add(lives, block.request, block.piece, header);
        }
    }
    let Volatile { unflushed, lied } = volatile;
    let is_map = |(_, piece): &(usize, Piece)| matches!(piece, Piece::Map(_));
    let (maps, data): (Vec<_>, Vec<_>) = unflushed.into_iter().partition(is_map);
    let mut checks = Vec::new();
    let mut fail = |class: &str, model: FaultModel, said: String, blocks: &[(usize, Piece)]| {
        let mut evidence = vec![said];
        evidence.extend(named(lives, blocks));
        evidence.push(format!("the header: {}", lives.tell(header)));
        evidence.push(last_flush(lives, header));
        checks.push(Check::fail(Clause::HeaderLast, of.clone(), class, evidence).needs(model));
    };
    if !late.is_empty() || image.flaw.is_some() {
        let mut said = format!("the header is accepted before {}", counted(&late));
        if let (Some(flaw), true) = (&image.flaw, late.is_empty()) {
            said = format!("the header is accepted, and the image is not whole: {flaw}");
        }
        fail("header before its map", FaultModel::CutOnly, said, &late);
    }
    if !maps.is_empty() && late.is_empty() {
        let said = format!("the header is accepted before {} durable", verb(&maps));
        fail("header before its map", FaultModel::VolatileCache, said, &maps);
    }
    if !data.is_empty() {
        let said = format!("the header is accepted before {} durable", verb(&data));
        fail("header before image data", FaultModel::VolatileCache, said, &data);
    }
    if !lied.is_empty() {
        let said = format!("the disk said that {} durable, and that is not so", verb(&lied));
        fail("the disk lied", FaultModel::LyingDisk, said, &lied);
    }
    if checks.is_empty() {
        checks.push(Check::pass(Clause::HeaderLast, of));
    }
    checks
}

/// `3 pages of the map and 12 of the image are`.
fn verb(blocks: &[(usize, Piece)]) -> String {
    format!("{} {}", counted(blocks), if blocks.len() == 1 { "is" } else { "are" })
}

fn counted(blocks: &[(usize, Piece)]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, piece) in blocks {
        let what = match piece {
            Piece::Map(_) => "of the map",
            Piece::Info => "swsusp_info",
            Piece::Data => "of the image",
        };
        *counts.entry(what).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(what, count)| match (what, count) {
            ("swsusp_info", _) => what.to_owned(),
            (_, 1) => format!("1 block {what}"),
            _ => format!("{count} blocks {what}"),
        })
        .collect();
    counts.join(" and ")
}

fn named(lives: &Lives<'_>, blocks: &[(usize, Piece)]) -> Vec<String> {
    let name = |(number, piece): &(usize, Piece)| {
        let request = lives.request(*number);
        let what = match piece {
            Piece::Map(page) => format!("page {page} of the map"),
            Piece::Info => "swsusp_info".to_owned(),
            Piece::Data => "of the image".to_owned(),
        };
        format!("{what}: {}, {}", lives.tell(request), fate(request))
    };
    // One request may hold many blocks.
    let mut once: Vec<&(usize, Piece)> = blocks.iter().rev().collect();
    once.dedup_by_key(|(number, _)| *number);
    once.into_iter().take(NAMED).map(name).collect()
}

/// What became of a request.
fn fate(request: &Request<'_>) -> &'static str {
    match (request.durable, request.cut, request.completed) {
        (Some(_), _, _) => "durable later",
        (None, Some(_), _) => "not durable when the power failed",
        (None, None, Some(_)) => "not flushed while the power was on",
        (None, None, None) => "never completed",
    }
}

/// The last flush of its disk before a request, and who asked for it.
fn last_flush(lives: &Lives<'_>, before: &Request<'_>) -> String {
    let flush = lives.requests.iter().rev().find(|flush| {
        flush.disk == before.disk
            && flush.boot == before.boot
            && flush.action == DiskAction::Flush
            && flush.accepted < before.accepted
    });
    let Some(flush) = flush else { return "no flush of this disk before it since the power came on".into() };
    format!("the last flush of this disk before it: {}{}", lives.tell(flush), authors(lives, flush))
}

/// ` by jbd2_journal_commit_transaction < kjournald2`, if that was looked at.
fn authors(lives: &Lives<'_>, flush: &Request<'_>) -> String {
    let entries = lives.record.entries().get(flush.accepted..).unwrap_or_default();
    let authors = entries.iter().take(8).find_map(|entry| match &entry.what {
        Happening::Authors { disk, request, authors }
            if usize::from(*disk) == flush.disk && *request == flush.number =>
        {
            Some(authors.join("; "))
        }
        _ => None,
    });
    authors.map_or(String::new(), |authors| format!(", by {authors}"))
}

/// O5.C2. Of A's disks everything counts but what is discarded, and but the image partitions, which are not A's. A power-off by order
/// destages, so that only writes since the power last came on can be missing.
fn disks_before_header(lives: &Lives<'_>, image: &Image) -> Vec<Check> {
    let clause = Clause::DisksBeforeHeader;
    let of = lives.name(image);
    let header = lives.request(image.header);
    let Some(on) = power_on_before(lives, header.accepted) else {
        return vec![Check::not_observed(clause, of, "when the power came on is not known")];
    };
    let disks = lives.disks_of_a();
    let images = places(lives.record.scenario, Use::Image);
    let swaps = places(lives.record.scenario, Use::Swap);
    let within = |request: &Request<'_>, places: &[super::record::Place]| {
        places.iter().any(|place| place.disk == request.disk && request.stays_in(&place.sectors()))
    };
    let (mut swap, mut files) = (Volatile::default(), Volatile::default());
    for (number, request) in lives.requests.iter().enumerate() {
        let snapshot = image.snapshot.get(request.disk).copied().flatten();
        let counts = on <= request.accepted
            && disks.contains(&request.disk)
            && request.changes_contents()
            && !matches!(request.action, DiskAction::Discard(_))
            && snapshot.is_some_and(|snapshot| request.completed.is_some_and(|done| done < snapshot))
            && !within(request, &images);
        if counts {
            let to = if within(request, &swaps) { &mut swap } else { &mut files };
            to.add(lives, number, Piece::Data, header);
        }
    }
    let mut checks = Vec::new();
    let unflushed = [
        ("file system not flushed before the header", files.unflushed),
        ("swap not flushed before the header", swap.unflushed),
    ];
    let lied = [("the disk lied", [files.lied, swap.lied].concat())];
    let found = unflushed.into_iter().map(|found| (found, FaultModel::VolatileCache));
    for ((class, writes), model) in found.chain(lied.into_iter().map(|found| (found, FaultModel::LyingDisk)))
    {
        let Some((last, _)) = writes.last() else { continue };
        let last = lives.request(*last);
        let count = writes.len();
        let mut evidence = vec![format!(
            "{count} {} completed before the snapshot {} not durable when the header is accepted",
            if count == 1 { "write" } else { "writes" },
            if count == 1 { "is" } else { "are" }
        )];
        evidence.extend(writes.iter().rev().take(NAMED).map(|(number, _)| {
            let request = lives.request(*number);
            format!("{}, {}", lives.tell(request), fate(request))
        }));
        evidence.push(format!("the header: {}", lives.tell(header)));
        evidence.push(last_flush(lives, &Request { accepted: header.accepted, ..last.clone() }));
        checks.push(Check::fail(clause, of.clone(), class, evidence).needs(model));
    }
    if checks.is_empty() {
        checks.push(Check::pass(clause, of));
    }
    checks
}

/// Where the power last came on; the beginning, if it was on then.
fn power_on_before(lives: &Lives<'_>, place: usize) -> Option<usize> {
    let before = lives.record.entries().get(..place)?;
    let on = before.iter().rposition(|entry| entry.what == Happening::Power(PowerEvent::On));
    Some(on.unwrap_or(0))
}

/// O5.C3, and O5.C4 after a wake with the image at hand.
fn reset_first(lives: &Lives<'_>, image: &Image, reset: Reset) -> Check {
    let clause = if reset.after_wake { Clause::UnmarkFirst } else { Clause::ResetFirst };
    let of = lives.name(image);
    let request = lives.request(reset.request);
    // What power did to it is another matter.
    let end = request.durable.unwrap_or(usize::MAX).min(lives.power_after(request.accepted));
    let sector = lives.store(image).commit_sector();
    let others = lives.requests.iter().filter(|other| {
        request.accepted < other.accepted
            && other.accepted < end
            && other.changes_contents()
            && !(other.disk == request.disk && other.stays_in(&(sector..sector + 1)))
    });
    let others: Vec<&Request<'_>> = others.collect();
    let Some(first) = others.first() else { return Check::pass(clause, of) };
    let between = |flush: &&Request<'_>| {
        flush.disk == request.disk
            && flush.action == DiskAction::Flush
            && request.completed.is_some_and(|completed| completed < flush.accepted)
    };
    let flush = lives.requests.iter().find(between);
    let lied = flush.is_some_and(|flush| flush.completed.is_some_and(|done| done < first.accepted));
    let mut evidence = vec![format!(
        "{} {} accepted before the reset of the image's header is durable",
        others.len(),
        if others.len() == 1 { "write is" } else { "writes are" }
    )];
    evidence.push(format!("the reset: {}, {}", lives.tell(request), fate(request)));
    evidence.push(format!("the first behind it: {}", lives.tell(first)));
    evidence.push(match flush {
        Some(flush) => format!("the first flush behind it: {}{}", lives.tell(flush), authors(lives, flush)),
        None => "no flush of this disk behind it".to_owned(),
    });
    let (class, model) = if lied {
        ("the disk lied", FaultModel::LyingDisk)
    } else {
        ("reset not flushed", FaultModel::VolatileCache)
    };
    Check::fail(clause, of, class, evidence).needs(model)
}

#[cfg(test)]
mod tests {
    use agent_protocol::image::State;
    use agent_protocol::message::{ReadyWhy, Role};

    use super::super::testing::{EXT4, IMAGE, SWAP, Tale, swap_header};
    use super::*;
    use crate::checks::Status;

    /// What fails, by clause and class.
    fn found(tale: &Tale) -> Vec<(Clause, String)> {
        let checks = tale.run(|record| checks(&Lives::of(record)));
        assert!(!checks.is_empty());
        let failed = checks.into_iter().filter(|check| check.status == Status::Fail);
        failed.map(|check| (check.clause, check.class.unwrap_or_default())).collect()
    }

    fn one(clause: Clause, class: &str) -> Vec<(Clause, String)> {
        vec![(clause, class.to_owned())]
    }

    #[test]
    fn a_hibernation_in_order_is_silent() {
        let mut tale = Tale::booted();
        tale.write(0, EXT4, &[1; 512]);
        tale.flush(0);
        tale.hibernate();
        tale.off_and_on();
        tale.resume(1001);
        tale.write(1, EXT4, &[2; 512]);
        assert_eq!(found(&tale), []);
        tale.run(|record| {
            let lives = Lives::of(record);
            let [image] = &lives.images[..] else { panic!("one image") };
            assert_eq!((image.blocks.len(), image.entered.len(), image.resets.len()), (4, 1, 1));
            assert_eq!(image.flaw, None);
        });
    }

    #[test]
    fn a_header_before_the_map_or_before_the_data_is_found() {
        let saved = |flushed, map_first| {
            let mut tale = Tale::booted();
            tale.going(Role::Primary, 1000);
            tale.stand_still();
            tale.save_to_swap(flushed, map_first);
            tale.power(PowerEvent::Off);
            found(&tale)
        };
        let header = |class: &str| (Clause::HeaderLast, class.to_owned());
        assert_eq!(saved(true, true), []);
        assert_eq!(saved(true, false), [header("header before its map")]);
        let both = [header("header before its map"), header("header before image data")];
        assert_eq!(saved(false, true), both);
        assert_eq!(saved(false, false), both);
    }

    #[test]
    fn a_lying_disk_is_not_the_kernels_fault() {
        let mut tale = Tale::booted();
        tale.going(Role::Primary, 1000);
        tale.stand_still();
        tale.image_header(State::Writing);
        tale.flush(0);
        tale.write(0, IMAGE + 8, &[1; 4096]);
        tale.flush_that(0, false);
        tale.image_header(State::Valid);
        let checks = tale.run(|record| checks(&Lives::of(record)));
        let lied: Vec<_> = checks.iter().filter(|check| check.status == Status::Fail).collect();
        assert_eq!(lied.len(), 1);
        assert_eq!(
            (lied[0].class.as_deref(), lied[0].needs),
            (Some("the disk lied"), Some(FaultModel::LyingDisk))
        );
    }

    #[test]
    fn what_another_disk_of_a_had_not_flushed_is_found() {
        let saved = |flushed: bool| {
            let mut tale = Tale::booted();
            tale.write(1, EXT4, &[1; 512]);
            if flushed {
                tale.flush(1);
            }
            tale.jump_and_save();
            found(&tale)
        };
        assert_eq!(saved(true), []);
        assert_eq!(saved(false), one(Clause::DisksBeforeHeader, "file system not flushed before the header"));
    }

    #[test]
    fn swap_that_was_not_flushed_is_found() {
        let mut tale = Tale::booted();
        tale.write(0, SWAP + 800, &[1; 4096]);
        tale.going(Role::Primary, 1000);
        tale.stand_still();
        // Of the other disk there is nothing, and this one is flushed too late.
        tale.write(0, IMAGE + 8, &[1; 4096]);
        tale.image_header(State::Valid);
        let classes: Vec<_> = found(&tale).into_iter().map(|(_, class)| class).collect();
        assert_eq!(classes, ["header before image data", "swap not flushed before the header"]);
    }

    #[test]
    fn a_reset_that_is_not_flushed_is_found_when_something_else_is_written() {
        let resumed = |disk: usize, honest: bool| {
            let mut tale = Tale::booted();
            tale.hibernate();
            tale.off_and_on();
            tale.start();
            tale.write(0, SWAP, &swap_header(None));
            if !honest {
                tale.flush_that(0, false);
            }
            tale.stand_still();
            tale.ready(Role::Primary, 1001, ReadyWhy::Return);
            assert_eq!(found(&tale), []);
            tale.write(disk, EXT4, &[1; 512]);
            found(&tale)
        };
        assert_eq!(resumed(0, true), one(Clause::ResetFirst, "reset not flushed"));
        assert_eq!(resumed(1, true), one(Clause::ResetFirst, "reset not flushed"));
        assert_eq!(resumed(1, false), one(Clause::ResetFirst, "the disk lied"));
    }

    #[test]
    fn a_reset_after_a_wake_has_its_own_clause() {
        let woken = |flushed: bool| {
            let mut tale = Tale::booted();
            tale.hibernate();
            tale.power(PowerEvent::Asleep);
            tale.power(PowerEvent::Awake);
            tale.start();
            tale.write(0, SWAP, &swap_header(None));
            if flushed {
                tale.flush(0);
            }
            tale.write(0, EXT4, &[1; 512]);
            found(&tale)
        };
        assert_eq!(woken(true), []);
        assert_eq!(woken(false), one(Clause::UnmarkFirst, "reset not flushed"));
    }
}
