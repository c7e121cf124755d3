//! Everything a machine says, as it says it.

use devices::{DiskAction, DiskEvent, DiskStep, Event, Moment, Observer, Traffic};

use crate::history::History;
use crate::witness::Hit;

/// Keeps what leaves the serial ports. Stops the machine after each line of the agent, after the text somebody waits for, before
/// instructions that are watched, and on nothing else.
#[derive(Default)]
pub struct Tape {
    /// Everything the kernels wrote to the console.
    console: Vec<u8>,
    /// Bytes of the agent nobody has read yet.
    agent: Vec<u8>,
    /// Whether the agent's lines stop the machine.
    pub stop_for_agent: bool,
    awaited: Option<Vec<u8>>,
    seen: bool,
    /// Also told of each byte of the console.
    echo: Option<Box<dyn FnMut(u8)>>,
    watcher: Option<Watcher>,
    matched: bool,
    /// Every event stops the machine: what it does is the same.
    pub stop_everywhere: bool,
    /// How many events there were.
    events: u64,
    /// What happened, in order.
    pub history: History,
    /// Shown what passes between processors and board.
    tracer: Option<Tracer>,
    /// Watched instructions that the machine stopped before, and nobody has looked at yet.
    hits: Vec<Hit>,
    /// Whether requests that are no reads stop the machine when a disk accepts them.
    pub stop_for_requests: bool,
    /// Those that nobody has looked at yet.
    requests: Vec<DiskEvent>,
}

/// Sees what passes between processors and board.
pub type Tracer = Box<dyn FnMut(Moment, Traffic)>;

/// Sees every event, and says whether it is the one that is waited for.
pub type Watcher = Box<dyn FnMut(Moment, &Event) -> bool>;

impl Tape {
    /// Stops the machine in each event that the watcher picks.
    pub fn watch(&mut self, watcher: Watcher) {
        self.watcher = Some(watcher);
        self.matched = false;
    }

    /// Whether the watcher picked an event since the last call.
    pub fn take_matched(&mut self) -> bool {
        std::mem::take(&mut self.matched)
    }

    /// Shows somebody what passes between processors and board from now on; nobody, if none is given.
    pub fn trace_to(&mut self, tracer: Option<Tracer>) {
        self.tracer = tracer;
    }

    /// Watched instructions that the machine stopped before since the last call.
    pub fn take_hits(&mut self) -> Vec<Hit> {
        std::mem::take(&mut self.hits)
    }

    /// Requests that the machine stopped for since the last call.
    pub fn take_requests(&mut self) -> Vec<DiskEvent> {
        std::mem::take(&mut self.requests)
    }

    /// Whether the agent said a line that nobody has read yet.
    pub fn has_line(&self) -> bool {
        self.agent.ends_with(b"\n")
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Also tells somebody of each byte of the console.
    pub fn echo_to(&mut self, echo: Box<dyn FnMut(u8)>) {
        self.echo = Some(echo);
    }

    /// Stops the machine when the console has said this.
    pub fn await_text(&mut self, text: &str) {
        self.awaited = (!text.is_empty()).then(|| text.as_bytes().to_vec());
        self.seen = false;
    }

    /// Whether what was awaited has been said.
    pub fn was_seen(&self) -> bool {
        self.seen
    }

    /// What the agent said since the last call.
    pub fn take_agent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.agent)
    }

    /// Bytes on the console so far.
    pub fn heard(&self) -> usize {
        self.console.len()
    }

    /// What the console said after so many bytes.
    pub fn console_since(&self, bytes: usize) -> String {
        String::from_utf8_lossy(self.console.get(bytes..).unwrap_or_default()).into_owned()
    }

    /// Everything on the console so far.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&self.console).into_owned()
    }

    fn hear(&mut self, byte: u8) -> bool {
        self.console.push(byte);
        if let Some(echo) = &mut self.echo {
            echo(byte);
        }
        let awaited = self.awaited.as_ref().is_some_and(|text| self.console.ends_with(text));
        self.seen |= awaited;
        awaited
    }
}

impl Observer for Tape {
    fn event(&mut self, at: Moment, event: Event) -> bool {
        let picked = self.watcher.as_mut().is_some_and(|watcher| watcher(at, &event));
        self.matched |= picked;
        let heard = match event {
            Event::Serial { port: 0, byte } => self.hear(byte),
            Event::Serial { byte, .. } => {
                self.agent.push(byte);
                self.stop_for_agent && byte == b'\n'
            }
            Event::Executed { point } => {
                self.hits.push(Hit { point, at });
                true
            }
            Event::Disk(event)
                if self.stop_for_requests
                    && event.step == DiskStep::Accepted
                    && !matches!(event.action, DiskAction::Read(_)) =>
            {
                self.requests.push(event);
                true
            }
            _ => false,
        };
        self.history.see(at, event);
        self.events += 1;
        heard || picked || self.stop_everywhere
    }

    fn wants_traffic(&self) -> bool {
        self.tracer.is_some()
    }

    fn traffic(&mut self, at: Moment, traffic: Traffic) {
        if let Some(tracer) = &mut self.tracer {
            tracer(at, traffic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(tape: &mut Tape, port: u8, text: &str) -> Vec<bool> {
        text.bytes().map(|byte| tape.event(Moment::default(), Event::Serial { port, byte })).collect()
    }

    #[test]
    fn it_stops_after_the_text_that_is_awaited_and_after_the_agents_lines() {
        let mut tape = Tape { stop_for_agent: true, ..Tape::default() };
        tape.await_text("ok");
        assert_eq!(say(&mut tape, 0, "xokx"), [false, false, true, false]);
        assert!(tape.was_seen());
        assert_eq!(say(&mut tape, 1, "a\n"), [false, true]);
        assert_eq!((tape.take_agent(), tape.console()), (b"a\n".to_vec(), "xokx".to_owned()));
    }

    #[test]
    fn it_stops_in_the_event_that_is_watched_for() {
        let mut tape = Tape::default();
        let mut seen = 0;
        tape.watch(Box::new(move |_, event| {
            seen += u32::from(matches!(event, Event::Debug { .. }));
            seen == 2
        }));
        let mut debug = || tape.event(Moment::default(), Event::Debug { byte: 7 });
        assert_eq!([debug(), debug(), debug()], [false, true, false]);
        assert_eq!([tape.take_matched(), tape.take_matched()], [true, false]);
    }
}
