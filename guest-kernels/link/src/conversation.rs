//! What to say and what to make of what arrives, without clock, input or output.

use agent_protocol::frame::{self, FrameError, LineBuffer};
use agent_protocol::message::{Answer, Ask, Failure, FromAgent, Ready, Request, Role, Session};

/// How often `garbled` (or an answer from an unknown session) makes us speak at once; after that only silence does.
/// On a line full of noise every piece of it is answered by `garbled`, and answering each would feed the storm.
const PROMPT_REPEATS: u32 = 8;

/// Something the driver has to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A session began. A request that was under way is over: see [`Ready::outcome`].
    Ready(Ready),
    /// The answer to the request under way.
    Reply {
        /// Of the request.
        id: u64,
        /// What came of it.
        result: Result<Answer, Failure>,
    },
    /// The request under way takes the machine away; the session is over.
    Going {
        /// Of the request.
        id: u64,
    },
    /// A line was lost or damaged on its way, in this direction (`Ok`: the agent says so of the other direction).
    Noise(FrameError),
}

#[derive(Debug, Clone)]
struct Pending {
    id: u64,
    session: Session,
    line: Vec<u8>,
}

/// One host talking to one machine, over all its sleeps and boots.
///
/// The driver calls [`Conversation::receive`] with bytes as they arrive, [`Conversation::silence`] when nothing came for
/// a while, and after each call writes what [`Conversation::take_outgoing`] returns to the line.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    lines: LineBuffer,
    outgoing: Vec<u8>,
    last_id: u64,
    /// Who listens, as far as we know. `None` with a request under way: its session is over, the next one unknown.
    session: Option<Session>,
    /// Sessions of this power-on that are over: a late line of theirs means nothing.
    ended: Vec<Session>,
    pending: Option<Pending>,
    prompt_repeats: u32,
}

impl Conversation {
    /// Requests count from here on, at least: where what is said must not depend on how much was said before.
    pub fn count_from(&mut self, id: u64) {
        self.last_id = self.last_id.max(id);
    }

    /// Who listens, or `None` while the machine boots, sleeps or is on its way elsewhere.
    pub fn session(&self) -> Option<Session> {
        self.session
    }

    /// The request without an answer so far.
    pub fn pending(&self) -> Option<u64> {
        self.pending.as_ref().map(|pending| pending.id)
    }

    /// Asks; the answer comes as an event. Returns the request's id, or `None` if nobody listens or another request is
    /// under way.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] if the request does not fit a line.
    pub fn ask(&mut self, ask: &Ask) -> Result<Option<u64>, FrameError> {
        let (Some(session), None) = (self.session, &self.pending) else { return Ok(None) };
        let id = self.last_id + 1;
        let line = frame::encode(&Request { id, session, ask: ask.clone() })?;
        self.last_id = id;
        self.outgoing.extend_from_slice(&line);
        self.pending = Some(Pending { id, session, line });
        self.prompt_repeats = 0;
        Ok(Some(id))
    }

    /// Gives up on the request under way: a late answer to it is ignored.
    pub fn abandon(&mut self) {
        self.pending = None;
    }

    /// The machine lost power or a new one took its place: nobody listens, nothing is on the line. Ids go on counting,
    /// so that a kernel restored from disk, which remembers earlier requests, cannot mistake a new one for an old one.
    pub fn power_lost(&mut self) {
        *self = Conversation { last_id: self.last_id, ..Conversation::default() };
    }

    /// What has to be written to the line.
    pub fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Nothing arrived for a while: repeat the request, or ask whether somebody is there.
    pub fn silence(&mut self) {
        match (self.session, &self.pending) {
            (Some(_), Some(pending)) => self.outgoing.extend_from_slice(&pending.line),
            (Some(_), None) => {}
            (None, _) => self.hello(),
        }
    }

    /// Takes in bytes as they arrive.
    pub fn receive(&mut self, bytes: &[u8]) -> Vec<Event> {
        let lines = self.lines.push(bytes);
        lines
            .into_iter()
            .filter_map(|line| match line.and_then(|line| frame::decode::<FromAgent>(&line)) {
                Ok(message) => self.hear(message),
                Err(error) => Some(Event::Noise(error)),
            })
            .collect()
    }

    fn hear(&mut self, message: FromAgent) -> Option<Event> {
        match message {
            FromAgent::Ready(ready) => self.begin(ready),
            FromAgent::Reply { id, session, result } => {
                let asked = self.pending.as_ref().filter(|pending| pending.id == id)?.session;
                if session == asked {
                    self.pending = None;
                    return Some(Event::Reply { id, result });
                }
                // The request outlived its session and was refused by the next, whose `ready` we missed.
                self.missed_ready();
                None
            }
            FromAgent::Going { id, session } => {
                self.pending.as_ref().filter(|pending| pending.id == id && pending.session == session)?;
                self.end_session();
                Some(Event::Going { id })
            }
            FromAgent::Garbled { session, error } => {
                if self.ended.contains(&session) {
                    return None;
                }
                if self.session != Some(session) {
                    self.missed_ready();
                } else if self.pending.is_some() {
                    self.promptly();
                }
                Some(Event::Noise(error))
            }
        }
    }

    fn begin(&mut self, ready: Ready) -> Option<Event> {
        if self.session == Some(ready.session) || self.ended.contains(&ready.session) {
            return None;
        }
        self.end_session();
        self.session = Some(ready.session);
        Some(Event::Ready(ready))
    }

    fn end_session(&mut self) {
        self.ended.extend(self.session.take());
        self.pending = None;
        self.prompt_repeats = 0;
    }

    /// Somebody speaks from a session that we know nothing of: ours is over. A request under way stays so until
    /// `ready` tells what became of it.
    fn missed_ready(&mut self) {
        self.ended.extend(self.session.take());
        self.promptly();
    }

    /// What silence would make us say, now.
    fn promptly(&mut self) {
        if self.prompt_repeats < PROMPT_REPEATS {
            self.prompt_repeats += 1;
            self.silence();
        }
    }

    fn hello(&mut self) {
        // Answered in any session, whatever session it names.
        let session = Session { role: Role::Primary, epoch: 0 };
        self.last_id += 1;
        let request = Request { id: self.last_id, session, ask: Ask::Hello };
        // A Hello always fits a line.
        self.outgoing.extend(frame::encode(&request).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_protocol::message::{Outcome, ReadyWhy};

    const A1: Session = Session { role: Role::Primary, epoch: 1 };
    const B1: Session = Session { role: Role::Saver, epoch: 1 };

    fn ready(session: Session) -> FromAgent {
        let outcome = Some(Outcome { id: 1, result: Ok(Answer::Done) });
        FromAgent::Ready(Ready {
            session,
            why: ReadyWhy::Boot,
            protocol: 1,
            boottime_ms: 5,
            monotonic_ms: 5,
            realtime_ms: 5,
            outcome,
        })
    }

    fn says(conversation: &mut Conversation, message: &FromAgent) -> Vec<Event> {
        conversation.receive(&frame::encode(message).unwrap())
    }

    fn requests(conversation: &mut Conversation) -> Vec<Request> {
        let bytes = conversation.take_outgoing();
        let lines = LineBuffer::default().push(&bytes);
        lines.into_iter().map(|line| frame::decode(&line.unwrap()).unwrap()).collect()
    }

    fn asking(ask: &Ask) -> (Conversation, Request) {
        let mut host = Conversation::default();
        assert_eq!(host.ask(ask), Ok(None), "nobody listens yet");
        assert_eq!(says(&mut host, &ready(A1)).len(), 1);
        assert_eq!(host.ask(ask), Ok(Some(1)));
        let request = requests(&mut host).remove(0);
        (host, request)
    }

    fn done(id: u64, session: Session) -> FromAgent {
        FromAgent::Reply { id, session, result: Ok(Answer::Done) }
    }

    #[test]
    fn one_question_at_a_time_and_its_answer() {
        let (mut host, request) = asking(&Ask::Sync);
        assert_eq!(request, Request { id: 1, session: A1, ask: Ask::Sync });
        assert_eq!(host.ask(&Ask::Identify), Ok(None), "one request at a time");
        assert_eq!(says(&mut host, &done(9, A1)), vec![], "the answer to another question");
        assert_eq!(says(&mut host, &done(1, A1)), vec![Event::Reply { id: 1, result: Ok(Answer::Done) }]);
        assert_eq!(says(&mut host, &done(1, A1)), vec![], "a second answer");
    }

    #[test]
    fn silence_and_garbled_repeat_the_same_request() {
        let (mut host, request) = asking(&Ask::Sync);
        host.silence();
        assert_eq!(requests(&mut host), vec![request.clone()]);
        let garbled = FromAgent::Garbled { session: A1, error: FrameError::Version(7) };
        assert_eq!(says(&mut host, &garbled), vec![Event::Noise(FrameError::Version(7))]);
        assert_eq!(requests(&mut host), vec![request]);
    }

    #[test]
    fn a_storm_of_garbled_is_not_fed() {
        let (mut host, _) = asking(&Ask::Sync);
        for _ in 0..100 {
            says(&mut host, &FromAgent::Garbled { session: A1, error: FrameError::Version(7) });
        }
        assert_eq!(requests(&mut host).len(), 8);
        host.silence();
        assert_eq!(requests(&mut host).len(), 1);
    }

    #[test]
    fn going_ends_the_session_and_its_late_lines_mean_nothing() {
        let (mut host, _) = asking(&Ask::Jump { image: None });
        let going = FromAgent::Going { id: 1, session: A1 };
        assert_eq!(says(&mut host, &going), vec![Event::Going { id: 1 }]);
        assert_eq!(host.session(), None);
        assert_eq!(says(&mut host, &ready(A1)), vec![], "late");
        assert_eq!(says(&mut host, &ready(B1)).len(), 1);
        assert_eq!(says(&mut host, &ready(B1)), vec![], "twice");
        assert_eq!(host.session(), Some(B1));
    }

    #[test]
    fn a_lost_going_is_understood_from_the_next_ready() {
        let (mut host, _) = asking(&Ask::Jump { image: None });
        assert!(matches!(says(&mut host, &ready(B1))[..], [Event::Ready(_)]));
        assert_eq!(host.pending(), None);
    }

    #[test]
    fn a_lost_ready_is_asked_for() {
        let (mut host, _) = asking(&Ask::Jump { image: None });
        let refused = Failure { errno: None, text: "meant for A1".into() };
        assert_eq!(says(&mut host, &FromAgent::Reply { id: 1, session: B1, result: Err(refused) }), vec![]);
        assert_eq!(requests(&mut host)[0].ask, Ask::Hello);
        assert!(matches!(says(&mut host, &ready(B1))[..], [Event::Ready(_)]));
    }

    #[test]
    fn after_a_power_cut_ids_go_on_and_nothing_else_does() {
        let (mut host, _) = asking(&Ask::Sync);
        host.receive(b"half a li");
        host.power_lost();
        assert!(matches!(says(&mut host, &ready(A1))[..], [Event::Ready(_)]), "sessions are new to us");
        assert_eq!(host.ask(&Ask::Sync), Ok(Some(2)));
    }

    #[test]
    fn an_echo_of_our_own_words_is_noise() {
        let (mut host, request) = asking(&Ask::Sync);
        let events = host.receive(&frame::encode(&request).unwrap());
        assert!(matches!(events[..], [Event::Noise(FrameError::UnknownMessage(_))]));
    }
}
