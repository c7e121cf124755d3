//! The serial port the host speaks on, in raw mode.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use agent_protocol::frame::{self, FrameError, LineBuffer};
use agent_protocol::message::{Failure, FromAgent, Request};
use nix::sys::termios::{ControlFlags, SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr};

use crate::failure::{While, failure};
use crate::serve::Channel;

/// The port.
#[derive(Debug)]
pub struct Port {
    file: File,
    lines: LineBuffer,
    /// Lines that arrived together with the one returned last.
    arrived: std::collections::VecDeque<Result<Vec<u8>, FrameError>>,
}

impl Port {
    /// Opens the port and makes it raw.
    ///
    /// # Errors
    /// If there is no such port.
    pub fn open(path: &str) -> Result<Port, Failure> {
        let opening = || format!("opening the agent's port {path}");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(path)
            .while_doing(opening)?;
        let port = Port { file, lines: LineBuffer::default(), arrived: Default::default() };
        port.make_raw().while_doing(opening)?;
        Ok(port)
    }

    /// Raw mode, no echo. Repeated after every sleep: a driver that comes back may have forgotten it.
    fn make_raw(&self) -> nix::Result<()> {
        let mut settings = tcgetattr(&self.file)?;
        cfmakeraw(&mut settings);
        // cfsetspeed(3) is a versioned symbol that a static glibc does not have.
        settings.control_flags.remove(ControlFlags::from_bits_retain(libc::CBAUD));
        settings.control_flags.insert(ControlFlags::from_bits_retain(libc::B115200));
        tcsetattr(&self.file, SetArg::TCSANOW, &settings)
    }
}

impl Channel for Port {
    /// Half a line from before the machine was away is worth nothing.
    fn reopen(&mut self) -> Result<(), Failure> {
        self.lines = LineBuffer::default();
        self.arrived.clear();
        self.make_raw().while_doing(|| "setting up the agent's port again".into())
    }

    fn receive(&mut self) -> Result<Result<Request, FrameError>, Failure> {
        let mut bytes = [0; 256];
        loop {
            if let Some(line) = self.arrived.pop_front() {
                return Ok(line.and_then(|line| frame::decode(&line)));
            }
            match self.file.read(&mut bytes) {
                Ok(0) => return Err(failure("the agent's port was closed")),
                Ok(len) => self.arrived.extend(self.lines.push(&bytes[..len])),
                // A freezing system interrupts us.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).while_doing(|| "reading the agent's port".into()),
            }
        }
    }

    /// Sends a line and waits until it has left the machine. A message that does not fit into a line is replaced by a failure that
    /// says so.
    fn send(&mut self, message: &FromAgent) -> Result<(), Failure> {
        let line = frame::encode(message).or_else(|error| {
            let text = format!("the answer does not fit: {error}");
            match message {
                FromAgent::Reply { id, session, .. } => frame::encode(&FromAgent::Reply {
                    id: *id,
                    session: *session,
                    result: Err(failure(text)),
                }),
                FromAgent::Ready(ready) => {
                    let outcome = ready.outcome.as_ref().map(|outcome| agent_protocol::message::Outcome {
                        id: outcome.id,
                        result: Err(failure(text)),
                    });
                    frame::encode(&FromAgent::Ready(agent_protocol::message::Ready {
                        outcome,
                        ..ready.clone()
                    }))
                }
                FromAgent::Going { .. } | FromAgent::Garbled { .. } => Err(error),
            }
        });
        let sending = || "writing the agent's port".into();
        let line = line.map_err(|error| failure(error.to_string()))?;
        self.file.write_all(&line).while_doing(sending)?;
        tcdrain(&self.file).while_doing(sending)
    }
}
