use proptest::prelude::*;

use super::*;

struct Nobody;

impl Observer for Nobody {
    fn event(&mut self, _: Moment, _: Event) -> bool {
        false
    }
}

fn at(instructions: u64) -> Moment {
    Moment { time: VirtualTime(4 * instructions), instructions, processor: Some(0) }
}

/// Which events of a row stop the machine, and the numbers of the triggers that did.
fn stops(triggers: impl IntoIterator<Item = Trigger>, events: &[Event]) -> (Vec<usize>, Vec<usize>) {
    let mut triggers = Triggers::new(triggers);
    let mut stopped = Vec::new();
    for (number, event) in events.iter().enumerate() {
        let mut watch = Watch { triggers: &mut triggers, observer: &mut Nobody };
        if watch.event(at(number as u64), *event) {
            stopped.push(number);
        }
    }
    let matched = triggers.matched().iter().map(|found| found.trigger).collect();
    (stopped, matched)
}

fn disk(disk: u8, action: DiskAction, step: DiskStep) -> Event {
    Event::Disk(DiskEvent { disk, request: 0, action, step })
}

fn write(sector: u64, sectors: u64) -> DiskAction {
    DiskAction::Write { extent: Extent { sector, sectors }, fua: false }
}

fn says(port: u8, text: &str) -> Vec<Event> {
    text.bytes().map(|byte| Event::Serial { port, byte }).collect()
}

#[test]
fn a_pattern_matches_what_it_says_and_nothing_else() {
    use DiskStep::{Accepted, Completed, Durable};
    let fua = DiskAction::Write { extent: Extent { sector: 8, sectors: 8 }, fua: true };
    let events = [
        disk(0, write(0, 8), Accepted),
        disk(1, fua, Accepted),
        disk(0, DiskAction::Flush, Accepted),
        disk(0, write(0, 8), Completed),
        disk(1, DiskAction::Read(Extent { sector: 15, sectors: 1 }), Completed),
        disk(0, write(0, 8), Durable),
    ];
    let all = |pattern: DiskPattern| -> Vec<usize> {
        (1..=6)
            .filter_map(|nth| {
                stops([Trigger::nth(What::Disk(pattern.clone()), nth)], &events).0.first().copied()
            })
            .collect()
    };
    let any = DiskPattern::default();
    assert_eq!(all(any.clone()), [0, 1, 2, 3, 4, 5]);
    assert_eq!(all(DiskPattern { disk: Some(1), ..any.clone() }), [1, 4]);
    assert_eq!(all(DiskPattern { step: Some(Accepted), ..any.clone() }), [0, 1, 2]);
    assert_eq!(all(DiskPattern { kind: Some(RequestKind::Write), ..any.clone() }), [0, 1, 3, 5]);
    assert_eq!(all(DiskPattern { kind: Some(RequestKind::Fua), ..any.clone() }), [1]);
    assert_eq!(all(DiskPattern { kind: Some(RequestKind::Flush), ..any.clone() }), [2]);
    assert_eq!(all(DiskPattern { sectors: Some(7..8), ..any.clone() }), [0, 3, 5]);
    assert_eq!(all(DiskPattern { sectors: Some(15..100), ..any.clone() }), [1, 4]);
    assert_eq!(all(DiskPattern { sectors: Some(16..100), ..any.clone() }), Vec::<usize>::new());
    assert_eq!(all(DiskPattern { sectors: Some(8..8), ..any }), Vec::<usize>::new());
}

#[test]
fn a_text_is_found_across_what_another_port_says_and_not_across_a_reset() {
    let console = |text| [Trigger::first(What::console(text))];
    let mut events = says(0, "aab");
    events.extend(says(1, "x"));
    events.extend(says(0, "aabc"));
    assert_eq!(stops(console("aabc"), &events).0, [7]);
    assert_eq!(stops([Trigger::first(What::agent("x"))], &events).0, [3]);
    assert_eq!(stops([Trigger::nth(What::console("aab"), 2)], &events).0, [6]);
    assert_eq!(stops(console(""), &events).0, Vec::<usize>::new());
    events.insert(5, Event::Power(PowerEvent::Reset));
    assert_eq!(stops(console("aabc"), &events).0, Vec::<usize>::new());
}

#[test]
fn the_rest_of_the_events() {
    let events = [
        Event::Debug { byte: 1 },
        Event::SleepRegister { slp_typ: 5 },
        Event::SleepRegister { slp_typ: 1 },
        Event::Power(PowerEvent::Asleep),
        Event::Debug { byte: 2 },
        Event::Executed { point: 3 },
        Event::Executed { point: 4 },
    ];
    let first = |what| stops([Trigger::first(what)], &events).0;
    assert_eq!(first(What::sleep(SleepState::S3)), [2]);
    assert_eq!(first(What::sleep(SleepState::S4)), Vec::<usize>::new());
    assert_eq!(first(What::SleepRegister { slp_typ: None }), [1]);
    assert_eq!(first(What::Power(PowerEvent::Asleep)), [3]);
    assert_eq!(first(What::Debug { byte: Some(2) }), [4]);
    assert_eq!(first(What::Debug { byte: None }), [0]);
    assert_eq!(first(What::Executed { point: 4 }), [6]);
}

#[test]
fn two_may_match_in_one_event_and_each_matches_once() {
    let events = [Event::Debug { byte: 1 }, Event::Debug { byte: 1 }];
    let any = Trigger::first(What::Debug { byte: None });
    let one = Trigger::first(What::Debug { byte: Some(1) });
    assert_eq!(stops([any, one], &events), (vec![0], vec![0, 1]));
}

#[test]
fn times_and_instructions_are_limits() {
    let time = |ns| Trigger::first(What::Time(VirtualTime(ns)));
    let number = |number| Trigger::first(What::Instruction(number));
    let mut triggers = Triggers::new([time(500), time(300), number(90), number(100)]);
    let none = Limit::default();
    assert_eq!(triggers.limit(none), Limit { time: Some(VirtualTime(300)), instructions: Some(90) });
    let limit = Limit { time: Some(VirtualTime(200)), instructions: Some(95) };
    assert_eq!(triggers.limit(limit), Limit { time: Some(VirtualTime(200)), instructions: Some(90) });
    assert!(triggers.note(at(95), |watched| watched.reached(at(95))));
    assert!(!triggers.note(at(95), |watched| watched.reached(at(95))), "each is reached once");
    let numbers: Vec<usize> = triggers.matched().iter().map(|found| found.trigger).collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(triggers.limit(none), Limit { time: Some(VirtualTime(500)), instructions: Some(100) });
}

#[test]
fn they_can_be_read() {
    let pattern = DiskPattern {
        disk: Some(0),
        step: Some(DiskStep::Durable),
        kind: Some(RequestKind::Write),
        sectors: Some(0..8),
    };
    let all = [
        Trigger::nth(What::Disk(pattern), 3),
        Trigger::first(What::Disk(DiskPattern::default())),
        Trigger::first(What::sleep(SleepState::S4)),
        Trigger::first(What::SleepRegister { slp_typ: Some(6) }),
        Trigger::nth(What::console("PM: Image\n"), 2),
        Trigger::first(What::agent("ready")),
        Trigger::first(What::Debug { byte: Some(0x4b) }),
        Trigger::first(What::Power(PowerEvent::Awake)),
        Trigger::first(What::Time(VirtualTime(1_500))),
        Trigger::first(What::Instruction(1_000_000)),
        Trigger::nth(What::Executed { point: 2 }, 2),
    ];
    let text: Vec<String> = all.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"), @r#"
    disk 0: write of sectors 0..8 durable, number 3
    any disk: request goes a step further
    SLP_EN written for S4
    SLP_EN written with SLP_TYP 6
    the console says "PM: Image\n", number 2
    the agent says "ready"
    0x4b at the debug port
    awake from S3
    run time 1500 ns
    instruction 1000000
    code point 2, number 2
    "#);
    for trigger in all {
        let bytes = postcard::to_stdvec(&trigger).unwrap();
        assert_eq!(postcard::from_bytes::<Trigger>(&bytes).unwrap(), trigger);
    }
}

proptest! {
    /// Against the definition: the first position at which the text ends, in what was said on that port.
    #[test]
    fn a_text_is_found_where_it_first_ends(said in "[ab]{0,40}", text in "[ab]{1,4}") {
        let expected = (0..said.len()).find(|end| said[..=*end].ends_with(&text));
        let found = stops([Trigger::first(What::console(&text))], &says(0, &said)).0;
        prop_assert_eq!(found.first().copied(), expected);
    }
}
