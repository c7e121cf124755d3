//! A machine with the agent in it, talked to in virtual time.
//!
//! Nothing depends on the host's clock: how long somebody is patient is measured in the guest's time, and what the host says enters
//! the machine a fixed time after what it answers.

use std::collections::BTreeMap;

use agent_link::{Conversation, Event};
use agent_protocol::message::{Answer, Ask, Failure, Outcome, Ready, Session};
use devices::{DiskAction, DiskEvent, Moment, PowerRequest};
use thiserror::Error;
use vmm::power::PowerState;
use vmm::trigger::{Match, Triggers};
use vmm::{Limit, Machine, Stop};

use crate::history::Happening;
use crate::language::FaultSpec;
use crate::tape::Tape;
use crate::witness::Witness;

/// Nanoseconds from what the agent says to the first byte of the host's answer.
const REPLY_AFTER: u64 = 100_000;
/// Nanoseconds without a word after which the host repeats itself.
const PATIENCE: u64 = 5_000_000_000;

/// The agent did not do as hoped.
#[derive(Debug, Error)]
pub enum GuestError {
    /// The machine stopped.
    #[error("the machine stopped while the agent was waited for: {0:?}")]
    Stopped(Stop),
    /// What was watched for happened; the machine stands where it happened.
    #[error("stopped by a trigger at instruction {}", .0.at.instructions)]
    Triggered(Match),
    /// Too long.
    #[error("no word from the agent within {} s of the guest's time", .within / 1_000_000_000)]
    Silent {
        /// Nanoseconds.
        within: u64,
    },
    /// It said no.
    #[error("the agent refused: {0}")]
    Refused(Failure),
    /// The session is over.
    #[error("the machine went away instead of answering")]
    WentAway,
    /// It should sleep, or be off or reset.
    #[error("the machine did not go away: whoever was asked came back, and says that all went well")]
    CameBack,
    /// Asked while nobody listens, or too much to say.
    #[error("cannot ask now: {0}")]
    Ask(String),
}

/// Something that is done at a trigger, after which the machine goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// The power button is pressed.
    Button,
    /// The alarm of the real-time clock goes off after this many nanoseconds.
    Alarm {
        /// From then.
        after: u64,
    },
    /// Whoever runs the machine wakes it.
    Wake,
    /// Requests to a disk go wrong from then on.
    Fault {
        /// Number of the disk.
        disk: usize,
        /// Place of the fault in its configuration.
        place: usize,
        /// It.
        fault: FaultSpec,
    },
}

/// A machine and the conversation with its agent.
pub struct Guest {
    /// The machine.
    pub machine: Machine,
    /// What it said.
    pub tape: Tape,
    /// Looks at it from outside.
    pub witness: Option<Witness>,
    /// What it is to stop at.
    triggers: Triggers,
    /// How many of those that matched have been told of.
    told: usize,
    /// What is done when a trigger matches, by its number. Those without one stop what is under way.
    deeds: BTreeMap<usize, Deed>,
    /// Deeds that were done, and when.
    pub done: Vec<(Deed, Match)>,
    /// What is to wake the machine, which sleeps.
    woken_by: Option<Deed>,
    conversation: Conversation,
    /// Who listens, or listened last.
    session: Option<Session>,
    /// Came back before anybody waited for it.
    arrived: Option<Ready>,
}

impl Guest {
    /// Around a machine that is about to boot.
    pub fn new(machine: Machine) -> Self {
        let mut tape = Tape::default();
        tape.stop_for_agent = true;
        Self {
            machine,
            tape,
            witness: None,
            triggers: Triggers::default(),
            told: 0,
            deeds: BTreeMap::new(),
            done: Vec::new(),
            woken_by: None,
            conversation: Conversation::default(),
            session: None,
            arrived: None,
        }
    }

    /// Stops at these from now on, and at no others: what is under way then ends with [`GuestError::Triggered`].
    pub fn watch_for(&mut self, triggers: Triggers) {
        self.triggers = triggers;
        self.told = 0;
        self.deeds.clear();
    }

    /// At the trigger of this number this is done, and nothing stops.
    pub fn at_trigger(&mut self, number: usize, deed: Deed) {
        self.deeds.insert(number, deed);
    }

    /// Does something to the machine, now.
    pub fn perform(&mut self, deed: Deed, found: Match) {
        self.done.push((deed.clone(), found));
        let state = self.machine.power_state();
        match deed {
            Deed::Fault { disk, place, fault } => self.set_fault(disk, place, Some(&fault)),
            Deed::Alarm { after } => self.machine.move_alarm(after, &mut self.tape),
            Deed::Button if state == PowerState::S0 => self.machine.press_power_button(&mut self.tape),
            Deed::Button | Deed::Wake if state == PowerState::S3 => self.woken_by = Some(deed),
            // A button switches a machine on, which the scenario's steps do; one that is awake needs no waking.
            Deed::Button | Deed::Wake => {}
        }
    }

    /// What wakes the machine, if a trigger said so since the last call.
    pub fn take_wake(&mut self) -> Option<Deed> {
        self.woken_by.take()
    }

    /// A fault of a disk counts from now on. None: it strikes no more.
    pub fn set_fault(&mut self, disk: usize, place: usize, fault: Option<&FaultSpec>) {
        if let Some(disk) = self.machine.board_mut().pci.disks_mut().nth(disk) {
            let fault = fault.map_or(FaultSpec::idle(), |fault| fault.fault(disk.counters()));
            // That a disk can have it was seen when the scenario was read.
            let _ = disk.set_fault(place, fault);
        }
    }

    /// What is watched for, to watch for more.
    pub fn triggers_mut(&mut self) -> &mut Triggers {
        &mut self.triggers
    }

    /// Whether something that was watched for happened and nobody was told yet.
    ///
    /// # Errors
    /// [`GuestError::Triggered`].
    pub fn untold(&mut self) -> Result<(), GuestError> {
        while let Some(found) = self.triggers.matched().get(self.told).copied() {
            self.told += 1;
            match self.deeds.get(&found.trigger) {
                Some(deed) => self.perform(deed.clone(), found),
                None => return Err(GuestError::Triggered(found)),
            }
        }
        Ok(())
    }

    fn run(&mut self, limit: Limit) -> Result<Stop, GuestError> {
        loop {
            self.untold()?;
            let stop = self.machine.run_to(&mut self.triggers, limit, &mut self.tape);
            let seen = self.show_hits() | self.show_requests();
            self.untold()?;
            if !seen || stop != Stop::Triggered || self.tape.has_line() {
                return Ok(stop);
            }
        }
    }

    /// Shows the witness the watched instructions that the machine stands before, if there are any.
    fn show_hits(&mut self) -> bool {
        let hits = self.tape.take_hits();
        if let Some(witness) = &mut self.witness {
            hits.iter().for_each(|hit| witness.sees(&mut self.machine, *hit));
        }
        !hits.is_empty()
    }

    /// From now on the history says who is behind requests, of kernels that have their symbols in memory. To be called again when another
    /// kernel is there. The machine does the same as without.
    pub fn narrate(&mut self) {
        self.tape.stop_for_requests = true;
        self.machine.watch_authors();
    }

    /// Writes down who is behind the requests that the machine stopped for, if there are any.
    fn show_requests(&mut self) -> bool {
        let requests = self.tape.take_requests();
        for DiskEvent { disk, request, action, .. } in &requests {
            let authors = match action {
                DiskAction::Write { extent, .. }
                | DiskAction::Discard(extent)
                | DiskAction::WriteZeroes(extent) => self.machine.write_authors(*disk, *extent),
                DiskAction::Flush => self.machine.flush_authors(),
                DiskAction::Read(_) => Vec::new(),
            };
            if !authors.is_empty() {
                let authors = authors.iter().map(ToString::to_string).collect();
                self.note(Happening::Authors { disk: *disk, request: *request, authors });
            }
        }
        !requests.is_empty()
    }

    /// Tells the witness, if there is one, of what is done to the machine.
    pub fn tell(&mut self, what: impl FnOnce(&mut Witness, &mut Machine)) {
        if let Some(witness) = &mut self.witness {
            what(witness, &mut self.machine);
        }
    }

    /// Waits until an agent is ready, at most this many nanoseconds of the guest's time.
    ///
    /// # Errors
    /// [`GuestError`].
    pub fn wait_ready(&mut self, within: u64) -> Result<Ready, GuestError> {
        if let Some(ready) = self.arrived.take() {
            return Ok(ready);
        }
        loop {
            if let Event::Ready(ready) = self.next_event(within)? {
                return Ok(ready);
            }
        }
    }

    /// The next one that waits for an agent gets this one.
    pub fn put_back(&mut self, ready: Ready) {
        self.arrived = Some(ready);
    }

    /// Asks the agent and waits for its answer, at most this many nanoseconds of the guest's time.
    ///
    /// # Errors
    /// [`GuestError`].
    pub fn ask(&mut self, ask: &Ask, within: u64) -> Result<Answer, GuestError> {
        self.say(ask)?;
        self.answer(within)
    }

    /// Waits for the answer to what was asked before the machine was stopped.
    ///
    /// # Errors
    /// [`GuestError`].
    pub fn answer(&mut self, within: u64) -> Result<Answer, GuestError> {
        match self.next_event(within)? {
            Event::Reply { result, .. } => result.map_err(GuestError::Refused),
            Event::Ready(_) | Event::Going { .. } | Event::Noise(_) => Err(GuestError::WentAway),
        }
    }

    fn say(&mut self, ask: &Ask) -> Result<(), GuestError> {
        match self.conversation.ask(ask) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(GuestError::Ask("nobody listens".into())),
            Err(error) => Err(GuestError::Ask(error.to_string())),
        }
    }

    /// Asks for something that takes the machine away; returns when it goes, or has come back already.
    ///
    /// # Errors
    /// [`GuestError`].
    pub fn depart(&mut self, ask: &Ask, within: u64) -> Result<(), GuestError> {
        self.say(ask)?;
        match self.next_event(within)? {
            Event::Going { .. } => Ok(()),
            Event::Reply { result: Err(failure), .. } => Err(GuestError::Refused(failure)),
            Event::Ready(ready) => {
                self.arrived = Some(ready);
                Ok(())
            }
            Event::Reply { .. } | Event::Noise(_) => Err(GuestError::WentAway),
        }
    }

    /// Runs until a device asks for sleep, reset or the end, at most this many nanoseconds of the guest's time.
    ///
    /// # Errors
    /// [`GuestError`].
    pub fn run_to_power_request(&mut self, within: u64) -> Result<PowerRequest, GuestError> {
        let limit = Limit { time: Some(self.machine.now().after(within)), instructions: None };
        loop {
            match self.run(limit)? {
                Stop::Power(request) => return Ok(request),
                Stop::Triggered => self.is_still_away()?,
                Stop::Time => return Err(GuestError::Silent { within }),
                stop => return Err(GuestError::Stopped(stop)),
            }
        }
    }

    /// Whoever went has not come back without ever having been away.
    fn is_still_away(&mut self) -> Result<(), GuestError> {
        let said = self.tape.take_agent();
        for event in self.conversation.receive(&said) {
            self.write_down(&event);
            let Event::Ready(ready) = event else { continue };
            return Err(match ready.outcome {
                Some(Outcome { result: Err(failure), .. }) => GuestError::Refused(failure),
                _ => GuestError::CameBack,
            });
        }
        Ok(())
    }

    /// The machine lost its power or was reset: nobody listens, and nothing is on the line.
    pub fn power_lost(&mut self) {
        self.conversation.power_lost();
        self.tape.take_agent();
    }

    /// Lets the guest run for this many nanoseconds of its time without saying anything.
    pub fn rest(&mut self, nanoseconds: u64) {
        let end = self.machine.now().after(nanoseconds);
        let limit = Limit { time: Some(end), instructions: None };
        // A trigger that matches here is told of by whatever comes next.
        while self.run_quietly(limit) == Stop::Triggered {}
    }

    fn run_quietly(&mut self, limit: Limit) -> Stop {
        let stop = self.machine.run_to(&mut self.triggers, limit, &mut self.tape);
        self.show_hits();
        self.show_requests();
        while let Some(found) = self.triggers.matched().get(self.told).copied()
            && let Some(deed) = self.deeds.get(&found.trigger).cloned()
        {
            self.told += 1;
            self.perform(deed, found);
        }
        match stop {
            Stop::Triggered if self.triggers.matched().len() > self.told => Stop::Time,
            stop => stop,
        }
    }

    /// The next event that is not noise.
    fn next_event(&mut self, within: u64) -> Result<Event, GuestError> {
        let end = self.machine.now().after(within);
        let mut speak = self.machine.now().after(PATIENCE);
        loop {
            let outgoing = self.conversation.take_outgoing();
            if !outgoing.is_empty() {
                self.machine.receive(1, &outgoing, REPLY_AFTER, &mut self.tape);
            }
            let limit = Limit { time: Some(speak.min(end)), instructions: None };
            match self.run(limit)? {
                Stop::Triggered if self.tape.take_matched() => {
                    return Err(GuestError::Stopped(Stop::Triggered));
                }
                Stop::Triggered => {}
                Stop::Time if self.machine.now() >= end => return Err(GuestError::Silent { within }),
                Stop::Time => {
                    self.conversation.silence();
                    speak = self.machine.now().after(PATIENCE);
                }
                stop => return Err(GuestError::Stopped(stop)),
            }
            let said = self.tape.take_agent();
            let events = self.conversation.receive(&said);
            if let Some(event) = events.into_iter().find(|event| !matches!(event, Event::Noise(_))) {
                self.write_down(&event);
                return Ok(event);
            }
        }
    }

    /// Writes into the history what the agent said of itself.
    fn write_down(&mut self, event: &Event) {
        let happening = match event {
            Event::Ready(ready) => {
                self.session = Some(ready.session);
                if self.tape.stop_for_requests {
                    // Perhaps another kernel than the one that was watched.
                    self.machine.watch_authors();
                }
                self.tell(|witness, machine| witness.hears(machine, ready));
                Happening::Ready { session: ready.session, why: ready.why }
            }
            Event::Going { .. } => match self.session {
                Some(session) => Happening::Going { session },
                None => return,
            },
            Event::Reply { .. } | Event::Noise(_) => return,
        };
        self.note(happening);
    }

    /// Writes into the history what happened now.
    pub fn note(&mut self, happening: Happening) {
        self.tape.history.note(self.moment(), happening);
    }

    /// Now.
    pub fn moment(&self) -> Moment {
        let (time, instructions) = (self.machine.now(), self.machine.instructions());
        Moment { time, instructions, processor: None }
    }
}
