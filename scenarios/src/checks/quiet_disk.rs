//! O4: nobody writes outside of what the phase owns.
//!
//! Between the snapshot and the end swsusp may write to the swap partition of its image: slots, and the header once. Journal, superblock
//! and other metadata of ext4, other swap, and what lies outside of partitions are failures; file data and multiple mount protection are a
//! note, since writeback and `kmmpd` are not frozen, and O11 decides after the resume. Blocks of directories and extent trees count as
//! data here: ext4 writes them by its journal only.
//!
//! The saver and the restorer write to image partitions only. They must not read A's file systems or swap, not even to mount one read-only:
//! every read that touches such a partition is a failure. What a kernel reads by itself to find partitions lies in the first sectors of a
//! disk, outside of them, or in its last 33 (a copy of a GPT), which are left out.

use std::collections::{BTreeMap, BTreeSet};

use agent_protocol::message::Role;
use devices::DiskAction;

use super::ext4::Part4;
use super::life_of_image::{Format, Image, Lives, Touched};
use super::record::{Place, Request, places};
use super::tenures::{Tenure, tenures};
use super::{Check, Clause};
use crate::language::Use;

/// Requests that evidence names one by one.
const NAMED: usize = 3;
/// Header and entries of the copy of a GPT.
const GPT_COPY: u64 = 33;
const SECTOR: u64 = 512;

/// All clauses of O4.
pub(super) fn checks(lives: &Lives<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    for (number, image) in lives.images.iter().enumerate() {
        match image.format {
            Format::Swsusp => {
                checks.extend(in_save(lives, image, Clause::QuietDiskInSave));
                checks.extend(before_reset(lives, number, image));
                checks.extend(in_restore(lives, image));
            }
            Format::Snapshot => checks.extend(in_save(lives, image, Clause::QuietDiskInSnapshot)),
            Format::Jump => {}
        }
    }
    checks.extend(saver_and_restorer(lives));
    checks
}

/// A check that fails with these requests, if there are any.
fn verdict(
    lives: &Lives<'_>,
    clause: Clause,
    of: String,
    class: &str,
    said: &str,
    found: &[&Request<'_>],
) -> Check {
    if found.is_empty() {
        return Check::pass(clause, of);
    }
    Check::fail(clause, of, class, evidence(lives, said, found))
}

fn evidence(lives: &Lives<'_>, said: &str, found: &[&Request<'_>]) -> Vec<String> {
    let mut evidence = vec![format!("{} {said}", found.len())];
    evidence.extend(found.iter().take(NAMED).map(|request| lives.tell(request)));
    evidence
}

/// Writes to disks of the scenario within these places of the history, by disk.
fn writes<'b, 'a>(
    lives: &'b Lives<'a>,
    from: impl Fn(usize) -> usize + 'b,
    to: impl Fn(usize) -> usize + 'b,
) -> impl Iterator<Item = (usize, &'b Request<'a>)> {
    let disks = lives.record.scenario.disks.len();
    lives.requests.iter().enumerate().filter(move |(_, request)| {
        request.disk < disks
            && request.changes_contents()
            && from(request.disk) < request.accepted
            && request.accepted < to(request.disk)
    })
}

/// O4.C1 and O4.C4.
fn in_save(lives: &Lives<'_>, image: &Image, clause: Clause) -> Vec<Check> {
    let of = lives.name(image);
    let store = lives.store(image);
    let end = lives.asleep(image);
    let from = |disk: usize| image.snapshot.get(disk).copied().flatten().unwrap_or(usize::MAX);
    let blocks: BTreeSet<usize> = image.blocks.iter().map(|block| block.request).collect();
    let commit = store.commit_sector();
    let mut headers = 0;
    let mut classes: BTreeMap<&str, Vec<&Request<'_>>> = BTreeMap::new();
    let mut noted = Vec::new();
    for (number, request) in writes(lives, from, |_| end) {
        if request.disk == store.place.disk && request.stays_in(&store.place.sectors()) {
            if image.format == Format::Swsusp {
                if request.touches(&(commit..commit + 1)) {
                    headers += 1;
                    if headers > 1 {
                        classes.entry("header written twice").or_default().push(request);
                    }
                } else if image.flaw.is_none() && !blocks.contains(&number) {
                    classes.entry("swap beside the image").or_default().push(request);
                }
            }
            continue;
        }
        let class = lives.touched(request).into_iter().find_map(|part| match part {
            Touched::Ext4(Part4::Data | Part4::Mmp) => None,
            Touched::Ext4(Part4::Journal) => Some("journal"),
            Touched::Ext4(Part4::Superblock) => Some("superblock"),
            Touched::Ext4(_) => Some("file-system metadata"),
            Touched::Swap => Some("another swap"),
            Touched::Image | Touched::Outside => Some("outside"),
        });
        match class {
            Some(class) => classes.entry(class).or_default().push(request),
            None => noted.push(request),
        }
    }
    let said = "written between the snapshot and the end";
    let mut checks: Vec<Check> = classes
        .into_iter()
        .map(|(class, found)| verdict(lives, clause, of.clone(), class, said, &found))
        .collect();
    if checks.is_empty() {
        checks.push(Check::pass(clause, of.clone()));
    }
    if !noted.is_empty() {
        checks.push(Check::note(
            clause,
            of,
            evidence(lives, "of file data, or of mount protection, written after the snapshot", &noted),
        ));
    }
    checks
}

/// O4.C2: of every boot that found the image valid and reset it.
fn before_reset(lives: &Lives<'_>, number: usize, image: &Image) -> Vec<Check> {
    let found =
        |boot: &super::life_of_image::Boot| boot.valid.get(image.store).copied().flatten() == Some(number);
    let checks = image.resets.iter().filter_map(|reset| {
        let reset = lives.request(reset.request).accepted;
        let boot = lives.boots.iter().rev().find(|boot| boot.begins < reset).filter(|boot| found(boot))?;
        // The kernel looks for swsusp's image before there is a user space. A header that is reset later was cleared by whoever turned
        // swap on, after a boot that was told not to look (`noresume`).
        let late = boot.user_space.filter(|_| image.format == Format::Swsusp);
        let end = reset.min(late.unwrap_or(reset));
        let written: Vec<_> = writes(lives, |_| boot.begins, |_| end).map(|(_, request)| request).collect();
        let of = lives.name(image);
        let clause = Clause::QuietDiskBeforeReset;
        Some(verdict(
            lives,
            clause,
            of,
            "write before the reset",
            "written by the boot that resumes before it resets the header",
            &written,
        ))
    });
    checks.collect()
}

/// O4.C3.
fn in_restore(lives: &Lives<'_>, image: &Image) -> Vec<Check> {
    let checks = image.entered.iter().filter_map(|entered| {
        let reset = image.resets.iter().rev().map(|reset| lives.request(reset.request).accepted);
        let reset = reset.into_iter().find(|reset| *reset < entered.ready)?;
        let to = |disk: usize| entered.still.get(disk).copied().flatten().unwrap_or(entered.ready);
        let written: Vec<_> = writes(lives, |_| reset, to).map(|(_, request)| request).collect();
        let of = lives.name(image);
        let clause = Clause::QuietDiskInRestore;
        Some(verdict(
            lives,
            clause,
            of,
            "write while the image is loaded",
            "written between the reset of the header and the entry",
            &written,
        ))
    });
    checks.collect()
}

/// O4.C5 and O4.C6, for every boot in which a saver or a restorer had a disk.
fn saver_and_restorer(lives: &Lives<'_>) -> Vec<Check> {
    let scenario = lives.record.scenario;
    let tenures = tenures(lives.record);
    let images = places(scenario, Use::Image);
    let of_a: Vec<Place> =
        [Use::Ext4, Use::Swap].into_iter().flat_map(|what| places(scenario, what)).collect();
    let mut stays: Vec<(u32, Role)> =
        tenures.iter().filter(|tenure| tenure.role != Role::Primary).map(|it| (it.boot, it.role)).collect();
    stays.sort_unstable();
    stays.dedup();
    let mut checks = Vec::new();
    for (boot, role) in stays {
        let of = format!("{role} in boot {boot}");
        let during = |tenure: &&Tenure| (tenure.boot, tenure.role) == (boot, role);
        let requests: Vec<&Request<'_>> = tenures
            .iter()
            .filter(during)
            .flat_map(|tenure| {
                lives.requests.iter().filter(|request| {
                    request.disk == tenure.disk
                        && request.disk < scenario.disks.len()
                        && tenure.starts < request.accepted
                        && request.accepted < tenure.ends
                })
            })
            .collect();
        let lies_in = |request: &Request<'_>, places: &[Place]| {
            places.iter().any(|place| place.disk == request.disk && request.stays_in(&place.sectors()))
        };
        let written: Vec<_> = requests
            .iter()
            .copied()
            .filter(|request| request.changes_contents() && !lies_in(request, &images))
            .collect();
        let (clause, class) = (Clause::QuietDiskInSaver, "write outside the image partition");
        checks.push(verdict(
            lives,
            clause,
            of.clone(),
            class,
            "written outside the image partition",
            &written,
        ));
        let last_sectors = |request: &Request<'_>| {
            let sectors = scenario.disks.get(request.disk).map_or(0, |disk| disk.size / SECTOR);
            request.stays_in(&(sectors.saturating_sub(GPT_COPY)..sectors))
        };
        let reads: Vec<_> = requests
            .iter()
            .copied()
            .filter(|request| {
                matches!(request.action, DiskAction::Read(_))
                    && of_a
                        .iter()
                        .any(|place| place.disk == request.disk && request.touches(&place.sectors()))
                    && !last_sectors(request)
            })
            .collect();
        let clause = Clause::SaverReads;
        checks.push(verdict(
            lives,
            clause,
            of,
            "read of what is A's",
            "read of A's file system or swap",
            &reads,
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use agent_protocol::message::ReadyWhy;
    use devices::PowerEvent;

    use super::super::ext4::tests::file_system;
    use super::super::testing::{EXT4, IMAGE, SWAP, Tale, swap_header};
    use super::*;
    use crate::checks::Status;

    fn found(tale: &Tale) -> Vec<(Clause, Status, String)> {
        let checks = tale.run(|record| checks(&Lives::of(record)));
        assert!(!checks.is_empty());
        let not_passed = checks.into_iter().filter(|check| check.status != Status::Pass);
        not_passed.map(|check| (check.clause, check.status, check.class.unwrap_or_default())).collect()
    }

    fn fails(clause: Clause, class: &str) -> Vec<(Clause, Status, String)> {
        vec![(clause, Status::Fail, class.to_owned())]
    }

    #[test]
    fn phases_that_write_what_they_own_are_silent() {
        let mut tale = Tale::booted();
        tale.write(0, EXT4, &[1; 512]);
        tale.hibernate();
        tale.off_and_on();
        tale.resume(1001);
        tale.write(0, EXT4, &[1; 512]);
        tale.jump_and_save();
        tale.cut();
        tale.restore(1002);
        tale.write(0, EXT4, &[1; 512]);
        assert_eq!(found(&tale), []);
    }

    /// A hibernation in which something more is written behind the snapshot.
    fn saved(write: impl FnOnce(&mut Tale)) -> Vec<(Clause, Status, String)> {
        let mut tale = Tale::booted();
        for (offset, bytes) in file_system() {
            tale.write(0, EXT4 + offset / 512, &bytes);
        }
        tale.going(Role::Primary, 1000);
        tale.stand_still();
        write(&mut tale);
        tale.save_to_swap(true, true);
        tale.power(PowerEvent::Off);
        found(&tale)
    }

    #[test]
    fn what_is_written_behind_the_snapshot_is_judged_by_what_it_is() {
        let save = Clause::QuietDiskInSave;
        let block = |number: u64| saved(|tale| _ = tale.write(0, EXT4 + number * 2, &[1; 1024]));
        assert_eq!(block(4000), [(save, Status::Note, String::new())]);
        assert_eq!(block(90), [(save, Status::Note, String::new())]);
        assert_eq!(block(100), fails(save, "journal"));
        assert_eq!(block(1), fails(save, "superblock"));
        assert_eq!(block(25), fails(save, "file-system metadata"));
        assert_eq!(saved(|tale| _ = tale.write(0, IMAGE + 64, &[1; 512])), fails(save, "outside"));
        assert_eq!(saved(|tale| _ = tale.write(1, 0, &[1; 512])), fails(save, "outside"));
        assert_eq!(
            saved(|tale| _ = tale.write(0, SWAP + 800, &[1; 4096])),
            fails(save, "swap beside the image")
        );
        let twice = |tale: &mut Tale| {
            tale.save_to_swap(true, true);
            // The same header again.
            tale.write(0, SWAP, &swap_header(Some(1)));
        };
        assert!(saved(twice).iter().any(|(.., class)| class == "header written twice"));
    }

    #[test]
    fn a_resume_that_writes_too_early_is_found() {
        let resumed = |before: bool, after: bool| {
            let mut tale = Tale::booted();
            tale.hibernate();
            tale.off_and_on();
            tale.start();
            if before {
                tale.write(1, EXT4, &[1; 512]);
            }
            tale.write(0, SWAP, &swap_header(None));
            if after {
                tale.write(1, EXT4, &[1; 512]);
            }
            tale.stand_still();
            tale.ready(Role::Primary, 1001, ReadyWhy::Return);
            found(&tale)
        };
        assert_eq!(resumed(false, false), []);
        assert_eq!(resumed(true, false), fails(Clause::QuietDiskBeforeReset, "write before the reset"));
        assert_eq!(
            resumed(false, true),
            fails(Clause::QuietDiskInRestore, "write while the image is loaded")
        );
    }

    #[test]
    fn who_clears_an_image_after_a_boot_that_did_not_look_may_have_written_before() {
        let mut tale = Tale::booted();
        tale.hibernate();
        tale.off_and_on();
        tale.start();
        tale.ready(Role::Primary, 2000, ReadyWhy::Boot);
        tale.write(1, EXT4, &[1; 512]);
        tale.write(0, SWAP, &swap_header(None));
        assert_eq!(found(&tale), []);
    }

    #[test]
    fn a_saver_that_touches_what_is_as_is_found() {
        let saver = |act: fn(&mut Tale)| {
            let mut tale = Tale::booted();
            tale.jump_and_save();
            act(&mut tale);
            found(&tale)
        };
        let outside = fails(Clause::QuietDiskInSaver, "write outside the image partition");
        assert_eq!(saver(|tale| _ = tale.write(0, EXT4, &[1; 512])), outside);
        assert_eq!(saver(|tale| _ = tale.write(0, 0, &[1; 512])), outside);
        let reads = fails(Clause::SaverReads, "read of what is A's");
        assert_eq!(saver(|tale| tale.read(0, EXT4 + 2, 2)), reads);
        assert_eq!(saver(|tale| tale.read(0, SWAP, 8)), reads);
        // Looking for partitions.
        assert_eq!(saver(|tale| tale.read(0, 0, 8)), []);
    }
}
