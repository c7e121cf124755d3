//! What was decided for many states at once is what each of them does alone.
//!
//! A sample of the states of a hibernation that is cut everywhere: first all of them together, then each by itself. `KJVM_SAMPLE` sets how
//! many (thousands take minutes); they are spread evenly over the family, beside all states in which little is lost around the header.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use scenarios::Scenario;
use scenarios::explore::family::Depth;
use scenarios::explore::recovery::Outcome;
use scenarios::explore::set::Set;
use scenarios::explore::survey::{Recording, Survey};
use scenarios::kernels::{Kernels, Loaded};
use scenarios::report::{Phase, PowerHappening};
use scenarios::run::Listener;

struct Silent;

impl Listener for Silent {
    fn phase(&mut self, _: &Phase) {}
    fn power(&mut self, _: &PowerHappening) {}
}

const SWSUSP: &str = r#"
    version = 1
    cycles = 1
    steps = [{ do = "hibernate", mode = "shutdown" }, "resume", "check"]
    workloads = ["memory", "ext4"]
    [kernel]
    primary = "primary-6.12"
    [[disk]]
    name = "system"
    size = "256M"
    partitions = [{ use = "ext4", size = "64M" }, { use = "swap", size = "128M" }]
"#;

/// How many states are looked at.
fn sample(usually: usize) -> usize {
    std::env::var("KJVM_SAMPLE").ok().and_then(|text| text.parse().ok()).unwrap_or(usually)
}

fn decided_together_and_alone(text: &str, usually: usize) {
    let scenario = Scenario::read(text, &[]).unwrap_or_else(|(mistake, _)| panic!("{mistake:?}"));
    let kernels =
        Kernels::gather(&scenario, |name, _, is_saver| Loaded::new(name, is_saver, &|_| {}).map(Arc::new))
            .unwrap();
    let recording = Recording::of("sound", &scenario, &kernels, &mut Silent).unwrap();
    let survey = Survey::of(&recording, Depth { pairs: 1, ..Depth::LEAST }).unwrap();
    let states = &survey.family.states;
    let wanted = sample(usually);
    // Half of them where something can happen: states of cuts after which a session may come back.
    let may_resume = |number: &usize| {
        let cuts = states[*number].origins.iter().map(|origin| origin.cut);
        cuts.into_iter().any(|cut| survey.judge.life(cut).is_some_and(|life| life.valid))
    };
    let spread = |of: Vec<usize>, count: usize| -> Vec<usize> {
        let step = (of.len() / count.max(1)).max(1);
        of.into_iter().step_by(step).collect()
    };
    let hot = spread((0..states.len()).filter(may_resume).collect(), wanted / 2);
    let all = spread((0..states.len()).collect(), wanted / 2);
    let chosen: Vec<usize> = hot.into_iter().chain(all).collect::<BTreeSet<_>>().into_iter().collect();

    let mut worker = survey.worker().unwrap();
    let mut together: BTreeMap<usize, Outcome> = BTreeMap::new();
    worker.begin(Set::Listed(chosen.clone()));
    let (mut leaves, mut stops) = (0, 0);
    // Now and then somebody stops it and lets it go on.
    let asked = Cell::new(0);
    let goes_on = || asked.replace(asked.get() + 1) % 7 != 6;
    loop {
        let Some(leaf) = worker.next_leaf_while(&goes_on).unwrap() else {
            if worker.tree().undecided() == 0 {
                break;
            }
            stops += 1;
            continue;
        };
        leaves += 1;
        for state in leaf.set.listed() {
            assert!(
                together.insert(*state, leaf.outcome.clone()).is_none(),
                "state {state} is decided twice"
            );
        }
    }
    assert_eq!(together.keys().copied().collect::<Vec<_>>(), chosen, "a state is not decided");
    assert!(leaves < chosen.len(), "nothing is shared");
    assert!(stops > 0, "nobody stopped it");
    let mut seen: BTreeMap<&Outcome, usize> = BTreeMap::new();
    for (state, outcome) in &together {
        worker.begin(Set::Listed(vec![*state]));
        let alone = worker.next_leaf().unwrap().unwrap();
        assert_eq!(alone.outcome, *outcome, "state {state}, of {:?}", states[*state].origins.first());
        assert!(worker.next_leaf().unwrap().is_none());
        *seen.entry(outcome).or_default() += 1;
    }
    eprintln!("{} states, {leaves} boots together, each alone the same:", together.len());
    for (outcome, states) in &seen {
        eprintln!("  {states:6}  {outcome}");
    }
    assert!(seen.len() > 1, "all of them end alike: {seen:?}");
}

#[test]
fn a_hibernation() {
    decided_together_and_alone(SWSUSP, 60);
}
