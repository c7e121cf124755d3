//! An agent that answers by the rules, and a line that loses, damages, merges, repeats and delays what it carries.

use std::collections::{BTreeMap, VecDeque};

use agent_protocol::frame::{self, LineBuffer};
use agent_protocol::message::{
    Answer, Ask, Failure, FromAgent, Outcome, Ready, ReadyWhy, Request, Role, Session,
};

/// A small generator of numbers; the same seed gives the same line.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(2).wrapping_add(1))
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

/// One direction of a line. Faults are limited in number, so that everything is delivered in the end.
#[derive(Debug)]
pub struct NoisyLine {
    numbers: Numbers,
    faults: u32,
    /// Bytes and the tick at which they arrive.
    under_way: VecDeque<(u64, Vec<u8>)>,
}

impl NoisyLine {
    pub fn new(seed: u64, faults: u32) -> NoisyLine {
        NoisyLine { numbers: Numbers::new(seed), faults, under_way: VecDeque::new() }
    }

    pub fn send(&mut self, now: u64, bytes: &[u8]) {
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let mut line = line.to_vec();
            let mut arrives = now + 1;
            if self.faults > 0 && self.numbers.below(2) == 0 {
                self.faults -= 1;
                match self.numbers.below(6) {
                    0 => continue,
                    1 => line[self.numbers.below(1000) % bytes.len().min(20)] ^= 1 << self.numbers.below(8),
                    2 => drop(line.drain(..self.numbers.below(20))),
                    3 => line.truncate(line.len() - 1 - self.numbers.below(20)),
                    // Another copy, long after: behind lines that were sent later.
                    4 => self.under_way.push_back((now + 5 + self.numbers.below(40) as u64, line.clone())),
                    _ => arrives += self.numbers.below(30) as u64,
                }
            }
            self.under_way.push_back((arrives, line));
        }
    }

    pub fn arriving(&mut self, now: u64) -> Vec<u8> {
        let (due, later) = std::mem::take(&mut self.under_way).into_iter().partition(|(at, _)| *at <= now);
        self.under_way = later;
        let due: VecDeque<(u64, Vec<u8>)> = due;
        due.into_iter().flat_map(|(_, line)| line).collect()
    }
}

/// Follows the three rules of `agent_protocol::message`. `ReadText` answers with its path, `Jump` begins a session.
#[derive(Debug)]
pub struct FakeAgent {
    lines: LineBuffer,
    session: Session,
    outcome: Option<Outcome>,
    last: Option<(u64, FromAgent)>,
    /// How often each path was read and each jump made.
    pub executed: BTreeMap<String, u32>,
}

impl FakeAgent {
    /// And the first thing it says.
    pub fn boot() -> (FakeAgent, Vec<u8>) {
        let agent = FakeAgent {
            lines: LineBuffer::default(),
            session: Session { role: Role::Primary, epoch: 1 },
            outcome: None,
            last: None,
            executed: BTreeMap::new(),
        };
        let ready = agent.ready();
        (agent, ready)
    }

    fn ready(&self) -> Vec<u8> {
        let (session, outcome) = (self.session, self.outcome.clone());
        say(&FromAgent::Ready(Ready {
            session,
            why: ReadyWhy::Boot,
            protocol: 1,
            boottime_ms: 0,
            monotonic_ms: 0,
            realtime_ms: 0,
            outcome,
        }))
    }

    pub fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        let lines = self.lines.push(bytes);
        lines
            .into_iter()
            .flat_map(|line| match line.and_then(|line| frame::decode::<Request>(&line)) {
                Ok(request) => self.answer(request),
                Err(error) => say(&FromAgent::Garbled { session: self.session, error }),
            })
            .collect()
    }

    fn answer(&mut self, request: Request) -> Vec<u8> {
        let Request { id, session, ask } = request;
        if ask == Ask::Hello {
            return self.ready();
        }
        match &self.last {
            Some((last, said)) if *last == id && session == self.session => return say(said),
            Some((last, _)) if id < *last => return Vec::new(),
            _ => {}
        }
        if session != self.session {
            let refused = Failure { errno: None, text: format!("meant for {session}") };
            return say(&FromAgent::Reply { id, session: self.session, result: Err(refused) });
        }
        match ask {
            Ask::ReadText { path } => {
                *self.executed.entry(path.clone()).or_default() += 1;
                let reply = FromAgent::Reply { id, session, result: Ok(Answer::Text(path)) };
                self.last = Some((id, reply.clone()));
                say(&reply)
            }
            Ask::Jump { image } => {
                *self.executed.entry(image.unwrap_or_default()).or_default() += 1;
                let going = FromAgent::Going { id, session };
                self.last = Some((id, going.clone()));
                self.session.epoch += 1;
                self.outcome = Some(Outcome { id, result: Ok(Answer::Done) });
                [say(&going), self.ready()].concat()
            }
            other => panic!("not part of the test: {other:?}"),
        }
    }
}

fn say(message: &FromAgent) -> Vec<u8> {
    frame::encode(message).unwrap()
}
