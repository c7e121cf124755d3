//! What power cuts in a hibernation leave, and what the next boot makes of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::sync::Arc;

use devices::disk::WriteLog;
use scenarios::checks::{Oracle, Record, Status};
use scenarios::explore::cuts::{Cut, cuts};
use scenarios::explore::family::{Depth, Family};
use scenarios::explore::judge::{Findings, Judge};
use scenarios::explore::recovery::Outcome;
use scenarios::explore::replay::Replay;
use scenarios::explore::set::Set;
use scenarios::explore::subject::Subject;
use scenarios::explore::tree::{Leaf, Tree};
use scenarios::kernels::{Kernels, Loaded};
use scenarios::lab::{Lab, Trouble};
use scenarios::language::Step;
use scenarios::report::{Phase, PowerHappening};
use scenarios::run::{self, Finished, Listener};
use scenarios::{GuestError, Scenario};
use vmm::trigger::{DiskPattern, Trigger, Triggers, What};

struct Silent;

impl Listener for Silent {
    fn phase(&mut self, _: &Phase) {}
    fn power(&mut self, _: &PowerHappening) {}
}

fn scenario() -> Scenario {
    let text = r#"
        version = 1
        cycles = 1
        steps = [{ do = "hibernate", mode = "shutdown" }, "resume", "check"]
        workloads = ["memory", "tmpfs", "ext4"]
        [kernel]
        primary = "primary-6.12"
        [[disk]]
        name = "system"
        size = "256M"
        partitions = [{ use = "ext4", size = "64M" }, { use = "swap", size = "128M" }]
    "#;
    Scenario::read(text, &[]).unwrap_or_else(|(mistake, _)| panic!("{mistake:?}"))
}

fn kernels(scenario: &Scenario) -> Kernels {
    Kernels::gather(scenario, |name, _, is_saver| Loaded::new(name, is_saver, &|_| {}).map(Arc::new)).unwrap()
}

fn logs(lab: &Lab<'_>) -> Vec<WriteLog> {
    lab.guest.machine.board().pci.disks().map(|disk| disk.log().unwrap().clone()).collect()
}

/// A recorded run whose cuts are explored.
struct Explored {
    scenario: Scenario,
    kernels: Kernels,
    finished: Finished,
}

impl Explored {
    fn new() -> Self {
        let scenario = scenario();
        let kernels = kernels(&scenario);
        let finished = run::run("explored", &scenario, &kernels, &mut Silent);
        Self { scenario, kernels, finished }
    }

    fn subject(&self) -> Subject {
        Subject::of(&self.scenario, &self.kernels, &self.finished).unwrap()
    }

    fn record(&self) -> Record<'_> {
        Record { scenario: &self.scenario, history: &self.finished.history, logs: &self.finished.logs }
    }

    /// Cuts from the step on, as many of the last ones before the next step as are asked for.
    fn cuts(&self, step: &str, last: usize) -> Vec<Cut> {
        let record = self.record();
        let mut cuts = cuts(&record, 0..record.entries().len());
        cuts.retain(|cut| cut.step == step);
        cuts.split_off(cuts.len().saturating_sub(last))
    }

    fn leaves(&self, family: &Family, chosen: Vec<usize>) -> Vec<Leaf> {
        let subject = self.subject();
        let machine = subject.machine(&self.scenario, &self.kernels, &family.states[0].disks()).unwrap();
        let mut tree = Tree::new(family, machine, subject.recovery()).unwrap();
        tree.begin(Set::Listed(chosen));
        std::iter::from_fn(|| tree.next_leaf().unwrap()).collect()
    }
}

/// At events all over a hibernation: what follows from history and log is what the machine's disk has.
#[test]
fn the_disks_of_a_record_are_those_of_the_machine() {
    let scenario = scenario();
    let kernels = kernels(&scenario);
    let mut lab = Lab::new(&scenario, &kernels).unwrap();
    lab.start().unwrap();
    let any = || What::Disk(DiskPattern::default());
    let mut compared = 0;
    let mut compare = |lab: &Lab<'_>| {
        let logs = logs(lab);
        let record = Record { scenario: &scenario, history: &lab.guest.tape.history, logs: &logs };
        let mut replay = Replay::new(&record).unwrap();
        while replay.step().unwrap().is_some() {}
        let disk = lab.guest.machine.board().pci.disks().next().unwrap();
        let [then] = replay.disks() else { panic!("one disk") };
        assert!(then.durable == *disk.durable(), "durable contents differ");
        assert!(then.current().unwrap() == *disk.media(), "accepted contents differ");
        let extents = |changes: Vec<&devices::disk::Change>| -> Vec<_> {
            changes.iter().map(|change| (change.request, change.extent)).collect()
        };
        let ours = extents(then.pending.iter().flat_map(|write| &write.changes).collect());
        assert_eq!(ours, extents(disk.changes().collect()));
        compared += 1;
    };
    compare(&lab);
    let triggers = (1..=40).map(|nth| Trigger::nth(any(), nth * 25));
    lab.guest.watch_for(Triggers::new(triggers));
    let hibernate = scenario.steps[0].clone();
    assert!(matches!(hibernate.step, Step::Hibernate { .. }));
    let mut result = lab.step(&hibernate);
    while let Err(Trouble::Guest(GuestError::Triggered(_))) = result {
        compare(&lab);
        // The request is under way: only its end is waited for.
        result =
            lab.guest.run_to_power_request(120_000_000_000).map(|_| String::new()).map_err(Trouble::from);
    }
    result.unwrap();
    compare(&lab);
    assert!(compared > 15, "{compared}");
}

/// The states around the header: those in which it is valid and something of the image is missing lose the session. Of Linux as it is
/// (`swsusp` writes the last page of its map after the header, and asks for no flush). And what was decided for many is what each of them does alone.
#[test]
fn what_is_decided_together_is_what_each_does_alone() {
    let explored = Explored::new();
    // Without a cut only the order of writes is not as it should be, which is what cuts make real.
    let failed = explored.finished.report.checks.iter().filter(|check| check.status == Status::Fail);
    let others: Vec<_> = failed.filter(|check| check.oracle != Oracle::O5).collect();
    assert!(others.is_empty(), "{others:?}");
    let record = explored.record();
    let cuts = explored.cuts("hibernate", 12);
    let family = Family::of(&record, &cuts, Depth::LEAST).unwrap();
    // Every so many of them, and those of which nothing or all is lost.
    let step = family.states.len() / 40;
    let plain = |state: &usize| family.states[*state].origins.iter().any(|origin| origin.lost == 0);
    let chosen: Vec<usize> =
        (0..family.states.len()).filter(|state| state % step == 0 || plain(state)).collect();
    let leaves = explored.leaves(&family, chosen.clone());
    let decided: usize = leaves.iter().map(|leaf| leaf.set.listed().len()).sum();
    assert_eq!(decided, chosen.len());
    assert!(leaves.len() < chosen.len(), "nothing is shared");
    let judge = Judge::new(&record, &cuts, explored.subject().commit).unwrap();
    let mut findings = Findings::default();
    for leaf in &leaves {
        findings.add(&judge, &family, &cuts, leaf.set.listed(), &leaf.outcome).unwrap();
    }
    let found: Vec<_> =
        findings.iter().map(|finding| (finding.class.clause.as_str(), finding.origin.lost)).collect();
    // A cut is enough: all that was accepted survives, and the map is not complete.
    assert!(found.contains(&("O5.C1", 0)), "{found:?}");
    let outcomes: Vec<&Outcome> = leaves.iter().map(|leaf| &leaf.outcome).collect();
    for wanted in [Outcome::Cold, Outcome::Resumed] {
        assert!(outcomes.contains(&&wanted), "{wanted:?} is not among {outcomes:?}");
    }
    for leaf in
        leaves.iter().filter(|leaf| leaf.set.listed().len() > 1 || leaf.outcome == Outcome::Resumed).take(6)
    {
        let state = *leaf.set.listed().last().unwrap();
        let alone = explored.leaves(&family, vec![state]);
        assert_eq!(alone.len(), 1);
        assert_eq!(alone[0].outcome, leaf.outcome, "state {state}");
    }
}
