//! What a disk contained when it was put into the machine.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use thiserror::Error;

use super::BLOCK;

/// Contents that belong to the host, typically an image file. Never written.
pub trait Base: Debug + Send + Sync {
    /// Size in bytes.
    fn bytes(&self) -> u64;

    /// Copies out of it. The range lies within [`Base::bytes`].
    ///
    /// # Errors
    /// [`BaseError::Host`] if the host cannot read it any more.
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), BaseError>;

    /// The first offset at or after this one whose byte may differ from zero; `None` if only zeros follow.
    fn next_data(&self, offset: u64) -> Option<u64> {
        (offset < self.bytes()).then_some(offset)
    }
}

/// A base that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum BaseError {
    /// The disk came out of a snapshot and nobody attached its base.
    #[error("the base of this disk ({} bytes) is not attached", .0.bytes)]
    Detached(BaseIdentity),
    /// What was attached has other contents than the disk was made from.
    #[error("this is another base: {} bytes, digest {:x?}; the disk was made from {} bytes, digest {:x?}",
        .found.bytes, &.found.digest[..4], .expected.bytes, &.expected.digest[..4])]
    Other {
        /// What the disk was made from.
        expected: BaseIdentity,
        /// What was offered.
        found: BaseIdentity,
    },
    /// The host's reason.
    #[error("the base cannot be read at byte {offset}: {reason}")]
    Host {
        /// Where.
        offset: u64,
        /// Why.
        reason: String,
    },
}

/// Which contents a disk was made from: equal if and only if the contents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseIdentity {
    /// Size.
    pub bytes: u64,
    /// BLAKE3 over the size and, in ascending order, number and contents of each 4 KiB block that is not all zero: does not
    /// depend on how the host stores the holes.
    pub digest: [u8; 32],
}

impl BaseIdentity {
    fn of(base: &dyn Base) -> Result<Self, BaseError> {
        let bytes = base.bytes();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes.to_le_bytes());
        let mut block = [0; BLOCK as usize];
        let mut next = base.next_data(0);
        while let Some(offset) = next {
            let number = offset / BLOCK;
            let start = number * BLOCK;
            let length = (bytes - start).min(BLOCK);
            block.fill(0);
            base.read(start, &mut block[..length as usize])?;
            if block.iter().any(|byte| *byte != 0) {
                hasher.update(&number.to_le_bytes());
                hasher.update(&block);
            }
            next = base.next_data(start + length);
        }
        Ok(Self { bytes, digest: hasher.finalize().into() })
    }
}

/// A disk's hold on its base. Serialized, only the identity remains: [`BaseRef::attach`] then brings the contents back.
#[derive(Debug, Clone)]
pub enum BaseRef {
    /// Can be read.
    Attached {
        /// The contents.
        base: Arc<dyn Base>,
        /// Computed when first asked for, since it reads all of the base.
        identity: Arc<OnceLock<BaseIdentity>>,
    },
    /// Must be attached first.
    Detached(BaseIdentity),
}

impl BaseRef {
    /// Attached to these contents.
    pub fn new(base: Arc<dyn Base>) -> Self {
        Self::Attached { base, identity: Arc::default() }
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Attached { base, .. } => base.bytes(),
            Self::Detached(identity) => identity.bytes,
        }
    }

    /// Which contents these are.
    ///
    /// # Errors
    /// [`BaseError::Host`]: the first time, all of the base is read.
    pub fn identity(&self) -> Result<BaseIdentity, BaseError> {
        match self {
            Self::Detached(identity) => Ok(*identity),
            Self::Attached { base, identity } => match identity.get() {
                Some(known) => Ok(*known),
                None => BaseIdentity::of(base.as_ref()).map(|found| *identity.get_or_init(|| found)),
            },
        }
    }

    /// Brings the contents back after deserialization.
    ///
    /// # Errors
    /// [`BaseError::Other`] if these are other contents; [`BaseError::Host`].
    pub fn attach(&mut self, base: Arc<dyn Base>) -> Result<(), BaseError> {
        let offered = Self::new(base);
        let (expected, found) = (self.identity()?, offered.identity()?);
        if expected != found {
            return Err(BaseError::Other { expected, found });
        }
        *self = offered;
        Ok(())
    }

    /// Copies out of it.
    ///
    /// # Errors
    /// [`BaseError::Detached`], [`BaseError::Host`].
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), BaseError> {
        match self {
            Self::Attached { base, .. } => base.read(offset, into),
            Self::Detached(identity) => Err(BaseError::Detached(*identity)),
        }
    }
}

impl PartialEq for BaseRef {
    fn eq(&self, other: &Self) -> bool {
        if let (Self::Attached { base: ours, .. }, Self::Attached { base: theirs, .. }) = (self, other)
            && Arc::ptr_eq(ours, theirs)
        {
            return true;
        }
        self.bytes() == other.bytes()
            && matches!((self.identity(), other.identity()), (Ok(ours), Ok(theirs)) if ours == theirs)
    }
}

impl Serialize for BaseRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.identity().map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BaseRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let identity = BaseIdentity::deserialize(deserializer)?;
        if identity.bytes == 0 {
            return Err(de::Error::custom("a base of 0 bytes"));
        }
        Ok(Self::Detached(identity))
    }
}

/// Contents that lie in the host's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryBase(pub Vec<u8>);

impl Base for MemoryBase {
    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), BaseError> {
        let range = usize::try_from(offset).ok().and_then(|start| {
            let end = start.checked_add(into.len())?;
            self.0.get(start..end)
        });
        let beyond = || BaseError::Host { offset, reason: "beyond its end".into() };
        into.copy_from_slice(range.ok_or_else(beyond)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(contents: &[u8]) -> BaseRef {
        BaseRef::new(Arc::new(MemoryBase(contents.to_vec())))
    }

    #[test]
    fn equal_contents_are_the_same_base() {
        let mut contents = vec![0; 3 * 512];
        contents[1025] = 1;
        assert_eq!(base(&contents), base(&contents));
        let mut longer = contents.clone();
        longer.resize(4 * 512, 0);
        assert_ne!(base(&contents), base(&longer));
        let mut moved = contents.clone();
        moved.swap(1025, 1024);
        assert_ne!(base(&contents), base(&moved));
    }

    #[test]
    fn only_the_identity_is_serialized() {
        let original = base(&[7; 1024]);
        let text = serde_json::to_string(&original).unwrap();
        let mut restored: BaseRef = serde_json::from_str(&text).unwrap();
        assert_eq!(restored, original);
        assert!(matches!(restored.read(0, &mut [0]), Err(BaseError::Detached(_))));
        assert!(matches!(restored.attach(Arc::new(MemoryBase(vec![8; 1024]))), Err(BaseError::Other { .. })));
        restored.attach(Arc::new(MemoryBase(vec![7; 1024]))).unwrap();
        let mut byte = [0];
        restored.read(1023, &mut byte).unwrap();
        assert_eq!(byte, [7]);
    }
}
