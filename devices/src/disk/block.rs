//! One block of contents, shared by all copies of a disk that did not change it.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, OnceLock};

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
#[derive(Clone)]
pub(super) struct Contents(Arc<Filled>);

#[derive(Clone)]
struct Filled {
    bytes: [u8; BYTES],
    /// BLAKE3 of the bytes, once somebody asked.
    hash: OnceLock<[u8; 32]>,
}

impl PartialEq for Contents {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.bytes == other.0.bytes
    }
}

impl Eq for Contents {}

thread_local! {
    static AS_HASHES: Cell<bool> = const { Cell::new(false) };
}

/// What is serialized in this call, on this thread, has each block's hash instead of the block: enough to tell disks apart, and a
/// block that did not change is not hashed again. It cannot be read back.
pub fn with_hashes<T>(serialize: impl FnOnce() -> T) -> T {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            AS_HASHES.set(self.0);
        }
    }
    let _reset = Reset(AS_HASHES.replace(true));
    serialize()
}

impl Block {
    /// BLAKE3 of its bytes, kept once somebody asked.
    pub(super) fn hash(&self) -> [u8; 32] {
        match self {
            Self::Zero => [0; 32],
            Self::Data(Contents(filled)) => *filled.hash.get_or_init(|| blake3::hash(&filled.bytes).into()),
        }
    }

    /// Copies a part out: `start` and the length lie within a block.
    pub(super) fn read(&self, start: usize, into: &mut [u8]) {
        match self {
            Self::Zero => into.fill(0),
            Self::Data(Contents(filled)) => {
                if let Some(part) = filled.bytes.get(start..start + into.len()) {
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
        if let Self::Data(Contents(filled)) = self {
            let filled = Arc::make_mut(filled);
            filled.hash = OnceLock::new();
            if let Some(part) = filled.bytes.get_mut(start..start + from.len()) {
                part.copy_from_slice(from);
            }
        }
        let is_zero = |bytes: &[u8]| ZEROS.get(..bytes.len()) == Some(bytes);
        if let Self::Data(Contents(filled)) = self
            && is_zero(from)
            && is_zero(filled.bytes.as_slice())
        {
            *self = Self::Zero;
        }
    }
}

impl From<[u8; BYTES]> for Block {
    fn from(bytes: [u8; BYTES]) -> Self {
        Self::Data(Contents::from(bytes))
    }
}

impl From<[u8; BYTES]> for Contents {
    fn from(bytes: [u8; BYTES]) -> Self {
        Self(Arc::new(Filled { bytes, hash: OnceLock::new() }))
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02x?}...", &self.0.bytes[..16])
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
        let Filled { bytes, hash } = &*self.0;
        if AS_HASHES.get() {
            return serializer.serialize_bytes(hash.get_or_init(|| blake3::hash(bytes).into()));
        }
        serializer.serialize_bytes(bytes)
    }
}

impl<'de> Deserialize<'de> for Contents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        let bytes = <[u8; BYTES]>::try_from(bytes.as_slice())
            .map_err(|_| de::Error::invalid_length(bytes.len(), &"the 4096 bytes of a block"))?;
        Ok(Self::from(bytes))
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
    fn hashes_tell_blocks_apart_and_follow_what_is_written() {
        let hashed = |block: &Block| with_hashes(|| serde_json::to_string(block).unwrap());
        let mut block = Block::from([1; BYTES]);
        let (before, whole) = (hashed(&block), serde_json::to_string(&block).unwrap());
        assert!(before.len() < 300 && whole.len() > BYTES);
        block.write(7, &[2]);
        let copy = block.clone();
        assert_ne!(hashed(&block), before);
        block.write(7, &[1]);
        assert_eq!(hashed(&block), before);
        assert_ne!(hashed(&copy), before);
        assert_eq!(serde_json::to_string(&block).unwrap(), whole);
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
