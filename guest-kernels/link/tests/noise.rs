//! Whatever the line does: every request is executed at most once, and every answer is the right one.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod noisy;

use std::os::unix::net::UnixStream;
use std::time::Duration;

use agent_link::{Conversation, Departure, Event, Link, LinkError, Patience};
use agent_protocol::message::{Answer, Ask};
use noisy::{FakeAgent, NoisyLine, Numbers};
use proptest::prelude::*;

/// Questions with a text of their own; every third is a jump.
fn question(number: usize, jumps: bool) -> Ask {
    if jumps && number % 3 == 2 {
        Ask::Jump { image: Some(format!("jump {number}")) }
    } else {
        Ask::ReadText { path: format!("text {number}") }
    }
}

/// Holds the whole conversation on ticks instead of time; returns how many ticks it took.
fn converse(seed: u64, faults: u32, questions: usize, jumps: bool) -> Result<u64, TestCaseError> {
    let (mut to_agent, mut to_host) = (NoisyLine::new(seed, faults), NoisyLine::new(!seed, faults));
    let mut host = Conversation::default();
    let (mut agent, ready) = FakeAgent::boot();
    to_host.send(0, &ready);
    let mut next = 0;
    for now in 1..20_000u64 {
        for event in host.receive(&to_host.arriving(now)) {
            match event {
                Event::Reply { result, .. } => {
                    let Ask::ReadText { path } = question(next, jumps) else {
                        return Err(TestCaseError::fail(format!("{result:?} for a jump")));
                    };
                    prop_assert_eq!(result, Ok(Answer::Text(path)));
                    next += 1;
                }
                // With `going` lost, `ready` says that the jump happened.
                Event::Going { .. } => next += 1,
                Event::Ready(ready) => {
                    let jumps_done = (0..next).filter(|&done| done % 3 == 2 && jumps).count() as u32;
                    if ready.session.epoch == jumps_done + 2 {
                        next += 1;
                    } else {
                        prop_assert_eq!(ready.session.epoch, jumps_done + 1);
                    }
                }
                Event::Noise(_) => {}
            }
        }
        if next == questions {
            for (what, times) in &agent.executed {
                prop_assert_eq!(*times, 1, "{} was executed again", what);
            }
            prop_assert_eq!(agent.executed.len(), questions);
            return Ok(now);
        }
        if host.session().is_some() && host.pending().is_none() {
            host.ask(&question(next, jumps)).map_err(|error| TestCaseError::fail(error.to_string()))?;
        } else if now % 10 == 0 {
            host.silence();
        }
        to_agent.send(now, &host.take_outgoing());
        let answers = agent.receive(&to_agent.arriving(now));
        to_host.send(now, &answers);
    }
    Err(TestCaseError::fail(format!("stuck at question {next} of {questions}")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn at_most_once_and_the_right_answer(seed in any::<u64>(), faults in 0u32..60, questions in 1usize..40, jumps in any::<bool>()) {
        converse(seed, faults, questions, jumps)?;
    }

    #[test]
    fn garbage_is_never_taken_for_a_message(garbage in prop::collection::vec(any::<u8>(), 0..4000)) {
        let mut host = Conversation::default();
        for event in host.receive(&garbage) {
            prop_assert!(matches!(event, Event::Noise(_)));
        }
    }
}

#[test]
fn a_clean_line_needs_no_repetition() {
    assert!(converse(1, 0, 30, true).unwrap() < 130);
}

/// The other end of a socket: a fake agent on a thread, deaf now and then.
fn agent_on_a_socket(seed: u64, faults: u32) -> UnixStream {
    use std::io::{Read, Write};
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
    std::thread::spawn(move || {
        let (mut agent, ready) = FakeAgent::boot();
        let mut numbers = Numbers::new(seed);
        let mut line = NoisyLine::new(seed, faults);
        line.send(0, &ready);
        theirs.write_all(&line.arriving(u64::MAX)).unwrap();
        let mut bytes = [0; 4096];
        while let Ok(got @ 1..) = theirs.read(&mut bytes) {
            if faults > 0 && numbers.below(4) == 0 {
                continue;
            }
            line.send(0, &agent.receive(&bytes[..got]));
            if theirs.write_all(&line.arriving(u64::MAX)).is_err() {
                break;
            }
        }
    });
    ours
}

fn quick() -> Patience {
    let ms = Duration::from_millis;
    Patience { repeat: ms(10), repeat_at_most: ms(20), hello: ms(20) }
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn over_a_noisy_socket() {
    for seed in 0..10 {
        let mut link = Link::new(agent_on_a_socket(seed, 20), Conversation::default(), quick());
        let mut session = link.wait_ready(LONG).unwrap().session;
        for number in 0..30 {
            match question(number, true) {
                Ask::ReadText { path } => {
                    let answer = link.ask(&Ask::ReadText { path: path.clone() }, LONG).unwrap();
                    assert_eq!(answer, Answer::Text(path));
                }
                jump => {
                    let there = match link.depart(&jump, LONG).unwrap() {
                        Departure::Going => link.wait_ready(LONG).unwrap(),
                        Departure::Arrived(ready) => *ready,
                    };
                    assert_eq!(there.session.epoch, session.epoch + 1);
                    session = there.session;
                }
            }
        }
    }
}

#[test]
fn silence_is_named() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
    let mut link = Link::new(ours, Conversation::default(), quick());
    let error = link.wait_ready(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.to_string(), "no agent said `ready` within 0.05 s");
    let error = link.ask(&Ask::Sync, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, LinkError::Busy { .. }), "{error}");
}

#[test]
fn a_closed_line_is_named() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let mut link = Link::new(ours, Conversation::default(), quick());
    assert!(matches!(link.wait_ready(LONG).unwrap_err(), LinkError::Closed));
}

#[test]
fn a_session_that_ends_under_a_request_is_named() {
    let mut link = Link::new(agent_on_a_socket(1, 0), Conversation::default(), quick());
    link.wait_ready(LONG).unwrap();
    let error = link.ask(&Ask::Jump { image: None }, LONG).unwrap_err();
    assert!(matches!(error, LinkError::WentAway { .. }), "{error}");
    assert_eq!(link.wait_ready(LONG).unwrap().session.epoch, 2);
}
