//! QEMU's machine protocol: JSON objects, one a line, over a socket.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thiserror::Error;

const READ_SLICE: Duration = Duration::from_millis(20);
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// QEMU does not do what it was told.
#[derive(Debug, Error)]
pub enum QmpError {
    /// The socket failed or QEMU ended.
    #[error("QMP: {0}")]
    Io(#[from] io::Error),
    /// Not the protocol.
    #[error("QMP: cannot read `{line}`: {error}")]
    Json {
        /// As it came.
        line: String,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// Refused.
    #[error("QMP: {command}: {text}")]
    Refused {
        /// What.
        command: String,
        /// Why.
        text: String,
    },
    /// No answer.
    #[error("QMP: {command}: no answer within {} s", COMMAND_LIMIT.as_secs())]
    NoAnswer {
        /// To what.
        command: String,
    },
}

/// A connection.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    line: Vec<u8>,
    events: Vec<String>,
    /// Events before this one were waited for.
    next_event: usize,
    closed: bool,
}

impl Qmp {
    /// Over a fresh connection: waits for the greeting and leaves the negotiation mode.
    ///
    /// # Errors
    /// Any [`QmpError`].
    pub fn new(stream: UnixStream) -> Result<Qmp, QmpError> {
        stream.set_read_timeout(Some(READ_SLICE))?;
        let reader = BufReader::new(stream);
        let mut qmp = Qmp { reader, line: Vec::new(), events: Vec::new(), next_event: 0, closed: false };
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Executes a command and returns what it returns.
    ///
    /// # Errors
    /// Any [`QmpError`].
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, QmpError> {
        let mut request = json!({"execute": command});
        if arguments.as_object().is_some_and(|map| !map.is_empty()) {
            request["arguments"] = arguments.clone();
        }
        let mut text = request.to_string();
        text.push('\n');
        self.reader.get_mut().write_all(text.as_bytes())?;
        let end = Instant::now() + COMMAND_LIMIT;
        while Instant::now() < end {
            let Some(message) = self.read()? else {
                if self.closed {
                    return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
                }
                continue;
            };
            if let Some(value) = message.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = message.get("error") {
                let text = error["desc"].as_str().unwrap_or_default().to_owned();
                return Err(QmpError::Refused { command: command.to_owned(), text });
            }
        }
        Err(QmpError::NoAnswer { command: command.to_owned() })
    }

    /// Executes a line of the monitor for people.
    ///
    /// # Errors
    /// Any [`QmpError`].
    pub fn monitor(&mut self, line: &str) -> Result<String, QmpError> {
        let value = self.execute("human-monitor-command", &json!({"command-line": line}))?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// Waits for the next event of this name, passing over others. `false` if it did not come in time or QEMU ended
    /// before it.
    ///
    /// # Errors
    /// Any [`QmpError`].
    pub fn wait_event(&mut self, name: &str, within: Duration) -> Result<bool, QmpError> {
        let end = Instant::now() + within;
        loop {
            if let Some(at) = self.events[self.next_event..].iter().position(|event| event == name) {
                self.next_event += at + 1;
                return Ok(true);
            }
            if self.closed || Instant::now() >= end {
                return Ok(false);
            }
            self.read()?;
        }
    }

    /// All events so far, by name.
    pub fn events(&self) -> &[String] {
        &self.events
    }

    /// Reads a message if one comes within a slice of time; events are kept.
    fn read(&mut self) -> Result<Option<Value>, QmpError> {
        match self.reader.read_until(b'\n', &mut self.line) {
            Ok(0) => {
                self.closed = true;
                return Ok(None);
            }
            Ok(_) if self.line.ends_with(b"\n") => {}
            Ok(_) => return Ok(None),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                self.closed = true;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        let line = std::mem::take(&mut self.line);
        let message: Value = serde_json::from_slice(&line)
            .map_err(|error| QmpError::Json { line: String::from_utf8_lossy(&line).into_owned(), error })?;
        if let Some(name) = message.get("event").and_then(Value::as_str) {
            self.events.push(name.to_owned());
        }
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Says the greeting, then for each line of the script waits for a command and says what the script says.
    fn qemu(script: &'static [&'static str]) -> UnixStream {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            theirs.write_all(b"{\"QMP\": {}}\n").unwrap();
            let mut bytes = [0; 1000];
            for says in script {
                assert!(theirs.read(&mut bytes).unwrap() > 0);
                for part in says.as_bytes().chunks(7) {
                    theirs.write_all(part).unwrap();
                }
            }
        });
        ours
    }

    #[test]
    fn answers_and_events_are_told_apart() {
        let mut qmp = Qmp::new(qemu(&[
            "{\"return\": {}}\n",
            "{\"event\": \"SUSPEND\"}\n{\"return\": \"running\"}\n{\"event\": \"WAKEUP\"}\n",
        ]))
        .unwrap();
        assert_eq!(qmp.monitor("info status").unwrap(), "running");
        assert!(qmp.wait_event("WAKEUP", Duration::from_secs(5)).unwrap());
        assert!(!qmp.wait_event("SUSPEND", Duration::from_secs(5)).unwrap(), "it was before");
        assert_eq!(qmp.events(), ["SUSPEND", "WAKEUP"]);
    }

    #[test]
    fn a_refusal_is_named() {
        let error = Qmp::new(qemu(&["{\"error\": {\"desc\": \"no\"}}\n"])).unwrap_err();
        assert_eq!(error.to_string(), "QMP: qmp_capabilities: no");
    }

    #[test]
    fn the_end_of_qemu_is_no_wait() {
        let mut qmp = Qmp::new(qemu(&["{\"return\": {}}\n"])).unwrap();
        assert!(!qmp.wait_event("SUSPEND", Duration::from_secs(60)).unwrap());
        assert!(matches!(qmp.execute("quit", &json!({})).unwrap_err(), QmpError::Io(_)));
    }
}
