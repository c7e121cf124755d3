//! What one unit may contain.

use std::sync::Arc;

use super::layout::{Open, apply};
use super::{CrashSpace, Extent, SECTOR};
use crate::disk::BaseError;

/// A unit that has more than one possible contents.
#[derive(Debug, Clone, Copy)]
pub struct OpenUnit<'a> {
    space: &'a CrashSpace,
    open: &'a Open,
}

/// Contents that a unit may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Requests after which the unit has them, in the order of acceptance; none: they are durable.
    pub requests: Vec<u64>,
    /// They.
    pub contents: Arc<[u8]>,
}

impl Version {
    /// BLAKE3 of the contents.
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(&self.contents).as_bytes()
    }
}

impl OpenUnit<'_> {
    /// Its number: of the atomic unit, not of a sector.
    pub fn number(&self) -> u64 {
        self.open.number
    }

    /// Its sectors.
    pub fn extent(&self) -> Extent {
        self.space.layout.extent(self.open.number, self.open.number + 1)
    }

    /// How many different contents it may have, at least 2.
    pub fn contents(&self) -> usize {
        self.open.pattern.contents()
    }

    /// Requests that change it, in the order of acceptance.
    pub fn requests(&self) -> Vec<u64> {
        let layers = self.space.layout.layers(self.open).iter();
        let mut requests: Vec<u64> =
            layers.filter_map(|layer| Some(self.space.writes.get(layer.write)?.request)).collect();
        requests.dedup();
        requests
    }
}

impl CrashSpace {
    /// Units that have more than one possible contents, in ascending order.
    pub fn open_units(&self) -> impl ExactSizeIterator<Item = OpenUnit<'_>> {
        self.layout.open.iter().map(|open| OpenUnit { space: self, open })
    }

    /// The versions of any unit, the durable one first, then in the order of acceptance. Equal contents that follow one another are one
    /// version. A unit beyond the end has one, of no bytes.
    ///
    /// Reads the durable media, so that one can ask when somebody looks at the unit, not before.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn versions(&self, unit: u64) -> Result<Vec<Version>, BaseError> {
        let whole = self.layout.extent(unit, unit.saturating_add(1));
        let mut bytes = vec![0; (whole.sectors * SECTOR) as usize];
        self.durable.read(whole.sector * SECTOR, &mut bytes)?;
        let mut versions = vec![Version { requests: Vec::new(), contents: bytes.as_slice().into() }];
        for change in &self.changes {
            let Extent { sector, sectors } = change.extent;
            if sector >= whole.sector + whole.sectors || sector + sectors <= whole.sector || sectors == 0 {
                continue;
            }
            apply(change, whole.sector, &mut bytes);
            match versions.last_mut() {
                Some(last) if *last.contents == *bytes => last.requests.push(change.request),
                _ => versions
                    .push(Version { requests: vec![change.request], contents: bytes.as_slice().into() }),
            }
        }
        Ok(versions)
    }
}
