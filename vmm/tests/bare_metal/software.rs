//! Guests on our own machine.

use devices::{Event, Observer, PowerRequest, VirtualTime};
use firmware::boot::Payload;
use vmm::{Autopsy, Config, Entry, Limit, Machine, Stop};

use crate::{End, MEMORY, Run, assemble};

/// Two seconds of the guest's time: more than any of them needs.
const LIMIT: Limit = Limit { instructions: None, time: Some(VirtualTime(2_000_000_000)) };

/// What comes out of the debug port.
#[derive(Default)]
struct Log(Vec<u8>);

impl Observer for Log {
    fn event(&mut self, _: VirtualTime, event: Event) -> bool {
        if let Event::Debug { byte } = event {
            self.0.push(byte);
        }
        false
    }
}

/// Runs a guest to its end.
pub fn run(name: &str, processors: u32) -> Run {
    let guest = assemble::guest(name, "software");
    let config = Config { processors, memory: MEMORY, ..Config::default() };
    let mut machine = Machine::new(config, Vec::new()).unwrap();
    let payload = Payload { kernel: &guest.bytes, initrd: None, command_line: "" };
    machine.boot(Entry::Multiboot, &payload).unwrap();
    let mut log = Log::default();
    let end = match machine.run(LIMIT, &mut log) {
        Stop::Power(PowerRequest::DebugExit { status }) => End::Exit(status),
        Stop::Power(PowerRequest::Reset) | Stop::TripleFault { .. } => End::Reset,
        other => End::Other(format!("{other:?}\n{}", Autopsy::of(&machine))),
    };
    Run { text: String::from_utf8_lossy(&log.0).into_owned(), end }
}
