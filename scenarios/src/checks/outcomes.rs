//! O14: what comes after a power cut is one of the outcomes that are legal there.
//!
//! A cut finds the sector that commits an image in one of the versions that may be on the disk: the newest durable one, or any accepted
//! behind it. Where one of them is valid the session may come back, where one is not a cold boot may follow:
//!
//! | swsusp | ours | legal |
//! |---|---|---|
//! | no header accepted | `Valid` not accepted | cold boot |
//! | header accepted, not durable | `Valid` accepted, not durable | resume, cold boot |
//! | header durable | `Valid` durable | resume |
//! | reset accepted, not durable | `Consumed` accepted, not durable | resume, cold boot |
//! | reset durable | `Consumed` durable | cold boot |
//!
//! So a cut while swsusp loads its image is a cold boot by design, since it resets the header first; ours resets it when all is loaded,
//! right before the sleeper is entered, so that until then a cut costs nothing. A boot that never reads a header was not asked for the
//! image behind it (`noresume`, a restorer for swap), and may be cold.

use agent_protocol::message::{ReadyWhy, Role};
use devices::{DiskAction, PowerEvent};

use super::life_of_image::Lives;
use super::record::Request;
use super::{Check, Clause};
use crate::history::Happening;

/// What came after a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The session went on, from this image.
    Resumed(usize),
    /// A kernel booted and found no session.
    Cold,
    /// Nobody spoke.
    Nothing,
}

/// What a cut found in a store, and what is legal then.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stage {
    resume: bool,
    cold: bool,
    said: String,
}

/// O14.C1 for every cut behind which a machine was switched on.
pub(super) fn checks(lives: &Lives<'_>) -> Vec<Check> {
    let entries = lives.record.entries();
    let cuts =
        entries.iter().enumerate().filter(|(_, entry)| entry.what == Happening::Power(PowerEvent::Cut));
    cuts.enumerate().filter_map(|(number, (cut, _))| judge(lives, number + 1, cut)).collect()
}

fn judge(lives: &Lives<'_>, number: usize, cut: usize) -> Option<Check> {
    let entries = lives.record.entries();
    let on = (cut..entries.len()).find(|at| entries[*at].what == Happening::Power(PowerEvent::On))?;
    let (outcome, told) = outcome(lives, on)?;
    let clause = Clause::LegalOutcome;
    let of = format!("power cut {number}");
    let stages: Vec<Stage> = (0..lives.stores.len()).map(|store| stage(lives, store, cut)).collect();
    let asked = |store: usize| {
        let place = &lives.stores[store];
        let sector = place.commit_sector();
        let looked = |request: &Request<'_>| {
            matches!(request.action, DiskAction::Read(_))
                && on < request.accepted
                && request.accepted < told
                && request.disk == place.place.disk
                && request.touches(&(sector..sector + 1))
        };
        lives.requests.iter().any(looked)
    };
    let illegal = match outcome {
        Outcome::Resumed(image) => {
            let store = lives.images[image].store;
            (!stages[store].resume).then_some((store, "resumed where only a cold boot is legal"))
        }
        Outcome::Cold => {
            let must = (0..stages.len()).find(|store| !stages[*store].cold && asked(*store));
            must.map(|store| (store, "cold boot where only a resume is legal"))
        }
        Outcome::Nothing => {
            let evidence = vec!["neither a session nor a booted kernel came after the power cut".to_owned()];
            return Some(Check::fail(clause, of, "no outcome", evidence));
        }
    };
    let Some((store, class)) = illegal else { return Some(Check::pass(clause, of)) };
    let mut evidence = vec![format!("{class}: {}", stages[store].said)];
    evidence.extend(lives.commits.iter().filter(|commit| commit.store == store).rev().take(2).map(
        |commit| {
            let what = if commit.image.is_some() { "header" } else { "reset" };
            format!("{what}: {}", lives.tell(lives.request(commit.request)))
        },
    ));
    Some(Check::fail(clause, of, class, evidence))
}

/// What a store may hold after a cut.
fn stage(lives: &Lives<'_>, store: usize, cut: usize) -> Stage {
    let entries = lives.record.entries();
    // A reset line costs the cache nothing.
    let session = lives.boots.iter().rev().find(|boot| {
        boot.begins < cut
            && (boot.begins == 0 || entries[boot.begins].what == Happening::Power(PowerEvent::On))
    });
    let begins = session.map_or(0, |boot| boot.begins);
    let base = session.and_then(|boot| boot.valid.get(store).copied().flatten());
    let mut durable = (base, "durable before the power came on");
    let mut since = Vec::new();
    for commit in lives.commits.iter().filter(|commit| commit.store == store) {
        let request = lives.request(commit.request);
        if request.accepted < begins || request.accepted > cut {
            continue;
        }
        if request.durable_before(cut) {
            durable = (commit.image, "durable");
            since.clear();
        } else {
            since.push(commit.image);
        }
    }
    let valid = |image: Option<usize>| image.is_some();
    let name = |image: Option<usize>| if valid(image) { "the header" } else { "no header" };
    let mut said = format!("{} is {}", name(durable.0), durable.1);
    for image in &since {
        let what = if valid(*image) { "a header" } else { "a reset" };
        said += &format!(", {what} accepted and not durable");
    }
    let all = || since.iter().copied().chain([durable.0]);
    Stage { resume: all().any(valid), cold: all().any(|image| !valid(image)), said }
}

/// What came after the power did, and where that was known. None if the power went again first.
fn outcome(lives: &Lives<'_>, on: usize) -> Option<(Outcome, usize)> {
    let entries = lives.record.entries();
    let mut cold = None;
    for (at, entry) in entries.iter().enumerate().skip(on + 1) {
        if let Some(image) =
            lives.images.iter().position(|image| image.entered.iter().any(|it| it.ready == at))
        {
            return Some((Outcome::Resumed(image), at));
        }
        match &entry.what {
            Happening::Ready { session, why: ReadyWhy::Boot } if session.role == Role::Primary => {
                cold = Some(at);
            }
            // It says why it does not restore, and that is all.
            Happening::Ready { session, why: ReadyWhy::Boot } if session.role == Role::Restorer => {
                cold = Some(at);
            }
            Happening::StepEnds { .. } => {
                return Some(cold.map_or((Outcome::Nothing, at), |_| (Outcome::Cold, at)));
            }
            Happening::Power(PowerEvent::Cut | PowerEvent::Off) => return None,
            _ => {}
        }
    }
    // The run ended here.
    cold.map(|_| (Outcome::Cold, entries.len()))
}

#[cfg(test)]
mod tests {
    use agent_protocol::image::State;

    use super::super::testing::{IMAGE, SWAP, Tale, swap_header};
    use super::*;
    use crate::checks::Status;

    fn found(tale: &Tale) -> Vec<Option<String>> {
        let checks = tale.run(|record| checks(&Lives::of(record)));
        checks
            .into_iter()
            .map(|check| (check.status == Status::Fail).then(|| check.class.unwrap_or_default()))
            .collect()
    }

    /// A cold boot whose kernel looks for an image.
    fn cold(tale: &mut Tale) {
        tale.begins("resume");
        tale.kernel(Role::Primary);
        tale.start();
        tale.read(0, SWAP, 8);
        tale.ready(Role::Primary, 5000, ReadyWhy::Boot);
        tale.ends("resume", false);
    }

    fn resumed(tale: &mut Tale) {
        tale.begins("resume");
        tale.start();
        tale.read(0, SWAP, 8);
        tale.write(0, SWAP, &swap_header(None));
        tale.stand_still();
        tale.ready(Role::Primary, 1001, ReadyWhy::Return);
        tale.ends("resume", true);
    }

    const ONLY_COLD: &str = "resumed where only a cold boot is legal";
    const ONLY_RESUME: &str = "cold boot where only a resume is legal";

    #[test]
    fn every_stage_of_swsusp_allows_what_the_table_says() {
        // What happens before the cut; whether what is accepted then is flushed; whether resume and cold boot are legal.
        let stages: [(&str, bool, bool, bool); 6] = [
            ("data", false, false, true),
            ("header", false, true, true),
            ("header", true, true, false),
            ("reset", false, true, true),
            ("reset", true, false, true),
            ("nothing", false, false, true),
        ];
        for (what, flushed, resume, cold_boot) in stages {
            for resumes in [true, false] {
                let mut tale = Tale::booted();
                tale.going(Role::Primary, 1000);
                tale.stand_still();
                match what {
                    "data" => _ = tale.write(0, SWAP + 16, &[2; 4096]),
                    "header" => tale.save_to_swap(true, true),
                    "reset" => {
                        tale.save_to_swap(true, true);
                        tale.flush(0);
                        tale.power(PowerEvent::Asleep);
                        tale.power(PowerEvent::Awake);
                        tale.write(0, SWAP, &swap_header(None));
                    }
                    _ => {}
                }
                if flushed {
                    tale.flush(0);
                }
                // What survives is what the outcome says, as far as it can.
                let header = resumes && flushed == (what == "reset") && matches!(what, "header" | "reset");
                if header {
                    tale.cut_keeping(SWAP, &swap_header(Some(1)));
                } else {
                    tale.cut();
                }
                if resumes {
                    resumed(&mut tale)
                } else {
                    cold(&mut tale)
                }
                let legal = if resumes { resume } else { cold_boot };
                // An outcome without an image cannot be told as a resume: nothing was there to be entered.
                if resumes && matches!(what, "data" | "nothing") {
                    continue;
                }
                let class = if resumes { ONLY_COLD } else { ONLY_RESUME };
                assert_eq!(found(&tale), [(!legal).then(|| class.to_owned())], "{what} {flushed} {resumes}");
            }
        }
    }

    #[test]
    fn ours_is_lost_by_no_cut_before_it_is_consumed() {
        let mut tale = Tale::booted();
        tale.jump_and_save();
        tale.cut();
        let mut restored = tale.clone();
        restored.restore(1001);
        assert_eq!(found(&restored), [None]);
        tale.begins("restore");
        tale.kernel(Role::Restorer);
        tale.start();
        tale.ready(Role::Restorer, 3000, ReadyWhy::Boot);
        tale.read(0, IMAGE, 8);
        tale.ends("restore", false);
        assert_eq!(found(&tale), [Some(ONLY_RESUME.to_owned())]);
    }

    #[test]
    fn ours_is_gone_when_it_is_consumed() {
        let mut tale = Tale::booted();
        tale.jump_and_save();
        tale.image_header(State::Consumed);
        tale.flush(0);
        tale.cut();
        tale.begins("restore");
        tale.ready(Role::Restorer, 3000, ReadyWhy::Boot);
        tale.read(0, IMAGE, 8);
        tale.ends("restore", false);
        assert_eq!(found(&tale), [None]);
    }

    #[test]
    fn a_boot_that_was_not_asked_may_be_cold_and_one_that_says_nothing_may_not_be() {
        let mut tale = Tale::booted();
        tale.hibernate();
        tale.cut();
        let mut silent = tale.clone();
        tale.begins("cold-boot");
        tale.start();
        tale.ready(Role::Primary, 5000, ReadyWhy::Boot);
        tale.ends("cold-boot", true);
        assert_eq!(found(&tale), [None]);
        silent.begins("resume");
        silent.ends("resume", false);
        assert_eq!(found(&silent), [Some("no outcome".to_owned())]);
    }
}
