//! The power goes, and comes back.

use std::collections::BTreeSet;

use devices::disk::{BaseError, CrashSpace, CrashSpaceError, CrashState, Disk, Extent, Media};
use vmm::power::PowerState;
use vmm::trigger::Match;

use super::watch::Watched;
use super::{Early, Runner};
use crate::guest::Deed;
use crate::lab::Trouble;
use crate::language::{Act, PowerRule, Step, StepSpec, Survives, Use};
use crate::report::PowerHappening;
use crate::witness::Witness;

/// How long the machine stays off if nothing says so, in nanoseconds.
const OFF: u64 = 60_000_000_000;

/// What a step that begins with a machine that is off finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    /// It is on, and a kernel may boot.
    Restored,
    /// Nothing happened to it, and A runs: there is nothing to recover from.
    NeverGone,
}

impl Runner<'_, '_> {
    /// A trigger stopped what was under way: the power is cut, now and here.
    pub(super) fn cut_at(&mut self, found: Match) -> Result<(), Early> {
        let scenario = self.scenario;
        match self.watched.get(found.trigger) {
            Some(Watched::Rule(number)) => {
                scenario.power.get(*number).map_or(Err(Early::Failed), |rule| self.cut(rule, found))
            }
            _ => Err(Early::Failed),
        }
    }

    pub(super) fn cut(&mut self, rule: &PowerRule, found: Match) -> Result<(), Early> {
        let Act::Cut { survives, off } = &rule.act else { return Ok(()) };
        let guest = &mut self.lab.guest;
        guest.tell(Witness::power_goes);
        let volatile_writes =
            guest.machine.board().pci.disks().map(|disk| disk.changes().count() as u64).sum();
        let done = guest.machine.power_cut(&mut |disk| left(disk, survives), &mut guest.tape);
        guest.power_lost();
        self.happened(PowerHappening {
            phase: self.report.phases.len().saturating_sub(1),
            what: rule.act.name().into(),
            when: rule.on.to_string(),
            at: found.at.time.0,
            instructions: found.at.instructions,
            volatile_writes,
            survived: survives.shown(),
        });
        self.lab.off = Some(*off);
        self.lab.was_reset = false;
        match done {
            Ok(()) => Err(Early::Cut),
            Err(error) => {
                self.failed("power cut", &Trouble::Machine(error));
                Err(Early::Failed)
            }
        }
    }

    fn happened(&mut self, happening: PowerHappening) {
        self.listener.power(&happening);
        self.report.power_events.push(happening);
    }

    /// Says what was done to the machine while it went on.
    pub(super) fn tell_deeds(&mut self) {
        for (deed, found) in std::mem::take(&mut self.lab.guest.done) {
            let what = match deed {
                Deed::Button => "power button".to_owned(),
                Deed::Alarm { after } => format!("alarm moved to {} ms from now", after / 1_000_000),
                Deed::Wake => "wake".to_owned(),
                Deed::Fault { disk, .. } => {
                    let name = self.scenario.disks.get(disk).map_or("", |disk| disk.name.as_str());
                    format!("disk {name} goes wrong")
                }
            };
            let rule = match self.watched.get(found.trigger) {
                Some(Watched::Rule(number)) => self.scenario.power.get(*number).map(|rule| &rule.on),
                Some(Watched::Fault(disk, place)) => {
                    let faults = self.scenario.disks.get(*disk).map(|disk| &disk.faults);
                    faults.and_then(|faults| faults.get(*place)).and_then(|fault| fault.after.as_ref())
                }
                None => None,
            };
            self.happened(PowerHappening {
                phase: self.report.phases.len().saturating_sub(1),
                what,
                when: rule.map_or_else(|| "at this step".to_owned(), ToString::to_string),
                at: found.at.time.0,
                instructions: found.at.instructions,
                volatile_writes: 0,
                survived: String::new(),
            });
        }
    }

    /// A step that begins with a machine that is off.
    pub(super) fn power_on(&mut self, spec: &StepSpec) -> Result<Power, Early> {
        let name = spec.step.name();
        let config = self.lab.config_for(&spec.boot);
        let machine = &self.lab.guest.machine;
        let state = machine.power_state();
        let is_other = *machine.config() != config;
        let runs = state == PowerState::S0 && !self.lab.was_reset;
        if runs && matches!(spec.step, Step::Recover { .. }) && self.lab.is_primary() {
            return Ok(Power::NeverGone);
        }
        self.before_boot = self.place(Use::Ext4).map(|(disk, _)| disk.durable().clone());
        let impossible = |runner: &mut Self, text: String| {
            runner.failed(name, &Trouble::Impossible(text));
            Err(Early::Failed)
        };
        match state {
            // A reset leaves it on, and nobody in it.
            PowerState::S0 if self.lab.was_reset && is_other => {
                return impossible(self, "a reset makes no other machine: power it off first".into());
            }
            PowerState::S0 if self.lab.was_reset => {
                self.lab.was_reset = false;
                return Ok(Power::Restored);
            }
            PowerState::S0 | PowerState::S3 => {
                return impossible(self, format!("`{name}` begins with a machine that is off, and it is on"));
            }
            PowerState::S4 | PowerState::S5 | PowerState::Cut => {}
        }
        let off = self.lab.off.take().unwrap_or(OFF);
        let guest = &mut self.lab.guest;
        guest.tell(Witness::power_goes);
        let changed = if is_other { guest.machine.reconfigure(config) } else { Ok(()) };
        if let Err(error) = changed.and_then(|()| guest.machine.power_on(off, &mut guest.tape)) {
            self.failed("power on", &Trouble::Machine(error));
            return Err(Early::Failed);
        }
        guest.power_lost();
        self.lab.boots += 1;
        self.forget_faults();
        Ok(Power::Restored)
    }
}

/// What a cut leaves on a disk.
fn left(disk: &Disk, survives: &Survives) -> Result<Media, BaseError> {
    match survives {
        Survives::Nothing => Ok(disk.durable().clone()),
        Survives::Everything => Ok(disk.media().clone()),
        Survives::Some { seed } => {
            chosen(disk, |space| space.seeded(*seed).next().unwrap_or_else(|| space.none()))
        }
        Survives::Each(each) => {
            let of = |number: usize| {
                each.iter()
                    .find(|one| matches!(one, Survives::Requests { disk: Some(disk), .. } if *disk == number))
            };
            // Whoever is not named is as all but the named one of the first.
            match of(usize::from(disk.config().id)).or(each.first()) {
                Some(one) => left(disk, one),
                None => Ok(disk.durable().clone()),
            }
        }
        Survives::Requests { lost, disk: named, .. }
            if named.is_some_and(|named| named != usize::from(disk.config().id)) =>
        {
            Ok(if *lost { disk.media() } else { disk.durable() }.clone())
        }
        Survives::Requests { requests, torn, .. } if !torn.is_empty() => {
            let mut media = disk.durable().clone();
            for change in disk.changes().filter(|change| !requests.contains(&change.request)) {
                let lost = torn.iter().filter(|(request, _)| *request == change.request);
                let lost: Vec<Extent> = lost
                    .map(|(_, part)| Extent { sector: part.start, sectors: part.end - part.start })
                    .collect();
                change.without_all(&lost).iter().try_for_each(|change| media.apply(change))?;
            }
            Ok(media)
        }
        Survives::Requests { lost, requests, .. } => {
            let named: BTreeSet<u64> = requests.iter().copied().collect();
            chosen(disk, |space| {
                let numbers: Vec<u64> = space.writes().iter().map(|write| write.request).collect();
                space.surviving(|write| {
                    numbers.get(write).is_some_and(|number| named.contains(number) != *lost)
                })
            })
        }
    }
}

fn chosen(disk: &Disk, choose: impl FnOnce(&CrashSpace) -> CrashState) -> Result<Media, BaseError> {
    let ours = |error: String| BaseError::Host { offset: 0, reason: error };
    let space = disk.crash_space().map_err(|error| match error {
        CrashSpaceError::Base(error) => error,
        other => ours(other.to_string()),
    })?;
    space.media(&choose(&space)).map_err(|error| ours(error.to_string()))
}
