//! O12: whoever takes a disk over initialises its queues again, and no completion is lost or doubled.

use agent_protocol::message::Session;
use devices::PowerEvent;

use super::life_of_image::Lives;
use super::record::Request;
use super::{Check, Clause};
use crate::history::{Entry, Happening};

/// Requests that evidence names one by one.
const NAMED: usize = 3;
/// Nanoseconds after which a request that nobody answered is lost: far more than any disk takes.
const LONG: u64 = 5_000_000_000;
/// Sessions of one kernel, between two numbers that it is told to count from.
const LIFE: u32 = 1000;

/// O12.C1 of the run and O12.C2 of each disk.
pub(super) fn checks(lives: &Lives<'_>) -> Vec<Check> {
    if lives.requests.is_empty() {
        return Vec::new();
    }
    let mut checks = vec![initialised(lives)];
    let mut disks: Vec<usize> = lives.requests.iter().map(|request| request.disk).collect();
    disks.sort_unstable();
    disks.dedup();
    checks.extend(disks.into_iter().map(|disk| completions(lives, disk)));
    checks
}

/// A disk changes hands.
struct Handover {
    /// From where on its front end has to be started; after a reset, unless power took care of that.
    from: usize,
    /// From where on requests are of whoever took it over.
    to: usize,
    by_power: bool,
}

fn handovers(lives: &Lives<'_>) -> Vec<Handover> {
    let mut handovers = vec![Handover { from: 0, to: 0, by_power: true }];
    let mut gone: Option<(usize, Session)> = None;
    for (at, entry) in lives.record.entries().iter().enumerate() {
        match &entry.what {
            Happening::Power(PowerEvent::On | PowerEvent::Awake | PowerEvent::Reset) => {
                gone = None;
                handovers.push(Handover { from: at, to: at, by_power: true });
            }
            Happening::Going { session } => gone = Some((at, *session)),
            Happening::Ready { session, .. } => {
                let life = |session: Session| (session.role, session.epoch / LIFE);
                if let Some((from, before)) = gone.take()
                    && life(before) != life(*session)
                {
                    handovers.push(Handover { from, to: at, by_power: false });
                }
            }
            _ => {}
        }
    }
    // A kernel that loads an image before any agent of its own speaks.
    for (image, entered) in
        lives.images.iter().flat_map(|image| image.entered.iter().map(move |it| (image, it)))
    {
        let reset = image.resets.iter().rev().map(|reset| lives.request(reset.request).accepted);
        if let Some(reset) = reset.into_iter().find(|reset| *reset < entered.ready) {
            handovers.push(Handover { from: reset, to: entered.ready, by_power: false });
        }
    }
    handovers.sort_by_key(|handover| handover.to);
    handovers
}

/// Whether a disk's front end was not started by whoever goes, who may have no driver for it: then nobody has to reset it.
fn stands_still(entries: &[Entry], before: usize, wanted: usize) -> bool {
    let last = entries.get(..before).unwrap_or_default().iter().rev().find_map(|entry| match entry.what {
        Happening::FrontEnd { disk, started } if usize::from(disk) == wanted => Some(!started),
        Happening::Power(PowerEvent::On | PowerEvent::Awake | PowerEvent::Reset) => Some(true),
        _ => None,
    });
    last.unwrap_or(false)
}

/// O12.C1.
fn initialised(lives: &Lives<'_>) -> Check {
    let clause = Clause::QueuesInitialised;
    let entries = lives.record.entries();
    let handovers = handovers(lives);
    let mut evidence = Vec::new();
    for (number, handover) in handovers.iter().enumerate() {
        let next = handovers.get(number + 1).map_or(entries.len(), |next| next.from.max(handover.to + 1));
        let mut seen = Vec::new();
        for request in &lives.requests {
            let first =
                handover.to <= request.accepted && request.accepted < next && !seen.contains(&request.disk);
            if !first {
                continue;
            }
            seen.push(request.disk);
            let between = entries.get(handover.from..request.accepted).unwrap_or_default();
            let of_disk = |started: bool| {
                between.iter().rposition(|entry| match entry.what {
                    Happening::FrontEnd { disk, started: is } => {
                        usize::from(disk) == request.disk && is == started
                    }
                    _ => false,
                })
            };
            let well = match (of_disk(false), of_disk(true)) {
                (reset, Some(start)) => {
                    handover.by_power
                        || reset.is_some_and(|reset| reset < start)
                        || stands_still(entries, handover.from, request.disk)
                }
                (_, None) => false,
            };
            if !well {
                evidence.push(format!(
                    "first request to queues that were not initialised: {}",
                    lives.tell(request)
                ));
            }
        }
    }
    if evidence.is_empty() {
        return Check::pass(clause, "");
    }
    evidence.truncate(NAMED);
    Check::fail(clause, "", "queues not initialised", evidence)
}

/// O12.C2. A request may stay without an answer if its front end was reset, the power went, or the run ended first.
fn completions(lives: &Lives<'_>, disk: usize) -> Check {
    let clause = Clause::Completions;
    let entries = lives.record.entries();
    let name = lives.record.scenario.disks.get(disk).map_or("scratch", |spec| spec.name.as_str());
    let of = format!("disk {name}");
    let ends = |entry: &Happening| match entry {
        Happening::FrontEnd { disk: other, started: false } => usize::from(*other) == disk,
        Happening::Power(event) => *event != PowerEvent::Awake,
        _ => false,
    };
    let interruptions: Vec<usize> =
        entries.iter().enumerate().filter(|(_, entry)| ends(&entry.what)).map(|(at, _)| at).collect();
    let end = entries.last().map_or(0, |entry| entry.at.time.0);
    let (mut lost, mut doubled, mut late) = (Vec::new(), Vec::new(), Vec::new());
    for request in lives.requests.iter().filter(|request| request.disk == disk) {
        let interrupted =
            interruptions.get(interruptions.partition_point(|at| *at < request.accepted)).copied();
        let told = request.completed.or(request.failed);
        if request.told > 1 {
            doubled.push(request);
        } else if told.is_some_and(|told| interrupted.is_some_and(|interrupted| interrupted < told)) {
            late.push(request);
        } else if told.is_none() && interrupted.is_none() {
            let since = entries.get(request.accepted).map_or(end, |entry| entry.at.time.0);
            if end.saturating_sub(since) > LONG {
                lost.push(request);
            }
        }
    }
    let classes = [
        ("completion doubled", "answered twice", doubled),
        ("completion after a reset", "answered after the reset of its front end", late),
        ("completion lost", "never answered", lost),
    ];
    let fails = |(_, _, found): &(&str, &str, Vec<&Request<'_>>)| !found.is_empty();
    match classes.into_iter().find(fails) {
        None => Check::pass(clause, of),
        Some((class, said, found)) => {
            let mut evidence = vec![format!("{} {said}", found.len())];
            evidence.extend(found.iter().take(NAMED).map(|request| lives.tell(request)));
            Check::fail(clause, of, class, evidence)
        }
    }
}

#[cfg(test)]
mod tests {
    use agent_protocol::message::{ReadyWhy, Role};
    use devices::DiskStep;

    use super::super::testing::{EXT4, SWAP, Tale, swap_header};
    use super::*;
    use crate::checks::Status;

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
    fn every_way_from_kernel_to_kernel_is_silent_if_in_order() {
        let mut tale = Tale::booted();
        tale.hibernate();
        tale.off_and_on();
        tale.resume(1001);
        tale.write(0, EXT4, &[1; 512]);
        tale.jump_and_save();
        tale.cut();
        tale.restore(1002);
        tale.write(1, EXT4, &[1; 512]);
        tale.going(Role::Primary, 1002);
        tale.power(PowerEvent::Asleep);
        tale.power(PowerEvent::Awake);
        tale.start();
        tale.ready(Role::Primary, 1003, ReadyWhy::Return);
        tale.write(1, EXT4, &[1; 512]);
        assert_eq!(found(&tale), []);
    }

    #[test]
    fn queues_of_the_kernel_before_are_found() {
        let stale = one(Clause::QueuesInitialised, "queues not initialised");
        // After a jump back.
        let mut tale = Tale::booted();
        tale.jump_and_save();
        tale.going(Role::Saver, 2000);
        let mut back = tale.clone();
        back.stand_still();
        back.ready(Role::Primary, 1001, ReadyWhy::Return);
        back.write(0, EXT4, &[1; 512]);
        assert_eq!(found(&back), []);
        tale.ready(Role::Primary, 1001, ReadyWhy::Return);
        assert_eq!(found(&tale), []);
        tale.write(0, EXT4, &[1; 512]);
        assert_eq!(found(&tale), stale);
        // After a wake.
        let mut tale = Tale::booted();
        tale.power(PowerEvent::Asleep);
        tale.power(PowerEvent::Awake);
        tale.write(0, EXT4, &[1; 512]);
        assert_eq!(found(&tale), stale);
        // After a saver that slept and never started the disk, for which it has no driver: nobody has to reset it.
        let mut tale = Tale::booted();
        tale.jump_and_save();
        tale.power(PowerEvent::Asleep);
        tale.power(PowerEvent::Awake);
        tale.going(Role::Saver, 2000);
        let mut started = tale.clone();
        started.start();
        for (tale, expected) in [(&mut started, Vec::new()), (&mut tale, stale.clone())] {
            tale.ready(Role::Primary, 1001, ReadyWhy::Return);
            tale.write(0, EXT4, &[1; 512]);
            assert_eq!(found(tale), expected);
        }
        // After the entry of an image.
        let mut tale = Tale::booted();
        tale.hibernate();
        tale.off_and_on();
        tale.start();
        tale.write(0, SWAP, &swap_header(None));
        tale.ready(Role::Primary, 1001, ReadyWhy::Return);
        tale.write(0, EXT4, &[1; 512]);
        assert_eq!(found(&tale), stale);
    }

    #[test]
    fn completions_come_once_and_before_a_reset() {
        let mut tale = Tale::booted();
        let (request, action) = tale.accept(0, EXT4, &[1; 512]);
        // The end of the run came first.
        assert_eq!(found(&tale), []);
        let mut lost = tale.clone();
        lost.rest(LONG + 1);
        lost.ready(Role::Primary, 1001, ReadyWhy::Return);
        assert_eq!(found(&lost), one(Clause::Completions, "completion lost"));
        let mut late = tale.clone();
        late.stand_still();
        assert_eq!(found(&late), []);
        late.step(0, request, action, DiskStep::Completed);
        assert_eq!(found(&late), one(Clause::Completions, "completion after a reset"));
        tale.step(0, request, action, DiskStep::Failed);
        assert_eq!(found(&tale), []);
        tale.step(0, request, action, DiskStep::Completed);
        assert_eq!(found(&tale), one(Clause::Completions, "completion doubled"));
    }
}
