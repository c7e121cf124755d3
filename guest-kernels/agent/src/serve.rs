//! The conversation: one request at a time, each executed at most once, in the session it is meant for.

use agent_protocol::frame::{FrameError, PROTOCOL_VERSION};
use agent_protocol::message::{Answer, Ask, Failure, FromAgent, Outcome, Ready, ReadyWhy, Request, Session};
use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};

use crate::failure::failure_with;

/// What a request leads to.
pub enum Deed {
    /// An answer at once.
    Answer(Result<Answer, Failure>),
    /// Everything that could be refused has been checked; what is left takes the machine away. Returns when it is back.
    Leave(Box<dyn FnOnce() -> Result<Answer, Failure>>),
}

/// Who carries requests out.
pub trait Perform {
    /// Carries out a request. Never called for [`Ask::Hello`].
    fn perform(&mut self, ask: Ask) -> Deed;
}

/// The way to the host.
pub trait Channel {
    /// Waits for the next request. The inner error: a line that is no request.
    ///
    /// # Errors
    /// The outer one: the channel is gone.
    fn receive(&mut self) -> Result<Result<Request, FrameError>, Failure>;
    /// Sends a line.
    ///
    /// # Errors
    /// The channel is gone.
    fn send(&mut self, message: &FromAgent) -> Result<(), Failure>;
    /// Starts afresh after the machine was away.
    ///
    /// # Errors
    /// The channel is gone.
    fn reopen(&mut self) -> Result<(), Failure>;
}

/// The state of the conversation.
struct Conversation {
    session: Session,
    why: ReadyWhy,
    outcome: Option<Outcome>,
    /// The last answer and the id it belongs to, to be repeated when asked again.
    last: Option<(u64, FromAgent)>,
}

impl Conversation {
    fn ready(&self) -> FromAgent {
        let milliseconds = |clock: ClockId| {
            clock_gettime(clock).map_or(0, |time| {
                u64::try_from(time.tv_sec()).unwrap_or(0) * 1000
                    + u64::try_from(time.tv_nsec()).unwrap_or(0) / 1_000_000
            })
        };
        FromAgent::Ready(Ready {
            session: self.session,
            why: self.why,
            protocol: PROTOCOL_VERSION,
            boottime_ms: milliseconds(ClockId::CLOCK_BOOTTIME),
            monotonic_ms: milliseconds(ClockId::CLOCK_MONOTONIC),
            realtime_ms: milliseconds(ClockId::CLOCK_REALTIME),
            outcome: self.outcome.clone(),
        })
    }
}

/// Serves the host. Returns only if the port fails.
///
/// # Errors
/// The port's.
pub fn serve(port: &mut impl Channel, session: Session, performer: &mut impl Perform) -> Result<(), Failure> {
    let mut talk = Conversation { session, why: ReadyWhy::Boot, outcome: None, last: None };
    port.send(&talk.ready())?;
    loop {
        let Request { id, session, ask } = match port.receive()? {
            Ok(request) => request,
            Err(error) => {
                port.send(&FromAgent::Garbled { session: talk.session, error })?;
                continue;
            }
        };
        if ask == Ask::Hello {
            port.send(&talk.ready())?;
            continue;
        }
        if session != talk.session {
            let text = format!("meant for session {session}, this is {}", talk.session);
            let result = Err(failure_with(Errno::ESTALE, text));
            port.send(&FromAgent::Reply { id, session: talk.session, result })?;
            continue;
        }
        if let Some((last, answer)) = &talk.last {
            if id == *last {
                port.send(answer)?;
                continue;
            }
            if id < *last {
                // A line that was under way for long; its answer was given and the host has moved on.
                continue;
            }
        }
        match performer.perform(ask) {
            Deed::Answer(result) => {
                let reply = FromAgent::Reply { id, session, result };
                port.send(&reply)?;
                talk.last = Some((id, reply));
            }
            Deed::Leave(leave) => {
                port.send(&FromAgent::Going { id, session })?;
                let result = leave();
                port.reopen()?;
                talk.session.epoch = talk.session.epoch.saturating_add(1);
                talk.why = ReadyWhy::Return;
                talk.outcome = Some(Outcome { id, result });
                talk.last = None;
                port.send(&talk.ready())?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::failure::failure;
    use agent_protocol::message::Role;

    const A1: Session = Session { role: Role::Primary, epoch: 1 };
    const A2: Session = Session { role: Role::Primary, epoch: 2 };

    /// A channel with everything the host will ever say; it closes when all is said.
    #[derive(Default)]
    struct Script {
        incoming: VecDeque<Result<Request, FrameError>>,
        sent: Vec<FromAgent>,
    }

    impl Channel for Script {
        fn receive(&mut self) -> Result<Result<Request, FrameError>, Failure> {
            self.incoming.pop_front().ok_or_else(|| failure("all is said"))
        }

        fn send(&mut self, message: &FromAgent) -> Result<(), Failure> {
            self.sent.push(message.clone());
            Ok(())
        }

        fn reopen(&mut self) -> Result<(), Failure> {
            Ok(())
        }
    }

    /// Counts what is executed; `sync` answers with the count, `power-off` leaves and comes back refused.
    #[derive(Default)]
    struct Counter {
        executed: u32,
    }

    impl Perform for Counter {
        fn perform(&mut self, ask: Ask) -> Deed {
            self.executed += 1;
            let answer = Answer::Text(self.executed.to_string());
            match ask {
                Ask::PowerOff => Deed::Leave(Box::new(|| Err(failure("still here")))),
                _ => Deed::Answer(Ok(answer)),
            }
        }
    }

    fn request(id: u64, session: Session, ask: Ask) -> Result<Request, FrameError> {
        Ok(Request { id, session, ask })
    }

    /// What the agent says after its first `ready`, and how many requests it executed.
    fn talk(incoming: Vec<Result<Request, FrameError>>) -> (Vec<FromAgent>, u32) {
        let (mut script, mut counter) =
            (Script { incoming: incoming.into(), ..Script::default() }, Counter::default());
        assert!(serve(&mut script, A1, &mut counter).is_err());
        let first = script.sent.remove(0);
        assert!(matches!(first, FromAgent::Ready(Ready { session: A1, why: ReadyWhy::Boot, .. })));
        (script.sent, counter.executed)
    }

    fn reply(id: u64, text: &str) -> FromAgent {
        FromAgent::Reply { id, session: A1, result: Ok(Answer::Text(text.into())) }
    }

    #[test]
    fn a_repeated_request_is_answered_again_and_executed_once() {
        let again = || request(1, A1, Ask::Sync);
        let (sent, executed) = talk(vec![again(), again(), request(2, A1, Ask::Sync), again()]);
        assert_eq!(sent, [reply(1, "1"), reply(1, "1"), reply(2, "2")]);
        assert_eq!(executed, 2);
    }

    #[test]
    fn a_request_for_another_session_is_refused() {
        let (sent, executed) = talk(vec![request(1, A2, Ask::Sync)]);
        assert!(
            matches!(&sent[..], [FromAgent::Reply { id: 1, result: Err(Failure { errno: Some(errno), .. }), .. }]
            if *errno == Errno::ESTALE as i32)
        );
        assert_eq!(executed, 0);
    }

    #[test]
    fn noise_is_answered_and_harmless() {
        let noise = FrameError::NotAFrame("expected value".into());
        let (sent, executed) = talk(vec![Err(noise.clone()), request(1, A1, Ask::Sync)]);
        assert_eq!(sent, [FromAgent::Garbled { session: A1, error: noise }, reply(1, "1")]);
        assert_eq!(executed, 1);
    }

    #[test]
    fn leaving_begins_a_new_session_in_which_the_old_request_is_stale() {
        let leave = || request(1, A1, Ask::PowerOff);
        let hello = request(2, A1, Ask::Hello);
        let (sent, executed) = talk(vec![leave(), leave(), hello]);
        assert_eq!(executed, 1);
        assert_eq!(sent[0], FromAgent::Going { id: 1, session: A1 });
        let outcome = Some(Outcome { id: 1, result: Err(failure("still here")) });
        for ready in [&sent[1], &sent[3]] {
            let FromAgent::Ready(ready) = ready else { panic!("{ready:?}") };
            assert_eq!((ready.session, ready.why, &ready.outcome), (A2, ReadyWhy::Return, &outcome));
        }
        assert!(matches!(sent[2], FromAgent::Reply { id: 1, session: A2, result: Err(_) }));
    }
}
