//! A bench to test a device on: memory, lines and a clock, without a machine.

use std::fmt::Debug;

use proptest::prelude::*;
use ram::GuestRam;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Context, Device, DiskEvent, DiskStep, Event, Lines, Message, Moment, Observer, PowerRequest, VirtualTime,
    WorldTime,
};

/// Everything a [`Context`] refers to.
pub(crate) struct Bench {
    pub(crate) now: VirtualTime,
    /// World time at run time 0.
    pub(crate) epoch: u64,
    pub(crate) ram: GuestRam,
    pub(crate) lines: Lines,
    pub(crate) messages: Vec<Message>,
    pub(crate) power: Option<PowerRequest>,
    pub(crate) events: Events,
    /// A trigger matched.
    pub(crate) stopped: bool,
    /// Every byte read or written and every change of the interrupt lines, a line each.
    pub(crate) trace: String,
}

/// Events in the order they came.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) seen: Vec<Event>,
    /// The step of a request to a disk that stops the machine.
    pub(crate) stop_at: Option<(u64, DiskStep)>,
}

impl Events {
    /// Takes what was seen of requests to disks.
    pub(crate) fn take_disk_steps(&mut self) -> Vec<(u64, DiskStep)> {
        std::mem::take(&mut self.seen).into_iter().filter_map(disk_step).collect()
    }

    /// What was seen last, if it was a request to a disk.
    pub(crate) fn last_disk_step(&self) -> Option<(u64, DiskStep)> {
        self.seen.last().copied().and_then(disk_step)
    }
}

fn disk_step(event: Event) -> Option<(u64, DiskStep)> {
    match event {
        Event::Disk(DiskEvent { request, step, .. }) => Some((request, step)),
        _ => None,
    }
}

impl Observer for Events {
    fn event(&mut self, _: Moment, event: Event) -> bool {
        self.seen.push(event);
        self.stop_at.is_some() && self.stop_at == disk_step(event)
    }
}

impl Bench {
    /// A bench with one page of memory at run time 0, which is 2026-01-02 03:04:05 UTC.
    pub(crate) fn new() -> Self {
        Self::with_memory(4096)
    }

    /// The same with more memory, in bytes.
    #[allow(clippy::unwrap_used, reason = "a test asks for little")]
    pub(crate) fn with_memory(bytes: u64) -> Self {
        Self {
            now: VirtualTime(0),
            epoch: 1_767_323_045_000_000_000,
            ram: GuestRam::new(bytes).unwrap(),
            lines: Lines::default(),
            messages: Vec::new(),
            power: None,
            events: Events::default(),
            stopped: false,
            trace: String::new(),
        }
    }

    /// For one call: a machine that was stopped goes on with it.
    pub(crate) fn cx(&mut self) -> Context<'_> {
        self.stopped = false;
        Context {
            now: self.now,
            world: WorldTime(self.epoch + self.now.0),
            ram: &self.ram,
            lines: &mut self.lines,
            messages: &mut self.messages,
            power: &mut self.power,
            instructions: 0,
            processor: None,
            observer: &mut self.events,
            stop: &mut self.stopped,
        }
    }

    /// A read of one byte, as a driver does it; the time a port takes passes.
    pub(crate) fn inb(&mut self, device: &mut impl Device, port: u16) -> u8 {
        let value = device.read(u64::from(port), 1, &mut self.cx()) as u8;
        self.note(&format!("in  {port:03x} -> {value:02x}"));
        self.now = self.now.after(PORT_TIME);
        value
    }

    /// A write of one byte, as a driver does it; the time a port takes passes.
    pub(crate) fn outb(&mut self, device: &mut impl Device, port: u16, value: u8) {
        device.write(u64::from(port), 1, u64::from(value), &mut self.cx());
        self.note(&format!("out {port:03x} <- {value:02x}"));
        self.now = self.now.after(PORT_TIME);
    }

    /// Adds to the trace, with the lines that rose or are active.
    pub(crate) fn note(&mut self, what: &str) {
        let (risen, active) = (self.lines.take_risen(), self.lines.active);
        let list = |bits: u32| (0..32).filter(move |n| bits & 1 << n != 0).map(|n| format!(" {n}"));
        let mut line = what.to_owned();
        if risen | active != 0 {
            line = format!("{line:24} active:{}", list(active).collect::<String>());
        }
        if risen != 0 {
            line = format!("{line:38} risen:{}", list(risen).collect::<String>());
        }
        self.trace += &line;
        self.trace.push('\n');
    }

    /// Goes to the device's next deadline. Returns whether it had one.
    pub(crate) fn step(&mut self, device: &mut impl Device) -> bool {
        let Some(due) = device.deadline() else { return false };
        self.now = self.now.max(due);
        device.tick(&mut self.cx());
        true
    }

    /// Goes from deadline to deadline until the device has none, which is soon.
    pub(crate) fn settle(&mut self, device: &mut impl Device) {
        let steps = (0..10_000).take_while(|_| self.step(device)).count();
        assert!(steps < 10_000, "the device never comes to rest");
    }

    /// Lets time pass, calling the device at its deadlines.
    pub(crate) fn pass(&mut self, device: &mut impl Device, nanoseconds: u64) {
        let end = self.now.after(nanoseconds);
        while let Some(due) = device.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            device.tick(&mut self.cx());
            assert!(device.deadline() != Some(due), "the deadline {due:?} stays after its tick");
        }
        self.now = end;
    }

    /// Whatever a guest does to a device, at whatever time. The device stays what all devices are: plain data, to which calls too many
    /// change nothing.
    #[allow(clippy::unwrap_used, reason = "plain data can be written")]
    pub(crate) fn abuse<D>(&mut self, device: &mut D, ports: &[u64], abuses: &[Abuse])
    where
        D: Device + Clone + PartialEq + Debug + Serialize + DeserializeOwned,
    {
        for Abuse { port, size, write, pause } in abuses {
            let address = ports.get(usize::from(*port) % ports.len().max(1)).copied().unwrap_or(0);
            match write {
                Some(value) => device.write(address, *size, *value, &mut self.cx()),
                None => {
                    device.read(address, *size, &mut self.cx());
                }
            }
            self.pass(device, u64::from(*pause));
            if device.deadline().is_none_or(|due| due > self.now) {
                let (before, lines) = (device.clone(), self.lines);
                device.tick(&mut self.cx());
                assert_eq!((&*device, self.lines), (&before, lines), "a tick without need");
            }
        }
        let written = serde_json::to_string(device).unwrap();
        assert_eq!(serde_json::from_str::<D>(&written).unwrap(), *device);
    }
}

/// Nanoseconds.
const PORT_TIME: u64 = 700;

/// One access, and the time until the next.
#[derive(Debug, Clone)]
pub(crate) struct Abuse {
    port: u8,
    size: u8,
    write: Option<u64>,
    pause: u32,
}

/// Some of them.
pub(crate) fn abuses() -> impl Strategy<Value = Vec<Abuse>> {
    let size = prop_oneof![4 => Just(1u8), 1 => Just(2), 1 => Just(4), 1 => any::<u8>()];
    let write = prop_oneof![Just(None), any::<u64>().prop_map(Some), (0u64..256).prop_map(Some)];
    let pause = prop_oneof![4 => Just(700u32), 2 => 0u32..100_000, 1 => 0u32..50_000_000];
    let abuse = (any::<u8>(), size, write, pause).prop_map(|(port, size, write, pause)| Abuse {
        port,
        size,
        write,
        pause,
    });
    proptest::collection::vec(abuse, 0..60)
}
