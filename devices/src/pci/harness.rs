//! What a machine is to a device under test.

use ram::GuestRam;

use super::Bus;
use crate::{Context, Device, Event, Lines, Message, Observer, VirtualTime, WorldTime};

pub(super) struct Machine {
    pub now: VirtualTime,
    pub ram: GuestRam,
    pub lines: Lines,
    messages: Vec<Message>,
    pub events: Events,
}

/// Remembers events; stops the machine at this one.
#[derive(Default)]
pub(super) struct Events {
    pub seen: Vec<Event>,
    pub stop_at: Option<Event>,
}

impl Observer for Events {
    fn event(&mut self, _now: VirtualTime, event: Event) -> bool {
        self.seen.push(event);
        self.stop_at == Some(event)
    }
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            now: VirtualTime(1_000),
            ram: GuestRam::new(4 << 20).unwrap(),
            lines: Lines::default(),
            messages: Vec::new(),
            events: Events::default(),
        }
    }

    pub(super) fn with<T>(&mut self, call: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let mut power = None;
        let result = call(&mut Context {
            now: self.now,
            world: WorldTime::default(),
            ram: &self.ram,
            lines: &mut self.lines,
            messages: &mut self.messages,
            power: &mut power,
            observer: &mut self.events,
        });
        assert_eq!(power, None);
        result
    }

    pub(super) fn read(&mut self, bus: &mut Bus, address: u64, size: u8) -> u64 {
        self.with(|cx| bus.read(address, size, cx))
    }

    pub(super) fn write(&mut self, bus: &mut Bus, address: u64, size: u8, value: u64) {
        self.with(|cx| bus.write(address, size, value, cx));
    }

    /// Goes to the next deadline. Whether there was one.
    pub(super) fn step(&mut self, bus: &mut Bus) -> bool {
        let Some(due) = bus.deadline() else { return false };
        self.now = self.now.max(due);
        self.with(|cx| bus.tick(cx));
        true
    }

    pub(super) fn take_messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.messages)
    }
}
