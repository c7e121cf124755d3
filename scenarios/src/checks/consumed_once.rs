//! O1: an image is entered once, and never after a foreign write; O8: after a refusal it is gone.
//!
//! Foreign is every write behind the snapshot to a disk that A uses, outside the partition the image lies on, by whomever, A included,
//! unless a power cut took all of it back. Left out are writes of file data and of ext4's multiple mount protection by the very kernel
//! that sleeps, until it is off: its writeback and `kmmpd` are not frozen, its memory knows of them, and O4 makes a note of them.

use agent_protocol::message::{ReadyWhy, Role};
use devices::{DiskAction, PowerEvent};

use super::ext4::Part4;
use super::life_of_image::{Entered, Image, Lives, Touched};
use super::record::Request;
use super::{Check, Clause, FaultModel};
use crate::history::Happening;

/// Requests that evidence names one by one.
const NAMED: usize = 3;

/// O1.C2 and O1.C3 for every image that was entered, O8.C2 for every one that was refused.
pub(super) fn checks(lives: &Lives<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    for (number, image) in lives.images.iter().enumerate() {
        if let Some(last) = image.entered.last() {
            checks.push(entered_once(lives, image));
            checks.push(not_after_foreign_write(lives, image, last));
        }
        checks.extend(gone_after_refusal(lives, number, image));
    }
    checks
}

fn entered_once(lives: &Lives<'_>, image: &Image) -> Check {
    let of = lives.name(image);
    if image.entered.len() < 2 {
        return Check::pass(Clause::EnteredOnce, of);
    }
    let mut evidence = vec![format!("the same image was entered {} times", image.entered.len())];
    evidence.push(format!("the header: {}", lives.tell(lives.request(image.header))));
    for reset in &image.resets {
        let request = lives.request(reset.request);
        let lost = if lives.lost.contains(&reset.request) { ", lost when the power failed" } else { "" };
        evidence.push(format!("a reset: {}{lost}", lives.tell(request)));
    }
    let boots = image.entered.iter().filter_map(|entered| lives.record.entries().get(entered.ready));
    evidence.push(format!(
        "entered in boots {}",
        boots.map(|entry| entry.boot.to_string()).collect::<Vec<_>>().join(" and ")
    ));
    let check = Check::fail(Clause::EnteredOnce, of, "entered twice", evidence);
    let lost = image.resets.iter().any(|reset| lives.lost.contains(&reset.request));
    check.needs(if lost { FaultModel::VolatileCache } else { FaultModel::CutOnly })
}

fn not_after_foreign_write(lives: &Lives<'_>, image: &Image, last: &Entered) -> Check {
    let clause = Clause::NotAfterForeignWrite;
    let of = lives.name(image);
    let disks = lives.disks_of_a();
    let store = lives.store(image);
    let asleep = lives.asleep(image);
    let foreign = lives.requests.iter().enumerate().filter(|(number, request)| {
        let after = image.snapshot.get(request.disk).copied().flatten().unwrap_or(0);
        let before = last.still.get(request.disk).copied().flatten().unwrap_or(last.ready);
        let own = request.accepted < asleep
            && lives
                .touched(request)
                .iter()
                .all(|part| matches!(part, Touched::Ext4(Part4::Data | Part4::Mmp)));
        disks.contains(&request.disk)
            && request.changes_contents()
            && after < request.accepted
            && request.accepted < before
            && !(request.disk == store.place.disk && request.stays_in(&store.place.sectors()))
            && !lives.lost.contains(number)
            && !own
    });
    let foreign: Vec<&Request<'_>> = foreign.map(|(_, request)| request).collect();
    if foreign.is_empty() {
        return Check::pass(clause, of);
    }
    let mut evidence = vec![format!(
        "the image was entered after {} to disks that A had in use",
        if foreign.len() == 1 { "1 write".into() } else { format!("{} writes", foreign.len()) }
    )];
    evidence.extend(foreign.iter().take(NAMED).map(|request| lives.tell(request)));
    Check::fail(clause, of, "foreign write", evidence)
}

/// Boots that reset a header of swsusp, and did not enter the image: from then on it must not come back. Those that looked at the header,
/// went on, and left it as it was refused it without resetting it; `noresume` does not look.
fn gone_after_refusal(lives: &Lives<'_>, number: usize, image: &Image) -> Vec<Check> {
    let clause = Clause::GoneAfterRefusal;
    let header = lives.request(image.header);
    let store = lives.store(image);
    if store.what != crate::language::Use::Swap {
        return Vec::new();
    }
    let mut checks = Vec::new();
    for (place, boot) in lives.boots.iter().enumerate() {
        let end = lives.boots.get(place + 1).map_or(usize::MAX, |next| next.begins);
        if boot.valid.get(image.store).copied().flatten() != Some(number) || header.accepted > boot.begins {
            continue;
        }
        let here = |at: usize| boot.begins <= at && at < end;
        let entries = lives.record.entries();
        let Some(ready) = entries.iter().enumerate().position(|(at, entry)| {
            here(at) && matches!(&entry.what, Happening::Ready { session, why: ReadyWhy::Boot } if session.role == Role::Primary)
        }) else {
            continue;
        };
        if image.entered.iter().any(|entered| here(entered.ready)) {
            continue;
        }
        let of = format!("{}, boot {}", lives.name(image), place + 1);
        let page = store.commit_sector();
        let looked = |request: &Request<'_>| {
            matches!(request.action, DiskAction::Read(_))
                && request.disk == store.place.disk
                && here(request.accepted)
                && request.accepted < ready
                && request.touches(&(page..page + 1))
        };
        let reset =
            image.resets.iter().map(|reset| lives.request(reset.request)).find(|it| here(it.accepted));
        match reset {
            Some(reset) => {
                let back = lives
                    .boots
                    .iter()
                    .skip(place + 1)
                    .position(|later| later.valid.get(image.store).copied().flatten() == Some(number));
                checks.push(match back {
                    None => Check::pass(clause, of),
                    Some(later) => {
                        let evidence = vec![
                            format!("the image was refused, and is back in boot {}", place + 2 + later),
                            format!("the reset: {}", lives.tell(reset)),
                        ];
                        Check::fail(clause, of, "refused image is back", evidence)
                            .needs(FaultModel::VolatileCache)
                    }
                });
            }
            None if lives.requests.iter().any(looked) => {
                let said =
                    "the kernel read the image's header, did not enter it, and left it valid".to_owned();
                checks.push(Check::fail(clause, of, "image left after a refusal", vec![said]));
            }
            None => {}
        }
    }
    checks
}

impl Lives<'_> {
    /// Where the machine went to sleep with an image, or the image was taken: whatever came first behind its header.
    pub(super) fn asleep(&self, image: &Image) -> usize {
        let header = self.request(image.header).accepted;
        let entries = self.record.entries();
        let power = (header..entries.len()).find(|at| {
            matches!(
                entries.get(*at).map(|entry| &entry.what),
                Some(Happening::Power(
                    PowerEvent::Asleep | PowerEvent::Off | PowerEvent::Cut | PowerEvent::Reset
                ))
            )
        });
        let reset = image.resets.first().map(|reset| self.request(reset.request).accepted);
        power.into_iter().chain(reset).min().unwrap_or(entries.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ext4::tests::file_system;
    use super::super::testing::{EXT4, SWAP, Tale, swap_header};
    use super::*;
    use crate::checks::Status;

    fn found(tale: &Tale) -> Vec<(Clause, Status)> {
        let checks = tale.run(|record| checks(&Lives::of(record)));
        checks.into_iter().map(|check| (check.clause, check.status)).collect()
    }

    const ONCE: (Clause, Status) = (Clause::EnteredOnce, Status::Pass);
    const TWICE: (Clause, Status) = (Clause::EnteredOnce, Status::Fail);
    const ALONE: (Clause, Status) = (Clause::NotAfterForeignWrite, Status::Pass);
    const FOREIGN: (Clause, Status) = (Clause::NotAfterForeignWrite, Status::Fail);

    #[test]
    fn images_of_both_kinds_that_are_entered_once_pass() {
        let mut tale = Tale::booted();
        tale.hibernate();
        tale.off_and_on();
        tale.resume(1001);
        tale.write(0, EXT4, &[1; 512]);
        tale.jump_and_save();
        tale.cut();
        tale.restore(1002);
        assert_eq!(found(&tale), [ONCE, ALONE, ONCE, ALONE]);
    }

    #[test]
    fn a_reset_that_is_lost_lets_an_image_in_twice() {
        let mut tale = Tale::booted();
        tale.hibernate();
        tale.off_and_on();
        tale.start();
        tale.write(0, SWAP, &swap_header(None));
        tale.stand_still();
        tale.ready(Role::Primary, 1001, ReadyWhy::Return);
        // On the other disk it is durable, and the reset is not.
        tale.write(1, EXT4, &[1; 512]);
        tale.flush(1);
        tale.cut();
        tale.resume(1001);
        assert_eq!(found(&tale), [TWICE, FOREIGN]);
    }

    #[test]
    fn a_write_by_another_boot_is_foreign_unless_it_is_lost() {
        for flushed in [true, false] {
            let mut tale = Tale::booted();
            tale.hibernate();
            tale.off_and_on();
            // Another system, that does not look for an image.
            tale.start();
            tale.ready(Role::Primary, 5000, ReadyWhy::Boot);
            tale.write(1, EXT4 + 64, &[1; 512]);
            if flushed {
                tale.flush(1);
            }
            tale.cut();
            tale.resume(1001);
            assert_eq!(found(&tale), [ONCE, if flushed { FOREIGN } else { ALONE }]);
        }
    }

    #[test]
    fn writeback_of_the_sleeper_is_not_foreign_and_its_journal_is() {
        let saved = |block: u64| {
            let mut tale = Tale::booted();
            for (offset, bytes) in file_system() {
                tale.write(0, EXT4 + offset / 512, &bytes);
            }
            tale.flush(0);
            tale.going(Role::Primary, 1000);
            tale.stand_still();
            tale.write(0, EXT4 + block * 2, &[1; 1024]);
            tale.save_to_swap(true, true);
            tale.off_and_on();
            tale.resume(1001);
            found(&tale)
        };
        assert_eq!(saved(4000), [ONCE, ALONE]);
        assert_eq!(saved(90), [ONCE, ALONE]);
        assert_eq!(saved(100), [ONCE, FOREIGN]);
    }

    #[test]
    fn a_refused_image_is_gone_or_it_is_found() {
        let refused = |reset: bool, flushed: bool| {
            let mut tale = Tale::booted();
            tale.hibernate();
            tale.off_and_on();
            tale.start();
            tale.read(0, SWAP, 8);
            if reset {
                tale.write(0, SWAP, &swap_header(None));
            }
            if flushed {
                tale.flush(0);
            }
            tale.ready(Role::Primary, 5000, ReadyWhy::Boot);
            tale.cut();
            found(&tale)
        };
        let gone = |status| vec![(Clause::GoneAfterRefusal, status)];
        assert_eq!(refused(true, true), gone(Status::Pass));
        assert_eq!(refused(true, false), gone(Status::Fail));
        assert_eq!(refused(false, false), gone(Status::Fail));
    }

    #[test]
    fn a_boot_that_does_not_look_refuses_nothing() {
        let mut tale = Tale::booted();
        tale.hibernate();
        tale.off_and_on();
        tale.start();
        tale.ready(Role::Primary, 5000, ReadyWhy::Boot);
        tale.read(0, SWAP, 8);
        tale.cut();
        assert_eq!(found(&tale), []);
    }
}
