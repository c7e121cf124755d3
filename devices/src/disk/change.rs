//! What a request changes, as long as it is not known to be durable.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Extent;
use crate::VirtualTime;

/// New contents of some sectors.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contents {
    /// These bytes: whole sectors.
    Data(#[serde(with = "bytes")] Arc<[u8]>),
    /// Zeros.
    Zeros,
    /// Nothing anybody needs: zeros, from when it is done.
    Discarded,
}

impl fmt::Debug for Contents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data) => {
                let first = data.get(..16).unwrap_or(data);
                write!(formatter, "Data({} bytes: {first:02x?}...)", data.len())
            }
            Self::Zeros => formatter.write_str("Zeros"),
            Self::Discarded => formatter.write_str("Discarded"),
        }
    }
}

/// A change that a disk accepted. Changes of one disk are kept in the order of acceptance, which is the order of the versions of a
/// sector, whatever the order in which requests complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Number of the request. One request may change several extents.
    pub request: u64,
    /// Which sectors.
    pub extent: Extent,
    /// What they become.
    pub contents: Contents,
    /// When it was accepted.
    pub accepted: VirtualTime,
    /// When it was completed. None: in flight, or forgotten by its front end.
    pub completed: Option<VirtualTime>,
}

/// In one piece, not byte by byte.
mod bytes {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(data: &Arc<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(data)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[u8]>, D::Error> {
        Ok(serde_bytes::ByteBuf::deserialize(deserializer)?.into_vec().into())
    }
}
