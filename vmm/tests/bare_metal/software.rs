//! Guests on our own machine.

use devices::{Event, Moment, Observer, PowerRequest, VirtualTime};
use firmware::boot::Payload;
use vmm::{Autopsy, Config, Digest, Drive, Entry, Limit, Machine, Stop};

use crate::{End, MEMORY, Run, assemble};

/// Two seconds of the guest's time: more than any of them needs.
pub const LIMIT: Limit = Limit { instructions: None, time: Some(VirtualTime(2_000_000_000)) };

/// What comes out of the debug port.
#[derive(Clone, Default)]
pub struct Log {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Stops the machine when there are so many.
    pub stop_after: Option<usize>,
}

impl Observer for Log {
    fn event(&mut self, _: Moment, event: Event) -> bool {
        if let Event::Debug { byte } = event {
            self.bytes.push(byte);
            return self.stop_after == Some(self.bytes.len());
        }
        false
    }
}

/// A guest in its machine.
pub struct Guest {
    /// The machine.
    pub machine: Machine,
    /// What the guest said.
    pub log: Log,
}

impl Guest {
    /// About to execute its first instruction.
    pub fn new(name: &str, processors: u32) -> Self {
        Self::with(name, Config { processors, ..Config::default() })
    }

    /// The same in another machine.
    pub fn with(name: &str, config: Config) -> Self {
        Self::with_drives(name, config, Vec::new())
    }

    /// The same with disks.
    pub fn with_drives(name: &str, config: Config, drives: Vec<Drive>) -> Self {
        let kernel = assemble::guest(name).bytes();
        let config = Config { memory: MEMORY, ..config };
        let mut machine = Machine::new(config, drives).unwrap();
        let payload = Payload { kernel: &kernel, initrd: None, command_line: "" };
        machine.boot(Entry::Multiboot, &payload).unwrap();
        Self { machine, log: Log::default() }
    }

    /// Runs it to its end.
    pub fn run(&mut self) -> Run {
        let stop = self.machine.run(LIMIT, &mut self.log);
        self.ended(stop)
    }

    /// The same in pieces of so many instructions.
    pub fn run_in_pieces(&mut self, mut pieces: impl Iterator<Item = u64>) -> Run {
        loop {
            let instructions = pieces.next().map(|piece| self.machine.instructions() + piece);
            match self.machine.run(Limit { instructions, ..LIMIT }, &mut self.log) {
                Stop::Instructions => {}
                stop => return self.ended(stop),
            }
        }
    }

    /// Of the machine as it is now.
    pub fn digest(&mut self) -> Digest {
        self.machine.digest()
    }

    /// With what it printed and this.
    pub fn ended(&self, stop: Stop) -> Run {
        let end = match stop {
            Stop::Power(PowerRequest::DebugExit { status }) => End::Exit(status),
            Stop::Power(PowerRequest::Reset) | Stop::TripleFault { .. } => End::Reset,
            other => End::Other(format!("{other:?}\n{}", Autopsy::of(&self.machine))),
        };
        Run { text: String::from_utf8_lossy(&self.log.bytes).into_owned(), end }
    }
}
