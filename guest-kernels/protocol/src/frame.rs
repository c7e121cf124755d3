//! Lines on the wire: `{"kjvm":3,"crc":"1f2e3d4c","body":{...}}` and a newline, at most [`MAX_LINE`] bytes in all.
//!
//! The checksum (CRC-32, IEEE) covers the bytes of `body` exactly as sent. A serial port that is reset by a sleep state
//! loses or merges bytes; whatever is left of a line then fails one of the checks here and is reported as a
//! [`FrameError`], never taken for a message.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

/// Version of the framing and of the messages in it.
pub const PROTOCOL_VERSION: u32 = 3;

/// Longest line in bytes, newline included. A terminal in canonical mode truncates at 4096; half of it leaves room.
pub const MAX_LINE: usize = 2048;

/// Why a line is not a message.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrameError {
    /// More than [`MAX_LINE`] bytes without a newline, or a message that does not fit.
    #[error("line of {0} bytes, the limit is {MAX_LINE}")]
    TooLong(usize),
    /// Not the JSON of a frame.
    #[error("not a frame: {0}")]
    NotAFrame(String),
    /// The other side speaks another version.
    #[error("protocol version {0}, this side speaks {PROTOCOL_VERSION}")]
    Version(u32),
    /// The body was damaged on the way.
    #[error("checksum {sent} sent, {found} found")]
    Checksum {
        /// As it stood in the line.
        sent: String,
        /// Of the body as it arrived.
        found: String,
    },
    /// An undamaged body that is no known message: the other side is newer, or there is a bug.
    #[error("unknown message: {0}")]
    UnknownMessage(String),
}

#[derive(Serialize)]
struct OutgoingFrame<'a> {
    kjvm: u32,
    crc: String,
    body: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IncomingFrame<'a> {
    kjvm: u32,
    crc: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

fn checksum(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

/// Makes a line, newline included.
///
/// # Errors
/// [`FrameError::TooLong`] if the message does not fit into [`MAX_LINE`].
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, FrameError> {
    let not_a_frame = |error: serde_json::Error| FrameError::NotAFrame(error.to_string());
    let body = serde_json::value::to_raw_value(message).map_err(not_a_frame)?;
    let frame = OutgoingFrame { kjvm: PROTOCOL_VERSION, crc: checksum(body.get()), body: &body };
    let mut line = serde_json::to_vec(&frame).map_err(not_a_frame)?;
    line.push(b'\n');
    if line.len() > MAX_LINE {
        return Err(FrameError::TooLong(line.len()));
    }
    Ok(line)
}

/// Reads a line, with or without its newline.
///
/// # Errors
/// Any [`FrameError`]; the line must then be treated as lost.
pub fn decode<M: DeserializeOwned>(line: &[u8]) -> Result<M, FrameError> {
    if line.len() > MAX_LINE {
        return Err(FrameError::TooLong(line.len()));
    }
    let frame: IncomingFrame<'_> =
        serde_json::from_slice(line).map_err(|error| FrameError::NotAFrame(error.to_string()))?;
    if frame.kjvm != PROTOCOL_VERSION {
        return Err(FrameError::Version(frame.kjvm));
    }
    let found = checksum(frame.body.get());
    if found != frame.crc {
        return Err(FrameError::Checksum { sent: frame.crc, found });
    }
    serde_json::from_str(frame.body.get()).map_err(|error| FrameError::UnknownMessage(error.to_string()))
}

/// Cuts a stream of bytes into lines. Bounded: a line that never ends is dropped and reported once.
#[derive(Debug, Clone, Default)]
pub struct LineBuffer {
    pending: Vec<u8>,
    /// Bytes of an overlong line dropped so far; the rest of it, up to its newline, is dropped too.
    dropped: usize,
}

impl LineBuffer {
    /// Takes in bytes as they arrive and returns the lines they complete (without newline), in order. Empty lines are
    /// left out.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Result<Vec<u8>, FrameError>> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.pending);
                let dropped = std::mem::take(&mut self.dropped);
                if dropped > 0 {
                    lines.push(Err(FrameError::TooLong(dropped)));
                } else if !line.is_empty() {
                    lines.push(Ok(line));
                }
            } else if self.dropped > 0 {
                self.dropped = self.dropped.saturating_add(1);
            } else if self.pending.len() + 1 >= MAX_LINE {
                self.dropped = self.pending.len() + 1;
                self.pending.clear();
            } else {
                self.pending.push(byte);
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_has_the_documented_shape() {
        let line = encode(&serde_json::json!({"a": 1})).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"kjvm\":3,\"crc\":\"561bacaf\",\"body\":{\"a\":1}}\n"
        );
    }

    #[test]
    fn another_version_is_named() {
        let line = br#"{"kjvm":9,"crc":"0","body":{}}"#;
        assert_eq!(decode::<serde_json::Value>(line), Err(FrameError::Version(9)));
    }

    #[test]
    fn a_line_that_never_ends_is_dropped_once_and_the_next_is_read() {
        let mut buffer = LineBuffer::default();
        assert!(buffer.push(&vec![b'x'; 3 * MAX_LINE]).is_empty());
        let lines = buffer.push(b"yy\nnext\n");
        assert_eq!(lines, vec![Err(FrameError::TooLong(3 * MAX_LINE + 2)), Ok(b"next".to_vec())]);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in "\\PC{0,200}", number in any::<u64>()) {
            let message = serde_json::json!({"text": text, "number": number});
            let line = encode(&message).unwrap();
            prop_assert_eq!(decode::<serde_json::Value>(&line).unwrap(), message);
        }

        /// Any change of bytes, any loss at any place: never another message than the one sent.
        #[test]
        fn damage_is_never_misread(
            number in any::<u64>(), at in any::<prop::sample::Index>(), lost in 0usize..8, byte in any::<u8>(),
        ) {
            let message = serde_json::json!({"id": number, "ask": "identify"});
            let mut line = encode(&message).unwrap();
            line.pop();
            let at = at.index(line.len());
            let end = (at + lost).min(line.len());
            line.splice(at..end, [byte]);
            if let Ok(read) = decode::<serde_json::Value>(&line) {
                prop_assert_eq!(read, message);
            }
        }

        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert!(decode::<serde_json::Value>(&bytes).is_err());
        }

        #[test]
        fn lines_do_not_depend_on_how_bytes_arrive(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..400), cut in 1usize..50,
        ) {
            let whole = LineBuffer::default().push(&bytes);
            let mut buffer = LineBuffer::default();
            let pieces: Vec<_> = bytes.chunks(cut).flat_map(|piece| buffer.push(piece)).collect();
            prop_assert_eq!(whole, pieces);
        }
    }
}
