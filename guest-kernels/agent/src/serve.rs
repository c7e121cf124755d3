//! The conversation: one request at a time, each executed at most once, in the session it is meant for.

use agent_protocol::frame::PROTOCOL_VERSION;
use agent_protocol::message::{Answer, Ask, Failure, FromAgent, Outcome, Ready, ReadyWhy, Request, Session};
use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};

use crate::failure::failure_with;
use crate::port::Port;

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
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
            u64::try_from(time.tv_sec()).unwrap_or(0) * 1000
                + u64::try_from(time.tv_nsec()).unwrap_or(0) / 1_000_000
        });
        FromAgent::Ready(Ready {
            session: self.session,
            why: self.why,
            protocol: PROTOCOL_VERSION,
            boottime_ms: now,
            outcome: self.outcome.clone(),
        })
    }
}

/// Serves the host. Returns only if the port fails.
///
/// # Errors
/// The port's.
pub fn serve(port: &mut Port, session: Session, performer: &mut impl Perform) -> Result<(), Failure> {
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
