//! What is watched for in a cycle and in a step: power events, and faults of disks that come and go.

use vmm::trigger::{Match, Triggers};

use super::{Early, Runner};
use crate::guest::Deed;
use crate::language::{Act, FaultSpec, PowerRule, When};

/// What a trigger is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    /// The power event of this number.
    Rule(usize),
    /// The fault in this place of this disk.
    Fault(usize, usize),
}

impl Runner<'_, '_> {
    /// Triggers and faults of this cycle that count from here: those of a step when it begins, the others when the cycle does.
    pub(super) fn watch_for(&mut self, during: Option<&'static str>) {
        if during.is_none() {
            self.lab.guest.watch_for(Triggers::default());
            self.watched.clear();
            self.steps_seen.clear();
        }
        let scenario = self.scenario;
        for (number, rule) in scenario.power.iter().enumerate() {
            let is_now = rule.on.during == during && self.is_in_cycle(rule.cycle);
            let Some(trigger) = rule.on.trigger().filter(|_| is_now) else { continue };
            if !self.watched.contains(&Watched::Rule(number)) {
                let at = self.lab.guest.triggers_mut().watch(trigger);
                if let Some(deed) = deed(rule) {
                    self.lab.guest.at_trigger(at, deed);
                }
                self.watched.push(Watched::Rule(number));
            }
        }
        for (disk, spec) in scenario.disks.iter().enumerate() {
            for (place, fault) in spec.faults.iter().enumerate() {
                self.watch_for_fault(disk, place, fault, during);
            }
        }
    }

    fn watch_for_fault(
        &mut self,
        disk: usize,
        place: usize,
        fault: &FaultSpec,
        during: Option<&'static str>,
    ) {
        if fault.counts_at_first() {
            return;
        }
        let in_cycle = self.is_in_cycle(fault.cycle);
        match &fault.after {
            None if during.is_none() => {
                let counts = in_cycle && fault.during.is_none();
                self.lab.guest.set_fault(disk, place, counts.then_some(fault));
            }
            None if fault.during.is_some() => {
                let counts = in_cycle && fault.during == during;
                self.lab.guest.set_fault(disk, place, counts.then_some(fault));
            }
            None => {}
            Some(after) => {
                if during.is_none() {
                    self.lab.guest.set_fault(disk, place, None);
                }
                let watched = Watched::Fault(disk, place);
                let is_now = in_cycle && after.during == during && !self.watched.contains(&watched);
                if let Some(trigger) = after.trigger().filter(|_| is_now) {
                    let at = self.lab.guest.triggers_mut().watch(trigger);
                    self.lab.guest.at_trigger(at, Deed::Fault { disk, place, fault: fault.clone() });
                    self.watched.push(watched);
                }
            }
        }
    }

    /// The power came on: what made disks go wrong happened before, and they are well until it happens again.
    pub(super) fn forget_faults(&mut self) {
        for (disk, spec) in self.scenario.disks.iter().enumerate() {
            let places = spec.faults.iter().enumerate().filter(|(_, fault)| fault.after.is_some());
            for (place, _) in places {
                self.lab.guest.set_fault(disk, place, None);
            }
        }
    }

    fn is_in_cycle(&self, cycle: Option<u32>) -> bool {
        cycle.is_none_or(|cycle| cycle == self.cycle)
    }

    /// A step begins, or is over: what was to happen then happens.
    pub(super) fn at_step(&mut self, name: &'static str, is_over: bool) -> Result<(), Early> {
        self.steps_seen.push((name, is_over));
        let seen = self.steps_seen.iter().filter(|seen| **seen == (name, is_over)).count() as u64;
        let found = Match { trigger: usize::MAX, at: self.lab.guest.moment() };
        let scenario = self.scenario;
        let is_now = |when: &When, nth: u64| *when == When::Step { step: name, is_over } && nth == seen;
        for (disk, spec) in scenario.disks.iter().enumerate() {
            for (place, fault) in spec.faults.iter().enumerate() {
                if self.is_in_cycle(fault.cycle)
                    && fault.after.as_ref().is_some_and(|after| is_now(&after.when, after.nth))
                {
                    self.lab.guest.perform(Deed::Fault { disk, place, fault: fault.clone() }, found);
                }
            }
        }
        for rule in &scenario.power {
            if !self.is_in_cycle(rule.cycle) || !is_now(&rule.on.when, rule.on.nth) {
                continue;
            }
            match deed(rule) {
                Some(deed) => self.lab.guest.perform(deed, found),
                None => self.cut(rule, found)?,
            }
        }
        self.tell_deeds();
        Ok(())
    }
}

/// What is done while the machine goes on. None: it does not, the power is cut.
fn deed(rule: &PowerRule) -> Option<Deed> {
    match &rule.act {
        Act::Cut { .. } => None,
        Act::Wake => Some(Deed::Wake),
        Act::Button => Some(Deed::Button),
        Act::Alarm { after } => Some(Deed::Alarm { after: *after }),
    }
}
