//! How a command ended (4.6.1).

use serde::{Deserialize, Serialize};

/// Status code type (bits 10:8) and status code (bits 7:0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u16)]
pub(super) enum Status {
    Success = 0x000,
    InvalidOpcode = 0x001,
    InvalidField = 0x002,
    DataTransfer = 0x004,
    Internal = 0x006,
    AbortRequested = 0x007,
    AbortedByQueueDeletion = 0x008,
    InvalidNamespace = 0x00b,
    InvalidPrpOffset = 0x013,
    OutOfRange = 0x080,
    InvalidCompletionQueue = 0x100,
    InvalidQueueIdentifier = 0x101,
    InvalidQueueSize = 0x102,
    TooManyEventRequests = 0x105,
    InvalidVector = 0x108,
    InvalidLog = 0x109,
    InvalidQueueDeletion = 0x10c,
    NotSaveable = 0x10d,
    NotChangeable = 0x10e,
    TooLarge = 0x183,
    WriteFault = 0x280,
    UnrecoveredRead = 0x281,
    ReadOnly = 0x286,
}

impl Status {
    /// The status field of a completion, 15 bits, without the phase tag. It is no use to repeat what cannot be done; and a disk that
    /// reports an error has tried what it can: a driver that repeats the command all the same would hide a fault that was asked for.
    pub(super) fn field(self) -> u16 {
        const DO_NOT_RETRY: u16 = 1 << 14;
        match self {
            Self::Success | Self::AbortRequested | Self::AbortedByQueueDeletion => self as u16,
            _ => self as u16 | DO_NOT_RETRY,
        }
    }
}
