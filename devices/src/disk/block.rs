//! One block of contents, shared by all copies of a disk that did not change it.

use std::fmt;
use std::sync::Arc;

use serde::de;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::BLOCK;

const BYTES: usize = BLOCK as usize;
static ZEROS: [u8; BYTES] = [0; BYTES];

/// Contents of a block that was written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Block {
    /// Discarded or zeroed: nothing but zeros.
    Zero,
    /// Written.
    Data(Contents),
}

/// 4 KiB.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents(Arc<[u8; BYTES]>);

impl Block {
    /// Copies a part out: `start` and the length lie within a block.
    pub(super) fn read(&self, start: usize, into: &mut [u8]) {
        match self {
            Self::Zero => into.fill(0),
            Self::Data(Contents(bytes)) => {
                if let Some(part) = bytes.get(start..start + into.len()) {
                    into.copy_from_slice(part);
                }
            }
        }
    }

    /// A whole block, if these bytes are one.
    pub(super) fn whole(from: &[u8]) -> Option<Self> {
        let bytes = <&[u8; BYTES]>::try_from(from).ok()?;
        Some(if bytes == &ZEROS { Self::Zero } else { Self::from(*bytes) })
    }

    /// Copies a part in: `start` and the length lie within a block. A block that becomes zero says so.
    pub(super) fn write(&mut self, start: usize, from: &[u8]) {
        if let Self::Zero = self {
            *self = Self::from([0; BYTES]);
        }
        if let Self::Data(Contents(bytes)) = self
            && let Some(part) = Arc::make_mut(bytes).get_mut(start..start + from.len())
        {
            part.copy_from_slice(from);
        }
        let is_zero = |bytes: &[u8]| ZEROS.get(..bytes.len()) == Some(bytes);
        if let Self::Data(Contents(bytes)) = self
            && is_zero(from)
            && is_zero(bytes.as_slice())
        {
            *self = Self::Zero;
        }
    }
}

impl From<[u8; BYTES]> for Block {
    fn from(bytes: [u8; BYTES]) -> Self {
        Self::Data(Contents(Arc::new(bytes)))
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02x?}...", &self.0[..16])
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => formatter.write_str("zero"),
            Self::Data(contents) => contents.fmt(formatter),
        }
    }
}

impl Serialize for Contents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.as_slice())
    }
}

impl<'de> Deserialize<'de> for Contents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        let bytes = <[u8; BYTES]>::try_from(bytes.as_slice())
            .map_err(|_| de::Error::invalid_length(bytes.len(), &"the 4096 bytes of a block"))?;
        Ok(Self(Arc::new(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_serialization_and_refuses_other_lengths() {
        let mut block = Block::Zero;
        block.write(4095, &[9]);
        let text = serde_json::to_string(&block).unwrap();
        assert_eq!(serde_json::from_str::<Block>(&text).unwrap(), block);
        assert!(serde_json::from_str::<Block>(r#"{"Data":[1,2,3]}"#).is_err());
    }

    #[test]
    fn a_copy_does_not_see_later_writes() {
        let mut block = Block::from([1; BYTES]);
        let copy = block.clone();
        block.write(0, &[2]);
        let mut byte = [0];
        copy.read(0, &mut byte);
        assert_eq!(byte, [1]);
    }
}
