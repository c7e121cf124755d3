//! Drives a conversation over a blocking stream, with timeouts.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use agent_protocol::frame::FrameError;
use agent_protocol::message::{Answer, Ask, Failure, Ready, Session};
use thiserror::Error;

use crate::conversation::{Conversation, Event};

/// How long silence lasts before we speak again. Repeating is harmless, see [`agent_protocol::message`].
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Before a request is sent a second time; doubled after each repetition.
    pub repeat: Duration,
    /// Longest time between repetitions.
    pub repeat_at_most: Duration,
    /// Before asking whether somebody is there, while nobody is known to listen.
    pub hello: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            repeat: Duration::from_secs(2),
            repeat_at_most: Duration::from_secs(16),
            hello: Duration::from_secs(10),
        }
    }
}

/// How a request that takes the machine away took it away.
#[derive(Debug, Clone, PartialEq)]
pub enum Departure {
    /// On its way.
    Going,
    /// Somewhere already; `going` was never seen.
    Arrived(Box<Ready>),
}

/// No answer, or not the one hoped for.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The agent did not do it.
    #[error("{session}: {ask}: {failure}")]
    Refused {
        /// Who refused.
        session: Session,
        /// What.
        ask: String,
        /// Why.
        failure: Failure,
    },
    /// The session ended under the request.
    #[error("{session}: {ask}: the machine went away instead of answering{}", match .to {
        Some(to) => format!(" and came back as {to}"),
        None => String::new(),
    })]
    WentAway {
        /// Who was asked.
        session: Session,
        /// What.
        ask: String,
        /// Where the machine is now, if known.
        to: Option<Session>,
    },
    /// No answer.
    #[error("{session}: {ask}: no answer within {} s (asked {times} times{})", .within.as_secs_f32(), heard(.noise))]
    NoAnswer {
        /// Who was asked.
        session: Session,
        /// What.
        ask: String,
        /// For how long.
        within: Duration,
        /// How often.
        times: u32,
        /// The last thing that arrived and could not be read.
        noise: Option<FrameError>,
    },
    /// No agent says `ready`.
    #[error("no agent said `ready` within {} s{}", .within.as_secs_f32(), heard(.noise))]
    NotReady {
        /// For how long.
        within: Duration,
        /// The last thing that arrived and could not be read.
        noise: Option<FrameError>,
    },
    /// Nobody listens: wait for `ready` first.
    #[error("{ask}: asked while no agent listens or before the last answer came")]
    Busy {
        /// What.
        ask: String,
    },
    /// The request does not fit a line.
    #[error("{ask}: {error}")]
    TooLong {
        /// What.
        ask: String,
        /// How long it is.
        error: FrameError,
    },
    /// The machine closed its end.
    #[error("the machine closed the line")]
    Closed,
    /// The stream failed.
    #[error("the line to the machine failed: {0}")]
    Io(#[from] io::Error),
}

fn heard(noise: &Option<FrameError>) -> String {
    noise.as_ref().map(|noise| format!("; last noise: {noise}")).unwrap_or_default()
}

/// A conversation over a blocking stream.
///
/// A read of the stream has to return [`ErrorKind::WouldBlock`] or [`ErrorKind::TimedOut`] if nothing arrives for a short
/// time (for instance 20 ms), as a socket with a read timeout does.
#[derive(Debug)]
pub struct Link<S> {
    stream: S,
    conversation: Conversation,
    patience: Patience,
    arrived: VecDeque<Ready>,
    noise: Option<FrameError>,
}

enum Wait {
    Event(Event),
    Silence,
    Over,
}

impl<S: Read + Write> Link<S> {
    /// Over a stream to a machine that was just powered on. The conversation is new or comes from the link to the
    /// machine's earlier life, see [`Link::power_lost`].
    pub fn new(stream: S, conversation: Conversation, patience: Patience) -> Link<S> {
        Link { stream, conversation, patience, arrived: VecDeque::new(), noise: None }
    }

    /// Ends the link; the conversation is for the link to the machine's next life.
    pub fn power_lost(mut self) -> Conversation {
        self.conversation.power_lost();
        self.conversation
    }

    /// Who listens.
    pub fn session(&self) -> Option<Session> {
        self.conversation.session()
    }

    /// The stream, for instance to disturb it.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Waits until a session begins that was not returned here before.
    ///
    /// # Errors
    /// [`LinkError::NotReady`], [`LinkError::Closed`] or [`LinkError::Io`].
    pub fn wait_ready(&mut self, within: Duration) -> Result<Ready, LinkError> {
        let end = Instant::now() + within;
        let mut speak = Instant::now() + self.patience.hello;
        loop {
            if let Some(ready) = self.arrived.pop_front() {
                return Ok(ready);
            }
            match self.wait(speak.min(end), end)? {
                Wait::Event(Event::Ready(ready)) => return Ok(ready),
                Wait::Event(_) => {}
                Wait::Silence => {
                    self.conversation.silence();
                    speak = Instant::now() + self.patience.hello;
                }
                Wait::Over => return Err(LinkError::NotReady { within, noise: self.noise.take() }),
            }
        }
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub fn ask(&mut self, ask: &Ask, within: Duration) -> Result<Answer, LinkError> {
        let session = self.session();
        match self.converse(ask, within)? {
            Event::Reply { result: Ok(answer), .. } => Ok(answer),
            other => Err(self.unexpected(session, ask, other)),
        }
    }

    /// Asks for something that takes the machine away and waits until it goes.
    ///
    /// # Errors
    /// Any [`LinkError`]; [`LinkError::Refused`] if the machine stays.
    pub fn depart(&mut self, ask: &Ask, within: Duration) -> Result<Departure, LinkError> {
        let session = self.session();
        match self.converse(ask, within)? {
            Event::Going { .. } => Ok(Departure::Going),
            Event::Ready(ready) => Ok(Departure::Arrived(Box::new(ready))),
            other => Err(self.unexpected(session, ask, other)),
        }
    }

    fn unexpected(&mut self, session: Option<Session>, ask: &Ask, event: Event) -> LinkError {
        let ask = describe(ask);
        let Some(session) = session else { return LinkError::Busy { ask } };
        match event {
            Event::Reply { result: Err(failure), .. } => LinkError::Refused { session, ask, failure },
            Event::Reply { result: Ok(answer), .. } => {
                let text = format!("answered {answer:?} instead of leaving");
                LinkError::Refused { session, ask, failure: Failure { errno: None, text } }
            }
            Event::Ready(ready) => {
                let to = Some(ready.session);
                self.arrived.push_back(ready);
                LinkError::WentAway { session, ask, to }
            }
            Event::Going { .. } | Event::Noise(_) => LinkError::WentAway { session, ask, to: None },
        }
    }

    fn converse(&mut self, ask: &Ask, within: Duration) -> Result<Event, LinkError> {
        let session = self.session();
        let asked =
            self.conversation.ask(ask).map_err(|error| LinkError::TooLong { ask: describe(ask), error })?;
        let (Some(session), Some(_)) = (session, asked) else {
            return Err(LinkError::Busy { ask: describe(ask) });
        };
        let end = Instant::now() + within;
        let mut pause = self.patience.repeat;
        let mut times = 1;
        let mut speak = Instant::now() + pause;
        loop {
            match self.wait(speak.min(end), end)? {
                Wait::Event(event) => return Ok(event),
                Wait::Silence => {
                    self.conversation.silence();
                    times += 1;
                    pause = (pause * 2).min(self.patience.repeat_at_most);
                    speak = Instant::now() + pause;
                }
                Wait::Over => {
                    self.conversation.abandon();
                    let (ask, noise) = (describe(ask), self.noise.take());
                    return Err(LinkError::NoAnswer { session, ask, within, times, noise });
                }
            }
        }
    }

    /// Waits for an event other than noise.
    fn wait(&mut self, silence: Instant, end: Instant) -> Result<Wait, LinkError> {
        let mut bytes = [0; 4096];
        loop {
            let outgoing = self.conversation.take_outgoing();
            if !outgoing.is_empty() {
                self.stream.write_all(&outgoing).and_then(|()| self.stream.flush()).map_err(closed)?;
            }
            let got = match self.stream.read(&mut bytes) {
                Ok(0) => return Err(LinkError::Closed),
                Ok(got) => got,
                Err(error) if is_timeout(&error) => 0,
                Err(error) => return Err(closed(error)),
            };
            let mut events = self.conversation.receive(&bytes[..got]).into_iter();
            let mut first = None;
            for event in events.by_ref() {
                match event {
                    Event::Noise(error) => self.noise = Some(error),
                    event if first.is_none() => first = Some(event),
                    // An answer and, right behind it, the next session (the machine died after answering).
                    Event::Ready(ready) => self.arrived.push_back(ready),
                    Event::Reply { .. } | Event::Going { .. } => {}
                }
            }
            if let Some(event) = first {
                return Ok(Wait::Event(event));
            }
            let now = Instant::now();
            if now >= end {
                return Ok(Wait::Over);
            }
            if now >= silence {
                return Ok(Wait::Silence);
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn closed(error: io::Error) -> LinkError {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => LinkError::Closed,
        _ => LinkError::Io(error),
    }
}

/// The name of a request, with its most telling part.
fn describe(ask: &Ask) -> String {
    let text = format!("{ask:?}");
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
