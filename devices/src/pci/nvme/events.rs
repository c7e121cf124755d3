//! Asynchronous events (5.2): the controller answers a request when something happened.

use serde::{Deserialize, Serialize};

use super::queue::DoorbellError;

/// Requests a driver may leave outstanding.
pub(super) const MOST_REQUESTS: u8 = 4;
/// The log that tells of errors.
pub(super) const ERROR_LOG: u8 = 1;

/// What happened: type in bits 2:0, what exactly in bits 15:8, which log tells more in bits 23:16.
fn code(error: DoorbellError) -> u32 {
    let which = match error {
        DoorbellError::NoQueue => 0,
        DoorbellError::Value => 1,
    };
    which << 8 | u32::from(ERROR_LOG) << 16
}

/// Requests and what there is to answer them with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Events {
    /// Command identifiers, oldest first.
    requests: Vec<u16>,
    /// The oldest event of the error type: others of the type wait until the driver has read the log.
    waiting: Option<u32>,
    reported: bool,
}

impl Events {
    /// A request came. It is too much if there are as many as allowed.
    pub(super) fn request(&mut self, identifier: u16) -> bool {
        let room = self.requests.len() < usize::from(MOST_REQUESTS);
        if room {
            self.requests.push(identifier);
        }
        room
    }

    /// Takes a request back: it was aborted.
    pub(super) fn withdraw(&mut self, identifier: u16) -> bool {
        let place = self.requests.iter().position(|request| *request == identifier);
        place.map(|place| self.requests.remove(place)).is_some()
    }

    /// The driver wrote a doorbell it must not.
    pub(super) fn doorbell(&mut self, error: DoorbellError) {
        if !self.reported {
            self.waiting.get_or_insert(code(error));
        }
    }

    /// The driver has read the log of errors.
    pub(super) fn log_read(&mut self) {
        self.reported = false;
    }

    /// Takes a request and what answers it.
    pub(super) fn take(&mut self) -> Option<(u16, u32)> {
        if self.requests.is_empty() {
            return None;
        }
        let event = self.waiting.take()?;
        self.reported = true;
        Some((self.requests.remove(0), event))
    }
}
