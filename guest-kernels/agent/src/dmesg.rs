//! Kernel messages from /dev/kmsg.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use agent_protocol::message::{Dmesg, Failure};
use nix::errno::Errno;

use crate::failure::While;

/// Bytes of messages that fit into a line beside the rest of the answer, escapes included.
const BUDGET: usize = 1500;
/// Longest message given out.
const LONGEST: usize = 400;

/// Messages from sequence number `since` on, as many as fit.
///
/// # Errors
/// If /dev/kmsg cannot be read.
pub fn since(since: u64) -> Result<Dmesg, Failure> {
    let reading = || "reading /dev/kmsg".into();
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")
        .while_doing(reading)?;
    let mut answer = Dmesg { next: since, more: false, lost: false, lines: Vec::new() };
    let (mut room, mut record) = (BUDGET, vec![0; 8192]);
    loop {
        let len = match file.read(&mut record) {
            Ok(len) => len,
            Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => return Ok(answer),
            // Overwritten under us: the next read gives the oldest message there is.
            Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => continue,
            Err(error) => return Err(error).while_doing(reading),
        };
        let Some(message) = Message::parse(&String::from_utf8_lossy(&record[..len])) else { continue };
        if message.sequence < since {
            continue;
        }
        let cost = message.line.len() + message.line.matches(['"', '\\']).count() + 3;
        if cost > room {
            answer.more = true;
            return Ok(answer);
        }
        answer.lost |= message.sequence > answer.next && since > 0 && answer.lines.is_empty();
        room -= cost;
        answer.next = message.sequence + 1;
        answer.lines.push(message.line);
    }
}

/// A record: `priority,sequence,microseconds,flags;text`, then continuation lines.
struct Message {
    sequence: u64,
    line: String,
}

impl Message {
    fn parse(record: &str) -> Option<Message> {
        let (prefix, rest) = record.split_once(';')?;
        let mut fields = prefix.split(',');
        let priority: u32 = fields.next()?.parse().ok()?;
        let sequence = fields.next()?.parse().ok()?;
        let microseconds = fields.next()?;
        let text: String = rest.lines().next()?.chars().filter(|c| !c.is_control()).collect();
        let mut line = format!("{},{microseconds};{text}", priority & 7);
        if line.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
            line.truncate(end);
        }
        Some(Message { sequence, line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read() {
        let message = Message::parse("30,339,5140900,-;NET: Registered\n SUBSYSTEM=net\n").unwrap();
        assert_eq!((message.sequence, message.line.as_str()), (339, "6,5140900;NET: Registered"));
        assert!(Message::parse("garbage").is_none());
    }
}
